"""Likeness of neighbouring blocks and cost: by hand, against an outside regression, and where nothing is to be found."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from layeratlas.errors import Undefined
from layeratlas.statistics.redundancy import (
    above_chance,
    agreement,
    beyond_depth,
    most_alike_first,
    neighbours_alike,
    random_agreement,
    saturation,
    summed,
)


def falling(layers: int, rate: float = 0.2) -> np.ndarray:
    """Affinities that fall with the distance of layers."""
    place = np.arange(layers)
    return np.exp(-rate * np.abs(place[:, None] - place))


def test_chance_is_0_and_a_layer_with_itself_1_whatever_the_metrics_scale():
    matrix, chance = falling(5), np.full((5, 5), 0.1)
    scaled = above_chance(matrix, chance)
    np.testing.assert_allclose(np.diag(scaled), 1)
    np.testing.assert_allclose(above_chance(7 * matrix + 3, 7 * chance + 3), scaled)
    assert above_chance(np.array([[1, 0.1], [0.1, 1]]), np.full((2, 2), 0.1))[0, 1] == pytest.approx(0)
    assert np.isnan(above_chance(np.ones((2, 2)), np.ones((2, 2)))).all()


def test_groups_are_the_longest_runs_of_which_every_two_are_alike():
    scaled = np.full((6, 6), 0.2)
    for group in ([0, 1], [2, 3, 4]):
        scaled[np.ix_(group, group)] = 0.95
    scaled[1, 2] = scaled[2, 1] = 0.95  # neighbours of two groups, which are not alike as wholes
    assert neighbours_alike(scaled, 0.9) == [[0, 1], [2, 3, 4]]
    assert neighbours_alike(scaled, 0.99) == []
    assert neighbours_alike(np.full((3, 3), np.nan), 0.5) == []


def test_a_metric_that_falls_with_distance_is_not_saturated():
    assert saturation(falling(8), np.zeros((8, 8)), room=0.05) == {}


def test_what_saturates_is_named_with_its_reason():
    """The published normalised mutual information: a layer with itself is set to 1, and late layers score 2.557 with each other."""
    matrix = falling(8)
    matrix[4:, 4:] = 2.557
    np.fill_diagonal(matrix, 1)
    found = saturation(matrix, np.zeros((8, 8)), room=0.05)
    assert {found[i] for i in range(4, 8)} == {"more alike to another layer than to itself"}
    assert not set(found) & {0, 1, 2}
    near_one = saturation(0.98 + 0.02 * falling(8), np.full((8, 8), 0.98), room=0.05)
    assert set(near_one.values()) == {"chance alone is nearly as alike"}
    flat = np.where(np.eye(8) == 1, 1.0, 0.7)
    assert set(saturation(flat, np.zeros((8, 8)), room=0.05).values()) == {
        "no more alike to its neighbours than to layers far away"
    }


def test_the_most_alike_block_is_removed_first_and_agreement_is_a_rank_correlation():
    affinity, cost = np.array([0.2, 0.9, 0.5, 0.7]), np.array([4.0, 1.0, 2.0, 3.0])
    assert most_alike_first(affinity).tolist() == [3, 0, 2, 1]
    assert agreement(most_alike_first(affinity), cost) == pytest.approx(stats.spearmanr(-affinity, cost).statistic)
    assert agreement(np.array([3, 0, 1, 2]), cost) == pytest.approx(1)
    assert summed([1, 3, 2, 0], cost).tolist() == [1, 4, 6, 10]


def test_the_correlation_given_depth_is_that_of_an_outside_regressions_residuals():
    rng = np.random.default_rng(0)
    depth = np.linspace(0.1, 1, 12)
    affinity, cost = depth + rng.normal(0, 0.3, 12), depth**2 + rng.normal(0, 0.3, 12)
    design = sm.add_constant(np.stack([depth, depth**2], axis=1))
    left = [sm.OLS(values, design).fit().resid for values in (affinity, cost)]
    assert beyond_depth(affinity, cost, depth) == pytest.approx(np.corrcoef(*left)[0, 1])


def test_what_depth_alone_explains_is_no_correlation():
    depth = np.linspace(0, 1, 18)
    assert np.isnan(beyond_depth(3 - depth, depth**2, depth))
    assert abs(np.corrcoef(3 - depth, depth**2)[0, 1]) > 0.95


def test_six_blocks_are_too_few_to_take_depth_and_its_square_away():
    with pytest.raises(Undefined, match="6 blocks: depth and its square leave too little to correlate; 7 are needed"):
        beyond_depth(np.arange(6.0), np.arange(6.0), np.arange(6.0))


def test_random_orders_agree_by_chance_as_they_do_by_all_orders():
    low, high = random_agreement(np.arange(6.0), 4000, 0.95, np.random.default_rng(0))
    assert low == pytest.approx(-high, abs=0.1)
    assert high == pytest.approx(0.83, abs=0.06)  # the exact distribution of Spearman's correlation at n = 6
