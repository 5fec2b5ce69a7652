from itertools import pairwise

import numpy as np
import pytest

from layeratlas.statistics.wrong_partners import exchangeable_within, length_runs, of_group, of_length


def rng():
    return np.random.default_rng(0)


def test_wrong_partners_of_a_group_are_all_its_other_items():
    found = of_group(["x", "y", "x", "z", "y", "x"], rng())
    assert found is not None
    assert [np.flatnonzero(row).tolist() for row in found.pairs] == [[2, 5], [4], [0, 5], [], [1], [0, 2]]
    assert found.movable.tolist() == [0, 1, 2, 4, 5]
    for order in found.orders:
        assert sorted(order) == list(range(6))
        assert all(found.pairs[i, order[i]] for i in found.movable)
        assert order[3] == 3


@pytest.mark.parametrize("groups", [["x"] * 4, ["x", "y", "z"]])
def test_one_group_and_groups_of_one_have_no_wrong_partners(groups):
    assert of_group(groups, rng()) is None


def test_partners_of_one_length_are_within_a_tenth_or_the_nearest_three():
    lengths = np.array([100, 95, 109, 111, 91, 20, 30, 5], dtype=float)
    found = of_length(lengths, rng())
    assert found is not None
    partners = [np.flatnonzero(row).tolist() for row in found.pairs]
    assert partners[0] == [1, 2, 4]  # 90 to 110
    assert partners[5] == [4, 6, 7]  # nearest three: 30, 5, then 91
    assert not found.pairs.diagonal().any()
    assert (found.pairs.sum(axis=1) >= 3).all()
    for order in found.orders:
        assert sorted(order) == list(range(8))
        assert (order != np.arange(8)).all()
    assert len({tuple(order) for order in found.orders}) == 3


def test_all_that_are_as_near_as_the_third_are_partners():
    found = of_length(np.array([10.0, 20, 20, 20, 20]), rng())
    assert found is not None
    assert found.pairs[0].tolist() == [False, True, True, True, True]


def test_three_items_have_no_partners_of_one_length():
    assert of_length(np.array([1.0, 2, 3]), rng()) is None


def test_orders_within_one_length_change_places_of_neighbours_in_length_alone():
    lengths = rng().integers(5, 60, 50).astype(float)
    runs = length_runs(lengths, rng())
    assert sorted(np.concatenate(runs)) == list(range(50))
    assert {len(run) for run in runs} <= {4, 5, 6, 7}
    ends = [(lengths[run].min(), lengths[run].max()) for run in runs]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    of_run = {item: i for i, run in enumerate(runs) for item in run}
    for order in exchangeable_within(50, runs).others(20, rng()):
        assert [of_run[item] for item in order] == [of_run[item] for item in range(50)]


def test_orders_within_one_length_stay_in_their_group_if_they_must():
    groups = ["x", "y"] * 25
    runs = length_runs(rng().integers(5, 60, 50).astype(float), rng(), groups)
    assert all(len({groups[item] for item in run}) == 1 for run in runs)
