"""The null distribution of a similarity: what it is when the pairing of items is broken.

The items of side b are put into random orders, the same order for all layers of a run, so that whatever layers have in
common with each other is kept and only their correspondence is lost. Exact if items are exchangeable, or exchangeable within the
given groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from layeratlas.errors import ConfigError

Matrix = Float[np.ndarray, "layers_a layers_b"]
Draws = Float[np.ndarray, "draws layers_a layers_b"]


def orders(
    n: int, draws: int, rng: np.random.Generator, *, groups: Sequence[str] | None = None, block: int = 1
) -> Int[np.ndarray, "draws n"]:
    """Random orders of n items; within `groups` only, if given, or of blocks of `block` consecutive items as wholes."""
    if groups is None:
        return np.stack([_blocks(n, block, rng) for _ in range(draws)])
    members = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
    if all(len(places) == 1 for places in members):
        raise ConfigError("statistics.within_groups=true: every item is a group of its own, so nothing can be permuted")
    found = np.tile(np.arange(n), (draws, 1))
    for row in found:
        for places in members:
            row[places] = rng.permutation(places)
    return found


def _blocks(n: int, block: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    parts = np.split(np.arange(n), np.arange(block, n, block))
    return np.concatenate([parts[i] for i in rng.permutation(len(parts))])


@dataclass(frozen=True)
class Null:
    """What the draws say of each observed value.

    `p_value`: add-one p of the one-sided test that the value is larger than by chance, (1 + draws at least as large) / (draws + 1).
    `p_fwer`: the same for the largest studentised value of all cells (Westfall and Young, 1993), so that the chance of any false
    alarm in the matrix is held. `p_fdr`: Benjamini and Hochberg (1995) over the cells' p. `calibrated`: (s - tau) / (s_max - tau)
    with tau the (1 - alpha) order statistic of the draws and s together; None where the metric has no attainable maximum.
    """

    null_mean: Matrix
    null_sd: Matrix
    z: Matrix
    p_value: Matrix
    p_fwer: Matrix
    p_fdr: Matrix
    calibrated: Matrix | None


def null_of(observed: Matrix, draws: Draws, *, alpha: float, maximum: float | None) -> Null:
    """Compare each cell with its own draws. A cell whose draws are all the same number has no z: it is NaN there."""
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z, z_draws = (observed - mean) / np.where(sd > 0, sd, np.nan), (draws - mean) / np.where(sd > 0, sd, np.nan)
    p = add_one_p(observed, draws)
    largest = np.nanmax(z_draws, axis=(1, 2)) if np.isfinite(z).any() else np.zeros(len(draws))
    return Null(
        null_mean=mean,
        null_sd=sd,
        z=z,
        p_value=p,
        p_fwer=(1 + (largest[:, None, None] >= z).sum(axis=0)) / (len(draws) + 1),
        p_fdr=stats.false_discovery_control(p.ravel()).reshape(p.shape),
        calibrated=None if maximum is None else calibrated(observed, draws, alpha, maximum),
    )


def add_one_p(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(1 + number of draws >= observed) / (draws + 1): never 0, and valid at every level (Phipson and Smyth, 2010)."""
    return np.asarray((1 + (draws >= observed).sum(axis=0)) / (len(draws) + 1))


def attainable_p(draws: int) -> float:
    """The smallest p that so many draws can give."""
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
