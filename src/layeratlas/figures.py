"""Pictures of saved results."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # a compute node has no display

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.results import Run

_TICKS = 10


def draw_affinity(run: Run) -> None:
    """Heat map of the affinity matrix, with the best match of each row and column, as figures/affinity.png and .pdf."""
    save(affinity_figure(run), run.folder / "figures", "affinity")


def affinity_figure(run: Run) -> Figure:
    result, matrix = run.result, run.affinity
    rows, columns = matrix.shape
    figure, axes = plt.subplots(figsize=(2.8 + 0.16 * columns, 2.1 + 0.16 * rows), layout="constrained")
    low, high = min(0.0, float(matrix.to_numpy().min())), max(float(matrix.to_numpy().max()), 1e-9)
    sns.heatmap(
        matrix.rename(index=_tick, columns=_tick),
        ax=axes,
        vmin=low,
        vmax=high,
        cmap="mako",
        square=True,
        xticklabels=max(1, columns // _TICKS),
        yticklabels=max(1, rows // _TICKS),
        cbar_kws={"label": f"{result['metric']['name']} (larger = more alike)", "shrink": 0.8},
    )
    axes.invert_yaxis()
    axes.tick_params(rotation=0)
    _best_matches(axes, matrix.to_numpy())
    axes.set(xlabel=_side(result["b"]), ylabel=_side(result["a"]))
    axes.set_title(_caption(result, run.arrays["chance"]), fontsize="small")
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False, ncols=2)
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


def _tick(layer: str) -> str:
    return layer.removeprefix("block_")


def _side(side: dict[str, Any]) -> str:
    return f"{side['model']} · {side['language']} · block"


def _caption(result: dict[str, Any], chance: np.ndarray) -> str:
    metric, dataset = result["metric"], result["dataset"]
    k = f", k = {metric['k']}" if metric["k"] is not None else ""
    spread = f"{chance.min():.3g}" if np.ptp(chance) < 1e-9 else f"{chance.min():.3g} to {chance.max():.3g}"
    items = f"{dataset['name']}, n = {dataset['n']}, pooling {result['pooling']}"
    return f"{metric['name']} ({metric['estimator']}{k})\n{items}, chance {spread}"


def save(figure: Figure, folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=200)
    figure.savefig(folder / f"{name}.pdf")
    plt.close(figure)
