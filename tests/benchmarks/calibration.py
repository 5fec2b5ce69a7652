"""How often each test of the diagonal finds one where there is none, and how often 95 % intervals hold the truth.

    uv run tests/benchmarks/calibration.py [size] [coverage]    writes tests/claims/calibration_*.json; size draws a picture too

Size: two models of 14 and 10 layers over the same 96 items, each layer a small step of a random walk from the one before, as layers
of networks are. Without correspondence the walks are independent. With it, both begin at the same point and take every step of the
items' common signal at the same depth. Coverage: two layers that share a signal, 128 items; the truth is the mean of others.
"""

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core: threads would wait for each other over matrices this small

import numpy as np
import torch
from results import keep, picture

from layeratlas.metrics import RSA, AbstractMetric, CKALinear, CKALinearDebiased, MutualKNN, Procrustes, RetrievalAt1
from layeratlas.metrics.rdm import CosineDistance
from layeratlas.metrics.rsa import Spearman
from layeratlas.statistics.diagonal import circular_shift_p, contrast, generalised_diagonal, layer_permutation_p, on_off_diagonal
from layeratlas.statistics.nulls import add_one_p, orders
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval

LAYERS, ITEMS, WIDTHS, STEP, DRAWS = (14, 10), 96, (24, 20), 0.5, 99
RUNS, SAMPLES, GROUPS, PAIR_ITEMS = 300, 500, 20, 128


def walks(rng: np.random.Generator, shared: float, models: np.random.Generator | None = None) -> list[list[np.ndarray]]:
    """Layers of both models; `shared` is how much of each step is a common signal's at that depth.

    How a model turns the signal into dimensions comes from `models`, so that new items can be drawn for the same models.
    """
    path = np.cumsum(rng.standard_normal((20, ITEMS, 8)), axis=0)
    sides = []
    for layers, d in zip(LAYERS, WIDTHS, strict=True):
        mixing = (models or rng).standard_normal((8, d))
        own = rng.standard_normal((ITEMS, d)) + STEP * np.cumsum(rng.standard_normal((layers, ITEMS, d)), axis=0)
        sides.append([own[i] + shared * path[round(i / (layers - 1) * 19)] @ mixing for i in range(layers)])
    return sides


def signed(metric: AbstractMetric, sides: list[list[np.ndarray]]) -> list[list]:
    return [[metric.signature(torch.from_numpy(x)) for x in side] for side in sides]


def p_values(metric: AbstractMetric, shared: float) -> dict[str, np.ndarray]:
    """Of each test, one per run."""
    on, found = generalised_diagonal(*LAYERS), []
    for run in range(RUNS):
        rng = np.random.default_rng([run, round(100 * shared)])
        a, b = signed(metric, walks(rng, shared))
        matrix = metric.affinity(a, b).numpy()
        draws = metric.permuted_affinity(a, b, torch.from_numpy(orders(ITEMS, DRAWS, rng))).numpy()
        published = on_off_diagonal(matrix)
        found.append(
            {
                "Student's t over cells, as published": published.student_p,
                "Welch's t over cells": published.welch_p,
                "layer permutation": layer_permutation_p(matrix, on, DRAWS, rng),
                "circular shift (its smallest p is 1/14)": circular_shift_p(matrix, on, axis=0),
                "item permutation of the contrast (any correspondence)": float(
                    add_one_p(contrast(matrix, on), contrast(draws, on))
                ),
            }
        )
    return {name: np.array([p[name] for p in found]) for name in found[0]}


def size() -> dict[str, Any]:
    """By metric and test, the share of runs with p <= .05 without correspondence, and with a planted diagonal."""
    metrics, shared = (MutualKNN(k=5), CKALinearDebiased()), {"without": 0.0, "planted": 0.3}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = {(metric.name, world): pool.submit(p_values, metric, of) for metric in metrics for world, of in shared.items()}
    found = {key: job.result() for key, job in jobs.items()}
    draw({metric.name: found[metric.name, "without"] for metric in metrics})
    shares = {
        metric.name: {
            test: {world: float(np.mean(found[metric.name, world][test] <= 0.05)) for world in shared}
            for test in found[metric.name, "without"]
        }
        for metric in metrics
    }
    return {"runs": RUNS, "items": ITEMS, "layers_a": LAYERS[0], "layers_b": LAYERS[1], "draws": DRAWS, "tests": shares}


