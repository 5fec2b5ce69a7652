"""Which pictures show which analysis and which study: the one list, made of the files of report/analyses and report/studies.

The module of an analysis `x` is `layeratlas.report.analyses.x`, that of a study `layeratlas.report.studies.x`; those of a user's
own name theirs in `views`. A module has a list VIEWS, of each `View` of the analysis and each `SweepView` of the study.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from layeratlas.runs.reading import Run
from layeratlas.studies import Sweep


@dataclass(frozen=True)
class View:
    """One picture of a run, `figures/<name>.png` and `.pdf`, which reads these of the run's `tables`."""

    name: str
    tables: Sequence[str]
    figure: Callable[[Run], Figure]


@dataclass(frozen=True)
class SweepView:
    """Pictures of a sweep: `figures(sweep, tables)` yields each with its path below `figures/`, without suffix.

    `tables` are those of the study by the names of their files, as the study wrote them.
    """

    figures: Callable[[Sweep, Mapping[str, pd.DataFrame]], Iterable[tuple[str, Figure]]]


AnyView = TypeVar("AnyView", View, SweepView)


def of_run(run: Run) -> list[View]:
    """Every view of the run's analyses that the run has the tables for."""
    found = [view for name, said in run.result["analyses"].items() for view in _views("analyses", name, said.get("views"), View)]
    return [view for view in found if set(view.tables) <= set(run.tables)]


def of_study(name: str, module: str | None) -> list[SweepView]:
    """The views of a study of this name; `module` is the one that it names, if it names one."""
    return _views("studies", name, module, SweepView)


def _views(kind: str, name: str, module: str | None, type_of_view: type[AnyView]) -> list[AnyView]:
    place = module or f"{__package__}.{kind}.{name}"
    if module is None and (not name.isidentifier() or importlib.util.find_spec(place) is None):
        return []  # an analysis of numbers alone
    return [view for view in importlib.import_module(place).VIEWS if isinstance(view, type_of_view)]
