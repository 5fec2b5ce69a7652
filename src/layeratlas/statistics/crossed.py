"""How much of what sets matrices apart is due to each of two crossed factors, such as task and language.

The matrix of level s of the first factor and level t of the second is a mean and three effects, M_st = m + A_s + B_t + I_st, all of
them matrices. The size of a factor is the variance of its effects between its levels (Cornfield and Tukey, 1956), a mean over
cells:

    sum_s |A_s|^2 / (a - 1),   sum_t |B_t|^2 / (b - 1),   sum_st |I_st|^2 / ((a - 1) (b - 1))

Both factors are fixed: the numbers speak of these levels. The square of an estimated effect holds the square of its noise, and more
of it where levels have items of their own than where they share them. Effects are therefore estimated on each of two disjoint
halves of the items, and their cross-product taken, whose noise is 0 in expectation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

EFFECTS = ("first", "second", "interaction")

Matrices = Float[np.ndarray, "conditions cells"]
Sizes = Float[np.ndarray, " effects"]


@dataclass(frozen=True)
class Design:
    """Every level of one factor with every level of another, once; condition (s, t) has the place s * `second` + t.

    `samples` are the places of the conditions that share their items, such as the translations of one task; different samples
    share none.
    """

    first: int
    second: int
    samples: Sequence[Int[np.ndarray, " _"]]

    def __post_init__(self) -> None:
        if min(self.first, self.second) < 2:
            raise ValueError(f"two crossed factors have two levels each or more; got {self.first} and {self.second}")

    @property
    def forms(self) -> Float[np.ndarray, "effects conditions conditions"]:
        """W such that sum_xy W_xy <M_x, M_y> is the size of each effect."""
        within = [np.eye(levels) - 1 / levels for levels in (self.first, self.second)]
        mean = [np.full((levels, levels), 1 / levels) for levels in (self.first, self.second)]
        free = self.first - 1, self.second - 1
        products = (
            (within[0], mean[1], self.second * free[0]),
            (mean[0], within[1], self.first * free[1]),
            (*within, free[0] * free[1]),
        )
        return np.stack([np.kron(rows, columns) / scale for rows, columns, scale in products])

    def naive(self, matrices: Matrices) -> Sizes:
        """The sizes with all items in both factors of the product, noise included."""
        return np.einsum("exy,xc,yc->e", self.forms, matrices, matrices) / matrices.shape[1]


@dataclass(frozen=True)
class Split:
    """The matrices of all conditions on one half of the items and on the other.

    `without[sample]` holds, for each group of that sample's items, the matrices of its conditions without the group, of the half
    that the group belongs to, `half_of[sample]`.
    """

    halves: Float[np.ndarray, "2 conditions cells"]
    without: Sequence[Float[np.ndarray, "groups members cells"]]
    half_of: Sequence[Int[np.ndarray, " groups"]]

    def less(self, trend: Float[np.ndarray, "cells columns"]) -> "Split":
        """The same without what a linear regression of every matrix on the trend's columns, which are orthonormal, explains."""
        return Split(less(self.halves, trend), [less(matrices, trend) for matrices in self.without], self.half_of)


