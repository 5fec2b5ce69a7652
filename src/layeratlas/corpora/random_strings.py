"""Strings without any meaning: what similarity remains on them is not about content."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from layeratlas.corpora.base import AbstractCorpus
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError

_POPULATION = 65_536


@dataclass(frozen=True, kw_only=True)
class RandomStrings(AbstractCorpus):
    """Strings of `length` characters, independent and uniform over `alphabet` (Wolfram and Schein, 2025, appendix)."""

    length: int
    alphabet: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1:
            raise ConfigError(f"dataset.length: expected a positive number of characters; got {self.length}")
        if not self.alphabet:
            raise ConfigError("dataset.alphabet: expected one or more characters; got none")

    @property
    def name(self) -> str:
        return "random_strings"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        drawn = np.random.default_rng(seed).integers(len(self.alphabet), size=(_POPULATION, self.length))
        letters = np.array(list(self.alphabet))
        texts = ["".join(row) for row in letters[drawn]]
        return pd.DataFrame({"id": [f"string:{i}" for i in range(_POPULATION)], "text": texts, "group": "random"})
