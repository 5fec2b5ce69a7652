"""Layers of several models and languages as points of one space: how far apart are languages, and is there an axis of them?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.errors import ConfigError, Undefined
from layeratlas.findings import Findings
from layeratlas.options import Repetitions, Seed
from layeratlas.statistics.joint_space import require_inner_product
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.joint_blocks import JointBlocks, joint_blocks, named
from layeratlas.studies.joint_tables import HELD_OUT, JointTables
from layeratlas.studies.sweep import Sweep, labelled, name_of


@dataclass(frozen=True, kw_only=True)
class Joint(AbstractStudy):
    """The layers of all models and languages of a condition as points, from all its runs' matrices, self pairs included.

    S = V V' holds for metrics that are inner products of what they keep of a layer, which the eigenvalues of S are checked for.
    Coordinates have `dimensions` dimensions: uncentred, as published, where the first axis is mostly what all layers share;
    and centred.

    `joint`: per model and two languages of it, distance and similarity of the same layer: mean, median, sd, smallest, largest;
    distances in the reduced space, with the share of these points' squares that it holds (`captured`: where models differ in it,
    their reduced distances do not compare), and in all of it. `joint_points`: the coordinates. `joint_axes`: the correlation of
    each component with the language over a model's points and over all, as published; and held out, with components of the other
    models alone, whose sign those fix. A model's points are neighbours of each other, so that no p is made of their
    number. `joint_procrustes`: see `statistics.joint_space.Residuals`. Intervals are over items, by the runs' jackknife.
    """

    dimensions: Annotated[int, Interval(ge=2, le=50)]
    draws: Repetitions
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings:
        tables: dict[str, list[pd.DataFrame]] = {}
        numbers: dict[str, Any] = {}
        sentences, warnings = [], []
        for condition, part in sweep.conditions():
            where = name_of(condition)
            try:
                blocks = joint_blocks(part)
                smallest = require_inner_product(blocks.s)
            except Undefined as error:
                warnings.append(f"{where}: {error}")
                continue
            doubts = list(_doubts(blocks))
            found = self._tables(blocks, part, doubts)
            for name, table in found.items():
                tables.setdefault(name, []).append(labelled(table.assign(condition=where, items=part.table["n"][0]), condition))
            numbers[where] = {"points": len(blocks.s), "smallest_eigenvalue": smallest} | _within_and_across(blocks)
            numbers[where] |= {"missing": [named([pair]) for pair in blocks.missing], "left_out": _left_out(blocks)}
            sentences += [f"{where}: {sentence}" for sentence in _sentences(found, numbers[where])]
            warnings += [f"{where}: {doubt}" for doubt in doubts]
        if not tables:
            raise Undefined("; ".join(warnings) or "there is no run")
        joined = {name: pd.concat(each, ignore_index=True) for name, each in tables.items()}
        return Findings(joined.pop("", None), joined, numbers, sentences=sentences, warnings=warnings)

    def _tables(self, blocks: JointBlocks, part: Sweep, doubts: list[str]) -> dict[str, pd.DataFrame]:
        level = (part.runs[0].result["provenance"]["config"].get("statistics") or {}).get("level", 0.95)
        made = JointTables(blocks, self.dimensions, level)
        rows = {"": list(made.distances()), "axes": self._axes(made, part, doubts), "procrustes": list(made.procrustes())}
        return {"points": made.points()} | {name: pd.DataFrame(each) for name, each in rows.items() if each}

    def _axes(self, made: JointTables, part: Sweep, doubts: list[str]) -> list[dict[str, Any]]:
        """With p, if there are vectors to exchange; what is in the way is a doubt."""
        if not self.draws or not made.pairs:
            return list(made.axes())
        from layeratlas.studies.joint_null import SwappedLabels, with_p  # torch takes seconds to import

        try:
            return list(with_p(made, SwappedLabels.of(made.blocks, part), draws=self.draws, seed=self.seed))
        except (Undefined, ConfigError) as error:
            doubts.append(f"correlations with language have no null, which exchanges the two languages of single items: {error}")
            return list(made.axes())


def _within_and_across(blocks: JointBlocks) -> dict[str, float | None]:
    """Mean similarity of two different points of one language, and of points of different languages."""
    reads = blocks.points["reads"].to_numpy()
    same, different = reads[:, None] == reads, ~np.eye(len(reads), dtype=bool)
    parts = {"within": blocks.s[same & different], "across": blocks.s[~same]}
    return {name: float(part.mean()) if len(part) else None for name, part in parts.items()}


def _left_out(blocks: JointBlocks) -> list[str]:
    return [" ".join(side) for side in blocks.dropped]


def _sentences(found: dict[str, pd.DataFrame], numbers: dict[str, Any]) -> Iterator[str]:
    within, across = numbers["within"], numbers["across"]
    if within is not None and across is not None and across < within:
        yield (
            f"layers are less alike across languages ({across:.3f} on average) than within one ({within:.3f}): then some axis"
            " separates languages by arithmetic, and its correlation with language is no finding by itself"
        )
    if "" not in found:
        yield "no model has two languages, so that nothing is said of languages"
        return
    for (model, first, second), rows in found[""].groupby(["model", "first", "second"], sort=False):
        of = rows.set_index("measured")
        whole, reduced = (of["mean"][f"distance, {space}"] for space in ("whole", "uncentred"))
        yield (
            f"{model}, {first} and {second}, same layer: similarity {of['mean']['similarity']:.3f}, distance {whole:.3f};"
            f" in the reduced space {reduced:.3f}, which holds {of['captured']['distance, uncentred']:.0%} of their squares"
        )
    axes = found["axes"]
    if "p_max" not in axes:
        return
    held = axes[(axes["how"] == HELD_OUT) & axes["p_max"].notna()]
    for (model, first, second, space), rows in held.groupby(["model", "first", "second", "space"], sort=False):
        row = rows.sort_values("r").iloc[-1]
        yield (
            f"{model}, {first} and {second}, {space}: the axis of the other models that goes with language most has r ="
            f" {row['r']:.2f} in this one (p = {row['p_max']:.2g} with the languages of single items exchanged, corrected for"
            f" {len(rows)} axes)"
        )


def _doubts(blocks: JointBlocks) -> Iterator[str]:
    if blocks.missing:
        yield f"no run compares {named(blocks.missing)}; left out for it: {', '.join(_left_out(blocks))}"
    if blocks.left_out is None:
        yield "no intervals: not all of its runs have matrices without groups of items (statistics=quick makes them)"
    if len(blocks.models) < 2:
        yield "one model: no component can be found without it, so that no correlation with language is held out"
