"""What the points of a condition say of models and languages, with intervals over items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.statistics.joint_space import (
    Embedding,
    correlations,
    distances,
    embedding,
    held_out_correlations,
    residuals,
)
from layeratlas.statistics.resampling import jackknife_interval
from layeratlas.studies.joint_blocks import JointBlocks

ALL = "all models"
AS_PUBLISHED, HELD_OUT = "as published", "held out"
CENTRINGS = {"uncentred": False, "centred": True}
_CORRELATION, _RESIDUAL, _DISTANCE = (-1.0, 1.0), (0.0, 1.0), (0.0, np.inf)

Two = tuple[str, str]  # languages
Values = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Values of all items with their intervals, NaN without matrices of fewer items."""

    value: Values
    low: Values
    high: Values

    def row(self, name: str, k: int | tuple[()] = ()) -> dict[str, float]:
        return {name: float(self.value[k]), f"{name}_ci_low": float(self.low[k]), f"{name}_ci_high": float(self.high[k])}


@dataclass(frozen=True)
class JointTables:
    """The tables of one condition: `distances`, `points`, `axes`, `procrustes`."""

    blocks: JointBlocks
    dimensions: int
    level: float

    @cached_property
    def samples(self) -> list[np.ndarray]:
        """The similarities of all items, then those without each group."""
        return [self.blocks.s, *([] if self.blocks.left_out is None else self.blocks.left_out)]

    @cached_property
    def spaces(self) -> dict[str, list[Embedding]]:
        return {name: [embedding(s, self.dimensions, centred=centred) for s in self.samples] for name, centred in CENTRINGS.items()}

    @cached_property
    def pairs(self) -> list[tuple[str, Two]]:
        """Each model with every two languages of it."""
        return [(model, two) for model in self.blocks.models for two in combinations(self.blocks.read_by(model), 2)]

    def points(self) -> pd.DataFrame:
        tables = []
        for name, (placed, *_) in self.spaces.items():
            axes = {f"component_{k + 1}": column for k, column in enumerate(placed.coordinates.T)}
            shares = {f"share_{k + 1}": share for k, share in enumerate(placed.shares)}
            tables.append(self.blocks.points.assign(space=name, **axes, captured=placed.captured, **shares))
        return pd.concat(tables, ignore_index=True)

    def distances(self) -> Iterator[dict[str, Any]]:
        """A row per model, two languages and what is measured of a layer in both."""
        for model, two in self.pairs:
            a, b = self.blocks.paired(model, two)
            labels = {"model": model, "first": two[0], "second": two[1], "layers": len(a)}
            for name in CENTRINGS:
                captured = float(np.nanmean(self.spaces[name][0].captured[[*a, *b]]))
                apart = [np.linalg.norm(placed.coordinates[a] - placed.coordinates[b], axis=1) for placed in self.spaces[name]]
                yield labels | {"measured": f"distance, {name}"} | self._over_layers(apart, _DISTANCE) | {"captured": captured}
            whole = [distances(s, a, b) for s in self.samples]
            yield labels | {"measured": "distance, whole"} | self._over_layers(whole, _DISTANCE) | {"captured": 1.0}
            alike = [s[a, b] for s in self.samples]
            yield labels | {"measured": "similarity"} | self._over_layers(alike, (-np.inf, np.inf)) | {"captured": 1.0}

    @property
    def languages(self) -> list[Two]:
        """Every two of them."""
        return list(combinations(dict.fromkeys(self.blocks.points["reads"]), 2))

    def axes(self) -> Iterator[dict[str, Any]]:
        for two in self.languages:
            yield from self.axes_of(two)

    def axes_of(self, two: Two) -> Iterator[dict[str, Any]]:
        """A row per space, model, component, and how it was found: over the model's points, or without them."""
        marks = self.blocks.points["reads"].map({two[0]: 1.0, two[1]: -1.0}).to_numpy(dtype=float)
        models = [model for model in self.blocks.models if set(two) <= set(self.blocks.read_by(model))]
        for space in CENTRINGS if models else ():
            labels = {"first": two[0], "second": two[1], "space": space}
            for model in models:
                yield from self._published(space, labels | {"model": model}, self._marked([model], marks), marks)
            if len(models) > 1:
                yield from self._published(space, labels | {"model": ALL}, self._marked(models, marks), marks)
                for model in models:
                    yield from self._held_out(space, labels | {"model": model}, models, marks)

    def procrustes(self) -> Iterator[dict[str, Any]]:
        for model, two in self.pairs:
            a, b = (self.blocks.of(model, reads) for reads in two)
            left = [residuals(s, a, b) for s in self.samples]
            labels = {"model": model, "first": two[0], "second": two[1], "layers": len(a)}
            rotated = self._estimate([np.array(each.dimensions) for each in left], _RESIDUAL)
            mixed = self._estimate([np.array(each.layers) for each in left], _RESIDUAL)
            yield labels | rotated.row("rotation_of_dimensions") | mixed.row("layer_space_residual")

    def _published(self, space: str, labels: dict[str, Any], places: np.ndarray, marks: np.ndarray) -> Iterator[dict[str, Any]]:
        """Without intervals, as a component of fewer items may be another one; its sign says nothing, so that r is its size."""
        (placed, *_) = self.spaces[space]
        for k, r in enumerate(correlations(placed.coordinates[places], marks[places])):
            limits = {"r_ci_low": np.nan, "r_ci_high": np.nan}
            yield labels | {"how": AS_PUBLISHED, "component": k + 1, "share": placed.shares[k], "r": abs(r)} | limits

    def _held_out(self, space: str, labels: dict[str, Any], models: Sequence[str], marks: np.ndarray) -> Iterator[dict[str, Any]]:
        others = self._marked([labels["model"]], marks)
        fitted = self._marked([model for model in models if model != labels["model"]], marks)
        centred, k = CENTRINGS[space], self.dimensions
        held = [held_out_correlations(s, fitted, others, marks, k, centred=centred) for s in self.samples]
        shares = embedding(self.blocks.s[np.ix_(fitted, fitted)], k, centred=centred).shares
        found = self._estimate(held, _CORRELATION)
        for place, share in enumerate(shares):
            yield labels | {"how": HELD_OUT, "component": place + 1, "share": share} | found.row("r", place)

    def _over_layers(self, values: Sequence[Values], bounds: tuple[float, float]) -> dict[str, float]:
        of_all = values[0]
        spread = {"sd": float(of_all.std(ddof=1)) if len(of_all) > 1 else np.nan}
        extremes = {"smallest": float(of_all.min()), "largest": float(of_all.max())}
        mean = self._estimate([np.array(each.mean()) for each in values], bounds).row("mean")
        return mean | {"median": float(np.median(of_all))} | spread | extremes

    def _estimate(self, values: Sequence[Values], bounds: tuple[float, float]) -> Estimate:
        if len(values) == 1:
            return Estimate(values[0], np.full_like(values[0], np.nan), np.full_like(values[0], np.nan))
        low, high = jackknife_interval(values[0], np.array(values[1:]), level=self.level, bounds=bounds)
        return Estimate(values[0], np.asarray(low), np.asarray(high))

    def _marked(self, models: Sequence[str], marks: np.ndarray) -> np.ndarray:
        """The points of these models in either language."""
        return np.flatnonzero(self.blocks.points["model"].isin(models).to_numpy() & np.isfinite(marks))
