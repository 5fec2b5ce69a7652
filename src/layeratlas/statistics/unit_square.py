"""Affinity matrices of models with different numbers of layers, brought onto one square."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

FloatMatrix = Float[np.ndarray, "rows columns"]
AnyMatrix = Float[np.ndarray, "_ _"]  # those of one list may differ in shape
Square = Float[np.ndarray, "size size"]


def relative_positions(layers: int) -> Float[np.ndarray, " layers"]:
    """I / (L - 1) for i = 0 .. L - 1: the first layer at 0 and the last at 1 (Wolfram and Schein, 2025), unlike depth k / L."""
    return np.linspace(0, 1, layers)


def resampled(matrix: FloatMatrix, size: int) -> Square:
    """The matrix stretched to size x size cells, each with the value of the layer pair that covers its centre."""
    rows, columns = (((np.arange(size) + 0.5) / size * length).astype(int) for length in matrix.shape)
    return matrix[np.ix_(rows, columns)]


def unit_square(matrices: Sequence[AnyMatrix], bins: int = 40) -> Square:
    """Mean affinity over all matrices' cells by relative position of both layers (Wolfram and Schein, 2025, figure 5c).

    A bin that no cell falls into is NaN. As published, give each pair of models in both orientations.
    """
    positions = [np.meshgrid(*map(relative_positions, matrix.shape), indexing="ij") for matrix in matrices]
    rows, columns = (np.concatenate([both[axis].ravel() for both in positions]) for axis in (0, 1))
    values, edges = np.concatenate([matrix.ravel() for matrix in matrices]), np.linspace(0, 1, bins + 1)
    return stats.binned_statistic_2d(rows, columns, values, bins=[edges, edges]).statistic


def mean_unit_square(matrices: Sequence[AnyMatrix], most: int = 40) -> Square:
    """The unit square in `most` bins a side, or in as many as leave none of them empty."""
    for bins in range(most, 1, -1):
        if np.isfinite(square := unit_square(matrices, bins)).all():
            return square
    return unit_square(matrices, 1)


class Lines(NamedTuple):
    """Means over the bins that hold a cell: of the diagonal, of the other diagonal, of all; and the largest bin."""

    diagonal: float
    anti_diagonal: float
    overall: float
    largest: float


def lines(square: Square) -> Lines:
    """What is reported of a unit square; NaN where no bin of a line holds a cell."""
    parts = (np.diag(square), np.diag(square[::-1]), square.ravel())
    diagonal, anti, overall = (float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else float("nan") for part in parts)
    return Lines(diagonal, anti, overall, float(np.nanmax(square)))
