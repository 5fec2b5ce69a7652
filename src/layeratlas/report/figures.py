"""Pictures of saved results."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # a compute node has no display

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.files.atomic import replacing
from layeratlas.report.fonts import of_every_script
from layeratlas.report.panels import headed
from layeratlas.report.views import View, of_run
from layeratlas.runs.reading import Run

logger = logging.getLogger(__name__)

_TICKS = 10
_CELL = 0.16  # inches of a layer, or less where there are many
_MATRIX = (2.9, 5.9)  # inches across and up at most: the picture can be read at the width of a paper's column
_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"dpi": 200},
    ".pdf": {"metadata": {"CreationDate": None}},
}  # undated: the same again


def possible(run: Run, *, texts: bool = True) -> list[View]:
    """The pictures that the run has numbers for: its matrix, and what its analyses found; `texts=False`: none that quotes any."""
    return [View("affinity", [], affinity_figure), *(view for view in of_run(run) if texts or not view.texts)]


def lacking(run: Run, *, texts: bool = True) -> list[View]:
    """Those of which a file is missing or empty: the run was killed before they were drawn, or the disk was full."""
    return [view for view in possible(run, texts=texts) if not all(map(_drawn, _files(run.folder / "figures", view.name)))]


def _drawn(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def draw(run: Run, views: Sequence[View]) -> None:
    """These pictures, as .png and .pdf. One that cannot be drawn is logged and costs no other."""
    for view in views:
        try:
            save(view.figure(run), run.folder / "figures", view.name)
        except OSError as error:
            logger.warning("%s; the numbers are complete, and the same command draws what is missing", unwritten(run.folder, error))
            return  # nothing else can be written there
        except Exception:
            logger.exception("figures: %s is not drawn; the numbers in %s are complete", view.name, run.folder)


def affinity_figure(run: Run) -> Figure:
    """Heat map of the affinity matrix, with the best match of each row and column."""
    result, matrix = run.result, run.affinity
    rows, columns = matrix.shape
    cell = min(_CELL, _MATRIX[0] / columns, _MATRIX[1] / rows)
    figure, axes = plt.subplots(figsize=(max(4.6, 2.8 + cell * columns), 2.1 + cell * rows), layout="constrained")
    cells = matrix.to_numpy()
    low, high = min(0.0, float(np.nanmin(cells))), max(float(np.nanmax(cells)), 1e-9)
    sns.heatmap(
        cells,
        ax=axes,
        vmin=low,
        vmax=high,
        cmap="viridis",
        xticklabels=False,  # seaborn would draw the picture to see whether they overlap
        yticklabels=False,
        cbar_kws={"label": f"{result['metric']['name']} (larger = more alike)", "shrink": 0.8},
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_xticks(*_ticks(matrix.columns))
    axes.set_yticks(*_ticks(matrix.index))
    _best_matches(axes, cells, (cell / _CELL) ** 2)
    axes.set(xlabel=_side(result["b"]), ylabel=_side(result["a"]))
    axes.set_title(caption(result, run.arrays["chance"]), fontsize="small")
    headed(figure, sentence_of(result))
    figure.legend(loc="outside lower center", fontsize="small", frameon=False, ncols=2)
    return figure


def sentence_of(result: dict[str, Any]) -> str:
    """The headline in words."""
    return result["headline"].get("sentence", "")


def _best_matches(axes: Axes, matrix: np.ndarray, scale: float) -> None:
    """White dots and black rings: they are told apart, and seen on every colour."""
    rows, columns = (np.arange(size) + 0.5 for size in matrix.shape)
    dots = {"facecolors": "white", "edgecolors": "black", "linewidths": 0.5}
    rings = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.0}
    axes.scatter(matrix.argmax(axis=1) + 0.5, rows, s=max(2, 9 * scale), label="best match of each row", **dots)
    axes.scatter(columns, matrix.argmax(axis=0) + 0.5, s=max(7, 30 * scale), label="best match of each column", **rings)


def _ticks(layers: pd.Index) -> tuple[np.ndarray, list[str]]:
    """At most ten of the layers by name, each in the middle of its cell."""
    shown = np.arange(0, len(layers), math.ceil(len(layers) / _TICKS))
    return shown + 0.5, [layer.removeprefix("block_") for layer in layers[shown]]


def _side(side: dict[str, Any]) -> str:
    return f"{name_of(side)} · block"


def name_of(side: dict[str, Any]) -> str:
    return f"{side['model']} · {side['language']}" if side["language"] else side["model"]


def caption(result: dict[str, Any], chance: np.ndarray) -> str:
    dataset = result["dataset"]
    return captioned(result["metric"], [dataset["name"]], dataset["n"], result["pooling"], chance)


def captioned(metric: dict[str, Any], texts: Sequence[str | None], n: Any, pooling: str | None, chance: np.ndarray) -> str:
    """What a picture shows, in two lines, without what nobody knows of a matrix that was imported."""
    k = None if metric["k"] is None else f"k = {metric['k']}"
    estimator = ", ".join(filter(None, (metric["estimator"], k)))
    known = (*texts, f"n = {n}" if n else None, f"pooling {pooling}" if pooling else None)
    settings = ", ".join(filter(None, (*known, f"chance {spread_of(chance, '{:.3g}'.format)}")))
    return f"{metric['name']}{f' ({estimator})' if estimator else ''}\n{settings}"


def spread_of(values: np.ndarray, number: Callable[[float], str]) -> str:
    """The smallest and the largest of some numbers, one where they are the same."""
    if not np.isfinite(values).all():
        return "unknown"
    low, high = number(float(values.min())), number(float(values.max()))
    return low if np.ptp(values) < 1e-9 else f"{low} to {high}"


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture as .png and .pdf, each whole or not at all."""
    try:
        folder.mkdir(exist_ok=True)
        figure.set_dpi(_OPTIONS[".png"]["dpi"])  # letters of fewer pixels are narrower, and would be cut
        with of_every_script(figure):
            figure.draw_without_rendering()  # the layout, once for both files
            figure.set_layout_engine(None)
            for file in _files(folder, name):
                with replacing(file) as unfinished:
                    figure.savefig(unfinished, **_OPTIONS[file.suffix])
    finally:
        plt.close(figure)


def _files(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{suffix}" for suffix in (".png", ".pdf")]


def unwritten(folder: Path, error: OSError) -> str:
    return f"figures: they cannot be written into {folder} ({error.strerror or error})"
