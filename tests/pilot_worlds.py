"""Pilots of made-up layers, and what they predict of intervals at four times their items."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from comparing import DIAGONAL, comparison_of, inference

from layeratlas.affinity.matrix import compare, with_intervals
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison
from layeratlas.arrays import Activations
from layeratlas.stages.pilot import half_widths
from layeratlas.stages.planning import law_of

LAYERS, WIDTH = 7, 12
HEADLINE = "diagonal: swap margin"


def sampled(n: int, metric, seed: int) -> Comparison:
    """Items of one world, in which layers of two models share more the nearer their depths are."""
    rng = np.random.default_rng([3, seed])
    walk = rng.standard_normal((LAYERS, n, WIDTH)).cumsum(axis=0)
    sides = []
    for _ in range(2):
        noisy = walk + 1.5 * rng.standard_normal(walk.shape)
        layers = {f"block_{i + 1}": torch.from_numpy(x.astype(np.float32)) for i, x in enumerate(noisy)}
        sides.append(Activations(layers, LAYERS))
    signer = Signer(metric, torch.device("cpu"))
    affinity = compare(signer, *sides)
    return replace(comparison_of(affinity, *sides, signer), inference=inference(permutations=0, groups=20))


def realised(comparison: Comparison) -> float:
    metric, groups = comparison.signer.metric, comparison.groups
    affinity = with_intervals(metric, comparison.affinity, comparison.inference, groups)
    headline = DIAGONAL.of_matrix(affinity, metric.name, []).headline
    assert headline is not None
    return (headline.ci_high - headline.ci_low) / 2


def predictions(n: int, small, large, pilots: int) -> np.ndarray:
    """What pilots of n items predict at 4 n, over the median of what happens there."""
    widths = np.median([realised(sampled(4 * n, large, 1000 + i)) for i in range(max(pilots, 5))])
    predicted = []
    for seed in range(pilots):
        rows = pd.DataFrame(half_widths({"diagonal": DIAGONAL}, sampled(n, small, seed), "blocks"))
        assert rows.groupby("n")["part"].nunique().to_dict() == {n // 4: 4, n // 2: 2, n: 1}
        assert set(rows["interval"]) == {HEADLINE}
        predicted.append(law_of(rows, small).half_width(4 * n))
    return np.array(predicted) / widths
