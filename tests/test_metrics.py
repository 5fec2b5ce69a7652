from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric, CKALinear, CKALinearDebiased, MutualKNN


@dataclass(frozen=True)
class Declared:
    """A metric and the transformations of one side that it promises not to notice."""

    metric: AbstractMetric
    rotation: bool
    scale: bool  # one factor for all items and dimensions
    translation: bool
    item_scale: bool  # one factor per item
    linear: bool  # any invertible matrix


METRICS = [
    Declared(MutualKNN(k=5), rotation=True, scale=True, translation=False, item_scale=True, linear=False),
    Declared(MutualKNN(k=1), rotation=True, scale=True, translation=False, item_scale=True, linear=False),
    Declared(CKALinear(), rotation=True, scale=True, translation=True, item_scale=False, linear=False),
    Declared(CKALinearDebiased(), rotation=True, scale=True, translation=True, item_scale=False, linear=False),
]
TRANSFORMATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "rotation": lambda x, rng: x @ rotation(x.shape[1], rng),
    "scale": lambda x, rng: x * 1.337,
    "translation": lambda x, rng: x + 3 * rng.standard_normal(x.shape[1]),
    "item_scale": lambda x, rng: x * rng.uniform(0.2, 5, size=(len(x), 1)),
    "linear": lambda x, rng: x @ (rotation(x.shape[1], rng) * np.geomspace(0.1, 10, x.shape[1])),
}
CKAS = [CKALinear(), CKALinearDebiased()]

each_row = pytest.mark.parametrize("row", METRICS, ids=lambda row: f"{row.metric.name}{getattr(row.metric, 'k', '')}")
each_metric = pytest.mark.parametrize("metric", [MutualKNN(k=3), *CKAS], ids=lambda metric: metric.name)
each_cka = pytest.mark.parametrize("metric", CKAS, ids=lambda metric: metric.name)
quick = settings(deadline=None, derandomize=True, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def related(seed: int, n: int = 60, d_a: int = 12, d_b: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Two layers that share half of what they hold; no dimension of either has mean 0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d_a)) + rng.standard_normal(d_a)
    y = rng.standard_normal((n, d_b)) + rng.standard_normal(d_b)
    shared = min(d_a, d_b) // 2
    y[:, :shared] += 2 * x[:, :shared]
    return x, y


def affinity(metric: AbstractMetric, x: np.ndarray, y: np.ndarray) -> float:
    return float(affinity_matrix(metric, [x], [y])[0, 0])


