"""What edits cost at each place, beside the same done at random, and what they do to the layers after it."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed, legend_below
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep

_DRAWS = {
    "rank": ("grey", "random directions, same rank"),
    "length": ("grey", "random shifts, same length"),
    "energy": ("C1", "random directions, same energy"),
}
_TOLD = ["model", "dataset", "control", "languages", "edit", "positions"]


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of all edits, and one of what they do to later layers, if there are any."""
    if "interventions" in tables:
        yield "interventions", interventions_figure(tables["interventions"])
    if "interventions_downstream" in tables:
        yield "interventions_downstream", downstream_figure(tables["interventions_downstream"])


def interventions_figure(table: pd.DataFrame) -> Figure:
    """A panel per model, texts and language: cost over blocks, a line per edit with intervals; draws of controls as dashes."""
    groups = list(table.groupby(["model", "dataset", "language", "control"], sort=False))
    figure, grid = plt.subplots(len(groups), 1, figsize=(WIDTH, 1 + 2.6 * len(groups)), layout="constrained", squeeze=False)
    for axes, (key, rows) in zip(grid[:, 0], groups, strict=True):
        _panel(axes, rows)
        axes.set_title(" · ".join(str(part) for part in key if part), fontsize="small")
    headed(figure, "cost of an edit: likelihood lost, in nats per token;\nlines: 95% t intervals over texts")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    places = sorted(rows["blocks"].unique(), key=lambda blocks: [int(k) if k.isdigit() else -1 for k in blocks.split(",")])
    at = {blocks: place for place, blocks in enumerate(places)}
    for matched, draws in rows[rows["is_control"]].groupby("matched", sort=False):
        colour, label = _DRAWS[str(matched)]
        x = np.array([at[blocks] for blocks in draws["blocks"]]) + (0.12 if matched == "energy" else -0.12)
        axes.plot(x, draws["value"], "_", color=colour, markersize=9, label=label)
    own = list(rows[~rows["is_control"]].groupby(["edit", "positions"], sort=False))
    for i, ((edit, positions), of_edit) in enumerate(own):
        x = np.array([at[blocks] for blocks in of_edit["blocks"]]) + 0.12 * (i - (len(own) - 1) / 2)
        order = np.argsort(x)
        y, low, high = (of_edit[column].to_numpy(float)[order] for column in ("value", "ci_low", "ci_high"))
        label = edit if positions in ("", "all") else f"{edit} ({positions})"
        axes.errorbar(
            x[order],
            y,
            yerr=[y - low, high - y],
            color=f"C{0 if i == 0 else i + 1}",
            marker="o",
            markersize=4,
            capsize=2,
            label=label,
        )
    axes.axhline(0, color="black", linewidth=0.7)
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.set_xticks(range(len(places)), places, fontsize="x-small", rotation=90 if len(places) > 12 else 0)
    axes.tick_params(axis="y", labelsize="x-small")
    axes.set_xlabel("block", fontsize="small")
    axes.set_ylabel("nats per token", fontsize="small")
    axes.legend(fontsize="x-small")


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """A chart per panel of the picture: edits with their intervals, and draws of the control."""
    table = tables.get("interventions", pd.DataFrame({"model": [], "dataset": [], "language": [], "control": []}))
    for key, rows in table.groupby(["model", "dataset", "language", "control"], sort=False):
        places = sorted(rows["blocks"].unique(), key=lambda blocks: [int(k) if k.isdigit() else -1 for k in blocks.split(",")])
        series = []
        for (edit, positions), part in rows[~rows["is_control"]].groupby(["edit", "positions"], sort=False):
            x = [places.index(blocks) for blocks in part["blocks"]]
            name = str(edit) if positions in ("", "all") else f"{edit} ({positions})"
            series.append(Series(name, x, part["value"], part["ci_low"], part["ci_high"], style="points"))
        for matched, draws in rows[rows["is_control"]].groupby("matched", sort=False):
            x = [places.index(blocks) for blocks in draws["blocks"]]
            series.append(Series(_DRAWS[str(matched)][1], x, draws["value"], style="points", labels=draws["edit"].tolist()))
        note = "Likelihood lost, in nats per token; lines: intervals over texts."
        title = " · ".join(str(part) for part in key if part)
        yield Chart(f"Cost of an edit: {title}", "blocks", "nats per token", series, ticks=places, rules=[0.0], note=note)


def downstream_figure(table: pd.DataFrame) -> Figure:
    """A row per edit, a panel per statistic: its change at each layer from the edited block on, a line per edited block."""
    own = table[table["matched"].isna()]
    groups = list(own.groupby(_TOLD, sort=False))
    statistics = list(dict.fromkeys(own["statistic"]))
    figure, grid = plt.subplots(
        len(groups), len(statistics), figsize=(WIDTH, 1.4 + 2.2 * len(groups)), layout="constrained", squeeze=False
    )
    for row, (key, rows) in zip(grid, groups, strict=True):
        for axes, statistic in zip(row, statistics, strict=True):
            _changes(axes, rows[rows["statistic"] == statistic])
            axes.set_ylabel(f"change of {statistic}", fontsize="x-small")
        row[0].set_title(" · ".join(str(part) for part in key if part and part != "all"), fontsize="x-small", loc="left")
    legend_below(figure, 3)
    headed(
        figure,
        "change at the edited block and after it; bands: 95% t intervals over texts;\ndotted: random directions of the same rank",
    )
    return figure


def _changes(axes: Axes, rows: pd.DataFrame) -> None:
    edits = list(rows.groupby("blocks", sort=False))
    for i, (blocks, of_place) in enumerate(edits):
        colour = colormaps["viridis"](i / max(1, len(edits) - 1) * 0.9)
        x = of_place["depth"].to_numpy(float)
        axes.plot(x, of_place["change"], color=colour, marker="o", markersize=3, linewidth=1.3, label=f"edited: block {blocks}")
        axes.fill_between(x, of_place["ci_low"], of_place["ci_high"], color=colour, alpha=0.12, linewidth=0)
        axes.plot(x, of_place["of_draws"], color=colour, linestyle=":", linewidth=1)
    axes.axhline(0, color="black", linewidth=0.7)
    axes.set_xlabel("depth", fontsize="x-small")
    axes.tick_params(labelsize="x-small")


VIEWS = [SweepView(figures, charts)]
