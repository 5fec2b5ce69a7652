"""What do tasks, languages, poolings or checkpoints do to one model's picture, on one scale?"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

import pandas as pd
from annotated_types import Interval, Len

from layeratlas.errors import ConfigError, Undefined
from layeratlas.findings import Findings
from layeratlas.options import Positive, Repetitions, Seed
from layeratlas.studies.agreement import compared, numbers_of, telling
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.crossing import Crossing, called, crossings, effects, sentence
from layeratlas.studies.families import corrected_over
from layeratlas.studies.sweep import Sweep

SCALES = ("n", "k", "estimator")
_MODEL, _REVISION = "model", "revision"


@dataclass(frozen=True, kw_only=True)
class Conditions(AbstractStudy):
    """All runs of one model (or of one pair of models) side by side, two by two, and by the factors that they cross.

    Values depend on n, k and the estimator, so that runs which differ in one of these are refused; with `allow_unequal` they are
    compared, and flagged. `apart` names columns whose values have grids of their own, such as `metric`.

    `conditions` has a row per two runs with all that `two_runs.compare_runs` gives (p over `draws` orders of the layers, corrected
    over all pairs), `conditions_runs` one per run: its grid, its label, in what it is `unequal` to the others.
    `conditions_effects`: where every level of one of the two `crossed` factors (columns, `dataset` and `language`) meets each of
    the other once, the size of both and of their interaction as in `statistics.crossed`, over `splits` random splits of the items
    into halves; with the vectors of the store, and without extracting anything. More than `most` pairs are not compared.
    """

    draws: Repetitions
    most: Positive
    allow_unequal: bool
    apart: Sequence[str]
    crossed: Annotated[Sequence[str], Len(2, 2)]
    splits: Annotated[int, Interval(ge=2, le=1000)]
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        grids = [grid for grid in self._grids(sweep) if len(grid) > 1]
        if not grids:
            return None
        runs = pd.concat([_runs(sweep, grid, number) for number, grid in enumerate(grids)], ignore_index=True)
        if not self.allow_unequal:
            _refuse(runs)
        pairs = [pair for grid in grids for pair in combinations(grid, 2)]
        if len(pairs) > self.most:
            raise Undefined(f"{len(pairs)} pairs of runs; study.conditions.most={len(pairs)} compares them")
        table, parts = compared(sweep, pairs, draws=self.draws, seed=self.seed)
        table.insert(0, "grid", [number for number, grid in enumerate(grids) for _ in combinations(grid, 2)])
        found, warnings = self._effects(sweep, grids, runs)
        sentences = [_sentence(table), *(f"{part['model'].iloc[0]}: {sentence(part)}" for part in found)]
        parts |= {"runs": runs}
        if found:
            whole = pd.concat(found, ignore_index=True)
            parts["effects"] = whole.assign(p_holm=corrected_over(whole, "p"))
        numbers = numbers_of(table) | {"grids": len(grids), "unequal": sorted({what for what in runs["unequal"] if what})}
        return Findings(table, parts, numbers | _sizes(found), sentences=sentences, warnings=warnings)

    def _grids(self, sweep: Sweep) -> list[list[int]]:
        """The places of the runs that have the same layers of the same models, whatever their revisions."""
        if unknown := [column for column in self.apart if column not in sweep.table]:
            raise Undefined(f"study.conditions.apart: there is no column {', '.join(unknown)}")
        grids: dict[tuple, list[int]] = defaultdict(list)
        for place, run in enumerate(sweep.runs):
            models = [(run.result[side][_MODEL], *run.arrays[f"layers_{side}"]) for side in "ab"]
            grids[(*models, *sweep.table.loc[place, list(self.apart)].astype(str))].append(place)
        return list(grids.values())

    def _effects(self, sweep: Sweep, grids: Sequence[Sequence[int]], runs: pd.DataFrame) -> tuple[list[pd.DataFrame], list[str]]:
        """Of each crossed part of each grid; what cannot be estimated is a warning."""
        found, warnings = [], []
        for number, grid in enumerate(grids):
            part = sweep.some(grid)
            for crossing in crossings(part, self.crossed, telling(part.table)):
                if isinstance(crossing, str):
                    warnings.append(crossing)
                elif unequal := next(filter(None, runs.loc[runs["grid"] == number, "unequal"]), None):
                    warnings.append(f"effects of {' and '.join(crossing.names)} are not estimated: runs differ in {unequal}")
                else:
                    self._estimate(crossing, number, found, warnings)
        return found, warnings

    def _estimate(self, crossing: Crossing, grid: int, found: list[pd.DataFrame], warnings: list[str]) -> None:
        run, row = crossing.sweep.runs[0], crossing.sweep.table.iloc[0]
        level = run.result["provenance"]["config"]["statistics"]["level"]
        try:
            table = effects(crossing, splits=self.splits, level=level, seed=self.seed)
        except (Undefined, ConfigError) as error:
            warnings.append(f"effects of {' and '.join(crossing.names)} are not estimated: {error}")
            return
        models = " · ".join(dict.fromkeys((row["model_a"], row["model_b"])))
        found.append(table.assign(grid=grid, design=len(found), model=models, metric=row["metric"], pooling=row["pooling"]))


def _runs(sweep: Sweep, grid: Sequence[int], number: int) -> pd.DataFrame:
    """What each run of a grid is called there, by what varies in it, and in which scales it differs from most of them."""
    table = sweep.table.iloc[list(grid)]
    columns = [column for column in ("model_a", "model_b", *telling(table)) if table[column].astype(str).nunique() > 1]
    values = table[columns].astype(str).to_numpy().tolist()
    labels = [called(row) or str(job) for row, job in zip(values, table["job"], strict=True)]
    runs = [sweep.runs[place] for place in grid]
    scales = [_scales(run) for run in runs]
    usual = {scale: Counter(each[scale] for each in scales).most_common(1)[0][0] for scale in SCALES}
    unequal = [", ".join(scale for scale in SCALES if each[scale] != usual[scale]) for each in scales]
    shown = {"grid": number, "place": list(grid), "label": labels, "unequal": unequal}
    shown |= {column: table[column].tolist() for column in ("sweep", "job")}
    return pd.concat([pd.DataFrame(shown), pd.DataFrame(scales).astype({"k": "Int64"})], axis=1)


def _scales(run: Any) -> dict[str, Any]:
    metric = run.result["metric"]
    return {"n": run.result["dataset"]["n"], "k": metric["k"], "estimator": metric["estimator"]}


def _refuse(runs: pd.DataFrame) -> None:
    """Raises Undefined where runs of one grid have values on different scales."""
    for _, grid in runs.groupby("grid"):
        for scale in SCALES:
            values = [_plain(value) for value in grid[scale]]
            other = next((place for place, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                jobs = grid["job"].tolist()
                raise Undefined(
                    f"jobs {jobs[0]} and {jobs[other]} differ in {scale} ({values[0]}, {values[other]}), on which values depend:"
                    " run both with the same, or compare them flagged with study.conditions.allow_unequal=true"
                )


def _plain(value: Any) -> str:
    return "none" if pd.isna(value) else str(value)


def _sizes(found: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """By model and kind of matrices, each effect with its interval and share."""
    keys = ["value", "ci_low", "ci_high", "p", "share", "share_ci_low", "share_ci_high", "naive_share"]
    by_design = {}
    for number, part in enumerate(found):
        for of, rows in part.groupby("of", sort=False):
            effects_of = rows.set_index("effect")[keys].astype(object).where(lambda x: x.notna(), None)
            by_design[f"{number} {part['model'].iloc[0]}, {of}"] = effects_of.to_dict("index")
    return {"effects": by_design} if by_design else {}


def _sentence(table: pd.DataFrame) -> str:
    whole, off, held = (table[column] for column in ("pearson", "off_diagonal_pearson", "partial"))
    line = (
        f"{len(table)} pairs of conditions correlate with {off.min():.2f} to {off.max():.2f} off the diagonal (all cells"
        f" {whole.min():.2f} to {whole.max():.2f}), with depth held constant {held.min():.2f} to {held.max():.2f}"
    )
    flagged = (table["scales_apart"] != "").sum()
    return f"{line}; {flagged} of them differ in n, k or estimator" if flagged else line
