"""Where two languages meet over depth, beside what wrong partners and lengths alone would give."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import name_of, sentence_of
from layeratlas.report.panels import WIDTH, headed, legend_below, name_layers
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_COLUMNS = 2
_BINS = 24
_LINES = {  # column: label, style
    "value_length_residual": ("without what length explains", {"color": "tab:blue", "linestyle": "--", "linewidth": 1.0}),
    "baseline_length": ("wrong partners of the same length", {"color": "tab:red", "linewidth": 1.0}),
    "baseline_group": ("wrong partners of the same group", {"color": "tab:orange", "linewidth": 1.0}),
    "chance": ("any partner (chance)", {"color": "grey", "linestyle": ":", "linewidth": 1.4}),
}


def alignment_figure(run: Run) -> Figure:
    """A panel for each statistic, layer by layer; layers that say nothing are shaded."""
    table, result = run.table("alignment"), run.result
    statistics = list(dict.fromkeys(table["statistic"]))
    rows = math.ceil(len(statistics) / _COLUMNS)
    figure, panels = plt.subplots(rows, _COLUMNS, figsize=(WIDTH, 1.9 * rows + 1.9), layout="constrained", squeeze=False)
    for axes in panels.flat[len(statistics) :]:
        axes.remove()
    alpha, level = (result["provenance"]["config"]["statistics"][key] for key in ("alpha", "level"))
    for axes, statistic in zip(panels.flat, statistics, strict=False):
        _curves(axes, table[table["statistic"] == statistic], statistic, alpha)
    legend_below(figure, 2)
    dataset = result["dataset"]
    line = f"{name_of(result['a'])} and {name_of(result['b'])}, same layer; {dataset['name']}, n = {dataset['n']}"
    headed(figure, f"{line}, pooling {result['pooling']}; bands: {level:.0%} intervals\n{sentence_of(result)}")
    return figure


def _curves(axes: Axes, rows: pd.DataFrame, statistic: str, alpha: float) -> None:
    at = np.arange(len(rows))
    axes.fill_between(at, rows["ci_low"], rows["ci_high"], color="tab:blue", alpha=0.18, linewidth=0)
    axes.plot(at, rows["value"], color="tab:blue", linewidth=1.6, label="translations (larger = more alike)")
    for column, (label, style) in _LINES.items():
        if rows[column].notna().any():
            axes.plot(at, rows[column], label=label, **style)
    shown = ((rows["p_fwer"] <= alpha) & ~(rows["p_length_fwer"] > alpha)).to_numpy()
    axes.plot(
        at[shown],
        rows["value"].to_numpy()[shown],
        linestyle="none",
        marker="o",
        markersize=3,
        color="tab:blue",
        label=f"corrected p <= {alpha:g}, within one length too",
    )
    for place in np.flatnonzero(rows["flag"] != ""):
        label = "most items have one vector: says nothing"
        axes.axvspan(place - 0.5, place + 0.5, color="black", alpha=0.12, linewidth=0, label=label)
    if statistic == "committed":
        axes.set_ylim(-0.03, 1.03)
    name_layers(axes, rows["layer"].tolist())
    axes.set_title(statistic, fontsize="small")


def charts(run: Run) -> list[Chart]:
    """A chart for each statistic, layer by layer; and how similar single pairs are where they are most alike."""
    table = run.table("alignment")
    drawn = [_chart(str(statistic), rows) for statistic, rows in table.groupby("statistic", sort=False)]
    return [*drawn, *_histograms(run)]


def _histograms(run: Run) -> list[Chart]:
    """Cosines of translations, and of each item with all wrong partners, at the block where they are farthest apart."""
    if "alignment_items" not in run.tables:
        return []
    items = run.table("alignment_items")
    means = items[items["depth"].notna()].groupby("layer", sort=False)[["cosine", "cosine_of_wrong"]].mean()
    if means.empty:
        return []
    layer = str((means["cosine"] - means["cosine_of_wrong"]).idxmax())
    rows = items[items["layer"] == layer]
    edges = histogram_edges(rows[["cosine", "cosine_of_wrong"]].to_numpy())
    middle = (edges[:-1] + edges[1:]) / 2
    bars = Series("translations", middle, np.histogram(rows["cosine"], edges)[0], style="bars")
    wrong = Series("mean of wrong partners", middle, np.histogram(rows["cosine_of_wrong"], edges)[0], style="dashed")
    note = f"{len(rows)} items at {layer}, where translations are farthest above wrong partners."
    return [Chart("How alike single pairs are", "cosine", "items", [bars, wrong], note=note)]


def histogram_edges(values: np.ndarray) -> np.ndarray:
    """Bins of one width that hold all of the values."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)


def _chart(statistic: str, rows: pd.DataFrame) -> Chart:
    places = range(len(rows))
    lines = [Series("translations", places, rows["value"], rows["ci_low"], rows["ci_high"])]
    for column, (label, style) in _LINES.items():
        if rows[column].notna().any():
            lines.append(Series(label, places, rows[column], style="dotted" if style.get("linestyle") == ":" else "dashed"))
    silent = rows["layer"][rows["flag"] != ""].tolist()
    flagged = f" Most items have one vector at {', '.join(silent)}, which say nothing." if silent else ""
    note = f"Larger is more alike; band: interval over items.{flagged}"
    return Chart(statistic, "layer", statistic, lines, ticks=rows["layer"].tolist(), note=note)


VIEWS = [View("alignment", ["alignment"], alignment_figure, charts)]
