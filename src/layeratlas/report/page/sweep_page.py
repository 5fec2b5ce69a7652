"""The page of a sweep: `report.html` in the folder of its summary."""

import base64
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup

from layeratlas.files.inert import inert
from layeratlas.report.page.histograms import histograms
from layeratlas.report.page.packing import packed, table
from layeratlas.report.page.projector import projections
from layeratlas.report.page.rendering import PAGE, write_page
from layeratlas.report.page.wording import in_short, rows_of
from layeratlas.report.views import of_study
from layeratlas.runs.reading import Run
from layeratlas.studies import Sweep

logger = logging.getLogger(__name__)

ROWS = 2_000  # of a study's table that the page holds; the others are in its file
_PICTURES = 3_000_000  # bytes of pictures on a page; the others are in figures/
_TABLES = 20_000  # rows of all tables together
_SAID = 3  # sentences of studies above the table
_CHARTS = 24  # of a study; more are in its table, and in figures/
_STEPS = 2**16 - 1  # of a matrix between its smallest and its largest value
_SCRIPTS = (
    "data.js",
    "colours.js",
    "controls.js",
    "table.js",
    "chart.js",
    "matrix.js",
    "overlay.js",
    "space.js",
    "projector.js",
    "histograms.js",
    "sweep.js",
)
_FIRST = ("sweep", "job", "side_a", "side_b", "dataset", "metric", "value", "ci_low", "ci_high", "p", "p_holm")
_THEN = ("chance", "headline", "n", "pooling", "k", "warnings")
_GROUPS = ("model_a", "model_b", "language_a", "language_b", "dataset", "metric", "pooling", "n")


@dataclass(frozen=True)
class Answer:
    """What a study left: its tables by the names of their files, what it says, and the module of its views if it names one."""

    tables: Mapping[str, pd.DataFrame]
    record: Mapping[str, Any]
    views: str | None = None


