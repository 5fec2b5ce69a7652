"""The types that cross module boundaries.

Axis names used in annotations: `n` items, `b` items of one batch, `t` tokens, `d` dimensions of a layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.layers import depth, select

HiddenStates: TypeAlias = Float[Tensor, "b t d"]
PooledVectors: TypeAlias = Float[Tensor, "b d"]
LayerActivations: TypeAlias = Float[Tensor, "n d"]
AffinityMatrix: TypeAlias = Float[Tensor, "layers_a layers_b"]


@dataclass(frozen=True)
class Tokens:
    """One padded batch of tokenised items.

    `mask` marks real tokens (not padding), `special` those that are not of the text itself (added by the
    tokenizer, of a chat template or a prefix), `punctuation` those that cover nothing but punctuation and blanks, `span` the item's
    marked span.
    `attention` is what each token receives in the block at hand, where a pooling asks for it.
    """

    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    special: Bool[Tensor, "b t"]
    punctuation: Bool[Tensor, "b t"]
    span: Bool[Tensor, "b t"]
    attention: Float[Tensor, "b t"] | None = None

    def to(self, device: torch.device) -> "Tokens":
        if self.ids.device == device:
            return self
        return self._each(lambda part: part.to(device, non_blocking=True))

    def only(self, i: int, n: int) -> "Tokens":
        """The first n tokens of text i, in a batch of their own."""
        return self._each(lambda part: part[i : i + 1, :n])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Tokens":
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(part) for name, part in parts.items() if part is not None})


Pooling: TypeAlias = Callable[[HiddenStates, Tokens], PooledVectors]


@dataclass(frozen=True)
class Activations:
    """One side's pooled vectors: layer name -> (n, d), for the same items in the same order at every layer.

    `lengths` are the items' numbers of tokens where they are known, `source` names all that determines the vectors if they lie in
    the store, `file` is the user's own file of vectors as the config names it: what is wrong with a whole layer of it is a mistake
    of the user's. A mapping may read each layer when asked for it, so that no more than one is in memory.
    """

    layers: Mapping[str, LayerActivations]
    n_blocks: int
    lengths: Float[Tensor, " n"] | None = None
    source: str | None = None
    file: str | None = None

    @property
    def names(self) -> list[str]:
        return list(self.layers)

    @property
    def depths(self) -> list[float]:
        return [depth(name, self.n_blocks) for name in self.layers]

    @property
    def n(self) -> int:
        return len(self.layers[self.names[0]])

    @property
    def width(self) -> int:
        return self.layers[self.names[0]].shape[1]

    def some(self, kept: Int[Tensor, " m"]) -> "Activations":
        """Only these items, in this order; nothing that is made of them can be found in the store."""
        lengths = None if self.lengths is None else self.lengths[kept]
        return replace(self, layers=_SomeItems(self.layers, kept), lengths=lengths, source=None, file=None)

    def select(self, wanted: str | Sequence[str]) -> "Activations":
        """Only these layers: a preset or a list of names, as in the config's `layers=`."""
        return replace(self, layers=_SomeLayers(self.layers, select(wanted, self.names)))


@dataclass(frozen=True)
class _SomeLayers(Mapping[str, Tensor]):
    """Some of the layers, none read before it is asked for."""

    layers: Mapping[str, Tensor]
    names: Sequence[str]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _SomeItems(Mapping[str, Tensor]):
    """Some rows of each layer, taken when it is asked for."""

    layers: Mapping[str, Tensor]
    kept: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.layers[name][self.kept]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)
