"""The swap margin against its definition read cell by cell, and on matrices that strengths alone produce."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas.statistics.diagonal import contrast
from layeratlas.statistics.swaps import at_equal_depths, margin_by_depth, shared_depths, swaps

quick = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(0, 10_000)
sizes = st.integers(2, 14)


def depths(layers: int) -> np.ndarray:
    return np.arange(1, layers + 1) / layers


def by_definition(square: np.ndarray) -> list[float]:
    """m(s, t) of every pair, one at a time."""
    margins = []
    for s, t in combinations(range(len(square)), 2):
        own, crossed = (square[s, s], square[t, t]), (square[s, t], square[t, s])
        margins.append(max(0, min(own) - max(crossed)) - max(0, min(crossed) - max(own)))
    return margins


@quick
@given(size=sizes, seed=seeds)
def test_the_margin_is_its_definition_read_pair_by_pair(size, seed):
    square = np.random.default_rng(seed).normal(size=(size, size))
    margins = by_definition(square)
    found = swaps(square)
    np.testing.assert_allclose(found.margin, margins, atol=1e-15)
    assert found.swap_margin == pytest.approx(np.mean(margins), abs=1e-15)
    assert found.own_share == np.mean(np.array(margins) > 0)
    assert found.crossed_share == np.mean(np.array(margins) < 0)
    assert found.net_share == found.own_share - found.crossed_share


@quick
@given(size=sizes, seed=seeds)
def test_the_mean_gain_of_a_square_is_its_contrast_on_and_off_the_diagonal(size, seed):
    square = np.random.default_rng(seed).random((size, size))
    assert swaps(square).gain.mean() == pytest.approx(float(contrast(square, np.eye(size, dtype=bool))))


@quick
@given(size=sizes, seed=seeds)
def test_turning_both_sides_around_changes_nothing(size, seed):
    square = np.random.default_rng(seed).random((size, size))
    assert swaps(square[::-1, ::-1]).swap_margin == pytest.approx(float(swaps(square).swap_margin), abs=1e-15)


def test_on_two_depths_turning_one_side_around_turns_the_sign():
    square = np.array([[0.9, 0.2], [0.3, 0.7]])
    assert swaps(square).swap_margin == pytest.approx(0.4)
    assert swaps(square[::-1]).swap_margin == pytest.approx(-0.4)


@quick
@given(size=sizes, seed=seeds)
def test_swapping_the_sides_changes_nothing(size, seed):
    square = np.random.default_rng(seed).random((size, size))
    assert swaps(square.T).swap_margin == pytest.approx(swaps(square).swap_margin)


LINKS = {
    "constant": lambda u, v: np.full((len(u), len(v)), 0.3),
    "sum": lambda u, v: u[:, None] + v,
    "product": np.outer,
    "product and a constant": lambda u, v: 0.2 + np.outer(u, v),
    "steep link of a sum": lambda u, v: np.exp(5 * (u[:, None] + v)),
    "saturating link of a product": lambda u, v: np.tanh(4 * np.outer(u, v)),
    "negative similarities": lambda u, v: -np.exp(-(u[:, None] + v)),
}


@quick
@given(rows=st.integers(2, 40), columns=st.integers(2, 40), seed=seeds)
@pytest.mark.parametrize("link", list(LINKS))
def test_strengths_of_layers_alone_have_a_margin_of_exactly_zero(link, rows, columns, seed):
    rng = np.random.default_rng(seed)
    matrix = LINKS[link](rng.random(rows), rng.random(columns))
    found = swaps(at_equal_depths(matrix, depths(rows), depths(columns)))
    assert found.swap_margin == 0
    assert found.net_share == 0


def test_the_raw_contrast_takes_strengths_for_a_diagonal_and_the_margin_does_not():
    rise = np.linspace(0.3, 1.5, 8)
    square = np.outer(rise, rise)
    assert contrast(square, np.eye(8, dtype=bool)) > 0.05
    assert swaps(square).swap_margin == 0
    assert swaps(square).kept_share == 0


@pytest.mark.parametrize("shape", [(8, 8), (24, 16), (16, 24), (80, 16)])
def test_a_planted_correspondence_has_a_positive_margin_in_every_shape(shape):
    a, b = (depths(layers) for layers in shape)
    matrix = 0.2 + 0.5 * np.exp(-8 * np.abs(a[:, None] - b))
    found = swaps(at_equal_depths(matrix, a, b))
    assert found.net_share == 1
    assert found.crossed_share == 0
    assert 0 < found.swap_margin < 0.5
    assert found.kept_share > 0.8


def test_layers_that_prefer_the_mirrored_depth_have_a_negative_margin():
    square = np.exp(-4 * np.abs(depths(8)[:, None] - depths(8)[::-1]))
    found = swaps(square)
    assert found.swap_margin < 0
    assert found.crossed_share > found.own_share
    assert math.isnan(found.kept_share)


def test_differences_within_rounding_are_ties():
    square = np.full((4, 4), 0.5)
    square[np.diag_indices(4)] += 1e-9
    assert swaps(square).swap_margin == 0
    square[np.diag_indices(4)] += 1e-3
    assert swaps(square).swap_margin == pytest.approx(1e-3, rel=1e-3)


def test_a_cell_without_a_value_leaves_the_margin_without_one():
    square = np.eye(5)
    square[1, 3] = np.nan
    found = swaps(square)
    assert all(math.isnan(number) for number in (found.swap_margin, found.own_share, found.crossed_share, found.net_share))


def test_many_matrices_are_judged_as_each_alone():
    matrices = np.random.default_rng(0).random((3, 7, 5))
    together = swaps(at_equal_depths(matrices, depths(7), depths(5)))
    for i, matrix in enumerate(matrices):
        alone = swaps(at_equal_depths(matrix, depths(7), depths(5)))
        np.testing.assert_allclose(together.margin[i], alone.margin, atol=1e-15)
        assert together.own_share[i] == alone.own_share


@quick
@given(size=sizes, seed=seeds)
def test_the_mean_of_the_margins_by_depth_is_the_swap_margin(size, seed):
    square = np.random.default_rng(seed).random((size, size))
    assert margin_by_depth(square).mean() == pytest.approx(float(swaps(square).swap_margin), abs=1e-15)


def test_the_margin_by_depth_is_where_the_correspondence_is():
    square = np.full((8, 8), 0.2)
    square[:4, :4] = 0.2 + 0.6 * np.eye(4)
    curve = margin_by_depth(square)
    assert curve[:4].min() > 0.2
    assert (curve[4:] == 0).all()


def test_depths_are_those_of_the_side_of_fewer_layers():
    np.testing.assert_array_equal(shared_depths(depths(30), depths(18)), depths(18))
    np.testing.assert_array_equal(shared_depths(depths(16), depths(80)), depths(16))


def test_depths_that_the_other_side_does_not_reach_are_left_out():
    np.testing.assert_allclose(shared_depths(np.array([0.25, 0.5, 0.75]), np.array([0.1, 0.4, 0.7, 1.0])), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(shared_depths(np.array([0.5, 1.0]), np.array([0.1, 0.2, 0.6])), [0.5])


def test_equally_deep_sides_are_compared_as_they_are():
    matrix = np.random.default_rng(0).random((6, 6))
    np.testing.assert_array_equal(at_equal_depths(matrix, depths(6), depths(6)), matrix)


def test_layers_between_two_depths_are_interpolated_linearly():
    matrix = np.array([[0.0, 1.0], [0.2, 0.6], [0.4, 0.2], [0.8, 0.4]])
    square = at_equal_depths(matrix, depths(4), np.array([0.375, 1.0]))
    np.testing.assert_allclose(square, [[0.1, 0.8], [0.8, 0.4]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 2)])
def test_fewer_than_two_shared_depths_are_refused(shape):
    with pytest.raises(ValueError, match=rf"^a swap needs the same two depths or more on both sides; got {shape[0]} x {shape[1]}$"):
        swaps(np.ones(shape))
