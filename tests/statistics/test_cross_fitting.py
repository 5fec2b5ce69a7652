"""How sure one is of a mean over items that were judged by probes which learnt from each other's items."""

import numpy as np
import pytest
import torch

from layeratlas.statistics.cross_fitting import Graded, grade_folds, halves, parts_of
from layeratlas.statistics.linear_probe import fitted

N, D, FOLDS = 40, 12, 4


def test_parts_are_numbered_over_both_halves():
    parted = halves(["g"] * N, FOLDS)
    parts = parts_of(parted, N)
    assert np.unique(parts, return_counts=True)[1].tolist() == [N // (2 * FOLDS)] * 2 * FOLDS
    for half in parted:
        for number, (_, test) in enumerate(half.folds):
            assert set(parts[test]) == {half.first + number}


def test_scores_are_those_of_the_other_folds_and_moved_by_each_fold_that_the_probe_learnt_from():
    """What is learnt here is the sum of all items' values, so that an item moves a score by its own value."""
    values = np.arange(N, dtype=float) ** 2
    graded = Graded.empty(2 * FOLDS, 2, N)
    parted = halves(["g"] * N, FOLDS)
    for half in parted:
        grade_folds(half, lambda train: lambda test: np.stack([np.full(len(test), values[train].sum()), values[test]]), graded)
    parts = parts_of(parted, N)
    for half in parted:
        for number, (train, test) in enumerate(half.folds):
            assert (graded.scores[0, test] == values[train].sum()).all()
            for other in range(2 * FOLDS):
                taught = half.first <= other < half.first + FOLDS and other != half.first + number
                expected = values[parts == other].sum() if taught else np.nan
                np.testing.assert_allclose(graded.of(0).moved[other, test], expected)
    np.testing.assert_array_equal(graded.of(1).scores, values)
    assert np.nanmax(np.abs(graded.of(1).moved)) == 0


def test_folds_that_move_each_other_alike_add_to_the_variance_and_those_that_do_not_add_nothing():
    parts, weights = np.arange(4), np.full(4, 0.25)
    moved = np.full((4, 4), np.nan)
    for (p, q), by in {(0, 1): 1.0, (2, 3): -1.0}.items():
        moved[p, q] = moved[q, p] = by
    alike = Graded(np.zeros(4), moved)
    assert alike.shared_variance(weights, parts) == pytest.approx(4 * 0.25**2)  # two pairs, each in both orders
    moved[0, 1] = -1.0
    moved[2, 3] = 1.0
    assert Graded(np.zeros(4), moved).shared_variance(weights, parts) == 0
    assert Graded(np.zeros(4), np.empty((0, 4))).shared_variance(weights, parts) == 0
    assert (alike - alike).shared_variance(weights, parts) == 0
    np.testing.assert_array_equal(Graded.mean([alike, alike]).moved, alike.moved)


def mean_of_a_world(seed: int) -> tuple[float, float, float]:
    """A probe for two languages that do not differ: its accuracy, the variance as if items were independent, what they share."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, N, D)))
    graded, parted = Graded.empty(2 * FOLDS, N), halves(["g"] * N, FOLDS)

    def learn(train):
        probe = fitted(x[:, train].reshape(-1, D), torch.arange(2).repeat_interleave(len(train)), 2)
        return lambda test: np.mean(
            [probe.credits(side[test], torch.full((len(test),), i)).numpy() for i, side in enumerate(x)], axis=0
        )

    for half in parted:
        grade_folds(half, learn, graded)
    alone = graded.scores.var(ddof=1) / N
    return float(graded.scores.mean()), float(alone), graded.shared_variance(np.full(N, 1 / N), parts_of(parted, N))


@pytest.mark.slow
def test_where_languages_do_not_differ_the_variance_is_that_of_items_and_what_folds_share():
    values, alone, shared = np.array([mean_of_a_world(seed) for seed in range(300)]).T
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert alone.mean() < 0.85 * values.var()
    assert alone.mean() + shared.mean() == pytest.approx(values.var(), rel=0.25)
