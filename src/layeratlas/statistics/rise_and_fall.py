"""Does similarity rise from the first block to a peak, and fall again to the last?

The largest of many noisy values is larger than it would be on other items: a peak that is chosen and measured on the same
items rises and falls even where nothing does. So the peak is chosen on all items but those of a fold, and measured on the items of
that fold, for every fold in turn. The folds' choices share items, and their results are not independent: where all folds agree on
a peak, its excess over another layer is too high on all of them (a t-test over items has a size of .1 at the level .05). Both p and
interval therefore come from repeating the whole procedure, the choice of peaks included.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layeratlas.statistics.nulls import add_one_p
from layeratlas.statistics.resampling import Interval, jackknife_interval

Scores = Float[np.ndarray, "items layers"]
Folds = Sequence[Int[np.ndarray, " _"]]
Subsets = Sequence[Int[np.ndarray, " _"]]


class Above(NamedTuple):
    """How far the peak lies above another layer on held-out items, with its interval and a one-sided p."""

    value: float
    ci_low: float
    ci_high: float
    p: float


def peaks(scores: Scores, folds: Folds) -> Int[np.ndarray, " folds"]:
    """For each fold, the layer of the highest mean score of all other items; the first of several."""
    total = scores.sum(axis=0)
    return np.array([(total - scores[members].sum(axis=0)).argmax() for members in folds])


def at_peak(scores: Scores, folds: Folds) -> float:
    """The mean over items of the score at the peak that the other folds choose. Each item is in one fold."""
    return float(_at_peak(scores, folds, np.ones((1, len(scores))))[0])


def at_peak_interval(scores: Scores, folds: Folds, subsets: Subsets, *, level: float, bounds: tuple[float, float]) -> Interval:
    """By the delete-a-group jackknife, with new peaks for each of the `subsets` of items."""
    left_out = [at_peak(scores[kept], _folds_within(folds, kept)) for kept in subsets]
    return jackknife_interval(at_peak(scores, folds), np.array(left_out), level=level, bounds=bounds)


def above_layer(
    scores: Scores,
    layer: int,
    folds: Folds,
    subsets: Subsets,
    signs: Float[np.ndarray, "draws items"],
    *,
    level: float,
    bounds: tuple[float, float],
) -> Above:
    """The held-out peak less one `layer`, item by item, and whether it is above 0.

    p ranks it among the same with the `signs` of items' differences changed: where no layer is above that layer, an item's
    differences from it are as likely with the one sign as with the other, all layers of the item together. Items that belong
    together have one sign. Where some layers are below that layer, p is too large rather than too small.
    """
    differences = scores - scores[:, [layer]]
    low, high = at_peak_interval(differences, folds, subsets, level=level, bounds=bounds)
    values = _at_peak(differences, folds, np.concatenate([np.ones((1, len(scores))), signs]))
    return Above(float(values[0]), float(low), float(high), float(add_one_p(values[0], values[1:])))


def signs(units: Sequence[str] | Int[np.ndarray, " items"], draws: int, rng: np.random.Generator) -> Float[np.ndarray, "_ items"]:
    """Random signs, one for all items of a unit; all that there are but the signs as they are, where these are no more."""
    labels, places = np.unique(np.asarray(units), return_inverse=True)
    if 2 ** len(labels) <= draws + 1:
        every = np.array(list(itertools.product([1.0, -1.0], repeat=len(labels))))
        return every[1:, places]
    return rng.choice([-1.0, 1.0], (draws, len(labels)))[:, places]


def _at_peak(scores: Scores, folds: Folds, signs: Float[np.ndarray, "draws items"]) -> Float[np.ndarray, " draws"]:
    sums = np.stack([signs[:, members] @ scores[members] for members in folds], axis=1)
    chosen = (sums.sum(axis=1, keepdims=True) - sums).argmax(axis=-1)
    return np.take_along_axis(sums, chosen[..., None], axis=-1)[..., 0].sum(axis=1) / len(scores)


def _folds_within(folds: Folds, kept: Int[np.ndarray, " m"]) -> list[Int[np.ndarray, " _"]]:
    """The folds of some of the items, by their new places; a fold of none has no part."""
    places = [np.flatnonzero(np.isin(kept, members)) for members in folds]
    return [members for members in places if len(members)]
