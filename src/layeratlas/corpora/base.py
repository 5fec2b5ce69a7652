"""What every corpus offers: a population of items, from which both sides' aligned texts are drawn."""

import abc
import hashlib
from dataclasses import dataclass

import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.store import fingerprint


@dataclass(frozen=True, kw_only=True)
class AbstractCorpus(abc.ABC):
    """A source of texts.

    `n` is how many items to draw (None: all of them), `max_length` where a model's input is cut, in tokens. `field_a` and
    `field_b` name the text of an item that each side reads: two different fields make statement pairs.
    """

    n: int | None
    max_length: int
    field_a: str = "text"
    field_b: str = "text"

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise ConfigError(f"dataset.n: expected a positive number of items or null for all; got {self.n}")
        if self.max_length < 1:
            raise ConfigError(f"dataset.max_length: expected a positive number of tokens; got {self.max_length}")

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """How results call this corpus."""

    @abc.abstractmethod
    def population(self, language: str, field: str, seed: int) -> pd.DataFrame:
        """Every item in this language: string columns `id`, `text`, `group`, in an order that does not matter."""


@dataclass(frozen=True)
class PairedItems:
    """The drawn items of both sides, row by row the same item: columns `id`, `group`, `text_a`, `text_b`."""

    table: pd.DataFrame
    dropped: dict[str, int]

    @property
    def n(self) -> int:
        return len(self.table)

    @property
    def fingerprint(self) -> str:
        """Hash of the exact texts of both sides, in order."""
        return fingerprint(self.table[["id", "text_a", "text_b"]].to_numpy().tolist())


def draw(corpus: AbstractCorpus, language_a: str, language_b: str, seed: int) -> PairedItems:
    """Inner-join the two sides' populations on the item id and draw `corpus.n` items.

    Items are ordered by a hash of seed and id. The draw therefore does not depend on the order of the files, and the
    first n of a larger draw are the smaller draw.
    """
    a = _population(corpus, language_a, corpus.field_a, seed)
    b = a if (language_a, corpus.field_a) == (language_b, corpus.field_b) else _population(corpus, language_b, corpus.field_b, seed)
    both = a.rename(columns={"text": "text_a"}).join(b["text"].rename("text_b"), how="inner")
    if both.empty:
        raise ConfigError(f"dataset {corpus.name}: {language_a} and {language_b} share no item id ({len(a)} and {len(b)} items)")
    n = len(both) if corpus.n is None else corpus.n
    if n > len(both):
        raise ConfigError(f"dataset.n: asked for {n} items; {corpus.name} has {len(both)} for {language_a}-{language_b}")
    order = sorted(both.index, key=lambda item: hashlib.sha256(f"{seed}\0{item}".encode()).digest())
    table = both.loc[order[:n]].reset_index()[["id", "group", "text_a", "text_b"]]
    return PairedItems(table, {"only_in_a": len(a) - len(both), "only_in_b": len(b) - len(both)})


def _population(corpus: AbstractCorpus, language: str, field: str, seed: int) -> pd.DataFrame:
    items = corpus.population(language, field, seed)
    if items.empty:
        raise ConfigError(f"dataset {corpus.name}: no items in language {language}")
    if (blank := items["text"].isna() | (items["text"].str.strip() == "")).any():
        raise ConfigError(
            f"dataset {corpus.name}: {blank.sum()} empty texts in {language}, first at id {items['id'][blank].iloc[0]!r}"
        )
    if (twice := items["id"].duplicated()).any():
        raise ConfigError(f"dataset {corpus.name}: {twice.sum()} repeated ids in {language}, first {items['id'][twice].iloc[0]!r}")
    return items.set_index("id")


def english_only(corpus: AbstractCorpus, language: str) -> None:
    if language != "en":
        raise ConfigError(f"language: dataset {corpus.name} has only en; got {language}")
