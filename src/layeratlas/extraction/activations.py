"""A side's activations: read from the store, extracted into it where they are missing."""

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from layeratlas.arrays import Activations, Pooling
from layeratlas.corpora import Language
from layeratlas.errors import ConfigError
from layeratlas.extraction import preflight
from layeratlas.extraction.balance import per_unit
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.pooling import ATTENTION, read_by
from layeratlas.extraction.progress import Progress
from layeratlas.extraction.shards import ITEMS, NLL, SHARD, Shard, Span, StoredLayers, max_length_of, record_of, vanished
from layeratlas.files.identity import fingerprint
from layeratlas.files.store import Store, discard
from layeratlas.models import AbstractModel, Held, Needs
from layeratlas.models.certificate import rounding
from layeratlas.models.settings import Size

logger = logging.getLogger(__name__)

_FORMAT = 2
# What may name a control token: such names used to be read as these tokens, and are text now.
_CONTROL = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]|>>[^<>\s]+<<|\w_\w|__")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the items' texts as a model reads them.

    `spans` are marked character ranges, (0, 0) where nothing is marked. `exact` runs each text alone, so that no padding moves
    its last digits. `language` is given only where the model's tokenizer marks texts with it. `label` is what people call the
    texts.
    """

    model: AbstractModel
    texts: Sequence[str]
    max_length: int
    spans: Sequence[Span] | None = None
    exact: bool = False
    label: str = field(default="", compare=False)
    language: Language | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        marked = {"language": self.language.codes} if self.language else {}
        cut = min(self.max_length, self.model.token_limit() or self.max_length)
        return self.model.identity() | {"max_length": cut, "exact": self.exact} | marked

    @cached_property
    def shards(self) -> list[Shard]:
        spans = self.spans or [(0, 0)] * len(self.texts)
        parts = [(self.texts[i : i + SHARD], spans[i : i + SHARD]) for i in range(0, len(self.texts), SHARD)]
        return [Shard(self._key(list(t), [list(s) for s in m]), t, m) for t, m in parts]

    def _key(self, texts: list[str], spans: list[list[int]]) -> str:
        literal = ["control tokens as text"] if any(map(_CONTROL.search, texts)) else []
        return fingerprint([_FORMAT, self.identity, texts, spans, *literal])

    def source(self, pooling: str) -> str:
        """Key of all that determines these items' vectors under one pooling."""
        return fingerprint([_FORMAT, self.identity, pooling, [shard.key_of(pooling) for shard in self.shards]])

    def needs(self, *, nll: bool = False, attention: bool = False) -> Needs:
        return Needs(self.max_length, nll, attention, self.language)

    def folder(self, content: str) -> str:
        """Kind of the store's objects that hold this model's `content`: a pooling's vectors, the token table, likelihoods."""
        return f"activations/{fingerprint(self.identity)}/{content}"

    def extracted(self, extractor: "Extractor", pooling: str) -> "Extracted":
        """All layers under one pooling; what the store lacks is extracted first."""
        return extractor(self, pooling, "all")

    def fill(self, extractor: "Extractor") -> None:
        """Extract what the store lacks under any of the extractor's poolings."""
        extractor.fill(self, list(extractor.poolings))

    def in_memory(self, extractor: "Extractor") -> bool:
        """Whether the model is loaded already."""
        return extractor.holds(self)


@dataclass(frozen=True)
class Extracted:
    """One side of a run: activations, a row of token statistics (and likelihoods) per item, and how they were made."""

    activations: Activations
    tokens: pd.DataFrame
    record: dict[str, Any]


