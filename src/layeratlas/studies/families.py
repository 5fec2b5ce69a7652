"""Which tests of a sweep are read together, and their p-values corrected for that; on the table that has a row per run.

A family is the tests of one question over all pairs of sides (models, languages, fields) that share the columns of
`conditions`: dataset, n, pooling, metric, k, and every other option that varies between runs. No side splits a family.
"""

import gc
import math
from collections.abc import Iterator, Sequence

import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.statistics.multiplicity import METHODS, bonferroni_ordered, corrected

SHARED = ["dataset", "n", "pooling", "metric", "k"]
HEADLINE = [
    "test_family",
    "side_a",
    "side_b",
    "headline",
    "value",
    "chance",
    "ci_low",
    "ci_high",
    "p",
    "sided",
    "p_holm",
    "p_tests",
]
_ALPHA = 0.05


def conditions(table: pd.DataFrame) -> list[str]:
    """The columns that say under what a run's two sides were compared."""
    return [*SHARED, *(column for column in table.columns if column.startswith("config."))]


def shared(table: pd.DataFrame) -> pd.DataFrame:
    """The values of `conditions`. Where all items were asked for, n is NA: how many two languages share splits no family."""
    return table[conditions(table)].assign(n=table["n"].astype("Int64").mask(table["all_items"]))


def families(table: pd.DataFrame, within: Sequence[str] | None = None) -> pd.Series:
    """The family of each run as `COLUMN=VALUE ...`; `within` names fewer columns, for wider families.

    Raises ConfigError for a column that is none of `conditions`: a narrower family would correct for less than is read.
    """
    known = conditions(table)
    if unknown := [column for column in within or [] if column not in known]:
        raise ConfigError(f"summary_family: there is no {', '.join(unknown)}; available are {', '.join(known)}")
    columns = [column for column in known if within is None or column in within]
    values = shared(table)[columns].astype(object)
    families = [
        " ".join(f"{column}={value}" for column, value in zip(columns, row, strict=True) if not pd.isna(value))
        for row in values.itertuples(index=False)
    ]
    return pd.Series([family or "all runs" for family in families], index=table.index, dtype=str)


def with_corrections(table: pd.DataFrame, tests: Sequence[str], ordered: Sequence[str] = ()) -> pd.DataFrame:
    """Beside each of the `tests`, columns of p-values, the number of tests in its family (`_tests`), and p corrected over them.

    Those that were published so are also corrected over `ordered` pairs. An undefined p, or a side compared with itself,
    is no test. The headlines of a family are one question only as far as they are of one statistic.
    """
    more = {}
    gc.freeze()  # statsmodels collects garbage at each Holm correction, which beside torch takes half a second
    try:
        for column in tests:
            of_family = _tested(table, column).groupby(_questions(table, column), dropna=False)
            more[f"{column}_tests"] = of_family.transform("count").astype("Int64")
            for method in METHODS:
                more[f"{column}_{method}"] = of_family.transform(lambda x, method=method: corrected(x.to_numpy(), method))
            if column in ordered:
                more[f"{column}_bonferroni_ordered"] = of_family.transform(lambda x: bonferroni_ordered(x.to_numpy()))
    finally:
        gc.unfreeze()
    return pd.concat([table, pd.DataFrame(more, index=table.index)], axis=1)


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Pair by pair: the one number of each run, how sure it is, and its p, also corrected (Holm) over its family.

    Columns in which no run has anything are left out, but for the number itself: that none has one is worth seeing.
    """
    kept = [name for name in HEADLINE if name == "value" or table[name].notna().any()]
    return table[kept]


def hopeless(table: pd.DataFrame, tests: Sequence[str]) -> Iterator[str]:
    """A line for each size of family that is too large for its smallest attainable p to survive Bonferroni's correction."""
    counted = {}
    for column in tests:
        prefix, dot, last = column.rpartition(".")
        smallest = f"{prefix}{dot}attainable_p"
        if last != "p" or smallest not in table:
            continue
        attainable = pd.to_numeric(table[smallest]).astype(float).where(_tested(table, column).notna())
        for question, p in attainable.groupby(_questions(table, column), dropna=False):
            if p.count() and p.max() * p.count() > _ALPHA:
                counted.setdefault((question[0], int(p.count()), float(p.max())), []).append(column)
    lines = [_hopeless(tests, smallest, columns) for (_, tests, smallest), columns in counted.items()]
    yield from dict.fromkeys(lines)


def _hopeless(tests: int, smallest: float, columns: Sequence[str]) -> str:
    of = "" if "p" in columns else f" of {', '.join(columns)}"
    return (
        f"{tests} pairs: the smallest attainable p{of} is {smallest:.2g}, which is above {_ALPHA:g} after a Bonferroni or Holm"
        f" correction over them; statistics.permutations={math.ceil(tests / _ALPHA)} would do"
    )


def _questions(table: pd.DataFrame, column: str) -> list[pd.Series]:
    return [table["test_family"], table["headline"] if column == "p" else pd.Series(column, index=table.index)]


def _tested(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of p-values, NaN for a side compared with itself."""
    return pd.to_numeric(table[column]).astype(float).where(~table["self_pair"])


def corrected_over(table: pd.DataFrame, column: str, within: Sequence[str] = ()) -> pd.Series:
    """A column of p-values corrected (Holm) over all rows, or over those that share the columns `within`; NaN is no test."""
    p = table[column].astype(float)
    if not within:
        return pd.Series(corrected(p.to_numpy(), "holm"), index=table.index)
    groups = [table[name] for name in within]
    return p.groupby(groups, dropna=False).transform(lambda x: corrected(x.to_numpy(), "holm"))
