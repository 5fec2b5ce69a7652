"""Which pictures show which analysis and which study: the one list, made of the files of report/analyses and report/studies.

The module of an analysis `x` is `layeratlas.report.analyses.x`, that of a study `layeratlas.report.studies.x`; those of a user's
own name theirs in `views`. A module has a list VIEWS, of each `View` of the analysis and each `SweepView` of the study.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart
from layeratlas.runs.reading import Run


@dataclass(frozen=True)
class View:
    """One picture of a run, `figures/<name>.png` and `.pdf`, which reads these of the run's `tables`.

    `charts` are the same as the run's page draws them; without, the page shows the picture. `texts`: the picture quotes texts, and
    is left out with them (report.texts=false).
    """

    name: str
    tables: Sequence[str]
    figure: Callable[[Run], Figure]
    charts: Callable[[Run], Sequence[Chart]] | None = None
    texts: bool = False


@dataclass(frozen=True)
class SweepView:
    """Pictures of a sweep: `figures(sweep, tables)` yields each with its path below `figures/`, without suffix.

    `charts(tables)` are what the sweep's page draws itself, so that it can be pointed at; the pictures stand folded beside them.
    `sweep` is a `layeratlas.studies.Sweep`, whose statistics a page of one run need not import; `tables` are those of the study by
    the names of their files, as the study wrote them.
    """

    figures: Callable[[Any, Mapping[str, pd.DataFrame]], Iterable[tuple[str, Figure]]]
    charts: Callable[[Mapping[str, pd.DataFrame]], Iterable[Chart]] | None = None


AnyView = TypeVar("AnyView", View, SweepView)


def of_run(run: Run) -> list[View]:
    """Every view of the run's analyses that the run has the tables for."""
    return [view for name in run.result["analyses"] for view in of_analysis(run, name)]


def of_analysis(run: Run, name: str) -> list[View]:
    """The views of one of the run's analyses that the run has the tables for."""
    views = _views("analyses", name, run.result["analyses"][name].get("views"), View)
    return [view for view in views if set(view.tables) <= set(run.tables)]


def of_study(name: str, module: str | None) -> list[SweepView]:
    """The views of a study of this name; `module` is the one that it names, if it names one."""
    return _views("studies", name, module, SweepView)


def _views(kind: str, name: str, module: str | None, type_of_view: type[AnyView]) -> list[AnyView]:
    place = module or f"{__package__}.{kind}.{name}"
    if module is None and (not name.isidentifier() or importlib.util.find_spec(place) is None):
        return []  # an analysis of numbers alone
    return [view for view in importlib.import_module(place).VIEWS if isinstance(view, type_of_view)]
