"""The null distribution of a similarity: what it is when the pairing of items is broken.

The items of side b are put into random orders, the same order for all layers of a run, so that whatever layers have in
common with each other is kept and only their correspondence is lost. If items are exchangeable, or exchangeable within the given
groups, the order that the data have is one more draw: a p that ranks it among the K others then satisfies P(p <= a) =
floor(a (K + 1)) / (K + 1) where no two values tie, and no more where they do. That holds for any statistic that treats all K + 1
orders alike, the largest studentised cell of a matrix included, whatever its distribution and however few the orders.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from layeratlas.errors import ConfigError

Matrix = Float[np.ndarray, "layers_a layers_b"]
Draws = Float[np.ndarray, "draws layers_a layers_b"]
Order = Int[np.ndarray, " _"]

# Values are sums of float32 products of a pair of layers: 16 units in the last place of what a layer has with itself.
ROUNDING = 16 * float(np.finfo(np.float32).eps)


# --- orders of the items ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchangeable:
    """What may change places: runs of items that stay together, and the sets of runs that are permuted among themselves."""

    runs: Sequence[Order]
    sets: Sequence[Int[np.ndarray, " _"]]

    def count(self, most: int) -> int:
        """Number of different orders, the one that the data have included; `most` if there are as many or more."""
        count = 1
        for members in self.sets:
            for factor in range(2, len(members) + 1):
                count *= factor
                if count >= most:
                    return most
        return count

    def drawn(self, rng: np.random.Generator) -> Order:
        places = np.arange(len(self.runs))
        for members in self.sets:
            places[members] = rng.permutation(members)
        return self._order(places)

    def every(self) -> Iterator[Order]:
        """All different orders, the one that the data have first."""
        movable = [members for members in self.sets if len(members) > 1]
        for arrangement in itertools.product(*(itertools.permutations(members) for members in movable)):
            places = np.arange(len(self.runs))
            for members, arranged in zip(movable, arrangement, strict=True):
                places[members] = arranged
            yield self._order(places)

    def others(self, draws: int, rng: np.random.Generator) -> list[Order]:
        """Orders to compare that of the data with: `draws` random ones, or all others that there are where these are no more."""
        if self.count(draws + 2) <= draws + 1:
            return list(self.every())[1:]
        return [self.drawn(rng) for _ in range(draws)]

    def _order(self, places: Int[np.ndarray, " runs"]) -> Order:
        return np.concatenate([self.runs[place] for place in places])


def unrestricted(n: int) -> Exchangeable:
    """Anything in any place."""
    return Exchangeable(np.split(np.arange(n), n), [np.arange(n)])


def exchangeable(n: int, groups: Sequence[str] | None = None, block: int = 1) -> Exchangeable:
    """Items within the same of `groups`, if given, or blocks of `block` consecutive items as wholes.

    Raises ConfigError if that leaves a single order, which nothing can be compared with.
    """
    if groups is not None:
        members = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
        if all(len(places) == 1 for places in members):
            raise ConfigError("statistics.within_groups=true: every item is a group of its own, so nothing can be permuted")
        return Exchangeable(np.split(np.arange(n), n), members)
    runs = np.split(np.arange(n), np.arange(block, n, block))
    if len(runs) == 1:
        raise ConfigError(
            f"statistics.block={block}: all {n} items are one block, so nothing can be permuted; expected at most {n // 2}"
        )
    return Exchangeable(runs, [np.arange(len(runs))])


def orders(
    n: int, draws: int, rng: np.random.Generator, *, groups: Sequence[str] | None = None, block: int = 1
) -> Int[np.ndarray, "orders n"]:
    """Orders of n items to compare theirs with: `draws` random ones, or all others that there are where these are no more.

    Within `groups` only, if given, or of blocks of `block` consecutive items as wholes. Raises ConfigError if there is no other.
    """
    return np.stack(exchangeable(n, groups, block).others(draws, rng))


# --- what the draws say -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Null:
    """What the draws say of each observed value.

    `p_value`: add-one p of the one-sided test that the value is larger than by chance, (1 + draws at least as large) / (draws + 1).
    `p_fwer`: the same for the largest studentised value of all cells (max-z; Westfall and Young, 1993), so that the chance of any
    false alarm in the matrix is held. Each cell is studentised by the mean and deviation of the observed value and its draws
    together: all draws + 1 matrices are treated alike, which makes it exact for any number of draws and of cells (with moments
    of the draws alone the observed matrix stands out for being no part of them: .8 false alarms for 19 draws of 540 cells).
    `p_fdr`: Benjamini and Hochberg (1995) over the cells' p. `null_mean`, `null_sd` and `z` are those of the draws alone.
    `calibrated`: (s - tau) / (s_max - tau) with tau the (1 - alpha) order statistic of the draws and s together; None where the
    metric has no attainable maximum.

    A cell whose values do not vary beyond rounding has no z (NaN) and all p of 1, and is no part of the maximum; one where any
    value is undefined has neither z nor p (NaN).
    """

    null_mean: Matrix
    null_sd: Matrix
    z: Matrix
    p_value: Matrix
    p_fwer: Matrix
    p_fdr: Matrix
    calibrated: Matrix | None


def null_of(observed: Matrix, draws: Draws, *, alpha: float, maximum: float | None, scale: float = 0.0) -> Null:
    """Compare each cell with its own draws. `scale` is the metric's value of a layer with itself, at which products round."""
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(observed.shape, np.nan)
    together, tolerance = np.concatenate([observed[None], draws]), _tolerance(observed, draws, scale)
    defined = np.isfinite(together).all(axis=0)
    varies = np.where(defined, np.ptp(together, axis=0), 0) > tolerance
    p = add_one_p(observed, draws, scale)
    return Null(
        null_mean=mean,
        null_sd=sd,
        z=(observed - mean) / np.where(varies & (sd > tolerance), sd, np.nan),
        p_value=p,
        p_fwer=np.where(defined, _family_wise(together, tolerance, varies), np.nan),
        p_fdr=_false_discovery(p),
        calibrated=None if maximum is None else calibrated(observed, draws, alpha, maximum),
    )