def write_sweep_page(sweep: Sweep, answers: Mapping[str, Answer], pictures: Mapping[str, Sequence[Path]], into: Path) -> Path:
    """Write the page. `pictures` are the files drawn of each condition and each study (`study NAME`), by these titles."""
    tables = {name: content for answer in answers.values() for name, content in answer.tables.items()}
    most = min(ROWS, _TABLES // max(1, len(tables)))
    data = {
        "runs": _runs(sweep, into),
        "groups": _groups(sweep),
        "matrices": _matrices(sweep.runs),
        "swaps": [_swap(run) for run in sweep.runs],
        "projections": projections(tables),
        "histograms": histograms(sweep.runs),
        "tables": [table(name, content, most) for name, content in tables.items()],
        "charts": {name: _charts(name, answer) for name, answer in answers.items()},
    }
    paired = data["histograms"] is not None
    drawn = {name for name, charts in data["charts"].items() if charts}
    return write_page(
        into,
        "sweep.html",
        _SCRIPTS,
        _filled(sweep, answers, pictures, into, drawn) | {"paired": paired} | {"data": Markup(packed(data))},
    )


def _charts(name: str, answer: Answer) -> list[dict[str, Any]]:
    """Those of a study, the first of them where there are very many; where one cannot be made, the study shows its pictures."""
    try:
        drawings = [view.charts(answer.tables) for view in of_study(name, answer.views) if view.charts]
        return [chart.plain() for drawing in drawings for chart in islice(drawing, _CHARTS)]
    except Exception:
        logger.exception("report: the charts of the study %s are not drawn; its pictures are shown", name)
        return []


def _filled(
    sweep: Sweep, answers: Mapping[str, Answer], pictures: Mapping[str, Sequence[Path]], into: Path, drawn: Collection[str]
) -> dict[str, Any]:
    shown = _Pictures(into)
    studies = [
        {
            "name": name,
            "sentences": list(answer.record.get("sentences") or []),
            "warnings": answer.record.get("warnings") or [],
            "charts": name in drawn,
            "pictures": list(shown.of(pictures.get(f"study {name}", []))),
            "tables": list(answer.tables),
            "numbers": list(rows_of(answer.record.get("numbers") or {})),
        }
        for name, answer in answers.items()
    ]
    alpha = _alpha(sweep.runs)
    sentences = [one for study in studies for one in study["sentences"]] or in_short(sweep.table, alpha)
    conditions = [
        {"name": title, "pictures": list(shown.of(files))} for title, files in pictures.items() if not title.startswith("study ")
    ]
    return {
        "title": f"Sweep {inert(into.name)}: {len(sweep)} runs",
        "setting": _setting(sweep.table),
        "alpha": alpha,
        "sentences": sentences[:_SAID],
        "more": len(sentences[_SAID:]),
        "studies": studies,
        "conditions": conditions,
        "projected": any("joint_points" in answer.tables for answer in answers.values()),
    }


def _setting(rows: pd.DataFrame) -> str:
    """What the runs share and what they differ in."""
    models = sorted({*rows["model_a"], *rows["model_b"]})
    languages = sorted({*rows["language_a"], *rows["language_b"]})
    kinds = {"model": models, "language": languages} | {
        key: sorted(map(str, set(rows[key]))) for key in ("dataset", "metric", "pooling")
    }
    return "; ".join(f"{key if len(of) == 1 else f'{len(of)} {key}s'}: {_few(of)}" for key, of in kinds.items())


def _few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class _Pictures:
    """Those that a page has room for, in the order in which they are asked for; of the others it says where they lie."""

    def __init__(self, into: Path) -> None:
        self.into, self.room = into, _PICTURES

    def of(self, files: Sequence[Path]) -> Iterator[dict[str, Any]]:
        for file in files:
            size = file.stat().st_size if file.is_file() else 0
            held = 0 < size <= self.room
            self.room -= size if held else 0
            place = file.relative_to(self.into)
            yield {"name": str(place.with_suffix("")), "data": base64.b64encode(file.read_bytes()).decode() if held else None}


def _runs(sweep: Sweep, into: Path) -> dict[str, Any]:
    """The table of runs, with the place of each one's own page."""
    rows = sweep.table
    varied = [str(column) for column in rows if str(column).startswith("config.")]
    seen = rows[[column for column in (*_FIRST, *_THEN, *varied) if column in rows]]
    if seen["sweep"].nunique() == 1:
        seen = seen.drop(columns="sweep")
    made = table("runs", seen, len(seen))
    return made | {"pages": [_link(run, into) for run in sweep.runs]}


def _link(run: Run, into: Path) -> str | None:
    page = run.folder / PAGE
    return "./" + quote(os.path.relpath(page, into)) if page.is_file() else None


def _groups(sweep: Sweep) -> dict[str, list[str]]:
    """What curves can be coloured by: columns in which the runs differ."""
    return {key: [inert(str(value)) for value in sweep.table[key]] for key in _GROUPS if sweep.table[key].nunique() > 1}


def _matrices(runs: Sequence[Run]) -> dict[str, Any]:
    """All matrices one behind the other, in steps between the smallest and largest value of each, and which cells are not shown
    to be above chance; layers once for each side that has others.
    """
    layers: dict[str, int] = {}
    sides = [[layers.setdefault(_key(run, side), len(layers)) for side in "ab"] for run in runs]
    ends = np.array([[np.nanmin(run.arrays["affinity"]), np.nanmax(run.arrays["affinity"])] for run in runs]).reshape(-1, 2)
    return {
        "layers": [dict(zip(("names", "depth"), _parted(key), strict=True)) for key in layers],
        "a": [a for a, _ in sides],
        "b": [b for _, b in sides],
        "low": ends[:, 0].copy(),
        "high": ends[:, 1].copy(),
        "steps": _STEPS,
        "cells": np.concatenate([_stepped(run.arrays["affinity"], low, high) for run, (low, high) in zip(runs, ends, strict=True)]),
        "covered": np.concatenate([_covered(run) for run in runs]),
        "tested": [("p_fwer" in run.arrays) for run in runs],
    }


def _key(run: Run, side: str) -> str:
    names, depths = run.arrays[f"layers_{side}"], run.arrays[f"depth_{side}"]
    return "\n".join(f"{name}\t{depth!r}" for name, depth in zip(names.tolist(), depths.tolist(), strict=True))


def _parted(key: str) -> tuple[list[str], np.ndarray]:
    names, depths = zip(*(line.split("\t") for line in key.split("\n")), strict=True)
    return list(names), np.array([float(depth) for depth in depths])


def _stepped(matrix: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (matrix - low) / (high - low) if high > low else np.zeros_like(matrix)
    return np.round(np.nan_to_num(share) * _STEPS).astype("u2").ravel()


def _covered(run: Run) -> np.ndarray:
    """1 where the family-wise p is above the run's level."""
    p = run.arrays.get("p_fwer")
    size = run.arrays["affinity"].size
    return np.zeros(size, "u1") if p is None else (~(p <= _alpha([run]))).astype("u1").ravel()


def _alpha(runs: Sequence[Run]) -> float:
    config = runs[0].result.get("provenance", {}).get("config") or {}
    return float((config.get("statistics") or {}).get("alpha", 0.05))


def _swap(run: Run) -> dict[str, np.ndarray] | None:
    """The swap margin of each depth, where the run has it."""
    curve = ((run.result["statistics"].get("diagonal") or {}).get("swap") or {}).get("by_depth")
    return {key: np.array(curve[key], dtype="f4") for key in ("depth", "margin")} if curve else None
