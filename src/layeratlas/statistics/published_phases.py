"""The phases of D'Elia (2026, uniformity asymmetry) as published: how a correlation over pairs changes with depth, and its labels.

What these say is the published procedure's answer. Its intervals resample items of all categories together and keep the centroids;
its phases depend on which layers are sampled; its labels cut at constants without a test. `within_categories` and
`change_point` give sound answers to the same questions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from layeratlas.errors import Undefined

SEED = 42
_LEVEL = 0.95
_CHUNK = 500  # resamples whose counts stay in a processor's cache


# --- layers and phases --------------------------------------------------------------------------------------------------------


def sampled_layers(count: int, stride: int | None) -> list[int]:
    """Places among `count` hidden states (the embedding output first): 0, s, 2 s, ... and the last one.

    s is the `stride` (published: 4), or max(1, blocks // 8) where that is None, as for Gemma.
    """
    last = count - 1
    chosen = list(range(0, count, stride or max(1, last // 8)))
    return chosen if chosen[-1] == last else [*chosen, last]


class Phases(NamedTuple):
    """Means over the first, second and last third of the sampled layers; the thirds are cut at whole layers, so they differ."""

    early: float
    middle: float
    late: float


def phase_means(r: Float[np.ndarray, " layers"]) -> Phases:
    """Raises ValueError for fewer than three layers, which have no thirds."""
    if (m := len(r)) < 3:
        raise Undefined(f"phases are thirds of three sampled layers or more; got {m}")
    return Phases(*(float(part.mean()) for part in (r[: m // 3], r[m // 3 : 2 * m // 3], r[2 * m // 3 :])))


# --- labels -------------------------------------------------------------------------------------------------------------------


def pattern(phases: Phases) -> str:
    """The label of the notebooks of Apertus and Gemma."""
    if phases.early > 0.1 and phases.late < -0.1:
        return "PYTHIA_PATTERN"
    if phases.late < -0.1:
        return "LATE_INVERSION"
    return "DECOUPLED" if all(abs(mean) < 0.15 for mean in phases) else "OTHER"


def pattern_of_signs(phases: Phases) -> str:
    """The label of the notebook of Llama: signs alone."""
    if phases.early > 0 and phases.late < 0:
        return "MATCHES PYTHIA" if phases.middle > 0 else "PARTIAL MATCH"
    return "PARTIAL" if phases.late < 0 else "DIFFERENT"


def pattern_of_instruct(phases: Phases) -> str:
    """The label of the notebook of Llama Instruct, which compares it with and without a chat template."""
    if phases.early > 0.1 and phases.middle > 0.1 and phases.late < -0.1:
        return "PYTHIA_PATTERN"
    return "DECOUPLED" if all(abs(mean) < 0.1 for mean in phases) else "OTHER"


def template_verdict(with_template: Phases, without: Phases) -> str:
    """What a chat template does to the label: equal labels are called invariant, whatever became of the correlations."""
    changed, plain = pattern_of_instruct(with_template), pattern_of_instruct(without)
    if changed == plain:
        return "TEMPLATE_INVARIANT"
    return "TEMPLATE_ENABLES_COUPLING" if plain == "DECOUPLED" else "TEMPLATE_CHANGES_PATTERN"


def final_layer_verdict(r: float, significant: bool) -> str:
    """Of the correlation at the last hidden state, which is the one after the final norm."""
    if r < -0.1 and significant:
        return "LATE-LAYER INVERSION CONFIRMED"
    return "negative trend" if r < 0 else "no late-layer inversion"


# --- intervals ----------------------------------------------------------------------------------------------------------------


def bootstrap(
    x: Float[np.ndarray, "rows n"], y: Float[np.ndarray, " n"], draws: int, seed: int = SEED
) -> Float[np.ndarray, "rows draws"]:
    """Pearson correlations of each row of x with y over resamples of the n items, as the published loop draws them.

    The legacy generator is seeded once and draws row after row; a resample in which x or y is constant is skipped there, and is NaN
    here. Values equal those of the loop but for rounding.
    """
    random, n = np.random.RandomState(seed), len(y)
    products = [_products(row, y) for row in x]
    correlations = np.empty((len(x), draws))
    for row, moments in zip(correlations, products, strict=True):
        for start in range(0, draws, _CHUNK):
            places = random.randint(0, n, size=(min(_CHUNK, draws - start), n))
            row[start : start + _CHUNK] = _correlations(places, moments)
    return correlations


def _products(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 5"]:
    """X, y, their squares and their product, of both brought to mean 0 and deviation 1, where sums of squares keep their digits."""
    x, y = ((values - values.mean()) / (values.std() or 1.0) for values in (x, y))
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def _correlations(places: np.ndarray, products: Float[np.ndarray, "n 5"]) -> Float[np.ndarray, " draws"]:
    draws, n = places.shape
    counts = np.bincount((places + n * np.arange(draws)[:, None]).ravel(), minlength=draws * n).reshape(draws, n)
    mean_x, mean_y, xx, yy, xy = (counts.astype(float) @ products / n).T
    variances = np.stack([xx - mean_x**2, yy - mean_y**2])
    for draw in np.flatnonzero((variances < 1e-9).any(axis=0)):  # a constant, or so close to one that the digits are gone
        drawn = products[places[draw], :2]
        centred = drawn - drawn.mean(axis=0)
        constant = np.ptp(drawn, axis=0) == 0
        variances[:, draw] = np.where(constant, np.nan, (centred**2).mean(axis=0))
        xy[draw], mean_x[draw] = centred.prod(axis=1).mean(), 0.0
    return (xy - mean_x * mean_y) / np.sqrt(variances).prod(axis=0)


def interval(draws: Float[np.ndarray, "*rows draws"]) -> tuple[np.ndarray, np.ndarray]:
    """The published 95 % percentile interval over the resamples that were not skipped; NaN where all were."""
    if not np.isfinite(draws).any():
        nothing = np.full(draws.shape[:-1], np.nan)
        return nothing, nothing
    tail = (1 - _LEVEL) / 2 * 100
    low, high = np.nanpercentile(draws, [tail, 100 - tail], axis=-1)
    return np.asarray(low), np.asarray(high)


# --- uniformity over categories -----------------------------------------------------------------------------------------------


class UniformityAsymmetry(NamedTuple):
    """Over the values of categories, five or six numbers: mean, interval of the mean, Cohen's d, and what was made of them."""

    mean: float
    ci_low: float
    ci_high: float
    cohens_d: float
    verdict: str


def uniformity_verdict(values: Sequence[float], draws: int, seed: int = SEED) -> UniformityAsymmetry:
    """The mean of U(a) - U(b) over categories; the generator is seeded anew for each interval.

    NEUTRAL: the interval holds 0 and |d| < .2. MARGINAL: it holds 0. ASYMMETRY: it does not. d = mean / (deviation + 1e-10), the
    deviation with ddof 0.
    """
    x = np.asarray(values, dtype=float)
    means = x[np.random.RandomState(seed).randint(0, len(x), size=(draws, len(x)))].mean(axis=1)
    low, high = (float(end) for end in interval(means))
    d = float(x.mean() / (x.std() + 1e-10))
    verdict = "ASYMMETRY" if not low <= 0 <= high else "NEUTRAL" if abs(d) < 0.2 else "MARGINAL"
    return UniformityAsymmetry(float(x.mean()), low, high, d, verdict)