def _family_wise(together: Draws, tolerance: Matrix, varies: Bool[np.ndarray, "layers_a layers_b"]) -> Matrix:
    """Rank of each cell of the first matrix among the largest z of all matrices; 1 where a cell does not vary."""
    p = np.ones(varies.shape)
    if not varies.any():
        return p
    cells = together[:, varies]
    mean, sd = cells.mean(axis=0), cells.std(axis=0)
    z = (cells - mean) / sd
    p[varies] = (z.max(axis=1)[:, None] >= z[0] - tolerance[varies] / sd).mean(axis=0)
    return p


def _false_discovery(p: Matrix) -> Matrix:
    adjusted, tested = np.full(p.shape, np.nan), np.isfinite(p)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(p[tested])
    return adjusted


def add_one_p(observed: np.ndarray | float, draws: np.ndarray, scale: float = 0.0) -> np.ndarray:
    """(1 + number of draws >= observed) / (draws + 1): never 0, and valid at every level (Phipson and Smyth, 2010).

    Values that differ by no more than ROUNDING times the largest of them, or times `scale` if that is larger, are equal: which of
    two sums of the same numbers comes out larger says nothing. NaN where the observed value or any draw is undefined.

    >>> import numpy as np
    >>> float(add_one_p(0.5, np.array([0.1, 0.2, 0.6])))  # (1 + 1) / (3 + 1)
    0.5
    """
    with np.errstate(invalid="ignore"):  # inf less inf
        at_least = (draws >= observed - _tolerance(observed, draws, scale)).sum(axis=0)
    defined = np.isfinite(observed) & np.isfinite(draws).all(axis=0)
    return np.where(defined, (1 + at_least) / (len(draws) + 1), np.nan)


def _tolerance(observed: np.ndarray | float, draws: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(ROUNDING * np.maximum(scale, np.maximum(np.abs(observed), np.abs(draws).max(axis=0, initial=0.0))))


def attainable_p(draws: int) -> float:
    """The smallest p that values of so many other orders can give; where all others are used, 1 / the number of all orders.

    >>> attainable_p(199)
    0.005
    """
    return 1 / (draws + 1)


def calibrated(observed: Matrix, draws: Draws, alpha: float, maximum: float) -> Matrix:
    """0 at the edge of chance, 1 at the metric's maximum (Groeger et al., 2026, algorithm 1)."""
    together = np.sort(np.concatenate([draws, observed[None]]), axis=0)
    tau = together[math.ceil((1 - alpha) * len(together)) - 1]
    return (observed - tau) / np.where(maximum > tau, maximum - tau, np.nan)


def survivable(m: int, draws: int, alpha: float) -> bool:
    """Whether the smallest attainable p would survive a Bonferroni correction over m tests at level alpha."""
    return attainable_p(draws) * m <= alpha


@dataclass(frozen=True)
class GaussianTail:
    """log10 of the probability of a mutual k-NN as large as observed under no correspondence.

    `published`: the normal tail of Wolfram and Schein (2025, eq. 6), a number and not a probability: no normal approximation holds
    hundreds of deviations out. `bound`: Cantelli's inequality with the exact permutation variance, which always holds.
    """

    published: float
    bound: float


def published_gaussian_tail(value: float, n: int, k: int, permutation_variance: float) -> GaussianTail:
    """The paper takes overlaps for independent hypergeometric variables.

    Mean k / (n - 1), standard deviation |k - n + 1| / ((n - 1) sqrt(n (n - 2))).
    """
    mean = k / (n - 1)
    sd = abs(k - n + 1) / ((n - 1) * math.sqrt(n * (n - 2)))
    published = float(stats.norm.logsf((value - mean) / sd)) / math.log(10)
    excess = max(value - mean, 0.0)
    return GaussianTail(published, math.log10(permutation_variance / (permutation_variance + excess**2)))
