"""Blocks' likeness to their neighbours beside what it costs to skip them, and what each order of removal would cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layeratlas.report.charts import Chart, Series, Style
from layeratlas.report.panels import WIDTH, headed, label_points, legend_below
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep
from layeratlas.studies.sweep import file_name

_KEYS = ["model", "dataset", "language", "control", "metric"]
_ORDERS: dict[str, tuple[str, str, str, Style]] = {  # name in the table: in words, colour and line of the picture, of the chart
    "similarity": ("by similarity", "C0", "-", "line"),
    "last_first": ("last first", "C1", "--", "dashed"),
    "random, on average": ("at random, on average", "grey", ":", "dotted"),
    "cheapest_first": ("cheapest first", "C2", "-.", "dashed"),
}
_CORRELATED = {"similarity": "by similarity", "last_first": "last first", "similarity - last_first": "difference"}
_PREDICTORS = {"with_input": "its input", "with_neighbors": "both neighbours"}
_FAR = 10  # times the middle cost: a block that dear leaves no room for the others on an axis that is not logarithmic
_COST = "nats per token"


@dataclass(frozen=True)
class Group:
    """What the study knows of one model, texts and metric."""

    title: str
    blocks: pd.DataFrame
    orders: pd.DataFrame
    agreement: pd.DataFrame
    prediction: pd.DataFrame

    @property
    def logarithmic(self) -> bool:
        cost = self.blocks["value"]
        return bool((cost > 0).all() and cost.max() > _FAR * cost.median())


def groups(tables: Mapping[str, pd.DataFrame]) -> Iterator[Group]:
    """One for each model, texts and metric of the study's tables."""
    for keys, blocks in tables.get("redundancy", pd.DataFrame(columns=_KEYS)).groupby(_KEYS, sort=False):
        values = pd.Series(dict(zip(_KEYS, keys, strict=True)))
        parts = []
        for name in ("orders", "agreement", "prediction"):
            table = tables.get(f"redundancy_{name}", blocks.iloc[:0])
            parts.append(table[(table[_KEYS] == values).all(axis=1)])
        yield Group(" · ".join(str(key) for key in keys if key), blocks, *parts)


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """A picture of each model, texts and metric whose blocks were skipped."""
    del sweep
    drawn = list(groups(tables))
    for group in drawn:
        yield "redundancy" if len(drawn) == 1 else f"redundancy/{file_name(group.title)}", redundancy_figure(group)


def redundancy_figure(group: Group) -> Figure:
    """Cost and affinity over blocks; cost against affinity; cost of each order of removal; how well orders go with cost."""
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 5.4), layout="constrained")
    _over_blocks(grid[0, 0], group)
    _against(grid[0, 1], group)
    _removed(grid[1, 0], group.orders)
    _correlations(grid[1, 1], group.agreement)
    for axes in figure.axes:
        axes.tick_params(labelsize="x-small")
    legend_below(figure, 3, list(grid[1]))
    headed(
        figure,
        f"{group.title}\ncost of skipping a block: likelihood lost, t intervals over texts;\naffinity: 0 chance, 1 a layer with"
        " itself",
    )
    figure.draw_without_rendering()  # labels of points need the place of each
    affinity, cost = (group.blocks[name].to_numpy(float) for name in ("with_input", "value"))
    label_points(grid[0, 1], affinity, cost, _names(group))
    return figure


def _names(group: Group) -> list[str]:
    return [str(block) for block in group.blocks["block"]]


def _over_blocks(axes: Axes, group: Group) -> None:
    rows = group.blocks
    x = rows["block"].to_numpy()
    y, low, high = (rows[column].to_numpy(float) for column in ("value", "ci_low", "ci_high"))
    axes.errorbar(x, y, yerr=[y - low, high - y], fmt="s", color="dimgrey", markersize=3, linewidth=1)
    axes.set_xlabel("block skipped", fontsize="x-small")
    axes.set_ylabel(f"squares: cost, {_COST}", fontsize="x-small")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _scale(axes, group)
    beside = axes.twinx()
    beside.plot(x, rows["with_input"], color="C0", marker="o", markersize=2, linewidth=1)
    doubtful = rows["saturated"].notna()
    beside.plot(x[doubtful], rows["with_input"][doubtful], "x", color="C3", markersize=6)
    marked = " (x: saturated)" if doubtful.any() else ""
    beside.set_ylabel(f"affinity with its input{marked}", color="C0", fontsize="x-small")


def _scale(axes: Axes, group: Group) -> None:
    if group.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()


def _against(axes: Axes, group: Group) -> None:
    rows = group.blocks
    axes.scatter(rows["with_input"], rows["value"], c=rows["depth"], cmap="viridis", vmin=0, vmax=1, s=12)
    axes.margins(0.12)
    _scale(axes, group)
    axes.set_xlabel("affinity with its input", fontsize="x-small")
    axes.set_ylabel(f"cost, {_COST}", fontsize="x-small")
    axes.set_title("numbers: blocks; darker: earlier", fontsize="x-small")


