"""Corpora too large to hold: the first items of an order, read until there are enough."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd

from layeratlas.corpora.characters import is_visible
from layeratlas.corpora.hub import HubCorpus, bars_on_terminals_only, published_order
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError
from layeratlas.files.identity import fingerprint

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Prefix(HubCorpus):
    """Of texts with fewer than `max_characters`, the first `n`."""

    max_characters: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n is None:
            raise ConfigError(f"dataset.n: {self.name} is too large to be drawn whole; give a number")

    @property
    def ordered(self) -> bool:
        return True

    def _kept(self, rows: Iterator[dict[str, Any]], field: str) -> Iterator[tuple[dict[str, Any], str]]:
        texts = ((row, self._text(row, field)) for row in rows)
        return ((row, text) for row, text in texts if text and is_visible(text) and len(text) < self.max_characters)


@dataclass(frozen=True, kw_only=True)
class ShuffledWeb(_Prefix):
    """The whole dataset is downloaded and shuffled, as the published sample was."""

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        dataset = self._dataset(language)
        self._require(self._columns(field), dataset.column_names)
        order = published_order(len(dataset), seed if self.shuffle is None else self.shuffle)
        rows = ({**dataset[int(i)], "row": str(i)} for i in order)
        kept = islice(self._kept(rows, field), self.n)
        return pd.DataFrame([(row["row"], text, "all") for row, text in kept], columns=["id", "text", "group"])


@dataclass(frozen=True, kw_only=True)
class StreamedWeb(_Prefix):
    """Only the beginning is downloaded: rows are shuffled within a moving window of `window` rows.

    This is another sample than that of the whole dataset shuffled. An item's id is a hash of its text, or `id_columns` after
    the language, as the same number means nothing in another language. What was drawn is kept in the cache of `datasets`.
    """

    window: int

    @property
    def name(self) -> str:
        return f"{super().name}-streamed"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        from datasets import Dataset, Features, Value
        from datasets.exceptions import DatasetGenerationError

        bars_on_terminals_only()
        asked = [self._location, self.revision, self._config(language), self.split, self.prompt, field, self.n, seed]
        try:
            drawn = Dataset.from_generator(
                self._draw,
                features=Features({name: Value("string") for name in ("id", "text", "group")}),
                gen_kwargs={"language": language, "field": field, "seed": seed},
                fingerprint=fingerprint([type(self).__name__, *asked, *self._choice]),
            )
        except DatasetGenerationError as error:
            raise error.__cause__ if isinstance(error.__cause__, ConfigError) else error from None
        return drawn.to_pandas()  # type: ignore[return-value]

    def source(self, language: Language) -> dict[str, Any] | None:
        try:
            return super().source(language)
        except ConfigError:  # the texts are on this machine; which commit they came from only the hub knows
            return {"id": self.id, "config": self._config(language), "split": self.split, "revision": self.revision, "commit": None}

    @property
    def _choice(self) -> list[int | None]:
        """What decides which texts are kept, beside what is asked of the hub."""
        return [self.max_characters, self.window, self.shuffle]

    def _draw(self, language: Language, field: str, seed: int) -> Iterator[dict[str, str]]:
        builder = self._builder(language)
        with self._explained(language):
            stream = builder.as_streaming_dataset(split=self.split)
            self._require(self._columns(field), list(next(iter(stream))))
            rows = iter(stream.shuffle(seed=seed if self.shuffle is None else self.shuffle, buffer_size=self.window))
            named = ((self._name(row, text, language), text) for row, text in self._kept(rows, field))
            for name, text in islice(_distinct(named), self.n):
                yield {"id": name, "text": text, "group": "all"}

    def _name(self, row: dict[str, Any], text: str, language: Language) -> str:
        own = [str(row[column]) for column in self.id_columns]
        return ":".join([language.code, *own]) if own else hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class WikipediaLeads(StreamedWeb):
    """The first paragraph of each article that has `min_characters` or more in it."""

    min_characters: int

    @property
    def _choice(self) -> list[int | None]:
        return [*super()._choice, self.min_characters]

    def _text(self, row: Mapping[Any, Any], field: str) -> str | None:
        text = (super()._text(row, field) or "").split("\n\n")[0].strip()
        return text if len(text) >= self.min_characters else None


def _distinct(named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for name, text in named:
        if name not in seen:
            seen.add(name)
            yield name, text
