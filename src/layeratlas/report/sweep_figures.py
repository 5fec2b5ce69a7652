"""Pictures of a sweep's pairs of sides, all under one condition (dataset, n, pooling, metric)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a compute node has no display

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from layeratlas.report.figures import captioned, save
from layeratlas.report.panels import WIDTH, headed
from layeratlas.runs.reading import Run
from layeratlas.statistics.unit_square import mean_unit_square, resampled
from layeratlas.studies import Sweep

_TILE = 24  # cells a side of a pair's square
TICKS = 7  # points
LINE = 0.115  # inches that a label of this size takes
_NAMED = 8  # languages in a title
_IN_CELLS = 12  # sides whose numbers are written into their cells


@dataclass(frozen=True)
class ModelPair:
    """One pair of sides: affinities and depths, blocks only.

    `mirror`: the matrix of (b, a) is its transpose and was not run. `itself`: both sides are one model over the same texts.
    `value` is the run's headline, NaN where it has none.
    """

    a: str
    b: str
    matrix: np.ndarray
    depth_a: np.ndarray
    depth_b: np.ndarray
    mirror: bool
    itself: bool
    value: float

    def transposed(self) -> "ModelPair":
        return replace(self, a=self.b, b=self.a, matrix=self.matrix.T, depth_a=self.depth_b, depth_b=self.depth_a)


@dataclass(frozen=True)
class Condition:
    """The pairs that share all but their sides; `title` says what they share, `metric` what is plotted, `headline` its number."""

    title: str
    metric: str
    headline: str
    pairs: Sequence[ModelPair]

    @property
    def oriented(self) -> list[ModelPair]:
        """Every pair, in both orders where one order stands for both."""
        known = {(pair.a, pair.b) for pair in self.pairs}
        return [*self.pairs, *(p.transposed() for p in self.pairs if p.mirror and p.a != p.b and (p.b, p.a) not in known)]


def condition_of(part: Sweep) -> Condition:
    """Runs that share all but their sides, as they are drawn."""
    rows, metric = part.table, part.runs[0].result["metric"]
    first, known = rows.iloc[0], rows["n"].dropna()
    n = " to ".join(dict.fromkeys(str(n) for n in (known.min(), known.max()))) if len(known) else None
    texts = [first["dataset"], _languages(rows)]
    one_kind = not set(rows["side_a"]).isdisjoint(rows["side_b"])
    return Condition(
        title=captioned(metric, texts, n, first["pooling"], rows["mean_chance"].to_numpy(dtype=float)),
        metric=str(first["metric"]),
        headline=" and ".join(sorted(set(rows["headline"]))),
        pairs=[_pair(run, row, one_kind=one_kind) for run, (_, row) in zip(part.runs, rows.iterrows(), strict=True)],
    )


def _languages(rows: pd.DataFrame) -> str:
    sides = [sorted(set(rows[f"language_{side}"])) for side in "ab"]
    both = sorted({*sides[0], *sides[1]})
    if len(sides[0]) == len(sides[1]) == 1:
        return " against ".join(dict.fromkeys((*sides[0], *sides[1])))
    return ", ".join(both) if len(both) <= _NAMED else f"{len(both)} languages"


def _pair(run: Run, row: pd.Series, *, one_kind: bool) -> ModelPair:
    """`one_kind`: some side is a row of one pair and a column of another, so that rows and columns mean the same."""
    depths = {side: run.arrays[f"depth_{side}"] for side in "ab"}
    blocks = {side: np.flatnonzero(np.isfinite(depths[side])) for side in "ab"}
    symmetric, same_texts = run.result["metric"]["symmetric"], run.result["dataset"]["same_texts"]  # None: unknown
    return ModelPair(
        a=row["side_a"],
        b=row["side_b"],
        matrix=run.arrays["affinity"][np.ix_(blocks["a"], blocks["b"])],
        depth_a=depths["a"][blocks["a"]],
        depth_b=depths["b"][blocks["b"]],
        mirror=bool(symmetric and (one_kind or same_texts)),
        itself=row["self_pair"],
        value=row["value"],
    )


def draw_condition(condition: Condition, folder: Path) -> None:
    """The matrices of one condition and their headlines."""
    folder.mkdir(parents=True, exist_ok=True)
    save(pairs_figure(condition, square=False), folder, "pairs")
    save(pairs_figure(condition, square=True), folder, "pairs_unit_square")
    save(mean_figure(condition), folder, "mean_unit_square")
    if np.isfinite([pair.value for pair in condition.pairs]).sum() > 1:
        save(headline_figure(condition), folder, "headline")


def pairs_figure(condition: Condition, *, square: bool) -> Figure:
    """All matrices side by side, sides against sides: a layer a cell, or each pair stretched to the same square."""
    tiles = {(pair.a, pair.b): resampled(pair.matrix, _TILE) if square else pair.matrix for pair in condition.oriented}
    heights = _sizes({a: tile.shape[0] for (a, _), tile in tiles.items()})
    widths = _sizes({b: tile.shape[1] for (_, b), tile in tiles.items()})
    canvas = np.full((sum(heights.values()), sum(widths.values())), np.nan)
    tops, lefts = _starts(heights), _starts(widths)
    for (a, b), tile in tiles.items():
        canvas[tops[a] : tops[a] + tile.shape[0], lefts[b] : lefts[b] + tile.shape[1]] = tile
    figure, axes = _square_cells(heights, widths, canvas.shape[0] / canvas.shape[1])
    image = axes.imshow(canvas, origin="lower", cmap=_colours(), vmin=min(0.0, np.nanmin(canvas)), interpolation="nearest")
    _label(axes, heights, widths, tops, lefts)
    figure.colorbar(image, ax=axes)
    cells = "relative depth of a pair" if square else "a block a cell"
    title(figure, condition, f"{cells}; colour: {condition.metric}, larger = more alike; grey: no run")
    return figure


def headline_figure(condition: Condition) -> Figure:
    """The headline of each pair, sides against sides: languages against languages where one model is asked in many."""
    values = {(pair.a, pair.b): pair.value for pair in condition.oriented}
    rows, columns = (sorted({pair[side] for pair in values}) for side in (0, 1))
    cells = np.array([[values.get((a, b), np.nan) for b in columns] for a in rows], dtype=float)
    figure, axes = _square_cells(rows, columns, len(rows) / len(columns))
    low, high = min(0.0, np.nanmin(cells)), np.nanmax(cells)
    image = axes.imshow(cells, origin="lower", cmap=_colours(), vmin=low, vmax=high)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=TICKS)
    axes.set_yticks(range(len(rows)), rows, fontsize=TICKS)
    axes.tick_params(length=0)
    if max(cells.shape) <= _IN_CELLS:
        for row, column in np.argwhere(np.isfinite(cells)):
            value = cells[row, column]
            colour = "white" if value < (low + high) / 2 else "black"
            axes.text(column, row, f"{value:z.3f}", ha="center", va="center", fontsize=TICKS, color=colour)
    figure.colorbar(image, ax=axes)
    title(figure, condition, f"colour: {condition.headline}, of {condition.metric}; grey: no run, or no number")
    return figure


def mean_figure(condition: Condition) -> Figure:
    """Mean over the pairs by relative position of both layers, i / (L - 1)."""
    square = mean_unit_square([pair.matrix for pair in condition.oriented])
    figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
    image = axes.imshow(square, origin="lower", extent=(0, 1, 0, 1), cmap=_colours(), vmin=min(0.0, square.min()))
    figure.colorbar(image, ax=axes, label=f"mean {condition.metric} (larger = more alike)")
    axes.set(xlabel="relative position of b's block", ylabel="relative position of a's block")
    title(figure, condition, f"mean of {len(condition.pairs)} pairs, {len(square)} x {len(square)} bins")
    return figure


def _square_cells(rows: Collection[str], columns: Collection[str], ratio: float) -> tuple[Figure, Axes]:
    """A figure for a picture of sides against sides, `ratio` times as high as wide, with room for the name of each."""
    names = LINE * max(map(len, [*rows, *columns])) / 2
    wide = max(1.5, min(WIDTH - names - 1.4, 9.0 / ratio), LINE * len(columns), LINE * len(rows) / ratio)
    return plt.subplots(figsize=(max(WIDTH, wide + names + 1.4), wide * ratio + names + 1.0), layout="compressed")


def title(figure: Figure, condition: Condition, line: str) -> None:
    """What the pairs share, and what the picture shows, in lines that the figure is wide enough for."""
    headed(figure, f"{condition.title}\n{line}")


def _colours() -> Colormap:
    return plt.get_cmap("viridis").with_extremes(bad="lightgrey")


def _sizes(layers: Mapping[str, int]) -> dict[str, int]:
    return {model: layers[model] for model in sorted(layers)}


def _starts(sizes: Mapping[str, int]) -> dict[str, int]:
    return dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))


def _label(
    axes: Axes, heights: Mapping[str, int], widths: Mapping[str, int], tops: Mapping[str, int], lefts: Mapping[str, int]
) -> None:
    axes.set_xticks([lefts[b] + widths[b] / 2 - 0.5 for b in widths], list(widths), rotation=90, fontsize=TICKS)
    axes.set_yticks([tops[a] + heights[a] / 2 - 0.5 for a in heights], list(heights), fontsize=TICKS)
    axes.hlines([top - 0.5 for top in tops.values()][1:], -0.5, sum(widths.values()) - 0.5, color="white", linewidth=0.5)
    axes.vlines([left - 0.5 for left in lefts.values()][1:], -0.5, sum(heights.values()) - 0.5, color="white", linewidth=0.5)
    axes.tick_params(length=0)
