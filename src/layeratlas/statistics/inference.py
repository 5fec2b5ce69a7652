"""How much inference a run does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from layeratlas.errors import ConfigError
from layeratlas.statistics.nulls import orders
from layeratlas.statistics.resampling import jackknife_groups


@dataclass(frozen=True, kw_only=True)
class Inference:
    """`permutations` draws from the null, and intervals from leaving out each of about `groups` groups of items; 0 for neither.

    `within_groups` permutes items only inside their group (document, category, concept); `by_group` leaves out whole groups of
    the data, where items of one group are not independent. `block` permutes blocks of so many consecutive items as wholes.
    """

    permutations: int
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

    def orders(self, groups: Sequence[str], seed: int) -> Int[np.ndarray, "draws n"]:
        """Orders of side b's items, one per draw."""
        rng = np.random.default_rng([seed, 1])
        within = groups if self.within_groups else None
        return orders(len(groups), self.permutations, rng, groups=within, block=self.block)

    def subsets(self, groups: Sequence[str]) -> list[Int[np.ndarray, " kept"]]:
        """The items that stay when each group is left out in turn."""
        parts = jackknife_groups(len(groups), self.groups, groups if self.by_group else None) if self.groups else []
        if self.by_group and len(parts) < 2:
            raise ConfigError("statistics.by_group=true: all items are of one group, so no group can be left out")
        return [np.setdiff1d(np.arange(len(groups)), part) for part in parts]
