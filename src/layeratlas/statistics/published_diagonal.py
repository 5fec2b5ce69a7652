"""Descriptions of a matrix of layers that publications report and that nothing else here rests on.

None has a null. Thirds, block bootstrap and Manhattan distance are defined here as their publication names them: its code is not
public (Wolfram and Schein, 2025, figures).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from layeratlas.statistics.diagonal import generalised_diagonal
from layeratlas.statistics.nulls import ROUNDING
from layeratlas.statistics.unit_square import relative_positions

FloatMatrix = Float[np.ndarray, "rows columns"]
SquareMatrix = Float[np.ndarray, "size size"]


class Thirds(NamedTuple):
    """Means over the first, the second and the last third of relative positions i / (L - 1); NaN where no layer lies."""

    early: float
    middle: float
    late: float


class SameLayer(NamedTuple):
    """Over the cells of a layer with the layer of the same name."""

    mean: float
    median: float
    smallest: float


class Drawn(NamedTuple):
    """Percentiles of the contrast over resampled layers, the share of draws that are not above 0, and how many had a contrast."""

    low: float
    high: float
    not_above_0: float
    draws: int


def thirds(values: Float[np.ndarray, " values"], positions: Float[np.ndarray, " values"]) -> Thirds:
    """Means of values by the third of [0, 1] that their position lies in; 1/3 and 2/3 belong to the later one."""
    place = np.searchsorted([1 / 3 - 1e-9, 2 / 3 - 1e-9], positions, side="right")
    return Thirds(*(float(values[place == third].mean()) if (place == third).any() else math.nan for third in range(3)))


def best_match_thirds(matrix: FloatMatrix) -> Thirds:
    """Affinity of each row with its best column, by the row's relative position."""
    return thirds(matrix.max(axis=1), relative_positions(len(matrix)))


def diagonal_thirds(matrix: FloatMatrix) -> Thirds:
    """Affinity on the generalised diagonal, by the relative position of the layer of the side that has more."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    on = generalised_diagonal(*tall.shape)
    return thirds(tall[on], np.broadcast_to(relative_positions(len(tall))[:, None], tall.shape)[on])


def best_match_depth_difference(
    matrix: FloatMatrix, depth_a: Float[np.ndarray, " rows"], depth_b: Float[np.ndarray, " columns"]
) -> float:
    """Mean absolute difference between a row's depth and that of its best column, in [0, 1]."""
    return float(np.abs(np.asarray(depth_a) - np.asarray(depth_b)[matrix.argmax(axis=1)]).mean())


def manhattan_distance(rows: int, columns: int) -> Int[np.ndarray, "rows columns"]:
    """|i - i'| + |j - j'| to the nearest cell (i', j') of the generalised diagonal; 0 on it."""
    if rows < columns:
        return manhattan_distance(columns, rows).T
    i, j = np.arange(rows)[:, None], np.arange(columns)
    return np.maximum(np.maximum(j - i, i - (j + rows - columns)), 0)


def manhattan_rank(matrix: FloatMatrix) -> float:
    """Spearman correlation of affinity with minus the Manhattan distance; NaN where either is constant."""
    distance = manhattan_distance(*matrix.shape)
    if not np.ptp(distance) or np.ptp(matrix) <= ROUNDING * np.abs(matrix).max():
        return math.nan
    return float(stats.spearmanr(-distance.ravel(), matrix.ravel()).statistic)


def layer_distance_r(matrix: SquareMatrix) -> float:
    """Pearson correlation of the upper triangle with -|i - j|: how much of one model's matrix is the distance of its layers.

    NaN for fewer than three layers, and where all cells are equal.
    """
    i, j = np.triu_indices(len(matrix), 1)
    cells = matrix[i, j]
    if len(matrix) < 3 or np.ptp(cells) <= ROUNDING * np.abs(cells).max():
        return math.nan
    return float(np.corrcoef(cells, i - j)[0, 1])


def above_self(matrix: SquareMatrix, self_value: float) -> int:
    """Pairs of different layers (the upper triangle) that are more alike than a layer is to itself; 0 for sound metrics."""
    cells = matrix[np.triu_indices(len(matrix), 1)]
    return int((cells > self_value * (1 + ROUNDING)).sum())


def same_layer(matrix: SquareMatrix) -> SameLayer:
    """Mean, median and smallest value of the main diagonal."""
    cells = np.diag(matrix)
    return SameLayer(float(cells.mean()), float(np.median(cells)), float(cells.min()))


def block_bootstrap(
    matrix: FloatMatrix, on: Bool[np.ndarray, "rows columns"], draws: int, rng: np.random.Generator, level: float = 0.95
) -> Drawn:
    """Contrast on minus off the marked cells when runs of neighbouring layers are drawn with replacement, on either side.

    A run has ceil(sqrt(L)) layers (moving blocks: Künsch, 1989), and each cell keeps its mark. Layers of one network are no sample
    of layers: the interval says how much the contrast rests on a few neighbouring ones, and is none over models or items.
    """
    rows, columns = (_weights(size, draws, rng) for size in matrix.shape)
    sums = [[np.einsum("di,ij,dj->d", rows, part, columns) for part in (matrix * mask, mask.astype(float))] for mask in (on, ~on)]
    (on_sum, on_count), (off_sum, off_count) = sums
    usable = (on_count > 0) & (off_count > 0)
    contrasts = on_sum[usable] / on_count[usable] - off_sum[usable] / off_count[usable]
    if not len(contrasts):
        return Drawn(math.nan, math.nan, math.nan, 0)
    low, high = np.quantile(contrasts, [(1 - level) / 2, (1 + level) / 2])
    return Drawn(float(low), float(high), float((contrasts <= 0).mean()), len(contrasts))


def _weights(size: int, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draws size"]:
    """How often each layer is drawn."""
    length = math.ceil(math.sqrt(size))
    starts = rng.integers(size - length + 1, size=(draws, math.ceil(size / length)))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(draws, starts.shape[1] * length)[:, :size]
    weights = np.zeros((draws, size))
    np.add.at(weights, (np.arange(draws)[:, None], drawn), 1)
    return weights
