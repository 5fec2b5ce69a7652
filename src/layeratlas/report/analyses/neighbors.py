"""How many neighbours texts share over depth, and one text with its neighbours on both sides."""

from collections.abc import Sequence
from functools import cache
from textwrap import shorten, wrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from layeratlas.files.inert import inert
from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import name_of
from layeratlas.report.panels import headed
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_LISTED = 3  # neighbours of each kind that the picture quotes
_WIDE, _LONG = 3.4, 3.8  # inches: a column of a paper
_SMALL = 6.0  # points
_SIDES = {"only_a": ("tab:blue", "only in a"), "both": ("black", "in both"), "only_b": ("tab:orange", "only in b")}


def neighbors_figure(run: Run) -> Figure:
    """Neighbours that texts share over the best path, and how many texts share how many where most do; beside chance."""
    table, counts, best = run.table("neighbors"), run.table("neighbors_counts"), _best(run)
    figure, (path, histogram) = plt.subplots(2, 1, figsize=(_WIDE, 4.2), layout="constrained")
    path.plot(_places(table), table["shared"], color="tab:blue", marker=".", markersize=3, linewidth=1.2, label="mean over texts")
    path.plot(_places(table), table["shared_chance"], color="grey", linestyle=":", linewidth=1.2, label="chance")
    path.set_xlabel("depth of the layer of a", fontsize=_SMALL + 1)
    path.set_ylabel(f"common neighbours of {_k(run)}", fontsize=_SMALL + 1)
    rows = counts[(counts["layer_a"] == best["layer_a"]) & (counts["layer_b"] == best["layer_b"])]
    histogram.bar(rows["shared"], rows["items"], color="tab:blue", label="texts")
    histogram.step(rows["shared"], rows["chance"], where="mid", color="grey", linewidth=1.2, label="by chance")
    histogram.set_xlabel(f"common neighbours, {best['layer_a']} of a and {best['layer_b']} of b", fontsize=_SMALL + 1)
    histogram.set_ylabel("texts", fontsize=_SMALL + 1)
    for axes in (path, histogram):
        axes.tick_params(labelsize=_SMALL)
        axes.legend(fontsize=_SMALL, frameon=False)
    headed(figure, _caption(run))
    return figure


def texts_figure(run: Run) -> Figure:
    """A text of middling agreement, its neighbours in both layers as two circles, and the nearest of each part in words."""
    best, items = _best(run), run.table("items").set_index("id", drop=False)
    items.index = items.index.astype(str)
    chosen = _middling(run, best)
    lists = _lists(run, best, chosen, items)
    figure, axes = plt.subplots(figsize=(_WIDE, _LONG), layout="constrained")
    axes.set(xlim=(0, 10), ylim=(1.0, 11.4), aspect="equal")
    axes.axis("off")
    _write(axes, 0.1, 11.3, f"“{_quoted(items, chosen, 'a', 150)}”", _SMALL + 0.5, 62)
    _circles(axes, {part: len(ids) for part, ids in lists.items()}, best)
    for (part, (colour, label)), x in zip(_SIDES.items(), (0.0, 3.45, 6.9), strict=True):
        axes.text(x, 5.5, label, fontsize=_SMALL, color=colour, weight="bold", va="top")
        below = 5.05
        for item in lists[part][:_LISTED]:
            below = _write(axes, x, below, _quoted(items, item, "b" if part == "only_b" else "a", 58), _SMALL - 0.6, 20) - 0.14
    headed(figure, _caption(run))
    return figure


def charts(run: Run) -> list[Chart]:
    """The same as the figure, and the hubs of both sides."""
    table, counts, best = run.table("neighbors"), run.table("neighbors_counts"), _best(run)
    x, labels = _places(table), [f"a {a}, b {b}" for a, b in zip(table["layer_a"], table["layer_b"], strict=True)]
    depth = "depth of the layer of a"
    shared = [
        Series("mean over texts", x, table["shared"], labels=labels),
        Series("chance", x, table["shared_chance"], style="dotted"),
    ]
    small = [
        Series("texts of small p", x, table["small_p_share"], labels=labels),
        Series("by chance", x, table["small_p_share_chance"], style="dotted"),
        Series("share none", x, table["none_share"], labels=labels),
        Series("share none, by chance", x, table["none_share_chance"], style="dotted"),
    ]
    rows = counts[(counts["layer_a"] == best["layer_a"]) & (counts["layer_b"] == best["layer_b"])]
    histogram = [
        Series("texts", rows["shared"], rows["items"], style="bars"),
        Series("by chance", rows["shared"], rows["chance"], style="dashed"),
    ]
    hubs = [Series(side, x, table[f"hubness_{side}"], labels=labels) for side in "ab"]
    where = f"a {best['layer_a']} and b {best['layer_b']}"
    return [
        Chart("Neighbours in common", depth, f"of {_k(run)}", shared, note="Each layer of a with its match in b on the best path."),
        Chart(
            "Which share of texts agrees", depth, "share of texts", small, note="p of a text: as many common neighbours or more."
        ),
        Chart(f"How many texts share how many: {where}", "common neighbours", "texts", histogram, note="Where most are shared."),
        Chart("Hubs", depth, "skewness", hubs, note="Of how many lists a text is on: large where few texts are near all others."),
    ]


