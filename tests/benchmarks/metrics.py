"""What a whole matrix costs: beside its floor, beside recomputing both sides for every pair, over all models, and with more items.

    uv run tests/benchmarks/metrics.py floor          each against the products, sorts or singular values it needs, alone
    uv run tests/benchmarks/metrics.py per_pair       CKA, RSA, Procrustes and mutual_knn against the per-pair way
    uv run tests/benchmarks/metrics.py models         all 300 pairs of 24 models from signatures
    uv run tests/benchmarks/metrics.py permutations   1,000 permutations of the items
    uv run tests/benchmarks/metrics.py resampling     20 groups of the jackknife, and 200 permutations, in matrices
    uv run tests/benchmarks/metrics.py items          time and peak memory against n
    uv run tests/benchmarks/metrics.py draw           .github/items.png from what `items` measured last

Two models of 30 and 18 layers, 2,048 items, 576 and 640 dimensions, unless said otherwise: Gaussian walks from layer to layer with
a power-law spectrum, as only shapes matter to time. Contestants take turns in one process, and the best round of each counts.
"""

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
import scipy.linalg
import scipy.stats
import torch
from measuring import Figures, measure
from race import race
from results import ROOT, gflops, picture
from scipy.spatial.distance import pdist
from sweep import LAYERS
from torch import Tensor

from layeratlas.metrics import (
    RSA,
    AbstractMetric,
    CKALinear,
    CKALinearDebiased,
    CKAMinibatch,
    CKARBFDebiased,
    DistanceCorrelation,
    MutualKNN,
    Procrustes,
)
from layeratlas.metrics.rdm import CosineDistance
from layeratlas.metrics.rsa import Spearman

N, WIDTHS, DEPTHS = 2048, (576, 640), (30, 18)
SAMPLED = 12  # pairs that the per-pair way is timed on; the whole matrix is that many times as long as it has more pairs


class Walk(Mapping[str, Tensor]):
    """Layers that drift: each is made when it is asked for, so that no more than one is in memory."""

    def __init__(self, n: int, width: int, depth: int, seed: int) -> None:
        self.n, self.width, self.depth, self.seed = n, width, depth, seed

    def __getitem__(self, name: str) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        start, end = (torch.randn(self.n, self.width, generator=generator) for _ in "ab")
        angle = int(name) / self.depth
        return (start * (1 - angle) + end * angle) * torch.arange(1, self.width + 1) ** -0.5

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self.depth))

    def __len__(self) -> int:
        return self.depth


def sides(n: int = N) -> tuple[list[Tensor], list[Tensor]]:
    a, b = (list(Walk(n, width, depth, seed).values()) for seed, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)))
    return a, b


def matrix(metric: AbstractMetric, a: list[Tensor], b: list[Tensor]) -> Tensor:
    return metric.affinity([metric.signature(x) for x in a], [metric.signature(x) for x in b])


def floor() -> Figures:
    """Against the products, sorts or singular values that no way of computing a matrix can do without."""
    a, b = sides()

    def products(then: Callable[[Tensor], object] = lambda gram: None) -> None:
        for x in [*a, *b]:
            unit = torch.nn.functional.normalize(x)
            then(unit @ unit.T)

    upper = torch.triu_indices(N, N, 1)
    alone: list[tuple[AbstractMetric, Callable[[], object]]] = [
        (MutualKNN(k=10), lambda: products(lambda gram: gram.fill_diagonal_(-2).topk(10, dim=1))),
        (CKALinear(), products),
        (CKALinearDebiased(), products),
        (RSA(CosineDistance(), Spearman()), lambda: products(lambda gram: np.sort(gram[*upper].numpy()))),
        (Procrustes(), lambda: [torch.linalg.svdvals(x.T @ y) for x in a for y in b]),
    ]
    seconds, ratios = {}, {}
    for metric, least in alone:
        best = race({"floor": least, "ours": lambda metric=metric: matrix(metric, a, b)}, rounds=2)
        seconds[metric.name], ratios[metric.name] = best["ours"], best["ours"] / best["floor"]
    return {"gflops": gflops(), "seconds": seconds, "ratios": ratios}


def knn_of_pair(x: Tensor, y: Tensor) -> float:
    masks = []
    for layer in (x, y):
        unit = torch.nn.functional.normalize(layer)
        nearest = (unit @ unit.T).fill_diagonal_(-2).topk(10, dim=1).indices
        masks.append(torch.zeros(len(x), len(x)).scatter_(1, nearest, 1.0))
    return float((masks[0] * masks[1]).sum() / (10 * len(x)))


def sorted_knn_of_pair(x: Tensor, y: Tensor) -> float:
    """Neighbours by sorting all similarities, and common ones by comparing lists."""
    units = (torch.nn.functional.normalize(layer) for layer in (x, y))
    first, second = ((unit @ unit.T).fill_diagonal_(-2).argsort(dim=1, descending=True)[:, :10] for unit in units)
    return float((first[:, :, None] == second[:, None, :]).sum() / (10 * len(x)))


