"""Neighbour metrics: other implementations, definitions, ties and duplicates."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from golden_layers import golden_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import affinity, related

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import (
    CKNNA,
    LCSKNN,
    CosineNeighbors,
    CycleKNN,
    EuclideanNeighbors,
    JaccardKNN,
    MutualKNN,
    RankKNN,
    SecondOrderCosine,
)
from layeratlas.metrics.cknna import _masked_hsic

quick = settings(deadline=None, derandomize=True, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


# --- published and independently computed values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "shared", "independent"),
    [
        (MutualKNN(k=10), 0.2125, 0.1578125),
        (JaccardKNN(k=10), 0.124224662452700, 0.089130224458204),
        (CycleKNN(k=10), 0.90625, 0.828125),
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_values_are_those_that_other_implementations_agree_on(metric, shared, independent):
    layers = golden_layers()
    assert affinity(metric, *layers["shared"]) == pytest.approx(shared, rel=1e-12)
    assert affinity(metric, *layers["independent"]) == pytest.approx(independent, rel=1e-12)


@pytest.mark.parametrize(("layers", "value"), [("shared", 0.204065412112927), ("independent", 0.145514385498666)])
def test_cknna_has_the_published_implementations_value_once_its_constant_is_added(layers, value):
    """Huh et al. add 1e-6 to the denominator, which is itself only .02 and .001 here."""
    metric = CKNNA(k=10)
    x, y = golden_layers()[layers]
    own = [metric._entries(metric.signature(torch.from_numpy(layer))) for layer in (x, y)]
    scale = np.sqrt(np.prod([metric._own(entries, len(x)) for entries in own]))
    assert affinity(metric, x, y) * scale / (scale + 1e-6) == pytest.approx(value, rel=1e-9)


# --- references written from the definitions --------------------------------------------------------------------------------


def near(x: np.ndarray, k: int) -> list[list[int]]:
    """Each item's k nearest others by cosine, nearest first."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    ordered = np.argsort(-(unit @ unit.T), axis=1, kind="stable")
    return [[int(j) for j in row if j != i][:k] for i, row in enumerate(ordered)]


def longest_common_subsequence(p: list[int], q: list[int]) -> int:
    return max(size for size in range(len(p) + 1) if set(combinations(p, size)) & set(combinations(q, size)))


@pytest.mark.parametrize(("n", "d_a", "d_b", "k"), [(9, 4, 2, 1), (9, 2, 4, 8), (70, 5, 90, 10), (1061, 6, 11, 7)])
def test_overlaps_are_what_counting_common_neighbours_gives(n, d_a, d_b, k):
    x, y = related(seed=n, n=n, d_a=d_a, d_b=d_b)
    common = np.array([len(set(p) & set(q)) for p, q in zip(near(x, k), near(y, k), strict=True)])
    assert affinity(MutualKNN(k=k), x, y) == pytest.approx(common.mean() / k, abs=1e-14)
    assert affinity(JaccardKNN(k=k), x, y) == pytest.approx((common / (2 * k - common)).mean(), abs=1e-14)


def test_cycles_are_what_walking_there_and_back_gives():
    x, y = related(seed=1)
    back, there = near(x, 4), near(y, 4)
    returned = [any(i in back[j] for j in there[i]) for i in range(len(x))]
    assert affinity(CycleKNN(k=4), x, y) == pytest.approx(np.mean(returned), abs=1e-14)


def test_subsequences_are_what_trying_all_of_them_gives():
    x, y = related(seed=2, n=25)
    lengths = [longest_common_subsequence(p, q) for p, q in zip(near(x, 6), near(y, 6), strict=True)]
    assert affinity(LCSKNN(k=6), x, y) == pytest.approx(np.mean(lengths) / 6, abs=1e-14)


def test_ranks_agree_as_the_formula_says():
    x, y = related(seed=3)

    def agreement(p: list[int], q: list[int]) -> float:
        ranks = [(p.index(j) + 1, q.index(j) + 1) for j in p if j in q]
        terms = [2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks]
        return sum(terms) / sum(1 / r for r in range(1, len(ranks) + 1)) if ranks else 0.0

    expected = np.mean([agreement(p, q) for p, q in zip(near(x, 7), near(y, 7), strict=True)])
    assert affinity(RankKNN(k=7), x, y) == pytest.approx(expected, rel=1e-12)


def test_second_order_cosine_compares_similarities_to_all_neighbours_in_either_layer():
    x, y = related(seed=4)
    cosines = [layer @ layer.T for layer in (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))]
    values = []
    for i, (p, q) in enumerate(zip(near(x, 5), near(y, 5), strict=True)):
        seen = sorted({*p, *q})
        u, v = cosines[0][i, seen], cosines[1][i, seen]
        values.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    assert affinity(SecondOrderCosine(k=5), x, y) == pytest.approx(np.mean(values), rel=1e-9)


@quick
@given(seed=seeds, n=st.integers(5, 20))
def test_the_hsic_of_sparse_matrices_is_that_of_the_full_ones(seed, n):
    rng = np.random.default_rng(seed)
    mask = rng.random((n, n)) < 0.3
    np.fill_diagonal(mask, False)
    k, l = rng.standard_normal((2, n, n)) * mask  # noqa: E741
    one = np.ones(n)
    parts = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    places = np.flatnonzero(mask)
    found = _masked_hsic(*(torch.from_numpy(part) for part in (places, k.ravel()[places], l.ravel()[places])), n)
    assert found == pytest.approx(parts / (n * (n - 3)), rel=1e-9, abs=1e-12)


