"""Correlation over items that belong to categories: within these, pooled over them, and what is left given other things.

Over items of all categories together, a correlation also holds the differences between categories: it can be positive where it is
negative in every one of them (Simpson, 1951). Pooling Fisher's z = atanh r of the categories has no part of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from layeratlas.errors import Undefined

_NOTHING = 1e-12  # of a sum of squares: what is left of it is rounding
FEWEST = 10  # pairs of a category: fewer could be drawn so often that no two different ones are left

Weights = Float[np.ndarray, "draws n"]


@dataclass(frozen=True)
class Categories:
    """Items by category: `members[i]` are the places of those of `names[i]`."""

    names: Sequence[str]
    members: Sequence[Int[np.ndarray, " _"]]

    @classmethod
    def of(cls, labels: Sequence[str]) -> "Categories":
        """In the order of appearance. Raises ValueError for a category of fewer than ten items."""
        column = np.asarray(labels)
        names = list(dict.fromkeys(labels))
        members = [np.flatnonzero(column == name) for name in names]
        if small := [f"{name} has {len(places)}" for name, places in zip(names, members, strict=True) if len(places) < FEWEST]:
            raise Undefined(f"a correlation within categories needs {FEWEST} pairs of each; {', '.join(small)}")
        return cls(names, members)

    @property
    def n(self) -> int:
        return sum(map(len, self.members))

    @property
    def indicators(self) -> Float[np.ndarray, "n categories"]:
        """1 where an item belongs to a category."""
        marks = np.zeros((self.n, len(self.members)))
        for category, places in enumerate(self.members):
            marks[places, category] = 1
        return marks

    @property
    def z_variances(self) -> Float[np.ndarray, " categories"]:
        """1 / (n - 3): that of Fisher's z of a correlation over n independent items."""
        return np.array([1 / (len(places) - 3) for places in self.members])

    def resamples(self, draws: int, rng: np.random.Generator) -> Weights:
        """How often each item is drawn with replacement from its own category, whose size is kept."""
        weights = np.zeros((draws, self.n))
        for places in self.members:
            weights[:, places] = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), size=draws)
        return weights

    def orders(self, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "draws n"]:
        """Random orders of the items that leave each in its category."""
        orders = np.tile(np.arange(self.n), (draws, 1))
        for places in self.members:
            orders[:, places] = rng.permuted(np.tile(places, (draws, 1)), axis=1)
        return orders


# --- correlations -------------------------------------------------------------------------------------------------------------


def weighted_correlations(x: Weights, y: Float[np.ndarray, " n"], weights: Weights) -> Float[np.ndarray, " draws"]:
    """Pearson correlation over all items, of weights w and values x of each draw with y; NaN where either is constant."""
    return category_correlations(x, y, weights, np.ones((len(y), 1)))[:, 0]


