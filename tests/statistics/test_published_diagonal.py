"""Descriptions that publications report, against straightforward counts."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from layeratlas.statistics.diagonal import contrast, generalised_diagonal
from layeratlas.statistics.published_diagonal import (
    above_self,
    best_match_depth_difference,
    best_match_thirds,
    block_bootstrap,
    diagonal_thirds,
    layer_distance_r,
    manhattan_distance,
    manhattan_rank,
    same_layer,
    thirds,
)
from layeratlas.statistics.unit_square import lines, unit_square

sizes = st.integers(2, 9)


def random(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, columns))


def test_thirds_are_means_of_layers_by_relative_position():
    values = np.arange(7.0)  # positions 0, 1/6, 1/3, 1/2, 2/3, 5/6, 1
    assert thirds(values, values / 6) == (0.5, 2.5, 5.0)
    assert best_match_thirds(np.diag([1.0, 2, 3, 4, 5, 6])) == (1.5, 3.5, 5.5)
    early, middle, late = best_match_thirds(np.array([[1.0, 2.0], [3.0, 0.0]]))
    assert (early, late, math.isnan(middle)) == (2.0, 3.0, True)


def test_thirds_of_the_diagonal_follow_the_longer_side_in_either_orientation():
    matrix = random(9, 4)
    by_hand = [[], [], []]
    for i, j in product(range(9), range(4)):
        if j <= i <= j + 5:
            by_hand[0 if 3 * i < 8 else 1 if 3 * i < 16 else 2].append(matrix[i, j])
    assert diagonal_thirds(matrix) == pytest.approx([np.mean(third) for third in by_hand])
    assert diagonal_thirds(matrix.T) == diagonal_thirds(matrix)
    square = random(6, 6)
    assert diagonal_thirds(square) == pytest.approx(np.diag(square).reshape(3, 2).mean(axis=1))


def test_best_matches_differ_in_depth_by_the_mean_over_rows():
    matrix = np.array([[0, 1, 0], [1, 0, 0.0]])
    assert best_match_depth_difference(matrix, np.array([0.5, 1.0]), np.array([1 / 3, 2 / 3, 1.0])) == pytest.approx(
        (abs(0.5 - 2 / 3) + abs(1 - 1 / 3)) / 2
    )


@given(rows=sizes, columns=sizes)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_manhattan_distance_is_the_shortest_way_to_the_generalised_diagonal(rows, columns):
    on = np.argwhere(generalised_diagonal(rows, columns))
    shortest = [[min(abs(i - x) + abs(j - y) for x, y in on) for j in range(columns)] for i in range(rows)]
    np.testing.assert_array_equal(manhattan_distance(rows, columns), shortest)


def test_the_manhattan_rank_is_a_rank_correlation_and_one_for_a_matrix_of_minus_the_distance():
    matrix = random(6, 4)
    assert manhattan_rank(matrix) == pytest.approx(stats.spearmanr(matrix.ravel(), -manhattan_distance(6, 4).ravel()).statistic)
    assert manhattan_rank(-manhattan_distance(6, 4).astype(float)) == pytest.approx(1)
    assert math.isnan(manhattan_rank(np.ones((3, 3))))
    assert math.isnan(manhattan_rank(random(3, 1)))


def test_one_models_matrix_is_correlated_with_the_distance_of_its_layers():
    matrix = random(6, 6)
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    expected = stats.pearsonr([matrix[i, j] for i, j in pairs], [-(j - i) for i, j in pairs]).statistic
    assert layer_distance_r(matrix) == pytest.approx(expected)
    i = np.arange(5)
    assert layer_distance_r(1.0 - np.abs(i[:, None] - i)) == pytest.approx(1)
    assert math.isnan(layer_distance_r(np.ones((4, 4))))
    assert math.isnan(layer_distance_r(np.eye(2)))


def test_entries_above_a_layer_with_itself_are_counted_once_a_pair():
    matrix = np.array([[1, 2.0, 0.5], [2.0, 1, 1.0], [0.5, 1.0, 1]])
    assert above_self(matrix, 1.0) == 1
    assert above_self(matrix, 0.4) == 3


def test_the_same_layer_is_the_main_diagonal():
    assert same_layer(np.diag([0.9, 0.2, 0.4])) == (pytest.approx(0.5), 0.4, 0.2)


def test_a_block_bootstrap_draws_runs_of_neighbouring_layers():
    """Of a matrix that is its row's number, a mean of draws is made of whole runs; the quantiles follow a plain loop."""
    matrix, on = random(7, 5), generalised_diagonal(7, 5)
    found = block_bootstrap(matrix, on, 400, np.random.default_rng(3))
    rng, values = np.random.default_rng(3), []
    starts = [rng.integers(size - 3 + 1, size=(400, 3 if size == 7 else 2)) for size in (7, 5)]  # ceil(sqrt(7)) = ceil(sqrt(5)) = 3
    for draw in range(400):
        rows, columns = (
            np.concatenate([np.arange(start, start + 3) for start in of_side[draw]])[:size]
            for of_side, size in zip(starts, (7, 5), strict=True)
        )
        mask = on[np.ix_(rows, columns)]
        if mask.any() and not mask.all():
            values.append(contrast(matrix[np.ix_(rows, columns)], mask))
    assert found.draws == len(values)
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.025, 0.975]))
    assert found.not_above_0 == pytest.approx(np.mean(np.array(values) <= 0))


def test_a_block_bootstrap_without_draws_or_without_cells_off_the_diagonal_is_undefined():
    rng = np.random.default_rng(0)
    assert block_bootstrap(random(4, 4), np.eye(4, dtype=bool), 0, rng).draws == 0
    assert block_bootstrap(random(4, 4), np.ones((4, 4), dtype=bool), 10, rng).draws == 0


@given(rows=st.integers(2, 12), columns=st.integers(2, 12))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_lines_of_a_unit_square_in_both_orientations_are_symmetric(rows, columns):
    matrix = random(rows, columns, rows)
    square = unit_square([matrix, matrix.T], bins=7)
    held = lines(square)
    np.testing.assert_allclose(square, square.T)
    diagonal = [square[i, i] for i in range(7) if np.isfinite(square[i, i])]
    anti = [square[i, 6 - i] for i in range(7) if np.isfinite(square[i, 6 - i])]
    assert held.diagonal == pytest.approx(np.mean(diagonal))
    assert held.anti_diagonal == pytest.approx(np.mean(anti))
    assert (held.overall, held.largest) == pytest.approx((np.nanmean(square), np.nanmax(square)))
