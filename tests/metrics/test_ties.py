"""Equally near neighbours: credit is the mean over all ways to break the ties, and no tie is evidence of anything."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import affinity, related

from layeratlas import affinity_matrix
from layeratlas.affinity.matrix import compare, diagnoses
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.metrics import (
    CKNNA,
    CSLS,
    LCSKNN,
    MEXA,
    AbstractMetric,
    CosineNeighbors,
    CycleKNN,
    EuclideanNeighbors,
    JaccardKNN,
    MutualKNN,
    RankKNN,
    RetrievalAt1,
    RetrievalAt1Mutual,
    SecondOrderCosine,
)
from layeratlas.metrics import nearest as nearest_module
from layeratlas.metrics.nearest import Listed

K = 3
FAMILY = [MutualKNN(K), JaccardKNN(K), CycleKNN(K), LCSKNN(K), RankKNN(K), CKNNA(K), SecondOrderCosine(K)]
RETRIEVALS = [RetrievalAt1(), RetrievalAt1Mutual(), MEXA(), CSLS(k=K)]
DRAWN = 0.06  # standard error of the longest common subsequence of ten items, whose ties are broken at random

each = pytest.mark.parametrize("metric", FAMILY, ids=lambda metric: metric.name)
each_of_all = pytest.mark.parametrize("metric", [*FAMILY, *RETRIEVALS], ids=lambda metric: metric.name)
quick = settings(deadline=None, derandomize=True, max_examples=6)
seeds = st.integers(0, 2**32 - 1)


def repeated(seed: int, n: int, distinct: int, d: int = 4) -> np.ndarray:
    """Few distinct vectors, dealt out to the items at random; each is dealt out at least once."""
    rng = np.random.default_rng(seed)
    dealt = np.concatenate([np.arange(distinct), rng.integers(distinct, size=n - distinct)])
    return rng.standard_normal((distinct, d))[rng.permutation(dealt)]


# --- all ways to break the ties -----------------------------------------------------------------------------------------------


def orders(x: np.ndarray, i: int) -> Iterator[list[int]]:
    """Every order of the other items that leads from the nearest to the farthest."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = np.round(unit @ unit[i], 9)
    others = [j for j in range(len(x)) if j != i]
    runs = [[j for j in others if cosine[j] == level] for level in sorted({cosine[j] for j in others}, reverse=True)]
    for broken in product(*(permutations(run) for run in runs)):
        yield [j for run in broken for j in run]


def lists(x: np.ndarray, i: int, k: int) -> list[list[int]]:
    return [order[:k] for order in orders(x, i)]


def in_common(p: list[int], q: list[int]) -> float:
    return len(set(p) & set(q)) / len(p)


def jaccard(p: list[int], q: list[int]) -> float:
    return len(set(p) & set(q)) / len(set(p) | set(q))


def rank_agreement(p: list[int], q: list[int]) -> float:
    ranks = [(p.index(j) + 1, q.index(j) + 1) for j in p if j in q]
    return sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks) / sum(1 / r for r in range(1, len(ranks) + 1)) if ranks else 0.0


def longest_common(p: list[int], q: list[int]) -> float:
    table = np.zeros((len(p) + 1, len(q) + 1))
    for r, c in product(range(len(p)), range(len(q))):
        table[r + 1, c + 1] = table[r, c] + 1 if p[r] == q[c] else max(table[r, c + 1], table[r + 1, c])
    return table[-1, -1] / len(p)


BY_LISTS = [
    (MutualKNN(K), in_common, 1e-6),
    (JaccardKNN(K), jaccard, 1e-9),
    (RankKNN(K), rank_agreement, 1e-9),
    (LCSKNN(K), longest_common, 4 * DRAWN),
]


