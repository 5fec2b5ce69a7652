"""How often p_fwer raises a false alarm, and how often 95 % intervals hold the truth.

    uv run tests/benchmarks/inference.py [size] [coverage]    15 minutes of processor time; writes tests/claims/inference_*.json

Size: matrices of independent cells, and of cells that are random walks; independent layers of 24 items. Coverage: two layers that
share a signal of 8 dimensions, noise making the truth, which is the mean over as many other samples. In clusters, five items share
most of their signal and of both layers' noise.
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core: threads would wait for each other over matrices this small

import numpy as np
import torch
from results import keep_parts

from layeratlas.metrics import AbstractMetric, CKALinearDebiased, MutualKNN, RetrievalAt1
from layeratlas.statistics.nulls import null_of, orders
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval, share_interval

SIZES = {19: 2000, 39: 2000, 99: 4000, 200: 1000, 999: 200}  # runs for each number of permutations
SAMPLES, GROUPS, SIGNAL, WIDTH, CLUSTER = 500, 20, 8, 24, 5
COUNTS = (64, 96, 256)


# --- size ---------------------------------------------------------------------------------------------------------------------


def alarm(observed: np.ndarray, draws: np.ndarray) -> bool:
    return bool((null_of(observed, draws, alpha=0.05, maximum=None).p_fwer <= 0.05).any())


def size_of_cells(cells: int, permutations: int, runs: int, smooth: bool) -> float:
    rng, alarms = np.random.default_rng([cells, permutations, smooth]), 0
    for _ in range(runs):
        values = rng.standard_normal((permutations + 1, 1, cells))
        values = np.cumsum(values, axis=2) if smooth else values
        alarms += alarm(values[0], values[1:])
    return alarms / runs


def size_of_metric(metric: AbstractMetric, permutations: int, runs: int) -> float:
    rng, alarms = np.random.default_rng(permutations), 0
    for _ in range(runs):
        a, b = ([metric.signature(torch.from_numpy(rng.standard_normal((24, 6)))) for _ in range(size)] for size in (4, 3))
        every = np.concatenate([np.arange(24)[None], orders(24, permutations, rng)])
        values = metric.permuted_affinity(a, b, torch.from_numpy(every)).numpy()
        alarms += alarm(values[0], values[1:])
    return alarms / runs


COLUMNS: dict[str, Callable[[int, int], float]] = {
    "1 cell": lambda permutations, runs: size_of_cells(1, permutations, runs, smooth=False),
    "540": lambda permutations, runs: size_of_cells(540, permutations, runs, smooth=False),
    "2,000": lambda permutations, runs: size_of_cells(2000, permutations, runs, smooth=False),
    "540, smooth": lambda permutations, runs: size_of_cells(540, permutations, runs, smooth=True),
    "2,000, smooth": lambda permutations, runs: size_of_cells(2000, permutations, runs, smooth=True),
    "`mutual_knn`, 4 x 3": lambda permutations, runs: size_of_metric(MutualKNN(k=3), permutations, runs),
    "`cka_linear_debiased`, 4 x 3": lambda permutations, runs: size_of_metric(CKALinearDebiased(), permutations, runs),
}


def size(column: str, permutations: int) -> float:
    return COLUMNS[column](permutations, SIZES[permutations])


def sizes(pool: ProcessPoolExecutor) -> dict[str, Any]:
    """By number of permutations, the share of runs with an alarm in each column."""
    cells = {(column, permutations): pool.submit(size, column, permutations) for permutations in SIZES for column in COLUMNS}
    rows = {}
    for permutations, runs in SIZES.items():
        exact = float(np.floor(0.05 * (permutations + 1) + 1e-9) / (permutations + 1))
        shares = {column: cells[column, permutations].result() for column in COLUMNS}
        rows[str(permutations)] = {"exact": exact, "runs": runs, "error": binomial_error(exact, runs), "shares": shares}
        print(permutations, rows[str(permutations)], flush=True)
    return rows


def binomial_error(share: float, runs: int) -> float:
    return (share * (1 - share) / runs) ** 0.5


# --- coverage -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Two layers of one space whose items share a signal; `noise` sets how much of each is its own."""

    name: str
    metric: AbstractMetric
    noise: float
    clustered: bool = False

    def sample(self, n: int, rng: np.random.Generator) -> list[np.ndarray]:
        mixing = np.random.default_rng(0).standard_normal((SIGNAL, WIDTH))
        signal = self._drawn(n, SIGNAL, rng) @ mixing
        return [signal + self.noise * self._drawn(n, WIDTH, rng) for _ in "ab"]

    def _drawn(self, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
        own = rng.standard_normal((n, d))
        return 0.5 * own + rng.standard_normal((-(-n // CLUSTER), d))[clusters(n)] if self.clustered else own


def clusters(n: int) -> np.ndarray:
    return np.arange(n) // CLUSTER


WORLDS = (
    World("`retrieval_at_1`", RetrievalAt1(), 2.2),
    World("`retrieval_at_1`", RetrievalAt1(), 1.0),
    World("`retrieval_at_1`", RetrievalAt1(), 0.58),
    World("`mutual_knn`, k = 10", MutualKNN(k=10), 2.0),
    World("`mutual_knn`, k = 10", MutualKNN(k=10), 0.05),
    World("`cka_linear_debiased`", CKALinearDebiased(), 2.0),
    World("`retrieval_at_1`, clusters", RetrievalAt1(), 0.9, clustered=True),
    World("`mutual_knn`, clusters", MutualKNN(k=10), 2.0, clustered=True),
    World("`cka_linear_debiased`, clusters", CKALinearDebiased(), 2.0, clustered=True),
)


def covered(place: int, n: int) -> dict[str, Any]:
    """The truth, and the coverage of each interval, by leaving out items and, in clusters, whole ones."""
    world = WORLDS[place]
    metric, rng = world.metric.with_slack(), np.random.default_rng(n)
    truth = float(np.mean([value(metric, world.sample(n, rng)) for _ in range(2 * SAMPLES)]))
    labels = [str(c) for c in clusters(n)]
    partitions = {"items": None} | ({"clusters": labels} if world.clustered else {})
    held = {name: np.zeros(2) for name in partitions}
    for _ in range(SAMPLES):
        layers = world.sample(n, rng)
        order = rng.permutation(n)  # items come in random order
        layers, drawn = [x[order] for x in layers], [labels[i] for i in order]
        for name, by in partitions.items():
            estimate, left_out = value(metric, layers), without(metric, layers, drawn if by else None)
            held[name] += [
                low <= truth <= high for low, high in intervals(metric, estimate, left_out, n if by is None else n // CLUSTER)
            ]
    kinds = ("student", "binomial") if metric.is_share else ("student",)
    shares = {name: dict(zip(kinds, (both / SAMPLES).tolist(), strict=False)) for name, both in held.items()}
    return {"statistic": world.name, "noise": world.noise, "items": n, "truth": truth, "held": shares}


def intervals(metric: AbstractMetric, estimate: float, left_out: np.ndarray, units: int) -> list[tuple[float, float]]:
    """Student's, cut off at the bounds, and the binomial one."""
    both = (
        jackknife_interval(estimate, left_out, level=0.95, bounds=metric.about.bounds),
        share_interval(estimate, left_out, level=0.95, units=units),
    )
    return [(float(interval.low), float(interval.high)) for interval in both]


def value(metric: AbstractMetric, layers: list[np.ndarray]) -> float:
    return metric.affinity(*([metric.signature(torch.from_numpy(x))] for x in layers)).item()


def without(metric: AbstractMetric, layers: list[np.ndarray], labels: list[str] | None) -> np.ndarray:
    n = len(layers[0])
    kept = [torch.from_numpy(np.setdiff1d(np.arange(n), part)) for part in jackknife_groups(n, GROUPS, labels)]
    sides = ([metric.signature(torch.from_numpy(x))] for x in layers)
    return metric.subset_affinity(*sides, kept).numpy()[:, 0, 0]


def coverage(pool: ProcessPoolExecutor) -> dict[str, Any]:
    rows = []
    for row in pool.map(covered, *zip(*((place, n) for place in range(len(WORLDS)) for n in COUNTS), strict=True)):
        rows.append(row)
        print(row, flush=True)
    return {"samples": SAMPLES, "others": 2 * SAMPLES, "error": binomial_error(0.95, SAMPLES), "rows": rows}


PARTS = {"size": sizes, "coverage": coverage}


if __name__ == "__main__":
    keep_parts(__file__, "inference", PARTS)
