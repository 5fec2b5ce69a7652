"""What every corpus offers: a population of items, from which both sides' aligned texts are drawn."""

import abc
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from layeratlas.corpora.characters import is_visible
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped
from layeratlas.files.identity import fingerprint

# What ends a sentence in the scripts of the languages that have no list of their own; quotation marks and brackets stay.
_SENTENCE_FINAL = ".!?…‽؟۔।॥。！？｡．։።፧༎๚။៕᙮"


@dataclass(frozen=True, kw_only=True)
class AbstractCorpus(abc.ABC):
    """A source of texts.

    `n` is how many items to draw (None: all of them), `max_length` where a model's input is cut, in tokens. `field_a` and
    `field_b` name the text of an item that each side reads: two different fields make statement pairs. `stratify` draws from
    each group in turn. `final_punctuation: strip` takes the marks that end a sentence off the end of each text, so that the
    last token is not a full stop; `keep` leaves the texts alone.

    `no_settings` are the options that say how many items each side reads, which field, or from where: all others make other texts.
    """

    no_settings: ClassVar[frozenset[str]] = frozenset({"n", "mirror", "field_a", "field_b"})

    n: int | None
    max_length: int
    field_a: str = "text"
    field_b: str = "text"
    stratify: bool = False
    final_punctuation: str = "keep"

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise ConfigError(f"dataset.n: expected a positive number of items or null for all; got {self.n}")
        if self.max_length < 1:
            raise ConfigError(f"dataset.max_length: expected a positive number of tokens; got {self.max_length}")
        if self.final_punctuation not in ("keep", "strip"):
            raise ConfigError(f"dataset.final_punctuation: expected keep or strip; got {self.final_punctuation}")

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """How results call this corpus."""

    @property
    def ordered(self) -> bool:
        """Whether the population stands in the order in which to draw, as where a published sample is to be had again."""
        return False

    @abc.abstractmethod
    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        """Every item in this language: string columns `id`, `text`, `group`, and the character range `span_start` to
        `span_end` of a marked span where there is one. Raises Skipped for a language that the corpus lacks.
        """

    def source(self, language: Language) -> dict[str, Any] | None:
        """What names the exact files that the texts came from, beside the texts' own fingerprint."""
        return None


class AbstractControl(abc.ABC):
    """Takes the meaning out of texts, or their pairing, and keeps something else of them.

    `sides` are those whose texts it replaces. A text's replacement depends on the seed, on the item's id and on the population,
    not on what else is drawn.
    """

    sides: Sequence[str]

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """How results call this control."""

    @abc.abstractmethod
    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        """Replacements for the texts of the items `ids`; `population` are all texts of the side by id."""


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


def draw(
    corpus: AbstractCorpus, language_a: Language, language_b: Language, seed: int, control: AbstractControl | None = None
) -> PairedItems:
    """Inner-join the two sides' populations on the item id and draw `corpus.n` items.

    Items are ordered by a hash of seed and id. The draw therefore does not depend on the order of the files, and the
    first n of a larger draw are the smaller draw.
    """
    a = _population(corpus, language_a, corpus.field_a, seed)
    same = (language_a, corpus.field_a) == (language_b, corpus.field_b)
    b = a if same else _population(corpus, language_b, corpus.field_b, seed)
    both = a.index[a.index.isin(b.index)]
    if both.empty:
        raise ConfigError(f"dataset {corpus.name}: {language_a} and {language_b} share no item id ({len(a)} and {len(b)} items)")
    n = len(both) if corpus.n is None else corpus.n
    if n > len(both):
        raise ConfigError(f"dataset.n: asked for {n} items; {corpus.name} has {len(both)} for {language_a}-{language_b}")
    ids = _in_order(corpus, a.loc[both, "group"], seed)[:n]
    sides = {"a": _drawn(a, ids), "b": _drawn(b, ids)}
    if control:
        populations = {"a": (a["text"], language_a), "b": (b["text"], language_b)}
        for side in control.sides:
            texts, language = populations[side]
            sides[side] = replace(sides[side], texts=control(texts, ids, language, seed), spans=[(0, 0)] * n)
    return PairedItems(
        ids=ids,
        groups=a.loc[ids, "group"].tolist(),
        sides=sides,
        dropped={"only_in_a": len(a) - len(both), "only_in_b": len(b) - len(both)},
    )


