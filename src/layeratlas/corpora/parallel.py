"""Translated texts whose layout on the hub is their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from layeratlas.corpora.hub import HubCorpus
from layeratlas.corpora.language import Language


@dataclass(frozen=True, kw_only=True)
class OpusBooks(HubCorpus):
    """Sentence pairs of books. The configuration is a pair of languages, the column `translation` holds both."""

    def _rows(self, language: Language, field: str) -> pd.DataFrame:
        rows = super()._rows(language, field)
        read = "translation" in rows  # unless a field of another column was asked for
        return rows.assign(translation=[both[language.code] for both in rows["translation"]]) if read else rows


@dataclass(frozen=True, kw_only=True)
class Flores(HubCorpus):
    """FLORES sentences. `renamed` gives the codes that differ from those of FLORES-200.

    `keywords` keeps the items whose English text contains any of these strings, in lower case and within words as well;
    `first` the first so many of them; null keeps all. The English text decides whatever the languages are.
    """

    renamed: Mapping[str, str]
    keywords: Sequence[str] | None
    first: int | None

    @property
    def name(self) -> str:
        return super().name + ("-keywords" if self.keywords else "")

    def _config(self, language: Language) -> str | None:
        return super()._config(replace(language, flores=self.renamed.get(language.flores, language.flores)))

    def _items(self, rows: pd.DataFrame, field: str) -> pd.DataFrame:
        items = super()._items(rows, field)
        if self.keywords is None:
            return items
        english = super()._items(self._rows(Language("en", flores="eng_Latn"), "text"), "text")
        about = [any(word in text.lower() for word in self.keywords) for text in english["text"]]
        return items[items["id"].isin(english["id"][about][: self.first])]
