"""Datasets of the Hugging Face hub, or copies of them in a local folder: plain data files, no code of theirs is run."""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.corpora.base import AbstractCorpus
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped
from layeratlas.files.paths import expanded

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubCorpus(AbstractCorpus):
    """A dataset with a row per item.

    `config` names the configuration that holds a language, as `{code}`, `{flores}` or a fixed name; `languages` are those of
    a fixed one, null where each language has its own. A side's text is made of the columns `prompt`, one below the other, or is
    the column `field_a` / `field_b`. An item's id is made of `id_columns`, or is the number of its row.
    `shuffle` is the seed of the published sample, which is then drawn again in its order; null draws like everywhere else.
    `mirror` is a folder that is searched for OWNER/NAME before the hub is asked.
    """

    id: str
    revision: str
    config: str | None
    split: str
    languages: Sequence[str] | None
    prompt: Sequence[str]
    id_columns: Sequence[str]
    group_column: str | None
    shuffle: int | None
    mirror: str | None = None

    @property
    def name(self) -> str:
        return self.id.rsplit("/", 1)[-1].lower()

    @property
    def ordered(self) -> bool:
        return self.shuffle is not None

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        items = self._items(self._rows(language, field), field)
        return items if self.shuffle is None else items.iloc[published_order(len(items), self.shuffle)]

    def source(self, language: Language) -> dict[str, Any] | None:
        config, commit = self._config(language), self._builder(language).hash
        named = commit if _COMMIT.fullmatch(str(commit)) and self._location == self.id else None
        return {"id": self.id, "config": config, "split": self.split, "revision": self.revision, "commit": named}

    @property
    def _location(self) -> str:
        folder = expanded(self.mirror) / self.id if self.mirror else None
        return str(folder) if folder and folder.is_dir() else self.id

    def _config(self, language: Language) -> str | None:
        """The configuration that holds a language."""
        if self.languages is not None and language.code not in self.languages:
            raise Skipped(f"language: dataset {self.name} has only {', '.join(self.languages)}; got {language}")
        if self.config is None:
            return None
        if "{flores}" in self.config and not language.flores:
            raise Skipped(f"language: dataset {self.name} goes by FLORES codes, and {language} has none (flores: in its file)")
        return self.config.format(code=language.code, flores=language.flores)

    def _builder(self, language: Language) -> Any:
        with self._explained(language):
            return _builder(self._location, self._config(language), self.revision)

    def _dataset(self, language: Language) -> Any:
        builder = self._builder(language)
        with self._explained(language):
            return _dataset(builder, self.split)

    def _rows(self, language: Language, field: str) -> pd.DataFrame:
        """The columns that items are made of; numbers of rows are the index."""
        dataset, columns = self._dataset(language), self._columns(field)
        self._require(columns, dataset.column_names)
        rows = dataset.select_columns(list(dict.fromkeys(columns))).to_pandas()
        named = {name: feature.int2str(rows[name]) for name, feature in dataset.features.items() if _labels(feature, name, rows)}
        return rows.assign(**named)

    def _require(self, columns: Sequence[str], available: Sequence[str]) -> None:
        if missing := [column for column in columns if column not in available]:
            raise ConfigError(f"dataset {self.name}: no column {', '.join(missing)}; columns are {', '.join(available)}")

    def _columns(self, field: str) -> list[str]:
        return [*self._of_text(field), *self.id_columns, *([self.group_column] if self.group_column else [])]

    def _of_text(self, field: str) -> list[str]:
        """Columns that a text is made of."""
        return list(self.prompt) if field == "text" else [field]

    def _items(self, rows: pd.DataFrame, field: str) -> pd.DataFrame:
        numbered = rows.index.astype(str)
        return pd.DataFrame(
            {
                "id": rows[list(self.id_columns)].astype(str).agg(":".join, axis=1) if self.id_columns else numbered,
                "text": [self._text(row, field) for row in rows.to_dict("records")],
                "group": rows[self.group_column].astype(str) if self.group_column else "all",
            }
        )

    def _text(self, row: Mapping[Any, Any], field: str) -> str | None:
        """None if a part of the text is missing."""
        parts = [row[column] for column in self._of_text(field)]
        return "\n".join(parts) if all(isinstance(part, str) for part in parts) else None

    def _out_of_reach(self, language: Language) -> ConfigError:
        elsewhere = f", nor in dataset.mirror={self.mirror}" if self.mirror else ""
        return ConfigError(
            f"dataset {self.id} ({language}): not on this machine{elsewhere}, and the hub cannot be reached;"
            " run stage=prefetch where there is a network, or set dataset.mirror=DIR with the files in DIR/OWNER/NAME"
        )

    @contextmanager
    def _explained(self, language: Language) -> Iterator[None]:
        from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

        place = f"{self.id} at revision {self.revision}" if self._location == self.id else self._location
        try:
            yield
        except ConfigError:
            raise
        except DatasetNotFoundError as error:
            if "gated" in str(error):
                remedy = "accept its terms on its hub page and set HF_TOKEN or run `hf auth login`"
                raise ConfigError(f"dataset {self.id}: access is restricted; {remedy}") from None
            raise ConfigError(f"dataset {place}: {_first_line(error)}") from None
        except ConnectionError:
            raise self._out_of_reach(language) from None
        except ValueError as error:  # what `datasets` raises for unknown configurations and splits
            available = re.search(r"\[(.*?)\]", str(error))
            if "in the cache" in str(error):
                raise self._out_of_reach(language) from None
            if "onfig" in str(error) and available:
                at_hand = available[1].replace("'", "")
                raise Skipped(
                    f"language: dataset {self.name} lacks {language} ({self._config(language)}); it has {at_hand}"
                ) from None
            raise ConfigError(f"dataset {place}: {' '.join(str(error).split())}") from error
        except (OSError, DatasetGenerationError) as error:
            raise ConfigError(f"dataset {place}: cannot be read ({_first_line(error.__cause__ or error)})") from error


def _labels(feature: Any, name: str, rows: pd.DataFrame) -> bool:
    """Whether a column holds numbers that stand for names."""
    return name in rows and hasattr(feature, "int2str")


def bars_on_terminals_only() -> None:
    from datasets import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


def published_order(n: int, seed: int) -> np.ndarray:
    """The order of rows that `Dataset.shuffle(seed)` of Hugging Face gives."""
    return np.random.default_rng(seed).permutation(n)


@cache
def _builder(location: str, config: str | None, revision: str) -> Any:
    from datasets import load_dataset_builder

    bars_on_terminals_only()
    local = Path(location).is_dir()
    builder = load_dataset_builder(location, config, revision=None if local else revision)
    if not local and _COMMIT.fullmatch(revision) and builder.hash != revision:
        raise ConnectionError(f"this machine has commit {builder.hash}")  # without a network, any commit would be taken
    return builder


@cache
def _dataset(builder: Any, split: str) -> Any:
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
