"""Pictures of a sweep's pairs of sides, all under one condition (dataset, n, pooling, metric)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")  # a compute node has no display

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from layeratlas.depth import sentence
from layeratlas.figures import save
from layeratlas.statistics.diagonal import diagonal_means
from layeratlas.statistics.unit_square import mean_unit_square, resampled

_TILE = 24  # cells a side of a pair's square
_TICKS = 6.5  # points
_LINE = 0.11  # inches that a label of this size takes
_TITLE = 15  # characters of a title an inch
_IN_CELLS = 12  # sides whose numbers are written into their cells


@dataclass(frozen=True)
class PairMatrix:
    """One pair of sides: affinities and depths, blocks only.

    `mirror`: the matrix of (b, a) is its transpose and was not run. `itself`: both sides are one model over the same texts.
    `value` is the run's headline, NaN where it has none; `preference` the swap margin by depth (`depth` and `margin`).
    """

    a: str
    b: str
    matrix: np.ndarray
    depth_a: np.ndarray
    depth_b: np.ndarray
    mirror: bool
    itself: bool
    value: float
    preference: Mapping[str, Sequence[float]] | None

    def transposed(self) -> "PairMatrix":
        return replace(self, a=self.b, b=self.a, matrix=self.matrix.T, depth_a=self.depth_b, depth_b=self.depth_a)


@dataclass(frozen=True)
class Condition:
    """The pairs that share all but their sides; `title` says what they share, `metric` what is plotted, `headline` its number."""

    title: str
    metric: str
    headline: str
    pairs: Sequence[PairMatrix]

    @property
    def oriented(self) -> list[PairMatrix]:
        """Every pair, in both orders where one order stands for both."""
        known = {(pair.a, pair.b) for pair in self.pairs}
        return [*self.pairs, *(p.transposed() for p in self.pairs if p.mirror and p.a != p.b and (p.b, p.a) not in known)]


def draw_condition(condition: Condition, margins: pd.DataFrame, over_models: pd.DataFrame, folder: Path) -> None:
    """Every picture of one condition; `margins` and `over_models` are its swap margins and what they say together (see `depth`)."""
    folder.mkdir(parents=True, exist_ok=True)
    save(pairs_figure(condition, square=False), folder, "pairs")
    save(pairs_figure(condition, square=True), folder, "pairs_unit_square")
    save(mean_figure(condition), folder, "mean_unit_square")
    save(curves_figure(condition), folder, "depth_curves")
    if any(_on_off(pair) for pair in condition.pairs):
        save(on_off_figure(condition), folder, "on_off_diagonal")
    if np.isfinite([pair.value for pair in condition.pairs]).sum() > 1:
        save(headline_figure(condition), folder, "headline")
    if len(margins) > 1:
        save(forest_figure(condition, margins, over_models), folder, "swap_margins")


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
    _title(figure, condition, f"{cells}; colour: {condition.metric}, larger = more alike; grey: no run")
    return figure


def headline_figure(condition: Condition) -> Figure:
    """The headline of each pair, sides against sides: languages against languages where one model is asked in many."""
    values = {(pair.a, pair.b): pair.value for pair in condition.oriented}
    rows, columns = (sorted({pair[side] for pair in values}) for side in (0, 1))
    cells = np.array([[values.get((a, b), np.nan) for b in columns] for a in rows], dtype=float)
    figure, axes = _square_cells(rows, columns, len(rows) / len(columns))
    low, high = min(0.0, np.nanmin(cells)), np.nanmax(cells)
    image = axes.imshow(cells, origin="lower", cmap=_colours(), vmin=low, vmax=high)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=_TICKS)
    axes.set_yticks(range(len(rows)), rows, fontsize=_TICKS)
    axes.tick_params(length=0)
    if max(cells.shape) <= _IN_CELLS:
        for row, column in np.argwhere(np.isfinite(cells)):
            value = cells[row, column]
            colour = "white" if value < (low + high) / 2 else "black"
            axes.text(column, row, f"{value:z.3f}", ha="center", va="center", fontsize=_TICKS, color=colour)
    figure.colorbar(image, ax=axes)
    _title(figure, condition, f"colour: {condition.headline}, of {condition.metric}; grey: no run, or no number")
    return figure


def mean_figure(condition: Condition) -> Figure:
    """Mean over the pairs by relative position of both layers, i / (L - 1)."""
    square = mean_unit_square([pair.matrix for pair in condition.oriented])
    figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
    image = axes.imshow(square, origin="lower", extent=(0, 1, 0, 1), cmap=_colours(), vmin=min(0.0, square.min()))
    figure.colorbar(image, ax=axes, label=f"mean {condition.metric} (larger = more alike)")
    axes.set(xlabel="relative position of b's block", ylabel="relative position of a's block")
    _title(figure, condition, f"mean of {len(condition.pairs)} pairs, {len(square)} x {len(square)} bins")
    return figure


def curves_figure(condition: Condition) -> Figure:
    """For each pair and block: how deep its best match lies, and how alike the two are; for each depth, the swap margin."""
    preferences = [pair.preference for pair in condition.pairs if pair.preference and not pair.itself]
    panels = 3 if preferences else 2
    figure, (where, how, *rest) = plt.subplots(1, panels, figsize=(4.5 * panels, 4.2), layout="constrained")
    style = {"linewidth": 0.8, "alpha": max(0.12, min(1.0, 8 / len(condition.oriented))), "color": "tab:blue"}
    for pair in condition.oriented:
        where.plot(pair.depth_a, pair.depth_b[pair.matrix.argmax(axis=1)], **style)
        how.plot(pair.depth_a, pair.matrix.max(axis=1), **style)
    where.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="same depth")
    where.legend(fontsize="x-small", frameon=False)
    where.set(xlabel="depth of a block", ylabel="depth of its best match", xlim=(0, 1.02), ylim=(0, 1.02))
    how.set(xlabel="depth of a block", ylabel=f"{condition.metric} with its best match", xlim=(0, 1.02))
    how.set_title("larger = more alike", fontsize="x-small")
    if preferences:
        _preferences(rest[0], preferences, condition.metric)
    _title(figure, condition, f"{len(condition.oriented)} curves")
    return figure


def _preferences(axes: Axes, curves: Sequence[Mapping[str, Sequence[float]]], metric: str) -> None:
    for curve in curves:
        axes.plot(curve["depth"], curve["margin"], linewidth=0.8, alpha=max(0.12, min(1.0, 8 / len(curves))), color="tab:green")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="depth", ylabel=f"swap margin ({metric})", xlim=(0, 1.02))
    axes.set_title("above 0: layers at this depth prefer each other to other depths", fontsize="x-small")


def on_off_figure(condition: Condition) -> Figure:
    """Mean affinity on the generalised diagonal against that off it, a point per pair of different sides."""
    points = np.array([means for pair in condition.pairs if (means := _on_off(pair))])
    figure, axes = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
    low, high = min(0.0, points.min()), points.max() * 1.05
    axes.plot([low, high], [low, high], color="black", linewidth=0.8, linestyle="--", label="equal")
    axes.scatter(points[:, 1], points[:, 0], s=14, alpha=0.7)
    above = int((points[:, 0] > points[:, 1]).sum())
    axes.set(xlabel=f"mean {condition.metric} off the diagonal", ylabel="on the generalised diagonal")
    _title(figure, condition, f"higher on the diagonal: {above} of {len(points)} pairs")
    axes.legend(fontsize="x-small", frameon=False)
    return figure


def forest_figure(condition: Condition, pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """The swap margin of each pair with its interval over items, from the largest down, and below them their mean over models."""
    rows = pairs.sort_values("margin", ascending=False).reset_index(drop=True)
    labels = [f"{row.side_a} · {row.side_b}" for row in rows.itertuples()]
    wide = max(7.0, 4.3 + _LINE / 2 * max(map(len, labels)))
    figure, axes = plt.subplots(figsize=(wide, 2.2 + 0.16 * len(rows)), layout="constrained")
    places = np.arange(len(rows))
    axes.hlines(places, rows["margin_ci_low"].astype(float), rows["margin_ci_high"].astype(float), color="tab:blue", linewidth=1)
    axes.plot(rows["margin"], places, "s", color="tab:blue", markersize=3, label="a pair, interval over items")
    means = summary if summary.empty else summary[summary["statistic"] == "margin"]
    for offset, (_, mean) in enumerate(means.iterrows(), 1):
        place = len(rows) + offset
        if pd.notna(mean["ci_low"]):
            axes.hlines(place, mean["ci_low"], mean["ci_high"], color="black", linewidth=1.6)
        axes.plot(mean["mean"], place, "D", color="black", markersize=5)
        places = np.append(places, place)
        plural = {"family": "models", "developer": "developers"}[mean["unit"]]
        said = "no interval over" if pd.isna(mean["ci_low"]) else "interval over"
        labels.append(f"mean of {mean['pairs']} pairs, {said} {mean['units']} {plural}")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(places, labels, fontsize=_TICKS)
    axes.set_ylim(places[-1] + 0.8, -0.8)
    axes.set_xlabel("swap margin (above 0: layers prefer their own depth)")
    _title(figure, condition, sentence(pairs, summary, condition.metric))
    return figure


def _on_off(pair: PairMatrix) -> tuple[float, float] | None:
    """None where every cell lies on the diagonal, or both sides are the same."""
    try:
        return None if pair.itself else diagonal_means(pair.matrix)
    except ValueError:
        return None


def _square_cells(rows: Collection[str], columns: Collection[str], ratio: float) -> tuple[Figure, Axes]:
    """A figure for a picture of sides against sides, `ratio` times as high as wide, with room for the name of each."""
    longer = max(3.5, min(12.0, 0.45 * max(len(rows), len(columns))))
    wide = max(longer / max(1.0, ratio), _LINE * len(columns), _LINE * len(rows) / ratio)
    names = _LINE * max(map(len, [*rows, *columns])) / 2
    return plt.subplots(figsize=(max(5.0, wide + names + 1.4), wide * ratio + names + 1.0), layout="compressed")


def _title(figure: Figure, condition: Condition, said: str) -> None:
    """What the pairs share, and what the picture shows, in lines that the figure is wide enough for."""
    width = int(_TITLE * figure.get_figwidth())
    lines = [fill(line, width) for line in (*condition.title.split("\n"), said)]
    figure.suptitle("\n".join(lines), fontsize="small")


def _colours() -> Colormap:
    return plt.get_cmap("viridis").with_extremes(bad="lightgrey")


def _sizes(layers: Mapping[str, int]) -> dict[str, int]:
    return {model: layers[model] for model in sorted(layers)}


def _starts(sizes: Mapping[str, int]) -> dict[str, int]:
    return dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))


def _label(
    axes: Axes, heights: Mapping[str, int], widths: Mapping[str, int], tops: Mapping[str, int], lefts: Mapping[str, int]
) -> None:
    axes.set_xticks([lefts[b] + widths[b] / 2 - 0.5 for b in widths], list(widths), rotation=90, fontsize=_TICKS)
    axes.set_yticks([tops[a] + heights[a] / 2 - 0.5 for a in heights], list(heights), fontsize=_TICKS)
    axes.hlines([top - 0.5 for top in tops.values()][1:], -0.5, sum(widths.values()) - 0.5, color="white", linewidth=0.5)
    axes.vlines([left - 0.5 for left in lefts.values()][1:], -0.5, sum(heights.values()) - 0.5, color="white", linewidth=0.5)
    axes.tick_params(length=0)
