"""Charts of a page as plain numbers: the page draws them itself, so that they can be pointed at."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

Style = Literal["line", "dashed", "dotted", "points", "bars"]


@dataclass(frozen=True)
class Series:
    """One curve, or cloud of points: `y` against `x`, with an interval `low` to `high` where one is known; NaN leaves a gap.

    `labels` say what each point is, beside its x.
    """

    name: str
    x: Iterable[SupportsFloat]
    y: Iterable[SupportsFloat | None]
    low: Iterable[SupportsFloat | None] | None = None
    high: Iterable[SupportsFloat | None] | None = None
    style: Style = "line"
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Chart:
    """Curves over one axis. `ticks` names the places 0, 1, 2, ... of an axis of names; without, x is a number.

    `rules` are values of y to draw a line at (0, chance), `equal` draws the line of equal x and y, `note` says how to read it.
    `logarithmic`, where all y are above 0: the y axis is; an interval that reaches 0 is drawn to the foot of the chart.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    ticks: Sequence[str] | None = None
    rules: Sequence[SupportsFloat] = ()
    equal: bool = False
    note: str = ""
    logarithmic: bool = False

    def plain(self) -> dict[str, Any]:
        """The chart as the page's script reads it."""
        if self.logarithmic and any(value <= 0 for one in self.series for value in _numbers(one.y)):
            raise ValueError(f"{self.title}: a logarithmic axis has no place for values of 0 or below")
        return {
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "ticks": None if self.ticks is None else list(self.ticks),
            "rules": [float(value) for value in self.rules],
            "equal": self.equal,
            "note": self.note,
            "logarithmic": self.logarithmic,
            "series": [
                {
                    "name": one.name,
                    "style": one.style,
                    "x": _numbers(one.x),
                    "y": _numbers(one.y),
                    "low": None if one.low is None else _numbers(one.low),
                    "high": None if one.high is None else _numbers(one.high),
                    "labels": None if one.labels is None else list(one.labels),
                }
                for one in self.series
            ],
        }


def _numbers(values: Iterable[SupportsFloat | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
