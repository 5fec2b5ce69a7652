"""What a statistic loses without each group of items, beside what it loses without as many items drawn at random.

A statistic of n items may depend on n: k neighbours are a larger share of fewer items. So the change without a group says by itself
nothing of that group; what random items of the same number change is what it is read against.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

Members = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Change:
    """Value without a group minus the value of all items, (*shape) each: `change`, and of random groups mean and deviation."""

    change: np.ndarray
    random: np.ndarray
    random_sd: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """Deviations of the random changes that the group's lies from their mean; NaN where these do not vary."""
        beyond = np.asarray(self.change - self.random)
        return np.divide(beyond, self.random_sd, out=np.full_like(beyond, np.nan), where=self.random_sd > 0)


def groups_of(labels: Sequence[str], most: int) -> dict[str, Members]:
    """The items of each group of the data, or of `most` runs of consecutive items where there is one group, or more than `most`.

    A group of more than half of the items is no part to leave out: then there are runs too.
    """
    names = list(dict.fromkeys(labels))
    of = np.asarray(labels)
    members = {name: np.flatnonzero(of == name) for name in names}
    if 2 <= len(members) <= most and max(map(len, members.values())) <= len(of) / 2:
        return members
    parts = [part for part in np.array_split(np.arange(len(of)), min(most, len(of))) if len(part)]
    return {f"items {part[0] + 1} to {part[-1] + 1}": part for part in parts}


def random_members(sizes: Sequence[int], n: int, draws: int, rng: np.random.Generator) -> dict[int, list[Members]]:
    """For each different size so many sets of items."""
    return {size: [np.sort(rng.choice(n, size, replace=False)) for _ in range(draws)] for size in sorted(set(sizes))}


def changes(
    value: np.ndarray,
    without: Callable[[Sequence[Members]], np.ndarray],
    groups: Mapping[str, Members],
    drawn: Mapping[int, Sequence[Members]],
) -> dict[str, Change]:
    """The change of each group. `without` gives the statistic (sets, *shape) without each of several sets of items."""
    lost = without([*groups.values()]) - value
    random = {size: without(sets) - value for size, sets in drawn.items()}
    beside = {size: (each.mean(axis=0), each.std(axis=0, ddof=1)) for size, each in random.items()}
    return {name: Change(*map(np.asarray, (lost[g], *beside[len(members)]))) for g, (name, members) in enumerate(groups.items())}
