"""Pictures of saved results."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
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
from layeratlas.runs.results import Run

logger = logging.getLogger(__name__)

_TICKS = 10
_CHARACTERS = 13  # of small print an inch


def possible(run: Run) -> list[str]:
    """The pictures that the run has numbers for."""
    return [name for name in FIGURES if name not in _TABLES or _TABLES[name] in run.tables]


def lacking(run: Run) -> list[str]:
    """Those of which a file is missing or empty: the run was killed before they were drawn, or the disk was full."""
    return [name for name in possible(run) if not all(map(_drawn, _files(run.folder / "figures", name)))]


def _drawn(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def draw(run: Run, names: Sequence[str]) -> None:
    """These pictures, as .png and .pdf. One that cannot be drawn is logged and costs no other."""
    for name in names:
        try:
            save(FIGURES[name](run), run.folder / "figures", name)
        except OSError as error:
            logger.warning("%s; the numbers are complete, and the same command draws what is missing", unwritten(run.folder, error))
            return  # nothing else can be written there
        except Exception:
            logger.exception("figures: %s is not drawn; the numbers in %s are complete", name, run.folder)


def affinity_figure(run: Run) -> Figure:
    """Heat map of the affinity matrix, with the best match of each row and column."""
    result, matrix = run.result, run.affinity
    rows, columns = matrix.shape
    figure, axes = plt.subplots(figsize=(2.8 + 0.16 * columns, 2.1 + 0.16 * rows), layout="constrained")
    low, high = min(0.0, float(matrix.to_numpy().min())), max(float(matrix.to_numpy().max()), 1e-9)
    sns.heatmap(
        matrix.to_numpy(),
        ax=axes,
        vmin=low,
        vmax=high,
        cmap="mako",
        square=True,
        xticklabels=False,  # seaborn would draw the picture to see whether they overlap
        yticklabels=False,
        cbar_kws={"label": f"{result['metric']['name']} (larger = more alike)", "shrink": 0.8},
    )
    axes.invert_yaxis()
    axes.set_xticks(*_ticks(matrix.columns))
    axes.set_yticks(*_ticks(matrix.index))
    _best_matches(axes, matrix.to_numpy())
    axes.set(xlabel=_side(result["b"]), ylabel=_side(result["a"]))
    axes.set_title(_caption(result, run.arrays["chance"]), fontsize="small")
    figure.suptitle(_sentence(result, figure), fontsize="x-small")
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False, ncols=2)
    return figure


def depth_curves_figure(run: Run) -> Figure:
    """For each block, where its best match in the other model lies and how alike they are; for each depth, its swap margin."""
    table, result = run.table("diagonal"), run.result
    preference = (result["statistics"]["diagonal"].get("swap") or {}).get("by_depth")
    panels = 3 if preference else 2
    figure, (where, how, *rest) = plt.subplots(1, panels, figsize=(4.3 * panels, 4.2), layout="constrained")
    for (side, other), colour in zip((("a", "b"), ("b", "a")), ("tab:blue", "tab:orange"), strict=True):
        rows = table[table["side"] == side]
        label = f"{_name(result[side])}, matched in {_name(result[other])}"
        _curve(where, rows, "best_depth", color=colour, marker=".", linewidth=0)
        where.plot(rows["depth"], rows["monotone_depth"], color=colour, linewidth=1.2)
        _curve(how, rows, "best_affinity", color=colour, linewidth=1.2, label=label)
    where.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    where.set(xlabel="depth of a block", ylabel="depth of its best match", xlim=(0, 1.03), ylim=(0, 1.03))
    where.set_title("dots: best match; lines: never backwards; dashed: same depth", fontsize="x-small")
    how.set(xlabel="depth of a block", ylabel=f"{result['metric']['name']} with its best match", xlim=(0, 1.03))
    how.set_ylim(min(0.0, how.get_ylim()[0]), None)
    how.set_title("larger = more alike; bands: jackknife over items, if computed", fontsize="x-small")
    if preference:
        _preference(rest[0], preference, result["metric"]["name"])
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False)
    figure.suptitle(f"{_caption(result, run.arrays['chance'])}\n{_sentence(result, figure)}", fontsize="small")
    return figure


def _preference(axes: Axes, curve: dict[str, list[float]], metric: str) -> None:
    """The swap margin of each depth with all others."""
    if "ci_low" in curve:
        axes.fill_between(curve["depth"], curve["ci_low"], curve["ci_high"], color="tab:green", alpha=0.18, linewidth=0)
    axes.plot(curve["depth"], curve["margin"], color="tab:green", linewidth=1.2, marker=".")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="depth", ylabel=f"swap margin ({metric})", xlim=(0, 1.03))
    axes.set_title("above 0: layers at this depth prefer each other to other depths", fontsize="x-small")


def _sentence(result: dict[str, Any], figure: Figure) -> str:
    """The headline in words, in lines that the figure is wide enough for."""
    return fill(result["headline"].get("sentence", ""), int(_CHARACTERS * figure.get_figwidth()))


def _curve(axes: Axes, rows: pd.DataFrame, column: str, **style: Any) -> None:
    if f"{column}_ci_low" in rows:
        low, high = (rows[f"{column}_ci_{end}"] for end in ("low", "high"))
        axes.fill_between(rows["depth"], low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(rows["depth"], rows[column], **style)


def stability_figure(run: Run) -> Figure:
    """Mean affinity and its chance against the number of items, and of neighbours where the metric has some."""
    table, result = run.table("stability"), run.result
    panels = {"n": "items", "k": "neighbours"} if (table["varied"] == "k").any() else {"n": "items"}
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4.3 * len(panels), 3.8), layout="constrained", squeeze=False)
    for axes, (varied, label) in zip(all_axes[0], panels.items(), strict=True):
        rows = table[table["varied"] == varied].sort_values(varied)
        axes.plot(rows[varied], rows["mean_affinity"], marker="o", label="mean over layer pairs")
        axes.plot(rows[varied], rows["contrast"], marker="s", label="on minus off the diagonal")
        axes.plot(rows[varied], rows["mean_chance"], marker=".", color="grey", linestyle="--", label="chance")
        axes.set(xlabel=label, ylabel=f"{result['metric']['name']} (larger = more alike)", xscale="log")
        axes.set_xticks(rows[varied], [f"{value:g}" for value in rows[varied]])
        axes.minorticks_off()
        axes.legend(fontsize="x-small", frameon=False)
    reliability = result["statistics"]["stability"]["reliability"]
    figure.suptitle(f"{_caption(result, run.arrays['chance'])}, split-half reliability {reliability:.2f}", fontsize="small")
    return figure


def _best_matches(axes: Axes, matrix: np.ndarray) -> None:
    rows, columns = (np.arange(size) + 0.5 for size in matrix.shape)
    axes.plot(
        matrix.argmax(axis=1) + 0.5,
        rows,
        color="tab:orange",
        linewidth=1.2,
        marker=".",
        markersize=3,
        label="best match of each row",
    )
    axes.scatter(
        columns,
        matrix.argmax(axis=0) + 0.5,
        s=14,
        facecolors="none",
        edgecolors="tab:red",
        linewidths=0.9,
        label="best match of each column",
    )


def _ticks(layers: pd.Index) -> tuple[np.ndarray, list[str]]:
    """At most ten of the layers by name, each in the middle of its cell."""
    shown = np.arange(0, len(layers), math.ceil(len(layers) / _TICKS))
    return shown + 0.5, [layer.removeprefix("block_") for layer in layers[shown]]


def _side(side: dict[str, Any]) -> str:
    return f"{_name(side)} · block"


def _name(side: dict[str, Any]) -> str:
    return f"{side['model']} · {side['language']}"


def _caption(result: dict[str, Any], chance: np.ndarray) -> str:
    metric, dataset = result["metric"], result["dataset"]
    k = f", k = {metric['k']}" if metric["k"] is not None else ""
    spread = f"{chance.min():.3g}" if np.ptp(chance) < 1e-9 else f"{chance.min():.3g} to {chance.max():.3g}"
    items = f"{dataset['name']}, n = {dataset['n']}, pooling {result['pooling']}"
    return f"{metric['name']} ({metric['estimator']}{k})\n{items}, chance {spread}"


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture as .png and .pdf, each whole or not at all."""
    try:
        folder.mkdir(exist_ok=True)
        figure.draw_without_rendering()  # the layout, once for both files
        figure.set_layout_engine(None)
        for file in _files(folder, name):
            with replacing(file) as unfinished:
                figure.savefig(unfinished, dpi=200 if file.suffix == ".png" else "figure")
    finally:
        plt.close(figure)


def _files(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{suffix}" for suffix in (".png", ".pdf")]


def unwritten(folder: Path, error: OSError) -> str:
    return f"figures: they cannot be written into {folder} ({error.strerror or error})"


FIGURES: dict[str, Callable[[Run], Figure]] = {
    "affinity": affinity_figure,
    "depth_curves": depth_curves_figure,
    "stability": stability_figure,
}
_TABLES = {"depth_curves": "diagonal", "stability": "stability"}  # the analysis whose table a picture shows