def less(matrices: Float[np.ndarray, "*many cells"], trend: Float[np.ndarray, "cells columns"]) -> Float[np.ndarray, "*many cells"]:
    return matrices - (matrices @ trend) @ trend.T


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, interval and p. `p` is two-sided for a difference, one-sided (larger) for a size."""

    value: float
    se: float
    ci_low: float
    ci_high: float
    p: float


@dataclass(frozen=True)
class Components:
    """The three sizes, each with its share of their sum, and by how much the second factor's is larger than the first's.

    A share's interval holds every share s for which size - s * sum may be 0 (Fieller, 1954), from 0 to 1: all of it where the
    matrices hold no effects beyond the noise. The share itself is NaN where their sum is not positive.
    """

    sizes: Mapping[str, Estimate]
    shares: Mapping[str, tuple[float, float, float]]
    difference: Estimate


def halves(groups: int, samples: int, splits: int, rng: np.random.Generator) -> Iterator[Int[np.ndarray, "samples groups"]]:
    """Random assignments of each sample's groups of items to the halves 0 and 1, as many to each."""
    labels = np.repeat([0, 1], groups // 2)
    for _ in range(splits):
        yield np.stack([rng.permutation(labels) for _ in range(samples)])


def components(design: Design, splits: Sequence[Split], level: float) -> Components:
    """The sizes of all effects as means over the splits.

    Their covariance is that of the jackknife over the G groups of each sample, less the covariance between splits. Where the
    effects are 0, the cross-product is a degenerate U-statistic, whose variance the jackknife has twice (Efron and Stein, 1981),
    and splits vary by just that. Leaving a group out of a half moves its mean by G / 2 - 1 parts, so that

        V = sum over samples of (G - 2)^2 / (G (G - 1)) sum_g (x_g - mean)(x_g - mean)' - cov over splits

    and no variance is smaller than that between splits. Where there are no effects, both estimate the same variance, and the larger
    one is 1.5 to 2 times too large on average: the test of the difference then rejects in .0025 to .01 at .05, and holds its level
    where both effects are equal and not 0. Sizes have a test of their own, which holds its level there.
    """
    made = [_of_split(design, split) for split in splits]
    sizes = np.array([whole for whole, _ in made])
    groups = len(splits[0].half_of[0])
    spread = groups / (groups - 2) * np.cov(sizes.T)
    left_out = [np.stack(parts) for parts in zip(*(parts for _, parts in made), strict=True)]
    jackknife = np.sum([_jackknife(values) for values in left_out], axis=0) + spread / len(sizes)
    jackknife -= (groups - 3) / (groups - 1) * spread
    freedom = sum(values.shape[1] - 1 for values in left_out)
    value = sizes.mean(axis=0)
    own = np.stack([(design.naive(split.halves[0]) + design.naive(split.halves[1])) / 2 for split in splits]).mean(axis=0)
    noise = (own - value) / 2  # halves have twice the noise of the whole
    uncertain = _Uncertain(value, jackknife, spread, freedom, level)
    unit = np.eye(len(EFFECTS))
    sizes_of = {}
    for i, name in enumerate(EFFECTS):
        p = _p_of_nothing(float(value[i]), float(spread[i, i]), float(noise[i]), len(splits))
        sizes_of[name] = replace(uncertain.estimate(unit[i]), p=p)
    return Components(
        sizes_of, {name: uncertain.share(unit[i]) for i, name in enumerate(EFFECTS)}, uncertain.estimate(unit[1] - unit[0])
    )


def _p_of_nothing(value: float, spread: float, noise: float, splits: int) -> float:
    """One-sided p of a size, were its effects 0.

    It is then a weighted sum of independent chi-squares less its mean, the `noise` that a naive square would hold. One chi-square
    with the same mean and variance has 2 noise^2 / spread degrees of freedom (Box, 1954). The spread is known from a few splits
    alone: p is the mean over the variances that would have given it.
    """
    if not (spread > 0 and noise > 0):
        return float("nan")
    possible = spread * (splits - 1) / stats.chi2.ppf((np.arange(99) + 0.5) / 99, splits - 1)
    freedom = 2 * noise**2 / possible
    return float(np.mean(stats.chi2.sf(freedom * (1 + value / noise), freedom)))


def _jackknife(left_out: Float[np.ndarray, "splits groups effects"]) -> Float[np.ndarray, "effects effects"]:
    """What one sample's groups add to the covariance, less what is due to the splits being few."""
    splits, groups, _ = left_out.shape
    off = left_out - left_out.mean(axis=1, keepdims=True)
    mean = off.mean(axis=0)
    chance = np.einsum("sge,sgf->ef", off - mean, off - mean) / (splits * (splits - 1))
    return (groups - 2) ** 2 / (groups * (groups - 1)) * (mean.T @ mean - chance)


def _of_split(design: Design, split: Split) -> tuple[Sizes, list[Float[np.ndarray, "groups effects"]]]:
    """The sizes of one split, and of each sample those without each of its groups."""
    one, other = split.halves
    cells, forms = one.shape[1], design.forms
    products = one @ other.T
    whole = np.einsum("exy,xy->e", forms, products) / cells
    parts = []
    for members, without, half_of in zip(design.samples, split.without, split.half_of, strict=True):
        change = without - split.halves[half_of][:, members]
        opposite = split.halves[1 - half_of]
        moved = np.einsum("gmc,gyc->gmy", change, opposite, optimize=True)
        parts.append(whole + np.einsum("emy,gmy->ge", forms[:, members], moved, optimize=True) / cells)
    return whole, parts


@dataclass(frozen=True)
class _Uncertain:
    """Linear combinations of the sizes."""

    value: Sizes
    jackknife: Float[np.ndarray, "effects effects"]
    spread: Float[np.ndarray, "effects effects"]
    freedom: int
    level: float

    def variance(self, weights: Sizes) -> float:
        return max(float(weights @ self.jackknife @ weights), float(weights @ self.spread @ weights))

    def estimate(self, weights: Sizes) -> Estimate:
        """With a two-sided p."""
        value, se = float(weights @ self.value), float(np.sqrt(self.variance(weights)))
        reach = float(stats.t.ppf((1 + self.level) / 2, self.freedom)) * se
        if se == 0:
            return Estimate(value, se, value, value, float("nan"))
        return Estimate(value, se, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / se, self.freedom)))

    def share(self, weights: Sizes) -> tuple[float, float, float]:
        """The share, and the ends of the interval of those that the data allow."""
        total = float(self.value.sum())
        grid = np.linspace(0, 1, 1001)
        reach = float(stats.t.ppf((1 + self.level) / 2, self.freedom))
        tried = [weights - share for share in grid]
        allowed = grid[[abs(w @ self.value) <= reach * np.sqrt(self.variance(w)) for w in tried]]
        share = float(weights @ self.value) / total if total > 0 else float("nan")
        return share, float(allowed.min(initial=1.0)), float(allowed.max(initial=0.0))
