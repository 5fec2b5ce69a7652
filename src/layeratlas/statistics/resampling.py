"""Intervals: delete-a-group jackknife for similarities of pairs of items, bootstrap for statistics of independent items."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from layeratlas.statistics.nulls import ROUNDING


class Interval(NamedTuple):
    low: np.ndarray
    high: np.ndarray


def jackknife_groups(n: int, count: int, clusters: Sequence[str] | None = None) -> list[Int[np.ndarray, " members"]]:
    """About `count` groups of items to leave out in turn: consecutive ones (items come in random order), or whole clusters.

    Clusters are dealt out from the largest to the smallest, each to the group that is smallest so far.
    """
    if clusters is None:
        return [part for part in np.array_split(np.arange(n), min(count, n)) if len(part)]
    labels, inverse, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    groups, filled = np.zeros(len(labels), dtype=int), np.zeros(min(count, len(labels)))
    for label in np.argsort(-sizes, kind="stable"):
        groups[label] = int(filled.argmin())
        filled[groups[label]] += sizes[label]
    return [np.flatnonzero(groups[inverse] == group) for group in range(len(filled))]


def jackknife_interval(
    estimate: np.ndarray | float,
    left_out: Float[np.ndarray, "groups *shape"],
    *,
    level: float,
    bounds: tuple[float, float],
    shared: float = 0.0,
) -> Interval:
    """Student interval with the delete-a-group jackknife's standard error.

        estimate +- t_{G - 1} sqrt(se^2 + shared),  `shared` what is known of the covariance between items of different groups

    Never resamples an item twice: duplicates are each other's nearest neighbours, and
    would raise every similarity of neighbourhoods or Gram matrices. Assumes that groups are independent; cut off at the bounds
    of what is attainable, which loses no coverage.
    """
    reach = stats.t.ppf((1 + level) / 2, len(left_out) - 1) * np.sqrt(jackknife_se(left_out) ** 2 + shared)
    return Interval(np.maximum(estimate - reach, bounds[0]), np.minimum(estimate + reach, bounds[1]))


def jackknife_se(left_out: Float[np.ndarray, "groups *shape"]) -> np.ndarray:
    """Standard error of the delete-a-group jackknife, from the statistic s_g without each of the G groups.

        se^2 = (G - 1) / G * sum_g (s_g - mean)^2

    with G - 1 degrees of freedom (Shao and Tu, 1995, section 2.3).
    """
    groups = len(left_out)
    return np.asarray(np.sqrt((groups - 1) / groups * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)))


def jackknife_t_p(estimate: np.ndarray | float, left_out: Float[np.ndarray, "groups *shape"]) -> np.ndarray:
    """Two-sided p of a t-test against 0 with the jackknife's standard error, 2 P(t_{G - 1} > |s| / se).

    An approximation by the tail of a t distribution: it has no smallest value, and is no better known than the tail is. NaN where
    leaving out groups changes nothing.
    """
    se = jackknife_se(left_out)
    t = np.divide(np.abs(estimate), se, out=np.full_like(se, np.nan), where=se > 0)
    return np.asarray(2 * stats.t.sf(t, len(left_out) - 1))


def share_interval(
    estimate: np.ndarray | float, left_out: Float[np.ndarray, "groups *shape"], *, level: float, units: int, shared: float = 0.0
) -> Interval:
    """Exact binomial interval with an effective number of items (Korn and Graubard, 1998), of a mean of numbers from 0 to 1.

        all p for which s m successes or fewer, and s m or more, of m have more than half of 1 - level each (Clopper and Pearson),
        m = s (1 - s) / se^2 * (t_{units - 1} / t_{G - 1})^2

    m is how many independent items of success or failure would vary as the jackknife finds, less what its own uncertainty takes;
    `shared` is added to se^2 (see `jackknife_interval`).
    The interval holds the estimate, stays within 0 and 1 and is longer towards the middle. Where the jackknife sees no variance,
    as at shares of 0 and 1, m is the number of independent `units` (items, or groups of items).
    """
    se, tail = np.sqrt(jackknife_se(left_out) ** 2 + shared), (1 - level) / 2
    share = np.clip(np.asarray(estimate, dtype=float), 0.0, 1.0)
    spread = share * (1 - share)
    seen = (se > ROUNDING) & (spread > ROUNDING)
    certainty = (stats.t.isf(tail, max(units - 1, 1)) / stats.t.isf(tail, len(left_out) - 1)) ** 2
    m = np.divide(spread * certainty, se**2, out=np.full_like(spread, float(units)), where=seen)
    hits, misses = share * m, (1 - share) * m
    low = np.where(hits > 0, stats.beta.ppf(tail, np.maximum(hits, ROUNDING), misses + 1), 0.0)
    high = np.where(misses > 0, stats.beta.isf(tail, hits + 1, np.maximum(misses, ROUNDING)), 1.0)
    return Interval(np.minimum(low, share), np.maximum(high, share))


def design_effect(by_group: Float[np.ndarray, "groups *shape"], by_items: Float[np.ndarray, "parts *shape"]) -> float:
    """How many times larger a variance is when whole groups of the data are left out: the ratio of both jackknives' variances.

    Of many statistics, each weighs by its size: the ratio of their sums. NaN where nothing varies.
    """
    grouped, single = (float((jackknife_se(left_out) ** 2).sum()) for left_out in (by_group, by_items))
    return grouped / single if single > 0 else float("nan")


def bootstrap_interval(
    statistic: Callable[[Int[np.ndarray, "draws n"]], Float[np.ndarray, "draws *shape"]],
    n: int,
    rng: np.random.Generator,
    *,
    draws: int,
    level: float,
) -> Interval:
    """Percentile interval over items drawn with replacement; `statistic` takes all draws' indices at once.

    For statistics of independent items (a correlation over items, a mean), never for similarities of pairs of items.
    """
    values = statistic(rng.integers(n, size=(draws, n)))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(low, high)
