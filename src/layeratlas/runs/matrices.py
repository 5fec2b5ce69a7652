"""A run's matrix as files: arrays, neighbour lists and the tidy table. Apart from what reads them, which imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.affinity.matrix import Affinity
from layeratlas.runs.reading import ARRAYS, NEIGHBORS
from layeratlas.runs.writing import write_file


def write_arrays(folder: Path, affinity: Affinity) -> Path:
    """`left_out` (groups, layers_a, layers_b) are the matrices without each group of items: the interval of any statistic."""
    arrays = {
        "affinity": affinity.matrix,
        "layers_a": np.array(affinity.layers_a),
        "layers_b": np.array(affinity.layers_b),
        "depth_a": np.array(affinity.depth_a),
        "depth_b": np.array(affinity.depth_b),
        "chance": affinity.chance,
        **affinity.inferred,
        **({} if affinity.left_out is None else {"left_out": affinity.left_out}),
    }
    return write_file(folder / ARRAYS, lambda path: np.savez_compressed(path, allow_pickle=False, **arrays))


def write_neighbors(folder: Path, affinity: Affinity, k: int) -> Path:
    """Ordered neighbour lists, as rows of items.parquet: `neighbors_a` and `neighbors_b` of shape (layers, n, k)."""
    smallest = np.min_scalar_type(affinity.signatures_a[0].indices.shape[0])  # as small as compressed, in a tenth of the time
    lists = {
        f"neighbors_{side}": np.stack([signature.indices[:, :k].cpu().numpy() for signature in signatures]).astype(smallest)
        for side, signatures in (("a", affinity.signatures_a), ("b", affinity.signatures_b))
    }
    return write_file(folder / NEIGHBORS, lambda path: np.savez(path, allow_pickle=False, **lists))


def tidy(affinity: Affinity, constants: Mapping[str, Any]) -> pd.DataFrame:
    """One row per layer pair, the `constants` of the run repeated in each."""
    rows, columns = (index.ravel() for index in np.indices(affinity.matrix.shape))
    return pd.DataFrame(
        {
            **constants,
            "layer_a": np.array(affinity.layers_a)[rows],
            "layer_b": np.array(affinity.layers_b)[columns],
            "depth_a": np.array(affinity.depth_a)[rows],
            "depth_b": np.array(affinity.depth_b)[columns],
            "affinity": affinity.matrix.ravel(),
            "chance": affinity.chance.ravel(),
            **{name: values.ravel() for name, values in affinity.inferred.items()},
        }
    )
