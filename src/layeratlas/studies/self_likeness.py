"""How alike a model's blocks are to the layers beside them, from a run of the model with itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from layeratlas.errors import Undefined
from layeratlas.layers import FINAL_NORM, block
from layeratlas.runs.reading import Run
from layeratlas.statistics.redundancy import above_chance

if TYPE_CHECKING:
    from layeratlas.studies.opened import Opened


@dataclass(frozen=True)
class SelfLikeness:
    """A model's layers with each other, `names` in the order of depth, of which `blocks` are asked about.

    `with_input` is the affinity of each block with the layer before it, `with_neighbors` the mean with those on both sides, where
    there are two; both as shares of the way from chance to a layer with itself.
    """

    matrix: Float[np.ndarray, "layers layers"]
    chance: Float[np.ndarray, "layers layers"]
    names: Sequence[str]
    all_depths: Sequence[float]
    blocks: Sequence[int]

    @property
    def places(self) -> list[int]:
        return [self.names.index(block(k)) for k in self.blocks]

    @property
    def depths(self) -> Float[np.ndarray, " blocks"]:
        return np.array([self.all_depths[place] for place in self.places])

    @property
    def with_input(self) -> Float[np.ndarray, " blocks"]:
        scaled = above_chance(self.matrix, self.chance)
        return np.array([scaled[place - 1, place] for place in self.places])

    @property
    def with_neighbors(self) -> Float[np.ndarray, " blocks"]:
        scaled, last = above_chance(self.matrix, self.chance), len(self.names) - 1
        return np.array([np.mean([scaled[p, q] for q in (p - 1, p + 1) if q <= last]) for p in self.places])

    def doubts(self, run: Run) -> dict[int, str]:
        """Layers of which the run itself warns that the metric says little, by their place."""
        metric, found = run.result["metric"]["name"], {}
        for warning in run.result["warnings"]:
            if matched := re.match(rf"metric {re.escape(metric)}, side a, (.*?): (.*)", warning):
                named = re.findall(r"(?:block_\d+|embed)(?![\w])", matched[1])
                found |= {self.names.index(name): matched[2] for name in named if name in self.names}
        return found


def self_likeness(run: Run, blocks: Sequence[int]) -> SelfLikeness:
    """Of a run of a model with itself. Raises Undefined where a layer is missing that lies before one of the blocks."""
    arrays = run.arrays
    return _checked(_residual_stream(arrays["affinity"], arrays["chance"], arrays["layers_a"], arrays["depth_a"], blocks))


def over_items(opened: Opened, kept: np.ndarray, blocks: Sequence[int]) -> SelfLikeness:
    """The same over some of the items, from the vectors."""
    import torch

    from layeratlas.affinity.matrix import compare

    some = opened.a.some(torch.from_numpy(kept))
    affinity = compare(opened.signer, some, some)
    depths = np.array(affinity.depth_a)
    return _checked(_residual_stream(affinity.matrix, affinity.chance, np.array(affinity.layers_a), depths, blocks))


def _residual_stream(
    matrix: np.ndarray, chance: np.ndarray, layers: np.ndarray, depths: np.ndarray, blocks: Sequence[int]
) -> SelfLikeness:
    """Without the final norm, which no block reads."""
    kept = np.flatnonzero(layers != FINAL_NORM)
    cells = np.ix_(kept, kept)
    return SelfLikeness(matrix[cells], chance[cells], [str(name) for name in layers[kept]], depths[kept].tolist(), blocks)


def _checked(likeness: SelfLikeness) -> SelfLikeness:
    asked = [(k, "embed" if k == 1 else block(k - 1)) for k in likeness.blocks]
    lacking = sorted({name for k, before in asked for name in (before, block(k)) if name not in likeness.names})
    if lacking:
        raise Undefined(f"the run of the model with itself has no {', '.join(lacking)}; layers=all has them")
    return likeness
