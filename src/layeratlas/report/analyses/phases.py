"""How the correlation of centrality with likelihood changes with depth: as published, and within categories."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import sentence_of
from layeratlas.report.panels import WIDTH, headed, legend_below
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_PHASES = ("early", "middle", "late")
_COLOURS = {"pooled": "tab:grey", "within": "tab:blue", "partial": "tab:green"}
_LABELS = {"pooled": "over all pairs", "within": "within categories", "partial": "given lengths and category"}


def phases_figure(run: Run) -> Figure:
    """Published correlations of the sampled hidden states, and sound ones of all blocks; phase means as bars of a third each."""
    numbers = run.result["statistics"]["phases"]
    table = run.table("phases")
    table = table[(table["statistic"] == "centroid_asymmetry") & (table["preference"] == numbers["preference"])]
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.6), layout="constrained", sharey=True)
    _published(axes[0], table[table["estimator"] == "published"], numbers["published"])
    _sound(axes[1], table, numbers)
    for one in axes:
        one.axhline(0, color="black", linewidth=0.8)
        one.tick_params(labelsize="x-small")
    figure.supylabel("r of centroid asymmetry with preference\n(above 0: likelier texts are more central)", fontsize="small")
    headed(figure, f"{_caption(run, numbers)}\n{sentence_of(run.result)}")
    legend_below(figure, 3)
    return figure


def _published(axes: Axes, rows: pd.DataFrame, numbers: dict) -> None:
    places, r = np.arange(len(rows)), rows["r"].to_numpy()
    reach = np.stack([r - rows["ci_low"], rows["ci_high"] - r])
    axes.errorbar(places, r, yerr=reach, color="tab:purple", marker="o", markersize=4, linewidth=1, capsize=3, label="published")
    apart = ((rows["ci_low"] > 0) | (rows["ci_high"] < 0)).to_numpy()
    axes.scatter(places[apart], r[apart], marker="*", color="tab:red", s=70, zorder=3, label="published interval without 0")
    edges = [0, len(rows) // 3, 2 * len(rows) // 3, len(rows)]
    for name, first, last in zip(_PHASES, edges, edges[1:], strict=False):
        axes.hlines(numbers[name], first - 0.4, last - 0.6, color="tab:orange", linewidth=2)
    axes.set_xticks(places, [name.removeprefix("block_") for name in rows["layer"]], fontsize="x-small", rotation=45)
    axes.set_xlabel("sampled hidden state", fontsize="small")
    axes.set_title(f"as published: {numbers['pattern']}; {numbers['final_layer']['verdict']}", fontsize="x-small")


def _sound(axes: Axes, table: pd.DataFrame, numbers: dict) -> None:
    for estimator, colour in _COLOURS.items():
        rows = table[(table["estimator"] == estimator) & table["depth"].notna()]
        axes.plot(rows["depth"], rows["r"], color=colour, linewidth=1.2, label=_LABELS[estimator])
        if estimator != "pooled":
            axes.fill_between(rows["depth"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.13, linewidth=0)
            certain = rows[rows["p_fwer"] <= numbers["alpha"]]
            axes.scatter(certain["depth"], certain["r"], marker="o", s=16, color=colour, zorder=3)
        norm = table[(table["estimator"] == estimator) & (table["layer"] == "final_norm")]
        axes.scatter(np.full(len(norm), 1.05), norm["r"], marker="D", s=18, facecolors="none", edgecolors=colour)
    for place, name in enumerate(_PHASES):
        axes.hlines(numbers["phases"][name]["value"], place / 3 + 0.01, (place + 1) / 3 - 0.01, color="tab:orange", linewidth=2)
    axes.plot([], [], color="tab:orange", linewidth=2, label="mean of a phase")
    if (change := numbers["change_point"])["pattern"] == "change":
        axes.axvspan(change["depth_ci_low"], change["depth_ci_high"], color="black", alpha=0.07, linewidth=0)
        axes.axvline(change["depth"], color="black", linewidth=0.8, linestyle=":", label="change point")
    axes.set_xlabel("depth of a block", fontsize="small")
    axes.set_xlim(0, 1.1)
    legend = "dots: corrected p at most alpha; diamonds: after the final norm"
    if paradox := numbers["simpson"]:
        legend += f"\n{paradox['layer']}: pooled r = {paradox['pooled']:+.2f}; within categories {paradox['within']:+.2f}"
    axes.set_title(legend, fontsize="x-small")


def _caption(run: Run, numbers: dict) -> str:
    result = run.result
    items = f"{result['dataset']['name']}, {numbers['pairs']} pairs in {len(numbers['categories'])} categories"
    return f"{result['a']['model']}: {items}, pooling {result['pooling']}, preference {numbers['preference'].replace('_', ' ')}"


def charts(run: Run) -> list[Chart]:
    """The same: published correlations, and sound ones of all blocks."""
    numbers = run.result["statistics"]["phases"]
    table = run.table("phases")
    table = table[(table["statistic"] == "centroid_asymmetry") & (table["preference"] == numbers["preference"])]
    published = table[table["estimator"] == "published"]
    layers = published["layer"].tolist()
    y, note = "r of centroid asymmetry with preference", "Above 0: likelier texts are more central."
    points = Series("published", range(len(layers)), published["r"], published["ci_low"], published["ci_high"], style="points")
    pattern = numbers["published"]["pattern"]
    drawn = [Chart("As published", "sampled hidden state", y, [points], ticks=layers, rules=[0.0], note=f"{note} {pattern}.")]
    sound = []
    for estimator, label in _LABELS.items():
        rows = table[(table["estimator"] == estimator) & table["depth"].notna()]
        low, high = (None, None) if estimator == "pooled" else (rows["ci_low"], rows["ci_high"])
        sound.append(Series(label, rows["depth"], rows["r"], low, high, labels=rows["layer"].tolist()))
    return [*drawn, Chart("Within categories", "depth of a block", y, sound, rules=[0.0], note=f"{note} Bands: intervals.")]


VIEWS = [View("phases", ["phases"], phases_figure, charts)]
