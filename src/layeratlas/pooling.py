"""Poolings: the hidden states of an item's tokens become one float32 vector.

Each is a function of the hidden states (b, t, d) of one layer and the batch's `Tokens`, and reads positions from masks only,
so padding on either side makes no difference. An item without any token to pool becomes a vector that is not finite: to
look whether there is one would make a GPU wait at each layer, so `forward.py` looks once per batch.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from layeratlas.arrays import HiddenStates, PooledVectors, Tokens

__all__ = [
    "attention_weighted",
    "first",
    "last",
    "last_content",
    "max",
    "mean",
    "mean_content",
    "mean_skip_first",
    "span",
    "weighted_mean",
]


def last(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The last real token, special tokens such as a final [SEP] included."""
    return _at(hidden, tokens.mask, -1)


def last_content(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The last token of the text itself that is not just punctuation or blanks: not the full stop that ends most texts."""
    return _at(hidden, tokens.mask & ~tokens.special & ~tokens.punctuation, -1)


def first(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The first real token: [CLS] in an encoder. In a decoder it has seen nothing but itself."""
    return _at(hidden, tokens.mask, 0)


def mean(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over all real tokens."""
    return _weighted(hidden, tokens.mask.float())


def mean_content(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over the text's own tokens, without BOS, [SEP] or the words of a chat template."""
    return _weighted(hidden, (tokens.mask & ~tokens.special).float())


def mean_skip_first(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over all real tokens but the first, whatever it is: BOS in some models, a word in others."""
    return _weighted(hidden, (tokens.mask & (_position(tokens.mask) > 1)).float())


def weighted_mean(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over real tokens weighted by their position 1, 2, .. (Muennighoff, 2022, eq. 2): late tokens have seen more."""
    return _weighted(hidden, _position(tokens.mask).float())


def max(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The largest value of each dimension over real tokens."""
    return hidden.float().masked_fill(~tokens.mask[:, :, None], -torch.inf).amax(dim=1)


def span(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over the tokens of the item's marked span."""
    return _weighted(hidden, (tokens.mask & tokens.span).float())


def attention_weighted(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over real tokens weighted by the attention each receives in this block, over all heads and real queries.

    `embed` is weighted by the first block's attention and `final_norm` by the last one's. Needs unfused attention kernels.
    """
    if tokens.attention is None:
        raise ValueError("this model has no attention weights to pool by")
    return _weighted(hidden, tokens.attention.to(hidden.device) * tokens.mask)


def _position(mask: Bool[Tensor, "b t"]) -> Tensor:
    """1, 2, .. for real tokens, 0 for padding."""
    return mask.cumsum(dim=1) * mask


def _at(hidden: HiddenStates, where: Bool[Tensor, "b t"], which: int) -> PooledVectors:
    """The hidden state of the first (0) or last (-1) token of each row that is marked."""
    order = where.cumsum(dim=1) * where
    wanted = order.amax(dim=1, keepdim=True) if which == -1 else torch.ones_like(order[:, :1])
    index = (order == wanted).int().argmax(dim=1)
    found = hidden[torch.arange(len(hidden), device=hidden.device), index].float()
    return torch.where(where.any(dim=1, keepdim=True), found, torch.nan)


def _weighted(hidden: HiddenStates, weights: Float[Tensor, "b t"]) -> PooledVectors:
    """Sum of weights x hidden states over tokens, weights scaled to sum 1 (in float32: sums overflow in float16)."""
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.einsum("bt,btd->bd", weights, hidden.float())
