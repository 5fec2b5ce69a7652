"""Affinity matrices compared with each other, cell by cell."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from layeratlas.statistics.nulls import ROUNDING, add_one_p, attainable_p, unrestricted

Matrix = Float[np.ndarray, "rows columns"]
AnyMatrix = Float[np.ndarray, "_ _"]


@dataclass(frozen=True)
class MatrixCorrelation:
    """Correlations of two matrices' cells, NaN where one of them is constant. `partial` holds the distance of depths constant.

    `off_diagonal` leaves out the cells of a layer with itself, of which there are none where the sides are different models.
    `mantel_p` is the add-one p of the off-diagonal Pearson correlation over permutations of the layers, `attainable_p` the
    smallest that it can be.
    """

    pearson: float
    spearman: float
    off_diagonal_pearson: float
    off_diagonal_spearman: float
    partial: float
    mantel_p: float
    attainable_p: float


def correlate(
    first: Matrix, second: AnyMatrix, *, draws: int, rng: np.random.Generator, one_model: bool = False
) -> MatrixCorrelation:
    """Compare two matrices of one pair of sides under two conditions.

    `one_model`: rows and columns are the layers of the same model, so that the main diagonal is each layer with itself, and the
    layers of both axes are permuted jointly; otherwise those of either axis by themselves. Raises ValueError for other shapes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> matrix = rng.random((6, 4))
    >>> found = correlate(matrix, 2 * matrix, draws=99, rng=rng)
    >>> round(found.pearson, 6), found.mantel_p
    (1.0, 0.01)
    """
    if first.shape != second.shape or (one_model and len(set(first.shape)) > 1):
        raise ValueError(f"matrices of different layers cannot be compared cell by cell; got {first.shape} and {second.shape}")
    off = ~np.eye(len(first), dtype=bool) if one_model else np.ones(first.shape, dtype=bool)
    observed = pearson(first[off], second[off])
    drawn = np.array([pearson(first[off], matrix[off]) for matrix in _reordered(second, draws, rng, one_model)])
    depths = [np.linspace(0, 1, size) for size in first.shape]
    distance = np.abs(depths[0][:, None] - depths[1])
    return MatrixCorrelation(
        pearson=pearson(first.ravel(), second.ravel()),
        spearman=spearman(first.ravel(), second.ravel()),
        off_diagonal_pearson=observed,
        off_diagonal_spearman=spearman(first[off], second[off]),
        partial=pearson(_residual(first[off], distance[off]), _residual(second[off], distance[off])),
        mantel_p=float(add_one_p(np.array(observed), drawn)),
        attainable_p=attainable_p(len(drawn)),
    )


def pearson(x: Float[np.ndarray, " cells"], y: Float[np.ndarray, " cells"]) -> float:
    """Correlation over cells; NaN where either has no variance beyond rounding, or a cell is undefined."""
    return float(np.corrcoef(x, y)[0, 1]) if _varies(x) and _varies(y) else float("nan")


def spearman(x: Float[np.ndarray, " cells"], y: Float[np.ndarray, " cells"]) -> float:
    """Rank correlation over cells; NaN where either has no variance beyond rounding, or a cell is undefined."""
    return float(stats.spearmanr(x, y).statistic) if _varies(x) and _varies(y) else float("nan")


def _varies(x: Float[np.ndarray, " cells"]) -> bool:
    """Whether affinities differ by more than the arithmetic that they come from leaves; never where one is NaN."""
    return bool(x.size > 1 and np.ptp(x) > ROUNDING * np.abs(x).max())


def spearman_brown(half: float) -> float:
    """Reliability 2 r / (1 + r) of the whole from the correlation r of its halves (Spearman, 1910; Brown, 1910).

    It is the correlation to expect with the same measure over as many other items; its square root is the noise ceiling, the
    largest correlation with anything that has no noise. Halves that contradict each other fully, as two cells can, have -inf.
    Raises ValueError for what is no correlation.
    """
    if not -1 - ROUNDING <= half <= 1 + ROUNDING:
        raise ValueError(f"a correlation lies between -1 and 1; got {half:g}")
    return 2 * half / (1 + half) if half > -1 else -math.inf


def items_needed(n: int, reliability: float, wanted: float) -> int:
    """How many items would have the `wanted` reliability if n have this one (the same formula, solved for the length).

        n * wanted (1 - reliability) / (reliability (1 - wanted))

    Assumes that the variance of the noise falls with 1 / n. Raises ValueError for reliabilities outside (0, 1).
    """
    if not (0 < reliability < 1 and 0 < wanted < 1):
        raise ValueError(f"reliabilities must lie between 0 and 1; got {reliability:g} and {wanted:g}")
    return math.ceil(n * wanted * (1 - reliability) / (reliability * (1 - wanted)) - 1e-6)  # not one more for rounding


def _reordered(matrix: Matrix, draws: int, rng: np.random.Generator, one_model: bool) -> Iterator[Matrix]:
    """The matrix with its layers in other orders: `draws` random ones, or all that there are where these are no more."""
    axes = [unrestricted(size) for size in (matrix.shape[:1] if one_model else matrix.shape)]
    if math.prod(axis.count(draws + 2) for axis in axes) > draws + 1:
        orders = ([axis.drawn(rng) for axis in axes] for _ in range(draws))
    else:
        orders = itertools.islice(itertools.product(*(axis.every() for axis in axes)), 1, None)
    for order in orders:
        yield matrix[np.ix_(order[0], order[-1])]


def _residual(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What linear regression on x leaves of y; 0 where that is no more than rounding."""
    x, centred = x - x.mean(), y - y.mean()
    squares = x @ x
    left = centred - x * (x @ centred) / squares if squares > 0 else centred
    return left if np.abs(left).max() > ROUNDING * np.abs(y).max() else np.zeros_like(y)
