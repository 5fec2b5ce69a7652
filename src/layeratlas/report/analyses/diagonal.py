"""Where in depth layers match, and how well."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import caption, name_of, sentence_of
from layeratlas.report.panels import headed
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_WIDE = 4.6  # inches


def depth_curves_figure(run: Run) -> Figure:
    """For each block, where its best match in the other model lies and how alike they are; for each depth, its swap margin."""
    table, result = run.table("diagonal"), run.result
    preference = (result["statistics"]["diagonal"].get("swap") or {}).get("by_depth")
    panels = 3 if preference else 2
    figure, (where, how, *rest) = plt.subplots(panels, 1, figsize=(_WIDE, 1.7 + 2.6 * panels), layout="constrained", sharex=True)
    for (side, other), colour in zip((("a", "b"), ("b", "a")), ("tab:blue", "tab:orange"), strict=True):
        rows = table[table["side"] == side]
        label = f"{name_of(result[side])} in {name_of(result[other])}"
        if "best_depth_ci_low" in rows:  # of a place that jumps: no band, which would join what has nothing between
            where.vlines(
                rows["depth"], rows["best_depth_ci_low"], rows["best_depth_ci_high"], color=colour, alpha=0.3, linewidth=0.9
            )
        where.plot(rows["depth"], rows["best_depth"], color=colour, marker=".", linewidth=0)
        where.plot(rows["depth"], rows["monotone_depth"], color=colour, linewidth=1.2)
        _curve(how, rows, "best_affinity", color=colour, linewidth=1.2, label=label)
    where.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    where.set(ylabel="depth of its best match", xlim=(0, 1.03), ylim=(0, 1.03))
    where.set_title("dots: best match, intervals; lines: never backwards; dashed: same depth", fontsize="x-small")
    how.set(ylabel=f"{result['metric']['name']} with its best match")
    how.set_ylim(min(0.0, how.get_ylim()[0]), None)
    how.set_title("larger = more alike; bands: jackknife over items, if computed", fontsize="x-small")
    if preference:
        _preference(rest[0], preference, result["metric"]["name"])
    figure.axes[-1].set_xlabel("depth of a block", fontsize="small")
    for axes in figure.axes:
        axes.tick_params(labelsize="small")
        axes.yaxis.label.set_fontsize("small")  # long names of metrics are no longer than the axis
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False)
    headed(figure, f"{caption(result, run.arrays['chance'])}\n{sentence_of(result)}")
    return figure


def _preference(axes: Axes, curve: dict[str, list[float]], metric: str) -> None:
    """The swap margin of each depth with all others."""
    if "ci_low" in curve:
        axes.fill_between(curve["depth"], curve["ci_low"], curve["ci_high"], color="tab:green", alpha=0.18, linewidth=0)
    axes.plot(curve["depth"], curve["margin"], color="tab:green", linewidth=1.2, marker=".")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(ylabel=f"swap margin ({metric})")
    axes.set_title("above 0: layers at this depth prefer each other to other depths", fontsize="x-small")


def _curve(axes: Axes, rows: pd.DataFrame, column: str, **style: Any) -> None:
    if f"{column}_ci_low" in rows:
        low, high = (rows[f"{column}_ci_{end}"] for end in ("low", "high"))
        axes.fill_between(rows["depth"], low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(rows["depth"], rows[column], **style)


def charts(run: Run) -> list[Chart]:
    """The swap margin of each depth; how well and where layers match is drawn beside the matrix."""
    curve = (run.result["statistics"]["diagonal"].get("swap") or {}).get("by_depth")
    if not curve:
        return []
    series = Series("swap margin", curve["depth"], curve["margin"], curve.get("ci_low"), curve.get("ci_high"))
    note = "Above 0: layers at this depth prefer each other to layers at other depths. Band: interval over items."
    name = run.result["metric"]["name"]
    return [Chart("Do layers prefer their own depth", "depth", f"swap margin ({name})", [series], rules=[0.0], note=note)]


VIEWS = [View("depth_curves", ["diagonal"], depth_curves_figure, charts)]
