"""The vectors of one model's languages, each read once from the store, whichever runs of a sweep hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from layeratlas.errors import Undefined
from layeratlas.runs.reading import Run
from layeratlas.studies.sweep import Sweep, name_of

if TYPE_CHECKING:  # torch takes seconds to import, and most studies need none
    from layeratlas.arrays import Activations


@dataclass(frozen=True)
class OfModel:
    """One model under one condition: of each language the run that holds it, and on which side."""

    condition: str
    shared: pd.Series
    model: str
    runs: Mapping[str, tuple[Run, str]]
    sweep: Sweep

    @property
    def first(self) -> Run:
        return next(iter(self.runs.values()))[0]

    @property
    def items(self) -> pd.DataFrame:
        return self.first.table("items")

    def vectors(self) -> dict[str, Activations]:
        """Of each language the layers of the runs' matrices. Raises Undefined where items, their order or layers are others."""
        ids = self.items["id"].tolist()
        found: dict[str, Activations] = {}
        for language, (run, side) in self.runs.items():
            if run.table("items")["id"].tolist() != ids:
                raise Undefined(f"{language} was run on other items, or in another order, than {next(iter(self.runs))}")
            opened = self.sweep.opener(run)
            found[language] = opened.a if side == "a" else opened.b
        names = [vectors.names for vectors in found.values()]
        if any(other != names[0] for other in names):
            raise Undefined("its runs have different layers")
        return found


def models_in_languages(sweep: Sweep, least: int) -> Iterator[OfModel]:
    """Each condition and model of which runs hold so many languages of the same text field or more; sides with a control do not."""
    for shared, part in sweep.conditions():
        table = part.table
        plain = (table["control_a"] == "") & (table["control_b"] == "") & (table["field_a"] == table["field_b"])
        alike = plain & (table["model_a"] == table["model_b"])
        for (model, field), rows in table[alike].groupby(["model_a", "field_a"], sort=False):
            runs: dict[str, tuple[Run, str]] = {}
            for i in rows.index:
                for side in "ab":
                    runs.setdefault(str(table[f"language_{side}"][i]), (part.runs[i], side))
            if len(runs) >= least:
                where = name_of(shared) + (f"-{field}" if table["field_a"].nunique() > 1 else "")
                yield OfModel(where, shared, str(model), runs, part)
