"""Shapes of pictures: as wide as can be read once they are printed in a column of a paper, 8 cm across."""

import math
from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

WIDTH = 5.2  # inches at most: print of size x-small has more than 4.2 points at 8 cm
_LETTERS = 13  # of small print an inch
_LAYERS = 5  # named below a panel of half the width


def panels(count: int, columns: int, height: float, above: float) -> tuple[Figure, list[Axes]]:
    """As many panels of this height (inches), side by side in so many columns, with room `above` them; they share their y axis."""
    wide = min(columns, count)
    high = math.ceil(count / wide)
    figure, grid = plt.subplots(
        high, wide, figsize=(WIDTH, height * high + above), layout="constrained", squeeze=False, sharey=True
    )
    places = list(grid.flat)
    for axes in places[count:]:
        axes.remove()
    return figure, places[:count]


def headed(figure: Figure, text: str) -> None:
    """A title above all panels, in lines that the figure is wide enough for."""
    letters = int(_LETTERS * figure.get_figwidth())
    figure.suptitle("\n".join(fill(line, letters) for line in text.split("\n")), fontsize="small")


def legend_below(figure: Figure, columns: int, axes: Sequence[Axes] | None = None) -> Legend:
    """One legend of what all panels, or these, show: each label once."""
    shown = figure.axes if axes is None else axes
    handles = {label: handle for one in shown for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    return figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", fontsize="x-small", frameon=False, ncols=columns
    )


def name_layers(axes: Axes, layers: list[str], most: int = _LAYERS) -> None:
    """At most so many layers, at equal distances by name, blocks by number; layer i stands at x = i."""
    shown = np.unique(np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int))
    axes.set_xticks(shown, [layers[place].removeprefix("block_") for place in shown], fontsize="x-small")
    axes.tick_params(axis="y", labelsize="x-small")
    axes.set_xlabel("block", fontsize="x-small")


_CHARACTER, _LINE, _POINT = 0.06, 0.11, 0.05  # inches of x-small print and of a point


def label_points(axes: Axes, x: np.ndarray, y: np.ndarray, labels: Sequence[str]) -> None:
    """A label beside each point, where it covers no other point or label; of points too near for that, none.

    The axes must have their limits, scales and size.
    """
    dpi = axes.figure.dpi
    points = axes.transData.transform(np.column_stack([x, y])) / dpi
    taken = [(*(point - _POINT / 2), *(point + _POINT / 2)) for point in points]
    for (left, low), place, text in zip(points, np.column_stack([x, y]), labels, strict=True):
        wide = _CHARACTER * len(text)
        for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            middle = (left + across * (wide / 2 + _POINT), low + up * (_LINE / 2 + _POINT))
            box = (middle[0] - wide / 2, middle[1] - _LINE / 2, middle[0] + wide / 2, middle[1] + _LINE / 2)
            if not any(_overlap(box, other) for other in taken):
                offset = (72 * (middle[0] - left), 72 * (middle[1] - low))
                axes.annotate(text, tuple(place), offset, textcoords="offset points", fontsize="x-small", ha="center", va="center")
                taken.append(box)
                break


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return bool(one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])
