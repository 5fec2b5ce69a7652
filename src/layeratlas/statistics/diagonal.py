"""Diagonal structure: are layers at similar depths more alike than others?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

FloatMatrix = Float[np.ndarray, "rows columns"]


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
        raise ValueError(f"every cell of a {matrix.shape[0]} x {matrix.shape[1]} matrix lies on its generalised diagonal")
    return float(matrix[on].mean()), float(matrix[~on].mean())


def on_off_diagonal(matrix: FloatMatrix) -> OnOffDiagonal:
    """Compare the generalised diagonal with the rest; needs at least two cells in each."""
    mask = generalised_diagonal(*matrix.shape)
    on, off = matrix[mask], matrix[~mask]
    if len(on) < 2 or len(off) < 2:
        raise ValueError(f"a {matrix.shape[0]} x {matrix.shape[1]} matrix is too small to compare its diagonal with the rest")
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