def centring_cka_of_pair(x: Tensor, y: Tensor) -> float:
    """tr(K H L H) with the centring matrix H as a matrix, three times."""
    h = torch.eye(len(x)) - 1 / len(x)
    k, l = (layer @ layer.T for layer in (x, y))  # noqa: E741

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        return torch.trace(k @ h @ l @ h)

    return float(hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt())


def cka_of_pair(x: Tensor, y: Tensor) -> float:
    k, l = (layer @ layer.T for layer in (x - x.mean(0), y - y.mean(0)))  # noqa: E741
    return float((k * l).sum() / (k.norm() * l.norm()))


def debiased_cka_of_pair(x: Tensor, y: Tensor) -> float:
    """HSIC_1 of Song et al. (2012) three times."""
    k, l = ((layer @ layer.T).fill_diagonal_(0) for layer in (x, y))  # noqa: E741
    n = len(x)

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        crossed = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
        return (torch.trace(k @ l) + crossed) / (n * (n - 3))

    return float(hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt())


def rsa_of_pair(x: Tensor, y: Tensor) -> float:
    return float(scipy.stats.spearmanr(pdist(x.numpy(), "cosine"), pdist(y.numpy(), "cosine")).statistic)


def procrustes_of_pair(x: Tensor, y: Tensor) -> float:
    x, y = (layer.double() - layer.double().mean(0) for layer in (x, y))
    wide = max(x.shape[1], y.shape[1])
    padded = (torch.nn.functional.pad(layer / layer.norm(), (0, wide - layer.shape[1])).numpy() for layer in (x, y))
    return float(scipy.linalg.orthogonal_procrustes(*padded)[1])


def singular_values_of_pair(x: Tensor, y: Tensor) -> float:
    x, y = (layer.double() - layer.double().mean(0) for layer in (x, y))
    return float(torch.linalg.svdvals((x / x.norm()).T @ (y / y.norm())).sum())


WAYS: dict[AbstractMetric, dict[str, Callable[[Tensor, Tensor], float]]] = {
    MutualKNN(k=10): {"sorting": sorted_knn_of_pair, "masks": knn_of_pair},
    CKALinear(): {"centring_matrices": centring_cka_of_pair, "gram_matrices": cka_of_pair},
    CKALinearDebiased(): {"gram_matrices": debiased_cka_of_pair},
    RSA(CosineDistance(), Spearman()): {"scipy": rsa_of_pair},
    Procrustes(): {"rotation": procrustes_of_pair, "singular_values": singular_values_of_pair},
}


def per_pair() -> Figures:
    """The way of codes that take two layers: centre, compare, throw away. Values must agree, or the race means nothing.

    `seconds` of the other way, for all pairs, from a sample; `ratios` of it and ours.
    """
    a, b = sides()
    pairs = [tuple(pair) for pair in np.random.default_rng(0).integers((0, 0), DEPTHS, (SAMPLED, 2))]
    seconds, ratios = {}, {}
    for metric, ways in WAYS.items():
        ours = matrix(metric, a, b)
        for name, of_pair in ways.items():
            for i, j in pairs[:3]:
                assert abs(of_pair(a[i], b[j]) - float(ours[i, j])) < 2e-4, name
        contestants = {name: partial(every_pair, of_pair, pairs, a, b) for name, of_pair in ways.items()}
        best = race(contestants | {"ours": partial(matrix, metric, a, b)}, rounds=2)
        seconds[metric.name] = {name: best[name] * len(a) * len(b) / SAMPLED for name in ways}
        ratios[metric.name] = {name: seconds[metric.name][name] / best["ours"] for name in ways}
    return {"sampled": SAMPLED, "seconds": seconds, "ratios": ratios}


def every_pair(of_pair: Callable[[Tensor, Tensor], float], pairs: list, a: list[Tensor], b: list[Tensor]) -> None:
    for i, j in pairs:
        of_pair(a[i], b[j])


def models() -> Figures:
    """Signatures alone as the store keeps them, 100 neighbours each; making them is not in the time."""
    metric = MutualKNN(k=10, listed=100)
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(N, 64, generator=generator)
    signatures = [
        [metric.signature(common + torch.randn(N, 64, generator=generator)) for _ in range(depth)] for depth in LAYERS.values()
    ]
    start, cells = time.perf_counter(), 0
    for a, b in combinations_with_replacement(signatures, 2):
        cells += metric.affinity(a, b).numel()
    seconds = time.perf_counter() - start
    counts = {"models": len(LAYERS), "layers": sum(LAYERS.values()), "pairs": math.comb(len(LAYERS) + 1, 2), "cells": cells}
    return {**counts, "seconds": seconds, "gigabytes": peak()}


def permutations() -> Figures:
    """1,000 permutations of 30 x 18 layers of 1,024 items, against one matrix from the same signatures."""
    a, b = sides(1024)
    generator, seconds, ratios = torch.Generator().manual_seed(0), {}, {}
    orders = torch.stack([torch.randperm(1024, generator=generator) for _ in range(1000)])
    for metric in (MutualKNN(k=10), CKALinear(), CKALinearDebiased()):
        signed = [[metric.signature(x) for x in side] for side in (a, b)]
        contestants = {
            "permuted": lambda metric=metric, signed=signed: metric.permuted_affinity(*signed, orders),
            "once": lambda metric=metric, signed=signed: metric.affinity(*signed),
        }
        best = race(contestants, rounds=1)
        seconds[metric.name], ratios[metric.name] = best["permuted"], best["permuted"] / best["once"]
    return {"permutations": len(orders), "seconds": seconds, "ratios": ratios}


