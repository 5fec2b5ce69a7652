"""What fewer items, or other numbers of neighbours, would have given."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from layeratlas.report.figures import caption
from layeratlas.report.views import View
from layeratlas.runs.reading import Run


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
    figure.suptitle(f"{caption(result, run.arrays['chance'])}, split-half reliability {reliability:.2f}", fontsize="small")
    return figure


VIEWS = [View("stability", ["stability"], stability_figure)]
