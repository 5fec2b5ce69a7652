"""The same statistic of two runs, one minus the other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from layeratlas.statistics.resampling import jackknife_interval, jackknife_t_p

LeftOut = Float[np.ndarray, " groups"]


@dataclass(frozen=True)
class Difference:
    """First minus second, with its interval, the p of a two-sided t-test, and the degrees of freedom of both."""

    value: float
    ci_low: float
    ci_high: float
    p: float | None
    freedom: float


def paired_difference(first: float, second: float, left_out_first: LeftOut, left_out_second: LeftOut, level: float) -> Difference:
    """Of statistics over the same items, the same groups left out of both: the jackknife of the difference."""
    together = left_out_first - left_out_second
    interval = jackknife_interval(first - second, together, level=level, bounds=(-np.inf, np.inf))
    p = float(jackknife_t_p(first - second, together))
    freedom = float(len(together) - 1)
    return Difference(first - second, float(interval.low), float(interval.high), p if np.isfinite(p) else None, freedom)


def independent_difference(
    first: float, second: float, se: tuple[float, float], freedom: tuple[int, int], level: float
) -> Difference:
    """Of statistics over different items: standard errors add in squares.

    df = (se_1^2 + se_2^2)^2 / (se_1^4 / df_1 + se_2^4 / df_2)      (Satterthwaite, 1946)
    """
    value, variances = first - second, np.square(se)
    error = float(np.sqrt(variances.sum()))
    if error == 0:
        return Difference(value, value, value, None, float(sum(freedom)))
    df = float(variances.sum() ** 2 / (variances**2 / freedom).sum())
    reach = float(stats.t.ppf((1 + level) / 2, df)) * error
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, df)), df)
