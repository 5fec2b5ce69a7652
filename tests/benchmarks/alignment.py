"""Time and memory of the analysis `alignment`: n = 400, 33 layers of 4,096 dimensions, 200 permutations, 20 groups.

    uv run tests/benchmarks/alignment.py    under 60 s and 3 GB on two cores

Layers are made when they are read, as those of a run come from the store, and the time of making them is taken off.
"""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measuring import Figures, measure
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))
from meeting_worlds import every_metric, inferring

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Alignment, Comparison
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.metrics import RetrievalAt1

N, LAYERS, WIDTH, PERMUTATIONS, GROUPS = 400, 33, 4096, 200, 20
METRICS = every_metric(k=10)


class Made(Mapping[str, Tensor]):
    """Vectors that share a concept with the other side's, drawn anew whenever a layer is asked for."""

    def __init__(self, side: int) -> None:
        self.side, self.seconds = side, 0.0

    def __getitem__(self, name: str) -> Tensor:
        start, layer = time.perf_counter(), int(name.removeprefix("block_"))
        shared, own = (torch.Generator().manual_seed(seed) for seed in (layer, 1000 * (self.side + 1) + layer))
        x = torch.randn(N, WIDTH, generator=shared) + 2 * torch.randn(N, WIDTH, generator=own) + 3
        self.seconds += time.perf_counter() - start
        return x

    def __iter__(self) -> Iterator[str]:
        return iter([f"block_{k}" for k in range(1, LAYERS + 1)])

    def __len__(self) -> int:
        return LAYERS


def analysis() -> Figures:
    lengths = torch.from_numpy(np.random.default_rng(0).integers(8, 60, N)).float()
    made = [Made(side) for side in (0, 1)]
    a, b = (Activations(layers, LAYERS, lengths) for layers in made)
    nothing = np.zeros((LAYERS, LAYERS))
    comparison = Comparison(
        Affinity(nothing, nothing, a.names, b.names, a.depths, b.depths, N, [], []),
        a,
        b,
        Signer(RetrievalAt1(), torch.device("cpu")),
        pd.DataFrame({"id": [f"i{i}" for i in range(N)], "group": [f"g{i % 20}" for i in range(N)]}),
        {"a": Language("en"), "b": Language("de")},
        inferring(PERMUTATIONS, GROUPS),
        0,
    )
    wall = time.perf_counter()
    Alignment(metrics=METRICS, threshold=0.85, consecutive=3, folds=5, seed=0)(comparison)
    seconds = time.perf_counter() - wall - sum(layers.seconds for layers in made)
    return {"seconds": seconds, "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


if __name__ == "__main__":
    measure(__file__, {"analysis": analysis}, sys.argv[1:])
