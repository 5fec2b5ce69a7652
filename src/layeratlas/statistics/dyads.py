"""What a similarity of pairs of things (dyads) goes with, where pairs that share a thing are not independent.

    y_ij = b_0 + b_1 x_1,ij + b_2 x_2,ij + ... + e_ij    over all pairs i < j of n things

Standard errors of least squares do not hold here: every thing is in n - 1 of the pairs. Its p comes from orders of the things.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from layeratlas.errors import Undefined
from layeratlas.statistics.nulls import ROUNDING, add_one_p

Dyads = Float[np.ndarray, "rows dyads"]
Basis = Float[np.ndarray, "dyads rank"]


@dataclass(frozen=True)
class Regression:
    """Each predictor's part in the outcomes, the other predictors held constant; a row per predictor, a column per outcome.

    `slope` is standardised: deviations of the outcome per deviation of the predictor. `partial` is the partial correlation r, of
    which least squares' t = r sqrt(df / (1 - r^2)) is a monotone function. `p` is two-sided, `p_fwer` the same for the largest |r|
    over all outcomes. NaN without orders, and where an outcome or what the others leave of a predictor does not vary.
    `attainable_p`: the smallest p of each predictor, larger than 1 / (orders + 1) where other orders leave the predictor as it is.
    `inflation` is 1 / (1 - R^2) of each predictor on the others, infinite for one that these determine. `r2` is that of all
    predictors together.
    """

    slope: Float[np.ndarray, "predictors outcomes"]
    partial: Float[np.ndarray, "predictors outcomes"]
    p: Float[np.ndarray, "predictors outcomes"]
    p_fwer: Float[np.ndarray, "predictors outcomes"]
    attainable_p: Float[np.ndarray, " predictors"]
    inflation: Float[np.ndarray, " predictors"]
    r2: Float[np.ndarray, " outcomes"]


def double_semi_partialling(
    outcomes: Float[np.ndarray, "outcomes n n"],
    predictors: Float[np.ndarray, "predictors n n"],
    orders: Int[np.ndarray, "orders n"],
) -> Regression:
    """Multiple regression of symmetric matrices, each predictor tested by permuting what the others leave of it.

    A predictor's residual on the other ones is put into other orders of the things (rows and columns alike) and takes the
    predictor's place beside the others; the t of its slope is compared with those (Dekker, Krackhardt and Snijders, 2007).
    Holds its level where predictors are collinear, which permuting the outcome or the predictor itself does not. `orders` are
    others than that of the data. Only what lies above the diagonals is read. Raises Undefined where no degree of freedom is left.
    """
    n = outcomes.shape[-1]
    upper = np.triu_indices(n, 1)
    y, x = outcomes[:, *upper], predictors[:, *upper]
    if y.shape[1] <= len(x) + 1:
        raise Undefined(f"{len(x)} predictors of {y.shape[1]} pairs leave no degree of freedom")
    places = _places(n, orders)
    parts = [_part(x[i], _basis(np.delete(x, i, axis=0)), y, places) for i in range(len(x))]
    slope, partial, p, p_fwer, attainable, inflation = (np.stack(values) for values in zip(*parts, strict=True))
    return Regression(slope, partial, p, p_fwer, attainable, inflation, _explained(y, _basis(x)))


def _places(n: int, orders: Int[np.ndarray, "orders n"]) -> Int[np.ndarray, "places dyads"]:
    """Which dyad comes to lie in the place of each, in the order of the data and in each other one."""
    upper = np.triu_indices(n, 1)
    number = np.zeros((n, n), dtype=int)
    number[upper] = np.arange(len(upper[0]))
    number += number.T
    return np.stack([number[order[upper[0]], order[upper[1]]] for order in (np.arange(n), *orders)])


def _basis(predictors: Dyads) -> Basis:
    """Orthonormal columns that span the constant and these predictors."""
    centred = predictors - predictors.mean(axis=1, keepdims=True)
    columns = np.vstack([np.ones(predictors.shape[1]), *centred[_varies(centred, predictors)]])
    left, size, _ = np.linalg.svd((columns / np.linalg.norm(columns, axis=1, keepdims=True)).T, full_matrices=False)
    return left[:, size > ROUNDING]


def _without(values: Dyads, basis: Basis) -> Dyads:
    """What least squares on the basis leaves."""
    return values - (values @ basis) @ basis.T


def _varies(residuals: Dyads, values: Dyads) -> Bool[np.ndarray, " rows"]:
    """Which rows are known and vary beyond rounding."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values).all(axis=1) & (np.abs(residuals).max(axis=1) > ROUNDING * np.abs(values).max(axis=1))


def _part(
    own: Float[np.ndarray, " dyads"], others: Basis, outcomes: Dyads, places: Int[np.ndarray, "places dyads"]
) -> tuple[np.ndarray | float, ...]:
    """Of one predictor: slope, partial correlation, p and p over all outcomes (per outcome), attainable p, inflation."""
    nothing = np.full(len(outcomes), np.nan)
    residual, y = _without(own[None], others)[0], _without(outcomes, others)
    if not _varies(residual[None], own[None])[0]:
        inflation = np.inf if _varies((own - own.mean())[None], own[None])[0] else np.nan
        return nothing, nothing, nothing, nothing, np.nan, inflation
    permuted, varies = residual[places], _varies(y, outcomes)
    r = np.full((len(places), len(outcomes)), np.nan)
    r[:, varies] = _correlations(_without(permuted, others), y[varies])
    size = np.abs(r)
    largest = size.max(axis=1, initial=0.0, where=varies, keepdims=True)
    tested = varies & (len(places) > 1)
    p = np.where(tested, add_one_p(size[0], size[1:]), np.nan)
    p_fwer = np.where(tested, add_one_p(size[0], np.broadcast_to(largest[1:], size[1:].shape)), np.nan)
    squares, spread = residual @ residual, np.where(varies, outcomes.std(axis=1), np.nan)
    slope = y @ residual / squares * own.std() / spread
    unmoved = np.abs(permuted - residual).max(axis=1) <= ROUNDING * np.abs(residual).max()
    return slope, r[0], p, p_fwer, unmoved.mean(), ((own - own.mean()) ** 2).sum() / squares


def _correlations(x: Float[np.ndarray, "places dyads"], y: Dyads) -> Float[np.ndarray, "places rows"]:
    """Of rows without their means; 0 for an order of the predictor that the others explain."""
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    return np.divide(x @ y.T, sizes, out=np.zeros_like(sizes), where=sizes > ROUNDING * sizes.max(axis=0))


def _explained(y: Dyads, basis: Basis) -> Float[np.ndarray, " outcomes"]:
    centred = y - y.mean(axis=1, keepdims=True)
    varies = _varies(centred, y)
    total = np.where(varies, (centred**2).sum(axis=1), np.nan)
    return 1 - (_without(y, basis) ** 2).sum(axis=1) / total