def category_correlations(
    x: Weights, y: Float[np.ndarray, " n"], weights: Weights, indicators: Float[np.ndarray, "n categories"]
) -> Float[np.ndarray, "draws categories"]:
    """Pearson correlation within each category, of weights w and values x of each draw with y; NaN where either is constant."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean()
    wx = weights * x
    sum_x, sum_y = wx @ indicators, weights @ (y[:, None] * indicators)
    total = np.maximum(weights @ indicators, 1)  # a category of no weight has sums of 0, and so no correlation
    xx = (wx * x) @ indicators - sum_x**2 / total
    yy = weights @ (y[:, None] ** 2 * indicators) - sum_y**2 / total
    xy = wx @ (y[:, None] * indicators) - sum_x * sum_y / total
    varies = (xx > _NOTHING * (wx * x).sum(axis=1, keepdims=True)) & (yy > _NOTHING * (weights @ y**2)[:, None])
    return np.divide(xy, np.sqrt(np.where(varies, xx * yy, 1.0)), out=np.full_like(xy, np.nan), where=varies)


@dataclass(frozen=True)
class Regressions:
    """Least-squares regressions on the same covariates, one for each draw's weights, and what they leave of values.

    `given` holds all covariates, indicators of the categories among them, which stand for the constant; `inverses` are the
    pseudo-inverses of each draw's weighted products of these.
    """

    weights: Weights
    given: Float[np.ndarray, "n covariates"]
    inverses: Float[np.ndarray, "draws covariates covariates"]

    @classmethod
    def on(cls, given: Float[np.ndarray, "n covariates"], weights: Weights) -> "Regressions":
        width = given.shape[1]
        products = (given[:, :, None] * given[:, None, :]).reshape(len(given), -1)
        return cls(weights, given, np.linalg.pinv((weights @ products).reshape(-1, width, width), hermitian=True))

    def partial_correlations(self, x: Weights, y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " draws"]:
        """Of what is left of x (other values in each draw) with what is left of y; NaN where that is nothing but rounding."""
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean()
        wx, wy = self.weights * x, self.weights * y
        with_x, with_y = wx @ self.given, wy @ self.given
        explaining_x = np.einsum("dpq,dq->dp", self.inverses, with_x)
        xx, yy = (wx * x).sum(axis=1), (wy * y).sum(axis=1)
        left_xx = xx - (explaining_x * with_x).sum(axis=1)
        left_yy = yy - np.einsum("dp,dpq,dq->d", with_y, self.inverses, with_y, optimize=True)
        left_xy = (wx * y).sum(axis=1) - (explaining_x * with_y).sum(axis=1)
        varies = (left_xx > _NOTHING * xx) & (left_yy > _NOTHING * yy)
        product = np.where(varies, left_xx * left_yy, 1.0)
        return np.divide(left_xy, np.sqrt(product), out=np.full_like(left_xy, np.nan), where=varies)


def residuals(values: Float[np.ndarray, "n *columns"], given: Float[np.ndarray, "n covariates"]) -> np.ndarray:
    """What least-squares regression on the covariates leaves."""
    return values - given @ np.linalg.lstsq(given, values, rcond=None)[0]


# --- pooling over categories --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RandomEffects:
    """Mean of effects that differ between categories, with Hartung and Knapp's interval and two-sided p.

    `tau` is the standard deviation of the effects between categories, `i_squared` the share of their variance that is not noise.
    """

    mean: float
    ci_low: float
    ci_high: float
    p: float
    tau: float
    i_squared: float
    weights: Float[np.ndarray, " categories"]


def random_effects(
    effects: Float[np.ndarray, " categories"], variances: Float[np.ndarray, " categories"], level: float
) -> RandomEffects:
    """Pool k effects of known variances (DerSimonian and Laird, 1986; Hartung and Knapp, 2001, equations 5 and 6).

        tau^2 = max(0, (Q - (k - 1)) / (sum u - sum u^2 / sum u)),   u = 1 / variance
        mean +- t_{k - 1} se,   se^2 = sum w (effect - mean)^2 / ((k - 1) sum w),   w = 1 / (variance + tau^2)

    Raises ValueError for fewer than two effects, which say nothing of how effects differ.
    """
    if (k := len(effects)) < 2:
        raise Undefined(f"effects are pooled over two categories or more; got {k}")
    u = 1 / variances
    q = float(u @ (effects - u @ effects / u.sum()) ** 2)
    tau2 = max(0.0, (q - (k - 1)) / float(u.sum() - u @ u / u.sum()))
    w = 1 / (variances + tau2)
    mean = float(w @ effects / w.sum())
    se = float(np.sqrt(w @ (effects - mean) ** 2 / ((k - 1) * w.sum())))
    reach = float(stats.t.ppf((1 + level) / 2, k - 1)) * se
    p = float(2 * stats.t.sf(abs(mean) / se, k - 1)) if se > 0 else float("nan")
    return RandomEffects(mean, mean - reach, mean + reach, p, float(np.sqrt(tau2)), max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0, w)


# --- permutation --------------------------------------------------------------------------------------------------------------


def permuted_within(
    x: Float[np.ndarray, "layers n"], y: Float[np.ndarray, " n"], categories: Categories, orders: Int[np.ndarray, "draws n"]
) -> Float[np.ndarray, "draws layers"]:
    """Mean Fisher z over categories (weighted by n - 3), with y in each of the orders, the same order for all layers."""
    total = np.zeros((len(orders), len(x)))
    for places in categories.members:
        first, second = (_unit(values - values.mean(axis=-1, keepdims=True)) for values in (x[:, places], y[orders[:, places]]))
        total += (len(places) - 3) * np.arctanh(second @ first.T)
    return total * (1 / sum(len(places) - 3 for places in categories.members))


def permuted_partial(
    x: Float[np.ndarray, "layers n"],
    y: Float[np.ndarray, " n"],
    given: Float[np.ndarray, "n covariates"],
    orders: Int[np.ndarray, "draws n"],
) -> Float[np.ndarray, "draws layers"]:
    """Partial correlation with y after its residuals given the covariates are put into each order (Freedman and Lane, 1983).

    Fitted values are left where they are, and regression takes them away again, so the residuals alone are permuted, and are made
    residuals once more.
    """
    left = residuals(y, given)
    permuted = residuals(left[orders].T, given)
    return _unit(permuted.T) @ _unit(residuals(x.T, given).T).T


def _unit(rows: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, "rows n"]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.full_like(rows, np.nan), where=length > 0)
