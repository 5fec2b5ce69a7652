"""How many tokens a network can read, found by trying: tables of positions end in many ways, and under many names."""

import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from layeratlas.models.hub import UNLIMITED

_FEW = 8  # tokens that every network reads
_TRIED = 16_385  # no table of learned positions is longer; trying costs attention of length squared
_UNFUSED = 2**28  # entries of attention weights that trying may hold, over all heads: 1 GiB
_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")


def tokenizer_limit(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The longest text that a tokenizer's own files allow, special tokens included."""
    return tokenizer.model_max_length if tokenizer.model_max_length < UNLIMITED else None


def trained_positions(config: PreTrainedConfig) -> int | None:
    """The number of positions that a network's config names."""
    named = (getattr(config.get_text_config(), name, None) for name in _NAMES)
    return next((n for n in named if isinstance(n, int) and n > 0), None)


def network_limit(network: PreTrainedModel, first_block: nn.Module, wanted: int) -> int | None:
    """The most tokens that a network reads, or None if it reads as many as are wanted.

    Its embeddings and its first block are run over one text of each length that is tried; a network without a table of
    positions (rotary, ALiBi, recurrent) reads what it is given.
    """
    longest = min(wanted, _length_to_try(network.config))
    if longest <= _FEW or _reads(network, first_block, longest) or not _reads(network, first_block, _FEW):
        return None
    below, above = _FEW, longest
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if _reads(network, first_block, middle) else (below, middle)
    return below


def _length_to_try(config: PreTrainedConfig) -> int:
    """One more than the positions that the config names, within what trying may cost."""
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    unfused = getattr(config, "_attn_implementation", None) == "eager" and isinstance(heads, int) and heads > 0
    affordable = min(_TRIED, math.isqrt(_UNFUSED // heads)) if unfused else _TRIED  # type: ignore[operator]
    return min(affordable, (trained_positions(config) or affordable) + 1)


def _reads(network: PreTrainedModel, first_block: nn.Module, length: int) -> bool:
    """Whether a text of this length gets through the first block; what memory does not hold counts as read."""
    word = 0 if getattr(network.config.get_text_config(), "pad_token_id", None) else 1  # some networks do not count padding ids
    ids = torch.full((1, length), word, device=network.device)
    try:
        with torch.inference_mode(), _InBounds(), _until(first_block):
            network(input_ids=ids, attention_mask=torch.ones_like(ids))
    except _Passed:
        return True
    except (torch.OutOfMemoryError, MemoryError):
        return True
    except Exception as error:  # what networks raise for a position that they lack has no end
        return "memory" in str(error)
    return True


class _Passed(BaseException):
    """Enough of the network has run."""


@contextmanager
def _until(block: nn.Module) -> Any:
    def stop(*args: Any) -> None:
        raise _Passed

    handle = block.register_forward_hook(stop)
    try:
        yield
    finally:
        handle.remove()


class _InBounds(TorchFunctionMode):
    """Refuses to look up an entry that a table does not have before it is done: on a GPU, doing so ends all that runs there.

    Fused attention is left out.
    """

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (functional.embedding, torch.embedding):
            index, table = args[:2] if function is functional.embedding else args[1::-1]
            _require(index, len(table))
        elif function in (torch.index_select, Tensor.index_select, torch.gather, Tensor.gather) and len(args) == 3:
            _require(args[2], args[0].shape[args[1]])
        elif function is functional.scaled_dot_product_attention:
            return _unattended(*args, **kwargs)
        elif function is Tensor.__getitem__:
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            if isinstance(indices[0], Tensor) and indices[0].dtype == torch.long:
                _require(indices[0], len(args[0]))
        return function(*args, **kwargs)


def _unattended(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **options: Any) -> Tensor:
    """What attention returns, by shape alone: its cost grows with the square of the length, and no number of it matters here."""
    if attn_mask is not None:
        torch.broadcast_shapes(attn_mask.shape, (*query.shape[:-1], key.shape[-2]))
    return query.new_zeros(*query.shape[:-1], value.shape[-1])


def _require(index: Tensor, size: int) -> None:
    if index.numel() and (int(index.max()) >= size or int(index.min()) < -size):
        raise IndexError(f"index {int(index.max())} of a table of {size}")
