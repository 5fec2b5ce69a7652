"""Poolings: the hidden states of an item's tokens become one float32 vector.

Each is a function of the hidden states (b, t, d) of one layer and the batch's `Tokens`, and reads positions from masks only,
so padding on either side makes no difference. An item without any token to pool becomes a vector that is not finite: to
look whether there is one would make a GPU wait at each layer, so `forward.py` looks once per batch.

A pooling that reads more than the texts' tokens says so with `@reads`. A file of conf/pooling names the function with
`_partial_: true` and the values of its further parameters, or a class whose objects are called in the same way.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from layeratlas.arrays import HiddenStates, PooledVectors, Pooling, Tokens
from layeratlas.errors import ConfigError

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


ATTENTION, SPAN = "attention", "span"
_OURS = f"{__name__}."
_Pool = TypeVar("_Pool", bound=Callable[..., Any])


def reads(*extra: Literal["attention", "span"]) -> Callable[[_Pool], _Pool]:
    """Marks a pooling, a function or a class, that reads `Tokens.attention` or `Tokens.span`.

    Attention weights are only there on request, as they need unfused kernels; spans have to be marked by the dataset.
    """

    def marked(pool: _Pool) -> _Pool:
        pool.reads = frozenset(extra)  # type: ignore[attr-defined]
        return pool

    return marked


def read_by(pool: Pooling) -> frozenset[str]:
    """What a pooling reads beside the texts' tokens: `attention`, `span`, or nothing."""
    return getattr(pool.func if isinstance(pool, partial) else pool, "reads", frozenset())


def name_of(node: Mapping[str, Any]) -> str:
    """What a pooling of a config is called, in results and in the store: all that sets it apart from others.

    One of ours goes by its bare name, and the options follow in the order of their names: `mean`, `mine.pool(share=0.5)`.
    """
    options = {key: value for key, value in sorted(node.items()) if not key.startswith("_")}
    written = ",".join(f"{key}={quote(json.dumps(value, sort_keys=True), safe=',:')}" for key, value in options.items())
    name = node["_target_"].removeprefix(_OURS)
    return f"{name}({written})" if options else name


def require_pooling(pool: Any, where: str) -> None:
    """Raises ConfigError unless it can be called with the hidden states and the tokens of a batch."""
    try:
        inspect.signature(pool).bind(None, None)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected a function of hidden states and tokens (and `_partial_: true`); {error}") from None


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


@reads(SPAN)
def span(hidden: HiddenStates, tokens: Tokens) -> PooledVectors:
    """The mean over the tokens of the item's marked span."""
    return _weighted(hidden, (tokens.mask & tokens.span).float())


@reads(ATTENTION)
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
    picked = hidden[torch.arange(len(hidden), device=hidden.device), index].float()
    return torch.where(where.any(dim=1, keepdim=True), picked, torch.nan)


def _weighted(hidden: HiddenStates, weights: Float[Tensor, "b t"]) -> PooledVectors:
    """Sum of weights x hidden states over tokens, weights scaled to sum 1 (in float32: sums overflow in float16)."""
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.einsum("bt,btd->bd", weights, hidden.float())
