"""The texts that a page holds, and the neighbours of their items at every layer."""

from typing import Any

import numpy as np
import pandas as pd

from layeratlas.files.inert import shown_text
from layeratlas.runs.reading import Run

ITEMS = 512
_BYTES = 2_500_000  # of neighbour lists, before compression
_LONG, _SHORT = 1_500, 120  # characters of a chosen item's text, and of another one's
_WITH_SHORT = 4_096  # items, of which all are shown at least in short


def chosen_items(run: Run, lists: dict[str, np.ndarray] | None) -> np.ndarray:
    """Rows of items.parquet that the page shows, in order: all, or as many as its size allows, drawn by the run's seed."""
    n = run.result["dataset"]["n"]
    most = min(ITEMS, n)
    if lists:
        an_item = sum(layers.shape[0] * layers.shape[2] * 2 for layers in lists.values())
        most = min(most, max(1, _BYTES // an_item))
    rng = np.random.default_rng(run.result["provenance"]["config"]["seed"])
    return np.sort(rng.choice(n, most, replace=False))


def texts_of(run: Run, chosen: np.ndarray) -> dict[str, Any]:
    """`id` of every item, and of each side `text`, null where the page does not hold it. Long ones are cut, and say so."""
    items = run.table("items")
    same = run.result["dataset"]["same_texts"] and items["text_a"].equals(items["text_b"])
    return {
        "ids": [shown_text(str(one)) for one in items["id"]],
        "a": _shortened(items["text_a"], chosen),
        "b": None if same else _shortened(items["text_b"], chosen),
    }


def _shortened(texts: pd.Series, chosen: np.ndarray) -> list[str | None]:
    room = np.full(len(texts), _SHORT if len(texts) <= _WITH_SHORT else 0)
    room[chosen] = _LONG
    return [_cut(text, most) if most else None for text, most in zip(texts, room.tolist(), strict=True)]


def _cut(text: str, most: int) -> str:
    shown = shown_text(text[:most])
    return shown if len(text) <= most else f"{shown} … ({len(text):,} characters)"


def neighbours_of(lists: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, Any]:
    """Of each side, for each layer and chosen item in turn, the rows of its k nearest items, nearest first."""
    kind = "u2" if max(layers.shape[1] for layers in lists.values()) < 2**16 else "u4"
    return {
        "k": lists["a"].shape[2],
        **{side: layers[:, chosen].astype(kind).ravel() for side, layers in lists.items()},
    }
