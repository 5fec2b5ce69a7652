"""What a whole matrix costs: beside its floor, beside recomputing both sides for every pair, over all models, and with more items.

    uv run tests/benchmarks/metrics.py floor          each against the products, sorts or singular values it needs, alone
    uv run tests/benchmarks/metrics.py per_pair       CKA, RSA, Procrustes and mutual_knn against the per-pair way
    uv run tests/benchmarks/metrics.py models         all 300 pairs of 24 models from signatures
    uv run tests/benchmarks/metrics.py permutations   1,000 permutations of the items
    uv run tests/benchmarks/metrics.py resampling     20 groups of the jackknife, and 200 permutations, in matrices
    uv run tests/benchmarks/metrics.py items          time and peak memory against n; writes items.csv and items.png

Two models of 30 and 18 layers, 2,048 items, 576 and 640 dimensions, unless said otherwise: Gaussian walks from layer to layer with
a power-law spectrum, as only shapes matter to time. Contestants take turns in one process, and the best round of each counts.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.stats
import torch
from race import race
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


def floor() -> None:
    """Against the products, sorts or singular values that no way of computing a matrix can do without."""
    a, b = sides()

    def products(then: Callable[[Tensor], object] = lambda gram: None) -> None:
        for x in [*a, *b]:
            unit = torch.nn.functional.normalize(x)
            then(unit @ unit.T)

    upper = torch.triu_indices(N, N, 1)
    alone = {
        "48 products and top-k": (MutualKNN(k=10), lambda: products(lambda gram: gram.fill_diagonal_(-2).topk(10, dim=1))),
        "48 products": (CKALinear(), products),
        "48 products, debiased": (CKALinearDebiased(), products),
        "48 products and sorts": (RSA(CosineDistance(), Spearman()), lambda: products(lambda gram: np.sort(gram[*upper].numpy()))),
        "540 products and singular values": (Procrustes(), lambda: [torch.linalg.svdvals(x.T @ y) for x in a for y in b]),
    }
    for what, (metric, least) in alone.items():
        best = race({"floor": least, "ours": lambda metric=metric: matrix(metric, a, b)}, rounds=3)
        print(f"{metric.name}: {what} alone {best['floor']:.2f} s, signatures and matrix {best['ours']:.2f} s:", end=" ")
        print(f"{best['ours'] / best['floor']:.2f} x the floor", flush=True)


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


def per_pair() -> None:
    """The way of codes that take two layers: centre, compare, throw away. Values must agree, or the race means nothing."""
    a, b = sides()
    pairs = [tuple(pair) for pair in np.random.default_rng(0).integers((0, 0), DEPTHS, (SAMPLED, 2))]
    ways = {
        "mutual_knn, sorting": (MutualKNN(k=10), sorted_knn_of_pair),
        "mutual_knn, top-k and masks": (MutualKNN(k=10), knn_of_pair),
        "cka_linear, centring matrices": (CKALinear(), centring_cka_of_pair),
        "cka_linear, Gram matrices": (CKALinear(), cka_of_pair),
        "cka_linear_debiased, U-centred Gram matrices": (CKALinearDebiased(), debiased_cka_of_pair),
        "rsa_cosine_spearman, scipy": (RSA(CosineDistance(), Spearman()), rsa_of_pair),
        "procrustes, scipy's rotation": (Procrustes(), procrustes_of_pair),
        "procrustes, singular values": (Procrustes(), singular_values_of_pair),
    }
    for name, (metric, of_pair) in ways.items():
        ours = matrix(metric, a, b)
        for i, j in pairs[:3]:
            assert abs(of_pair(a[i], b[j]) - float(ours[i, j])) < 2e-4, name

        def theirs(of_pair: Callable = of_pair) -> None:
            for i, j in pairs:
                of_pair(a[i], b[j])

        best = race({"theirs": theirs, "ours": lambda metric=metric: matrix(metric, a, b)}, rounds=2)
        whole = best["theirs"] * len(a) * len(b) / SAMPLED
        print(f"{name}: per pair {whole:.0f} s for 540 pairs (from {SAMPLED}), ours {best['ours']:.2f} s:", end=" ")
        print(f"{whole / best['ours']:.0f} x faster" if whole > 10 * best["ours"] else f"{whole / best['ours']:.1f} x faster")


def models() -> None:
    """Signatures alone as the store keeps them, 100 neighbours each; making them is not in the time."""
    metric = MutualKNN(k=10, listed=100)
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(N, 64, generator=generator)
    signatures = {
        name: [metric.signature(common + torch.randn(N, 64, generator=generator)) for _ in range(depth)]
        for name, depth in LAYERS.items()
    }
    names = list(signatures)
    start = time.perf_counter()
    cells = 0
    for i, a in enumerate(names):
        for b in names[i:]:
            cells += metric.affinity(signatures[a], signatures[b]).numel()
    took = time.perf_counter() - start
    pairs = len(names) * (len(names) + 1) // 2
    print(f"mutual_knn: {pairs} pairs of {len(names)} models, {sum(LAYERS.values())} layers, {cells} cells: {took:.1f} s,", end=" ")
    print(f"peak {peak():.0f} MB in all")


def permutations() -> None:
    a, b = sides(1024)
    for metric in (MutualKNN(k=10), CKALinear(), CKALinearDebiased()):
        signed = [[metric.signature(x) for x in side] for side in (a, b)]
        took = {}
        for draws in (250, 1000):
            generator = torch.Generator().manual_seed(0)
            orders = torch.stack([torch.randperm(1024, generator=generator) for _ in range(draws)])
            start = time.perf_counter()
            metric.permuted_affinity(*signed, orders)
            took[draws] = time.perf_counter() - start
        print(f"{metric.name}: 1,000 permutations of 30 x 18 layers, n = 1,024: {took[1000]:.1f} s (250: {took[250]:.1f} s)")


RESAMPLED = {
    "mutual_knn": lambda: MutualKNN(k=10, listed=100),
    "cka_linear": CKALinear,
    "cka_linear_debiased": CKALinearDebiased,
    "cka_rbf_debiased": lambda: CKARBFDebiased(bandwidth=0.5),
    "distance_correlation": DistanceCorrelation,
    "rsa_cosine_spearman": lambda: RSA(CosineDistance(), Spearman()),
}


def resampling() -> None:
    """The jackknife beside one matrix, the same jackknife group by group, and permutations; each once, as the longest take minutes.

    Seconds are those of the processor, all cores together, which what else runs on the machine changes little.
    """
    a, b = (list(Walk(N, width, depth, seed).values()) for seed, (width, depth) in enumerate(((576, 40), (640, 42))))
    groups = torch.arange(N).tensor_split(20)
    subsets = [torch.cat([part for part in groups if part is not left_out]) for left_out in groups]
    orders = torch.stack([torch.randperm(N, generator=torch.Generator().manual_seed(seed)) for seed in range(200)])
    for name, make in RESAMPLED.items():
        metric = make()
        signed, signing = spent(lambda metric=metric: [[metric.signature(x) for x in side] for side in (a, b)])
        _, one = spent(lambda metric=metric, signed=signed: metric.affinity(*signed))
        at_once, all_groups = spent(lambda metric=metric, signed=signed: metric.subset_affinity(*signed, subsets))
        each, one_group = spent(lambda metric=metric, signed=signed: AbstractMetric.subset_affinity(metric, *signed, subsets[:1]))
        torch.testing.assert_close(at_once[:1], each, rtol=1e-4, atol=1e-5)
        print(f"{name}: signatures {signing:.1f} s, matrix {one:.2f} s, jackknife {all_groups:.2f} s:", end=" ")
        print(f"{all_groups / one:.1f} x a matrix, {all_groups / (one + signing):.2f} x signatures and matrix;", end=" ")
        print(f"group by group {20 * one_group:.0f} s (from one group)", flush=True)
        if name in ("mutual_knn", "cka_linear_debiased"):
            _, permuting = spent(lambda metric=metric, signed=signed: metric.permuted_affinity(*signed, orders))
            print(f"{name}: 200 permutations {permuting:.1f} s: {permuting / one:.0f} x a matrix", flush=True)


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


def items() -> None:
    """10 x 10 layers of 1,024 dimensions, each n in a process of its own; layers are read one at a time, as from the store."""
    rows = []
    for name in ITEMS:
        for n in COUNTS:
            done = subprocess.run([sys.executable, __file__, "one", name, str(n)], capture_output=True, text=True, check=True)
            seconds, megabytes = map(float, done.stdout.split())
            rows.append({"metric": name, "n": n, "seconds": seconds, "peak_mb": megabytes})
            print(f"{name}: n = {n}: {seconds:.1f} s, peak {megabytes:.0f} MB", flush=True)
    draw(pd.DataFrame(rows))


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


def draw(table: pd.DataFrame) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
    for name, rows in table.groupby("metric", sort=False):
        exponent = np.polyfit(np.log(rows["n"][-3:]), np.log(rows["seconds"][-3:]), 1)[0]
        axes.loglog(rows["n"], rows["seconds"], marker="o", label=f"{name}: n^{exponent:.2f} from 5,000 on")
    axes.set(xlabel="items", ylabel="seconds for 10 x 10 layers of 1,024 dimensions")
    axes.legend(fontsize="small", frameon=False)
    table.to_csv("items.csv", index=False)
    figure.savefig("items.png", dpi=150)


def peak() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], int(sys.argv[3]))
    else:
        for which in sys.argv[1:] or ["floor", "per_pair", "models", "permutations", "resampling", "items"]:
            {
                "floor": floor,
                "per_pair": per_pair,
                "models": models,
                "permutations": permutations,
                "resampling": resampling,
                "items": items,
            }[which]()