RESAMPLED = {
    "mutual_knn": lambda: MutualKNN(k=10, listed=100),
    "cka_linear": CKALinear,
    "cka_linear_debiased": CKALinearDebiased,
    "cka_rbf_debiased": lambda: CKARBFDebiased(bandwidth=0.5),
    "distance_correlation": DistanceCorrelation,
    "rsa_cosine_spearman": lambda: RSA(CosineDistance(), Spearman()),
}


def resampling() -> Figures:
    """The jackknife beside one matrix, the same jackknife group by group, and permutations; each once, as the longest take minutes.

    Seconds are those of the processor, all cores together, which what else runs on the machine changes little.
    """
    a, b = (list(Walk(N, width, depth, seed).values()) for seed, (width, depth) in enumerate(((576, 40), (640, 42))))
    groups = torch.arange(N).tensor_split(20)
    subsets = [torch.cat([part for part in groups if part is not left_out]) for left_out in groups]
    orders = torch.stack([torch.randperm(N, generator=torch.Generator().manual_seed(seed)) for seed in range(200)])
    seconds, ratios = {}, {}
    for name, make in RESAMPLED.items():
        metric = make()
        signed, signing = spent(lambda metric=metric: [[metric.signature(x) for x in side] for side in (a, b)])
        _, one = spent(lambda metric=metric, signed=signed: metric.affinity(*signed))
        at_once, jackknife = spent(lambda metric=metric, signed=signed: metric.subset_affinity(*signed, subsets))
        each, one_group = spent(lambda metric=metric, signed=signed: AbstractMetric.subset_affinity(metric, *signed, subsets[:1]))
        torch.testing.assert_close(at_once[:1], each, rtol=1e-4, atol=1e-5)
        seconds[name] = {"signatures": signing, "matrix": one, "jackknife": jackknife, "group_by_group": 20 * one_group}
        ratios[name] = {"of_matrix": jackknife / one, "of_signatures_and_matrix": jackknife / (one + signing)}
        if name in ("mutual_knn", "cka_linear_debiased"):
            wall = time.perf_counter()
            _, permuting = spent(lambda metric=metric, signed=signed: metric.permuted_affinity(*signed, orders))
            seconds[name] |= {"permutations": permuting, "permutations_by_the_clock": time.perf_counter() - wall}
            ratios[name]["permutations_of_matrix"] = permuting / one
    return {"seconds": seconds, "ratios": ratios}


def spent(run: Callable[[], object]) -> tuple:
    start = time.process_time()
    return run(), time.process_time() - start


ITEMS = {
    "mutual_knn": lambda: MutualKNN(k=10),
    "cka_linear": CKALinear,
    "cka_minibatch": lambda: CKAMinibatch(batch=256),
    "procrustes": Procrustes,
}
COUNTS = (1000, 2000, 5000, 10_000, 20_000)


def items() -> Figures:
    """10 x 10 layers of 1,024 dimensions, each n in a process of its own; layers are read one at a time, as from the store."""
    seconds, gigabytes = {}, {}
    for name in ITEMS:
        for n in COUNTS:
            done = subprocess.run([sys.executable, __file__, "one", name, str(n)], capture_output=True, text=True, check=True)
            seconds.setdefault(name, {})[str(n)], gigabytes[name] = map(float, done.stdout.split())
    return {"seconds": seconds, "gigabytes": gigabytes}


def one(name: str, n: int) -> None:
    metric = ITEMS[name]()
    spent, signed = 0.0, []
    for seed in (0, 1):
        signed.append([])
        for x in Walk(n, 1024, 10, seed).values():
            start = time.perf_counter()
            signed[-1].append(metric.signature(x))
            spent += time.perf_counter() - start
    start = time.perf_counter()
    metric.affinity(*signed)
    print(spent + time.perf_counter() - start, peak())


def draw() -> None:
    figures = json.loads((ROOT / "tests" / "claims" / "metrics_items.json").read_text(encoding="utf-8"))["values"]
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
    for name, rows in figures["seconds"].items():
        n, seconds = [int(n) for n in rows], [*rows.values()]
        exponent = np.polyfit(np.log(n[-3:]), np.log(seconds[-3:]), 1)[0]
        axes.loglog(n, seconds, marker="o", label=f"{name}: n^{exponent:.2f} from 5,000 on")
    axes.set(xlabel="items", ylabel="seconds for 10 x 10 layers of 1,024 dimensions")
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(picture("items.png"), dpi=150)


def peak() -> float:
    """Largest resident memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["draw"]:
        draw()
    else:
        every = {run.__name__: run for run in (floor, per_pair, models, permutations, resampling, items)}
        measure(__file__, every, sys.argv[1:])
