"""What a side's activations are kept in: 256 consecutive items to a shard, a file for each pooling and table.

Items are sorted by length only inside a shard, so its bytes depend on nothing but its own texts: a killed run goes on at the last
shard, and a larger draw reuses the shards of a smaller one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from layeratlas.errors import ConfigError
from layeratlas.files.identity import fingerprint
from layeratlas.layers import all_layers, select

SHARD = 256
ITEMS, NLL = "items", "nll"
# What is made by other rules than when format 2 began, so that nothing older is read for it.
_RULES = {"last_content": "punctuation by characters", ITEMS: "own tokens, and which of them"}

Span = tuple[int, int]


@dataclass(frozen=True)
class Shard:
    """256 consecutive items; `key` names all that determines their bytes, apart from the pooling."""

    key: str
    texts: Sequence[str]
    spans: Sequence[Span]

    def key_of(self, content: str) -> str:
        """Key of the shard's vectors under a pooling, or of a table. A pooling that is not ours may ask what is punctuation."""
        rule = _RULES["last_content"] if "." in content else _RULES.get(content)
        return fingerprint([self.key, rule]) if rule else self.key


class StoredLayers(Mapping[str, Tensor]):
    """Layers as they lie in a side's shards, each read when it is asked for."""

    def __init__(self, root: Path, shards: Sequence[Path], wanted: str | Sequence[str]) -> None:
        with safe_open(shards[0], "pt") as shard:
            stored = set(shard.keys())
        self.n_blocks = sum(name.startswith("block_") for name in stored)
        self._root, self._shards = root, shards
        self._names = select(wanted, [name for name in all_layers(self.n_blocks, final_norm=True) if name in stored])

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        parts = []
        for path in self._shards:
            try:
                with safe_open(path, "pt") as shard:
                    parts.append(shard.get_tensor(name))
            except FileNotFoundError as error:
                raise vanished(self._root, error) from error
        return torch.cat(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def vanished(root: Path, error: FileNotFoundError) -> ConfigError:
    return ConfigError(f"store.dir={root}: {error.filename or error} vanished before it was read")


def record_of(shard: Path) -> dict[str, Any]:
    """How a shard of activations was made: model, texts, device, batches, and how far padding moved its numbers."""
    with safe_open(shard, "pt") as file:
        return json.loads(file.metadata()["record"])


def max_length_of(files: Mapping[str, Path]) -> int | None:
    """Where texts were cut when these vectors were made, if they say so: a network may read less than a tokenizer."""
    made = next(path for path in files.values() if path.suffix == ".safetensors")
    return record_of(made).get("certificate", {}).get("max_length")
