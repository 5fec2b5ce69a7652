"""What the swap margin and each cell lose without groups of items, and what lengths and tokens account for over depth."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import name_of
from layeratlas.report.panels import headed
from layeratlas.report.views import View
from layeratlas.runs.reading import Run

_WIDE = 3.4  # inches: a column of a paper
_SMALL = 6.0  # points
_NAMED = 24  # characters of a group's name
_DEVIATIONS = 2


def influence_figure(run: Run) -> Figure:
    """Change of the swap margin (or of the mean affinity) without each group, on the band of random groups; then the accounts."""
    table, change, random, sd, label = _changes(run)
    accounts = _accounts(run)
    high = 1.1 + 0.15 * len(table)
    figure, panels = plt.subplots(
        2 if len(accounts) else 1,
        1,
        figsize=(_WIDE, high + (1.9 if len(accounts) else 0.4)),
        squeeze=False,
        layout="constrained",
        height_ratios=[high, 1.7] if len(accounts) else None,
    )
    axes, places = panels[0, 0], range(len(table))
    if sd is not None:
        axes.barh(
            places, 2 * _DEVIATIONS * sd, left=random - _DEVIATIONS * sd, height=0.8, color="0.85", label="as many random items"
        )
    axes.plot(change, places, "s", color="tab:blue", markersize=3.5, label="without the group")
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(
        places, [f"{name[:_NAMED]} ({n})" for name, n in zip(table["group"], table["items"], strict=True)], fontsize=_SMALL
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"change of the {label}", fontsize=_SMALL + 1)
    axes.tick_params(axis="x", labelsize=_SMALL)
    if len(accounts):
        _draw_accounts(panels[1, 0], accounts)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", fontsize=_SMALL, frameon=False, ncols=2)
    headed(figure, _caption(run))
    return figure


def _draw_accounts(axes, accounts: pd.DataFrame) -> None:
    for name, rows in accounts.groupby("account", sort=False):
        axes.plot(rows["depth_a"], rows["share"], marker=".", markersize=3, linewidth=1.1, label=name)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xlabel("depth of the layer of a", fontsize=_SMALL + 1)
    axes.set_ylabel("share of what\nis above chance", fontsize=_SMALL + 1)
    axes.tick_params(labelsize=_SMALL)
    axes.legend(fontsize=_SMALL, frameon=False)


def charts(run: Run) -> list[Chart]:
    table, change, random, sd, label = _changes(run)
    x, names = range(len(table)), [str(name) for name in table["group"]]
    low, high = (None, None) if sd is None else (random - _DEVIATIONS * sd, random + _DEVIATIONS * sd)
    labels = [f"{name}, {n} items" for name, n in zip(names, table["items"], strict=True)]
    series = [
        Series("without the group", x, change, style="points", labels=labels),
        Series("without as many random items", x, random, low, high, style="dotted"),
    ]
    note = "Below 0: the group carries a part of it. Band: two deviations of random groups."
    drawn = [
        Chart(f"The {label} without each group", "group", f"change of the {label}", series, ticks=names, rules=[0.0], note=note)
    ]
    accounts = _accounts(run)
    if len(accounts):
        curves = [
            Series(
                str(name),
                rows["depth_a"],
                rows["share"],
                labels=[f"a {a}, b {b}" for a, b in zip(rows["layer_a"], rows["layer_b"], strict=True)],
            )
            for name, rows in accounts.groupby("account", sort=False)
        ]
        note_of_accounts = "Each layer of a with its best match. No causal share: texts of one length may be alike in other ways."
        drawn.append(
            Chart(
                "What lengths and tokens account for",
                "depth of the layer of a",
                "share of what is above chance",
                curves,
                rules=[0.0],
                note=note_of_accounts,
            )
        )
    return drawn


def _changes(run: Run) -> tuple[pd.DataFrame, pd.Series, pd.Series, pd.Series | None, str]:
    table = run.table("influence")
    if "swap_margin_change" in table:
        return table, table["swap_margin_change"], table["swap_margin_random"], table["swap_margin_random_sd"], "swap margin"
    return table, table["mean_change"], table["mean_random"], None, "mean affinity"


def _accounts(run: Run) -> pd.DataFrame:
    """The rows of each layer of a that has a depth, with the layer of b that it is most alike."""
    if "influence_accounts" not in run.tables:
        return pd.DataFrame()
    table = run.table("influence_accounts")
    depths = dict(zip(run.arrays["layers_a"].tolist(), run.arrays["depth_a"].tolist(), strict=True))
    best = table.loc[table.groupby(["account", "layer_a"], sort=False)["value"].idxmax()]
    best = best.assign(depth_a=best["layer_a"].map(depths))
    return best[best["depth_a"].notna()].sort_values("depth_a", kind="stable")


def _caption(run: Run) -> str:
    result = run.result
    sides = "; ".join(f"{side}: {name_of(result[side])}" for side in "ab")
    texts = f"{result['dataset']['name']}, n = {result['dataset']['n']}, pooling {result['pooling']}"
    return f"{sides}\n{result['metric']['name']}, {texts}"


VIEWS = [View("influence", ["influence"], influence_figure, charts)]
