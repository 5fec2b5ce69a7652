"""What every analysis is: a question put to one run's affinity matrix."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd

from layeratlas.affinity import Affinity


@dataclass(frozen=True)
class Headline:
    """The one number of a run, with what chance would give and how sure it is; None where that was not computed."""

    text: str
    value: float
    chance: float
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    attainable_p: float | None = None


@dataclass(frozen=True)
class Findings:
    """An analysis' results: `table` is saved as `<name>.parquet`, `statistics` and `summary` go into result.json."""

    table: pd.DataFrame
    statistics: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    headline: Headline | None = None


class AbstractAnalysis(abc.ABC):
    name: ClassVar[str]

    @abc.abstractmethod
    def __call__(self, affinity: Affinity) -> Findings:
        """Raises ValueError where the matrix cannot answer the question."""
