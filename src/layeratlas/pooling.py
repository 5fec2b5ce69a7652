"""Poolings: the hidden states of an item's tokens become one float32 vector.

Each is a function of the hidden states (b, t, d) of one layer and the batch's `Tokens`, and reads positions from masks only,
so padding on either side makes no difference. An item without any token to pool raises ValueError with its row.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from layeratlas.arrays import HiddenStates, PooledVectors, Tokens

__all__ = ["last", "mean"]


def last(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The last real token, special tokens such as a final [SEP] included."""
    return _at_last(hidden, tokens.mask)


def mean(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over all real tokens."""
    return _weighted(hidden, tokens.mask.float())


def _at_last(hidden: HiddenStates, where: Bool[Tensor, "b t"]) -> PooledVectors:
    _require(where)
    positions = torch.arange(where.shape[1], device=where.device)
    index = torch.where(where, positions, -1).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), index].float()


def _weighted(hidden: HiddenStates, weights: Float[Tensor, "b t"]) -> PooledVectors:
    """Sum of weights x hidden states over tokens, weights scaled to sum 1 (in float32: sums overflow in float16)."""
    _require(weights > 0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.einsum("bt,btd->bd", weights, hidden.float())


def _require(where: Bool[Tensor, "b t"]) -> None:
    if (empty := ~where.any(dim=1)).any():
        raise ValueError(f"no token to pool in row {int(empty.nonzero()[0, 0])} of the batch")
