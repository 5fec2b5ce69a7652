"""What is left of language and content over depth once a language's subspace is taken away."""

import math
from collections.abc import Iterator

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
_NOTHING, _RANDOM = "none", "random_directions"
_STYLES = ["-", "--", "-.", ":", (0, (5, 1))]


def subspace_figure(run: Run) -> Figure:
    """A panel for each statistic, then one for each direction of transfer: a line for each removal, layer by layer."""
    panels = list(_panels(run))
    rows = math.ceil(len(panels) / _COLUMNS)
    figure, all_axes = plt.subplots(rows, _COLUMNS, figsize=(WIDTH, 1.9 * rows + 1.9), layout="constrained", squeeze=False)
    for axes in all_axes.flat[len(panels) :]:
        axes.remove()
    for axes, (title, table) in zip(all_axes.flat, panels, strict=False):
        curves(axes, table)
        axes.set_title(title, fontsize="small")
    legend_below(figure, 2)
    result, dataset = run.result, run.result["dataset"]
    level = result["provenance"]["config"]["statistics"]["level"]
    headed(
        figure,
        f"{name_of(result['a'])} and {name_of(result['b'])}; {dataset['name']}, n = {dataset['n']}, pooling {result['pooling']};"
        f" erasers fitted on half of the items, judged on the others; bands: {level:.0%} intervals\n{sentence_of(result)}",
    )
    return figure


def _panels(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    table = run.table("subspace")
    for statistic, rows in table.groupby("statistic", sort=False):
        yield str(statistic), rows
    if "subspace_transfer" in run.tables:
        language = {side: run.result[side]["language"] for side in "ab"}
        across = run.table("subspace_transfer").query("trained != tested")
        for trained, rows in across.groupby("trained", sort=False):
            yield f"probe for group, {language[str(trained)]} to {language[rows['tested'].iloc[0]]}", rows


def curves(axes: Axes, table: pd.DataFrame) -> None:
    layers = list(dict.fromkeys(table["layer"]))
    at = np.arange(len(layers))
    random = table[table["removal"] == _RANDOM].groupby("layer", sort=False)["value"]
    if len(random):
        axes.fill_between(at, random.min(), random.max(), color="grey", alpha=0.35, linewidth=0, label="without random directions")
    kinds = table[table["removal"] != _RANDOM].groupby(["removal", "rank"], sort=False)
    for i, ((removal, rank), rows) in enumerate(kinds):
        nothing = removal == _NOTHING
        colour, label = ("black", "as they are") if nothing else (f"C{i - 1}", f"without {removal}, rank {rank}")
        if nothing or i == 1:
            axes.fill_between(at, rows["ci_low"], rows["ci_high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(at, rows["value"], color=colour, linestyle=_STYLES[i % len(_STYLES)], linewidth=1.4, label=label)
    chance = table[table["removal"] == _NOTHING]["chance"]
    axes.plot(at, chance, color="grey", linestyle=":", linewidth=1.4, label="chance, as they are")
    name_layers(axes, layers)


def charts(run: Run) -> list[Chart]:
    """The same, a chart for each panel."""
    return [_chart(title, table) for title, table in _panels(run)]


def _chart(title: str, table: pd.DataFrame) -> Chart:
    layers = list(dict.fromkeys(table["layer"]))
    at = range(len(layers))
    series = []
    for (removal, rank), rows in table[table["removal"] != _RANDOM].groupby(["removal", "rank"], sort=False):
        nothing = removal == _NOTHING
        low, high = (rows["ci_low"], rows["ci_high"]) if nothing else (None, None)
        series.append(Series("as they are" if nothing else f"without {removal}, rank {rank}", at, rows["value"], low, high))
    random = table[table["removal"] == _RANDOM].groupby("layer", sort=False)["value"]
    if len(random):
        series.append(Series("without random directions", at, random.mean(), random.min(), random.max(), style="dashed"))
    chance = table[table["removal"] == _NOTHING]["chance"]
    series.append(Series("chance, as they are", at, chance, style="dotted"))
    note = "Band of the vectors as they are: interval; of random directions: smallest and largest."
    return Chart(title, "layer", title, series, ticks=layers, note=note)


VIEWS = [View("subspace", ["subspace"], subspace_figure, charts)]
