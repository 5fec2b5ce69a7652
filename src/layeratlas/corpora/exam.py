"""Questions with options, grouped by subject."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.corpora.hub import HubCorpus
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Exam(HubCorpus):
    """`options` are the columns that hold an item's answers, or one column with a list of them; `options` in the prompt
    stands for all of them, a line each, lettered from A. An answer that is missing leaves no gap.

    `tasks` are named lists of subjects (values of `group_column`); `task` is the one to draw from, null all there is.
    """

    options: Sequence[str]
    tasks: Mapping[str, Sequence[str]]
    task: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None and self.task not in self.tasks:
            raise ConfigError(f"dataset.task: expected null or one of {', '.join(self.tasks) or '(none)'}; got {self.task}")

    @property
    def name(self) -> str:
        return super().name + (f"-{self.task}" if self.task else "")

    def _rows(self, language: Language, field: str) -> pd.DataFrame:
        rows = super()._rows(language, field)
        if self.task is None:
            return self._lettered(rows)
        subjects = rows[self.group_column]
        if unknown := sorted(set(self.tasks[self.task]) - set(subjects)):
            known = ", ".join(sorted(set(subjects)))
            raise ConfigError(f"dataset.tasks.{self.task}: {self.id} has no subject {', '.join(unknown)}; it has {known}")
        return self._lettered(rows[subjects.isin(self.tasks[self.task])])

    def _columns(self, field: str) -> list[str]:
        plain = [column for column in super()._columns(field) if column != "options"]
        return [*plain, *self.options] if "options" in self._of_text(field) else plain

    def _text(self, row: Mapping[Any, Any], field: str) -> str | None:
        text = super()._text(row, field)
        return text and text.strip()

    def _lettered(self, rows: pd.DataFrame) -> pd.DataFrame:
        if not set(self.options) <= set(rows.columns):
            return rows
        answers = rows[list(self.options)].to_numpy()
        return rows.assign(options=[_lines(answer) for answer in answers])


def _lines(answers: Iterable[Any]) -> str:
    flat = [one for cell in answers for one in (cell if isinstance(cell, list | np.ndarray) else [cell])]
    given = [answer for answer in flat if isinstance(answer, str) and answer.strip()]
    return "\n".join(f"{letter}. {answer}" for letter, answer in zip(ascii_uppercase, given, strict=False))