@st.composite
def layer_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Layers without ties, of every proportion of n and d."""
    return related(draw(seeds), n=draw(st.integers(6, 40)), d_a=draw(st.integers(2, 60)), d_b=draw(st.integers(2, 60)))


# --- invariances, both ways -------------------------------------------------------------------------------------------------


@each_row
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_a_metric_notices_exactly_the_transformations_that_it_does_not_declare(row, transformation):
    x, y = related(seed=3)
    transformed = TRANSFORMATIONS[transformation](x, np.random.default_rng(4))
    if getattr(row, transformation):
        before, after = affinity(row.metric, x, y), affinity(row.metric, transformed, y)
        assert after == pytest.approx(before, abs=1e-12), f"{row.metric.name} should not change under {transformation}"
    else:
        likeness = affinity(row.metric, transformed, x)
        assert likeness < row.metric.self_value - 0.05, f"{row.metric.name} should change under {transformation}"


@each_metric
@pytest.mark.parametrize("exponent", [-100, 80])
def test_scales_far_from_one_change_nothing(metric, exponent):
    x, y = (layer.astype(np.float32) for layer in related(seed=5))
    assert affinity(metric, x * np.float32(2.0**exponent), y) == pytest.approx(affinity(metric, x, y), abs=1e-6)


# --- laws -------------------------------------------------------------------------------------------------------------------


@each_row
@quick
@given(layers=layer_pairs())
def test_a_layer_is_as_like_itself_as_can_be(row, layers):
    for x in layers:
        assert affinity(row.metric, x, x) == pytest.approx(row.metric.self_value, abs=1e-12)
        assert row.metric.self_value == row.metric.bounds[1]


@each_row
@quick
@given(first=layer_pairs(), seed=seeds)
def test_swapping_the_sides_transposes_the_matrix(row, first, seed):
    a = list(first)
    b = [*related(seed, n=len(a[0]), d_a=4, d_b=9), a[0]]
    np.testing.assert_allclose(affinity_matrix(row.metric, b, a), affinity_matrix(row.metric, a, b).T, rtol=0, atol=1e-12)
    assert row.metric.symmetric


@each_row
@quick
@given(layers=layer_pairs(), seed=seeds)
def test_the_order_of_the_items_does_not_matter(row, layers, seed):
    x, y = layers
    order = np.random.default_rng(seed).permutation(len(x))
    assert affinity(row.metric, x[order], y[order]) == pytest.approx(affinity(row.metric, x, y), abs=1e-12)


@each_row
@quick
@given(layers=layer_pairs(), negate=st.booleans())
def test_values_and_chance_lie_in_the_stated_bounds(row, layers, negate):
    x, y = layers
    y = -np.exp(y) if negate else y
    metric = row.metric
    signatures = [[metric.signature(torch.from_numpy(layer))] for layer in (x, y)]
    low, high = metric.bounds
    for value in (metric.affinity(*signatures), metric.chance(*signatures)):
        assert low - 1e-12 <= value.item() <= high + 1e-12


@quick
@given(seed=seeds, n=st.integers(7, 20), d=st.integers(1, 4))
def test_layers_full_of_ties_still_have_a_mutual_knn_in_bounds_and_one_with_themselves(seed, n, d):
    x, y = np.random.default_rng(seed).integers(1, 4, size=(2, n, d)).astype(float)
    x[0], y[-1] = 5, 7  # never all the same vector
    assert 0 <= affinity(MutualKNN(k=3), x, y) <= 1
    assert affinity(MutualKNN(k=3), x, x) == 1


@quick
@given(seed=seeds, n=st.integers(5, 20), d=st.integers(1, 4))
def test_layers_full_of_duplicates_have_a_cka_in_bounds(seed, n, d):
    x, y = np.random.default_rng(seed).integers(0, 5, size=(2, n, d)).astype(float)
    x[:3, 0] = y[-3:, 0] = [0, 4, 9]  # at least three different vectors
    for metric in CKAS:
        assert metric.bounds[0] - 1e-12 <= affinity(metric, x, y) <= metric.bounds[1] + 1e-12


@each_metric
def test_all_layers_at_once_give_what_each_pair_gives(metric):
    rng = np.random.default_rng(0)
    a = [rng.standard_normal((300, d)) for d in (3, 40, 350)]
    b = [rng.standard_normal((300, d)) + a[0][:, :1] for d in (5, 17)]
    pairs = [[affinity(metric, x, y) for y in b] for x in a]
    np.testing.assert_allclose(affinity_matrix(metric, a, b), pairs, rtol=0, atol=1e-14)


@each_metric
def test_the_chance_of_all_layers_at_once_is_that_of_each_pair(metric):
    rng = np.random.default_rng(0)
    a, b = ([metric.signature(torch.from_numpy(rng.standard_normal((30, d)))) for d in widths] for widths in ((3, 40, 9), (5, 17)))
    pairs = [[metric.chance([x], [y]).item() for y in b] for x in a]
    np.testing.assert_allclose(metric.chance(a, b).numpy(), pairs, rtol=1e-12)


@each_metric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_affinity_and_chance_are_float64_whatever_the_layers(metric, dtype):
    x, y = (metric.signature(torch.from_numpy(layer).to(dtype)) for layer in related(seed=0))
    assert metric.affinity([x], [y]).dtype == torch.float64
    assert metric.chance([x], [y]).dtype == torch.float64


# --- published and independently computed values ----------------------------------------------------------------------------


def published_layers() -> tuple[np.ndarray, np.ndarray]:
    """The layers of the demonstration notebook of Kornblith et al. (2019)."""
    legacy = np.random.RandomState(1337)  # the generator behind the published numbers
    x = legacy.randn(100, 10)
    return x, legacy.randn(100, 10) + x


@pytest.mark.parametrize(("metric", "value"), [(CKALinear(), 0.5576132566117586), (CKALinearDebiased(), 0.513456489505526)])
def test_cka_has_the_values_published_by_its_authors(metric, value):
    assert affinity(metric, *published_layers()) == pytest.approx(value, rel=1e-12)


def golden_layers() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layers on which several independent implementations agree: with a shared part, and independent with d >> n."""
    rng = np.random.default_rng(0)
    n = 64
    z = rng.standard_normal((n, 8))
    x = np.hstack([z, rng.standard_normal((n, 24))]) @ rng.standard_normal((32, 32))
    y = np.hstack([z, rng.standard_normal((n, 12))]) @ rng.standard_normal((20, 20))
    return {"shared": (x, y), "independent": (rng.standard_normal((n, 256)), rng.standard_normal((n, 300)))}


