"""Affinity matrices of models with different numbers of layers, brought onto one square."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

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


def mean_unit_square(matrices: Sequence[AnyMatrix], most: int = 40) -> Square:
    """Mean affinity over all matrices' cells by relative position of both layers (Wolfram and Schein, 2025, figure 5c).

    The square has `most` bins a side, or as many as leave none of them empty.
    """
    for bins in range(most, 1, -1):
        totals, counts = np.zeros((bins, bins)), np.zeros((bins, bins))
        for matrix in matrices:
            rows, columns = (_bins(length, bins) for length in matrix.shape)
            np.add.at(totals, np.ix_(rows, columns), matrix)
            np.add.at(counts, np.ix_(rows, columns), 1)
        if counts.all():
            return totals / counts
    return np.full((1, 1), np.mean(np.concatenate([matrix.ravel() for matrix in matrices])))


def _bins(layers: int, bins: int) -> Int[np.ndarray, " layers"]:
    return np.minimum((relative_positions(layers) * bins).astype(int), bins - 1)
