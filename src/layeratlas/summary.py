"""A sweep's runs side by side, or those of several sweeps: tables, corrected tests and pictures, from saved files alone.

Whatever is there is summarised, however much is missing, and doing it again gives the same files.
"""

import gc
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas import depth, results, sweeps
from layeratlas.figures import unwritten
from layeratlas.results import RESULT, Run
from layeratlas.statistics.multiplicity import METHODS, bonferroni_ordered, corrected
from layeratlas.sweep_figures import Condition, PairMatrix, draw_condition

logger = logging.getLogger(__name__)

SHARED = ["dataset", "n", "language_a", "language_b", "pooling", "metric", "k"]
HEADLINE = ["value", "chance", "ci_low", "ci_high", "p", "attainable_p"]
_ELSEWHERE = {"store", "device", "stage", "analysis", "extract", "k", "pooling"}
_COLUMNS = {"dataset": {"n", "mirror"}, "metric": {"k"}}  # options that have a column of their own, or change nothing
_NO_TABLES = {"items"}  # the same texts in every run
_SHOWN = 40
_ALPHA = 0.05
_PUBLISHED = ("student_p", "welch_p")


def summarize(folders: Sequence[Path], into: Path, *, report_missing: bool = True) -> pd.DataFrame:
    """Write the summary of all jobs below these sweep folders; returns its table, one row per finished run.

    `report_missing`: say which jobs are not done, and why.
    """
    found = [(folder, sweeps.states(folder)) for folder in folders]
    runs = [run for folder, states in found for run in _runs(folder, states)]
    into.mkdir(parents=True, exist_ok=True)
    results.clean(into)
    results.write_csv(into, "jobs", _jobs(found))
    for folder, states in found if report_missing else []:
        _say_what_is_missing(folder, states)
    if not runs:
        logger.warning("summary: no job has finished with a result, so there is nothing to summarise yet")
        return pd.DataFrame()
    table = with_corrections(_table(runs))
    for doubt in hopeless(table):
        logger.warning(doubt)
    results.write_table(into, "summary", table)
    results.write_csv(into, "summary", table)
    results.write_csv(into, "headline", headline(table))
    for name, joined in _joined(runs, table):
        results.write_table(into / "tables", name, joined)
    if parts := list(_depth(runs, table)):
        results.write_table(into / "tables", "depth", pd.concat(parts, ignore_index=True))
    logger.info("summary of %d runs\n%s", len(table), headline(table).head(_SHOWN).to_string(index=False))
    _draw(runs, table, into / "figures")
    logger.info("summary   %s", into)
    return table


