"""Where one model builds more alignment than another, and when each commits which item in which language."""

import math
from collections.abc import Iterator, Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed, legend_below, panels
from layeratlas.report.sweep_figures import TICKS
from layeratlas.report.views import SweepView
from layeratlas.statistics.commitment import NEVER
from layeratlas.studies import Sweep
from layeratlas.studies.variant_runs import MEAN

_COLUMNS = 2
_ALPHA = 0.05
_NAMED = 60  # items whose names are written beside their row
_LINE = 0.1  # of a panel's height
_LETTER = 0.07  # inches of a title
_ROOM = WIDTH - 1.0  # inches across for all panels
_COLUMN = 0.14  # inches of a pair of languages


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Of each condition: differences by depth for each measure and two models, and the matrix of commitment."""
    for condition, rows in _by(tables.get("variants"), "condition"):
        for measure, of_measure in _by(rows, "measure"):
            yield f"{condition}/variants-{measure}", differences_figure(of_measure, measure)
    if "variants_commitment" in tables:
        yield "variants-commitment", commitment_figure(tables["variants_commitment"])


def _by(table: pd.DataFrame | None, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, rows in () if table is None else table.groupby(column, sort=False):
        yield str(name), rows


def differences_figure(rows: pd.DataFrame, measure: str) -> Figure:
    """A panel per pair of languages, a line with its band per model that is compared with the baseline, the first of all."""
    rows = rows[rows["first"] == rows["first"].iloc[0]]
    pairs = list(rows.groupby(["language_a", "language_b"], sort=False))
    figure, places = panels(len(pairs), _COLUMNS, 2.0, above=1.3)
    for axes, ((a, b), of_pair) in zip(places, pairs, strict=True):
        axes.axhline(0, color="grey", linewidth=0.8)
        for number, (second, part) in enumerate(of_pair.groupby("second", sort=False)):
            curve, mean = part[part["layer"] != MEAN], part[part["layer"] == MEAN].iloc[0]
            label, colour = str(second), f"C{number}"
            axes.fill_between(curve["depth"], curve["ci_low"], curve["ci_high"], color=colour, alpha=0.2, linewidth=0)
            axes.plot(curve["depth"], curve["value"], color=colour, linewidth=1.5, label=label)
            certain = curve[curve["p_fwer"] <= _ALPHA]
            axes.plot(certain["depth"], certain["value"], "o", color=colour, markersize=3)
            place = (0.02, 0.98 - _LINE * number)
            note = f"mean {mean['value']:z.3f} ({mean['ci_low']:z.3f} to {mean['ci_high']:z.3f}), p {mean['p_holm']:.2g}"
            axes.annotate(note, place, xycoords="axes fraction", fontsize="x-small", color=colour, va="top")
        axes.set_title(f"{a} – {b}", fontsize="small")
        axes.set_xlabel("depth", fontsize="x-small")
        axes.tick_params(labelsize="x-small")
    low, high = places[0].get_ylim()
    taken = min(0.6, _LINE * (rows["second"].nunique() + 0.5))  # of the height, by what is written above the curves
    places[0].set_ylim(low, low + (high - low) / (1 - taken))  # of all panels: they share it
    legend_below(figure, 1)
    first = rows.iloc[0]
    headed(
        figure,
        f"{measure}, {first['dataset']}, {first['items']} items, pooling {first['pooling']}\n"
        f"above 0: more alignment than {first['first']}\n"
        f"p: corrected; bands: intervals over items; dots: p <= {_ALPHA:g} over all depths",
    )
    return figure


def commitment_figure(table: pd.DataFrame) -> Figure:
    """A panel per model: items against languages, by the depth at which an item commits; grey where it never does."""
    models = list(dict.fromkeys(table["model"]))
    table = table.assign(column=table["language_a"] + "–" + table["language_b"])
    items, columns = (list(dict.fromkeys(table[name])) for name in ("id", "column"))
    wide = max(1, min(len(models), int(_ROOM / (0.4 + _COLUMN * len(columns)))))
    high = math.ceil(len(models) / wide)
    size = (WIDTH, 1.2 + high * max(2.0, 0.7 + 0.12 * min(len(items), _NAMED)))
    figure, grid = plt.subplots(high, wide, figsize=size, layout="constrained", squeeze=False, sharey=True)
    for axes in grid.flat[len(models) :]:
        axes.remove()
    most = table["place"].max()
    colours = ScalarMappable(Normalize(0, max(float(most), 1.0)), plt.get_cmap("viridis").with_extremes(bad="lightgrey"))
    for axes, model in zip(grid.flat, models, strict=False):
        own = table[table["model"] == model].drop_duplicates(["id", "column"])
        places = own.pivot(index="id", columns="column", values="place").reindex(index=items, columns=columns)
        axes.imshow(places.where(places != NEVER), cmap=colours.cmap, norm=colours.norm, aspect="auto", interpolation="nearest")
        never = float((own["place"] == NEVER).mean())
        called = fill(model, max(12, int(_ROOM / wide / _LETTER)))
        axes.set_title(f"{called}\n{1 - never:.0%} commit", fontsize="x-small")
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=TICKS)
        if len(items) <= _NAMED:
            axes.set_yticks(range(len(items)), items, fontsize=TICKS)
        axes.tick_params(length=0)
    figure.colorbar(colours, ax=figure.axes, location="bottom", shrink=0.6, label="first layer of the row (0: the first compared)")
    headed(figure, "commitment by the published rule; grey: never")
    return figure


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """A chart per condition, measure and pair of languages."""
    for _, rows in _by(tables.get("variants"), "condition"):
        for (measure, a, b), part in rows.groupby(["measure", "language_a", "language_b"], sort=False):
            series = []
            for (first, second), curve in part[part["layer"] != MEAN].groupby(["first", "second"], sort=False):
                name = f"{second} less {first}"
                layers = curve["layer"].tolist()
                series.append(Series(name, curve["depth"], curve["value"], curve["ci_low"], curve["ci_high"], labels=layers))
            note = "Above 0: the first named aligns more. Bands: intervals over items."
            yield Chart(f"{measure}, {a} and {b}", "depth", f"difference of {measure}", series, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
