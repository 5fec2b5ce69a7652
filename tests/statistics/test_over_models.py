"""What many pairs of models say together: leave-one-out of whole models, orientations, and how much pairs differ."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from layeratlas.statistics.over_models import over_models

ALL_PAIRS = list(combinations("abcdefgh", 2))


def frame(values, pairs=ALL_PAIRS, **more) -> pd.DataFrame:
    a, b = zip(*pairs, strict=True)
    return pd.DataFrame({"unit_a": a, "unit_b": b, "value": values, **more})


def summed_up(values, pairs=ALL_PAIRS, **more):
    error = "error" if "error" in more else None
    return over_models(frame(values, pairs, **more), "value", level=0.95, rng=np.random.default_rng(0), standard_error=error)


def test_the_interval_is_that_of_leaving_out_each_unit_with_all_its_pairs():
    values = np.random.default_rng(0).normal(0.3, 0.2, len(ALL_PAIRS))
    found = summed_up(values)
    left_out = [np.mean([v for v, pair in zip(values, ALL_PAIRS, strict=True) if unit not in pair]) for unit in "abcdefgh"]
    se = np.sqrt(7 / 8 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert found.mean == pytest.approx(values.mean())
    assert found.interval == pytest.approx((values.mean() - stats.t.ppf(0.975, 7) * se, values.mean() + stats.t.ppf(0.975, 7) * se))
    assert found.p == pytest.approx(2 * stats.t.sf(values.mean() / se, 7))
    assert (found.pairs, found.units, found.positive) == (28, 8, int((values > 0).sum()))
    assert (found.lowest, found.highest) == (values.min(), values.max())


def test_the_orientation_test_is_the_share_of_all_orientations_with_as_large_a_mean():
    values = np.random.default_rng(1).normal(0.05, 0.2, len(ALL_PAIRS))
    means = [
        np.mean([signs["abcdefgh".index(a)] * signs["abcdefgh".index(b)] * v for (a, b), v in zip(ALL_PAIRS, values, strict=True)])
        for signs in product([1, -1], repeat=8)
    ]
    found = summed_up(values)
    assert found.sign_p == pytest.approx(np.mean(np.array(means) >= values.mean() - 1e-12))
    assert found.sign_attainable_p == 1 / 2**7


def test_more_models_than_can_be_enumerated_are_oriented_at_random():
    pairs = list(combinations([f"m{i}" for i in range(16)], 2))
    found = summed_up(np.full(len(pairs), 0.2), pairs)
    assert found.sign_p == found.sign_attainable_p == 1 / 10_000


def test_pairs_whose_own_interval_holds_0_count_as_0_in_the_orientation_test_alone():
    values = np.full(len(ALL_PAIRS), 0.2)
    every, few = (
        over_models(
            frame(values, certain=[last or pair == ("a", "b") for pair in ALL_PAIRS]),
            "value",
            level=0.95,
            rng=np.random.default_rng(0),
            certain="certain",
        )
        for last in (True, False)
    )
    assert every == summed_up(values)
    assert few.sign_p == 0.5  # turning a or b around, alone, takes the only certain pair below
    assert (few.mean, few.interval) == (every.mean, every.interval)


def test_fewer_than_eight_units_have_no_orientation_test_and_fewer_than_three_no_interval():
    six = summed_up(np.ones(15), list(combinations("abcdef", 2)))
    assert (six.sign_p, six.sign_attainable_p) == (None, None)
    assert six.interval is not None
    two = summed_up([0.4], [("a", "b")])
    assert (two.mean, two.interval, two.p, two.sd) == (0.4, None, None, None)


def test_a_model_and_its_twin_are_one_unit_and_their_pair_is_left_out():
    pairs = [("llama", "llama"), ("llama", "gemma"), ("llama", "gemma"), ("llama", "qwen"), ("gemma", "qwen")]
    found = summed_up([9.0, 0.1, 0.3, 0.2, 0.2], pairs)
    assert (found.pairs, found.units) == (4, 3)
    assert found.mean == pytest.approx(0.2)


def test_the_reference_of_a_star_is_never_left_out():
    star = [("gpt2", other) for other in "abcd"]
    found = summed_up([0.1, 0.2, 0.3, 0.6], star)
    left_out = [np.mean(np.delete([0.1, 0.2, 0.3, 0.6], i)) for i in range(4)]
    se = np.sqrt(3 / 4 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert found.interval[1] - found.mean == pytest.approx(stats.t.ppf(0.975, 3) * se)


def test_how_much_pairs_differ_beyond_their_own_noise():
    rng = np.random.default_rng(2)
    pairs = list(combinations(range(40), 2))
    truth = rng.normal(0.3, 0.1, len(pairs))
    noisy = truth + 0.05 * rng.standard_normal(len(pairs))
    found = summed_up(noisy, pairs, error=np.full(len(pairs), 0.05))
    assert found.sd == pytest.approx(np.hypot(0.1, 0.05), rel=0.1)
    assert found.sd_beyond_noise == pytest.approx(0.1, rel=0.1)
    alike = summed_up(0.3 + 0.05 * rng.standard_normal(len(pairs)), pairs, error=np.full(len(pairs), 0.07))
    assert alike.sd_beyond_noise == 0
    assert summed_up(noisy, pairs).sd_beyond_noise is None


@pytest.mark.parametrize("units", [6, 9])
def test_pairs_without_correspondence_are_rarely_found(units):
    """Each model's strength differs, and a pair's value is a product of two models' noises: dependent, and 0 in the mean."""
    pairs, runs = list(combinations(range(units), 2)), 200
    rng = np.random.default_rng(3)
    rejected = {"t": 0, "signs": 0}
    for _ in range(runs):
        noise = rng.standard_normal((units, 3))
        found = summed_up([noise[a] @ noise[b] / 3 for a, b in pairs], pairs)
        rejected["t"] += found.p <= 0.05
        rejected["signs"] += found.sign_p is not None and found.sign_p <= 0.05
    assert max(rejected.values()) <= stats.binom.ppf(0.999, runs, 0.05)


def test_values_that_are_undefined_or_missing_are_refused():
    for values, pairs in (([np.nan], [("a", "b")]), ([0.1], [("a", "a")])):
        with pytest.raises(
            ValueError, match=r"^value: expected a number for each of one or more pairs of different models; got \["
        ):
            summed_up(values, pairs)
