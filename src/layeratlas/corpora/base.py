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
        """Every item in this language: string columns `id`, `text`, `group`, and the character range `span_start` to
        `span_end` of a marked span where there is one.
        """


@dataclass(frozen=True)
class Drawn:
    """One side's texts of the drawn items. `rows` are their places in the side's population of `population` items.

    `spans` are marked character ranges, (0, 0) where nothing is marked.
    """

    texts: list[str]
    spans: list[tuple[int, int]]
    rows: list[int]
    population: int


@dataclass(frozen=True)
class PairedItems:
    """The drawn items: `ids` and `groups`, and the texts of sides a and b, place by place the same item.

    `dropped` counts the items that only one side has.
    """

    ids: list[str]
    groups: list[str]
    sides: dict[str, Drawn]
    dropped: dict[str, int]

    @property
    def n(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """Hash of the exact ids and texts of both sides, in order."""
        return fingerprint([self.ids, self.sides["a"].texts, self.sides["b"].texts])

    @property
    def table(self) -> pd.DataFrame:
        texts = {f"text_{side}": drawn.texts for side, drawn in self.sides.items()}
        return pd.DataFrame({"id": self.ids, "group": self.groups, **texts})


def draw(corpus: AbstractCorpus, language_a: str, language_b: str, seed: int) -> PairedItems:
    """Inner-join the two sides' populations on the item id and draw `corpus.n` items.

    Items are ordered by a hash of seed and id. The draw therefore does not depend on the order of the files, and the
    first n of a larger draw are the smaller draw.
    """
    a = _population(corpus, language_a, corpus.field_a, seed)
    same = (language_a, corpus.field_a) == (language_b, corpus.field_b)
    b = a if same else _population(corpus, language_b, corpus.field_b, seed)
    both = a.index.intersection(b.index, sort=False)
    if both.empty:
        raise ConfigError(f"dataset {corpus.name}: {language_a} and {language_b} share no item id ({len(a)} and {len(b)} items)")
    n = len(both) if corpus.n is None else corpus.n
    if n > len(both):
        raise ConfigError(f"dataset.n: asked for {n} items; {corpus.name} has {len(both)} for {language_a}-{language_b}")
    ids = sorted(both, key=lambda item: hashlib.sha256(f"{seed}\0{item}".encode()).digest())[:n]
    return PairedItems(
        ids=ids,
        groups=a.loc[ids, "group"].tolist(),
        sides={"a": _drawn(a, ids), "b": _drawn(b, ids)},
        dropped={"only_in_a": len(a) - len(both), "only_in_b": len(b) - len(both)},
    )


def _drawn(population: pd.DataFrame, ids: list[str]) -> Drawn:
    chosen = population.loc[ids]
    spans = [chosen[column].tolist() if column in chosen else [0] * len(ids) for column in ("span_start", "span_end")]
    return Drawn(
        texts=chosen["text"].tolist(),
        spans=list(zip(*spans, strict=True)),
        rows=population.index.get_indexer(pd.Index(ids)).tolist(),
        population=len(population),
    )


def _population(corpus: AbstractCorpus, language: str, field: str, seed: int) -> pd.DataFrame:
    items = corpus.population(language, field, seed)
    if items.empty:
        raise ConfigError(f"dataset {corpus.name}: no items in language {language}")
    if (blank := items["text"].isna() | (items["text"].str.strip() == "")).any():
        first = items["id"][blank].iloc[0]
        raise ConfigError(f"dataset {corpus.name}: {blank.sum()} empty texts in {language}, first at id {first!r}")
    if (twice := items["id"].duplicated()).any():
        first = items["id"][twice].iloc[0]
        raise ConfigError(f"dataset {corpus.name}: {twice.sum()} repeated ids in {language}, first {first!r}")
    return items.set_index("id")


def english_only(corpus: AbstractCorpus, language: str) -> None:
    if language != "en":
        raise ConfigError(f"language: dataset {corpus.name} has only en; got {language}")
