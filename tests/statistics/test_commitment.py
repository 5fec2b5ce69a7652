import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.proportion import proportion_confint

from layeratlas.statistics.commitment import NEVER, CommittedShare, committed_at, median_reached, shape, wilson_interval

HIGH, LOW = 0.9, 0.2


@pytest.mark.parametrize(
    ("curve", "place"),
    [
        ([HIGH] * 5, 0),
        ([LOW, LOW, HIGH, HIGH, HIGH], 2),  # the last row that is long enough
        ([LOW, LOW, LOW, HIGH, HIGH], NEVER),  # a row that the last layer cuts off
        ([HIGH, HIGH, LOW, HIGH, HIGH, HIGH], 3),  # a row that is too short does not count
        ([HIGH, HIGH, HIGH, LOW, HIGH, HIGH, HIGH], 0),  # the first of two rows
        ([LOW] * 6, NEVER),
        ([0.85, 0.85, 0.85], 0),  # at the threshold is above it
        ([0.8499996, 0.85, 0.85], 0),  # six decimals, as published
        ([0.8499994, 0.85, 0.85], NEVER),
        ([np.nan, HIGH, HIGH, HIGH], 1),
        ([HIGH, HIGH], NEVER),  # fewer layers than a row has
    ],
)
def test_the_published_rule_on_curves_made_by_hand(curve, place):
    assert committed_at(np.array(curve), threshold=0.85, consecutive=3) == place


def test_one_layer_is_a_row_if_one_is_asked_for():
    assert committed_at(np.array([LOW, HIGH, LOW]), threshold=0.85, consecutive=1) == 1


@given(arrays(float, (3, 2, 6), elements=st.sampled_from([LOW, 0.85, HIGH])), st.integers(1, 7))
def test_the_share_layer_by_layer_is_that_of_the_rule(curves, consecutive):
    """Sets, items, layers."""
    share = CommittedShare(0.85, consecutive)
    for layer in range(6):
        share.add(curves[..., layer])
    places = committed_at(curves, 0.85, consecutive)
    expected = [((places != NEVER) & (places <= layer)).mean(axis=-1) for layer in range(6)]
    np.testing.assert_array_equal(share.shares, expected)


@pytest.mark.parametrize("hits", [0, 1, 7, 19, 20])
def test_wilsons_interval_is_that_of_statsmodels(hits):
    low, high = wilson_interval(np.array(hits / 20), 20, 0.95)
    np.testing.assert_allclose((low, high), proportion_confint(hits, 20, 0.05, "wilson"), atol=1e-12)


@pytest.mark.parametrize(
    ("places", "median"),
    [([3, 1, 2], 2), ([1, np.nan, 5, np.nan], 5), ([1, np.nan, np.nan], None), ([np.nan], None), ([4, 4], 4), ([], None)],
)
def test_items_that_never_get_there_count_for_the_median(places, median):
    assert median_reached(np.array(places, dtype=float)) == median


def test_the_shape_of_a_curve():
    curves = np.array([[0.0, 0.4, 0.8, 0.4], [0.5, 0.5, 0.5, 0.5], [-0.1, -0.2, -0.3, -0.1]])
    found = shape(curves, np.array([0.25, 0.5, 0.75, 1.0]))
    assert found.peak.tolist() == [2, 0, 0]  # the first of equal ones
    np.testing.assert_array_equal(found.half_maximum, [0.5, 0.25, np.nan])
    np.testing.assert_allclose(found.area, [(0.2 + 0.6 + 0.6) / 3, 0.5, -(0.15 + 0.25 + 0.2) / 3])


def test_a_single_layer_has_a_shape_too():
    found = shape(np.array([[0.3]]), np.array([1.0]))
    assert (found.peak[0], found.half_maximum[0], found.area[0]) == (0, 1.0, 0.3)
