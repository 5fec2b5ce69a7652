"""One side of a comparison whose vectors lie in a file: it answers to the same calls as one that a model has to read."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from layeratlas.extraction import preflight
from layeratlas.extraction.activations import Extracted, Extractor
from layeratlas.models import StoredActivations


@dataclass(frozen=True)
class StoredSide:
    """`rows` of the file's arrays, which hold one for each of the dataset's `population` items."""

    model: StoredActivations
    population: int
    rows: Sequence[int]

    def extracted(self, extractor: Extractor, pooling: str) -> Extracted:
        """All layers of the file, whatever they were pooled by."""
        del pooling
        preflight.require_memory(self.model.memory(len(self.rows)), f"model path={self.model.path}", extractor.device)
        activations = self.model.activations(self.population, self.rows)
        return Extracted(activations, pd.DataFrame(index=range(len(self.rows))), {"path": self.model.path})

    def fill(self, extractor: Extractor) -> None:
        """Nothing has to be extracted."""

    def in_memory(self, extractor: Extractor) -> bool:
        return False