def _best(run: Run) -> pd.Series:
    table = run.table("neighbors")
    return table.iloc[int(table["shared"].to_numpy().argmax())]


def _places(table: pd.DataFrame) -> pd.Series:
    return table["depth_a"]


def _k(run: Run) -> int:
    return int(run.result["statistics"]["neighbors"]["k"])


def _middling(run: Run, best: pd.Series) -> str:
    """The first text that shares as many neighbours as texts do in the middle."""
    rows = run.table("neighbors_items")
    rows = rows[(rows["layer_a"] == best["layer_a"]) & (rows["layer_b"] == best["layer_b"])].reset_index(drop=True)
    return str(rows["id"].iloc[int((rows["shared"] - rows["shared"].median()).abs().to_numpy().argmin())])


def _lists(run: Run, best: pd.Series, chosen: str, items: pd.DataFrame) -> dict[str, list[str]]:
    """The neighbours of one text by the side that they are on, nearest first, from neighbors.npz."""
    lists = run.neighbors()
    assert lists is not None  # the analysis is of metrics that have some
    item = items.index.get_loc(chosen)
    a, b = (
        [str(items.index[one]) for one in lists[side][run.arrays[f"layers_{side}"].tolist().index(best[f"layer_{side}"])][item]]
        for side in "ab"
    )
    return {"only_a": [x for x in a if x not in b], "both": [x for x in a if x in b], "only_b": [x for x in b if x not in a]}


def _circles(axes: Axes, counts: dict[str, int], best: pd.Series) -> None:
    """Two circles that overlap the more, the more neighbours both sides have in common."""
    share = counts["both"] / max(1, counts["both"] + counts["only_a"])
    apart = 1.1 + 1.5 * (1 - share)
    for side, x in (("a", 5 - apart / 2), ("b", 5 + apart / 2)):
        colour = _SIDES[f"only_{side}"][0]
        axes.add_patch(Circle((x, 7.9), 1.75, facecolor=colour, edgecolor=colour, alpha=0.3))
        beyond = 5 - 1.75 if side == "a" else 5 + 1.75  # the middle of what one circle has alone
        axes.text(beyond, 7.9, str(counts[f"only_{side}"]), fontsize=_SMALL + 2, ha="center", va="center")
        align, place = ("right", 2.3) if side == "a" else ("left", 7.7)
        axes.text(place, 9.2, f"{side} {best[f'layer_{side}']}", fontsize=_SMALL, ha=align, color=colour, weight="bold")
    axes.text(5, 7.9, str(counts["both"]), fontsize=_SMALL + 2, ha="center", va="center")


def _write(axes: Axes, x: float, top: float, text: str, size: float, width: int) -> float:
    """Lines from the top down; returns where they end."""
    lines = wrap(text, width)
    for line in lines:
        axes.text(x, top, line, fontsize=size, va="top", parse_math=False)
        top -= 0.057 * size
    return top


def _quoted(items: pd.DataFrame, item: str, side: str, most: int) -> str:
    """The beginning of a text; its id where this picture's font lacks one of its letters."""
    text = inert(shorten(str(items.at[item, f"text_{side}"]), most, placeholder=" …") or str(items.at[item, f"text_{side}"])[:most])
    return text if _drawable(text) else f"{inert(item)} (letters that this picture's font lacks: see report.html)"


def _drawable(text: str) -> bool:
    return all(ord(letter) in _letters() for letter in text)


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap())


def _caption(run: Run) -> str:
    result = run.result
    sides: Sequence[str] = [f"{side}: {name_of(result[side])}" for side in "ab"]
    texts = f"{result['dataset']['name']}, n = {result['dataset']['n']}, pooling {result['pooling']}, k = {_k(run)}"
    return "\n".join(["; ".join(sides), texts])


VIEWS = [
    View("neighbors", ["neighbors", "neighbors_counts"], neighbors_figure, charts),
    View("neighbors_texts", ["neighbors", "neighbors_items", "items"], texts_figure, texts=True),
]
