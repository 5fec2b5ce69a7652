"""How far batches and number formats move a model's activations, measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from layeratlas.arrays import Pooling
from layeratlas.extraction.batching import Batching
from layeratlas.files.store import Store
from layeratlas.models.base import AbstractModel
from layeratlas.models.settings import Needs

BATCH_SIZES = (1, 2, 4, 16)
DTYPES = ("float32", "bfloat16", "float16")

Vectors = dict[str, dict[str, Tensor]]


def drift_table(
    model: AbstractModel, texts: Sequence[str], poolings: Mapping[str, Pooling], needs: Needs, store: Store, device: torch.device
) -> pd.DataFrame:
    """A row per dtype, batch size and pooling: the largest difference over layers, relative to the layer's norm.

    `from_batch_1` compares with the same dtype and one text at a time, `from_float32` with that in float32.
    """
    rows = []
    exact: Vectors = {}
    for dtype in DTYPES:
        vectors = _extract(replace(model, dtype=dtype), texts, poolings, needs, store, device)
        exact = exact or vectors[1]
        for size in BATCH_SIZES:
            for pooling in poolings:
                rows.append(
                    {
                        "dtype": dtype,
                        "batch_size": size,
                        "pooling": pooling,
                        "from_batch_1": _largest(vectors[size][pooling], vectors[1][pooling]),
                        "from_float32": _largest(vectors[size][pooling], exact[pooling]),
                    }
                )
    return pd.DataFrame(rows)


def _extract(
    model: AbstractModel, texts: Sequence[str], poolings: Mapping[str, Pooling], needs: Needs, store: Store, device: torch.device
) -> dict[int, Vectors]:
    from layeratlas.extraction.forward import Texts, unchecked

    loaded = model.load(store, device, needs)
    encoded = Texts(texts, loaded.encoder.encode(texts))
    budget = needs.max_length * max(BATCH_SIZES)
    return {n: unchecked(loaded, encoded, poolings, Batching(n, budget), lambda texts, tokens: None).pooled for n in BATCH_SIZES}


def _largest(vectors: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(float((vectors[layer] - expected[layer]).norm() / expected[layer].norm()) for layer in expected)
