"""Correlations within categories, pooled and partial, against other libraries; worlds with planted truths, and with nothing."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from phase_worlds import LABELS, World, world
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from layeratlas.analyses.phases_sound import two_sided
from layeratlas.statistics.within_categories import (
    Categories,
    Regressions,
    category_correlations,
    permuted_partial,
    permuted_within,
    random_effects,
    residuals,
    weighted_correlations,
)

CATEGORIES = Categories.of(LABELS)
ONE = np.ones((1, len(LABELS)))

# --- categories ---------------------------------------------------------------------------------------------------------------


def test_resamples_and_orders_keep_every_item_in_its_category():
    labels = [*"ab" * 12, *"b" * 5]
    categories = Categories.of(labels)
    rng, column = np.random.default_rng(0), np.asarray(labels)
    assert categories.names == ["a", "b"]
    for weights in categories.resamples(20, rng):
        assert [weights[column == name].sum() for name in "ab"] == [12, 17]
    orders = categories.orders(20, rng)
    assert all((column[order] == column).all() and sorted(order) == list(range(29)) for order in orders)
    assert len(np.unique(orders, axis=0)) == 20


def test_a_category_of_few_items_is_refused_by_name():
    with pytest.raises(ValueError, match="needs 10 pairs of each; b has 3, c has 1"):
        Categories.of([*"a" * 12, *"b" * 3, "c"])


# --- correlations -------------------------------------------------------------------------------------------------------------


def test_weighted_correlations_are_those_of_the_repeated_items():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 180)), rng.standard_normal(180)
    weights = CATEGORIES.resamples(3, rng)
    within = category_correlations(x, y, weights, CATEGORIES.indicators)
    for draw in range(3):
        repeated = np.repeat(np.arange(180), weights[draw].astype(int))
        assert weighted_correlations(x, y, weights)[draw] == pytest.approx(np.corrcoef(x[draw, repeated], y[repeated])[0, 1])
        for category, places in enumerate(CATEGORIES.members):
            chosen = repeated[np.isin(repeated, places)]
            assert within[draw, category] == pytest.approx(np.corrcoef(x[draw, chosen], y[chosen])[0, 1])


def test_what_is_constant_or_absent_has_no_correlation():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 180)), rng.standard_normal(180)
    x[0, :30] = 0.3
    weights = ONE.copy()
    weights[0, 30:60] = 0
    found = category_correlations(x, y, weights, CATEGORIES.indicators)[0]
    assert np.isnan(found).tolist() == [True, True, False, False, False, False]
    assert np.isnan(weighted_correlations(np.full((1, 180), 0.1), y, ONE)).all()


def test_partial_correlations_are_those_of_weighted_regressions():
    rng = np.random.default_rng(0)
    given = np.concatenate([CATEGORIES.indicators, rng.standard_normal((180, 2))], axis=1)
    weights = np.concatenate([ONE, CATEGORIES.resamples(3, rng)])
    y = given @ rng.standard_normal(8) + rng.standard_normal(180)
    x = given @ rng.standard_normal(8) + 0.3 * y + rng.standard_normal((4, 180))
    found = Regressions.on(given, weights).partial_correlations(x, y)
    for draw in range(4):
        left = [sm.WLS(values, given, weights=weights[draw]).fit().resid for values in (x[draw], y)]
        root = np.sqrt(weights[draw])
        assert found[draw] == pytest.approx(np.corrcoef(root * left[0], root * left[1])[0, 1], abs=0.01)
        assert found[draw] == pytest.approx((weights[draw] * left[0]) @ left[1] / np.prod([np.linalg.norm(root * v) for v in left]))


def test_what_the_covariates_explain_wholly_has_no_partial_correlation():
    rng = np.random.default_rng(0)
    given = np.concatenate([CATEGORIES.indicators, rng.standard_normal((180, 1))], axis=1)
    y = rng.standard_normal(180)
    regressions = Regressions.on(given, ONE)
    assert np.isnan(regressions.partial_correlations((given @ rng.standard_normal(7))[None], y)).all()
    np.testing.assert_allclose(
        Regressions.on(np.concatenate([given, given[:, -1:]], axis=1), ONE).partial_correlations(y[None] ** 2, y),
        regressions.partial_correlations(y[None] ** 2, y),  # the same covariate twice is as once
    )


# --- pooling ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 0.5], ids=["alike", "different"])
def test_pooled_effects_are_those_of_statsmodels(spread):
    rng = np.random.default_rng(3)
    variances = rng.uniform(0.02, 0.08, size=6)
    effects = 0.3 + spread * rng.standard_normal(6) + np.sqrt(variances) * rng.standard_normal(6)
    found = random_effects(effects, variances, 0.95)
    with np.errstate(invalid="ignore"):  # it takes the root of a tau^2 below 0, where ours is 0, as for fixed effects
        expected: Any = combine_effects(effects, variances, method_re="dl", use_t=True)
    assert (expected.tau2 > 0) == (spread > 0)
    kind = "re" if spread else "fe"
    mean, error = getattr(expected, f"mean_effect_{kind}"), getattr(expected, f"sd_eff_w_{kind}_hksj")
    assert found.mean == pytest.approx(mean)
    assert found.tau**2 == pytest.approx(max(expected.tau2, 0))
    reach = stats.t.ppf(0.975, 5) * error
    assert (found.ci_low, found.ci_high) == pytest.approx((found.mean - reach, found.mean + reach))
    assert found.i_squared == pytest.approx(max(expected.i2, 0))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.mean) / error, 5))
    with pytest.raises(ValueError, match="two categories or more; got 1"):
        random_effects(effects[:1], variances[:1], 0.95)


# --- permutation --------------------------------------------------------------------------------------------------------------


def test_permuted_correlations_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    sample = world([0.4, -0.2], rng, between=1.0)
    given = np.concatenate([CATEGORIES.indicators, rng.standard_normal((180, 2))], axis=1)
    orders = np.concatenate([np.arange(180)[None], CATEGORIES.orders(3, rng)])
    within, partial = permuted_within(sample.x, sample.y, CATEGORIES, orders), permuted_partial(sample.x, sample.y, given, orders)
    fitted = sample.y - residuals(sample.y, given)
    for draw, order in enumerate(orders):
        y = fitted + residuals(sample.y, given)[order]
        for layer in (0, 1):
            z = [np.arctanh(np.corrcoef(sample.x[layer, m], sample.y[order][m])[0, 1]) for m in CATEGORIES.members]
            assert within[draw, layer] == pytest.approx(np.mean(z))
            left = sm.OLS(sample.x[layer], given).fit().resid, sm.OLS(y, given).fit().resid
            assert partial[draw, layer] == pytest.approx(np.corrcoef(*left)[0, 1])


# --- worlds -------------------------------------------------------------------------------------------------------------------


def within(sample: World) -> np.ndarray:
    """Fisher's z, (layers, categories)."""
    return np.stack([np.arctanh(category_correlations(x[None], sample.y, ONE, CATEGORIES.indicators))[0] for x in sample.x])


