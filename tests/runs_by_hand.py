"""Runs that were never written: studies are asked about them without a folder."""

from dataclasses import dataclass

import pandas as pd

from layeratlas.runs.reading import Run


@dataclass(frozen=True)
class RunByHand(Run):
    """A run whose only table is `items`."""

    items: pd.DataFrame | None = None

    def table(self, name: str) -> pd.DataFrame:
        assert name == "items"
        assert self.items is not None
        return self.items
