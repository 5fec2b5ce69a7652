"""What many pairs of models say together: the pairs of one model are not independent of each other, models may be.

A frame has a row per pair: `unit_a`, `unit_b` (what is left out together: a model with its instruct twin, or all models of one
developer) and a column per statistic. Everything here speaks of the models on THESE items, which all pairs share.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from layeratlas.statistics.resampling import jackknife_interval, jackknife_t_p

FEWEST = 3  # units: below, there is nothing to leave out and a sweep is only described
FEWEST_FOR_SIGNS = 8  # the smallest p of m units' orientations is 2^-(m - 1), .031 for 6
_ENUMERATED = 14  # units whose orientations are all tried
_ORIENTATIONS = 9999  # drawn, where there are more


@dataclass(frozen=True)
class OverModels:
    """One statistic over all pairs: its mean with an interval and p over units, and how much pairs differ.

    `interval` and `p` are None for fewer than three units. `sign_p` is None for fewer than eight. `sd` is that of the pairs,
    `sd_beyond_noise` what of it the pairs' own standard errors do not explain (the moment estimator of DerSimonian and Laird,
    1986, with equal weights; 0 if they explain all), None where these are not known.
    """

    pairs: int
    units: int
    mean: float
    lowest: float
    highest: float
    positive: int
    interval: tuple[float, float] | None
    p: float | None
    sign_p: float | None
    sign_attainable_p: float | None
    sd: float | None
    sd_beyond_noise: float | None


def over_models(
    frame: pd.DataFrame,
    value: str,
    *,
    level: float,
    rng: np.random.Generator,
    standard_error: str | None = None,
    certain: str | None = None,
) -> OverModels:
    """Summarise the pairs of different units; pairs within one (a model and its twin) are left out, as they are related.

    `certain` names the column that says whether a pair's own interval excludes 0: all others count as 0 in the orientation test.
    Raises ValueError if there is none, or if a value is not finite.
    """
    rows = frame[frame["unit_a"] != frame["unit_b"]]
    values = rows[value].to_numpy(dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{value}: expected a number for each of one or more pairs of different models; got {values.tolist()}")
    names, places = np.unique(rows[["unit_a", "unit_b"]].to_numpy().astype(str), return_inverse=True)
    a, b = places.reshape(-1, 2).T
    left_out = _without_each(values, a, b, len(names))
    many = len(left_out) >= FEWEST
    turnable = values if certain is None else values * rows[certain].to_numpy(dtype=bool)
    signs = _orientation_test(turnable, a, b, len(names), rng) if len(names) >= FEWEST_FOR_SIGNS else (None, None)
    interval = jackknife_interval(values.mean(), left_out, level=level, bounds=(-np.inf, np.inf)) if many else None
    p = float(jackknife_t_p(values.mean(), left_out)) if many else np.nan
    errors = None if standard_error is None else rows[standard_error].to_numpy(dtype=float)
    return OverModels(
        pairs=len(values),
        units=len(names),
        mean=float(values.mean()),
        lowest=float(values.min()),
        highest=float(values.max()),
        positive=int((values > 0).sum()),
        interval=None if interval is None else (float(interval.low), float(interval.high)),
        p=p if np.isfinite(p) else None,
        sign_p=signs[0],
        sign_attainable_p=signs[1],
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        sd_beyond_noise=_beyond_noise(values, errors),
    )


def _without_each(values: np.ndarray, a: np.ndarray, b: np.ndarray, units: int) -> np.ndarray:
    """The mean without all pairs of each unit in turn.

    A unit that is in every pair (the reference of a star) cannot be left out: the result then speaks of this reference.
    """
    kept = [(a != unit) & (b != unit) for unit in range(units)]
    return np.array([values[others].mean() for others in kept if others.any()])


def _orientation_test(
    values: np.ndarray, a: np.ndarray, b: np.ndarray, units: int, rng: np.random.Generator
) -> tuple[float, float]:
    """One-sided p of the mean over pairs when units' depths are turned around at random, and the smallest there can be.

        T(s) = mean over pairs of s_a s_b value,  s = +-1 a unit

    Turning one side's depths around turns the sign of a swap margin on two depths; for more depths, that it leaves the margin
    unchanged in law but for its sign is the assumption. It fails for crossings that noise makes: these are more often at equal
    depths than at unequal ones where the strengths of both sides run alike (sizes of .2 to .4), hence pairs that are not certain
    count as 0. Turning all units around changes nothing, so one keeps its sign.
    """
    free = units - 1
    if units <= _ENUMERATED:  # every orientation but the one that the data have
        signs = 1 - 2 * ((np.arange(1, 2**free)[:, None] >> np.arange(free)) & 1)
    else:
        signs = rng.choice([-1, 1], size=(_ORIENTATIONS, free))
    signs = np.concatenate([np.ones((len(signs), 1)), signs], axis=1)
    turned = (signs[:, a] * signs[:, b]) @ values
    as_large = int((turned >= values.sum() - 1e-12 * np.abs(values).sum()).sum())
    return (1 + as_large) / (1 + len(signs)), 1 / (1 + len(signs))


def _beyond_noise(values: np.ndarray, errors: np.ndarray | None) -> float | None:
    if errors is None or len(values) < 2 or not np.isfinite(errors).all():
        return None
    return float(np.sqrt(max(0.0, values.var(ddof=1) - (errors**2).mean())))
