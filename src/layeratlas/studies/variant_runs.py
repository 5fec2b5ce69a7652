"""Runs of several models on the same texts in the same two languages, item by item."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from layeratlas.runs.reading import Run
from layeratlas.studies.sweep import Sweep, name_of

ALIGNMENT, ITEMS, COMMITMENT = "alignment", "alignment_items", "commitment"
MEAN = "mean of depths"


@dataclass(frozen=True)
class SameTexts:
    """One pair of languages under one condition: each model's run, in the order of the sweep."""

    condition: str
    shared: pd.Series
    language_a: str
    language_b: str
    runs: Mapping[str, Run]

    @property
    def languages(self) -> str:
        return f"{self.language_a}-{self.language_b}"


@dataclass(frozen=True)
class ItemCurves:
    """What one model makes of each item over its blocks that say something: (items, blocks), by the name of the measure.

    `retrieved`: of the two ways to look for a translation, the share that finds it first (0, .5, 1); its mean over items is
    retrieval at 1. `cosine_above_wrong`: the cosine with the translation less the mean cosine with all wrong ones.
    """

    ids: list[str]
    groups: list[str]
    depths: Float[np.ndarray, " blocks"]
    measures: Mapping[str, Float[np.ndarray, "items blocks"]]


def same_texts(sweep: Sweep) -> Iterator[SameTexts]:
    """Every condition and pair of languages in which two models or more were asked for `alignment`."""
    for shared, part in sweep.conditions():
        table = part.table
        of_one = (table["model_a"] == table["model_b"]) & (table["language_a"] != table["language_b"])
        for (a, b, *_), rows in table[of_one].groupby(["language_a", "language_b", "field_a", "field_b"], sort=False):
            runs = {str(table["model_a"][i]): part.runs[i] for i in rows.index if {ITEMS, COMMITMENT} <= set(part.runs[i].tables)}
            if len(runs) > 1:
                yield SameTexts(name_of(shared), shared, str(a), str(b), runs)


def curves_of(run: Run) -> ItemCurves:
    """A run's item curves; layers that the analysis flagged are left out."""
    table, layers = run.table(ITEMS), run.table(ALIGNMENT).drop_duplicates("layer").set_index("layer")
    telling = layers.index[layers["depth"].notna() & (layers["flag"] == "")]
    rows = table[table["layer"].isin(telling)]
    items = table.drop_duplicates("id")
    ids = items["id"].tolist()
    found = {
        "retrieved": ((rows["rank_a_to_b"] == 1).astype(float) + (rows["rank_b_to_a"] == 1)) / 2,
        "cosine_above_wrong": rows["cosine"] - rows["cosine_of_wrong"],
    }
    measures = {
        name: rows.assign(measure=values)
        .pivot(index="id", columns="layer", values="measure")
        .loc[ids, list(telling)]
        .to_numpy(float)
        for name, values in found.items()
    }
    return ItemCurves(ids, items["group"].tolist(), layers.loc[telling, "depth"].to_numpy(float), measures)


def shared_depths_of(first: ItemCurves, second: ItemCurves) -> Float[np.ndarray, " depths"]:
    """The first's depths that lie within those of both."""
    low = max(first.depths.min(initial=np.inf), second.depths.min(initial=np.inf))
    high = min(first.depths.max(initial=-np.inf), second.depths.max(initial=-np.inf))
    return first.depths[(first.depths >= low - 1e-9) & (first.depths <= high + 1e-9)]
