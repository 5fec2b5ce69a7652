"""One side of a comparison whose vectors lie in a file: it answers to the same calls as one that a model has to read."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from layeratlas.extraction import preflight
from layeratlas.extraction.activations import Extracted, Extractor
from layeratlas.extraction.balance import per_unit
from layeratlas.models import StoredActivations


@dataclass(frozen=True)
class StoredSide:
    """`rows` of the file's arrays, which hold one for each of the dataset's `population` items; `texts` are those of the rows."""

    model: StoredActivations
    population: int
    rows: Sequence[int]
    texts: Sequence[str]

    def extracted(self, extractor: Extractor, pooling: str) -> Extracted:
        """All layers of the file, whatever they were pooled by."""
        del pooling
        preflight.require_memory(self.model.memory(len(self.rows)), f"model path={self.model.path}", extractor.device)
        activations = self.model.activations(self.population, self.rows)
        counts = self.model.counts(self.population, self.rows)
        if "nll" in counts:
            texts = counts[["tokens"]].assign(characters=[*map(len, self.texts)], bytes=[len(text.encode()) for text in self.texts])
            scored = counts if "nll_tokens" in counts else counts.assign(nll_tokens=counts["tokens"])
            counts = pd.concat([texts, per_unit(scored, texts["characters"], texts["bytes"])], axis=1)
        return Extracted(activations, counts, {"path": self.model.path})

    def fill(self, extractor: Extractor) -> None:
        """Nothing has to be extracted."""

    def in_memory(self, extractor: Extractor) -> bool:
        return False
