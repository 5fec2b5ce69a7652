"""A user's own texts."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus, require_file
from layeratlas.corpora.characters import is_visible
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped
from layeratlas.files.paths import expanded

_OF_LANGUAGES = ("language", "lang", "language_code", "lang_code", "locale")  # what a column that says the language is called


@dataclass(frozen=True, kw_only=True)
class Local(AbstractCorpus):
    """A .jsonl, .csv, .tsv or .parquet file with a column of ids, and a .txt file with one text a line.

    The text of a language is the column named as its code (one row then holds an item's translations), or else the column
    `field_a` / `field_b`; of a file with a row per item and language, `language_column` says the language of each row, by any
    of its codes. `group_column` names what items belong together (document, category); null if nothing does. A
    column `de_span` (or `text_span`) holds the words of each text that pooling=span is to pool. A text that is empty is
    refused, or left out by `leave_out_empty`: what a language lacks is then dropped by the join with the other side.
    """

    no_settings: ClassVar[frozenset[str]] = AbstractCorpus.no_settings | {"language_column", "leave_out_empty"}

    path: str
    id_column: str
    group_column: str | None
    language_column: str | None = None
    leave_out_empty: bool = False

    @property
    def name(self) -> str:
        return Path(self.path).stem

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        table = _read(expanded(self.path))
        column = self._column(table, language, field)
        self._require_columns(table, column, language)
        table = self._of_language(table, column, language)
        table = self._with_texts(table, column, language)
        items = pd.DataFrame(
            {
                "id": table[self.id_column].astype(str),
                "text": table[column],
                "group": table[self.group_column].astype(str) if self.group_column else "all",
            }
        )
        marked = f"{column}_span"
        return items.assign(**self._spans(items["text"], table[marked])) if marked in table.columns else items

    def _column(self, table: pd.DataFrame, language: Language, field: str) -> str:
        """Where the texts of a language stand."""
        own = {self.id_column, self.group_column}  # `id` is also Indonesian
        return language.code if field == "text" and language.code in set(table.columns) - own else field

    def _require_columns(self, table: pd.DataFrame, column: str, language: Language) -> None:
        """Raises Skipped where nothing but the language is lacking, and ConfigError for any other column."""
        wanted = [self.id_column, column, *(named for named in (self.group_column, self.language_column) if named)]
        if missing := [name for name in wanted if name not in table.columns]:
            untranslated = column == "text" and "text" in missing
            lacking = f"{language} (the language) or text" if untranslated else ", ".join(missing)
            message = f"dataset.path={self.path}: no column {lacking}; columns are {', '.join(map(str, table.columns))}"
            raise Skipped(message) if untranslated else ConfigError(message)

    def _of_language(self, table: pd.DataFrame, column: str, language: Language) -> pd.DataFrame:
        """The rows of one language; all of them where each column is of one language, or the whole file is."""
        if self.language_column is None:
            for named in (name for name in _OF_LANGUAGES if name in table.columns and column != language.code):
                if len(languages := table[named].dropna().unique()) > 1:
                    raise ConfigError(
                        f"dataset.path={self.path}: the rows are of {len(languages)} languages by their column {named}, and all"
                        f" would be read as {language}; dataset.language_column={named} reads those of each"
                    )
            return table
        said = table[self.language_column]
        rows = table[said.isin(language.codes)]
        if rows.empty:
            raise Skipped(
                f"dataset.path={self.path}: no row is of {language} by its column {self.language_column}, which holds"
                f" {', '.join(sorted(map(str, said.dropna().unique())))}"
            )
        return rows

    def _with_texts(self, table: pd.DataFrame, column: str, language: Language) -> pd.DataFrame:
        """The rows whose ids and texts can be used."""
        if (nameless := table[self.id_column].map(lambda name: pd.isna(name) or not str(name).strip())).any():
            raise ConfigError(f"dataset.path={self.path}: {nameless.sum()} items have no id in column {self.id_column}")
        if not (strings := table[column].dropna().map(lambda value: isinstance(value, str))).all():
            first = table[self.id_column][strings.index[~strings][0]]
            raise ConfigError(
                f"dataset.path={self.path}: {(~strings).sum()} texts in column {column} are no strings, first at id {first!r}"
            )
        empty = ~table[column].map(lambda text: isinstance(text, str) and is_visible(text))
        if empty.any() and not self.leave_out_empty:
            raise ConfigError(
                f"dataset.path={self.path}: {empty.sum()} empty texts in {language} (column {column}), first at id"
                f" {str(table[self.id_column][empty].iloc[0])!r}; dataset.leave_out_empty=true leaves such items out"
            )
        return table[~empty]

    def _spans(self, texts: pd.Series, marked: pd.Series) -> dict[str, list[int]]:
        """Where in each text its marked words stand; they must stand there exactly once."""
        for text, words in zip(texts, marked, strict=True):
            if not isinstance(words, str) or not words or str(text).count(words) != 1:
                raise ConfigError(f"dataset.path={self.path}: the span {words!r} must stand once in the text {str(text)[:60]!r}")
        starts = [text.index(words) for text, words in zip(texts, marked, strict=True)]
        return {"span_start": starts, "span_end": [start + len(words) for start, words in zip(starts, marked, strict=True)]}


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_lines(path: Path) -> pd.DataFrame:
    lines = [line for _, line in _lines(path)]
    return pd.DataFrame({"id": [str(i) for i in range(len(lines))], "text": lines}, dtype=str)


def _read_records(path: Path) -> pd.DataFrame:
    """A JSON object a line."""
    records = []
    for number, line in _lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is not JSON: {error.msg} (character {error.colno})") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no object {{...}}, but a {type(record).__name__}; a line holds one item")
        if _SURROGATE.search(line) and not _encodable(json.dumps(record, ensure_ascii=False)):
            raise ValueError(f"line {number} holds half of a surrogate pair, which is no character")
        records.append(record)
    return pd.DataFrame(records)


def _read_table(path: Path, separator: str) -> pd.DataFrame:
    """The first row names the columns; every other one has as many fields, all of them text."""
    csv.field_size_limit(2**31 - 1)  # a field may hold a book; by default it may not pass 128 KiB
    rows, names, begins = [], [], 1
    reader = csv.reader(io.StringIO("\n".join(line for _, line in _lines(path, blank=True))), delimiter=separator, strict=True)
    try:
        for row in reader:
            if names and row and len(row) != len(names):
                raise ValueError(f"line {begins} has {len(row)} fields; expected {len(names)} ({', '.join(names)})")
            if row and not names:
                names = row
            elif row:
                rows.append(row)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the row that begins in line {begins} is broken: {error}") from error
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two columns are called {twice[0]!r}")
    return pd.DataFrame(rows, columns=names, dtype=str)


def _lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1, those of nothing but blanks only if asked for."""
    for number, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            text = line.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number} is not UTF-8 (byte {error.start + 1})") from error
        if blank or text.strip():
            yield number, text


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".txt": _read_lines,
    ".csv": lambda path: _read_table(path, ","),
    ".tsv": lambda path: _read_table(path, "\t"),
    ".jsonl": _read_records,
    ".parquet": pd.read_parquet,
}


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in _READERS:
        raise ConfigError(f"dataset.path={path}: expected a file ending in {', '.join(_READERS)}")
    require_file(path)
    try:
        table = _READERS[path.suffix](path)
    except (ValueError, OSError) as error:  # what pyarrow raises for malformed files, and what is raised above
        raise ConfigError(f"dataset.path={path}: cannot be read ({str(error).splitlines()[0]})") from error
    if table.empty:
        raise ConfigError(f"dataset.path={path}: is empty; expected at least one item")
    return table
