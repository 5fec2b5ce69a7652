"""How much larger the swap margin of texts is than that of each of their controls."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of all pairs of texts and controls, if there are any."""
    if "controls" in tables:
        yield "controls", controls_figure(tables["controls"])


def controls_figure(table: pd.DataFrame) -> Figure:
    """Text minus control with its interval over items, a row per pair of runs, controls one below the other."""
    rows = table[table["statistic"] == "swap_margin"].sort_values(["control", "difference"]).reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.6 + 0.42 * len(rows)), layout="constrained")
    places = np.arange(len(rows))
    axes.hlines(places, rows["ci_low"].astype(float), rows["ci_high"].astype(float), color="tab:blue", linewidth=1.2)
    axes.plot(rows["difference"], places, "s", color="tab:blue", markersize=4)
    axes.axvline(0, color="grey", linewidth=0.8)
    labels = [f"{row.side_a}\n{row.side_b}\n{row.dataset} − {row.control} ({row.metric})" for row in rows.itertuples()]
    axes.set_yticks(places, labels, fontsize="x-small")
    axes.set_xlabel("swap margin of the texts less that of the control\n(above 0: larger for the texts)", fontsize="x-small")
    axes.tick_params(axis="x", labelsize="x-small")
    axes.set_ylim(-0.8, len(rows) - 0.2)
    headed(figure, "lines: jackknife interval over items;\na noisier source has the smaller margin")
    return figure


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """The same, a series per control."""
    if "controls" not in tables:
        return
    table = tables["controls"]
    series, start = [], 1
    for control, rows in table[table["statistic"] == "swap_margin"].groupby("control", sort=False):
        rows = rows.sort_values("difference")
        labels = [f"{row.side_a} · {row.side_b}, {row.dataset} ({row.metric})" for row in rows.itertuples()]
        x = range(start, start + len(rows))
        series.append(
            Series(f"text minus {control}", x, rows["difference"], rows["ci_low"], rows["ci_high"], style="points", labels=labels)
        )
        start += len(rows)
    note = "Above 0: larger for the texts. Lines: interval over items."
    yield Chart("Text against its control", "pair of sides", "difference of swap margins", series, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
