"""Controls: what is left of a similarity when the meaning of the texts, or the pairing of the items, is gone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from layeratlas.corpora.base import AbstractControl, item_hash
from layeratlas.corpora.characters import is_visible
from layeratlas.corpora.language import Language
from layeratlas.corpora.scripts import foreign, joined, words
from layeratlas.errors import ConfigError

_ROWS = 512  # items whose overlap with all others is held at once


@dataclass(frozen=True)
class _Sided(AbstractControl):
    sides: Sequence[str]

    def __post_init__(self) -> None:
        if not self.sides or not set(self.sides) <= {"a", "b"}:
            raise ConfigError(f"control.sides: expected [a], [b] or [a,b]; got {list(self.sides)}")


@dataclass(frozen=True)
class RandomCharacters(_Sided):
    """Strings as long as the texts, of characters drawn uniformly from those of the language's texts, other scripts left out."""

    @property
    def name(self) -> str:
        return "random_characters"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        alphabet = np.array([c for c in _characters(population) if c.isprintable() and not foreign(c, language.script)])
        return [_visible("".join(_of_text(seed, i, population[i]).choice(alphabet, len(population[i])))) for i in ids]


@dataclass(frozen=True)
class ShuffledWords(_Sided):
    """The words of each text in random order; characters where the script sets no blanks between words."""

    @property
    def name(self) -> str:
        return "shuffled_words"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        parts = [words(population[i], language) for i in ids]
        return [
            joined([own[j] for j in _of_text(seed, i, population[i]).permutation(len(own))], language)
            for i, own in zip(ids, parts, strict=True)
        ]


@dataclass(frozen=True)
class ReversedWords(_Sided):
    """The words of each text from the last to the first; characters where the script sets no blanks between words."""

    @property
    def name(self) -> str:
        return "reversed_words"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        return [joined(words(population[i], language)[::-1], language) for i in ids]


@dataclass(frozen=True)
class Cipher(_Sided):
    """Every character replaced by another, by one random permutation of all characters of the language's texts.

    What the texts say is as regular as before, but no model has learnt to read it (Wolfram and Schein, 2025).
    """

    @property
    def name(self) -> str:
        return "cipher"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        plain = _characters(population)
        key = dict(zip(plain, _generator(seed, f"cipher {language}").permutation(plain), strict=True))
        return [_visible(population[i].translate(str.maketrans(key))) for i in ids]


@dataclass(frozen=True)
class OtherItems(_Sided):
    """The text of another item of the same language and, as nearly as there is one, of the same length.

    Neighbours in order of length change places, so no item keeps its text and, up to an odd one, none is used twice.
    """

    @property
    def name(self) -> str:
        return "other_items"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        lengths = population.str.len()
        order = sorted(population.index, key=lambda i: (lengths[i], item_hash(seed, i)))
        if len(order) < 2:
            raise ConfigError("control: other_items needs two items or more; got 1")
        pairs = zip(order[::2], order[1::2], strict=False)
        partner = {order[-1]: order[-2]} | {i: j for one, other in pairs for i, j in ((one, other), (other, one))}
        return [population[partner[i]] for i in ids]


@dataclass(frozen=True)
class SharedWords(_Sided):
    """The text of the other item of the same language that shares most words with the item's own (Jaccard index).

    What similarity remains is due to shared tokens and topics, and not to the same meaning.
    """

    @property
    def name(self) -> str:
        return "shared_words"

    def __call__(self, population: pd.Series, ids: Sequence[str], language: Language, seed: int) -> list[str]:
        if len(population) < 2:
            raise ConfigError("control: shared_words needs two items or more; got 1")
        counts = _occurrences([set(words(text, language)) for text in population])
        rows = population.index.get_indexer(pd.Index(ids))
        nearest = [_nearest(counts, rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]
        return population.iloc[np.concatenate(nearest)].tolist()


def _nearest(counts: csr_array, rows: np.ndarray) -> np.ndarray:
    common = (counts[rows] @ counts.T).toarray()
    sizes = np.asarray(counts.sum(axis=1))
    overlap = common / np.maximum(sizes[rows][:, None] + sizes[None, :] - common, 1)
    overlap[np.arange(len(rows)), rows] = -np.inf  # never the item itself
    return overlap.argmax(axis=1)


def _occurrences(bags: list[set[str]]) -> csr_array:
    """Items by words: 1 where the word occurs."""
    places = {word: place for place, word in enumerate(sorted(set().union(*bags)))}
    columns = [places[word] for bag in bags for word in bag]
    starts = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    return csr_array((np.ones(len(columns)), np.array(columns, dtype=np.int64), starts), shape=(len(bags), len(places)))


def _visible(text: str) -> str:
    """A text that has come out as nothing to see is no text."""
    return text if is_visible(text) else "_" * len(text)


def _characters(population: pd.Series) -> list[str]:
    return sorted(Counter("".join(population)))


def _of_text(seed: int, item: str, text: str) -> np.random.Generator:
    """The same for one text on both sides, another for its translation: drawn alike, both would correspond place by place."""
    return _generator(seed, f"{item} {text}")


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(list(item_hash(seed, name)))