@pytest.mark.parametrize(("metric", "of", "close"), BY_LISTS, ids=lambda part: getattr(part, "name", ""))
@settings(deadline=None, derandomize=True, max_examples=6)
@given(seed=seeds, distinct_a=st.integers(2, 6), distinct_b=st.integers(2, 6))
def test_the_value_is_the_mean_over_all_ways_to_break_ties(metric, of: Callable, close, seed, distinct_a, distinct_b):
    n = 6
    x, y = repeated(seed, n, distinct_a), repeated(seed + 1, n, distinct_b)
    means = [np.mean([of(p, q) for p in lists(x, i, K) for q in lists(y, i, K)]) for i in range(n)]
    assert affinity(metric, x, y) == pytest.approx(np.mean(means), abs=close)


@settings(deadline=None, derandomize=True, max_examples=6)
@given(seed=seeds, distinct_a=st.integers(2, 6), distinct_b=st.integers(2, 6), k=st.integers(1, 4))
def test_cycles_return_as_often_as_in_all_ways_to_break_ties(seed, distinct_a, distinct_b, k):
    n = 6
    x, y = repeated(seed, n, distinct_a), repeated(seed + 1, n, distinct_b)
    back = np.array([[np.mean([i in found for found in lists(x, j, k)]) if j != i else 0 for j in range(n)] for i in range(n)])
    returned = [np.mean([1 - np.prod(1 - back[i, there]) for there in lists(y, i, k)]) for i in range(n)]
    assert affinity(CycleKNN(k), x, y) == pytest.approx(np.mean(returned), abs=1e-6)


@each_of_all
@quick
@given(seed=seeds)
def test_copies_of_an_item_are_interchangeable(metric, seed):
    """Dealing the same vectors out to the other layer's copies in another way changes nothing: exactly, or up to what is drawn."""
    x, y = repeated(seed, 10, 4), np.random.default_rng(seed).standard_normal((10, 4))
    order = np.random.default_rng(seed + 1).permutation(10)
    before, after = affinity(metric, x, y), affinity(metric, x[order], y[order])
    close = 6 * DRAWN if isinstance(metric, LCSKNN) else 1e-6
    assert after == pytest.approx(before, abs=close)


@each_of_all
@quick
@given(seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_reordering_the_signature_is_reordering_the_layer_with_ties_too(metric, seed, dtype):
    x, y = (torch.from_numpy(repeated(seed + side, 12, 5)).to(dtype) for side in (0, 1))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed % 2**31))
    other = metric.signature(x)
    found = metric.affinity([other], [metric.permuted(metric.signature(y), order)])
    close = 6 * DRAWN if isinstance(metric, LCSKNN) else 1e-5
    assert found.item() == pytest.approx(metric.affinity([other], [metric.signature(y[order])]).item(), abs=close)


@each_of_all
@quick
@given(seed=seeds)
def test_some_items_of_a_signature_are_some_items_of_the_layer_with_ties_too(metric, seed):
    x, y = (torch.from_numpy(repeated(seed + side, 16, 5)) for side in (0, 1))
    kept = [torch.arange(16)[torch.arange(16) % 4 != group] for group in range(4)]
    listing = replace(metric, listed=9) if hasattr(metric, "listed") else metric
    found = listing.subset_affinity([listing.signature(x)], [listing.signature(y)], kept)[:, 0, 0]
    expected = [metric.affinity([metric.signature(x[part])], [metric.signature(y[part])]).item() for part in kept]
    np.testing.assert_allclose(found, expected, atol=6 * DRAWN if isinstance(metric, LCSKNN) else 1e-5)


@quick
@given(seed=seeds, distinct=st.integers(2, 9), n=st.integers(10, 40), k=st.integers(1, 9))
def test_an_items_credits_sum_to_k(seed, distinct, n, k):
    x = torch.from_numpy(repeated(seed, n, distinct))
    metric = MutualKNN(k)
    assert metric.credited([metric.signature(x)]).credits.sum(dim=-1).numpy() == pytest.approx(k, rel=1e-6)


# --- no evidence out of nothing -----------------------------------------------------------------------------------------------


