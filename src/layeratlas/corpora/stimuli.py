"""Texts that the project wrote itself; stimuli/README.md says what they are and how they were checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus, english_only
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped

_FOLDER = Path(__file__).with_name("stimuli")
_OPTIONS = "ABCD"


@dataclass(frozen=True, kw_only=True)
class Stimuli(AbstractCorpus):
    """A bundled set in the wide format of `Local`: a row is an item, a column a language, `de_span` the marked words of `de`.

    Sets of pairs are in English and have two fields in place of languages. `groups` are the groups of items to keep (null:
    all). `prompt` shapes the text: {text} stands for the sentence or question, {A} to {D} for the options of a question.
    """

    stimuli: str
    groups: Sequence[str] | None = None
    prompt: str = "{text}"

    @property
    def name(self) -> str:
        return self.stimuli

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        table = self._chosen(_read(self.stimuli))
        column = self._column(table, language, field)
        parts = {"text": column} | {o: f"{column}_{o}" for o in _OPTIONS if f"{column}_{o}" in table.columns}
        rows = table[list(parts.values())].set_axis(list(parts), axis=1).to_dict("records")
        items = pd.DataFrame({"id": table["id"], "text": [self._fill(row) for row in rows], "group": table["group"]})
        marked = f"{column}_span"
        return items.assign(**_spans(items["text"], table[marked])) if marked in table.columns else items

    def _chosen(self, table: pd.DataFrame) -> pd.DataFrame:
        known = table["group"].unique().tolist()
        if unknown := [group for group in self.groups or () if group not in known]:
            raise ConfigError(f"dataset.groups: dataset {self.name} has {', '.join(known)}; got {', '.join(unknown)}")
        return table if self.groups is None else table[table["group"].isin(self.groups)]

    def _column(self, table: pd.DataFrame, language: Language, field: str) -> str:
        texts = _text_columns(table)
        if "en" in texts and field == "text":
            if language.code not in texts:
                raise Skipped(f"language: dataset {self.name} has {', '.join(texts)}; got {language.code}")
            return language.code
        if "en" in texts:
            texts = ["text"]
        else:
            english_only(self, language)
        if field not in texts:
            raise ConfigError(f"dataset.field_a/field_b: dataset {self.name} has {', '.join(texts)}; got {field}")
        return field

    def _fill(self, parts: dict) -> str:
        try:
            return self.prompt.format_map(parts)
        except (KeyError, ValueError, IndexError) as error:
            known = " ".join(f"{{{part}}}" for part in parts)
            raise ConfigError(f"dataset.prompt={self.prompt!r}: dataset {self.name} knows {known}; got {error}") from None


def _read(name: str) -> pd.DataFrame:
    sets = sorted(path.stem for path in _FOLDER.glob("*.jsonl"))
    if name not in sets:
        raise ConfigError(f"dataset.stimuli: expected {', '.join(sets)}; got {name}")
    return pd.read_json(_FOLDER / f"{name}.jsonl", lines=True, dtype=False, encoding="utf-8")


def _text_columns(table: pd.DataFrame) -> list[str]:
    beside = tuple(f"_{part}" for part in ("span", *_OPTIONS))
    return [column for column in table.columns if column not in {"id", "group", "answer"} and not column.endswith(beside)]


def _spans(texts: pd.Series, marked: pd.Series) -> dict[str, list[int]]:
    starts = [text.index(words) for text, words in zip(texts, marked, strict=True)]
    return {"span_start": starts, "span_end": [start + len(words) for start, words in zip(starts, marked, strict=True)]}
