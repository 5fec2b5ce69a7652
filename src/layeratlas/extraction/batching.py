"""How texts share forward passes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from layeratlas.errors import ConfigError


@dataclass
class Batching:
    """At most `size` texts and at most `tokens` tokens, padding included, share a forward pass.

    A budget that turned out to be too large for the machine is lowered for the rest of the run.
    """

    size: int
    tokens: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.tokens < 1:
            raise ConfigError(f"extract: batch_size and batch_tokens must be positive; got {self.size} and {self.tokens}")

    def batches(self, lengths: Sequence[int]) -> Generator[list[int], int | None, None]:
        """Indices of each batch, longest texts first, so that too large a batch fails at once and not at the end.

        A batch that did not fit is taken back by sending the number of texts that the next one may hold.
        """
        rest = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        while rest:
            n = max(1, min(self.size, self.tokens // lengths[rest[0]]))
            while (fewer := (yield rest[:n])) is not None:
                n = fewer
            rest = rest[n:]

    def halve(self, n: int, longest: int) -> None:
        """Lower the budget to half of a batch of n texts that did not fit into memory."""
        self.tokens = max(1, n * longest // 2)
