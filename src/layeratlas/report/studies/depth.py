"""Depth curves, the diagonal and the swap margins of all pairs of one condition."""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.errors import Undefined
from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH
from layeratlas.report.sweep_figures import LINE, TICKS, Condition, ModelPair, condition_of, title
from layeratlas.report.views import SweepView
from layeratlas.statistics.diagonal import diagonal_means
from layeratlas.studies import Sweep
from layeratlas.studies.depth import sentence
from layeratlas.studies.sweep import name_of

Curve = Mapping[str, Sequence[float]]  # `depth` and `margin`


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """The pictures of each condition; `depth_pairs` and `depth` are the study's tables."""
    for shared, part in sweep.conditions():
        condition, folder = condition_of(part), name_of(shared)
        yield f"{folder}/depth_curves", curves_figure(condition, _preferences_of(part))
        if any(_on_off(pair) for pair in condition.pairs):
            yield f"{folder}/on_off_diagonal", on_off_figure(condition)
        pairs, over = (_of(tables.get(name), folder) for name in ("depth_pairs", "depth"))
        if len(pairs) > 1:
            yield f"{folder}/swap_margins", forest_figure(condition, pairs, over)


def _of(table: pd.DataFrame | None, condition: str) -> pd.DataFrame:
    return pd.DataFrame() if table is None else table[table["condition"] == condition].reset_index(drop=True)


def _preferences_of(part: Sweep) -> list[Curve]:
    """The swap margins by depth of different sides."""
    swaps = [(run.result["statistics"].get("diagonal") or {}).get("swap") or {} for run in part.runs]
    different = [swap.get("by_depth") for swap, itself in zip(swaps, part.table["self_pair"], strict=True) if not itself]
    return [curve for curve in different if curve]


def curves_figure(condition: Condition, preferences: Sequence[Curve]) -> Figure:
    """For each pair and block: how deep its best match lies, and how alike the two are; for each depth, the swap margin."""
    panels = 3 if preferences else 2
    figure, (where, how, *rest) = plt.subplots(panels, 1, figsize=(WIDTH, 2.2 * panels + 1.0), layout="constrained")
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
    title(figure, condition, f"{len(condition.oriented)} curves")
    return figure


def _preferences(axes: Axes, curves: Sequence[Curve], metric: str) -> None:
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
    title(figure, condition, f"higher on the diagonal: {above} of {len(points)} pairs")
    axes.legend(fontsize="x-small", frameon=False)
    return figure


def forest_figure(condition: Condition, pairs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """The swap margin of each pair with its interval over items, from the largest down, and below them their mean over models."""
    rows = pairs.sort_values("margin", ascending=False).reset_index(drop=True)
    labels = [f"{row.side_a}\n{row.side_b}" for row in rows.itertuples()]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6 + 2.1 * LINE * len(rows)), layout="constrained")
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
        known = "no interval over" if pd.isna(mean["ci_low"]) else "interval over"
        labels.append(f"mean of {mean['pairs']} pairs,\n{known} {mean['units']} {plural}")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(places, labels, fontsize=TICKS)
    axes.set_ylim(places[-1] + 0.8, -0.8)
    axes.set_xlabel("swap margin\n(above 0: layers prefer their own depth)", fontsize="x-small")
    axes.tick_params(axis="x", labelsize="x-small")
    title(figure, condition, sentence(pairs, summary, condition.metric))
    return figure


def _on_off(pair: ModelPair) -> tuple[float, float] | None:
    """None where every cell lies on the diagonal, or both sides are the same."""
    try:
        return None if pair.itself else diagonal_means(pair.matrix)
    except Undefined:
        return None


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """The forest of each condition, from the largest margin down."""
    for condition, rows in tables.get("depth_pairs", pd.DataFrame({"condition": []})).groupby("condition", sort=False):
        rows = rows.sort_values("margin", ascending=False)
        labels = [f"{a} · {b}" for a, b in zip(rows["side_a"], rows["side_b"], strict=True)]
        x = range(1, len(rows) + 1)
        points = Series(
            "swap margin", x, rows["margin"], rows["margin_ci_low"], rows["margin_ci_high"], style="points", labels=labels
        )
        note = "Above 0: layers prefer their own depth. Lines: interval over items. Pairs from the largest down."
        yield Chart(f"Swap margin of each pair: {condition}", "pair of sides", "swap margin", [points], rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
