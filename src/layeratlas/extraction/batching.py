"""How texts share forward passes."""

from collections.abc import Iterator, Sequence
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

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of each batch, longest texts first, so that too large a batch fails at once and not at the end."""
        rest = longest_first(lengths)
        while rest:
            batch = self.next_batch(rest, lengths)
            yield batch
            rest = rest[len(batch) :]

    def next_batch(self, rest: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """As many of the first of these texts as the budget allows, at least one; the first must be the longest."""
        return list(rest[: max(1, min(self.size, self.tokens // lengths[rest[0]]))])

    def halve(self, n: int, longest: int) -> None:
        """Lower the budget to half of a batch of n texts that did not fit into memory."""
        self.tokens = max(1, n * longest // 2)


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Indices of texts by length, equally long ones in their order."""
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
