"""Do layers at similar depths match?"""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from layeratlas.affinity import Affinity
from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings, Headline
from layeratlas.statistics.diagonal import diagonal_means, on_off_diagonal


@dataclass(frozen=True)
class Diagonal(AbstractAnalysis):
    """Means on and off the generalised diagonal with the published t-test, and each block's best match in the other model.

    Reads blocks only: `embed` and `final_norm` have no depth.
    """

    name: ClassVar[str] = "diagonal"

    def __call__(self, comparison: Comparison) -> Findings:
        blocks = comparison.affinity.blocks()
        found = on_off_diagonal(blocks.matrix)
        chance_on, chance_off = diagonal_means(blocks.chance)
        headline = Headline(
            text="on-diagonal minus off-diagonal mean affinity (p: one-sided t-test over cells, as published)",
            value=found.contrast,
            chance=chance_on - chance_off,
            p=found.student_p,
        )
        summary = asdict(found) | {"contrast": found.contrast, "chance_on": chance_on, "chance_off": chance_off}
        table = pd.concat([_best_matches(blocks, "a"), _best_matches(blocks.transposed(), "b")], ignore_index=True)
        return Findings(table, statistics={"diagonal": summary}, headline=headline)


def _best_matches(blocks: Affinity, side: str) -> pd.DataFrame:
    """For each row, the column that it is most alike."""
    best = blocks.matrix.argmax(axis=1)
    return pd.DataFrame(
        {
            "side": side,
            "layer": blocks.layers_a,
            "depth": blocks.depth_a,
            "best_layer": np.array(blocks.layers_b)[best],
            "best_depth": np.array(blocks.depth_b)[best],
            "best_affinity": blocks.matrix.max(axis=1),
        }
    )
