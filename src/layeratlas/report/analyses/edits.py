"""How far edits of the residual stream move a model's vectors, beside random ones."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.panels import WIDTH, legend_below, name_layers
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_STYLES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (1, 3))]


def edits_figure(run: Run) -> Figure:
    """A line per file of edits over layers, and the range of random directions of the same rank."""
    table = run.table("edits")
    layers = list(dict.fromkeys(table["layer"]))
    at = {layer: place for place, layer in enumerate(layers)}
    figure, axes = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    for rank, draws in table[table["matched"] == "rank"].groupby("rank"):
        held = draws.groupby("layer", sort=False)["energy"]
        axes.fill_between(
            range(len(layers)),
            held.min(),
            held.max(),
            color="grey",
            alpha=0.35,
            linewidth=0,
            label=f"random directions, rank {rank}",
        )
    own = table[table["matched"].isna()]
    for i, (edit, rows) in enumerate(own.groupby("edit", sort=False)):
        axes.plot([at[layer] for layer in rows["layer"]], rows["energy"], linestyle=_STYLES[i % len(_STYLES)], label=str(edit))
    if (table["energy"] > 0).all():
        axes.set_yscale("log")
    name_layers(axes, layers, 10)
    axes.set_ylabel("mean squared change of a vector", fontsize="small")
    legend_below(figure, 2)
    axes.set_title(_title(run, own), fontsize="small")
    return figure


def _title(run: Run, own: pd.DataFrame) -> str:
    result = run.result
    languages = "-".join(result[side]["language"] for side in "ab")
    return (
        f"{result['a']['model']} · {languages} · {result['dataset']['name']}, n = {result['dataset']['n']}\npooling"
        f" {result['pooling']}: {own['edit'].nunique()} edits fitted"
    )


VIEWS = [View("edits", ["edits"], edits_figure)]