def p_value(metric: AbstractMetric, x: np.ndarray, y: np.ndarray, draws: int, seed: int) -> float:
    a, b = ([metric.signature(torch.from_numpy(layer))] for layer in (x, y))
    generator = torch.Generator().manual_seed(seed)
    permuted = [torch.randperm(len(x), generator=generator) for _ in range(draws)]
    values = metric.permuted_affinity(a, b, torch.stack([torch.arange(len(x)), *permuted]))[:, 0, 0].numpy()
    return float((values >= values[0] - 1e-9).mean())


@pytest.mark.slow
@each_of_all
@pytest.mark.parametrize("distinct", [4, 10])
def test_independent_layers_of_few_distinct_vectors_hold_their_level(metric, distinct):
    metric = replace(metric, k=10) if hasattr(metric, "k") else metric
    runs, draws, n = 200, 19, 64
    found = [p_value(metric, repeated(2 * run, n, distinct), repeated(2 * run + 1, n, distinct), draws, run) for run in range(runs)]
    rejected = np.mean(np.array(found) <= 0.05)
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


@each
def test_layers_of_few_distinct_vectors_are_at_chance_where_they_are_independent(metric):
    values, chances = [], []
    for seed in range(12):
        a, b = ([metric.signature(torch.from_numpy(repeated(2 * seed + side, 40, 4)))] for side in (0, 1))
        values.append(metric.affinity(a, b).item())
        chances.append(metric.chance(a, b).mean.item())
    excess = np.array(values) - chances
    assert abs(excess.mean()) <= 4 * excess.std(ddof=1) / np.sqrt(len(excess))


def test_chance_of_mutual_knn_with_ties_is_exact_over_all_orders():
    metric = MutualKNN(2)
    a, b = ([metric.signature(torch.from_numpy(repeated(seed, 6, 3)))] for seed in (0, 1))
    values = metric.permuted_affinity(a, b, torch.tensor(list(permutations(range(6)))))[:, 0, 0].numpy()
    chance = metric.chance(a, b)
    assert chance.mean.item() == pytest.approx(values.mean(), abs=1e-7) == 2 / 5
    assert chance.variance is not None
    assert chance.variance.item() == pytest.approx(values.var(), rel=1e-5)


