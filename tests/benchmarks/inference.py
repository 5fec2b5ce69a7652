"""How often p_fwer raises a false alarm, and how often 95 % intervals hold the truth: the tables of the statistics' README.

    uv run tests/benchmarks/inference.py    measures (10 minutes on two cores) and writes src/layeratlas/statistics/README.md

Size: matrices of independent cells, and of cells that are random walks; independent layers of 24 items. Coverage: two layers that
share a signal of 8 dimensions, noise making the truth, which is the mean over as many other samples. In clusters, five items share
most of their signal and of both layers' noise.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from layeratlas.metrics import AbstractMetric, CKALinearDebiased, MutualKNN, RetrievalAt1
from layeratlas.statistics.nulls import null_of, orders
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval, share_interval

README = Path(__file__).resolve().parents[2] / "src" / "layeratlas" / "statistics" / "README.md"
SAMPLES, GROUPS, SIGNAL, WIDTH, CLUSTER = 400, 20, 8, 24, 5


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


def sizes() -> str:
    head = (
        "| permutations | exact | runs | 1 cell | 540 | 2,000 | 540, smooth | 2,000, smooth"
        " | `mutual_knn`, 4 x 3 | `cka_linear_debiased`, 4 x 3 |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for permutations, runs in ((19, 1000), (39, 1000), (99, 500), (200, 400), (999, 200)):
        cells = [size_of_cells(1, permutations, runs, False)]
        cells += [size_of_cells(count, permutations, runs, smooth) for smooth in (False, True) for count in (540, 2000)]
        cells += [size_of_metric(metric, permutations, runs) for metric in (MutualKNN(k=3), CKALinearDebiased())]
        exact = np.floor(0.05 * (permutations + 1) + 1e-9) / (permutations + 1)
        lines.append(f"| {permutations} | {exact:.3f} | {runs} | " + " | ".join(f"{size:.3f}" for size in cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


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
    World("`retrieval_at_1`", RetrievalAt1(), 0.75),
    World("`mutual_knn`, k = 10", MutualKNN(k=10), 2.0),
    World("`mutual_knn`, k = 10", MutualKNN(k=10), 0.05),
    World("`cka_linear_debiased`", CKALinearDebiased(), 2.0),
    World("`retrieval_at_1`, clusters", RetrievalAt1(), 0.9, clustered=True),
    World("`mutual_knn`, clusters", MutualKNN(k=10), 2.0, clustered=True),
    World("`cka_linear_debiased`, clusters", CKALinearDebiased(), 2.0, clustered=True),
)


def covered(world: World, n: int) -> str:
    """A row: the truth, and the coverage of each interval, by leaving out items and, in clusters, whole ones."""
    metric, rng = world.metric.with_slack(), np.random.default_rng(n)
    truth = np.mean([value(metric, world.sample(n, rng)) for _ in range(2 * SAMPLES)])
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
    cells = [*(f"{share:.3f}" for share in held["items"] / SAMPLES)]
    cells += [*(f"{share:.3f}" for share in held["clusters"] / SAMPLES)] if world.clustered else ["", ""]
    if not metric.is_share:
        cells[1] = cells[3] = ""
    row = f"| {world.name} | {n} | {truth:.3f} | " + " | ".join(cells) + " |"
    print(row, flush=True)
    return row


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


def coverage() -> str:
    head = "| statistic | items | truth | Student | binomial | Student, by_group | binomial, by_group |"
    rows = [covered(world, n) for world in WORLDS for n in (64, 96, 256)]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def write(tables: dict[str, Callable[[], str]]) -> None:
    text = README.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        found = re.search(f"{begin}.*?{end}", text, re.DOTALL)
        assert found, f"the README has no place for {name}"
        text = text.replace(found[0], f"{begin}\n\n{table()}\n\n{end}")
        README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write({name: {"size": sizes, "coverage": coverage}[name] for name in sys.argv[1:] or ["size", "coverage"]})
