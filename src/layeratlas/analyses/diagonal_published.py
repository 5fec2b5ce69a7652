"""The published descriptions of a matrix, beside the analysis `diagonal`."""

from typing import Any

import numpy as np

from layeratlas.affinity.matrix import Affinity
from layeratlas.statistics.diagonal import circular_shift_p, generalised_diagonal
from layeratlas.statistics.published_diagonal import (
    above_self,
    best_match_depth_difference,
    best_match_thirds,
    block_bootstrap,
    diagonal_thirds,
    layer_distance_r,
    manhattan_rank,
    same_layer,
)


def as_published(blocks: Affinity, *, itself: bool, draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """Numbers by name; None where they are of one model's layers, or of one side with itself, and this is another matrix."""
    matrix, depths = blocks.matrix, (np.array(blocks.depth_a), np.array(blocks.depth_b))
    on = generalised_diagonal(*matrix.shape)
    named_alike = blocks.layers_a == blocks.layers_b
    return {
        "best_match_depth_difference_a": best_match_depth_difference(matrix, *depths),
        "best_match_depth_difference_b": best_match_depth_difference(matrix.T, *depths[::-1]),
        "best_match_thirds_a": best_match_thirds(matrix)._asdict(),
        "best_match_thirds_b": best_match_thirds(matrix.T)._asdict(),
        "diagonal_thirds": diagonal_thirds(matrix)._asdict(),
        "manhattan_rank": manhattan_rank(matrix),
        "circular_shift_longer_p": circular_shift_p(matrix, on, 0 if matrix.shape[0] >= matrix.shape[1] else 1),
        "block_bootstrap": block_bootstrap(matrix, on, draws, rng)._asdict(),
        "same_layer": same_layer(matrix)._asdict() if named_alike else None,
        "layer_distance_r": layer_distance_r(matrix) if itself else None,
        "above_self": above_self(matrix, blocks.scale) if itself and blocks.scale > 0 else None,
    }
