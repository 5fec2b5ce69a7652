from itertools import permutations

import numpy as np
import pytest
import torch
from metric_rows import affinity, related
from scipy.spatial.distance import cdist

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import (
    CSLS,
    MEXA,
    AbstractMetric,
    PairedCosine,
    PairedCosineCentred,
    RetrievalAt1,
    RetrievalAt1Mutual,
    cosines,
)
from layeratlas.metrics import paired as module

RETRIEVALS = [RetrievalAt1(), RetrievalAt1Mutual(), MEXA(), CSLS(k=3)]
each = pytest.mark.parametrize("metric", [PairedCosine(), PairedCosineCentred(), *RETRIEVALS], ids=lambda metric: metric.name)
each_retrieval = pytest.mark.parametrize("metric", RETRIEVALS, ids=lambda metric: metric.name)


def translations(seed: int, n: int = 40, d: int = 16, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Each item twice, with noise and a direction of the language."""
    rng = np.random.default_rng(seed)
    content = rng.standard_normal((n, d))
    return tuple(content + 0.5 * rng.standard_normal(d) + noise * rng.standard_normal((n, d)) for _ in "ab")


def by_definition(metric: AbstractMetric, x: np.ndarray, y: np.ndarray) -> float:
    """Item by item, for layers without ties."""
    n, cosine = len(x), 1 - cdist(x, y, "cosine")
    match metric:
        case PairedCosine():
            return float(np.mean([x[i] @ y[i] / np.linalg.norm(x[i]) / np.linalg.norm(y[i]) for i in range(n)]))
        case PairedCosineCentred():
            return by_definition(PairedCosine(), x - x.mean(axis=0), y - y.mean(axis=0))
        case MEXA():
            others = [np.r_[np.delete(cosine[i], i), np.delete(cosine[:, i], i)] for i in range(n)]
            return float(np.mean([cosine[i, i] > others[i].max() for i in range(n)]))
        case CSLS(k=k):
            near_x = np.array([np.mean(sorted(row)[-k:]) for row in cosine])
            near_y = np.array([np.mean(sorted(column)[-k:]) for column in cosine.T])
            cosine = 2 * cosine - near_x[:, None] - near_y
    there = [cosine[i].argmax() == i for i in range(n)]
    back = [cosine[:, i].argmax() == i for i in range(n)]
    return float(np.mean(np.logical_and(there, back) if isinstance(metric, RetrievalAt1Mutual) else [there, back]))


@each
@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_the_value_is_its_definition_item_by_item(metric, noise):
    x, y = translations(seed=1, noise=noise)
    assert affinity(metric, x, y) == pytest.approx(by_definition(metric, x, y), abs=1e-12)


@each_retrieval
def test_blocks_of_rows_give_what_all_rows_give(metric, monkeypatch):
    x, y = translations(seed=2)
    expected = affinity(metric, x, y)
    monkeypatch.setattr(cosines, "row_ranges", lambda n, layers: (slice(start, min(start + 7, n)) for start in range(0, n, 7)))
    assert affinity(metric, x, y) == expected


@pytest.mark.parametrize("metric", [PairedCosine(), PairedCosineCentred()], ids=lambda metric: metric.name)
def test_blocks_of_items_and_of_dimensions_give_what_all_give(metric, monkeypatch):
    sides = [[metric.signature(torch.from_numpy(x))] for x in translations(seed=2)]
    expected = metric.affinity(*sides), *metric.chance(*sides)
    monkeypatch.setattr(module, "_ITEMS", 5)
    for value, before in zip((metric.affinity(*sides), *metric.chance(*sides)), expected, strict=True):
        torch.testing.assert_close(value, before, rtol=1e-12, atol=0)


def test_a_permutation_gives_hand_counted_values():
    """Items on the axes: item 2 of b stands where item 3 does and the other way round, the other three are found."""
    x = np.eye(5)
    y = x[[0, 1, 3, 2, 4]]
    for metric in (RetrievalAt1(), RetrievalAt1Mutual(), MEXA(), PairedCosine()):
        assert affinity(metric, x, y) == pytest.approx(0.6)


def test_one_way_retrieval_counts_half_and_mutual_retrieval_not_at_all():
    """Item 1 of a is nearest to item 0 of b, but item 1 of b is nearest to item 1 of a."""
    x = np.array([[1.0, 0.0], [0.8, 0.6]])
    y = np.array([[1.0, 0.1], [0.0, 1.0]])
    assert affinity(RetrievalAt1(), x, y) == 0.75
    assert affinity(RetrievalAt1Mutual(), x, y) == affinity(MEXA(), x, y) == 0.5


def test_a_hub_costs_plain_retrieval_what_csls_gives_back():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 30)) + 1.0
    y = x + 2.5 * rng.standard_normal((60, 30))
    y[0] = 1.0 + 0.1 * rng.standard_normal(30)  # near to the mean of all: a hub
    assert affinity(CSLS(k=10), x, y) > affinity(RetrievalAt1(), x, y)


def test_csls_of_a_layer_with_itself_can_be_below_1():
    angle = np.array([0, 0.1, 0.6, 0.61])  # the second item is nearer to the rest than the first, which lies behind it
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert affinity(CSLS(k=4), x, x) < 1
    assert affinity(RetrievalAt1(), x, x) == 1


# --- ties -------------------------------------------------------------------------------------------------------------------


def test_items_that_repeat_share_a_hit_but_are_none_for_mexa():
    x = np.eye(6)[[0, 0, 1, 2, 3, 4]]
    assert affinity(RetrievalAt1(), x, x) == pytest.approx((2 * 1 / 2 + 4) / 6)
    assert affinity(RetrievalAt1Mutual(), x, x) == pytest.approx((2 * 1 / 4 + 4) / 6)
    assert affinity(MEXA(), x, x) == pytest.approx(4 / 6)
    assert affinity(CSLS(k=1), x, x) == pytest.approx((2 * 1 / 2 + 4) / 6)


def test_the_order_of_items_does_not_decide_ties():
    x = np.eye(6)[[0, 0, 0, 2, 3, 4]]
    order = np.array([5, 0, 3, 1, 4, 2])
    for metric in RETRIEVALS:
        assert affinity(metric, x[order], x[order]) == pytest.approx(affinity(metric, x, x))


# --- chance -----------------------------------------------------------------------------------------------------------------


def all_orders(metric: AbstractMetric, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    orders = torch.tensor(list(permutations(range(len(x)))))
    sides = ([metric.signature(torch.from_numpy(layer))] for layer in (x, y))
    return metric.permuted_affinity(*sides, orders)[:, 0, 0].numpy()


@each
@pytest.mark.parametrize("tied", [False, True])
def test_chance_is_exact_over_all_permutations(metric, tied):
    x, y = np.random.default_rng(3).standard_normal((2, 6, 4)) + 1
    if tied:
        x, y = np.eye(4)[[0, 0, 1, 2, 3, 3]], np.eye(4)[[0, 1, 1, 2, 2, 3]]
    values = all_orders(metric, x, y)
    mean, variance = metric.chance(*([metric.signature(torch.from_numpy(layer))] for layer in (x, y)))
    assert mean.item() == pytest.approx(values.mean(), abs=1e-12)
    assert variance.item() == pytest.approx(values.var(), rel=1e-9)


@pytest.mark.parametrize("metric", [RetrievalAt1(), CSLS(k=3)], ids=lambda metric: metric.name)
def test_the_chance_of_retrieval_is_1_over_n_whatever_the_layers(metric):
    x, y = related(0, n=50, d_a=8, d_b=8)
    for a, b in ((x, y), (x, -np.exp(y)), (np.eye(8)[np.arange(50) % 8], y)):
        sides = ([metric.signature(torch.from_numpy(layer))] for layer in (a, b))
        assert metric.chance(*sides).mean.item() == pytest.approx(1 / 50, rel=1e-12)


def test_the_chance_of_mutual_retrieval_is_the_number_of_mutual_neighbours_over_n_squared():
    x, y = translations(seed=0, n=40)
    cosine = 1 - cdist(x, y, "cosine")
    mutual = sum(cosine[:, cosine[i].argmax()].argmax() == i for i in range(40))
    for metric in (RetrievalAt1Mutual(), MEXA()):
        sides = ([metric.signature(torch.from_numpy(layer))] for layer in (x, y))
        assert metric.chance(*sides).mean.item() == pytest.approx(mutual / 40**2)


def test_shuffled_pairs_are_found_at_chance_and_true_ones_nearly_always():
    n = 60
    x, y = translations(seed=5, n=n, noise=0.3)
    assert affinity(RetrievalAt1(), x, y) > 0.95
    rng = np.random.default_rng(6)
    shuffled = [affinity(RetrievalAt1(), x, y[rng.permutation(n)]) for _ in range(300)]
    assert np.mean(shuffled) == pytest.approx(1 / n, abs=4 * np.std(shuffled) / np.sqrt(300))


def test_a_common_direction_raises_the_cosine_and_its_chance_but_not_the_centred_cosine():
    x, y = translations(seed=0, noise=1.0)
    far = 50 * np.ones(16)
    plain, centred = PairedCosine(), PairedCosineCentred()
    assert affinity(plain, x + far, y + far) > 0.99
    chance = plain.chance([plain.signature(torch.from_numpy(x + far))], [plain.signature(torch.from_numpy(y + far))])
    assert chance.mean.item() > 0.99
    assert affinity(centred, x + far, y + 2 * far) == pytest.approx(affinity(centred, x, y), abs=1e-12)


# --- refusals ---------------------------------------------------------------------------------------------------------------


@each
def test_layers_of_different_widths_are_refused_by_every_question(metric):
    a, b = ([metric.signature(torch.randn(9, width))] for width in (6, 4))
    for ask in (metric.affinity, metric.chance):
        with pytest.raises(
            ConfigError, match=rf"^metric {metric.name} compares vectors of one space; got layers of 4 and 6 dimensions$"
        ):
            ask(a, b)


@each
def test_a_zero_vector_is_refused(metric):
    x = np.round(4 * np.random.default_rng(0).standard_normal((6, 3)))
    x[4] = 0
    x[0] -= x.sum(axis=0)  # the zero vector is also the mean, exactly
    with pytest.raises(ValueError, match=r"^item 4 is the zero vector, which has no direction$"):
        affinity_matrix(metric, [x], [x])


def test_csls_needs_a_neighbour_and_as_many_items_as_neighbours():
    with pytest.raises(ConfigError, match=r"^k: expected at least 1 neighbour; got 0$"):
        CSLS(k=0)
    with pytest.raises(ValueError, match=r"^needs at least 7 items; got 6$"):
        CSLS(k=7).signature(torch.randn(6, 3))
