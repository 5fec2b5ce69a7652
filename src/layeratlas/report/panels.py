"""A grid of panels of one size."""

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panels(count: int, columns: int, size: tuple[float, float], above: float) -> tuple[Figure, list[Axes]]:
    """As many panels of this size (inches), side by side in so many columns, with room `above` them; they share their y axis."""
    wide = min(columns, count)
    high = math.ceil(count / wide)
    figure, grid = plt.subplots(
        high, wide, figsize=(size[0] * wide, size[1] * high + above), layout="constrained", squeeze=False, sharey=True
    )
    places = list(grid.flat)
    for axes in places[count:]:
        axes.remove()
    return figure, places[:count]
