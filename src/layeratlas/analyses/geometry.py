"""What do a model's layers look like, one by one?"""

from dataclasses import dataclass
from functools import partial

import pandas as pd

from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import geometry
from layeratlas.options import Positive


@dataclass(frozen=True)
class Geometry(AbstractAnalysis):
    """Dimension, spread and outlying axes of each layer of both sides; `top_dimensions` is how many axes count as outlying.

    Layers as they were extracted, `embed` and `final_norm` included where the run has them. A language, a control or a pooling
    that moves these numbers moves what every metric sees.
    """

    top_dimensions: Positive

    def __call__(self, comparison: Comparison) -> Findings:
        table_a = self._table(comparison.a, "a")
        table_b = table_a.assign(side="b") if comparison.b is comparison.a else self._table(comparison.b, "b")
        return Findings(pd.concat([table_a, table_b], ignore_index=True))

    def _table(self, side: Activations, name: str) -> pd.DataFrame:
        measures = {
            "effective_rank": geometry.effective_rank,
            "participation_ratio": geometry.participation_ratio,
            "intrinsic_dimension": geometry.intrinsic_dimension,
            "anisotropy": geometry.anisotropy,
            "kurtosis": geometry.kurtosis,
            "top_dimension_share": partial(geometry.top_dimension_share, largest=self.top_dimensions),
            "uniformity": geometry.uniformity,
        }
        rows = []
        for layer, depth in zip(side.names, side.depths, strict=True):
            x = side.layers[layer]
            try:
                found = {measure: of(x) for measure, of in measures.items()}
            except (Undefined, ConfigError) as error:
                raise Undefined(f"side {name}, {layer}: {error}") from error
            rows.append({"side": name, "layer": layer, "depth": depth, **found})
        return pd.DataFrame(rows)
