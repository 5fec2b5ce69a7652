"""Blocks' likeness to their neighbours beside what it costs to skip them, and what each order of removal would cost."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep

_TOLD = ["model", "dataset", "language", "control", "metric"]
_STYLES = {
    "similarity": ("C0", "-"),
    "last_first": ("C1", "--"),
    "random, on average": ("grey", ":"),
    "cheapest_first": ("C2", "-."),
}


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of all models, texts and metrics, if blocks were skipped."""
    if "redundancy" in tables:
        yield "redundancy", redundancy_figure(tables)


def redundancy_figure(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """A row per model, texts and metric: cost and affinity over blocks; cost against affinity; cost of each order of removal."""
    groups = list(tables["redundancy"].groupby(_TOLD, sort=False))
    figure, grid = plt.subplots(len(groups), 3, figsize=(13, 1 + 3.2 * len(groups)), layout="constrained", squeeze=False)
    for row, (told, blocks) in zip(grid, groups, strict=True):
        values = dict(zip(_TOLD, told, strict=True))
        orders = _of(tables["redundancy_orders"], values)
        _over_blocks(row[0], blocks, values["metric"])
        _against(row[1], blocks, values["metric"])
        _orders(row[2], orders, _of(tables["redundancy_agreement"], values))
        row[0].set_title(" · ".join(str(value) for value in told if value), fontsize="small")
    figure.suptitle(
        "what skipping a block costs (nats per token, t intervals over texts) beside its affinity with its input, from chance (0)"
        " to a layer with itself (1)",
        fontsize="small",
    )
    return figure


def _of(table: pd.DataFrame, values: Mapping[str, object]) -> pd.DataFrame:
    return table[(table[_TOLD] == pd.Series(values)[_TOLD]).all(axis=1)]


def _over_blocks(axes: Axes, rows: pd.DataFrame, metric: object) -> None:
    x = rows["block"].to_numpy()
    y, low, high = (rows[column].to_numpy(float) for column in ("value", "ci_low", "ci_high"))
    axes.bar(x, y, color="lightgrey", width=0.8)
    axes.errorbar(x, y, yerr=[y - low, high - y], fmt="none", ecolor="dimgrey", linewidth=1)
    axes.set_xlabel("block skipped", fontsize="small")
    axes.set_ylabel("cost, nats per token", fontsize="small")
    axes.set_xticks(x, x, fontsize="x-small")
    if (y > 0).all() and y.max() > 30 * np.median(y):
        axes.set_yscale("log")
    beside = axes.twinx()
    beside.plot(x, rows["with_input"], color="C0", marker="o", markersize=3, linewidth=1.2)
    doubtful = rows["saturated"].notna()
    beside.plot(x[doubtful], rows["with_input"][doubtful], "x", color="C3", markersize=7)
    beside.set_ylabel(f"{metric} with its input (x: saturated)", color="C0", fontsize="x-small")
    beside.tick_params(labelsize="x-small")


def _against(axes: Axes, rows: pd.DataFrame, metric: object) -> None:
    points = axes.scatter(rows["with_input"], rows["value"], c=rows["depth"], cmap="viridis", vmin=0, vmax=1, s=22)
    for row in rows.itertuples():
        axes.annotate(str(row.block), (row.with_input, row.value), fontsize=6, xytext=(3, 2), textcoords="offset points")
    axes.set_xlabel(f"{metric} with its input", fontsize="small")
    axes.set_ylabel("cost, nats per token", fontsize="small")
    y = rows["value"].to_numpy(float)
    if (y > 0).all() and y.max() > 30 * np.median(y):
        axes.set_yscale("log")
    axes.figure.colorbar(points, ax=axes).set_label("depth", fontsize="x-small")


def _orders(axes: Axes, rows: pd.DataFrame, agreed: pd.DataFrame) -> None:
    correlations = agreed.set_index("order")["value"]
    for order, (colour, style) in _STYLES.items():
        own = rows[rows["order"] == order].sort_values("removed")
        label = f"{order} (rank correlation {correlations[order]:.2f})" if order in correlations else order
        axes.plot(own["removed"], own["sum_of_costs"], color=colour, linestyle=style, linewidth=1.4, label=label)
        axes.plot(own["removed"], own["measured"], "s", color=colour, markersize=5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("blocks removed", fontsize="small")
    axes.set_ylabel("sum of single costs (squares: measured)", fontsize="small")
    axes.legend(fontsize="x-small")


VIEWS = [SweepView(figures)]
