"""How often each test of the diagonal finds one where there is none, and how often 95 % intervals hold the truth.

    uv run tests/benchmarks/calibration.py size        also draws .github/calibration.png
    uv run tests/benchmarks/calibration.py coverage

Size: two models of 14 and 10 layers over the same 96 items, each layer a small step of a random walk from the one before, as layers
of networks are. Without correspondence the walks are independent. With it, both begin at the same point and take every step of the
items' common signal at the same depth. Coverage: two layers that share a signal, 128 items; the truth is the mean of others.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from layeratlas.metrics import RSA, AbstractMetric, CKALinear, CKALinearDebiased, MutualKNN, Procrustes, RetrievalAt1
from layeratlas.metrics.rdm import CosineDistance
from layeratlas.metrics.rsa import Spearman
from layeratlas.statistics.diagonal import circular_shift_p, contrast, generalised_diagonal, layer_permutation_p, on_off_diagonal
from layeratlas.statistics.nulls import add_one_p, orders
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval

LAYERS, ITEMS, WIDTHS, STEP, DRAWS = (14, 10), 96, (24, 20), 0.5, 99
RUNS, SAMPLES, GROUPS = 300, 500, 20
FIGURE = Path(__file__).resolve().parents[2] / ".github" / "calibration.png"


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
                "circular shift (smallest p 1/14)": circular_shift_p(matrix, on, axis=0),
                "item permutation of the contrast": float(add_one_p(contrast(matrix, on), contrast(draws, on))),
            }
        )
    return {name: np.array([p[name] for p in found]) for name in found[0]}


def size() -> None:
    found = {}
    for metric in (MutualKNN(k=5), CKALinearDebiased()):
        found[metric.name], planted = p_values(metric, 0.0), p_values(metric, 0.3)
        print(f"{metric.name}, share of {RUNS} runs with p <= .05: without correspondence, with a planted diagonal")
        for name, p in found[metric.name].items():
            print(f"  {name:45s} {np.mean(p <= 0.05):.3f}  {np.mean(planted[name] <= 0.05):.3f}")
    draw(found)


def draw(found: dict[str, dict[str, np.ndarray]]) -> None:
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
    figure.savefig(FIGURE, dpi=150)


def coverage() -> None:
    """For a value, and for the contrast of a whole matrix."""
    rng = np.random.default_rng(3)
    mixing = [rng.standard_normal((8, d)) for d in (20, 30)]

    def pair() -> list[list[np.ndarray]]:
        signal = rng.standard_normal((128, 8))
        return [[signal @ m + 2 * rng.standard_normal((128, m.shape[1]))] for m in mixing]

    metrics = (MutualKNN(k=10), CKALinear(), CKALinearDebiased(), RSA(CosineDistance(), Spearman()), Procrustes())
    print(f"share of {SAMPLES} samples whose 95 % interval holds the mean over {2 * SAMPLES} others; mean width")
    for metric in metrics:
        print(f"  {metric.name:45s} {covered(metric.with_slack(), pair, lambda matrices: matrices[..., 0, 0])}")

    def models() -> list[list[np.ndarray]]:
        return walks(rng, 0.3, np.random.default_rng(0))

    on = generalised_diagonal(*LAYERS)
    metric = MutualKNN(k=5).with_slack()
    print(f"  {'contrast of mutual_knn, 14 x 10 layers':45s} {covered(metric, models, lambda m: contrast(m, on))}")
    same = [rng.standard_normal((8, 20))]

    def translations() -> list[list[np.ndarray]]:
        signal = rng.standard_normal((128, 8)) @ same[0]
        return [[signal + 1.5 * rng.standard_normal(signal.shape)] for _ in "ab"]

    print(f"  {'retrieval_at_1':45s} {covered(RetrievalAt1(), translations, lambda matrices: matrices[..., 0, 0])}")


def covered(metric: AbstractMetric, sample: Callable[[], list], statistic: Callable[[np.ndarray], np.ndarray]) -> str:
    values = [statistic(metric.affinity(*signed(metric, sample())).numpy()) for _ in range(2 * SAMPLES)]
    truth, held, widths = np.mean(values), 0, []
    for _ in range(SAMPLES):
        a, b = signed(metric, sample())
        n = metric.items(a[0])
        subsets = [torch.from_numpy(np.setdiff1d(np.arange(n), part)) for part in jackknife_groups(n, GROUPS)]
        value, left_out = statistic(metric.affinity(a, b).numpy()), statistic(metric.subset_affinity(a, b, subsets).numpy())
        low, high = jackknife_interval(value, left_out, level=0.95, bounds=(-np.inf, np.inf))
        held += low <= truth <= high
        widths.append(high - low)
    return f"{held / SAMPLES:.3f}  {np.mean(widths):.3f}"


if __name__ == "__main__":
    for which in sys.argv[1:] or ["size", "coverage"]:
        {"size": size, "coverage": coverage}[which]()