def _removed(axes: Axes, rows: pd.DataFrame) -> None:
    for order, (label, colour, style, _) in _ORDERS.items():
        own = rows[rows["order"] == order].sort_values("removed")
        axes.plot(own["removed"], own["sum_of_costs"], color=colour, linestyle=style, linewidth=1.3, label=label)
        together = own[_together(own)]
        axes.plot(together["removed"], together["measured"], "s", color=colour, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("blocks removed", fontsize="x-small")
    axes.set_ylabel(f"sum of single costs, {_COST}", fontsize="x-small")
    if _together(rows).any():
        axes.set_title("squares: measured together", fontsize="x-small")


def _together(rows: pd.DataFrame) -> pd.Series:
    """Where a run skips just these blocks, several at once."""
    return rows["measured"].notna() & (rows["removed"] > 1)


def _correlations(axes: Axes, rows: pd.DataFrame) -> None:
    for place, order in enumerate(_CORRELATED):
        row = rows[rows["order"] == order].iloc[0]
        axes.vlines(place, row["ci_low"], row["ci_high"], color="black", linewidth=1.2)
        axes.plot(place, row["value"], "s", color="black", markersize=4, label="interval over texts")
        if " - " not in order:  # random orders are no chance level of a difference
            ends = row["random_low"], row["random_high"]
            axes.fill_between([place - 0.35, place + 0.35], *ends, color="lightgrey", linewidth=0, label="random orders")
    axes.axhline(0, color="grey", linewidth=0.7)
    axes.set_xlim(-0.6, len(_CORRELATED) - 0.4)
    axes.set_xticks(range(len(_CORRELATED)), [label.replace(" ", "\n") for label in _CORRELATED.values()])
    axes.set_ylabel("rank correlation with cost", fontsize="x-small")


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """The panels of each picture, and how far affinity tells the cost of each intervention."""
    for group in groups(tables):
        yield _cost_chart(group)
        yield _against_chart(group)
        yield _removed_chart(group)
        yield _agreement_chart(group)
        if len(group.prediction):
            yield _prediction_chart(group)


def _cost_chart(group: Group) -> Chart:
    rows, names = group.blocks, _names(group)
    labels = [
        f"affinity with its input {row.with_input:.2f}" + (f", saturated: {row.saturated}" if row.saturated else "")
        for row in rows.itertuples()
    ]
    cost = Series("cost", range(len(rows)), rows["value"], rows["ci_low"], rows["ci_high"], style="points", labels=labels)
    note = "Likelihood lost by skipping a block; lines: t intervals over texts."
    title = f"Cost of skipping a block: {group.title}"
    return Chart(title, "block skipped", _COST, [cost], ticks=names, note=note, logarithmic=group.logarithmic)


def _against_chart(group: Group) -> Chart:
    rows = group.blocks
    labels = [f"block {name}" for name in _names(group)]
    points = Series("cost", rows["with_input"], rows["value"], rows["ci_low"], rows["ci_high"], style="points", labels=labels)
    note = "Affinity: 0 is chance, 1 a layer with itself. Lines: t intervals over texts."
    title = f"Cost and likeness: {group.title}"
    return Chart(title, "affinity with its input", _COST, [points], note=note, logarithmic=group.logarithmic)


def _removed_chart(group: Group) -> Chart:
    series = []
    for order, (label, _, _, style) in _ORDERS.items():
        own = group.orders[group.orders["order"] == order].sort_values("removed")
        series.append(Series(label, own["removed"], own["sum_of_costs"], style=style))
    together = group.orders[_together(group.orders)]
    if len(together):
        series.append(
            Series(
                "measured together",
                together["removed"],
                together["measured"],
                style="points",
                labels=[_ORDERS[order][0] for order in together["order"]],
            )
        )
    note = "What the first blocks of each order cost, as the sum of what each costs alone."
    return Chart(f"Orders of removal: {group.title}", "blocks removed", f"sum of costs, {_COST}", series, rules=[0.0], note=note)


def _agreement_chart(group: Group) -> Chart:
    rows = group.agreement.set_index("order").loc[list(_CORRELATED)]
    x = np.arange(len(rows))
    own = Series("order", x, rows["value"], rows["ci_low"], rows["ci_high"], style="points")
    nothing = np.full(len(rows), np.nan)
    random = Series("random orders", x + 0.15, nothing, rows["random_low"], rows["random_high"], style="points")
    note = "Above 0: what the order removes first costs less. Lines: intervals over texts, and the range of random orders."
    ticks = list(_CORRELATED.values())
    title = f"How orders go with cost: {group.title}"
    return Chart(title, "order", "rank correlation with cost", [own, random], ticks=ticks, rules=[0.0], note=note)


def _prediction_chart(group: Group) -> Chart:
    rows = group.prediction
    kinds = list(dict.fromkeys(zip(rows["intervention"], rows["affinity"], strict=True)))
    series = []
    for number, (given, part) in enumerate(rows.groupby("given", sort=False)):
        x = [kinds.index(kind) + 0.15 * number for kind in zip(part["intervention"], part["affinity"], strict=True)]
        name = f"given {given}" if given else "as it is"
        series.append(Series(name, x, part["value"], part["ci_low"], part["ci_high"], style="points"))
    ticks = [f"{what}, {_PREDICTORS[affinity]}" for what, affinity in kinds]
    note = "Below 0: blocks like their neighbours cost less. Lines: intervals over texts."
    title = f"Does affinity tell cost? {group.title}"
    return Chart(title, "intervention, affinity with", "correlation with cost", series, ticks=ticks, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
