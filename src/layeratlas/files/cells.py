"""Text from outside made harmless where spreadsheets read it: names may hold formulas."""

import re
from typing import Any

import pandas as pd

from layeratlas.files.inert import inert

_FORMULA = re.compile(r"[=+\-@\t\r\n]")


def inert_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table as a spreadsheet may open it: text that it would take for a formula begins with an apostrophe; numbers stay."""
    texts = [column for column in table.columns if table[column].map(lambda value: isinstance(value, str)).any()]
    cells = table.assign(**{column: table[column].map(_cell) for column in texts})
    return cells.rename(columns=_cell)


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    formula = _FORMULA.match(value) and not _number(value)
    return ("'" if formula else "") + inert(value)


def _number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None
