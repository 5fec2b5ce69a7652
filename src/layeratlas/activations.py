"""One forward pass per text: every layer and every wanted pooling at once, to disk in shards as it comes.

Hidden states are pooled inside the forward hooks, on the device, so memory holds O(layers x batch x d) numbers and never
O(layers x batch x tokens x d). A shard is 256 consecutive items; items are sorted by length only inside a shard, so its
bytes depend on nothing but its own texts, and a larger draw reuses the shards of a smaller one.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from layeratlas.arrays import Activations, HiddenStates, Pooling
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.layers import all_layers, select
from layeratlas.models.base import AbstractModel
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import Encoding, collate
from layeratlas.store import Store, fingerprint

logger = logging.getLogger(__name__)

SHARD = 256
_FORMAT = 1
_ITEMS = "items"

Advance = Callable[[int, int], None]


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


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the items' texts as a model reads them."""

    model: AbstractModel
    texts: Sequence[str]
    max_length: int

    def shards(self) -> list[tuple[str, Sequence[str]]]:
        """Key and texts of each shard: the key names all that determines the shard's bytes, pooling apart."""
        parts = [self.texts[i : i + SHARD] for i in range(0, len(self.texts), SHARD)]
        return [(fingerprint([_FORMAT, self._identity, list(part)]), part) for part in parts]

    def folder(self, content: str) -> str:
        """Kind of the store's objects that hold this model's `content`: a pooling's vectors or the items' token table."""
        return f"activations/{fingerprint(self._identity)}/{content}"

    @property
    def _identity(self) -> dict:
        return self.model.identity() | {"max_length": self.max_length}


@dataclass(frozen=True)
class Extractor:
    """Fills the store with a side's activations and reads them back; a model is loaded only if something is missing."""

    store: Store
    poolings: Mapping[str, Pooling]
    batching: Batching
    device: str

    def __call__(self, side: Side, pooling: str, wanted: str | Sequence[str]) -> tuple[Activations, pd.DataFrame]:
        """The side's activations under one pooling at the `wanted` layers, and a row of token statistics per item."""
        paths = self.fill(side)
        activations = _read([found[pooling] for found in paths], wanted)
        return activations, pd.concat([pd.read_parquet(found[_ITEMS]) for found in paths], ignore_index=True)

    def fill(self, side: Side) -> list[dict[str, Path]]:
        """Extract what the store does not hold, or no longer holds undamaged; returns the files of each shard."""
        shards = side.shards()
        found = {key: self._open(side, key) for key, _ in shards}
        missing = [(key, texts) for key, texts in shards if None in found[key].values()]
        if missing:
            n = sum(len(texts) for _, texts in missing)
            logger.info("extract %s: %d of %d texts are not in the store", side.model.name, n, len(side.texts))
            model = side.model.load(self.store, self.device, side.max_length)
            with _progress(side.model.name, n) as advance:
                for key, texts in missing:
                    self._write(side, key, *self._compute(model, texts, advance))
        else:
            logger.info("extract %s: all %d texts are in the store", side.model.name, len(side.texts))
        return [self._written(side, key) for key, _ in shards] if missing else list(found.values())  # type: ignore[arg-type]

    def _open(self, side: Side, key: str) -> dict[str, Path | None]:
        return {content: self.store.open(side.folder(content), key) for content in [*self.poolings, _ITEMS]}

    def _written(self, side: Side, key: str) -> dict[str, Path]:
        opened = self._open(side, key)
        if lost := [content for content, path in opened.items() if path is None]:
            raise ConfigError(f"store.dir={self.store.root}: {', '.join(lost)} of {side.model.name} vanished after being written")
        return opened  # type: ignore[return-value]

    def _compute(self, model: LanguageModel, texts: Sequence[str], advance: Advance) -> tuple[dict[str, dict[str, Tensor]], pd.DataFrame]:
        encodings = model.encoder.encode(texts)
        pooled: dict[str, dict[str, Tensor]] = {pooling: {} for pooling in self.poolings}
        for batch in self.batching.batches([len(e.ids) for e in encodings]):
            for pooling, layers in pooled_batch(model, [encodings[i] for i in batch], self.poolings).items():
                for layer, vectors in layers.items():
                    rows = pooled[pooling].setdefault(layer, torch.empty(len(texts), vectors.shape[1]))
                    rows[batch] = vectors
            advance(len(batch), sum(len(encodings[i].ids) for i in batch))
        for pooling, layers in pooled.items():
            _check(model.name, pooling, layers, texts)
        return pooled, _token_table(model, texts, encodings)

    def _write(self, side: Side, key: str, pooled: dict[str, dict[str, Tensor]], items: pd.DataFrame) -> None:
        for pooling, layers in pooled.items():
            with self.store.building(side.folder(pooling), key, ".safetensors") as path:
                path.write_bytes(safetensors.torch.save(layers))
        with self.store.building(side.folder(_ITEMS), key, ".parquet") as path:
            items.to_parquet(path)