@dataclass(frozen=True)
class Extractor:
    """Fills the store with a side's activations and reads them back; a model is loaded only if something is missing.

    One pass keeps all `poolings`, and each text's likelihood if `nll`. If `only_stored`, what is missing is an error. `held` is
    where a model stays in memory for the next side. `signature_bytes` are what will be kept of each text and layer beside them.
    """

    store: Store
    poolings: Mapping[str, Pooling]
    batching: Batching
    device: torch.device
    nll: bool = False
    only_stored: bool = False
    held: Held = field(default_factory=Held, compare=False)
    signature_bytes: int = 0

    def holds(self, side: Side) -> bool:
        """Whether the side's model is in memory."""
        return self.held.holds(side.model, self.device, self._needs(side))

    def __call__(self, side: Side, pooling: str, layers: str | Sequence[str]) -> Extracted:
        """The side's activations under one pooling at the chosen layers."""
        stored = self.fill(side, [pooling])
        vectors = [files[pooling] for files in stored]
        try:
            tables = {t: pd.concat([pd.read_parquet(files[t]) for files in stored], ignore_index=True) for t in self._tables}
            record = record_of(vectors[0])
            stored = StoredLayers(self.store.root, vectors, layers)
        except FileNotFoundError as error:
            raise vanished(self.store.root, error) from error
        tokens = tables[ITEMS]
        if self.nll:
            scores = per_unit(tables[NLL], tokens["scored_characters"], tokens["scored_bytes"])
            tokens = pd.concat([tokens, scores], axis=1)
        lengths = torch.tensor(tokens["tokens"].to_numpy(), dtype=torch.float32)
        return Extracted(Activations(stored, stored.n_blocks, lengths, side.source(pooling)), tokens, record)

    def fill(self, side: Side, poolings: Sequence[str]) -> list[dict[str, Path]]:
        """Extract what the store does not hold, or no longer holds undamaged; returns the files of each shard."""
        contents = [*poolings, *self._tables]
        stored = self._tabulated(side, [self._open(side, shard, contents) for shard in side.shards], contents)
        missing = [shard for shard, files in zip(side.shards, stored, strict=True) if len(files) < len(contents)]
        n = sum(len(shard.texts) for shard in missing)
        if not missing:
            logger.info("extract %s: all %d texts are in the store", side.model.name, len(side.texts))
            return stored
        if self.only_stored:
            raise ConfigError(
                f"{n} of {len(side.texts)} texts of {side.model.name} ({side.label}) are not in store.dir={self.store.root};"
                " run the same with stage=extract"
            )
        logger.info("extract %s: %d of %d texts are not in the store", side.model.name, n, len(side.texts))
        self._extract(side, missing)
        stored = [self._open(side, shard, contents) for shard in side.shards]
        if any(len(files) < len(contents) for files in stored):
            raise ConfigError(f"store.dir={self.store.root}: activations of {side.model.name} vanished after being written")
        return stored

    def _tabulated(self, side: Side, stored: list[dict[str, Path]], contents: Sequence[str]) -> list[dict[str, Path]]:
        """Make the token tables that alone are missing; that takes the tokenizer and no network."""
        vectors = set(contents) - {ITEMS}
        shards = [shard for shard, files in zip(side.shards, stored, strict=True) if set(files) == vectors]
        if not shards:
            return stored
        from layeratlas.extraction.forward import token_table  # transformers takes seconds to import; a filled store needs none

        logger.info("extract %s: counting the tokens of %d texts", side.model.name, sum(len(shard.texts) for shard in shards))
        cut = next((max_length_of(files) for files in stored if vectors & set(files) - {NLL}), None)
        needs = side.needs()
        encoder = side.model.encoder(self.store, replace(needs, max_length=cut or needs.max_length))
        for shard, texts in _tokenised(encoder, shards):
            self._write_table(side, shard, ITEMS, token_table(encoder, texts))
        return [self._open(side, shard, contents) for shard in side.shards]

    @property
    def _tables(self) -> list[str]:
        return [ITEMS, NLL] if self.nll else [ITEMS]

    def _open(self, side: Side, shard: Shard, contents: Sequence[str]) -> dict[str, Path]:
        opened = {content: self.store.open(side.folder(content), shard.key_of(content)) for content in contents}
        return {content: path for content, path in opened.items() if path and self._believed(path, side)}

    def _believed(self, path: Path, side: Side) -> bool:
        """Whether stored vectors may be used; those that are known to be wrong are removed, to be made again.

        Vectors that were made before models were certified are wrong if padding moved their model beyond rounding, and may be if
        they were pooled by what was taken for attention.
        """
        if path.suffix != ".safetensors" or "certificate" in (record := record_of(path)):
            return True
        if record["batch_drift"] <= rounding(side.model.dtype) and path.parent.name != "attention_weighted":
            return True
        logger.warning("store: %s was made before models were certified, and may be wrong; it will be made again", path)
        discard(path)
        return False

    def _extract(self, side: Side, missing: Sequence[Shard]) -> None:
        from layeratlas.extraction.forward import (  # transformers takes seconds to import; a filled store needs none
            extract,
            token_table,
        )

        size = self._preflight(side, missing)
        model = self.held.load(side.model, self.store, self.device, self._needs(side))
        batching = Batching(1, self.batching.tokens) if side.exact or model.certificate.alone else self.batching
        n, shards = sum(len(shard.texts) for shard in missing), _tokenised(model.encoder, missing)
        first = next(shards)
        self._foretell(model, size, first[1], batching, n)
        with Progress(side.model.name, n) as progress:
            for shard, texts in chain([first], shards):
                made = extract(model, texts, self.poolings, batching, progress.advance)
                for pooling, layers in made.pooled.items():
                    with self.store.building(side.folder(pooling), shard.key_of(pooling), ".safetensors") as path:
                        path.write_bytes(safetensors.torch.save(layers, metadata=self._record(side, model, batching)))
                tables = {ITEMS: token_table(model.encoder, texts)} | ({} if made.nll is None else {NLL: made.nll})
                for content, table in tables.items():
                    self._write_table(side, shard, content, table)

    def _write_table(self, side: Side, shard: Shard, content: str, table: pd.DataFrame) -> None:
        with self.store.building(side.folder(content), shard.key_of(content), ".parquet") as path:
            table.to_parquet(path)

    def _needs(self, side: Side) -> Needs:
        attention = any(ATTENTION in read_by(pool) for pool in self.poolings.values())
        return side.needs(nll=self.nll, attention=attention)

    def _preflight(self, side: Side, missing: Sequence[Shard]) -> Size:
        held = self.holds(side)
        size = self.held.size(side.model, self.store, self.device, self._needs(side))
        expected = preflight.estimate(
            size,
            texts=sum(len(shard.texts) for shard in missing),
            shard=max(len(shard.texts) for shard in missing),
            poolings=len(self.poolings),
            signatures=len(side.texts) * self.signature_bytes,
            batch_tokens=self.batching.tokens,
            device=self.device,
            dtype=getattr(torch, side.model.dtype),
            nll=self.nll,
            held=held,
        )
        preflight.require(expected, side.model.name, self.store.root, self.device, spread=side.model.device_map is not None)
        return size

    def _foretell(self, model: Any, size: Size, texts: Any, batching: Batching, n: int) -> None:
        """Say how long n texts will take, by the time of a small part of the first ones; a model's speed is measured once."""
        from layeratlas.extraction.forward import Texts, unchecked

        batches = [[texts.lengths[i] for i in batch] for batch in batching.batches(texts.lengths)]
        if self.held.seconds_per_operation is None:
            part = preflight.sample(texts.lengths, batching, self.device)
            some = Texts([texts.texts[i] for i in part], [texts.encodings[i] for i in part])
            start = time.perf_counter()
            unchecked(model, some, self.poolings, batching, lambda texts, tokens: None)
            seconds = time.perf_counter() - start
            self.held.seconds_per_operation = seconds / preflight.operations(size, [some.lengths])
        operations = preflight.operations(size, batches) * n / len(texts.texts)
        logger.info("extract %s: some %s", model.name, preflight.duration(operations * self.held.seconds_per_operation))

    def _record(self, side: Side, model: Any, batching: Batching) -> dict[str, str]:
        """What a shard says of itself."""
        record = {
            "model": side.model.name,
            "texts": side.label,
            "identity": side.identity,
            "device": str(self.device),
            "batch_size": batching.size,
            "batch_tokens": batching.tokens,
            "batch_drift": model.certificate.drift,
            "certificate": asdict(model.certificate),
        }
        return {"record": json.dumps(record, ensure_ascii=False)}


def _tokenised(encoder: Any, shards: Sequence[Shard]) -> Iterator[tuple[Shard, Any]]:
    """Shards with their texts tokenised, each while the one before it is computed."""
    from layeratlas.extraction.forward import Texts

    def tokenise(shard: Shard) -> Texts:
        return Texts(shard.texts, encoder.encode(shard.texts, shard.spans))

    with ThreadPoolExecutor(1) as background:
        ahead = background.submit(tokenise, shards[0])
        for i, shard in enumerate(shards):
            texts = ahead.result()
            if i + 1 < len(shards):
                ahead = background.submit(tokenise, shards[i + 1])
            yield shard, texts
