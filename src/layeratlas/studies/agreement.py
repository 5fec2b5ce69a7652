"""How far do the runs of a sweep that compare the same layers give the same picture?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.findings import Findings
from layeratlas.options import Positive, Repetitions, Seed
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.families import conditions, corrected_over
from layeratlas.studies.sweep import Sweep
from layeratlas.studies.two_runs import Agreement, compare_runs

_SIDES = [f"{what}_{side}" for what in ("language", "field", "control") for side in "ab"]


@dataclass(frozen=True, kw_only=True)
class Agreements(AbstractStudy):
    """`two_runs.compare_runs` of every two runs of the same two models: under other texts, languages, poolings, metrics or seeds.

    `agreement` has a row per pair of runs: what they differ in, the correlations of their matrices, Mantel's p over `draws`
    orders of the layers, the noise ceiling where both runs were asked for stability, and the difference of their swap margins.
    p-values are also corrected (Holm) over all pairs of the sweep. `agreement_depths` has the differences depth by depth. More than
    `most` pairs are not compared, which is said.
    """

    draws: Repetitions
    most: Positive
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        pairs = list(_pairs(sweep))
        if not pairs:
            return None
        if len(pairs) > self.most:
            warning = f"{len(pairs)} pairs of runs of the same models are not compared; study.agreement.most={len(pairs)} does it"
            return Findings(numbers={"pairs": len(pairs), "compared": 0}, warnings=[warning])
        table, parts = compared(sweep, pairs, draws=self.draws, seed=self.seed)
        return Findings(table, parts, numbers_of(table), sentences=[_sentence(table)])


def compared(
    sweep: Sweep, pairs: Sequence[tuple[int, int]], *, draws: int, seed: int
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """A row per pair of places, p-values corrected over all of them; as the part `depths`, differences depth by depth."""
    rows, depths = [], []
    for i, j in pairs:
        found = compare_runs(sweep.runs[i], sweep.runs[j], draws=draws, seed=seed)
        labels = _apart(sweep.table.iloc[i], sweep.table.iloc[j])
        rows.append(labels | _row(found))
        if found.differences is not None:
            depths.append(found.differences.assign(job_first=labels["job_first"], job_second=labels["job_second"]))
    table = pd.DataFrame(rows).assign(**{f"{p}_holm": corrected_over(pd.DataFrame(rows), p) for p in ("mantel_p", "margin_p")})
    return table, {"depths": pd.concat(depths, ignore_index=True)} if depths else {}


def _pairs(sweep: Sweep) -> Iterator[tuple[int, int]]:
    """The places of every two runs that compare the same layers of the same models."""
    names = sweep.table[["model_a", "model_b"]].apply(tuple, axis=1).tolist()
    layers = [(name, *(tuple(run.arrays[f"layers_{side}"]) for side in "ab")) for name, run in zip(names, sweep.runs, strict=True)]
    return ((i, j) for i, j in combinations(range(len(sweep)), 2) if layers[i] == layers[j])


def telling(table: pd.DataFrame) -> list[str]:
    """The columns that set runs of the same models apart."""
    return [*conditions(table), *_SIDES]


def _apart(first: pd.Series, second: pd.Series) -> dict[str, Any]:
    """Which runs these are, and what sets them apart."""
    columns = telling(first.to_frame().T)
    differ = [column for column in columns if str(first[column]) != str(second[column])]
    labels = {"model_a": first["model_a"], "model_b": first["model_b"], "job_first": first["job"], "job_second": second["job"]}
    labels |= {"sweep_first": first["sweep"], "sweep_second": second["sweep"], "differ_in": ", ".join(differ)}
    return labels | {
        place: ", ".join(str(row[column]) for column in differ) for place, row in (("first", first), ("second", second))
    }


def _row(found: Agreement) -> dict[str, Any]:
    row = asdict(found.correlation) | {"ceiling": found.ceiling, "scales_apart": ", ".join(found.apart), "items": found.items}
    row |= {"untested": found.reason} | dict.fromkeys(("margin_difference", "margin_ci_low", "margin_ci_high", "margin_p"), np.nan)
    if found.differences is None:
        return row
    margin = found.differences.set_index("statistic").loc["swap_margin"]
    return row | {"margin_difference": margin["value"]} | {f"margin_{key}": margin[key] for key in ("ci_low", "ci_high", "p")}


def numbers_of(table: pd.DataFrame) -> dict[str, Any]:
    r = table["off_diagonal_pearson"]
    return {"pairs": len(table), "compared": len(table), "lowest": r.min(), "median": r.median(), "highest": r.max()}


def _sentence(table: pd.DataFrame) -> str:
    r = table["off_diagonal_pearson"]
    return (
        f"matrices of {len(table)} pairs of runs of the same models correlate with {r.min():.2f} to {r.max():.2f} off the diagonal"
        f" (median {r.median():.2f})"
    )
