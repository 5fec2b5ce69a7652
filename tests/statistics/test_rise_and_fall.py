import numpy as np
import pytest

from layeratlas.statistics.resampling import jackknife_groups
from layeratlas.statistics.rise_and_fall import above_layer, at_peak, at_peak_interval, peaks, signs

ANY = (-np.inf, np.inf)
N, DRAWS = 60, 99
FOLDS = jackknife_groups(N, 5)
SUBSETS = [np.setdiff1d(np.arange(N), part) for part in jackknife_groups(N, 20)]
BUMP = np.array([0, 0, 0.5, 1, 1, 0.5, 0, 0])


def flat(seed, n=N, layers=8):
    """Curves of noise, neighbouring layers alike, whose mean is the same at every layer."""
    noise = np.random.default_rng(seed).standard_normal((n, layers + 2))
    return noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]


def above(scores, layer, seed=0):
    changed = signs(np.arange(len(scores)), DRAWS, np.random.default_rng([seed, 1]))
    return above_layer(scores, layer, FOLDS, SUBSETS, changed, level=0.95, bounds=ANY)


def test_scores_are_those_of_held_out_items_at_the_peak_of_the_others():
    scores = np.array([[0.0, 9.0, 1.0, 0.0], [0.0, 1.0, 5.0, 2.0], [1.0, 1.0, 4.0, 1.0]])
    folds = [np.array([0]), np.array([1, 2])]
    assert peaks(scores, folds).tolist() == [2, 1]
    assert at_peak(scores, folds) == pytest.approx(1.0)  # 1, 1 and 1
    changed = np.ones((1, 3))
    rise, fall = (above_layer(scores, layer, folds, [np.arange(3)] * 2, changed, level=0.95, bounds=ANY) for layer in (0, -1))
    assert rise.value == pytest.approx((1 + 1 + 0) / 3)
    assert fall.value == pytest.approx((1 - 1 + 0) / 3)


def test_no_difference_at_all_is_no_rise():
    assert above(np.ones((N, 4)), 0).p == 1.0


def test_a_difference_that_all_items_share_has_the_smallest_p():
    scores = np.zeros((N, 4))
    scores[:, 2] = 1
    found = above(scores, 0)
    assert (found.value, found.ci_low, found.ci_high, found.p) == (1.0, 1.0, 1.0, 1 / (DRAWS + 1))


def test_items_that_belong_together_have_one_sign():
    changed = signs(["x", "y", "x", "y", "z"], 200, np.random.default_rng(0))
    assert (changed[:, 0] == changed[:, 2]).all()
    assert (changed[:, 1] == changed[:, 3]).all()
    assert set(changed.ravel()) == {-1.0, 1.0}
    assert len(np.unique(changed[:, [0, 1, 4]], axis=0)) == len(changed) == 7  # all but those as they are


def test_a_peak_chosen_and_measured_on_the_same_items_rises_where_nothing_does_and_a_held_out_one_does_not():
    naive, honest = [], []
    for seed in range(400):
        scores = flat(seed)
        naive.append(scores.mean(axis=0).max() - scores[:, 0].mean())
        honest.append(at_peak(scores - scores[:, [0]], FOLDS))
    assert np.mean(naive) > 0.2  # a deviation of a mean of curves is .22
    assert abs(np.mean(honest)) < 3 * np.std(honest) / np.sqrt(400)


@pytest.mark.slow
@pytest.mark.parametrize("of", [lambda scores: scores, lambda scores: (scores > 1).astype(float)], ids=["numbers", "hits"])
def test_a_rise_is_found_in_flat_curves_as_often_as_the_level_says_and_intervals_hold_zero(of):
    found = [above(of(flat(seed)), 0, seed) for seed in range(500)]
    assert 0.025 <= np.mean([one.p <= 0.05 for one in found]) <= 0.08
    assert np.mean([one.ci_low <= 0 <= one.ci_high for one in found]) >= 0.93


@pytest.mark.slow
def test_rise_and_fall_together_are_found_where_they_are_with_intervals_that_hold_them():
    flats = [max(above(flat(seed), layer, seed).p for layer in (0, -1)) for seed in range(200)]
    bumps = [[above(flat(seed) + BUMP, layer, seed) for layer in (0, -1)] for seed in range(200)]
    assert np.mean([p <= 0.05 for p in flats]) <= 0.05
    assert np.mean([max(rise.p, fall.p) <= 0.05 for rise, fall in bumps]) >= 0.7
    assert np.mean([one.ci_low <= 1 <= one.ci_high for pair in bumps for one in pair]) >= 0.92


def test_the_interval_of_a_peak_stays_within_the_metrics_bounds():
    scores = np.ones((N, 4))
    scores[0, :] = 0
    low, high = at_peak_interval(scores, FOLDS, SUBSETS, level=0.95, bounds=(0.0, 1.0))
    assert low < at_peak(scores, FOLDS) < high == 1.0
