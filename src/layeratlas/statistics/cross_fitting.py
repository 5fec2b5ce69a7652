"""Which items erasers are fitted on, which probes are, and which items are judged: never the same ones.

Taking away the difference of two languages' means leaves none on the very items it was fitted on. A probe that learns from these
items has nothing to learn; and if the judged items were among them too, what the other items have left is the opposite of what the
judged ones have, so that a probe comes out below chance (.1 to .3). Both say nothing of other texts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from layeratlas.errors import Undefined

Places = Int[np.ndarray, " _"]


class Half(NamedTuple):
    """Erasers are fitted on the items `fit` and judged on `held`, the others.

    `folds`: pairs of items of `held` that a probe is fitted on, and those it is judged on, which cover `held` once.
    """

    fit: Places
    held: Places
    folds: Sequence[tuple[Places, Places]]


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
        halves.append(Half(np.flatnonzero(part % 2 != side), held, parts))
    return halves
