"""How much inference a run does."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from layeratlas.errors import ConfigError
from layeratlas.options import Repetitions
from layeratlas.statistics.nulls import Exchangeable, attainable_p, exchangeable, orders
from layeratlas.statistics.resampling import jackknife_groups

_FEW_GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class Inference:
    """`permutations` draws from the null, and intervals from leaving out each of about `groups` groups of items; 0 for neither.

    `within_groups` permutes items only inside their group (document, category, concept); `by_group` leaves out whole groups of
    the data, where items of one group are not independent. `block` permutes blocks of so many consecutive items as wholes.
    """

    permutations: Repetitions
    groups: int
    alpha: float
    level: float
    within_groups: bool
    by_group: bool
    block: int

    def __post_init__(self) -> None:
        if self.permutations < 0 or self.groups < 0 or self.groups == 1:
            raise ConfigError(
                f"statistics: expected permutations >= 0 and groups 0 or >= 2; got {self.permutations} and {self.groups}"
            )
        if not (0 < self.alpha < 1 and 0 < self.level < 1):
            raise ConfigError(f"statistics: alpha and level lie between 0 and 1; got {self.alpha} and {self.level}")
        if self.block < 1 or (self.block > 1 and self.within_groups):
            raise ConfigError(f"statistics.block: expected 1, or more without within_groups; got {self.block}")

    @property
    def free(self) -> bool:
        """Whether every order of the items is allowed, which closed-form moments take for granted."""
        return not self.within_groups and self.block == 1

    def require(self, groups: Sequence[str]) -> None:
        """Raises ConfigError for items of these groups that cannot be permuted, or left out, as wanted."""
        if self.permutations:
            self._exchangeable(groups)
        if self.groups and self.by_group:
            self._require_groups(groups)

    def doubts(self, groups: Sequence[str]) -> Iterator[str]:
        """Few different orders, all of which are used, so that no p is smaller than 1 / their number; few groups to leave out."""
        if self.permutations and (count := self._exchangeable(groups).count(self.permutations + 2)) <= self.permutations + 1:
            how = "statistics.within_groups=true" if self.within_groups else f"statistics.block={self.block}"
            how = f"n = {len(groups)}" if self.free else how
            yield (
                f"null: {how} allows {count} different orders; all are used, so that the smallest attainable p is"
                f" {attainable_p(count - 1):.2g}"
            )

        if self.groups and (left_out := len(set(groups)) if self.by_group else self.groups) < _FEW_GROUPS:
            yield (
                f"intervals: {left_out} groups are left out in turn, and their standard error is known from no more than that;"
                f" expected {_FEW_GROUPS} or more"
            )

    def orders(self, groups: Sequence[str], seed: int) -> Int[np.ndarray, "draws n"]:
        """Orders of side b's items to compare theirs with, one per draw; all others that there are if these are no more."""
        rng = np.random.default_rng([seed, 1])
        within = groups if self.within_groups else None
        return orders(len(groups), self.permutations, rng, groups=within, block=self.block)

    def subsets(self, groups: Sequence[str]) -> list[Int[np.ndarray, " kept"]]:
        """The items that stay when each group is left out in turn."""
        if self.by_group and self.groups:
            self._require_groups(groups)
        parts = jackknife_groups(len(groups), self.groups, groups if self.by_group else None) if self.groups else []
        return [np.setdiff1d(np.arange(len(groups)), part) for part in parts]

    def _exchangeable(self, groups: Sequence[str]) -> Exchangeable:
        return exchangeable(len(groups), groups if self.within_groups else None, self.block)

    @staticmethod
    def _require_groups(groups: Sequence[str]) -> None:
        (largest, size), *others = Counter(groups).most_common()
        if not others:
            raise ConfigError("statistics.by_group=true: all items are of one group, so no group can be left out")
        if size > len(groups) / 2:
            raise ConfigError(
                f"statistics.by_group=true: group {largest!r} holds {size} of {len(groups)} items, and leaving it out leaves other"
                " data; expected no group of more than half of the items"
            )
