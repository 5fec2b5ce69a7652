"""Runs in which one side is the other one's model with its residual stream edited, or without some of its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from layeratlas.runs.reading import Run

_EDIT = ("edit", "edit_blocks", "edit_positions", "skip_blocks")
_NLL = "nll_per_token"
SKIPPED = "skipped"


@dataclass(frozen=True)
class EditedRun:
    """A run whose side `side` is edited or lacks blocks; `random` is what the names of draws of a control hold."""

    run: Run
    side: str
    random: str

    @property
    def other(self) -> str:
        return "b" if self.side == "a" else "a"

    @property
    def config(self) -> dict[str, Any]:
        return model_of(self.run, self.side)

    @property
    def is_edit(self) -> bool:
        return bool(self.config.get("edit"))

    @cached_property
    def header(self) -> dict[str, Any]:
        """What the file of edits says of itself, by the run's result; {} where it says nothing."""
        return self.run.result[self.side].get("edit") or {}

    @property
    def what(self) -> str:
        """The name of the edit: its own, or that of its file."""
        return str(self.header.get("what") or PurePath(self.config["edit"]).stem) if self.is_edit else SKIPPED

    @property
    def matched(self) -> str | None:
        """What a draw of a control has in common with what it stands beside: `rank`, `length` or `energy`; None for all others."""
        if not self.is_edit:
            return None
        named = "rank" if re.search(self.random, self.what) else None
        return self.header.get("matched") or (named if self.header.get("rank") is None else None)

    @property
    def blocks(self) -> list[int] | None:
        """The blocks that are edited or skipped; None: all that the file holds."""
        chosen = self.config.get("edit_blocks") if self.is_edit else self.config.get("skip_blocks")
        return None if chosen is None else sorted(set(chosen))

    @property
    def depth(self) -> float:
        """That of the last of these blocks, by the layers of the model as it is; NaN where it is not known."""
        layers = self.run.arrays.get(f"layers_{self.other}")
        if not self.blocks or layers is None:
            return float("nan")
        depths = dict(zip(map(str, layers), self.run.arrays[f"depth_{self.other}"].tolist(), strict=True))
        return float(depths.get(f"block_{self.blocks[-1]}", np.nan))

    @property
    def scored(self) -> bool:
        return f"{_NLL}_{self.side}" in self.run.table("items")

    @cached_property
    def change(self) -> Float[np.ndarray, " n"]:
        """Of each text, nats per token more than without the edit; NaN where a likelihood is not finite."""
        items = self.run.table("items")
        change = (items[f"{_NLL}_{self.side}"] - items[f"{_NLL}_{self.other}"]).to_numpy(float)
        return np.where(np.isfinite(change), change, np.nan)

    @property
    def row(self) -> dict[str, Any]:
        """What tells it from other runs of an edited model."""
        edited = self.is_edit
        return {
            "job": self.run.folder.name,
            "model": plain_name(self.config),
            "dataset": self.run.result["dataset"]["name"],
            "language": self.run.result[self.side]["language"],
            "control": self.run.result[self.side]["control"] or "",
            "edit": self.what,
            "is_control": self.matched is not None,
            "matched": self.matched,
            "control_of": self.header.get("control_of"),
            "rank": self.header.get("rank"),
            "blocks": "all" if self.blocks is None else ",".join(map(str, self.blocks)),
            "depth": self.depth,
            "positions": self.config.get("edit_positions", "all") if edited else "",
        }


def model_of(run: Run, side: str) -> dict[str, Any]:
    """A side's model as the run's config names it."""
    return run.result["provenance"]["config"][f"model_{side}"]


def edited_runs(runs: Iterable[Run], random: str) -> list[EditedRun]:
    """Those in which exactly one side is edited or lacks blocks, and both read the same texts with the same weights."""
    sides = [(run, edited_side(run)) for run in runs]
    return [EditedRun(run, side, random) for run, side in sides if side]


def edited_side(run: Run) -> str | None:
    models = {side: model_of(run, side) for side in "ab"}
    if unedited(models["a"]) != unedited(models["b"]) or not run.result["dataset"]["same_texts"]:
        return None
    changed = [side for side, model in models.items() if model.get("edit") or model.get("skip_blocks")]
    return changed[0] if len(changed) == 1 else None


def unedited(model: dict[str, Any]) -> dict[str, Any]:
    """A model's config without what is done to it."""
    return {key: value for key, value in model.items() if key not in _EDIT}


def plain_name(model: dict[str, Any]) -> str:
    return str(model["id"]).rstrip("/").rsplit("/", 1)[-1]


def t_interval(values: Float[np.ndarray, " n"], level: float, least: int) -> dict[str, float]:
    """The mean of those that are defined, with Student's interval if there are `least` of them."""
    kept = values[np.isfinite(values)]
    n = len(kept)
    if not n:
        return dict.fromkeys(("value", "ci_low", "ci_high"), np.nan)
    mean = float(kept.mean())
    reach = float(stats.t.ppf((1 + level) / 2, n - 1) * kept.std(ddof=1) / np.sqrt(n)) if n >= least else np.nan
    return {"value": mean, "ci_low": mean - reach, "ci_high": mean + reach}
