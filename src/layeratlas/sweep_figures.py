"""Pictures of a sweep's pairs, all under one condition (texts, languages, pooling, metric)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class PairMatrix:
    """One pair's affinities and depths, blocks only.

    `mirror`: the matrix of (b, a) is its transpose and was not run. `itself`: both sides are one model over the same texts.
    """

    a: str
    b: str
    matrix: np.ndarray
    depth_a: np.ndarray
    depth_b: np.ndarray
    mirror: bool
    itself: bool

    def transposed(self) -> "PairMatrix":
        return PairMatrix(self.b, self.a, self.matrix.T, self.depth_b, self.depth_a, self.mirror, self.itself)


@dataclass(frozen=True)
class Condition:
    """The pairs that share all but the models; `title` says what they share, `metric` what is plotted."""

    title: str
    metric: str
    pairs: Sequence[PairMatrix]

    @property
    def oriented(self) -> list[PairMatrix]:
        """Every pair, in both orders where one order stands for both."""
        known = {(pair.a, pair.b) for pair in self.pairs}
        return [*self.pairs, *(p.transposed() for p in self.pairs if p.mirror and p.a != p.b and (p.b, p.a) not in known)]


def draw_condition(condition: Condition, margins: pd.DataFrame, over_models: pd.DataFrame, folder: Path) -> None:
    """Every picture of one condition; the last two are its pairs' swap margins and what they say together (see `depth`)."""
    folder.mkdir(parents=True, exist_ok=True)
    save(pairs_figure(condition, square=False), folder, "pairs")
    save(pairs_figure(condition, square=True), folder, "pairs_unit_square")
    save(mean_figure(condition), folder, "mean_unit_square")
    save(curves_figure(condition), folder, "depth_curves")
    if any(_on_off(pair) for pair in condition.pairs):
        save(on_off_figure(condition), folder, "on_off_diagonal")
    if not over_models.empty:
        save(forest_figure(condition, margins, over_models), folder, "swap_margins")


def pairs_figure(condition: Condition, *, square: bool) -> Figure:
    """All matrices side by side, models against models: a layer a cell, or each pair stretched to the same square."""
    tiles = {(pair.a, pair.b): resampled(pair.matrix, _TILE) if square else pair.matrix for pair in condition.oriented}
    heights = _sizes({a: tile.shape[0] for (a, _), tile in tiles.items()})
    widths = _sizes({b: tile.shape[1] for (_, b), tile in tiles.items()})
    canvas = np.full((sum(heights.values()), sum(widths.values())), np.nan)
    tops, lefts = _starts(heights), _starts(widths)
    for (a, b), tile in tiles.items():
        canvas[tops[a] : tops[a] + tile.shape[0], lefts[b] : lefts[b] + tile.shape[1]] = tile
    inches = min(12.0, max(3.5, 0.45 * max(len(heights), len(widths))))
    figure, axes = plt.subplots(figsize=(inches + 2.2, inches * canvas.shape[0] / canvas.shape[1] + 1.8), layout="compressed")
    image = axes.imshow(canvas, origin="lower", cmap=_colours(), vmin=min(0.0, np.nanmin(canvas)), interpolation="nearest")
    _label(axes, heights, widths, tops, lefts)
    figure.colorbar(image, ax=axes, label=f"{condition.metric} (larger = more alike)", shrink=0.7)
    axes.set_title(
        f"{condition.title}\n{'relative depth of a pair' if square else 'a block a cell'}; grey: no run", fontsize="small"
    )
    return figure


def mean_figure(condition: Condition) -> Figure:
    """Mean over the pairs by relative position of both layers, i / (L - 1)."""
    square = mean_unit_square([pair.matrix for pair in condition.oriented])
    figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
    image = axes.imshow(square, origin="lower", extent=(0, 1, 0, 1), cmap=_colours(), vmin=min(0.0, square.min()))
    figure.colorbar(image, ax=axes, label=f"mean {condition.metric} (larger = more alike)")
    axes.set(xlabel="relative position of b's block", ylabel="relative position of a's block")
    axes.set_title(f"{condition.title}\nmean of {len(condition.pairs)} pairs, {len(square)} x {len(square)} bins", fontsize="small")
    return figure


def curves_figure(condition: Condition) -> Figure:
    """For each pair and block: how deep its best match in the other model lies, and how alike the two are."""
    figure, (where, how) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    style = {"linewidth": 0.8, "alpha": max(0.12, min(1.0, 8 / len(condition.oriented))), "color": "tab:blue"}
    for pair in condition.oriented:
        where.plot(pair.depth_a, pair.depth_b[pair.matrix.argmax(axis=1)], **style)
        how.plot(pair.depth_a, pair.matrix.max(axis=1), **style)
    where.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="same depth")
    where.legend(fontsize="x-small", frameon=False)
    where.set(xlabel="depth of a block", ylabel="depth of its best match", xlim=(0, 1.02), ylim=(0, 1.02))
    how.set(xlabel="depth of a block", ylabel=f"{condition.metric} with its best match (larger = more alike)", xlim=(0, 1.02))
    figure.suptitle(f"{condition.title}; {len(condition.oriented)} curves", fontsize="small")
    return figure


def on_off_figure(condition: Condition) -> Figure:
    """Mean affinity on the generalised diagonal against that off it, a point per pair of different sides."""
    points = np.array([means for pair in condition.pairs if (means := _on_off(pair))])
    figure, axes = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
    low, high = min(0.0, points.min()), points.max() * 1.05
    axes.plot([low, high], [low, high], color="black", linewidth=0.8, linestyle="--", label="equal")
    axes.scatter(points[:, 1], points[:, 0], s=14, alpha=0.7)
    above = int((points[:, 0] > points[:, 1]).sum())
    axes.set(xlabel=f"mean {condition.metric} off the diagonal", ylabel="on the generalised diagonal")
    axes.set_title(f"{condition.title}\nhigher on the diagonal: {above} of {len(points)} pairs", fontsize="small")
    axes.legend(fontsize="x-small", frameon=False)
    return figure


def forest_figure(condition: Condition, pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """The swap margin of each pair with its interval over items, from the largest down, and below them their mean over models."""
    rows = pairs.sort_values("margin", ascending=False).reset_index(drop=True)
    height = 0.16 * len(rows)
    figure, axes = plt.subplots(figsize=(7, 2.2 + height), layout="constrained")
    places = np.arange(len(rows))
    axes.hlines(places, rows["margin_ci_low"].astype(float), rows["margin_ci_high"].astype(float), color="tab:blue", linewidth=1)
    axes.plot(rows["margin"], places, "s", color="tab:blue", markersize=3, label="a pair, interval over items")
    labels = [f"{row.model_a} · {row.model_b}" for row in rows.itertuples()]
    for offset, (_, mean) in enumerate(summary[summary["statistic"] == "margin"].iterrows(), 1):
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
    figure.suptitle(f"{condition.title}\n{fill(sentence(summary, condition.metric), 100)}", fontsize="small")
    return figure


def _on_off(pair: PairMatrix) -> tuple[float, float] | None:
    """None where every cell lies on the diagonal, or both sides are the same."""
    try:
        return None if pair.itself else diagonal_means(pair.matrix)
    except ValueError:
        return None


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
