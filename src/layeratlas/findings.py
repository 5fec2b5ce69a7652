"""What an analysis or a study answers. Apart from both, so that whoever reads finished work imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Headline:
    """The one number of a run, with what chance would give and how sure it is; None where that was not computed.

    `sided` is the kind of test that p is of: `two` for either direction, `one` for larger values alone.
    `sentence` says in words what was shown, or why there is no number; `caution` says what may not be concluded from it.
    """

    text: str
    value: float | None
    chance: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    attainable_p: float | None = None
    sided: str | None = None
    sentence: str = ""
    caution: str = ""


@dataclass(frozen=True)
class Tensors:
    """Arrays for other programs, as `NAME.safetensors`: `header` says as JSON, under the key `header`, what they are."""

    arrays: Mapping[str, np.ndarray]
    header: Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """An analysis' answer, or a study's.

    `table` is saved as `<name>.parquet`, each of `parts` as `<name>_<part>.parquet`, those of `others` under their own names;
    all are tidy. `numbers` go into result.json (a study's into studies.json); they may be nested. `tests` names those of them
    that are p-values, with dots for nesting (`swap.margin.p`): a sweep's summary corrects these, and no others. The smallest
    attainable value of `x.p` is called `x.attainable_p`. `ordered_tests` are those tests that were published with a correction
    over pairs in both orders. `sentences` say in words what was shown beside the headline. `tensors` are arrays for other programs,
    saved as `<name>_<key>.safetensors`, `documents` of a study JSON files of their own, `<key>.json`.
    """

    table: pd.DataFrame | None = None
    parts: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    tests: Sequence[str] = ()
    ordered_tests: Sequence[str] = ()
    headline: Headline | None = None
    sentences: Sequence[str] = ()
    warnings: Sequence[str] = ()
    others: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tensors: Mapping[str, Tensors] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses a test that is no number, which no sweep would correct."""
        for test in (*self.tests, *self.ordered_tests):
            value: Any = self.numbers
            for key in test.split("."):
                if not isinstance(value, Mapping) or key not in value:
                    raise TypeError(f"{test} is declared a test, and the findings have no such number")
                value = value[key]
            if not (value is None or isinstance(value, int | float)):
                raise TypeError(f"{test} is declared a test, and is no number but {type(value).__name__}")
        if undeclared := set(self.ordered_tests) - set(self.tests):
            raise TypeError(f"{', '.join(sorted(undeclared))}: a published test must be among the tests")

    def tables(self, name: str) -> dict[str, pd.DataFrame]:
        """Every table by the name of its file, for an analysis or a study of this name."""
        main = {} if self.table is None else {name: self.table}
        return main | {f"{name}_{part}": table for part, table in self.parts.items()} | dict(self.others)
