"""How the vectors of each layer lie, side beside side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import name_of
from layeratlas.report.panels import headed
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_COLUMNS = 2


def geometry_figure(run: Run) -> Figure:
    """A panel for each number, layer by layer, a curve for each side."""
    result, numbers = run.result, _numbers(run)
    rows = -(-len(numbers) // _COLUMNS)
    figure, panels = plt.subplots(rows, _COLUMNS, figsize=(2.4 * _COLUMNS, 1.8 * rows + 0.9), layout="constrained", squeeze=False)
    for axes in panels.flat[len(numbers) :]:
        axes.remove()
    sides = _sides(run)
    for axes, number in zip(panels.flat, numbers, strict=False):
        for (label, part), colour in zip(sides.items(), ("tab:blue", "tab:orange"), strict=True):
            axes.plot(_places(part), part[number], color=colour, linewidth=1.3, label=label)
        axes.set_title(number.replace("_", " "), fontsize="small")
        axes.set_xlabel("position of the layer", fontsize="x-small")
        axes.tick_params(labelsize="x-small")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize="x-small", frameon=False)
    dataset = result["dataset"]
    texts = f"{dataset['name']}, n = {dataset['n']}, pooling {result['pooling']}"
    headed(figure, f"Vectors of each layer\n{texts}")
    return figure


def charts(run: Run) -> list[Chart]:
    """The same, a chart for each number."""
    sides, drawn = _sides(run), []
    for number in _numbers(run):
        series = [Series(label, _places(part), part[number], labels=part["layer"].tolist()) for label, part in sides.items()]
        drawn.append(Chart(number.replace("_", " "), "relative position of the layer", number.replace("_", " "), series))
    return drawn


def _sides(run: Run) -> dict[str, pd.DataFrame]:
    """The rows of each side, by its name."""
    table = run.table("geometry")
    return {f"{side}: {name_of(run.result[side])}": table[table["side"] == side] for side in "ab"}


def _numbers(run: Run) -> list[str]:
    return [str(column) for column in run.table("geometry") if column not in ("side", "layer", "depth")]


def _places(rows: pd.DataFrame) -> np.ndarray:
    """0 for the first layer, 1 for the last."""
    return np.linspace(0, 1, len(rows)) if len(rows) > 1 else np.zeros(1)


VIEWS = [View("geometry", ["geometry"], geometry_figure, charts)]
