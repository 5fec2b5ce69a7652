"""Two curves over the same items: where do they differ?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layeratlas.statistics.nulls import add_one_p
from layeratlas.statistics.resampling import jackknife_interval

OverDepths = Float[np.ndarray, " depths"]


class PairedDifferences(NamedTuple):
    """The mean difference at each depth, its interval, the two-sided p, and the same for the largest difference of all depths."""

    value: OverDepths
    ci_low: OverDepths
    ci_high: OverDepths
    p: OverDepths
    p_fwer: OverDepths


def paired_over_items(
    differences: Float[np.ndarray, "items depths"],
    units: Sequence[str] | Int[np.ndarray, " items"],
    changed: Float[np.ndarray, "draws items"],
    *,
    level: float,
) -> PairedDifferences:
    """The mean over items of one curve less the other.

    Items of one of the `units` belong together. The interval is Student's with the delete-a-unit jackknife. p ranks the mean
    among those with the signs of items `changed`, one sign for all depths of a unit (see `rise_and_fall.signs`): where neither
    curve is higher, either sign is as likely. At each depth the mean is divided by the root of the units' sum of squares, which no
    sign changes, so that depths are comparable. p is NaN where nothing differs, and without draws.
    """
    labels, places = np.unique(np.asarray(units), return_inverse=True)
    sums = np.zeros((len(labels), differences.shape[1]))
    np.add.at(sums, places, differences)
    sizes = np.bincount(places)
    value = differences.mean(axis=0)
    low = high = np.full_like(value, np.nan)
    if len(labels) > 1:
        left_out = (sums.sum(axis=0) - sums) / (sizes.sum() - sizes)[:, None]
        low, high = jackknife_interval(value, left_out, level=level, bounds=(-np.inf, np.inf))
    scale = np.sqrt((sums**2).sum(axis=0))
    varies = (scale > 0) & (len(changed) > 0)
    flipped = np.concatenate([np.ones((1, len(differences))), changed]) @ differences
    size = np.divide(np.abs(flipped), scale, out=np.zeros_like(flipped), where=scale > 0)
    largest = np.broadcast_to(size[1:].max(axis=1, keepdims=True, initial=0.0), size[1:].shape)
    p, p_fwer = (np.where(varies, add_one_p(size[0], draws, 1.0), np.nan) for draws in (size[1:], largest))
    return PairedDifferences(value, low, high, p, p_fwer)


def at_depths(
    values: Float[np.ndarray, "items layers"], depths: Float[np.ndarray, " layers"], wanted: Float[np.ndarray, " depths"]
) -> Float[np.ndarray, "items depths"]:
    """Curves over layers at other depths within theirs, by linear interpolation between neighbouring layers."""
    return np.stack([np.interp(wanted, depths, row) for row in values])
