"""What edits cost at each place, beside the same done at random."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of all edits, if there are any."""
    if "interventions" in tables:
        yield "interventions", interventions_figure(tables["interventions"])


def interventions_figure(table: pd.DataFrame) -> Figure:
    """A panel per model, texts and language: cost over blocks, a line per edit with intervals; draws of the control in grey."""
    groups = list(table.groupby(["model", "dataset", "language", "control"], sort=False))
    figure, grid = plt.subplots(len(groups), 1, figsize=(7, 1 + 2.8 * len(groups)), layout="constrained", squeeze=False)
    for axes, (told, rows) in zip(grid[:, 0], groups, strict=True):
        _panel(axes, rows)
        axes.set_title(" · ".join(str(part) for part in told if part), fontsize="small")
    figure.suptitle(
        "cost of an edit: likelihood lost, in nats per token; lines: 95% t intervals over texts; grey: random directions",
        fontsize="small",
    )
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    places = sorted(rows["blocks"].unique(), key=lambda blocks: [int(k) if k.isdigit() else -1 for k in blocks.split(",")])
    at = {blocks: place for place, blocks in enumerate(places)}
    draws = rows[rows["is_control"]]
    axes.plot([at[blocks] for blocks in draws["blocks"]], draws["value"], "_", color="grey", markersize=9)
    own = list(rows[~rows["is_control"]].groupby(["edit", "positions"], sort=False))
    for i, ((edit, positions), of_edit) in enumerate(own):
        x = np.array([at[blocks] for blocks in of_edit["blocks"]]) + 0.12 * (i - (len(own) - 1) / 2)
        order = np.argsort(x)
        y, low, high = (of_edit[column].to_numpy(float)[order] for column in ("value", "ci_low", "ci_high"))
        label = edit if positions in ("", "all") else f"{edit} ({positions})"
        axes.errorbar(x[order], y, yerr=[y - low, high - y], marker="o", markersize=4, linewidth=1, capsize=2, label=label)
    axes.axhline(0, color="black", linewidth=0.7)
    axes.set_xticks(range(len(places)), places, fontsize="x-small", rotation=90 if len(places) > 12 else 0)
    axes.set_xlabel("blocks", fontsize="small")
    axes.set_ylabel("nats per token", fontsize="small")
    axes.legend(fontsize="x-small")


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """A chart per panel of the picture: edits with their intervals, and draws of the control."""
    table = tables.get("interventions", pd.DataFrame({"model": [], "dataset": [], "language": [], "control": []}))
    for told, rows in table.groupby(["model", "dataset", "language", "control"], sort=False):
        places = sorted(rows["blocks"].unique(), key=lambda blocks: [int(k) if k.isdigit() else -1 for k in blocks.split(",")])
        series = []
        for (edit, positions), part in rows[~rows["is_control"]].groupby(["edit", "positions"], sort=False):
            x = [places.index(blocks) for blocks in part["blocks"]]
            name = str(edit) if positions in ("", "all") else f"{edit} ({positions})"
            series.append(Series(name, x, part["value"], part["ci_low"], part["ci_high"], style="points"))
        draws = rows[rows["is_control"]]
        if len(draws):
            x = [places.index(blocks) for blocks in draws["blocks"]]
            series.append(Series("random directions", x, draws["value"], style="points", labels=draws["edit"].tolist()))
        note = "Likelihood lost, in nats per token; lines: intervals over texts."
        title = " · ".join(str(part) for part in told if part)
        yield Chart(f"Cost of an edit: {title}", "blocks", "nats per token", series, ticks=places, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
