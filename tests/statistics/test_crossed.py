"""How much of the differences between matrices is due to each of two factors, and how sure that is."""

import numpy as np
import pandas as pd
import pytest
from crossed_worlds import CELLS, ITEMS, LANGUAGES, TASKS, design, estimated, items, planted, rejected, split

from layeratlas.statistics.crossed import EFFECTS, Design, Split, components, halves, less


def naive(values):
    return design().naive(values.mean(axis=2).reshape(TASKS * LANGUAGES, CELLS))


def test_without_noise_the_sizes_are_those_that_were_planted():
    rng = np.random.default_rng(0)
    effects = planted(rng, TASKS, 0.3)[:, None] + planted(rng, LANGUAGES, 0.1)
    matrices = effects.reshape(-1, CELLS)
    still = Split(
        np.stack([matrices, matrices]),
        [np.repeat(effects[task][None], 6, axis=0) for task in range(TASKS)],
        [np.array([0, 1, 0, 1, 0, 1])] * TASKS,
    )
    found = components(design(), [still, still], 0.95)
    assert [found.sizes[name].value for name in EFFECTS] == pytest.approx([0.3, 0.1, 0.0], abs=1e-12)
    assert design().naive(matrices) == pytest.approx([0.3, 0.1, 0.0], abs=1e-12)
    assert found.shares["first"][0] == pytest.approx(0.75)
    assert found.difference.value == pytest.approx(-0.2)


def test_the_forms_are_sums_of_squared_effects():
    rng = np.random.default_rng(1)
    matrices = rng.standard_normal((3, 2, CELLS))
    mean = matrices.mean(axis=(0, 1))
    first, second = matrices.mean(axis=1) - mean, matrices.mean(axis=0) - mean
    rest = matrices - mean - first[:, None] - second
    expected = [(first**2).sum() / 2, (second**2).sum() / 1, (rest**2).sum() / 2]
    small = Design(3, 2, [np.arange(6)])
    assert small.naive(matrices.reshape(6, CELLS)) == pytest.approx(np.array(expected) / CELLS)


@pytest.mark.slow
def test_in_a_world_without_effects_a_naive_split_finds_tasks_and_halves_find_nothing():
    """Tasks have items of their own, languages those of the task: naively, tasks have many times the share of languages."""
    rng = np.random.default_rng(2)
    worlds = [items(rng, 0, 0, shared=0.93) for _ in range(12)]
    task, language, _ = np.mean([naive(values) for values in worlds], axis=0)
    assert task / language > 14
    found = np.array([[estimated(values, rng, 2).sizes[name].value for name in EFFECTS] for values in worlds])
    noise = found.std(axis=0, ddof=1) / np.sqrt(len(worlds))
    assert (np.abs(found.mean(axis=0)) < 3 * noise).all()
    assert (found.mean(axis=0) < [task / 5, language / 5, language]).all()


@pytest.mark.slow
def test_planted_shares_lie_in_their_intervals_in_17_of_20_worlds():
    hits = np.zeros(2)
    for seed in range(20):
        rng = np.random.default_rng([3, seed])
        found = estimated(items(rng, 0.3, 0.1), rng, 6)
        for place, (name, share) in enumerate((("first", 0.75), ("second", 0.25))):
            _, low, high = found.shares[name]
            hits[place] += low <= share <= high
            assert (low, high) != (0, 1)
    assert (hits >= 17).all()


def test_where_there_is_nothing_every_share_is_possible_as_a_rule():
    whole = 0
    for seed in range(5):
        rng = np.random.default_rng([4, seed])
        whole += estimated(items(rng, 0, 0), rng, 6).shares["first"][1:] == (0.0, 1.0)
    assert whole >= 3


def test_removing_a_trend_leaves_what_regression_leaves():
    rng = np.random.default_rng(5)
    matrices, distance = rng.standard_normal((2, 4, CELLS)), rng.random(CELLS)
    given = np.stack([np.ones(CELLS), distance], axis=1)
    basis = np.linalg.qr(given).Q
    expected = [m - given @ np.linalg.lstsq(given, m, rcond=None)[0] for m in matrices.reshape(-1, CELLS)]
    np.testing.assert_allclose(less(matrices, basis).reshape(-1, CELLS), expected, atol=1e-12)


def test_leaving_out_a_group_is_the_split_without_it():
    """The changes that are added to a split's sizes are those of the split computed anew."""
    rng = np.random.default_rng(6)
    values = items(rng, 0.2, 0.1)
    (labels,) = halves(ITEMS, TASKS, 1, rng)
    whole = split(values, labels)
    from layeratlas.statistics.crossed import _of_split

    _, parts = _of_split(design(), whole)
    task, group = 2, 7
    changed = whole.halves.copy()
    members = design().samples[task]
    changed[labels[task, group], members] = whole.without[task][group]
    anew = np.einsum("exy,xy->e", design().forms, changed[0] @ changed[1].T) / CELLS
    assert parts[task][group] == pytest.approx(anew)


def test_halves_are_disjoint_and_equal():
    for labels in halves(8, 3, 5, np.random.default_rng(0)):
        assert labels.shape == (3, 8)
        assert (labels.sum(axis=1) == 4).all()


def test_a_factor_of_one_level_is_refused():
    with pytest.raises(ValueError, match=r"^two crossed factors have two levels each or more; got 1 and 4$"):
        Design(1, 4, [np.arange(4)])


@pytest.mark.nightly
@pytest.mark.parametrize("modes", [1, 5, 30])
def test_sizes_of_the_tests_in_400_worlds(modes):
    """Size tests hold .05 where there are no effects; that of the difference may be smaller there, and not where both are equal."""
    shares = pd.DataFrame([rejected(seed, modes) for seed in range(400)]).mean()
    assert shares[[*EFFECTS, "difference_of_equals"]].between(0.025, 0.08).all(), shares
    assert shares["difference"] <= 0.08
