"""Languages against languages at some depths, what their alignment goes with, and the curves of all of them."""

import math
from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, leaves_list

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed, legend_below, name_layers, panels
from layeratlas.report.sweep_figures import TICKS
from layeratlas.report.views import SweepView
from layeratlas.statistics.clustering import average_linkage
from layeratlas.studies import Sweep
from layeratlas.studies.language_pairs import LanguagePairs, language_pairs
from layeratlas.studies.languages import MEAN, with_mean
from layeratlas.studies.sweep import file_name

_PANELS = 4  # depths that the matrix is shown at
_COLUMNS = 2
_IN_CELLS = 6  # languages whose numbers are written into their cells
_ALPHA = 0.05
_LEGEND = 0.05  # of a panel's height that a line of its legend takes
_REFERENCE = "en"
_STYLES = {
    "baseline_length": ("wrong partners of the same length", {"color": "tab:red", "linewidth": 1.0}),
    "chance": ("any partner (chance)", {"color": "grey", "linestyle": ":", "linewidth": 1.4}),
}


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """The pictures of each condition and model: of the first statistic that its runs were asked for."""
    for of_model in language_pairs(sweep):
        place = f"{of_model.condition}/languages-{file_name(of_model.model)}"
        yield f"{place}-curves", curves_figure(of_model)
        if len(of_model.languages) > 2 and not of_model.missing:
            yield f"{place}-matrices", matrices_figure(of_model)
        rows = _of(tables.get("languages"), of_model)
        if len(rows):
            yield f"{place}-predictors", predictors_figure(of_model, rows)


def _of(table: pd.DataFrame | None, of_model: LanguagePairs) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame()
    mine = (table["condition"] == of_model.condition) & (table["model"] == of_model.model)
    return table[mine & (table["statistic"] == _statistic(of_model))]


def _statistic(of_model: LanguagePairs) -> str:
    return str(of_model.alignment["statistic"].iloc[0])


def _setting(of_model: LanguagePairs) -> str:
    shared, n = of_model.shared, of_model.pairs["n"]
    items = " to ".join(dict.fromkeys((str(n.min()), str(n.max()))))
    return f"{of_model.model}, {shared['dataset']}, n = {items}, pooling {shared['pooling']}"


def matrices_figure(of_model: LanguagePairs) -> Figure:
    """The tree of the mean over blocks, and the matrix at some depths in the order of its leaves, on one scale."""
    layers, alignment = with_mean(*of_model.above_chance(_statistic(of_model)))
    known = np.isfinite(alignment[-1][np.triu_indices(len(of_model.languages), 1)]).all()
    shown = _shown(layers)
    count = len(shown) + 2
    rows = math.ceil(count / _COLUMNS)
    figure, grid = plt.subplots(rows, _COLUMNS, figsize=(WIDTH, 2.3 * rows + 0.7), layout="constrained", squeeze=False)
    places = list(grid.flat)
    order = _tree(places[0], of_model, alignment[-1]) if known else list(range(len(of_model.languages)))
    drawn = alignment[[*shown, len(layers) - 1]]
    low, high = min(0.0, np.nanmin(drawn)), np.nanmax(drawn)
    colours = ScalarMappable(Normalize(low, high), plt.get_cmap("viridis").with_extremes(bad="lightgrey"))
    for axes, layer in zip(places[1:], [*shown, len(layers) - 1], strict=False):
        matrix = alignment[layer][np.ix_(order, order)]
        axes.imshow(matrix, cmap=colours.cmap, norm=colours.norm)
        _named(axes, [of_model.languages[i] for i in order])
        _numbers(axes, matrix, (low + high) / 2)
        axes.set_title(_called(layers.iloc[layer]), fontsize="small")
    for axes in places[count:]:
        axes.remove()
    figure.colorbar(
        colours, ax=places[:count], location="bottom", shrink=0.6, aspect=40, label=f"{_statistic(of_model)} above chance"
    )
    headed(figure, f"{_setting(of_model)}\n{_statistic(of_model)} above chance, larger = more alike;\norder: average linkage")
    return figure


def _shown(layers: pd.DataFrame) -> list[int]:
    """Blocks at about equal distances, the first and the last among them."""
    blocks = np.flatnonzero(layers["depth"].notna())
    blocks = blocks if len(blocks) else np.arange(len(layers) - 1)
    return blocks[np.unique(np.linspace(0, len(blocks) - 1, min(_PANELS, len(blocks))).round().astype(int))].tolist()


def _called(layer: pd.Series) -> str:
    flagged = f", says nothing in {layer['flagged']} pairs" if layer["flagged"] else ""
    depth = f" (depth {layer['depth']:.2f})" if pd.notna(layer["depth"]) else ""
    return f"{layer['layer']}{depth}{flagged}"


def _tree(axes: Axes, of_model: LanguagePairs, mean: np.ndarray) -> list[int]:
    merges = average_linkage(mean)
    dendrogram(merges, labels=of_model.languages, orientation="left", ax=axes, color_threshold=0, above_threshold_color="black")
    axes.invert_yaxis()
    axes.tick_params(labelsize=TICKS)
    axes.set_title(MEAN, fontsize="small")
    axes.set_xlabel("alignment of the closest pair less theirs", fontsize="x-small")
    return leaves_list(merges).tolist()


def _named(axes: Axes, languages: list[str]) -> None:
    axes.set_xticks(range(len(languages)), languages, rotation=90, fontsize=TICKS)
    axes.set_yticks(range(len(languages)), languages, fontsize=TICKS)
    axes.tick_params(length=0)


