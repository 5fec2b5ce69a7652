"""A user's own texts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped


@dataclass(frozen=True, kw_only=True)
class Local(AbstractCorpus):
    """A .jsonl, .csv, .tsv or .parquet file with a column of ids, and a .txt file with one text a line.

    The text of a language is the column named as its code (one row then holds an item's translations), or else the column
    `field_a` / `field_b`. `group_column` names what items belong together (document, category); null if nothing does. A
    column `de_span` (or `text_span`) holds the words of each text that pooling=span is to pool.
    """

    path: str
    id_column: str
    group_column: str | None

    @property
    def name(self) -> str:
        return Path(self.path).stem

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        table = _read(Path(self.path).expanduser())
        own = {self.id_column, self.group_column}  # `id` is also Indonesian
        column = language.code if field == "text" and language.code in set(table.columns) - own else field
        group = [self.group_column] if self.group_column else []
        if missing := [c for c in [self.id_column, column, *group] if c not in table.columns]:
            untranslated = column == "text" and "text" in missing
            wanted = f"{language} (the language) or text" if untranslated else ", ".join(missing)
            told = f"dataset.path={self.path}: no column {wanted}; columns are {', '.join(map(str, table.columns))}"
            raise Skipped(told) if untranslated else ConfigError(told)
        if (nameless := table[self.id_column].isna()).any():
            raise ConfigError(f"dataset.path={self.path}: {nameless.sum()} items have no id in column {self.id_column}")
        if not (strings := table[column].dropna().map(lambda value: isinstance(value, str))).all():
            raise ConfigError(f"dataset.path={self.path}: {(~strings).sum()} texts in column {column} are no strings")
        items = pd.DataFrame(
            {
                "id": table[self.id_column].astype(str),
                "text": table[column],
                "group": table[self.group_column].astype(str) if self.group_column else "all",
            }
        )
        marked = f"{column}_span"
        return items.assign(**self._spans(items["text"], table[marked])) if marked in table.columns else items

    def _spans(self, texts: pd.Series, marked: pd.Series) -> dict[str, list[int]]:
        """Where in each text its marked words stand; they must stand there exactly once."""
        for text, words in zip(texts, marked, strict=True):
            if not isinstance(words, str) or not words or str(text).count(words) != 1:
                raise ConfigError(f"dataset.path={self.path}: the span {words!r} must stand once in the text {str(text)[:60]!r}")
        starts = [text.index(words) for text, words in zip(texts, marked, strict=True)]
        return {"span_start": starts, "span_end": [start + len(words) for start, words in zip(starts, marked, strict=True)]}


def _read_lines(path: Path) -> pd.DataFrame:
    lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    return pd.DataFrame({"id": [str(i) for i in range(len(lines))], "text": lines}, dtype=str)


def _read_table(path: Path, separator: str) -> pd.DataFrame:
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".txt": _read_lines,
    ".csv": lambda path: _read_table(path, ","),
    ".tsv": lambda path: _read_table(path, "\t"),
    ".jsonl": lambda path: pd.read_json(path, encoding="utf-8-sig", lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in _READERS:
        raise ConfigError(f"dataset.path={path}: expected a file ending in {', '.join(_READERS)}")
    try:
        return _READERS[path.suffix](path)
    except FileNotFoundError:
        raise ConfigError(f"dataset.path={path}: no such file") from None
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for malformed files
        raise ConfigError(f"dataset.path={path}: cannot be read ({str(error).splitlines()[0]})") from error
