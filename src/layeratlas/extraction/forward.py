"""One forward pass per text: every layer and every wanted pooling at once.

Hidden states are pooled inside the forward hooks, on the device, so memory holds O(layers x batch x d) numbers and never
O(layers x batch x tokens x d).
"""

import ctypes
import logging
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import psutil
import torch
from torch import Tensor

from layeratlas.arrays import HiddenStates, Pooling, Tokens
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.extraction.balance import CONTENT_IDS, per_unit
from layeratlas.extraction.batching import Batching, longest_first
from layeratlas.models.certificate import overflow
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import Encoder, Encoding, collate

logger = logging.getLogger(__name__)

_FRAGMENTS = 2**22  # bytes
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")

Advance = Callable[[int, int], None]
Layers = dict[str, Tensor]


@dataclass(frozen=True)
class Texts:
    """Texts and what the model's tokenizer makes of them."""

    texts: Sequence[str]
    encodings: Sequence[Encoding]

    @property
    def lengths(self) -> list[int]:
        return [len(e.ids) for e in self.encodings]


@dataclass(frozen=True)
class ForwardPass:
    """`pooled`: pooling -> layer -> (n, d) float32 on the CPU. `nll`: a row per text, if likelihoods were asked for."""

    pooled: dict[str, Layers]
    nll: pd.DataFrame | None


def extract(
    model: LanguageModel, texts: Texts, poolings: Mapping[str, Pooling], batching: Batching, advance: Advance
) -> ForwardPass:
    """Run all texts through the model and refuse what no working network produces.

    `advance` gets the number of texts and of tokens after each batch.
    """
    extracted = unchecked(model, texts, poolings, batching, advance)
    for name, layers in extracted.pooled.items():
        _check(model, name, layers, texts.texts)
    return extracted


def unchecked(
    model: LanguageModel, texts: Texts, poolings: Mapping[str, Pooling], batching: Batching, advance: Advance
) -> ForwardPass:
    """Run all texts through the model, whatever comes out.

    A batch that does not fit into memory lowers `batching` for good and is tried again in smaller ones.
    """
    model.require_known(texts.texts, texts.encodings)
    pooled: dict[str, Layers] = {name: {} for name in poolings}
    nll = torch.full((len(texts.texts), 2), torch.nan)
    rest, freed = longest_first(texts.lengths), _FreedMemory()
    while rest:
        batch = batching.next_batch(rest, texts.lengths)
        try:
            layers, scores = extract_batch(model, [texts.encodings[i] for i in batch], poolings)
        except (MemoryError, RuntimeError) as error:
            _lower(batching, error, len(batch), texts.lengths[batch[0]])
            continue
        _place(pooled, layers, batch, len(texts.texts))
        nll[batch] = scores
        freed.after_batch()
        advance(len(batch), sum(texts.lengths[i] for i in batch))
        rest = rest[len(batch) :]
    return ForwardPass(pooled, _nll_table(nll, texts) if model.head else None)


def extract_batch(
    model: LanguageModel, encodings: Sequence[Encoding], poolings: Mapping[str, Pooling]
) -> tuple[dict[str, Layers], Tensor]:
    """One forward pass: pooling -> layer -> (b, d), and (b, 2) with each text's NLL and number of scored tokens (or NaN)."""
    on_cpu = collate(encodings, model.encoder.pad_id)
    _require_tokens(on_cpu, poolings, model)
    tokens = on_cpu.to(model.device)
    heard: dict[str, Layers] = {name: {} for name in poolings}

    def hear(layer: str, hidden: HiddenStates, attention: Tensor | None) -> None:
        here = replace(tokens.to(hidden.device), attention=attention)
        for name, pool in poolings.items():
            heard[name][layer] = pool(hidden, here)

    output = model.forward(tokens, hear)
    scores = torch.full((len(encodings), 2), torch.nan)
    if model.head:
        scores = torch.stack(model.head.nll(output.last_hidden_state, tokens), dim=1).float()
    return _to_cpu(heard, scores)


def _to_cpu(heard: dict[str, Layers], scores: Tensor) -> tuple[dict[str, Layers], Tensor]:
    """All poolings and layers in one copy: a copy each would wait for a GPU each time."""
    flat = [vectors for layers in heard.values() for vectors in layers.values()]
    device = flat[0].device
    together = torch.cat([part.to(device) for part in [*flat, scores]], dim=1).cpu()
    parts = iter(together.split([part.shape[1] for part in [*flat, scores]], dim=1))
    return {name: {layer: next(parts) for layer in layers} for name, layers in heard.items()}, next(parts)


def _place(pooled: dict[str, Layers], of_batch: dict[str, Layers], batch: list[int], n: int) -> None:
    for name, layers in of_batch.items():
        for layer, vectors in layers.items():
            pooled[name].setdefault(layer, torch.empty(n, vectors.shape[1]))[batch] = vectors


class _FreedMemory:
    """Has glibc give freed blocks back to the system once it keeps more than the first batch left; elsewhere nothing is done.

    Fragments pile up by some hundred megabytes. Doing it after every batch would cost a tenth of the time: pages must be made anew.
    """

    def __init__(self) -> None:
        self._process, self._limit = psutil.Process(), math.inf
        self._library = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None

    def after_batch(self) -> None:
        resident = self._process.memory_info().rss
        self._limit = min(self._limit, resident + _FRAGMENTS)
        if self._library and resident > self._limit:
            self._library.malloc_trim(0)


