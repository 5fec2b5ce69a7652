"""Where Hydra looks for the sweeper.

Hydra takes sweepers from the package `hydra_plugins` alone, and imports all of it at each start, for `--help` too: what a sweep
needs is imported when there is one.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn


class PairsSweeper(BasicSweeper):
    """Every combination of the swept values, without those that repeat another with its sides exchanged.

    `pairs` lists models to compare, [[a, b], [a, c]], in place of sweeping both sides' models. `max_batch_size` jobs are given
    to the launcher at once. After the last job the sweep is summarised, if `summarize`.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None,
        pairs: Sequence[Sequence[str]] | None,
        self_pairs: bool,
        summarize: bool,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.pairs = pairs
        self.self_pairs = self_pairs
        self.summarize = summarize

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        from layeratlas.stages.sweeping import Sweeping

        return Sweeping(self)(arguments)
