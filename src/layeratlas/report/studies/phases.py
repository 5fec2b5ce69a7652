"""Early, middle and late correlations of all models, and of published files."""

from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.panels import WIDTH, headed
from layeratlas.report.views import SweepView
from layeratlas.studies import Sweep

_PHASES = {"early": "tab:blue", "middle": "tab:green", "late": "tab:orange"}


def figures(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    if "phases_models" in tables:
        yield "phases", phases_figure(tables["phases_models"], tables.get("phases_tests"))


def phases_figure(table: pd.DataFrame, tests: pd.DataFrame | None) -> Figure:
    """A row per model: above as published, from runs and from files, below within categories with intervals."""
    published = table[table["source"] != "within"]
    within = table[table["source"] == "within"]
    names = list(dict.fromkeys([*within["model"], *published["model"]]))
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 2.3 + 0.7 * len(names)), layout="constrained", sharey=True, sharex=True)
    _draw(axes[0], published, names)
    _draw(axes[1], within, names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[0].set_title(
        "as published: mean r over thirds of the sampled states\n(hollow: a file's own correlations)", fontsize="x-small"
    )
    axes[1].set_title("within categories: mean over thirds of depth,\ninterval over categories", fontsize="x-small")
    for one in axes:
        one.axvline(0, color="grey", linewidth=0.8)
        one.set_yticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        one.tick_params(labelsize="x-small")
    axes[1].set_xlabel("r of centroid asymmetry with preference", fontsize="small")
    for phase, colour in _PHASES.items():
        axes[1].plot([], [], "s", color=colour, label=phase)
    figure.legend(loc="outside lower center", fontsize="x-small", frameon=False, ncols=3)
    certain = 0 if tests is None else int((tests["p_holm"] <= 0.05).sum())
    line = "no two models to compare" if tests is None else f"{certain} of {len(tests)} differences between models certain (Holm)"
    headed(figure, f"above 0: likelier texts are more central\n{line}")
    return figure


def _draw(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    for offset, (phase, colour) in enumerate(_PHASES.items()):
        rows = table[table["phase"] == phase]
        at = np.array([names.index(name) for name in rows["model"]]) + 0.2 * (offset - 1)
        known = rows["ci_low"].notna().to_numpy()
        axes.hlines(at[known], rows["ci_low"][known], rows["ci_high"][known], color=colour, linewidth=1.4)
        for source, filled in (("file", "none"), ("published", "full"), ("within", "full")):
            chosen = (rows["source"] == source).to_numpy()
            axes.plot(rows["value"][chosen], at[chosen], "s", color=colour, markersize=5, fillstyle=filled)


def charts(tables: Mapping[str, pd.DataFrame]) -> Iterator[Chart]:
    """Both halves of the picture."""
    for source, title in (("within", "Within categories"), ("published", "As published"), ("file", "Published files")):
        table = tables.get("phases_models", pd.DataFrame({"source": []}))
        table = table[table["source"] == source]
        names = list(dict.fromkeys(table["model"])) if len(table) else []
        series = []
        for phase in _PHASES if names else ():
            rows = table[table["phase"] == phase]
            x = [names.index(name) for name in rows["model"]]
            series.append(
                Series(phase, x, rows["value"], rows["ci_low"], rows["ci_high"], style="points", labels=rows["model"].tolist())
            )
        if names:
            note = "Above 0: likelier texts are more central. Lines: intervals."
            y = "r of centroid asymmetry with preference"
            yield Chart(f"Phases of models: {title}", "model", y, series, ticks=names, rules=[0.0], note=note)


VIEWS = [SweepView(figures, charts)]
