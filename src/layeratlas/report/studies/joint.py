"""Layers of all models and languages in the leading dimensions of the space that they share."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed, legend_below
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep

_MARKERS = "os^Dv<>P"
_SHOWN = 3  # components


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture for each condition whose layers are points of one space."""
    for condition, points in tables.get("joint_points", pd.DataFrame({"condition": []})).groupby("condition", sort=False):
        yield f"{condition}/joint", joint_figure(points)


def joint_figure(points: pd.DataFrame) -> Figure:
    """A column for uncentred coordinates, one for centred ones; a colour a model, a marker a language.

    Lines join the layers of a model in one language, dotted ones the same layer in two languages.
    """
    spaces = list(dict.fromkeys(points["space"]))
    shown = min(_SHOWN, sum(str(column).startswith("component_") for column in points))
    axes_of = list(combinations(range(1, shown + 1), 2))
    figure, panels = plt.subplots(
        len(axes_of), len(spaces), figsize=(WIDTH, 2.2 * len(axes_of) + 1.8), layout="constrained", squeeze=False
    )
    for column, space in zip(panels.T, spaces, strict=True):
        chosen = points[points["space"] == space]
        for axes, (x, y) in zip(column, axes_of, strict=True):
            _projection(axes, chosen, x, y)
        column[0].set_title(_captured(chosen, space, shown), fontsize="x-small")
    legend_below(figure, 2)
    first = points.iloc[0]
    headed(
        figure,
        f"{first['metric']}, {first['dataset']}, n = {first['items']}, pooling {first['pooling']}\nlayers as points, whose inner"
        " products are their similarities\nlines: a model in one language, larger = deeper;\ndotted: one layer in two languages",
    )
    return figure


def _captured(points: pd.DataFrame, space: str, shown: int) -> str:
    share = sum(points[f"share_{k}"].iloc[0] for k in range(1, shown + 1))
    by_model = points.groupby("model", sort=False)["captured"].mean()
    shares = "\n".join(f"of {model}'s {value:.0%}" for model, value in by_model.items())
    return f"{space}: {shown} components\nhold {share:.0%} of all squares,\n{shares}"


def _projection(axes: Axes, points: pd.DataFrame, x: int, y: int) -> None:
    models, languages = (list(dict.fromkeys(points[column])) for column in ("model", "reads"))
    for (model, language), rows in points.groupby(["model", "reads"], sort=False):
        colour, marker = f"C{models.index(model) % 10}", _MARKERS[languages.index(language) % len(_MARKERS)]
        across, up = rows[f"component_{x}"], rows[f"component_{y}"]
        axes.plot(across, up, color=colour, linewidth=0.7, alpha=0.7)
        size = 6 + 24 * rows["depth"].fillna(0.5)
        axes.scatter(across, up, s=size, color=colour, marker=marker, linewidths=0, label=f"{model}, {language}")
    for _, rows in points.groupby(["model", "layer"], sort=False):
        axes.plot(rows[f"component_{x}"], rows[f"component_{y}"], color="grey", linewidth=0.5, linestyle=":")
    for label, k in ((axes.set_xlabel, x), (axes.set_ylabel, y)):
        label(f"component {k} ({points[f'share_{k}'].iloc[0]:.0%})", fontsize="x-small")
    axes.axhline(0, color="lightgrey", linewidth=0.6, zorder=0)
    axes.axvline(0, color="lightgrey", linewidth=0.6, zorder=0)
    axes.tick_params(labelsize="x-small")


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """Distances of the same layer in two languages, of each model, in the reduced spaces and in all of it."""
    table = tables.get("joint", pd.DataFrame({"condition": [], "first": [], "second": []}))
    for (condition, first, second), rows in table.groupby(["condition", "first", "second"], sort=False):
        models = list(dict.fromkeys(rows["model"]))
        series = []
        for number, (measured, part) in enumerate(rows[rows["measured"] != "similarity"].groupby("measured", sort=False)):
            x = [models.index(model) + 0.12 * number for model in part["model"]]
            low, high = part["mean_ci_low"], part["mean_ci_high"]
            series.append(Series(str(measured), x, part["mean"], low, high, style="points", labels=part["model"].tolist()))
        note = "Reduced spaces hold another share of each model's squares: only distances in the whole compare models."
        yield Chart(f"{first} and {second} ({condition})", "model", "mean distance of a layer", series, ticks=models, note=note)


VIEWS = [SweepView(figures, charts)]
