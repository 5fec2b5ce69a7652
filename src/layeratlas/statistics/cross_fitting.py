"""Which items erasers are fitted on, which probes are, and which items are judged: never the same ones.

Taking away the difference of two languages' means leaves none on the very items it was fitted on. A probe that learns from these
items has nothing to learn; and if the judged items were among them too, what the other items have left is the opposite of what the
judged ones have, so that a probe comes out below chance (.1 to .3). Both say nothing of other texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layeratlas.errors import Undefined

Places = Int[np.ndarray, " _"]
PerItem = Float[np.ndarray, " n"]
Grade = Callable[[Places], Float[np.ndarray, "*kinds _"]]  # of these items, by something that was learnt from others


class Half(NamedTuple):
    """Erasers are fitted on the items `fit` and judged on `held`, the others.

    `folds`: pairs of items of `held` that a probe is fitted on, and those it is judged on, which cover `held` once. These parts
    of the items are numbered over both halves, from `first` on in this one.
    """

    fit: Places
    held: Places
    folds: Sequence[tuple[Places, Places]]
    first: int


def halves(groups: Sequence[str], folds: int) -> list[Half]:
    """Both ways to fit on one half of the items and to judge the other; each group of items is dealt out evenly to all parts.

    An item is all its translations. Items come in random order. Raises Undefined for fewer than two items a part.
    """
    n = len(groups)
    if n < 4 * folds:
        raise Undefined(f"two halves of {folds} folds need {4 * folds} items; got {n}")
    by_group = np.argsort(np.unique(np.asarray(groups), return_inverse=True)[1], kind="stable")
    part = np.empty(n, dtype=int)
    part[by_group] = np.arange(n) % (2 * folds)
    halves = []
    for side in (0, 1):
        held = np.flatnonzero(part % 2 == side)
        fold = part[held] // 2
        parts = [(held[fold != k], held[fold == k]) for k in range(folds)]
        halves.append(Half(np.flatnonzero(part % 2 != side), held, parts, side * folds))
    return halves


@dataclass(frozen=True)
class Graded:
    """A score of each item (n), perhaps of several kinds, and what is known of how scores depend on each other.

    `moved` is by how much the items of another part have moved an item's score, as they were among those that its
    probe learnt from: the score less what it is without them. NaN for parts that had no share in it; scores of which no part
    has any are independent, and have no rows.
    """

    scores: Float[np.ndarray, "*kinds n"]
    moved: Float[np.ndarray, "parts *kinds n"]

    @classmethod
    def empty(cls, parts: int, *shape: int) -> "Graded":
        return cls(np.full(shape, np.nan), np.full((parts, *shape), np.nan))

    def of(self, kind: int) -> "Graded":
        """One of several kinds of scores of the same items."""
        return Graded(self.scores[kind], self.moved[:, kind])

    def __sub__(self, other: "Graded") -> "Graded":
        return Graded(self.scores - other.scores, self.moved - other.moved)

    @staticmethod
    def mean(several: Sequence["Graded"]) -> "Graded":
        return Graded(np.mean([one.scores for one in several], axis=0), np.mean([one.moved for one in several], axis=0))

    def shared_variance(self, weights: PerItem, parts: Int[np.ndarray, " n"]) -> float:
        """What the variance of sum_i w_i s_i has beyond that of independent items.

            sum over p != q of (D_pq - mean) (D_qp - mean),  D_pq = sum over the items i of part p of w_i moved_qi

        Items of p and q judge each other's probes. Likeness of an item of p and one of q, by chance, makes both their scores
        larger, or both smaller: where classes do not differ, this is the whole covariance between folds. No sum of squares shows
        it (Bengio and Grandvalet, 2004). `parts` numbers each item's part. At least 0.
        """
        if not len(self.moved):
            return 0.0
        used = weights > 0
        by_part = np.stack([(self.moved * weights)[:, used & (parts == part)].sum(axis=1) for part in range(len(self.moved))])
        off = by_part - np.nanmean(by_part)
        return max(0.0, float(np.nansum(off * off.T)))


def parts_of(halves_of: Sequence[Half], n: int) -> Int[np.ndarray, " n"]:
    """The number of the part that each item is judged with."""
    parts = np.empty(n, dtype=int)
    for half in halves_of:
        for number, (_, test) in enumerate(half.folds):
            parts[test] = half.first + number
    return parts


def grade_folds(half: Half, learn: Callable[[Places], Grade], into: Graded) -> None:
    """Each item of the half by what was learnt from the other folds, and from the other folds less one."""
    for train, test in half.folds:
        into.scores[..., test] = learn(train)(test)
    for (one, (train, test)), (other, (train_other, test_other)) in combinations(enumerate(half.folds), 2):
        grade = learn(np.intersect1d(train, train_other))
        for part, judged in ((other, test), (one, test_other)):
            into.moved[half.first + part][..., judged] = into.scores[..., judged] - grade(judged)