def draw(found: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(4.2 * len(found), 4), layout="constrained", sharey=True)
    for axes, (metric, tests) in zip(panels, found.items(), strict=True):
        for name, p in tests.items():
            axes.ecdf(p, label=name)
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="a test that keeps its level")
        axes.set(xlabel="level of the test", xlim=(0, 0.3), ylim=(0, 0.6), title=metric)
    panels[0].set_ylabel("runs without correspondence that are rejected")
    panels[0].legend(fontsize="x-small", frameon=False, loc="upper left")
    figure.savefig(picture("calibration.png"), dpi=150)


def coverage() -> dict[str, Any]:
    """For a value, and for the contrast of a whole matrix: the share of intervals that hold the truth, and their mean width."""
    rng = np.random.default_rng(3)
    mixing = [rng.standard_normal((8, d)) for d in (20, 30)]

    def pair() -> list[list[np.ndarray]]:
        signal = rng.standard_normal((PAIR_ITEMS, 8))
        return [[signal @ m + 2 * rng.standard_normal((PAIR_ITEMS, m.shape[1]))] for m in mixing]

    metrics = (MutualKNN(k=10), CKALinear(), CKALinearDebiased(), RSA(CosineDistance(), Spearman()), Procrustes())
    found = {metric.name: covered(metric.with_slack(), pair, lambda matrices: matrices[..., 0, 0]) for metric in metrics}

    def models() -> list[list[np.ndarray]]:
        return walks(rng, 0.3, np.random.default_rng(0))

    on = generalised_diagonal(*LAYERS)
    found["contrast of mutual_knn"] = covered(MutualKNN(k=5).with_slack(), models, lambda matrices: contrast(matrices, on))
    same = [rng.standard_normal((8, 20))]

    def translations() -> list[list[np.ndarray]]:
        signal = rng.standard_normal((PAIR_ITEMS, 8)) @ same[0]
        return [[signal + 1.5 * rng.standard_normal(signal.shape)] for _ in "ab"]

    found["retrieval_at_1"] = covered(RetrievalAt1(), translations, lambda matrices: matrices[..., 0, 0])
    sizes = {"samples": SAMPLES, "groups": GROUPS, "items": PAIR_ITEMS, "items_of_contrast": ITEMS}
    return sizes | {"layers_a": LAYERS[0], "layers_b": LAYERS[1], "metrics": found}


def covered(metric: AbstractMetric, sample: Callable[[], list], statistic: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    values = [statistic(metric.affinity(*signed(metric, sample())).numpy()) for _ in range(2 * SAMPLES)]
    truth, held, widths = np.mean(values), 0, []
    for _ in range(SAMPLES):
        a, b = signed(metric, sample())
        n = metric.items(a[0])
        subsets = [torch.from_numpy(np.setdiff1d(np.arange(n), part)) for part in jackknife_groups(n, GROUPS)]
        value, left_out = statistic(metric.affinity(a, b).numpy()), statistic(metric.subset_affinity(a, b, subsets).numpy())
        low, high = jackknife_interval(value, left_out, level=0.95, bounds=(-np.inf, np.inf))
        held += int(low <= truth <= high)
        widths.append(high - low)
    found = {"held": held / SAMPLES, "width": float(np.mean(widths))}
    print(metric.name, found, flush=True)
    return found


PARTS = {"size": size, "coverage": coverage}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for which in sys.argv[1:] or PARTS:
        keep(f"calibration_{which}", f"tests/benchmarks/calibration.py {which}", PARTS[which]())
