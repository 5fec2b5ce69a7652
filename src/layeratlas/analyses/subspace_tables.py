"""What held-out items say of each removal, with intervals over items."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from layeratlas.analyses.subspace_scores import LANGUAGE_PROBE, NOTHING, RANDOM, SAME_ITEMS, Judged, Kind, Scores
from layeratlas.statistics.cross_fitting import Graded
from layeratlas.statistics.resampling import jackknife_interval, share_interval

PerItem = Float[np.ndarray, " n"]
Kept = Int[np.ndarray, " _"]
_VALUE = ("value", "ci_low", "ci_high")
_CHANGE = ("change", "change_ci_low", "change_ci_high")
_BEYOND = ("beyond_control", "beyond_control_ci_low", "beyond_control_ci_high")
_CONTROL = ("control", "control_low", "control_high", *_BEYOND)


@dataclass(frozen=True)
class Sample:
    """The items: the subsets that stay when each group is left out (none: no intervals), and how many independent units.

    `parts` are those of cross-fitting that the items belong to.
    """

    subsets: Sequence[Kept]
    units: int
    level: float
    parts: Int[np.ndarray, " n"]

    def values(self, n: int, mean: Callable[[Kept], float]) -> tuple[float, np.ndarray]:
        return mean(np.arange(n)), np.array([mean(kept) for kept in self.subsets])


@dataclass(frozen=True)
class Statistic:
    """A mean over items of scores from `bounds`; over groups of the mean over each group's items where `groups` are given.

    An item whose group is -1 is left out, and no guess of one group for all items beats chance.
    """

    bounds: tuple[float, float]
    groups: Int[np.ndarray, " n"] | None = None

    def mean(self, scores: PerItem, kept: Kept) -> float:
        if self.groups is None:
            return float(scores[kept].mean())
        used = kept[self.groups[kept] >= 0]
        counts = np.bincount(self.groups[used])
        sums = np.bincount(self.groups[used], weights=scores[used])
        return float((sums[counts > 0] / counts[counts > 0]).mean())

    def weights(self, n: int) -> PerItem:
        """How much each of n items counts in the mean."""
        if self.groups is None:
            return np.full(n, 1 / n)
        used = self.groups >= 0
        counts = np.bincount(self.groups[used])
        return np.where(used, 1 / (counts[self.groups] * np.count_nonzero(counts)), 0.0)

    def value(self, graded: Graded, sample: Sample) -> dict[str, float]:
        value, left_out = sample.values(len(graded.scores), lambda kept: self.mean(graded.scores, kept))
        if not len(left_out):
            return dict(zip(_VALUE, (value, np.nan, np.nan), strict=True))
        shared = graded.shared_variance(self.weights(len(graded.scores)), sample.parts)
        if self.bounds == (0.0, 1.0):
            low, high = share_interval(value, left_out, level=sample.level, units=sample.units, shared=shared)
        else:
            low, high = jackknife_interval(value, left_out, level=sample.level, bounds=self.bounds, shared=shared)
        return dict(zip(_VALUE, (value, float(low), float(high)), strict=True))

    def more(self, graded: Graded, than: Graded, sample: Sample) -> tuple[float, float, float]:
        """How much larger the mean is than that of other scores of the same items, with an interval over items."""
        change = graded - than
        value, left_out = sample.values(len(change.scores), lambda kept: self.mean(change.scores, kept))
        if not len(left_out):
            return value, np.nan, np.nan
        reach, shared = self.bounds[1] - self.bounds[0], change.shared_variance(self.weights(len(change.scores)), sample.parts)
        low, high = jackknife_interval(value, left_out, level=sample.level, bounds=(-reach, reach), shared=shared)
        return value, float(low), float(high)

    def row(self, kind: Kind, scores: Mapping[Kind, Graded], sample: Sample) -> dict[str, float]:
        """A removal's value, its change from what it is without one, and the same for random directions of its rank."""
        own = scores[kind]
        controls = [other for k, other in scores.items() if k.removal == RANDOM and k.rank == kind.rank]
        row = self.value(own, sample)
        row |= dict(zip(_CHANGE, self.more(own, scores[Kind(NOTHING, 0)], sample), strict=True))
        if kind.removal in (NOTHING, RANDOM) or not controls:
            return row | dict.fromkeys(_CONTROL, np.nan)
        means = [self.mean(control.scores, np.arange(len(control.scores))) for control in controls]
        beyond = self.more(own, Graded.mean(controls), sample)
        return row | dict(zip(_CONTROL, (float(np.mean(means)), min(means), max(means), *beyond), strict=True))


def statistics_of(judged: Judged) -> dict[str, Statistic]:
    """By name: the probes for the language, then the metrics of pairs."""
    probes = dict.fromkeys((LANGUAGE_PROBE, SAME_ITEMS), Statistic((0.0, 1.0)))
    return probes | {metric.name: Statistic(metric.about.bounds) for metric in judged.metrics}


def of_pairs(scores: Mapping[Kind, Scores], judged: Judged, sample: Sample) -> Iterator[dict[str, Any]]:
    """A row per removal and statistic of one layer."""
    for name, statistic in statistics_of(judged).items():
        by_kind = {kind: own.by_statistic[name] for kind, own in scores.items()}
        for kind, own in scores.items():
            labels = {"statistic": name, **kind._asdict(), "energy": own.energy, "chance": own.chance[name]}
            yield labels | statistic.row(kind, by_kind, sample)


def of_transfer(scores: Mapping[Kind, Scores], judged: Judged, sample: Sample) -> Iterator[dict[str, Any]]:
    """A row per removal, side that the probe was trained on, and side that it is tested on, of one layer."""
    statistic = Statistic((0.0, 1.0), judged.groups)
    for sides in scores[Kind(NOTHING, 0)].transfer:
        by_kind = {kind: own.transfer[sides] for kind, own in scores.items()}
        for kind in scores:
            labels = {"trained": sides[0], "tested": sides[1], **kind._asdict(), "chance": 1 / judged.classes}
            yield labels | statistic.row(kind, by_kind, sample)
