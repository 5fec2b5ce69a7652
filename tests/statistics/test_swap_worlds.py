"""The swap margin's interval in simulated worlds, where the raw contrast of on and off the diagonal finds what is not there."""

import numpy as np
import pytest
from scipy import stats
from worlds import NULL_SWEEPS, NULL_WORLDS, PLANTED_SWEEPS, PLANTED_WORLDS, judged, judged_over_models

from layeratlas.metrics import CKALinearDebiased, MutualKNN

METRICS = {"mutual_knn": MutualKNN(k=10).with_slack(), "cka_linear_debiased": CKALinearDebiased()}


def shares(metric: str, world: str, runs: int, n: int = 96, sizes: tuple[int, int] = (8, 8)) -> dict[str, float]:
    """Share of runs whose interval excludes 0, in whichever direction."""
    told = [judged(METRICS[metric], (NULL_WORLDS | PLANTED_WORLDS)[world], seed, n, sizes) for seed in range(runs)]
    return {name: float(np.mean([one[name] != 0 for one in told])) for name in told[0]}


def test_strength_that_rises_with_depth_is_a_contrast_and_no_swap():
    found = shares("cka_linear_debiased", "rising", 6)
    assert found == {"raw contrast": 1, "swap margin": 0}


def test_a_planted_correspondence_is_found():
    assert shares("cka_linear_debiased", "proportional .6", 6)["swap margin"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_over_all_worlds_without_partners_the_interval_excludes_0_no_more_often_than_it_may(metric):
    runs = 20
    excluded = sum(shares(metric, world, runs)["swap margin"] * runs for world in NULL_WORLDS)
    assert excluded <= stats.binom.ppf(0.999, runs * len(NULL_WORLDS), 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("world", [name for name in PLANTED_WORLDS if ".6" in name])
@pytest.mark.parametrize("metric", METRICS)
def test_strongly_planted_correspondences_are_found_in_most_runs(metric, world):
    assert shares(metric, world, 10)["swap margin"] >= 0.8


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "sizes"), [(256, (8, 8)), (96, (24, 16)), (256, (30, 18))])
@pytest.mark.parametrize("metric", METRICS)
def test_larger_matrices_and_more_items_keep_the_level(metric, n, sizes):
    runs = 60
    excluded = sum(shares(metric, world, runs, n, sizes)["swap margin"] * runs for world in NULL_WORLDS)
    assert excluded <= stats.binom.ppf(0.999, runs * len(NULL_WORLDS), 0.05)


MODELS = (5, 6, 8, 6, 5, 8, 6, 7)  # layers of each
TESTS = ("swap margin, models left out", "net swap share, models left out", "net swap share, orientations")


def shares_of_sweeps(metric: str, sweep: str, runs: int) -> dict[str, float]:
    """Share of sweeps in which each test over models says that there is a correspondence."""
    told = [judged_over_models(METRICS[metric], (NULL_SWEEPS | PLANTED_SWEEPS)[sweep], seed, 96, MODELS) for seed in range(runs)]
    return {name: float(np.mean([one[name] for one in told])) for name in told[0]}


def test_over_models_strength_that_varies_with_depth_is_a_contrast_and_no_swap():
    found = shares_of_sweeps("mutual_knn", "hump", 3)
    assert found["raw contrast, models left out"] == 1
    assert [found[name] for name in TESTS] == [0, 0, 0]


def test_over_models_a_planted_correspondence_is_found_by_every_test():
    found = shares_of_sweeps("cka_linear_debiased", "proportional .1", 1)
    assert [found[name] for name in TESTS] == [1, 1, 1]


@pytest.mark.nightly
@pytest.mark.parametrize("metric", METRICS)
def test_of_four_hundred_sweeps_of_models_that_look_alike_no_test_rejects_more_than_it_may(metric):
    runs = 100
    found = [shares_of_sweeps(metric, sweep, runs) for sweep in NULL_SWEEPS]
    assert {name: np.mean([one[name] for one in found]) <= 0.08 for name in TESTS} == dict.fromkeys(TESTS, True)
    assert np.mean([one["raw contrast, models left out"] for one in found]) > 0.4