def _require_tokens(tokens: Tokens, poolings: Mapping[str, Pooling], model: LanguageModel) -> None:
    """Refuse a batch in which a text has no token for a pooling (no content, no span), before the forward pass."""
    tokens = replace(tokens, attention=tokens.mask.float())
    probe = torch.ones(*tokens.ids.shape, 1)
    for name, pool in poolings.items():
        if (empty := ~pool(probe, tokens).isfinite().all(dim=1)).any():
            ids = tokens.ids[int(empty.nonzero()[0, 0])]
            text = model.encoder.tokenizer.decode(ids, skip_special_tokens=True)
            raise ConfigError(f"pooling={name}: no token to pool in the text {text[:60]!r}")


def _lower(batching: Batching, error: Exception, n: int, longest: int) -> None:
    """Halve the budget if the machine ran out of memory; raise the error on if it did not, or if one text is too much."""
    message = str(error).lower()
    exhausted = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in message for words in _OUT_OF_MEMORY)
    if not exhausted:
        raise error
    if n == 1:
        raise ConfigError(
            f"dataset.max_length: one text of {longest} tokens does not fit into memory; lower it, or choose a smaller dtype"
        ) from error
    batching.halve(n, longest)
    logger.warning("extract: %d texts of %d tokens do not fit into memory; going on with %d tokens", n, longest, batching.tokens)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _check(model: LanguageModel, pooling: str, layers: Layers, texts: Sequence[str]) -> None:
    """Refuse activations that no working network produces, naming model, layer and item; float16 may overflow in one that works."""
    before: Tensor | None = None
    for layer, vectors in layers.items():
        where = f"{model.name}, {layer}, pooling {pooling}"
        if (bad := ~vectors.isfinite().all(dim=1)).any():
            text = texts[int(bad.nonzero()[0, 0])]
            message = f"{where}: NaN or infinite at the text {text[:60]!r} in {model.dtype}; {overflow(model.dtype)}"
            raise ConfigError(message) if model.dtype == "float16" else ActivationError(message)
        if (zero := (vectors == 0).all(dim=1)).any():
            raise ActivationError(f"{where}: all zero at the text {texts[int(zero.nonzero()[0, 0])][:60]!r}")
        if layer.startswith("block_") and len(set(texts)) > 1 and bool((vectors == vectors[0]).all()):
            raise ActivationError(f"{where}: the same vector for {len(texts)} texts")
        if before is not None and before.shape == vectors.shape and torch.equal(before, vectors):
            raise ActivationError(f"{where}: identical to the layer before it")
        before = vectors


def _nll_table(scores: Tensor, texts: Texts) -> pd.DataFrame:
    """Sum over scored tokens in nats, their number, and the sum per token, per byte and per character of what was scored."""
    total, tokens = scores.double().numpy().T
    if not (tokens > 0).all():
        raise ActivationError(f"extract.nll=true: the text {texts.texts[int((tokens <= 0).argmax())][:60]!r} has no token to score")
    scored = [e.scored for e in texts.encodings]
    table = pd.DataFrame({"nll": total, "nll_tokens": tokens.astype(int)})
    return per_unit(table, [extent.characters for extent in scored], [extent.bytes for extent in scored])


def token_table(encoder: Encoder, texts: Texts) -> pd.DataFrame:
    """A row per text: how many tokens, bytes and characters, what was cut, and which tokens stand where poolings read one.

    `text_tokens` are those of the text itself, `fertility` is their number per character that they cover (`read_characters`).
    `scored_characters` and `scored_bytes` are how much of the text has a likelihood. `first_token`, `last_token` and
    `last_content_token` are what the tokens at these places say by themselves, their ids beside them; a first token that is not
    the text's own has none. `named_controls` are the names of control tokens in the text, `controls` those read as such.
    `content_ids` are the different ids of the text's own tokens that are no punctuation, in ascending order.
    """
    encodings = texts.encodings
    own = [[i for i, special in zip(e.ids, e.special, strict=True) if not special] for e in encodings]
    places: dict[str, list[int | None]] = {
        "first_token": [None if e.special[0] else e.ids[0] for e in encodings],
        "last_token": [e.ids[-1] for e in encodings],
        "last_content_token": [_last_content(e) for e in encodings],
    }
    decoded = {i: encoder.tokenizer.decode([i]) for ids in places.values() for i in set(ids) if i is not None}
    table = pd.DataFrame(
        {
            "tokens": texts.lengths,
            "text_tokens": [len(ids) for ids in own],
            "bytes": [len(text.encode()) for text in texts.texts],
            "characters": [len(text) for text in texts.texts],
            "read_characters": [e.read.characters for e in encodings],
            "scored_bytes": [e.scored.bytes for e in encodings],
            "scored_characters": [e.scored.characters for e in encodings],
            "truncated": [e.truncated for e in encodings],
            "unknown_tokens": [sum(i == encoder.tokenizer.unk_token_id for i in ids) for ids in own],
            "named_controls": [e.named_controls for e in encodings],
            "controls": [e.controls for e in encodings],
            **{p: pd.Series([None if i is None else decoded[i] for i in ids], dtype="string") for p, ids in places.items()},
            **{f"{place}_id": pd.Series(ids, dtype="Int64") for place, ids in places.items()},
            CONTENT_IDS: [_content_ids(e) for e in encodings],
        }
    )
    table.insert(5, "fertility", table["text_tokens"] / table["read_characters"])
    return table


def _last_content(encoding: Encoding) -> int | None:
    return next(reversed(_content(encoding)), None)


def _content_ids(encoding: Encoding) -> list[int]:
    return sorted(set(_content(encoding)))


def _content(encoding: Encoding) -> list[int]:
    marks = zip(encoding.ids, encoding.special, encoding.punctuation, strict=True)
    return [i for i, special, punctuation in marks if not special and not punctuation]