def test_a_planted_paradox_lies_in_its_intervals():
    """R = .5 over all pairs, -.4 in each category."""
    held = np.zeros(2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sample = world([-0.4], rng, between=1.8)
        inside = random_effects(within(sample)[0], CATEGORIES.z_variances, 0.95)
        weights = CATEGORIES.resamples(500, rng)
        over_all = np.quantile(weighted_correlations(np.tile(sample.x, (500, 1)), sample.y, weights), [0.025, 0.975])
        held += [inside.ci_low <= np.arctanh(-0.4) <= inside.ci_high, over_all[0] <= 0.5 <= over_all[1]]
    assert (held >= 17).all()


@pytest.mark.slow
def test_each_test_holds_its_level_where_nothing_is_to_be_found():
    """Means of categories differ in x and y, alike: a confounder that all tests must take away."""
    worlds, p = 800, []
    for seed in range(worlds):
        rng = np.random.default_rng([7, seed])
        sample = world(np.zeros(10), rng, between=1.0)
        length = (sample.y + rng.standard_normal(180))[:, None]  # what y depends on, and x does not
        given = np.concatenate([CATEGORIES.indicators, length], axis=1)
        orders = np.concatenate([np.arange(180)[None], CATEGORIES.orders(199, rng)])
        inside = two_sided(permuted_within(sample.x, sample.y, CATEGORIES, orders), np.ones(10, dtype=bool), 0.05)
        partial = two_sided(permuted_partial(sample.x, sample.y, given, orders), np.ones(10, dtype=bool), 0.05)
        pooled = random_effects(within(sample)[0], CATEGORIES.z_variances, 0.95)
        p.append([pooled.p, inside["p"][0], inside["p_fwer"].min(), partial["p"][0], partial["p_fwer"].min()])
    sizes = (np.array(p) <= 0.05).mean(axis=0)
    assert ((sizes >= 0.025) & (sizes <= 0.08)).all(), sizes
