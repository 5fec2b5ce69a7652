"""What fewer items, or other numbers of neighbours, would have given."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series, Style
from layeratlas.report.figures import caption
from layeratlas.report.panels import headed
from layeratlas.report.views import View
from layeratlas.runs.reading import Run


def stability_figure(run: Run) -> Figure:
    """Mean affinity and its chance against the number of items, and of neighbours where the metric has some."""
    table, result = run.table("stability"), run.result
    panels = {"n": "items", "k": "neighbours"} if (table["varied"] == "k").any() else {"n": "items"}
    figure, all_axes = plt.subplots(len(panels), 1, figsize=(4.6, 0.8 + 2.9 * len(panels)), layout="constrained", squeeze=False)
    for axes, (varied, label) in zip(all_axes[:, 0], panels.items(), strict=True):
        rows = table[table["varied"] == varied].sort_values(varied)
        axes.plot(rows[varied], rows["mean_affinity"], marker="o", label="mean over layer pairs")
        axes.plot(rows[varied], rows["contrast"], marker="s", label="on minus off the diagonal")
        axes.plot(rows[varied], rows["mean_chance"], marker=".", color="grey", linestyle="--", label="chance")
        axes.set(xlabel=label, ylabel=f"{result['metric']['name']} (larger = more alike)", xscale="log")
        axes.set_xticks(rows[varied], [f"{value:g}" for value in rows[varied]])
        axes.minorticks_off()
        axes.legend(fontsize="x-small", frameon=False)
    reliability = result["statistics"]["stability"]["reliability"]
    headed(figure, f"{caption(result, run.arrays['chance'])}, split-half reliability {reliability:.2f}")
    return figure


def charts(run: Run) -> list[Chart]:
    """The same, a chart for items and one for neighbours."""
    table, metric = run.table("stability"), run.result["metric"]["name"]
    labels = {"mean_affinity": "mean over layer pairs", "contrast": "on minus off the diagonal", "mean_chance": "chance"}
    drawn = []
    for varied, name in {"n": "items", "k": "neighbours"}.items():
        rows = table[(table["varied"] == varied) & table["split"].isna()]
        rows = rows.sort_values(varied) if len(rows) else rows  # a metric without neighbours has no such column
        if len(rows):
            series = [
                Series(label, rows[varied], rows[column], style=_STYLES.get(column, "line")) for column, label in labels.items()
            ]
            drawn.append(Chart(f"What fewer {name} give", name, metric, series, note="Larger is more alike."))
    return drawn


_STYLES: dict[str, Style] = {"mean_chance": "dotted"}
VIEWS = [View("stability", ["stability"], stability_figure, charts)]
