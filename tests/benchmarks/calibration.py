"""How often each test of the diagonal finds one at the 5 % level where there is none, and where one is planted.

    uv run tests/benchmarks/calibration.py

Two models of 14 and 10 layers over the same 96 items, each layer a small step of a random walk from the one before, as layers of
networks are. Without correspondence the walks are independent. With it, both begin at the same point and take every step of the
items' common signal at the same depth.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from layeratlas.metrics import CKALinearDebiased, MutualKNN
from layeratlas.statistics.diagonal import circular_shift_p, contrast, generalised_diagonal, layer_permutation_p, on_off_diagonal
from layeratlas.statistics.nulls import add_one_p, orders

LAYERS, ITEMS, WIDTHS, STEP, DRAWS = (14, 10), 96, (24, 20), 0.5, 99


def walks(rng: np.random.Generator, shared: float) -> list[list[np.ndarray]]:
    """Layers of both models; `shared` is how much of each step is a common signal's at that depth."""
    path = np.cumsum(rng.standard_normal((20, ITEMS, 8)), axis=0)
    sides = []
    for layers, d in zip(LAYERS, WIDTHS, strict=True):
        mixing = rng.standard_normal((8, d))
        own = rng.standard_normal((ITEMS, d)) + STEP * np.cumsum(rng.standard_normal((layers, ITEMS, d)), axis=0)
        sides.append([own[i] + shared * path[round(i / (layers - 1) * 19)] @ mixing for i in range(layers)])
    return sides


def rejections(metric: MutualKNN | CKALinearDebiased, shared: float, runs: int) -> dict[str, float]:
    on, found = generalised_diagonal(*LAYERS), []
    for run in range(runs):
        rng = np.random.default_rng([run, round(100 * shared)])
        a, b = ([metric.signature(torch.from_numpy(x)) for x in side] for side in walks(rng, shared))
        matrix = metric.affinity(a, b).numpy()
        draws = metric.permuted_affinity(a, b, torch.from_numpy(orders(ITEMS, DRAWS, rng))).numpy()
        published = on_off_diagonal(matrix)
        found.append(
            {
                "Student's t over cells, as published": published.student_p,
                "Welch's t over cells": published.welch_p,
                "layer permutation": layer_permutation_p(matrix, on, DRAWS, rng),
                "circular shift of rows (smallest p 1/14)": circular_shift_p(matrix, on, axis=0),
                "item permutation of the contrast": float(add_one_p(contrast(matrix, on), contrast(draws, on))),
            }
        )
    return {name: float(np.mean([p[name] <= 0.05 for p in found])) for name in found[0]}


if __name__ == "__main__":
    runs = 300
    for metric in (MutualKNN(k=5), CKALinearDebiased()):
        none, planted = rejections(metric, 0.0, runs), rejections(metric, 0.3, runs)
        print(f"{metric.name}, share of {runs} runs with p <= .05: without correspondence, with a planted diagonal")
        for name in none:
            print(f"  {name:45s} {none[name]:.3f}  {planted[name]:.3f}")
