"""Affinity matrices compared with each other, and brought to one shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

Matrix = Float[np.ndarray, "rows columns"]


def unit_square(matrices: Sequence[Matrix], bins: int = 40, *, both_orientations: bool = True) -> Float[np.ndarray, "bins bins"]:
    """Mean affinity over relative depths: layer i of L lies at i / (L - 1) (Wolfram and Schein, 2025, figure 5c).

    All cells of all matrices, each pair also the other way round, are averaged within `bins` x `bins` bins; a bin that no
    cell falls into is NaN.
    """
    oriented = [m for matrix in matrices for m in ((matrix, matrix.T) if both_orientations else (matrix,))]
    places = [np.meshgrid(*(np.linspace(0, 1, size) for size in m.shape), indexing="ij") for m in oriented]
    rows, columns = (np.concatenate([place[axis].ravel() for place in places]) for axis in (0, 1))
    values = np.concatenate([m.ravel() for m in oriented])
    edges = np.linspace(0, 1, bins + 1)
    return stats.binned_statistic_2d(rows, columns, values, bins=[edges, edges]).statistic


@dataclass(frozen=True)
class MatrixCorrelation:
    """Correlations of two matrices' cells. `off_diagonal` leaves out each layer with itself, `partial` holds the distance of
    depths constant, `mantel_p` is the add-one p of the off-diagonal Pearson correlation over permutations of the layers.
    """

    pearson: float
    spearman: float
    off_diagonal_pearson: float
    off_diagonal_spearman: float
    partial: float
    mantel_p: float


def correlate(first: Matrix, second: Matrix, *, draws: int, rng: np.random.Generator) -> MatrixCorrelation:
    """Compare two matrices of one pair of models under two conditions.

    Permutations reorder the layers of both axes of `second`, jointly if it is square. Raises ValueError for other shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"matrices of different layers cannot be compared cell by cell; got {first.shape} and {second.shape}")
    square = first.shape[0] == first.shape[1]
    off = ~np.eye(len(first), dtype=bool) if square else np.ones(first.shape, dtype=bool)
    observed = _pearson(first[off], second[off])
    drawn = [_pearson(first[off], _reordered(second, square, rng)[off]) for _ in range(draws)]
    depths = [np.linspace(0, 1, size) for size in first.shape]
    distance = np.abs(depths[0][:, None] - depths[1])
    return MatrixCorrelation(
        pearson=_pearson(first.ravel(), second.ravel()),
        spearman=float(stats.spearmanr(first.ravel(), second.ravel()).statistic),
        off_diagonal_pearson=observed,
        off_diagonal_spearman=float(stats.spearmanr(first[off], second[off]).statistic),
        partial=_pearson(_residual(first[off], distance[off]), _residual(second[off], distance[off])),
        mantel_p=float((1 + (np.array(drawn) >= observed - 1e-12).sum()) / (draws + 1)),
    )


def incomparable(first: dict[str, object], second: dict[str, object]) -> list[str]:
    """Which of n, k and estimator differ between two runs, so that their scales do: values cannot be compared, shapes can."""
    return [key for key in ("n", "k", "estimator") if first.get(key) != second.get(key)]


def spearman_brown(half: float) -> float:
    """Reliability of the whole from the correlation of its halves: the noise ceiling of a correlation with the whole."""
    return 2 * half / (1 + half)


def _reordered(matrix: Matrix, square: bool, rng: np.random.Generator) -> Matrix:
    rows = rng.permutation(matrix.shape[0])
    return matrix[np.ix_(rows, rows if square else rng.permutation(matrix.shape[1]))]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _residual(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What linear regression on x leaves of y."""
    x = x - x.mean()
    return y - y.mean() - x * (x @ y) / (x @ x)