def pooled_batch(model: LanguageModel, encodings: Sequence[Encoding], poolings: Mapping[str, Pooling]) -> dict[str, dict[str, Tensor]]:
    """One forward pass: pooling -> layer -> (b, d) float32 on the CPU."""
    tokens = collate(encodings, model.encoder.pad_id).to(model.device)
    heard: dict[str, dict[str, Tensor]] = {pooling: {} for pooling in poolings}

    def hear(layer: str, hidden: HiddenStates) -> None:
        for name, pool in poolings.items():
            heard[name][layer] = pool(hidden, tokens.to(hidden.device))

    model.forward(tokens, hear)
    return {name: _to_cpu(layers) for name, layers in heard.items()}


def _to_cpu(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """All layers in one copy: on a GPU, a copy per layer would wait for the device each time."""
    device = next(iter(layers.values())).device
    together = torch.cat([vectors.to(device) for vectors in layers.values()], dim=1).cpu()
    return dict(zip(layers, together.split([v.shape[1] for v in layers.values()], dim=1), strict=True))


def _read(paths: Sequence[Path], wanted: str | Sequence[str]) -> Activations:
    with safe_open(paths[0], "pt") as shard:
        stored = set(shard.keys())
    n_blocks = sum(name.startswith("block_") for name in stored)
    available = [name for name in all_layers(n_blocks, final_norm=True) if name in stored]
    parts: dict[str, list[Tensor]] = {name: [] for name in select(wanted, available)}
    for path in paths:
        with safe_open(path, "pt") as shard:
            for name, tensors in parts.items():
                tensors.append(shard.get_tensor(name))
    return Activations({name: torch.cat(tensors) for name, tensors in parts.items()}, n_blocks)


def _check(model: str, pooling: str, layers: dict[str, Tensor], texts: Sequence[str]) -> None:
    """Refuse activations that no working network produces, naming model, layer and item."""
    before: Tensor | None = None
    for layer, vectors in layers.items():
        where = f"{model}, {layer}, pooling {pooling}"
        if (bad := ~vectors.isfinite().all(dim=1)).any():
            item = int(bad.nonzero()[0, 0])
            raise ActivationError(f"{where}: NaN or infinite at the text {texts[item][:60]!r} (float16 overflow? try dtype=float32)")
        if (zero := (vectors == 0).all(dim=1)).any():
            raise ActivationError(f"{where}: all zero at the text {texts[int(zero.nonzero()[0, 0])][:60]!r}")
        if layer.startswith("block_") and len(set(texts)) > 1 and bool((vectors == vectors[0]).all()):
            raise ActivationError(f"{where}: the same vector for {len(texts)} texts")
        if before is not None and before.shape == vectors.shape and torch.equal(before, vectors):
            raise ActivationError(f"{where}: identical to the layer before it")
        before = vectors


def _token_table(model: LanguageModel, texts: Sequence[str], encodings: Sequence[Encoding]) -> pd.DataFrame:
    tokenizer = model.encoder.tokenizer
    return pd.DataFrame(
        {
            "tokens": [len(e.ids) for e in encodings],
            "bytes": [len(text.encode()) for text in texts],
            "truncated": [e.truncated for e in encodings],
            "last_token": [tokenizer.decode(e.ids[-1:]) for e in encodings],
        }
    )


@contextmanager
def _progress(name: str, total: int) -> Iterator[Advance]:
    """A bar with texts/s and time left on a terminal; nothing elsewhere, where the log has a line per stage."""
    from tqdm import tqdm

    with tqdm(total=total, desc=f"extract {name}", unit="text", disable=None) as bar:

        def advance(n: int, tokens: int) -> None:
            bar.update(n)

        yield advance