def _depth(runs: Sequence[Run], table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What the swap margins of each condition's pairs say together, if there are several; logs it in a sentence."""
    for _, rows in table.groupby(conditions(table), dropna=False, sort=False):
        condition = rows.iloc[0][conditions(table)]
        _, summary = _margins([runs[i] for i in rows.index])
        if not summary.empty:
            logger.info("depth     %s: %s", condition["dataset"], depth.sentence(summary, str(condition["metric"])))
            yield _with(condition, summary)


def _margins(runs: Sequence[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The swap margins of one condition's pairs, and over models; the latter empty for a single pair."""
    pairs, config = depth.margins(runs), runs[0].result["provenance"]["config"]
    if len(pairs) < 2:
        return pairs, pd.DataFrame()
    level = (config.get("statistics") or {}).get("level", 0.95)
    return pairs, depth.over_units(pairs, level=level, seed=config["seed"])


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Pair by pair: the one number of each run, how sure it is, and its p-value corrected over the pairs of its condition."""
    varied = [column for column in conditions(table) if table[column].nunique(dropna=False) > 1]
    columns = [*varied, "model_a", "model_b", *HEADLINE, *(f"p_{method}" for method in METHODS)]
    return table[columns].dropna(axis="columns", how="all")


def conditions(table: pd.DataFrame) -> list[str]:
    """The columns that say what a run's pair was compared under."""
    return [*SHARED, *(column for column in table.columns if column.startswith("config."))]


def with_corrections(table: pd.DataFrame) -> pd.DataFrame:
    """Beside each column of p-values, the same corrected over the pairs of a condition.

    The published t-tests are also corrected over ordered pairs, as published. A side compared with itself is no test.
    """
    tests = [c for c in table.columns if re.search(r"(^|[._])p$", c) and c != "attainable_p"]
    family = _families(table)
    more = {}
    gc.freeze()  # statsmodels collects garbage at each Holm correction, which beside torch takes half a second
    try:
        for column in tests:
            of_family = _tested(table, column).groupby(family)
            for method in METHODS:
                more[f"{column}_{method}"] = of_family.transform(lambda x, method=method: corrected(x.to_numpy(), method))
            if column.endswith(_PUBLISHED):
                more[f"{column}_bonferroni_ordered"] = of_family.transform(lambda x: bonferroni_ordered(x.to_numpy()))
    finally:
        gc.unfreeze()
    return pd.concat([table, pd.DataFrame(more, index=table.index)], axis=1)


def hopeless(table: pd.DataFrame) -> Iterator[str]:
    """One line per condition of so many pairs that no number of permutations drawn could survive Bonferroni's correction."""
    attainable = _tested(table, "attainable_p")
    for _, p in attainable.groupby(_families(table)):
        smallest, pairs = p.max(), p.count()
        if pairs and smallest * pairs > _ALPHA:
            yield (
                f"{pairs} pairs: the smallest attainable p is {smallest:.2g}, which is above {_ALPHA:g} after a Bonferroni or Holm"
                f" correction over them; statistics.permutations={math.ceil(pairs / _ALPHA)} would do"
            )


def _families(table: pd.DataFrame) -> pd.Series:
    return table.groupby(conditions(table), dropna=False, sort=False).ngroup()


def _tested(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of p-values, NaN for a side compared with itself."""
    return pd.to_numeric(table[column]).astype(float).where(~table["self_pair"])


def _runs(folder: Path, states: Sequence[sweeps.JobState]) -> Iterator[Run]:
    for state in states:
        job = folder / str(state.job.number)
        if state.state == "done" and (job / RESULT).is_file():
            yield results.read_run(job)


def _jobs(found: Sequence[tuple[Path, Sequence[sweeps.JobState]]]) -> pd.DataFrame:
    rows = [
        {"sweep": str(folder), "job": s.job.number, "state": s.state, "detail": s.detail, "overrides": " ".join(s.job.overrides)}
        for folder, states in found
        for s in states
    ]
    return pd.DataFrame(rows)


def _say_what_is_missing(folder: Path, states: Sequence[sweeps.JobState]) -> None:
    lacking = [state for state in states if state.state not in ("done", "skipped")]
    logger.info("sweep %s: %s", folder, sweeps.count(states))
    if lacking:
        logger.warning("not in the summary, as it is not done:\n%s", sweeps.listing(states, lacking))


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: its condition, its sides, its headline, and every number of its statistics."""
    names = _model_names(runs)
    varied = _varied(runs)
    rows = []
    for run in runs:
        result = run.result
        rows.append(
            {
                "sweep": run.folder.parent.name,
                "job": run.folder.name,
                "dataset": result["dataset"]["name"],
                "n": result["dataset"]["n"],
                **{f"language_{side}": result[side]["language"] for side in "ab"},
                "pooling": result["pooling"],
                "metric": result["metric"]["name"],
                "k": result["metric"]["k"],
                **{f"config.{key}": _text(_option(run, key)) for key in varied},
                **{f"model_{side}": names[_identity(run, side)] for side in "ab"},
                "self_pair": _identity(run, "a") == _identity(run, "b") and _same_texts(run),
                **{f"layers_{side}": len(result[side]["layers"]) for side in "ab"},
                "mean_affinity": float(run.arrays["affinity"].mean()),
                "mean_chance": float(run.arrays["chance"].mean()),
                "headline": result["headline"]["text"],
                **{key: result["headline"].get(key) for key in HEADLINE},
                **dict(_flat(result["statistics"])),
                "warnings": len(result["warnings"]),
                "seconds": sum(result["timing"].values()),
            }
        )
    table = pd.DataFrame(rows)
    numbers = [column for column in HEADLINE if table[column].isna().any()]
    return table.astype(dict.fromkeys(numbers, float)).astype({"k": "Int64"})


def _identity(run: Run, side: str) -> str:
    config = run.result["provenance"]["config"].get(f"model_{side}", {})
    return json.dumps([run.result[side]["model"], config], sort_keys=True)


def _model_names(runs: Sequence[Run]) -> dict[str, str]:
    """How to call each model: by its name, and by what sets it apart where several have the same one (revision, template)."""
    known = {_identity(run, side): (run, side) for run in runs for side in "ab"}
    named = {identity: run.result[side]["model"] for identity, (run, side) in known.items()}
    configs = {identity: run.result["provenance"]["config"].get(f"model_{side}", {}) for identity, (run, side) in known.items()}
    names = {}
    for identity, name in named.items():
        same = [configs[other] for other in named if named[other] == name]
        apart = [key for key in configs[identity] if len({_text(config.get(key)) for config in same}) > 1]
        names[identity] = " ".join([name, *(f"{key}={_text(configs[identity][key])}" for key in apart)])
    return names


def _varied(runs: Sequence[Run]) -> list[str]:
    """Keys of the configs that vary between runs and that no column of the table stands for: seed, layers, dataset.groups.

    An option of a dataset or a metric counts if it varies between runs of the same one.
    """
    configs = [run.result["provenance"]["config"] for run in runs]
    keys = {key for config in configs for key in config if key not in {*_ELSEWHERE, *_COLUMNS} and not key.endswith(("_a", "_b"))}
    varied = {key for key in keys if len({_text(config.get(key)) for config in configs}) > 1}
    for part, told in _COLUMNS.items():
        of_name: dict[str, list[Mapping[str, Any]]] = {}
        for run in runs:
            of_name.setdefault(run.result[part]["name"], []).append(run.result["provenance"]["config"].get(part) or {})
        for same in of_name.values():
            options = {option for config in same for option in config} - told
            varied |= {f"{part}.{option}" for option in options if len({_text(config.get(option)) for config in same}) > 1}
    return sorted(varied)


def _option(run: Run, key: str) -> Any:
    node = run.result["provenance"]["config"]
    for part in key.split("."):
        node = (node or {}).get(part)
    return node


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, int | float | str):
            yield f"{prefix}{key}", value


def _joined(runs: Sequence[Run], table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each table that the runs left, all runs' one below the other, with what tells the runs apart."""
    told = table[["sweep", "job", *conditions(table), "model_a", "model_b"]]
    for name in sorted({table for run in runs for table in run.tables} - _NO_TABLES):
        holders = [i for i, run in enumerate(runs) if name in run.tables]
        yield name, pd.concat([_with(told.iloc[i], runs[i].table(name)) for i in holders], ignore_index=True)


def _with(told: pd.Series, part: pd.DataFrame) -> pd.DataFrame:
    for column in told.index:
        if column not in part or column in ("model_a", "model_b"):  # models are called as in the summary
            part[column] = told[column]
    return part


def _draw(runs: Sequence[Run], table: pd.DataFrame, folder: Path) -> None:
    """A folder of pictures per condition. One that cannot be drawn is logged and costs nothing else."""
    for _, rows in table.groupby(conditions(table), dropna=False, sort=False):
        shared = rows.iloc[0]
        name = re.sub(
            r"[^\w.=-]+", "_", "-".join(str(shared[column]) for column in conditions(table) if not pd.isna(shared[column]))
        )
        try:
            of_condition = [runs[i] for i in rows.index]
            draw_condition(_condition(of_condition, rows), *_margins(of_condition), folder / name)
        except OSError as error:
            logger.warning("%s; the tables are complete", unwritten(folder, error))
            return  # nothing else can be written there
        except Exception:
            logger.exception("figures: %s is not drawn; the tables are complete", name)


def _condition(runs: Sequence[Run], rows: pd.DataFrame) -> Condition:
    result, shared = runs[0].result, rows.iloc[0]
    k = "" if result["metric"]["k"] is None else f", k = {result['metric']['k']}"
    languages = f"{shared['language_a']} against {shared['language_b']}"
    texts = f"{shared['dataset']}, {languages}, n = {shared['n']}, pooling {shared['pooling']}"
    chance = f"chance {rows['mean_chance'].min():.3g} to {rows['mean_chance'].max():.3g}"
    return Condition(
        title=f"{shared['metric']} ({result['metric']['estimator']}{k})\n{texts}, {chance}",
        metric=str(shared["metric"]),
        pairs=[
            _pair(run, row["model_a"], row["model_b"], itself=row["self_pair"])
            for run, (_, row) in zip(runs, rows.iterrows(), strict=True)
        ],
    )


def _pair(run: Run, a: str, b: str, *, itself: bool) -> PairMatrix:
    depths = {side: run.arrays[f"depth_{side}"] for side in "ab"}
    blocks = {side: np.flatnonzero(np.isfinite(depths[side])) for side in "ab"}
    return PairMatrix(
        a=a,
        b=b,
        matrix=run.arrays["affinity"][np.ix_(blocks["a"], blocks["b"])],
        depth_a=depths["a"][blocks["a"]],
        depth_b=depths["b"][blocks["b"]],
        mirror=_same_texts(run) and run.result["metric"]["symmetric"],
        itself=itself,
    )


def _same_texts(run: Run) -> bool:
    """Whether both sides read the same texts: one language, one field, and no control on one side alone."""
    result, config = run.result, run.result["provenance"]["config"]
    fields = [config["dataset"].get(f"field_{side}") for side in "ab"]
    controlled = (config.get("control") or {}).get("sides", ["a", "b"])
    return result["a"]["language"] == result["b"]["language"] and fields[0] == fields[1] and len(controlled) == 2
