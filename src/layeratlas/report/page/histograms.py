"""How alike single pairs of texts are, per model and pair of languages, for a sweep's page: counts of cosines at some depths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.files.inert import inert
from layeratlas.runs.reading import Run

BINS = 40
DEPTHS = 6  # at which a page holds counts
_TABLE = "alignment_items"
_COSINES = {"cosine": "cosine", "cosine_centered": "centred cosine", "cosine_of_wrong": "mean cosine with wrong partners"}


def histograms(runs: Sequence[Run]) -> dict[str, Any] | None:
    """For each run with the analysis `alignment` and each of some depths, the counts of each cosine in `BINS` bins from -1 to 1.

    `counts` run by run, depth by depth, cosine by cosine. None where no run has any.
    """
    asked = [(place, run) for place, run in enumerate(runs) if "alignment" in run.result["analyses"] and _TABLE in run.tables]
    if not asked:
        return None
    edges = np.linspace(-1, 1, BINS + 1)
    counted = [_counts(run.table(_TABLE), edges) for _, run in asked]
    return {
        "runs": [place for place, _ in asked],
        "models": [inert(run.result["a"]["model"]) for _, run in asked],
        "languages": [inert(" and ".join(run.result[side]["language"] for side in "ab")) for _, run in asked],
        "layers": [layers for layers, _ in counted],
        "cosines": list(_COSINES.values()),
        "bins": BINS,
        "depths": DEPTHS,
        "counts": np.concatenate([counts.ravel() for _, counts in counted]),
    }


def _counts(items: pd.DataFrame, edges: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The layers nearest to depths at equal distances, and the counts (depths, cosines, bins) there."""
    layers = items[["layer", "depth"]].drop_duplicates()
    layers = layers[layers["depth"].notna()] if layers["depth"].notna().any() else layers.assign(depth=1.0)
    wanted = np.arange(1, DEPTHS + 1) / DEPTHS
    chosen = [str(layers["layer"].iloc[int((layers["depth"] - depth).abs().to_numpy().argmin())]) for depth in wanted]
    rows = [items[items["layer"] == layer] for layer in chosen]
    counts = [[_in_bins(part[name].to_numpy(), edges) for name in _COSINES] for part in rows]
    return chosen, np.array(counts, dtype="u4")


def _in_bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A cosine that rounding has put beyond 1 is in the last bin."""
    return np.histogram(np.clip(values[np.isfinite(values)], -1, 1), edges)[0]
