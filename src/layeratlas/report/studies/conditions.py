"""All conditions of one model on one scale, how far they agree, and which factor moves them more."""

import math
from collections.abc import Iterator, Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed
from layeratlas.report.views import SweepView
from layeratlas.runs.reading import Run
from layeratlas.studies import Sweep

_FLAG = "tab:red"
_COLOURS = {"as they are": "tab:blue", "depth trend removed": "tab:orange"}
_IN_CELLS = 12  # conditions whose correlations are written into their cells
_ACROSS = 4  # matrices side by side
_LETTER = 0.065  # inches of a title


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Three pictures for each grid: all matrices, their correlations, and the effects of crossed factors if there are any."""
    if "conditions_runs" not in tables:
        return
    effects = tables.get("conditions_effects")
    several = tables["conditions_runs"]["grid"].nunique() > 1
    for grid, runs in tables["conditions_runs"].groupby("grid"):
        folder = f"conditions/{grid}_" if several else "conditions/"
        of_grid = None if effects is None else effects[effects["grid"] == grid]
        yield f"{folder}matrices", matrices_figure(sweep, runs, of_grid)
        yield f"{folder}agreement", agreement_figure(sweep, runs, tables["conditions"][tables["conditions"]["grid"] == grid])
        for number, (_, design) in enumerate(() if of_grid is None else of_grid.groupby("design")):
            yield f"{folder}effects{f'_{number}' if number else ''}", effects_figure(design)


def matrices_figure(sweep: Sweep, runs: pd.DataFrame, effects: pd.DataFrame | None) -> Figure:
    """Every matrix with the same colours; a row for each level of the first factor where two are crossed."""
    figure, places = _grid(len(runs), _level(len(runs), effects))
    chosen = [sweep.runs[place] for place in runs["place"].tolist()]
    matrices = [run.arrays["affinity"] for run in chosen]
    scale = {"vmin": min(m.min() for m in matrices), "vmax": max(m.max() for m in matrices)}
    images = []
    letters = int(WIDTH / min(_ACROSS, _level(len(runs), effects)) / _LETTER)
    for one, matrix, run, row in zip(places, matrices, chosen, runs.itertuples(), strict=True):
        images.append(one.imshow(matrix, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest", **scale))
        label = fill(f"{row.label} {_scales(row)}" if row.unequal else str(row.label), letters)
        one.set_title(label, fontsize="x-small", color=_FLAG if row.unequal else "black")
        _name_layers(one, run)
    metric = chosen[0].result["metric"]
    figure.colorbar(images[0], ax=places, label=f"{metric['name']} (larger = more alike)", location="bottom", shrink=0.6, aspect=40)
    figure.supxlabel("block of b", fontsize="small")
    figure.supylabel("block of a", fontsize="small")
    headed(figure, f"{_title(sweep, runs)}\none colour scale for all {len(runs)} matrices{_flagged(runs)}")
    return figure


def _name_layers(axes: Axes, run: Run) -> None:
    """The first and last block by their numbers, or layers by their names where there are no blocks."""
    for side, name in ((axes.yaxis, "a"), (axes.xaxis, "b")):
        layers = [str(layer) for layer in run.arrays[f"layers_{name}"]]
        blocks = [place for place, layer in enumerate(layers) if layer.startswith("block_")] or range(len(layers))
        shown = sorted({blocks[0], blocks[-1]})
        side.set_ticks(shown, [layers[place].removeprefix("block_") for place in shown], fontsize="x-small")
    axes.tick_params(length=2)


def _grid(count: int, level: int) -> tuple[Figure, list[Axes]]:
    """A place for each matrix; those of each level of the first factor begin a row, and take as many as they need."""
    wide = min(_ACROSS, level)
    rows_of_level = math.ceil(level / wide)
    high = rows_of_level * math.ceil(count / level)
    side = WIDTH / wide
    figure, grid = plt.subplots(high, wide, figsize=(WIDTH, (side + 0.3) * high + 1.6), layout="constrained", squeeze=False)
    of_levels = grid.reshape(-1, rows_of_level * wide)
    places = of_levels[:, :level].ravel()[:count].tolist()
    for unused in set(grid.flat) - set(places):
        unused.remove()
    return figure, places


def _level(count: int, effects: pd.DataFrame | None) -> int:
    """How many matrices belong to a level of the first factor, where two are crossed; else how many stand side by side."""
    if effects is not None and len(effects) and effects["levels_first"].iloc[0] * effects["levels_second"].iloc[0] == count:
        return int(effects["levels_second"].iloc[0])
    return min(count, _ACROSS, max(2, math.ceil(math.sqrt(count))))


def agreement_figure(sweep: Sweep, runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Condition against condition: cells' correlation off the diagonal above, with depth held constant below."""
    places = {job: i for i, job in enumerate(zip(runs["sweep"], runs["job"], strict=True))}
    cells = np.full((len(runs), len(runs)), np.nan)
    for row in table.itertuples():
        i, j = places[row.sweep_first, row.job_first], places[row.sweep_second, row.job_second]
        i, j = min(i, j), max(i, j)
        cells[i, j], cells[j, i] = row.off_diagonal_pearson, row.partial
    figure, axes = plt.subplots(figsize=(WIDTH, max(5.0, 1.5 + 0.13 * len(runs))), layout="constrained")
    colours = plt.get_cmap("RdBu_r").with_extremes(bad="lightgrey")
    image = axes.imshow(cells, vmin=-1, vmax=1, cmap=colours)
    axes.set_xticks(range(len(runs)), runs["label"], rotation=90, fontsize="x-small")
    axes.set_yticks(range(len(runs)), runs["label"], fontsize="x-small")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, unequal in zip(ticks, runs["unequal"], strict=True):
            tick.set_color(_FLAG if unequal else "black")
    if len(runs) <= _IN_CELLS:
        for i, j in np.argwhere(np.isfinite(cells)):
            shade = "white" if abs(cells[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{cells[i, j]:z.2f}".replace("0.", "."), ha="center", va="center", fontsize="x-small", color=shade)
    figure.colorbar(image, ax=axes, label="correlation of the matrices' cells", location="bottom", shrink=0.6)
    legend = f"above the diagonal: cells off the diagonal;\nbelow: depth held constant{_flagged(runs)}"
    headed(figure, f"{_title(sweep, runs)}\n{legend}")
    return figure


def effects_figure(table: pd.DataFrame) -> Figure:
    """Size and share of each factor's effect with intervals, as the matrices are and without their depth trend."""
    figure, (sizes, shares) = plt.subplots(2, 1, figsize=(WIDTH, 5.2), layout="constrained")
    names = list(dict.fromkeys(table["effect"]))
    for number, (of, rows) in enumerate(table.groupby("of", sort=False)):
        colour, at = _COLOURS[str(of)], np.array([names.index(name) for name in rows["effect"]]) + 0.24 * number - 0.12
        sizes.hlines(at, rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.6)
        sizes.plot(rows["value"], at, "s", color=colour, markersize=5, label=of)
        _naive(sizes, rows["naive"], at, colour)
        parts = rows["share"].notna() | rows["share_ci_low"].notna()
        shares.hlines(at[parts], rows["share_ci_low"][parts], rows["share_ci_high"][parts], color=colour, linewidth=1.6)
        shares.plot(rows["share"][parts], at[parts], "s", color=colour, markersize=5)
        _naive(shares, rows["naive_share"][parts], at[parts], colour)
    sizes.axvline(0, color="grey", linewidth=0.8)
    for axes in (sizes, shares):
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(labelsize="x-small")
    first = table.iloc[0]
    sizes.set_xlabel(f"variance of the effect ({first['metric']} squared, mean over cells)", fontsize="small")
    shares.set_xlabel("share of the three effects", fontsize="small")
    shares.set_xlim(-0.02, 1.02)
    sizes.plot([], [], "D", color="grey", fillstyle="none", markersize=4, label="naively, noise included")
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False, ncols=3)
    levels = f"{first['levels_first']} levels of {first['first']} x {first['levels_second']} of {first['second']}"
    line = f"{levels}\nn = {first['n']}, halves of {first['half']}; lines: {first['level']:.0%} intervals over items"
    headed(figure, f"{first['model']}, {first['metric']}, pooling {first['pooling']}\n{line}")
    return figure


def _naive(axes: Axes, values: pd.Series, at: np.ndarray, colour: str) -> None:
    axes.plot(values, at, "D", color=colour, fillstyle="none", markersize=4)


def _title(sweep: Sweep, runs: pd.DataFrame) -> str:
    rows = sweep.table.iloc[runs["place"]]
    parts = [*(rows[column] for column in ("model_a", "model_b", "metric", "pooling"))]
    shared = dict.fromkeys(str(part.iloc[0]) for part in parts if part.nunique() == 1)
    n = sorted(set(runs["n"]))
    return f"{', '.join(shared)}, n = {', '.join(map(str, n))}"


def _flagged(runs: pd.DataFrame) -> str:
    unequal = sorted({scale for scales in runs["unequal"] if scales for scale in scales.split(", ")})
    return f"\nNOT on one scale: {', '.join(unequal)} differ (red)" if unequal else ""


def _scales(row: tuple) -> str:
    return ", ".join(f"{scale} = {getattr(row, scale)}" for scale in row.unequal.split(", "))  # type: ignore[attr-defined]


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """The sizes of crossed factors' effects."""
    effects = tables.get("conditions_effects", pd.DataFrame({"grid": [], "design": []}))
    for (grid, _), rows in effects.groupby(["grid", "design"], sort=False):
        names = list(dict.fromkeys(rows["effect"]))
        series = []
        for number, (of, part) in enumerate(rows.groupby("of", sort=False)):
            x = [names.index(name) + 0.16 * number for name in part["effect"]]
            series.append(
                Series(str(of), x, part["value"], part["ci_low"], part["ci_high"], style="points", labels=part["effect"].tolist())
            )
        first = rows.iloc[0]
        note = f"Effects by place: {', '.join(names)}. Lines: {first['level']:.0%} intervals over items."
        title = f"{first['model']}, {first['metric']}: {first['first']} against {first['second']} (grid {grid})"
        yield Chart(title, "effect", "variance of the effect", series, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
