"""A side's activations: read from the store, extracted into it where they are missing.

They lie in shards of 256 consecutive items. Items are sorted by length only inside a shard, so its bytes depend on nothing
but its own texts: a killed run goes on at the last shard, and a larger draw reuses the shards of a smaller one.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from layeratlas.arrays import Activations, Pooling
from layeratlas.batching import Batching
from layeratlas.errors import ConfigError
from layeratlas.layers import all_layers, select
from layeratlas.models.base import AbstractModel
from layeratlas.store import Store, fingerprint

logger = logging.getLogger(__name__)

SHARD = 256
_FORMAT = 1
_ITEMS = "items"


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
        found = [self._open(side, key) for key, _ in shards]
        missing = [shard for shard, files in zip(shards, found, strict=True) if len(files) <= len(self.poolings)]
        if missing:
            self._extract(side, missing)
            found = [self._open(side, key) for key, _ in shards]
        if any(len(files) <= len(self.poolings) for files in found):
            raise ConfigError(f"store.dir={self.store.root}: activations of {side.model.name} vanished after being written")
        return found

    def _open(self, side: Side, key: str) -> dict[str, Path]:
        opened = {content: self.store.open(side.folder(content), key) for content in [*self.poolings, _ITEMS]}
        return {content: path for content, path in opened.items() if path}

    def _extract(self, side: Side, missing: Sequence[tuple[str, Sequence[str]]]) -> None:
        from layeratlas.forward import extract  # transformers takes seconds to import, and a filled store needs none of it

        n = sum(len(texts) for _, texts in missing)
        logger.info("extract %s: %d of %d texts are not in the store", side.model.name, n, len(side.texts))
        model = side.model.load(self.store, self.device, side.max_length)
        with tqdm(total=n, desc=f"extract {side.model.name}", unit="text", disable=not sys.stderr.isatty()) as bar:
            for key, texts in missing:
                self._write(side, key, *extract(model, texts, self.poolings, self.batching, lambda n, tokens: _tick(bar, n)))

    def _write(self, side: Side, key: str, pooled: dict[str, dict[str, Tensor]], items: pd.DataFrame) -> None:
        for pooling, layers in pooled.items():
            with self.store.building(side.folder(pooling), key, ".safetensors") as path:
                path.write_bytes(safetensors.torch.save(layers))
        with self.store.building(side.folder(_ITEMS), key, ".parquet") as path:
            items.to_parquet(path)


def _tick(bar: tqdm, n: int) -> None:
    bar.update(n)


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