def test_euclidean_neighbours_are_those_of_euclidean_distance():
    x, _ = related(seed=5)
    distances = np.linalg.norm(x[:, None] - x, axis=2)
    np.fill_diagonal(distances, np.inf)
    listed = EuclideanNeighbors()(torch.from_numpy(x), 6).indices.numpy()
    np.testing.assert_array_equal(listed, np.argsort(distances, axis=1)[:, :6])


def test_euclidean_neighbours_notice_norms_and_no_translation():
    x, y = related(seed=6)
    euclidean = replace(MutualKNN(k=5), nearest=EuclideanNeighbors())
    before = affinity(euclidean, x, y)
    assert affinity(euclidean, x + 100, y) == before
    assert affinity(euclidean, x * np.geomspace(0.1, 10, len(x))[:, None], x) < 0.8


def test_mutual_knn_of_four_points_on_a_circle():
    def on_circle(*degrees: float) -> np.ndarray:
        return np.array([[np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))] for angle in degrees])

    x, y = on_circle(0, 10, 90, 110), on_circle(0, 100, 10, 130)
    # nearest in x: 1 0 3 2; nearest in y: 2 3 0 1; the two nearest in x: 12 02 31 21; in y: 21 32 01 12
    assert affinity(MutualKNN(k=1), x, y) == 0
    assert affinity(MutualKNN(k=2), x, y) == pytest.approx((2 + 1 + 1 + 2) / 8)
    assert affinity(MutualKNN(k=3), x, y) == 1


def test_neighbours_are_listed_from_the_nearest_to_the_farthest():
    angles = torch.deg2rad(torch.tensor([0.0, 50.0, 20.0, 5.0]))
    neighbours = MutualKNN(k=3).signature(torch.stack([angles.cos(), angles.sin()], dim=1)).indices
    assert neighbours.tolist() == [[3, 2, 1], [2, 3, 0], [3, 0, 1], [0, 2, 1]]


# --- lists ------------------------------------------------------------------------------------------------------------------


def test_a_longer_list_begins_with_the_shorter_one():
    x = torch.from_numpy(related(seed=0)[0])
    longer, shorter = CosineNeighbors()(x, 30), CosineNeighbors()(x, 4)
    assert torch.equal(longer.indices[:, :4], shorter.indices)
    assert torch.equal(longer.similarities[:, :4], shorter.similarities)


def test_lists_that_are_too_short_for_a_subset_are_refused():
    x = torch.from_numpy(related(seed=0)[0])
    metric = replace(MutualKNN(k=4), listed=5)
    with pytest.raises(ValueError, match=r"^of 5 listed neighbours of an item, fewer than k = 4 are in the subset$"):
        metric.subset(metric.signature(x), torch.arange(30))


def test_chance_of_mutual_knn_is_k_of_the_other_items():
    signatures = [MutualKNN(k=10).signature(torch.from_numpy(layer)) for layer in related(seed=0, n=64)]
    assert MutualKNN(k=10).chance(signatures, signatures[:1]).mean.tolist() == [[10 / 63], [10 / 63]]


# --- ties and duplicates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_duplicated_item_never_counts_as_its_own_neighbour(dtype):
    once = torch.randn(20, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    neighbours = MutualKNN(k=6).signature(once.repeat(3, 1)).indices
    assert not (neighbours == torch.arange(60)[:, None]).any()


def test_the_nearest_neighbours_of_a_duplicated_item_are_its_duplicates():
    once = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    neighbours = MutualKNN(k=2).signature(once.repeat(3, 1)).indices
    assert [sorted(row) for row in neighbours[:20].tolist()] == [[i + 20, i + 40] for i in range(20)]


def test_equally_near_items_are_listed_in_the_order_of_the_items():
    axes = torch.eye(4)[[0, 1, 2, 3, 0, 1, 0]]  # cosines are exactly 0 or 1
    assert MutualKNN(k=3).signature(axes).indices[:, :3].tolist() == [
        [4, 6, 1],
        [5, 0, 2],
        [0, 1, 3],
        [0, 1, 2],
        [0, 6, 1],
        [1, 0, 2],
        [0, 4, 1],
    ]


def test_ties_are_listed_alike_in_every_block_of_rows():
    axes = torch.eye(3)[torch.arange(1100) % 3]
    neighbours = MutualKNN(k=4).signature(axes).indices
    assert neighbours[1097, :4].tolist() == [2, 5, 8, 11]
    assert neighbours[1098, :4].tolist() == [0, 3, 6, 9]
    assert neighbours[0, :4].tolist() == [3, 6, 9, 12]
    assert sorted(neighbours[0].tolist()) == sorted(range(3, 1100, 3))


def test_with_as_many_neighbours_as_other_items_every_other_item_is_one():
    neighbours = MutualKNN(k=4).signature(torch.eye(3)[[0, 1, 2, 0, 1]]).indices
    assert [sorted(row) for row in neighbours.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [MutualKNN(k=3), CKNNA(k=3), SecondOrderCosine(k=3)], ids=lambda metric: metric.name)
def test_a_zero_vector_has_no_cosine_neighbours(metric):
    x, _ = related(seed=0)
    x[[7, 9]] = 0
    with pytest.raises(ValueError, match=r"^item 7 is the zero vector, which has no direction$"):
        affinity_matrix(metric, [x], [x])


def test_neighbours_that_are_all_equally_near_have_no_cknna():
    with pytest.raises(ValueError, match=r"^a layer's neighbours are all equally near: its CKNNA with itself is zero"):
        affinity_matrix(CKNNA(k=7), [np.eye(8)], [np.random.default_rng(0).standard_normal((8, 3))])


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_neighbour_is_a_mistake_of_the_config(k):
    with pytest.raises(ConfigError, match=rf"^k: expected at least 1 neighbour; got {k}$"):
        MutualKNN(k=k)
