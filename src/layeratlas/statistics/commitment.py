"""From which layer on an item counts as aligned: the published rule, and what needs no threshold.

A curve is an item's similarity to its translation at each layer. The published rule commits an item at the first layer from which
on its curve stays at a threshold for some layers in a row. Items that never commit are no missing data: the curve of commitment is
the share of all items that are committed by each layer, and its median is not reached where that stays below half.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from layeratlas.statistics.resampling import Interval

DECIMALS = 6  # to which the published curves are rounded before they are held against the threshold
NEVER = -1

Curves = Float[np.ndarray, "*items layers"]


def committed_at(curves: Curves, threshold: float, consecutive: int) -> Int[np.ndarray, " *items"]:
    """The first layer l with values of at least `threshold` at l, .., l + consecutive - 1; NEVER (-1) where there is none.

    As published with aya-cross-lingual-probe (2026), where threshold = .85 and consecutive = 3: values are rounded to six decimals,
    layers are counted in the order given, the first of them included. A value that is undefined breaks a row.
    """
    layers = curves.shape[-1]
    if consecutive > layers:
        return np.full(curves.shape[:-1], NEVER)
    above = np.round(curves, DECIMALS) >= threshold
    stays = np.lib.stride_tricks.sliding_window_view(above, consecutive, axis=-1).all(axis=-1)
    return np.where(stays.any(axis=-1), stays.argmax(axis=-1), NEVER)


@dataclass
class CommittedShare:
    """The published rule over many sets of items, layer by layer, so that no more than one layer's values are held.

    `add` takes the next layer's values (sets, items); `shares` (layers, sets) are the shares of items committed by each layer, as
    `committed_at` has it: an item counts from the first layer of its row on.
    """

    threshold: float
    consecutive: int
    _row: Int[np.ndarray, "sets items"] | None = None
    _done: Bool[np.ndarray, "sets items"] | None = None
    _known: list[Float[np.ndarray, " sets"]] = field(default_factory=list)

    def add(self, values: Float[np.ndarray, "sets items"]) -> None:
        if self._row is None or self._done is None:
            self._row, self._done = np.zeros(values.shape, dtype=np.int16), np.zeros(values.shape, dtype=bool)
        self._row = np.where(np.round(values, DECIMALS) >= self.threshold, self._row + 1, 0).astype(np.int16)
        self._done |= self._row >= self.consecutive
        self._known.append(self._done.mean(axis=-1))

    @property
    def started(self) -> bool:
        return bool(self._known)

    @property
    def shares(self) -> Float[np.ndarray, "layers sets"]:
        """A row of layers is known to be one at its last layer, and counts from its first."""
        known = np.stack(self._known)
        late = min(self.consecutive - 1, len(known))
        return np.concatenate([known[late:], np.repeat(known[-1:], late, axis=0)])


def wilson_interval(share: Float[np.ndarray, " *shape"], n: int, level: float) -> Interval:
    """Score interval of a share of n independent items (Wilson, 1927); it holds the share, and stays within 0 and 1.

    (s + z^2 / 2n +- z sqrt(s (1 - s) / n + z^2 / 4n^2)) / (1 + z^2 / n), z the normal quantile of (1 + level) / 2.
    """
    z = stats.norm.ppf((1 + level) / 2)
    middle, scale = share + z**2 / (2 * n), 1 + z**2 / n
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return Interval(np.where(share <= 0, 0.0, np.minimum(low, share)), np.where(share >= 1, 1.0, np.maximum(high, share)))


def median_reached(places: Float[np.ndarray, " items"]) -> float | None:
    """The smallest place by which half of the items are there; NaN is never, and None where fewer than half ever are."""
    reached = np.sort(places[np.isfinite(places)])
    half = -(-len(places) // 2)
    return float(reached[half - 1]) if len(reached) >= half > 0 else None


@dataclass(frozen=True)
class Shape:
    """What of a curve needs no threshold, for each item.

    `peak`: the place of the layer of its maximum, the first if there are several. `half_maximum`: the depth of the first layer at
    which the curve is at least half of its maximum; NaN where the maximum is not above 0. `area`: its mean over depth, by
    trapezoids.
    """

    peak: Int[np.ndarray, " items"]
    half_maximum: Float[np.ndarray, " items"]
    area: Float[np.ndarray, " items"]


def shape(excess: Float[np.ndarray, "items layers"], depths: Float[np.ndarray, " layers"]) -> Shape:
    """The shape of curves above their baseline, over layers of increasing depth."""
    most = excess.max(axis=1)
    first = (excess >= most[:, None] / 2).argmax(axis=1)
    span = depths[-1] - depths[0]
    area = np.trapezoid(excess, depths, axis=1) / span if span > 0 else excess[:, 0]
    return Shape(excess.argmax(axis=1), np.where(most > 0, depths[first], np.nan), area)
