"""What analyses are given, made by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison, Diagonal, Findings
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.metrics import AbstractMetric, MutualKNN
from layeratlas.statistics import Inference

ENGLISH = Language(code="en")
OFF = Inference(permutations=0, groups=0, alpha=0.05, level=0.95, within_groups=False, by_group=False, block=1)


def comparison_of(affinity: Affinity, a: Activations, b: Activations, signer: Signer) -> Comparison:
    """Of items without texts, all of one group."""
    items = pd.DataFrame({"id": [str(i) for i in range(affinity.n)], "group": "all"})
    return Comparison(affinity, a, b, signer, items=items, languages={"a": ENGLISH, "b": ENGLISH}, inference=OFF, seed=0)


DIAGONAL = Diagonal(band=0.1, draws=99, seed=0)


def asked(affinity: Affinity, *, itself: bool = False, same: Sequence[str] = ()) -> Findings:
    """The analysis reads the matrix, and which layers hold the same vectors on both sides: all of one side, or those named."""
    a = {name: torch.full((2, 2), float(i)) for i, name in enumerate(affinity.layers_a)}
    b = {name: a[name].clone() if name in same else torch.full((2, 2), -1.0) for name in affinity.layers_b}
    sides = Activations(a, 0), Activations(b, 0)
    signer = Signer(MutualKNN(k=1), torch.device("cpu"))
    return DIAGONAL(comparison_of(affinity, sides[0], sides[0] if itself else sides[1], signer))


def inference(**options) -> Inference:
    defaults = {"permutations": 99, "groups": 10, "alpha": 0.05, "level": 0.95}
    return Inference(**(defaults | {"within_groups": False, "by_group": False, "block": 1} | options))


def compared(metric: AbstractMetric, a: list[np.ndarray], b: list[np.ndarray]) -> Affinity:
    sides = [[metric.signature(torch.from_numpy(x)) for x in side] for side in (a, b)]
    names = [[f"block_{k}" for k in range(1, len(side) + 1)] for side in (a, b)]
    depths = [[(k + 1) / len(side) for k in range(len(side))] for side in (a, b)]
    chance = metric.chance(*sides).mean.numpy()
    return Affinity(metric.affinity(*sides).numpy(), chance, *names, *depths, len(a[0]), *sides)
