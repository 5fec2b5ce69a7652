"""Paths as people type them."""

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """`~` and `~/...` are in the home folder; any other name that begins with it is a name (`~notes.txt`)."""
    return Path(path).expanduser() if str(path) == "~" or str(path).startswith("~/") else Path(path)
