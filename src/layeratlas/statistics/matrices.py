"""Affinity matrices compared with each other, cell by cell."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

Matrix = Float[np.ndarray, "rows columns"]
AnyMatrix = Float[np.ndarray, "_ _"]


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


def correlate(first: Matrix, second: AnyMatrix, *, draws: int, rng: np.random.Generator) -> MatrixCorrelation:
    """Compare two matrices of one pair of models under two conditions.

    Permutations reorder the layers of both axes of `second`, jointly if it is square. Raises ValueError for other shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"matrices of different layers cannot be compared cell by cell; got {first.shape} and {second.shape}")
    square = first.shape[0] == first.shape[1]
    off = ~np.eye(len(first), dtype=bool) if square else np.ones(first.shape, dtype=bool)
    observed = pearson(first[off], second[off])
    drawn = [pearson(first[off], _reordered(second, square, rng)[off]) for _ in range(draws)]
    depths = [np.linspace(0, 1, size) for size in first.shape]
    distance = np.abs(depths[0][:, None] - depths[1])
    return MatrixCorrelation(
        pearson=pearson(first.ravel(), second.ravel()),
        spearman=float(stats.spearmanr(first.ravel(), second.ravel()).statistic),
        off_diagonal_pearson=observed,
        off_diagonal_spearman=float(stats.spearmanr(first[off], second[off]).statistic),
        partial=pearson(_residual(first[off], distance[off]), _residual(second[off], distance[off])),
        mantel_p=float((1 + (np.array(drawn) >= observed - 1e-12).sum()) / (draws + 1)),
    )


def pearson(x: Float[np.ndarray, " cells"], y: Float[np.ndarray, " cells"]) -> float:
    """Correlation over cells; NaN where either has no variance."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def spearman_brown(half: float) -> float:
    """Reliability 2 r / (1 + r) of the whole from the correlation r of its halves (Spearman, 1910; Brown, 1910).

    It is the correlation to expect with the same measure over as many other items; its square root is the noise ceiling, the
    largest correlation with anything that has no noise.
    """
    return 2 * half / (1 + half)


def items_needed(n: int, reliability: float, wanted: float) -> int:
    """How many items would have the `wanted` reliability if n have this one (the same formula, solved for the length).

        n * wanted (1 - reliability) / (reliability (1 - wanted))

    Assumes that the variance of the noise falls with 1 / n. Raises ValueError for reliabilities outside (0, 1).
    """
    if not (0 < reliability < 1 and 0 < wanted < 1):
        raise ValueError(f"reliabilities must lie between 0 and 1; got {reliability:g} and {wanted:g}")
    return math.ceil(n * wanted * (1 - reliability) / (reliability * (1 - wanted)) - 1e-6)  # not one more for rounding


def _reordered(matrix: Matrix, square: bool, rng: np.random.Generator) -> Matrix:
    rows = rng.permutation(matrix.shape[0])
    return matrix[np.ix_(rows, rows if square else rng.permutation(matrix.shape[1]))]


def _residual(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What linear regression on x leaves of y."""
    x = x - x.mean()
    return y - y.mean() - x * (x @ y) / (x @ x)
