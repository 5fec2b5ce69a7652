"""How far the matrices of runs of the same models correlate."""

import math
from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep

_NAMED = 24  # runs; of more, some


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of all runs that were compared, if any were."""
    if "agreement" in tables:
        yield "agreement", agreement_figure(tables["agreement"])


def agreement_figure(table: pd.DataFrame) -> Figure:
    """Runs against runs, by sweep and job: the correlation of their matrices' cells off the diagonal."""
    places = {run: i for i, run in enumerate(sorted({*_runs(table, "first"), *_runs(table, "second")}, key=_order))}
    cells = np.full((len(places), len(places)), np.nan)
    for first, second, r in zip(_runs(table, "first"), _runs(table, "second"), table["off_diagonal_pearson"], strict=True):
        cells[places[first], places[second]] = cells[places[second], places[first]] = r
    figure, axes = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
    colours = plt.get_cmap("RdBu_r").with_extremes(bad="lightgrey")
    image = axes.imshow(cells, vmin=-1, vmax=1, cmap=colours)
    labels = [job if len({sweep for sweep, _ in places}) == 1 else f"{sweep}/{job}" for sweep, job in places]
    named = range(0, len(labels), math.ceil(len(labels) / _NAMED))
    axes.set_xticks(named, [labels[place] for place in named], rotation=90, fontsize="x-small")
    axes.set_yticks(named, [labels[place] for place in named], fontsize="x-small")
    axes.set(xlabel="job", ylabel="job")
    figure.colorbar(image, ax=axes, label="correlation of the matrices off the diagonal", location="bottom", shrink=0.6)
    headed(figure, f"{len(table)} pairs of runs of the same models; grey: not compared")
    return figure


def _runs(table: pd.DataFrame, which: str) -> list[tuple[str, str]]:
    return list(zip(table[f"sweep_{which}"], table[f"job_{which}"], strict=True))


def _order(run: tuple[str, str]) -> tuple[str, int, str]:
    return run[0], len(run[1]), run[1]


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """All pairs of runs from the most alike down: over all cells, off the diagonal, and with depth held constant."""
    if "agreement" not in tables:
        return
    rows = tables["agreement"].sort_values("off_diagonal_pearson", ascending=False)
    x = range(1, len(rows) + 1)
    labels = [f"{a} and {b} ({what})" for a, b, what in zip(rows["job_first"], rows["job_second"], rows["differ_in"], strict=True)]
    kinds = {"off the diagonal": "off_diagonal_pearson", "all cells": "pearson", "depth held constant": "partial"}
    series = [Series(name, x, rows[column], style="points", labels=labels) for name, column in kinds.items() if column in rows]
    yield Chart("How far matrices of the same models agree", "pair of runs", "correlation", series, rules=[0.0])


VIEWS = [SweepView(figures, charts)]
