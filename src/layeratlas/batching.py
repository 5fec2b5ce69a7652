"""How texts share forward passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layeratlas.errors import ConfigError


@dataclass(frozen=True)
class Batching:
    """How texts share a forward pass: at most `size` of them and at most `tokens` tokens, padding included."""

    size: int
    tokens: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.tokens < 1:
            raise ConfigError(f"extract: batch_size and batch_tokens must be positive; got {self.size} and {self.tokens}")

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of each batch, longest texts first, so that too large a batch fails at once and not at the end."""
        batch: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
            longest = lengths[batch[0]] if batch else 0
            if batch and (len(batch) == self.size or longest * (len(batch) + 1) > self.tokens):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch
