"""What is left of languages and content over depth once the subspace of all languages of a sweep is taken away."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.analyses.subspace import curves
from layeratlas.report.panels import WIDTH, headed, legend_below
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep
from layeratlas.studies.sweep import file_name

_COLUMNS = 2
_SHOWN = 5  # layers whose spectrum is drawn


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture for each condition and model."""
    del sweep
    keys = ["condition", "model"]
    for (condition, model), rows in tables.get("subspace_languages", pd.DataFrame(columns=keys)).groupby(keys, sort=False):
        own = {name: _of(tables.get(f"subspace_{name}"), str(condition), str(model)) for name in ("languages_transfer", "spectrum")}
        yield (
            f"{condition}/subspace-{file_name(str(model))}",
            subspaces_figure(rows, own["languages_transfer"], own["spectrum"]),
        )


def _of(table: pd.DataFrame | None, condition: str, model: str) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame()
    return table[(table["condition"] == condition) & (table["model"] == model)]


def subspaces_figure(rows: pd.DataFrame, transfer: pd.DataFrame, spectrum: pd.DataFrame) -> Figure:
    """A panel for each statistic, one for the transfer of groups across languages, one for how many directions languages take."""
    panels = [(str(statistic), part) for statistic, part in rows.groupby("statistic", sort=False)]
    if len(transfer):
        panels += [(f"probe for group, {tested}", part) for tested, part in transfer.groupby("tested", sort=False)]
    high = -(-(len(panels) + 1) // _COLUMNS)
    figure, grid = plt.subplots(high, _COLUMNS, figsize=(WIDTH, 1.9 * high + 1.8), layout="constrained", squeeze=False)
    for axes, (title, part) in zip(grid.flat, panels, strict=False):
        curves(axes, part)
        axes.set_title(title, fontsize="small")
    legend_below(figure, 2)
    _spectrum(grid.flat[len(panels)], spectrum)
    for axes in grid.flat[len(panels) + 1 :]:
        axes.remove()
    first = rows.iloc[0]
    headed(
        figure,
        f"{first['model']}, {first['languages']} languages; {first['dataset']}, n = {first['items']}, pooling {first['pooling']}\n"
        "erasers fitted on half of the items, judged on the others\nbands: intervals over items;\npairs of items: means over all"
        " pairs of languages",
    )
    return figure


def _spectrum(axes: Axes, spectrum: pd.DataFrame) -> None:
    """Of some layers, how much of the held-out differences of languages the leading directions hold."""
    layers = list(dict.fromkeys(spectrum["layer"]))
    shown = [layers[i] for i in np.unique(np.linspace(0, len(layers) - 1, min(_SHOWN, len(layers))).round().astype(int))]
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(shown)))
    for layer, colour in zip(shown, colours, strict=True):
        rows = spectrum[spectrum["layer"] == layer]
        axes.plot(rows["rank"], rows["held"], color=colour, marker=".", linewidth=1.3, label=layer)
    axes.set_ylim(0, 1.03)
    axes.set_xticks(sorted(set(spectrum["rank"])))
    axes.set_title("held-out differences held", fontsize="small")
    axes.set_xlabel("leading directions of the other half", fontsize="x-small")
    axes.tick_params(labelsize="x-small")
    axes.legend(fontsize="x-small", frameon=False, loc="lower right")


VIEWS = [SweepView(figures)]
