"""Diagonal structure: are layers at similar depths more alike than others?"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from layeratlas.errors import Undefined
from layeratlas.statistics.nulls import ROUNDING, add_one_p, attainable_p, unrestricted

FloatMatrix = Float[np.ndarray, "rows columns"]
Depths = Sequence[float] | Float[np.ndarray, " _"]

_MOST_LAYERS = 10_000  # depths are fractions of no more layers


def generalised_diagonal(rows: int, columns: int) -> Bool[np.ndarray, "rows columns"]:
    """Cells on the generalised diagonal of a rectangle (Wolfram and Schein, 2025, section 4).

    With n >= m, cell (i, j) of an n x m matrix lies on it if j <= i <= j + n - m: every diagonal of a longest length. For a
    square it is the main diagonal; for 80 x 16 it holds 81 % of all cells, so that its complement says little.
    """
    if rows < columns:
        return generalised_diagonal(columns, rows).T
    i, j = np.arange(rows)[:, None], np.arange(columns)
    return (j <= i) & (i <= j + rows - columns)


@dataclass(frozen=True)
class OnOffDiagonal:
    """Means on and off the generalised diagonal, and one-sided t-tests of on > off as published.

    The tests take neighbouring cells for independent observations, which layers are not: their p-values describe
    the published procedure and are far too small as evidence.
    """

    on_mean: float
    off_mean: float
    cells_on: int
    cells_off: int
    student_t: float
    student_p: float
    welch_t: float
    welch_p: float

    @property
    def contrast(self) -> float:
        return self.on_mean - self.off_mean


def diagonal_means(matrix: FloatMatrix) -> tuple[float, float]:
    """Mean on the generalised diagonal and mean off it; needs at least one cell in each."""
    on = generalised_diagonal(*matrix.shape)
    if on.all():
        raise Undefined(f"every cell of a {matrix.shape[0]} x {matrix.shape[1]} matrix lies on its generalised diagonal")
    return float(matrix[on].mean()), float(matrix[~on].mean())


def on_off_diagonal(matrix: FloatMatrix) -> OnOffDiagonal:
    """Compare the generalised diagonal with the rest; needs at least two cells in each.

    >>> import numpy as np
    >>> found = on_off_diagonal(np.eye(4))
    >>> found.on_mean, found.off_mean, found.cells_on
    (1.0, 0.0, 4)
    """
    mask = generalised_diagonal(*matrix.shape)
    on, off = matrix[mask], matrix[~mask]
    if len(on) < 2 or len(off) < 2:
        raise Undefined(f"a {matrix.shape[0]} x {matrix.shape[1]} matrix is too small to compare its diagonal with the rest")
    origin = matrix[0, 0]  # equal cells then have a mean and a deviation of exactly 0, not of rounding error
    moments_on, moments_off = ((cells.mean(), cells.std(ddof=1), len(cells)) for cells in (on - origin, off - origin))
    student = stats.ttest_ind_from_stats(*moments_on, *moments_off, alternative="greater")
    welch = stats.ttest_ind_from_stats(*moments_on, *moments_off, alternative="greater", equal_var=False)
    on_mean, off_mean = diagonal_means(matrix)
    return OnOffDiagonal(
        on_mean=on_mean,
        off_mean=off_mean,
        cells_on=len(on),
        cells_off=len(off),
        student_t=float(student.statistic),
        student_p=float(student.pvalue),
        welch_t=float(welch.statistic),
        welch_p=float(welch.pvalue),
    )


def proportional_band(depth_a: Depths, depth_b: Depths, width: float) -> Bool[np.ndarray, "rows columns"]:
    """Cells whose two relative depths differ by at most `width`: the same share of the matrix whatever its shape."""
    return np.abs(np.asarray(depth_a)[:, None] - np.asarray(depth_b)) <= width + 1e-12


def contrast(matrices: Float[np.ndarray, "*draws rows columns"], on: Bool[np.ndarray, "rows columns"]) -> np.ndarray:
    """Mean on the marked cells minus mean off them, of each matrix. Raises ValueError where nothing is left on one side."""
    if on.all() or not on.any():
        which = "every cell" if on.all() else "no cell"
        raise Undefined(f"{which} of a {on.shape[0]} x {on.shape[1]} matrix lies on its diagonal, so there is nothing to contrast")
    return np.asarray(matrices[..., on].mean(axis=-1) - matrices[..., ~on].mean(axis=-1))


def circular_shift_p(matrix: FloatMatrix, on: Bool[np.ndarray, "rows columns"], axis: int) -> float:
    """Share of all circular shifts of one side's layers (the unshifted one included) with at least as large a contrast.

    Keeps the smoothness of neighbouring layers but joins the last to the first. Its smallest value is 1 / L for L layers on
    that axis, however clear the diagonal.
    """
    shifted = np.stack([np.roll(matrix, shift, axis=axis) for shift in range(matrix.shape[axis])])
    values = contrast(shifted, on)
    return float(add_one_p(values[0], values[1:]))


def layer_permutation_p(matrix: FloatMatrix, on: Bool[np.ndarray, "rows columns"], draws: int, rng: np.random.Generator) -> float:
    """Add-one p of the contrast when the layers of the longer side are put into random order (a Mantel-like test).

    Takes layers for exchangeable; neighbouring ones are not, so that it finds a diagonal in any two smooth sequences.
    """
    tall, mask = (matrix, on) if matrix.shape[0] >= matrix.shape[1] else (matrix.T, on.T)
    values = contrast(np.stack([tall[order] for order in unrestricted(len(tall)).others(draws, rng)]), mask)
    return float(add_one_p(contrast(tall, mask), values))


def layer_permutation_attainable_p(shape: tuple[int, int], draws: int) -> float:
    """The smallest that `layer_permutation_p` can be: as many layers as 5 have fewer orders than are usually drawn."""
    return attainable_p(unrestricted(max(shape)).count(draws + 1) - 1)


def best_match_depth_rank(matrix: FloatMatrix, depth_a: Depths, depth_b: Depths) -> float:
    """Spearman correlation of each row's depth with the depth of its best column (Wolfram and Schein, 2025, figure 5a)."""
    return _spearman(np.asarray(depth_a), np.asarray(depth_b)[matrix.argmax(axis=1)])


