"""The types that cross module boundaries.

Axis names used in annotations: `n` items, `b` items of one batch, `t` tokens, `d` dimensions of a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.layers import depth

HiddenStates: TypeAlias = Float[Tensor, "b t d"]
PooledVectors: TypeAlias = Float[Tensor, "b d"]
LayerActivations: TypeAlias = Float[Tensor, "n d"]
AffinityMatrix: TypeAlias = Float[Tensor, "layers_a layers_b"]


@dataclass(frozen=True)
class Tokens:
    """One padded batch of tokenised items.

    `mask` marks real tokens (not padding), `special` those that the tokenizer or the chat template's control
    tokens added, `punctuation` those that decode to nothing but punctuation and blanks, `span` the item's marked span.
    """

    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    special: Bool[Tensor, "b t"]
    punctuation: Bool[Tensor, "b t"]
    span: Bool[Tensor, "b t"]

    def to(self, device: torch.device) -> "Tokens":
        if self.ids.device == device:
            return self
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return replace(self, **moved)


Pooling: TypeAlias = Callable[[HiddenStates, Tokens], PooledVectors]


@dataclass(frozen=True)
class Activations:
    """One side's pooled vectors: layer name -> (n, d), for the same items in the same order at every layer."""

    layers: dict[str, LayerActivations]
    n_blocks: int

    @property
    def names(self) -> list[str]:
        return list(self.layers)

    @property
    def depths(self) -> list[float]:
        return [depth(name, self.n_blocks) for name in self.layers]

    @property
    def n(self) -> int:
        return len(next(iter(self.layers.values())))
