"""Differences of two curves over the same items: by hand, and on worlds without any."""

import itertools

import numpy as np
import pytest
from scipy import stats

from layeratlas.statistics.paired_items import at_depths, paired_over_items
from layeratlas.statistics.rise_and_fall import signs

RNG = np.random.default_rng


def test_the_interval_is_that_of_a_paired_t_test():
    differences = RNG(0).normal(0.2, 1, (12, 3))
    found = paired_over_items(differences, np.arange(12), np.empty((0, 12)), level=0.95)
    np.testing.assert_allclose(found.value, differences.mean(axis=0))
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.ci_low, found.ci_high], [expected.low, expected.high])
    assert np.isnan(found.p).all()


def test_p_is_the_share_of_all_signs_that_differ_as_much():
    differences = RNG(1).normal(0.5, 1, (6, 2))
    found = paired_over_items(differences, np.arange(6), signs(np.arange(6), 1000, RNG(0)), level=0.95)
    every = np.array(list(itertools.product([1, -1], repeat=6)))
    sizes = np.abs(every @ differences)
    np.testing.assert_allclose(found.p, (sizes >= sizes[0] - 1e-9).mean(axis=0))
    z = sizes / np.sqrt((differences**2).sum(axis=0))
    np.testing.assert_allclose(found.p_fwer, (z.max(axis=1, keepdims=True) >= z[0] - 1e-9).mean(axis=0))


def test_items_of_one_unit_count_as_one():
    one = RNG(2).normal(0.3, 1, (8, 2))
    doubled = paired_over_items(
        np.repeat(one, 2, axis=0), np.repeat(np.arange(8), 2), signs(np.repeat(np.arange(8), 2), 999, RNG(0)), level=0.95
    )
    single = paired_over_items(one, np.arange(8), signs(np.arange(8), 999, RNG(0)), level=0.95)
    for name in single._fields:
        np.testing.assert_allclose(getattr(doubled, name), getattr(single, name))


def test_where_nothing_differs_there_is_no_p():
    differences = np.column_stack([np.zeros(5), np.ones(5)])
    found = paired_over_items(differences, np.arange(5), signs(np.arange(5), 999, RNG(0)), level=0.95)
    assert np.isnan(found.p[0])
    assert found.p[1] == found.p_fwer[1] == 2 / 32


def test_curves_at_other_depths():
    curves = np.array([[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]])
    found = at_depths(curves, np.array([1 / 3, 2 / 3, 1]), np.array([1 / 3, 0.5, 1]))
    np.testing.assert_allclose(found, [[0, 0.5, 3], [2, 2, 0]])


def sizes(worlds, n):
    """Shares of worlds where p, and p over depths, is at most .05: skewed differences of no mean, alike at neighbouring depths."""
    rng = RNG(3)
    found = []
    for _ in range(worlds):
        own = rng.standard_normal((n, 1)) + rng.standard_normal((n, 8)).cumsum(axis=1)
        other = rng.standard_normal((n, 1)) + rng.standard_normal((n, 8)).cumsum(axis=1)
        differences = np.exp(0.3 * own) - np.exp(0.3 * other)
        p = paired_over_items(differences, np.arange(n), signs(np.arange(n), 199, rng), level=0.95)
        found.append((p.p[3], p.p_fwer.min(), not p.ci_low[3] <= 0 <= p.ci_high[3]))
    return (np.array(found) <= [0.05, 0.05, 0]).mean(axis=0) * [1, 1, -1] + [0, 0, 1]


def test_in_worlds_without_difference_few_are_found():
    assert max(sizes(60, 20)) <= 0.2


@pytest.mark.nightly
def test_in_400_worlds_without_difference_p_holds_its_level():
    assert all(0.025 <= share <= 0.08 for share in sizes(400, 30)), sizes(400, 30)