def item_hash(seed: int, item: str) -> bytes:
    """A number without pattern for each item, which nothing but the seed and the item's id moves."""
    return hashlib.sha256(f"{seed}\0{item}".encode()).digest()


def _in_order(corpus: AbstractCorpus, groups: pd.Series, seed: int) -> list[str]:
    """Ids in the order of drawing; if stratified, the first of each group, then the second of each, and so on."""
    ids = list(groups.index) if corpus.ordered else sorted(groups.index, key=lambda item: item_hash(seed, item))
    if not corpus.stratify:
        return ids
    turns = groups.loc[ids].groupby(groups.loc[ids]).cumcount().to_numpy()
    return [ids[i] for i in np.argsort(turns, kind="stable")]


def _drawn(population: pd.DataFrame, ids: list[str]) -> Drawn:
    chosen = population.loc[ids]
    spans = [chosen[column].tolist() if column in chosen else [0] * len(ids) for column in ("span_start", "span_end")]
    return Drawn(
        texts=chosen["text"].tolist(),
        spans=list(zip(*spans, strict=True)),
        rows=chosen["row"].tolist(),
        population=len(population),
    )


def _population(corpus: AbstractCorpus, language: Language, field: str, seed: int) -> pd.DataFrame:
    """All items of a side by id; `row` is the place of each in the dataset's own order, before any shuffle of its index."""
    items = corpus.population(language, field, seed)
    if items.empty:
        raise ConfigError(f"dataset {corpus.name}: no items in language {language}")
    if (blank := items["text"].isna() | ~items["text"].map(lambda text: is_visible(str(text)))).any():
        first = items["id"][blank].iloc[0]
        raise ConfigError(f"dataset {corpus.name}: {blank.sum()} empty texts in {language}, first at id {first!r}")
    if (twice := items["id"].duplicated()).any():
        first = items["id"][twice].iloc[0]
        raise ConfigError(f"dataset {corpus.name}: {twice.sum()} repeated ids in {language}, first {first!r}")
    items = items.assign(row=np.argsort(np.argsort(items.index, kind="stable"))).set_index("id")
    return _without_final_marks(items, language) if corpus.final_punctuation == "strip" else items


def _without_final_marks(items: pd.DataFrame, language: Language) -> pd.DataFrame:
    """A text of nothing but marks keeps them; a span that reached into them ends with the text."""
    marks = _SENTENCE_FINAL + "".join(language.sentence_final)
    texts = [stripped if is_visible(stripped := _strip(text, marks)) else text for text in items["text"]]
    items = items.assign(text=texts)
    return items.assign(span_end=items["span_end"].clip(upper=items["text"].str.len())) if "span_end" in items else items


def _strip(text: str, marks: str) -> str:
    """The text without its final marks; blanks and signs of direction and joining may stand among and after these."""
    end = len(text)
    while end and (text[end - 1] in marks or text[end - 1].isspace() or unicodedata.category(text[end - 1]) in ("Cc", "Cf")):
        end -= 1
    return text[:end]


def require_file(path: Path) -> None:
    """Raises ConfigError for what is not there, is a folder, or would wait for somebody to write into it."""
    if not path.exists():
        raise ConfigError(f"dataset.path={path}: no such file")
    if not path.is_file():
        raise ConfigError(f"dataset.path={path}: is {'a folder' if path.is_dir() else 'no regular file'}; expected a file")
    if path.stat().st_size == 0:
        raise ConfigError(f"dataset.path={path}: is empty")


def english_only(corpus: AbstractCorpus, language: Language) -> None:
    if language.code != "en":
        raise Skipped(f"language: dataset {corpus.name} has only en; got {language}")