@pytest.mark.parametrize(
    ("metric", "layers", "value"),
    [
        (CKALinear(), "shared", 0.301932954799472),
        (CKALinear(), "independent", 0.805182551805239),
        (CKALinearDebiased(), "shared", 0.163233114912425),
        (CKALinearDebiased(), "independent", -0.015606215872385),
        (MutualKNN(k=10), "shared", 0.2125),
        (MutualKNN(k=10), "independent", 0.1578125),
    ],
)
def test_values_are_those_that_other_implementations_agree_on(metric, layers, value):
    assert affinity(metric, *golden_layers()[layers]) == pytest.approx(value, rel=1e-12, abs=1e-15)


# --- references written from the definitions --------------------------------------------------------------------------------


def reference_mutual_knn(x: np.ndarray, y: np.ndarray, k: int) -> float:
    shared = 0
    for i in range(len(x)):
        near = []
        for layer in (x, y):
            cosines = (layer @ layer[i]) / np.linalg.norm(layer, axis=1)
            near.append(set([j for j in np.argsort(-cosines, kind="stable") if j != i][:k]))
        shared += len(near[0] & near[1])
    return shared / (len(x) * k)


def hsic_biased(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    n = len(k)
    centring = np.eye(n) - np.full((n, n), 1 / n)
    return float(np.trace(k @ centring @ l @ centring)) / (n - 1) ** 2


def hsic_unbiased(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """HSIC_1 of Song et al. (2012), eq. 5."""
    n, one = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    parts = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    return float(parts) / (n * (n - 3))


def hsic_unbiased_by_counting(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """The U-statistic that eq. 5 is a closed form of: a mean over all ordered quadruples of distinct items."""
    n = len(k)
    terms = (k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(n), 4))
    return sum(terms) * factorial(n - 4) / factorial(n)


def reference_cka(x: np.ndarray, y: np.ndarray, hsic: Callable[[np.ndarray, np.ndarray], float]) -> float:
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.mark.parametrize(("n", "d_a", "d_b", "k"), [(9, 4, 2, 1), (9, 2, 4, 8), (70, 5, 90, 10), (1061, 6, 11, 7)])
def test_mutual_knn_is_what_counting_common_neighbours_gives(n, d_a, d_b, k):
    x, y = related(seed=n, n=n, d_a=d_a, d_b=d_b)
    assert affinity(MutualKNN(k=k), x, y) == pytest.approx(reference_mutual_knn(x, y, k), abs=1e-14)


@pytest.mark.parametrize(("n", "d_a", "d_b"), [(5, 2, 3), (40, 3, 90), (300, 7, 400), (1030, 6, 11)])
@pytest.mark.parametrize(
    ("metric", "hsic"), [(CKALinear(), hsic_biased), (CKALinearDebiased(), hsic_unbiased)], ids=["biased", "debiased"]
)
def test_cka_is_what_the_definition_of_hsic_gives(metric, hsic, n, d_a, d_b):
    x, y = related(seed=n, n=n, d_a=d_a, d_b=d_b)
    assert affinity(metric, x, y) == pytest.approx(reference_cka(x, y, hsic), rel=1e-9)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_debiased_cka_is_a_mean_over_quadruples_of_items(n):
    x, y = related(seed=n, n=n, d_a=5, d_b=3)
    assert affinity(CKALinearDebiased(), x, y) == pytest.approx(reference_cka(x, y, hsic_unbiased_by_counting), rel=1e-9)


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
    neighbours = MutualKNN(k=3).signature(torch.stack([angles.cos(), angles.sin()], dim=1))
    assert neighbours.tolist() == [[3, 2, 1], [2, 3, 0], [3, 0, 1], [0, 2, 1]]


# --- chance -----------------------------------------------------------------------------------------------------------------

SPECTRA = {
    "few_dimensions": (np.ones(3), np.ones(5)),
    "many_dimensions": (np.ones(300), np.ones(200)),
    "power_law": (np.arange(1.0, 101) ** -1, np.arange(1.0, 151) ** -0.7),
}


@each_metric
@pytest.mark.parametrize("spectra", SPECTRA)
def test_chance_is_the_mean_over_permutations_of_the_items(metric, spectra):
    rng = np.random.default_rng(11)
    n, draws = 40, 200
    x, y = (rng.standard_normal((n, len(scales))) * scales for scales in SPECTRA[spectra])
    y[:, :3] += x[:, :3]
    a = [metric.signature(torch.from_numpy(x))]
    permuted = [metric.signature(torch.from_numpy(y[rng.permutation(n)])) for _ in range(draws)]
    values = metric.affinity(a, permuted).numpy()[0]
    standard_error = values.std(ddof=1) / np.sqrt(draws)
    assert metric.chance(a, permuted[:1]).item() == pytest.approx(values.mean(), abs=3.5 * standard_error)
    assert standard_error < 0.01


def test_chance_of_mutual_knn_is_k_of_the_other_items():
    signatures = [MutualKNN(k=10).signature(torch.from_numpy(layer)) for layer in related(seed=0, n=64)]
    assert MutualKNN(k=10).chance(signatures, signatures[:1]).tolist() == [[10 / 63], [10 / 63]]


def test_chance_of_biased_cka_is_high_where_items_are_few_and_dimensions_many():
    wide, narrow = (
        [CKALinear().signature(torch.from_numpy(layer)) for layer in related(seed=0, n=64, d_a=d, d_b=d)] for d in (300, 4)
    )
    assert CKALinear().chance(wide[:1], wide[1:]).item() > 0.7
    assert CKALinear().chance(narrow[:1], narrow[1:]).item() < 0.1


# --- ties and duplicates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_duplicated_item_never_counts_as_its_own_neighbour(dtype):
    once = torch.randn(20, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    neighbours = MutualKNN(k=6).signature(once.repeat(3, 1))
    assert not (neighbours == torch.arange(60)[:, None]).any()


def test_the_nearest_neighbours_of_a_duplicated_item_are_its_duplicates():
    once = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    neighbours = MutualKNN(k=2).signature(once.repeat(3, 1))
    assert [sorted(row) for row in neighbours[:20].tolist()] == [[i + 20, i + 40] for i in range(20)]


def test_of_equally_near_items_the_first_is_the_nearer():
    axes = torch.eye(4)[[0, 1, 2, 3, 0, 1, 0]]  # cosines are exactly 0 or 1
    assert MutualKNN(k=3).signature(axes).tolist() == [
        [4, 6, 1],
        [5, 0, 2],
        [0, 1, 3],
        [0, 1, 2],
        [0, 6, 1],
        [1, 0, 2],
        [0, 4, 1],
    ]


def test_ties_are_broken_alike_in_every_block_of_rows():
    axes = torch.eye(3)[torch.arange(1100) % 3]
    neighbours = MutualKNN(k=4).signature(axes)
    assert neighbours[1097].tolist() == [2, 5, 8, 11]
    assert neighbours[1098].tolist() == [0, 3, 6, 9]
    assert neighbours[0].tolist() == [3, 6, 9, 12]


def test_with_as_many_neighbours_as_other_items_every_other_item_is_one():
    neighbours = MutualKNN(k=4).signature(torch.eye(3)[[0, 1, 2, 0, 1]])
    assert [sorted(row) for row in neighbours.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]


# --- precision --------------------------------------------------------------------------------------------------------------


@each_cka
def test_a_constant_offset_of_thousands_in_one_dimension_does_not_drown_the_rest(metric):
    x, y = related(seed=7, n=400, d_a=64, d_b=48)
    shifted = x.astype(np.float32)
    shifted[:, 5] += 3000
    assert affinity(metric, shifted, y.astype(np.float32)) == pytest.approx(affinity(metric, x, y), abs=1e-4)


@each_cka
def test_one_item_of_enormous_norm_costs_no_precision(metric):
    x, y = related(seed=8, n=300, d_a=32, d_b=20)
    x[17] *= 5000
    assert affinity(metric, x.astype(np.float32), y.astype(np.float32)) == pytest.approx(affinity(metric, x, y), abs=1e-5)


@each_metric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accepted_and_computed_in_float32(metric, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in related(seed=9))
    np.testing.assert_array_equal(affinity_matrix(metric, [x], [y]), affinity_matrix(metric, [x.float()], [y.float()]))


@each_metric
def test_half_precision_of_large_activations_does_not_overflow(metric):
    x, y = related(seed=9)
    large = torch.from_numpy(x * 10_000).half()
    assert large.isfinite().all()
    assert affinity(metric, large.numpy(), y.astype(np.float32)) == pytest.approx(affinity(metric, x, y), abs=0.01)


@each_metric
def test_the_sides_may_differ_in_precision(metric):
    x, y = related(seed=9)
    assert affinity(metric, x.astype(np.float32), y) == pytest.approx(affinity(metric, x, y), abs=1e-6)
    assert affinity(metric, x, y.astype(np.float32)) == pytest.approx(affinity(metric, x, y), abs=1e-6)


@each_metric
def test_layers_are_left_as_they_were(metric):
    x = torch.from_numpy(related(seed=10)[0])
    before = x.clone()
    affinity_matrix(metric, [x], [x])
    assert torch.equal(x, before)


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_type_checker():
    """Shapes unchecked, as they are for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@each_metric
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(metric, bad):
    x, y = related(seed=0)
    x[4, 2] = bad
    with pytest.raises(ValueError, match=r"^activations hold NaN or infinite values$"):
        affinity_matrix(metric, [y], [y, x])


@each_metric
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_layer_of_one_and_the_same_vector_is_refused(metric, value):
    with pytest.raises(ValueError, match=r"^every item has the same vector, so there is nothing to compare$"):
        metric.signature(torch.full((12, 5), value))


def test_a_zero_vector_has_no_cosine_neighbours():
    x, _ = related(seed=0)
    x[[7, 9]] = 0
    with pytest.raises(ValueError, match=r"^item 7 is the zero vector, which has no direction$"):
        affinity_matrix(MutualKNN(k=3), [x], [x])


@each_cka
def test_a_zero_vector_is_as_good_as_any_other_for_cka(metric):
    x, y = related(seed=0)
    x[7] = 0
    assert affinity(metric, x, y) == pytest.approx(affinity(metric, x + 1, y), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "min_n"), [(MutualKNN(k=1), 2), (MutualKNN(k=10), 11), (CKALinear(), 3), (CKALinearDebiased(), 4)]
)
def test_the_fewest_items_that_give_a_value_do_and_one_fewer_is_refused(metric, min_n):
    x, y = related(seed=1, n=min_n)
    assert metric.min_n == min_n
    assert metric.bounds[0] - 1e-12 <= affinity(metric, x, y) <= metric.bounds[1] + 1e-12
    with pytest.raises(ValueError, match=rf"^needs at least {min_n} items; got {min_n - 1}$"):
        affinity_matrix(metric, [x[1:]], [y[1:]])


@each_metric
@pytest.mark.parametrize("shape", [(12,), (1, 12, 5), (12, 0)])
@pytest.mark.usefixtures("without_type_checker")
def test_anything_but_items_times_dimensions_is_refused(metric, shape):
    x = np.ones(shape)
    with pytest.raises(ValueError, match=r"^activations must be of shape \(n, d\); got \(" + ", ".join(map(str, shape))):
        affinity_matrix(metric, [x], [x])


@each_metric
def test_layers_of_different_items_are_refused(metric):
    x, y = related(seed=0)
    with pytest.raises(ValueError, match=r"^all layers must hold the same items; got layers of 57 and 60 items$"):
        affinity_matrix(metric, [x], [y[3:]])


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_neighbour_is_a_mistake_of_the_config(k):
    with pytest.raises(ConfigError, match=rf"^k: expected at least 1 neighbour; got {k}$"):
        MutualKNN(k=k)


@pytest.mark.parametrize("n", [8, 100])
@pytest.mark.parametrize("kind", ["one item differs", "all equally far apart"])
def test_debiased_cka_refuses_a_layer_without_variance_between_pairs(kind, n):
    """Their U-centred Gram matrix is zero, so that the quotient would be rounding error over rounding error."""
    x = np.eye(n) if kind == "all equally far apart" else np.outer(np.arange(n) == 0, np.ones(3))
    with pytest.raises(ValueError, match=r"U-centred|debiased|pair"):
        affinity_matrix(CKALinearDebiased(), [x], [x])


@each_metric
def test_every_metric_says_what_it_is(metric):
    assert metric.name
    assert metric.estimator
    assert metric.bounds[0] < metric.bounds[1]
    assert isinstance(metric, AbstractNeighborMetric) == hasattr(metric, "k")