def _numbers(axes: Axes, matrix: np.ndarray, middle: float) -> None:
    if len(matrix) > _IN_CELLS:
        return
    for row, column in np.argwhere(np.isfinite(matrix)):
        value = matrix[row, column]
        colour = "white" if value < middle else "black"
        axes.text(column, row, f"{value:z.2f}".replace("0.", "."), ha="center", va="center", fontsize="x-small", color=colour)


def predictors_figure(of_model: LanguagePairs, rows: pd.DataFrame) -> Figure:
    """A panel per predictor: its partial correlation at each layer, alone and beside others."""
    names = list(dict.fromkeys(rows["predictor"]))
    figure, places = panels(len(names), 1, 2.0, above=0.9)
    for axes, name in zip(places, names, strict=True):
        _predictor(axes, rows[rows["predictor"] == name], name)
    n, pairs = rows["languages"].iloc[0], rows["pairs"].iloc[0]
    headed(
        figure,
        f"{_setting(of_model)}\n{_statistic(of_model)} above chance of {pairs} pairs of {n} languages: (partial) correlation;\n"
        f"dots: p <= {_ALPHA:g} over all layers, languages' labels permuted",
    )
    return figure


def _predictor(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    for number, (together, part) in enumerate(rows[rows["layer"] != MEAN].groupby("predictors", sort=False)):
        others = [other for other in str(together).split(", ") if other != name]
        mean = rows[(rows["layer"] == MEAN) & (rows["predictors"] == together)].iloc[0]
        vif = f", VIF {mean['inflation']:.1f}" if others else ""
        label = f"{'beside ' + ', '.join(others) if others else 'alone'}{vif}; mean of blocks p = {mean['p']:.2g}"
        at = np.arange(len(part))
        axes.plot(at, part["partial"], linewidth=1.3, linestyle="--" if others else "-", color=f"C{number}", label=label)
        certain = (part["p_fwer"] <= _ALPHA).to_numpy()
        axes.plot(at[certain], part["partial"].to_numpy()[certain], "o", markersize=3.5, color=f"C{number}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_ylim(1.05 - 2.1 / (1 - _LEGEND * len(axes.lines)), 1.05)  # the legend stands below the curves
    name_layers(axes, rows.loc[(rows["layer"] != MEAN) & (rows["predictors"] == rows["predictors"].iloc[0]), "layer"].tolist(), 8)
    axes.set_title(name, fontsize="small")
    axes.legend(fontsize="x-small", frameon=False, loc="lower right")


def curves_figure(of_model: LanguagePairs) -> Figure:
    """The alignment of each language with one that most pairs share, over layers, beside its baselines; a panel per language."""
    reference = _reference(of_model)
    rows = of_model.alignment[of_model.alignment["statistic"] == _statistic(of_model)]
    curves = {
        str(b if a == reference else a): part for (a, b), part in rows.groupby(["language_a", "language_b"]) if reference in (a, b)
    }
    figure, places = panels(len(curves), _COLUMNS, 1.6, above=1.3)
    for axes, language in zip(places, sorted(curves), strict=True):
        _curve(axes, curves, language)
        axes.set_title(f"{reference} – {language}", fontsize="small")
    legend_below(figure, 2)
    headed(figure, f"{_setting(of_model)}\n{_statistic(of_model)} of {reference} with each language, same layer")
    return figure


def _reference(of_model: LanguagePairs) -> str:
    pairs = of_model.pairs
    counted = pd.concat([pairs["language_a"], pairs["language_b"]]).value_counts()
    most = sorted(counted[counted == counted.max()].index)
    return _REFERENCE if _REFERENCE in most else most[0]


def _curve(axes: Axes, curves: Mapping[str, pd.DataFrame], language: str) -> None:
    for other in curves.values():
        axes.plot(np.arange(len(other)), other["value"], color="lightgrey", linewidth=0.8, label="the other languages")
    own = curves[language]
    at = np.arange(len(own))
    axes.fill_between(at, own["ci_low"], own["ci_high"], color="tab:blue", alpha=0.2, linewidth=0, label="interval over items")
    axes.plot(at, own["value"], color="tab:blue", linewidth=1.6, label="translations (larger = more alike)")
    for column, (label, style) in _STYLES.items():
        if own[column].notna().any():
            axes.plot(at, own[column], label=label, **style)
    for place in np.flatnonzero(own["flag"] != ""):
        axes.axvspan(
            place - 0.5, place + 0.5, color="black", alpha=0.12, linewidth=0, label="most items have one vector: says nothing"
        )
    name_layers(axes, own["layer"].tolist())


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """A chart per condition, model, statistic and predictor: its partial correlation over layers, alone and beside others."""
    table = tables.get("languages", pd.DataFrame({"condition": [], "model": [], "statistic": [], "predictor": []}))
    for (_, model, statistic, predictor), rows in table.groupby(["condition", "model", "statistic", "predictor"], sort=False):
        series = []
        for together, part in rows[rows["layer"] != MEAN].groupby("predictors", sort=False):
            others = [other for other in str(together).split(", ") if other != predictor]
            series.append(Series(f"beside {', '.join(others)}" if others else "alone", range(len(part)), part["partial"]))
        layers = rows.loc[(rows["layer"] != MEAN) & (rows["predictors"] == rows["predictors"].iloc[0]), "layer"].tolist()
        title = f"{model}: {statistic} and {predictor}"
        yield Chart(title, "layer", "partial correlation over pairs of languages", series, ticks=layers, rules=[0.0])


VIEWS = [SweepView(figures, charts)]