def cell_depth_rank(matrix: FloatMatrix, depth_a: Depths, depth_b: Depths) -> float:
    """Spearman correlation over all cells of affinity with minus the difference of the two relative depths."""
    depths_a, depths_b = ([Fraction(depth).limit_denominator(_MOST_LAYERS) for depth in side] for side in (depth_a, depth_b))
    distances = [abs(a - b) for a in depths_a for b in depths_b]
    places = {distance: i for i, distance in enumerate(sorted(set(distances)))}  # as floats, equal ones differ by rounding
    return _spearman(-np.array([places[distance] for distance in distances]), matrix.ravel())


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """NaN where one of them is constant but for rounding, or a cell is undefined: neither has ranks."""
    ranked = all(np.ptp(values) > ROUNDING * np.abs(values).max() for values in (x, y))
    return float(stats.spearmanr(x, y).statistic) if ranked else float("nan")


def monotone_match(matrix: FloatMatrix) -> Int[np.ndarray, " rows"]:
    """For each row a column, never to the left of the row's before, with the largest total affinity (dynamic programming).

    How one model is stretched and squeezed into the other if depth is never to run backwards.
    """
    rows = len(matrix)
    total = np.empty_like(matrix)
    total[0] = matrix[0]
    for i in range(1, rows):
        total[i] = matrix[i] + np.maximum.accumulate(total[i - 1])
    path = np.empty(rows, dtype=int)
    path[-1] = total[-1].argmax()
    for i in range(rows - 2, -1, -1):
        path[i] = total[i, : path[i + 1] + 1].argmax()
    return path


def monotone_share(matrix: FloatMatrix) -> float:
    """Mean affinity of the monotone match over that of each row's best match: 1 if the best matches never run backwards.

    NaN where the best matches are no more alike than 0.
    """
    best = float(matrix.max(axis=1).mean())
    return float(matrix[np.arange(len(matrix)), monotone_match(matrix)].mean()) / best if best > 0 else float("nan")
