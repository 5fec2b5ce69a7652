"""What a similarity of pairs goes with: against least squares by hand, by every order, and on worlds where nothing does."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm

from layeratlas.errors import Undefined
from layeratlas.statistics.dyads import double_semi_partialling
from layeratlas.statistics.nulls import unrestricted

NO_ORDERS = np.empty((0, 7), dtype=int)


def symmetric(rng, *shape):
    half = rng.standard_normal(shape)
    return half + np.swapaxes(half, -1, -2)


def nodes(rng, worlds, n):
    """A similarity of pairs that comes of things: each has a place on a line, a size and a little noise of each pair."""
    place, size = rng.standard_normal((2, worlds, n))
    near = -np.abs(place[:, :, None] - place[:, None])
    return near + 0.5 * (size[:, :, None] + size[:, None]) + 0.3 * symmetric(rng, worlds, n, n)


def pairs(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def test_slopes_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    y, x = symmetric(rng, 2, 7, 7), symmetric(rng, 3, 7, 7)
    found = double_semi_partialling(y, x, NO_ORDERS)
    assert np.isnan(found.p).all()
    assert np.isnan(found.p_fwer).all()
    design = sm.add_constant(np.array([pairs(each) for each in x]).T)
    for j, outcome in enumerate(map(pairs, y)):
        fit = sm.OLS(outcome, design).fit()
        spread = np.array([pairs(each).std() for each in x]) / outcome.std()
        np.testing.assert_allclose(found.slope[:, j], fit.params[1:] * spread)
        t = found.partial[:, j] * np.sqrt(fit.df_resid / (1 - found.partial[:, j] ** 2))
        np.testing.assert_allclose(t, fit.tvalues[1:])
        assert found.r2[j] == pytest.approx(fit.rsquared)
    others = sm.OLS(design[:, 1], design[:, [0, 2, 3]]).fit()
    assert found.inflation[0] == pytest.approx(1 / (1 - others.rsquared))


def test_p_is_the_share_of_all_orders_whose_t_is_as_large():
    rng = np.random.default_rng(1)
    y, x = symmetric(rng, 1, 5, 5), symmetric(rng, 2, 5, 5)
    orders = np.array(unrestricted(5).others(1000, rng))
    assert len(orders) == 119
    found = double_semi_partialling(y, x, orders)
    other = sm.add_constant(pairs(x[1]))
    residual = np.zeros((5, 5))
    residual[np.triu_indices(5, 1)] = sm.OLS(pairs(x[0]), other).fit().resid
    residual += residual.T
    t = []
    for order in itertools.permutations(range(5)):
        moved = pairs(residual[np.ix_(order, order)])
        t.append(abs(sm.OLS(pairs(y[0]), np.column_stack([other, moved])).fit().tvalues[2]))
    assert found.p[0, 0] == pytest.approx(np.mean(np.array(t) >= t[0] - 1e-9))
    np.testing.assert_allclose(found.p, found.p_fwer)
    np.testing.assert_allclose(found.attainable_p, 1 / 120)


def test_over_many_outcomes_p_is_that_of_the_largest():
    rng = np.random.default_rng(2)
    y, x = symmetric(rng, 6, 7, 7), symmetric(rng, 1, 7, 7)
    orders = np.array(unrestricted(7).others(99, rng))
    found = double_semi_partialling(y, x, orders)
    r = np.array([[abs(np.corrcoef(pairs(x[0][np.ix_(o, o)]), pairs(each))[0, 1]) for each in y] for o in orders])
    expected = [(1 + (r.max(axis=1) >= abs(own)).sum()) / 100 for own in found.partial[0]]
    np.testing.assert_allclose(found.p_fwer[0], expected)
    assert (found.p_fwer >= found.p).all()


def test_a_predictor_that_other_orders_leave_as_it_is_cannot_be_as_certain():
    together = np.kron(np.eye(2), np.ones((2, 2)))  # two groups of two: 8 of the 24 orders leave it as it is
    orders = np.array(unrestricted(4).others(1000, np.random.default_rng(0)))
    found = double_semi_partialling(together[None], together[None], orders)
    assert (found.attainable_p[0], found.p[0, 0]) == (pytest.approx(8 / 24), pytest.approx(8 / 24))
    assert (found.slope[0, 0], found.r2[0]) == (pytest.approx(1), pytest.approx(1))


def test_what_does_not_vary_or_is_determined_by_others_has_no_answer():
    rng = np.random.default_rng(3)
    x = symmetric(rng, 1, 7, 7)
    orders = np.array(unrestricted(7).others(19, rng))
    doubled = double_semi_partialling(symmetric(rng, 1, 7, 7), np.concatenate([x, 3 - 2 * x]), orders)
    assert np.isnan(doubled.p).all()
    assert np.isinf(doubled.inflation).all()
    constant = double_semi_partialling(np.ones((1, 7, 7)), np.concatenate([x, np.ones((1, 7, 7))]), orders)
    assert np.isnan(constant.p).all()
    assert np.isnan(constant.r2).all()
    assert constant.inflation.tolist() == [1, pytest.approx(np.nan, nan_ok=True)]


def test_a_constant_outcome_is_no_part_of_the_largest():
    rng = np.random.default_rng(4)
    x, orders = symmetric(rng, 1, 7, 7), np.array(unrestricted(7).others(19, rng))
    y = np.concatenate([x + symmetric(rng, 1, 7, 7), np.full((1, 7, 7), 0.1), np.full((1, 7, 7), np.nan)])
    found = double_semi_partialling(y, x, orders)
    assert np.isfinite(found.p_fwer[0]).tolist() == [True, False, False]
    assert found.p_fwer[0, 0] == found.p[0, 0]


def test_more_predictors_than_pairs_allow_are_refused():
    rng = np.random.default_rng(5)
    with pytest.raises(Undefined, match="2 predictors of 3 pairs leave no degree of freedom"):
        double_semi_partialling(symmetric(rng, 1, 3, 3), symmetric(rng, 2, 3, 3), np.empty((0, 3), dtype=int))


def sizes(worlds, n, orders):
    """Shares of worlds where p, and p over outcomes, is at most .05: of one predictor, and of one beside another that matters."""
    rng = np.random.default_rng(6)
    alone, beside = [], []
    for _ in range(worlds):
        x, other = nodes(rng, 2, n)
        like = x + 0.7 * other
        y = nodes(rng, 5, n)
        drawn = np.array(unrestricted(n).others(orders, rng))
        alone.append(double_semi_partialling(y, x[None], drawn))
        beside.append(double_semi_partialling(y + other, np.stack([like, other]), drawn))
    found = {"alone": [(each.p[0, 0], each.p_fwer[0].min()) for each in alone]}
    found["beside"] = [(each.p[0, 0], each.p_fwer[0].min()) for each in beside]
    return {name: tuple((np.array(p) <= 0.05).mean(axis=0)) for name, p in found.items()}


def test_in_worlds_without_association_few_are_found():
    for p, p_fwer in sizes(40, 8, 39).values():
        assert max(p, p_fwer) <= 0.2


@pytest.mark.nightly
@pytest.mark.parametrize("n", [7, 10])
def test_in_400_worlds_without_association_p_holds_its_level(n):
    for name, found in sizes(400, n, 199).items():
        assert all(0.025 <= share <= 0.08 for share in found), (name, found)
