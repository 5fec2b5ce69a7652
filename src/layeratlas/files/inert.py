"""Text from outside made harmless where people or spreadsheets read it: names may hold control characters or formulas."""

import re
import unicodedata
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they show a line in another order than it is written


def inert(text: str) -> str:
    """One line: control characters, line ends and marks that turn the direction of writing are shown as escapes."""
    return "".join(_shown(letter) if _active(letter) else letter for letter in text)


def _active(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") or letter in _DIRECTIONS


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


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
