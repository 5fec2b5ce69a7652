"""How precise more items would be, from the widths of intervals over parts of those that there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from layeratlas.errors import Undefined


class Expected(NamedTuple):
    """Slope of log half-width over log n, and how far statistics stray from it (a standard deviation)."""

    slope: float
    spread: float


OF_A_MEAN, OF_GROWING_LISTS = Expected(-0.5, 0.25), Expected(-0.75, 0.125)
_NOISE = 0.12  # relative standard error of a half-width: 1 / sqrt(2 * 19) of 20 groups, less for groups that are drawn again


@dataclass(frozen=True)
class Law:
    """Half-width = exp(`level`) n^`slope`; `error` is the relative standard error of a prediction at the largest n observed."""

    slope: float
    level: float
    error: float

    def half_width(self, n: int) -> float:
        return math.exp(self.level + self.slope * math.log(n))

    def items(self, half_width: float) -> int:
        """The smallest n whose predicted half-width is no larger. Raises Undefined where widths do not fall with n."""
        if self.slope >= 0:
            raise Undefined("intervals do not get shorter with more items")
        return math.ceil(math.exp((math.log(half_width) - self.level) / self.slope) - 1e-6)


def law(n: Sequence[int], half_widths: Sequence[float], expected: Expected = OF_A_MEAN) -> Law:
    """The most probable law under half-widths of parts of so many items, several of one size where they are disjoint.

    Least squares of log half-width on log n, each part of equal weight, with a normal prior for the slope: around -1/2 for a mean
    over items; where lists of k neighbours grow with n, an overlap's own noise falls as 1 / k beside it, variance A / n + B / n^2,
    so that the slope lies between -1/2 and -1, two standard deviations of the prior from its mean. Raises Undefined for fewer than
    two parts or for a width that is not positive.
    """
    x, y = np.log(np.asarray(n, dtype=float)), np.asarray(half_widths, dtype=float)
    if len(y) < 2 or not (np.isfinite(y).all() and (y > 0).all()):
        raise Undefined("the law of precision takes two intervals or more, each of a positive width")
    y = np.log(y)
    design = np.stack([np.ones_like(x), x], axis=1)
    precision = design.T @ design / _NOISE**2 + np.diag([0, 1 / expected.spread**2])
    level, fitted = np.linalg.solve(precision, design.T @ y / _NOISE**2 + np.array([0, expected.slope / expected.spread**2]))
    at = np.array([1.0, x.max()])
    return Law(float(fitted), float(level), float(np.sqrt(at @ np.linalg.solve(precision, at))))