# --- what is equally near -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [CosineNeighbors(), EuclideanNeighbors()], ids=lambda rule: rule.name)
@pytest.mark.parametrize(("n", "d"), [(70, 5), (70, 900), (2100, 64)])
def test_copies_are_equally_near_whatever_the_rounding_of_products(rule, n, d):
    once = torch.randn(n // 2, d, generator=torch.Generator().manual_seed(0))
    listed = rule(once.repeat(2, 1), 4)
    assert bool((listed.similarities[:, 0] == 0).all())  # the copy
    runs = listed.similarities[:, 1:5]
    assert bool((runs[:, 0::2] == runs[:, 1::2]).all())  # the next nearest and its copy


def test_near_copies_within_rounding_are_equally_near_and_farther_ones_are_not():
    x = torch.randn(60, 48, generator=torch.Generator().manual_seed(0))
    rounded = x * (1 + 2e-7 * torch.randn(60, 48, generator=torch.Generator().manual_seed(1)))
    apart = x * (1 + 1e-2 * torch.randn(60, 48, generator=torch.Generator().manual_seed(1)))
    assert CosineNeighbors()(torch.cat([x, rounded]), 3).similarities[:, 0].max() == 0
    assert CosineNeighbors()(torch.cat([x, apart]), 3).similarities[:, 0].max() < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_without_ties_have_none(dtype):
    x = torch.randn(1500, 96, dtype=dtype, generator=torch.Generator().manual_seed(0))
    listed = CosineNeighbors()(x, 20)
    assert listed.indices.shape[1] <= 22
    assert (listed.similarities[:, 1:20] == listed.similarities[:, :19]).double().mean() < 1e-3


@pytest.mark.parametrize("metric", [MutualKNN(K), CycleKNN(K)], ids=lambda metric: metric.name)
def test_where_ties_would_fill_the_memory_a_sample_of_them_has_the_same_credit_in_the_mean(metric, monkeypatch):
    x, y = (torch.from_numpy(repeated(seed, 300, 4)) for seed in (0, 1))
    exact = metric.affinity([metric.signature(x)], [metric.signature(y)]).item()
    monkeypatch.setattr(nearest_module, "_ENTRIES", 300 * 20)
    sampled = [metric.signature(x), metric.signature(y)]
    assert all(signature.indices.shape == (300, 20) for signature in sampled)
    assert metric.affinity([sampled[0]], [sampled[1]]).item() == pytest.approx(exact, abs=0.01)


# --- told ---------------------------------------------------------------------------------------------------------------------


@each
def test_a_layer_with_copies_is_told_by_name_with_the_share_of_items(metric):
    x, _ = related(seed=0, n=80)
    x[:8] = x[8]
    layers = {"block_1": torch.from_numpy(related(seed=1, n=80)[0]), "block_2": torch.from_numpy(x)}
    side = Activations(layers, 2)
    lines = diagnoses(metric, compare(Signer(metric, torch.device("cpu")), side, side))
    (told,) = [line for line in lines if " (" in line.split(":")[0]]  # second-order cosine has another doubt, without a share
    assert told.startswith(f"metric {metric.name}, side a, block_2 (")
    share = metric.diagnose(metric.signature(torch.from_numpy(x))).share
    assert 9 / 80 <= share < 0.5


@each
def test_a_layer_without_ties_is_not_told(metric):
    doubt = metric.diagnose(metric.signature(torch.from_numpy(related(seed=1, n=300, d_a=64)[0].astype(np.float32))))
    assert doubt is None or doubt.share is None  # second-order cosine has a doubt of its own


def test_lists_say_how_long_they_are_for_every_item():
    x = torch.from_numpy(repeated(0, 30, 3))
    listed = MutualKNN(4).signature(x)
    assert isinstance(listed, Listed)
    assert 4 <= listed.length <= listed.indices.shape[1]


# --- a direction that all items share -------------------------------------------------------------------------------------------


def far(x: np.ndarray, offset: float) -> np.ndarray:
    moved = x.astype(np.float32)
    moved[:, 0] += np.float32(offset)
    return moved


@pytest.mark.parametrize("offset", [300, 30_000])
@pytest.mark.parametrize("metric", [MutualKNN(10), RankKNN(10), CKNNA(10), CycleKNN(10)], ids=lambda metric: metric.name)
def test_neighbours_in_float32_are_those_in_float64_whatever_direction_all_items_share(metric, offset):
    x, y = (far(layer, offset) for layer in related(seed=0, n=200, d_a=48, d_b=48))
    exact = affinity_matrix(metric, [x.astype(np.float64)], [y.astype(np.float64)])[0, 0]
    assert affinity(metric, x, y) == pytest.approx(exact, abs=2e-3)
    order = CosineNeighbors()(torch.from_numpy(x), 10).indices.long()
    expected = CosineNeighbors()(torch.from_numpy(x).double(), 10).indices.long()
    assert (order[:, :10] != expected[:, :10]).double().mean() < 2e-3


@pytest.mark.parametrize("offset", [300, 30_000])
@pytest.mark.parametrize("metric", RETRIEVALS, ids=lambda metric: metric.name)
def test_retrieval_in_float32_is_that_in_float64_whatever_direction_all_items_share(metric, offset):
    rng = np.random.default_rng(0)
    content = rng.standard_normal((200, 48))
    x, y = (far(content + rng.standard_normal((200, 48)), offset) for _ in "ab")
    exact = affinity_matrix(metric, [x.astype(np.float64)], [y.astype(np.float64)])[0, 0]
    assert 0.1 < exact < 0.95
    assert affinity(metric, x, y) == pytest.approx(exact, abs=2e-3)
