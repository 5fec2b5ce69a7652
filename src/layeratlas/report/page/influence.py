"""What a run's page needs to explain a cell: the tables of the analysis `influence`, cell by cell."""

from typing import Any

import numpy as np
import pandas as pd

from layeratlas.files.inert import inert
from layeratlas.runs.reading import Run

_ITEMS = 12  # that move a cell most, of each cell in which single items were left out


def influence_of(run: Run) -> dict[str, Any] | None:
    """`groups`, their `sizes` and changes of all cells; the random changes of each of the `kinds` of size; `accounts`; `items` of
    some cells. None without the analysis.
    """
    if "influence_cells" not in run.tables:
        return None
    cells, shape = run.table("influence_cells"), run.arrays["affinity"].shape
    groups = cells.drop_duplicates("group")
    sizes = groups["items"].tolist()
    kinds = list(dict.fromkeys(sizes))
    of_kind = cells[cells["group"].isin(groups.drop_duplicates("items")["group"])]
    if len(cells) != len(groups) * shape[0] * shape[1]:
        raise ValueError(f"influence_cells has {len(cells)} rows, not one for each of {len(groups)} groups and {shape} cells")
    return {
        "groups": [inert(str(name)) for name in groups["group"]],
        "sizes": sizes,
        "change": cells["change"].to_numpy(dtype="f4"),
        "kinds": [kinds.index(size) for size in sizes],
        "random": of_kind["random"].to_numpy(dtype="f4"),
        "random_sd": of_kind["random_sd"].to_numpy(dtype="f4"),
        "accounts": _accounts(run),
        "items": _items(run),
    }


def _accounts(run: Run) -> list[dict[str, Any]]:
    if "influence_accounts" not in run.tables:
        return []
    return [
        {"name": str(name), "without": rows["without"].to_numpy(dtype="f4"), "share": rows["share"].to_numpy(dtype="f4")}
        for name, rows in run.table("influence_accounts").groupby("account", sort=False)
    ]


def _items(run: Run) -> list[dict[str, Any]]:
    """Of each cell in which single items were left out, those that lower or raise it most, the strongest first."""
    if "influence_items" not in run.tables:
        return []
    layers = {side: run.arrays[f"layers_{side}"].tolist() for side in "ab"}
    return [
        {
            "cell": [layers["a"].index(a), layers["b"].index(b)],
            "of": len(rows),
            **_strongest(rows),
        }
        for (a, b), rows in run.table("influence_items").groupby(["layer_a", "layer_b"], sort=False)
    ]


def _strongest(rows: pd.DataFrame) -> dict[str, Any]:
    order = np.argsort(rows["beyond"].to_numpy(), kind="stable")
    chosen = rows.iloc[np.unique([*order[:_ITEMS], *order[-_ITEMS:]])].sort_values("beyond", kind="stable")
    return {"item": chosen["item"].to_numpy(dtype="i4"), "beyond": chosen["beyond"].to_numpy(dtype="f4")}
