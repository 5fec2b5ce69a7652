"""CKA, HSIC and distance correlation: published values, other implementations, definitions."""

from collections.abc import Callable
from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch
from golden_layers import golden_layers, published_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import affinity, related

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import (
    CKARBF,
    HSIC,
    CKADepCols,
    CKALinear,
    CKALinearDebiased,
    CKAMinibatch,
    CKARBFDebiased,
    DistanceCorrelation,
    DistanceCorrelationDebiased,
)
from layeratlas.metrics import gram as gram_module
from layeratlas.metrics.base import centred
from layeratlas.metrics.gram import Linear, double_centred, inner_products, median_squared_distance, u_centred
from layeratlas.metrics.left_out import groups_of
from layeratlas.metrics.left_out_gaussian import medians_without
from layeratlas.metrics.linear_cka import feature_products, features_are_cheaper
from layeratlas.metrics.mantel import Sums, permutation_moments

quick = settings(deadline=None, derandomize=True, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
CKAS = [CKALinear(), CKALinearDebiased()]
each_cka = pytest.mark.parametrize("metric", CKAS, ids=lambda metric: metric.name)


# --- published and independently computed values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "value"),
    [(CKALinear(), 0.5576132566117586), (CKALinearDebiased(), 0.513456489505526), (CKARBF(bandwidth=0.5), 0.6548311822614981)],
    ids=lambda part: getattr(part, "name", ""),
)
def test_cka_has_the_values_published_by_its_authors(metric, value):
    assert affinity(metric, *published_layers()) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "shared", "independent"),
    [
        (CKALinear(), 0.301932954799472, 0.805182551805239),
        (CKALinearDebiased(), 0.163233114912425, -0.015606215872385),
        (DistanceCorrelation(), 0.728818886952501, 0.971136101101213),
        (DistanceCorrelationDebiased(), 0.165694871538546, -0.014596941874108),
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_values_are_those_that_other_implementations_agree_on(metric, shared, independent):
    layers = golden_layers()
    assert affinity(metric, *layers["shared"]) == pytest.approx(shared, rel=1e-10)
    assert affinity(metric, *layers["independent"]) == pytest.approx(independent, rel=1e-7)


def test_cka_corrected_for_dimensions_has_the_value_of_the_one_other_implementation():
    """On independent layers its denominator is nearly 0, and the other implementation's small constant in it shows."""
    assert affinity(CKADepCols(), *golden_layers()["shared"]) == pytest.approx(0.320878259890480, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("d_a", "d_b"), [(9, 9), (5, 80)])
def test_distance_correlations_are_those_of_dcor(d_a, d_b):
    import dcor  # takes five seconds, and what it compiles at its first call twenty

    for seed in range(3):
        x, y = related(seed, 50, d_a, d_b)
        assert affinity(DistanceCorrelation(), x, y) == pytest.approx(dcor.distance_correlation(x, y), rel=1e-9)
        assert affinity(DistanceCorrelationDebiased(), x, y) == pytest.approx(dcor.u_distance_correlation_sqr(x, y), rel=1e-9)


def test_cka_rbf_has_the_value_of_the_one_other_implementation_once_its_median_is_taken(monkeypatch):
    """It takes the lower of the two distances in the middle, and not their mean."""

    def lower_median(x: torch.Tensor) -> float:
        return float(torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square().flatten().median())

    monkeypatch.setattr(gram_module, "median_squared_distance", lower_median)
    layers = golden_layers()
    assert affinity(CKARBF(bandwidth=1.0), *layers["shared"]) == pytest.approx(0.387856981038220, rel=1e-8)
    assert affinity(CKARBF(bandwidth=1.0), *layers["independent"]) == pytest.approx(0.875034025686101, rel=1e-8)


# --- references written from the definitions --------------------------------------------------------------------------------


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


def gaussian_gram(x: np.ndarray, bandwidth: float) -> np.ndarray:
    squared = ((x[:, None] - x) ** 2).sum(-1)
    return np.exp(-squared / (2 * bandwidth**2 * np.median(squared)))


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


def test_gaussian_metrics_are_what_the_definition_of_hsic_gives():
    x, y = related(seed=2)
    k, l = gaussian_gram(x, 0.7), gaussian_gram(y, 0.7)  # noqa: E741
    assert affinity(HSIC(bandwidth=0.7), x, y) == pytest.approx(hsic_unbiased(k, l), rel=1e-9)
    for metric, hsic in ((CKARBF(bandwidth=0.7), hsic_biased), (CKARBFDebiased(bandwidth=0.7), hsic_unbiased)):
        expected = hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))
        assert affinity(metric, x, y) == pytest.approx(expected, rel=1e-9)


def test_cka_corrected_for_dimensions_leaves_out_each_dimension_with_itself():
    x, y = related(seed=4, n=30, d_a=5, d_b=4)

    def mean_over_pairs(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        pairs = [(i, j) for i in range(a.shape[1]) for j in range(b.shape[1]) if not (same and i == j)]
        return np.mean([hsic_unbiased(np.outer(a[:, i], a[:, i]), np.outer(b[:, j], b[:, j])) for i, j in pairs])

    expected = mean_over_pairs(x, y, False) / np.sqrt(mean_over_pairs(x, x, True) * mean_over_pairs(y, y, True))
    assert affinity(CKADepCols(), x, y) == pytest.approx(expected, rel=1e-9)


def test_minibatch_cka_averages_the_unbiased_hsic_of_batches_that_leave_no_item_out():
    x, y = related(seed=6, n=50)
    parts = [np.arange(0, 17), np.arange(17, 34), np.arange(34, 50)]

    def mean_hsic(a: np.ndarray, b: np.ndarray) -> float:
        return np.mean([hsic_unbiased(a[p] @ a[p].T, b[p] @ b[p].T) for p in parts])

    expected = mean_hsic(x, y) / np.sqrt(mean_hsic(x, x) * mean_hsic(y, y))
    assert affinity(CKAMinibatch(batch=16), x, y) == pytest.approx(expected, rel=1e-9)


def test_minibatch_cka_of_one_batch_is_debiased_cka():
    x, y = related(seed=6)
    assert affinity(CKAMinibatch(batch=60), x, y) == pytest.approx(affinity(CKALinearDebiased(), x, y), abs=1e-12)


@pytest.mark.parametrize("batch", [8, 32, 128])
def test_minibatch_cka_does_not_depend_on_the_size_of_the_batches(batch):
    """Its biased cousin gives .956 / .886 / .818 at these sizes where the whole gives .780."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((512, 16))
    x, y = (np.hstack([signal * 2, rng.standard_normal((512, 48))]) for _ in "ab")
    assert affinity(CKAMinibatch(batch=batch), x, y) == pytest.approx(affinity(CKALinearDebiased(), x, y), abs=0.03)


# --- one value in several ways ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centring", [double_centred, u_centred])
@pytest.mark.parametrize(("n", "d"), [(200, 5), (40, 90)])
def test_products_of_dimensions_are_products_of_items(centring, n, d):
    rng = np.random.default_rng(0)
    x = [centring(centred(torch.from_numpy(rng.standard_normal((n, d)) * np.geomspace(1, 30, d))), Linear()) for _ in range(3)]
    np.testing.assert_allclose(feature_products(x[:2], x).numpy(), inner_products(x[:2], x).numpy(), rtol=1e-10, atol=1e-15)


def test_products_of_dimensions_are_taken_where_items_are_many():
    few, many = ([double_centred(torch.ones(n, 8), Linear())] * 3 for n in (20, 2000))
    assert not features_are_cheaper(few, few)
    assert features_are_cheaper(many, many)


@pytest.mark.parametrize("rows", [1, 7, 33])
def test_the_size_of_row_blocks_changes_nothing(rows, monkeypatch):
    x, y = related(seed=1)
    metrics = [*CKAS, CKARBF(bandwidth=0.5), CKARBFDebiased(bandwidth=0.5), DistanceCorrelation()]
    whole = [affinity(metric, x, y) for metric in metrics]
    monkeypatch.setattr(gram_module, "_NUMBERS_AT_ONCE", rows * 60)
    assert [affinity(metric, x, y) for metric in metrics] == pytest.approx(whole, rel=1e-7)


def test_permutations_of_matrices_that_do_not_fit_are_made_again(monkeypatch):
    metric = CKALinearDebiased()
    a, b = ([metric.signature(torch.from_numpy(layer))] for layer in related(seed=1))
    orders = torch.stack([torch.randperm(60, generator=torch.Generator().manual_seed(i)) for i in range(5)])
    whole = metric.permuted_affinity(a, b, orders)
    monkeypatch.setattr(gram_module, "_WHOLE_NUMBERS", 0)
    np.testing.assert_allclose(metric.permuted_affinity(a, b, orders), whole, atol=1e-12)


@quick
@given(seed=seeds, n=st.integers(3, 30), copies=st.integers(1, 3), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_the_median_distance_is_numpys(seed, n, copies, dtype):
    x = np.random.default_rng(seed).standard_normal((n, 3)).repeat(copies, axis=0)
    squared = ((x[:, None] - x) ** 2).sum(-1)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    assert median_squared_distance(torch.from_numpy(x).to(dtype)) == pytest.approx(np.median(squared), rel=tolerance, abs=tolerance)


# --- moments over permutations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5, 6])
@pytest.mark.parametrize("hollow", [False, True])
def test_moments_are_those_of_all_permutations(n, hollow):
    def sums(k: np.ndarray) -> Sums:
        d, off = np.diag(k), k - np.diag(np.diag(k))
        r, c = off.sum(1), off.sum(0)
        squares = [(off * off).sum(), (off * off.T).sum(), r @ r, c @ c, r @ c, d @ d, d @ r, d @ c]
        return Sums(off.sum(), d.sum(), *squares)

    k, l = np.random.default_rng(n).standard_normal((2, n, n))  # noqa: E741
    if hollow:
        np.fill_diagonal(k, 0)
    values = [(k * l[np.ix_(p, p)]).sum() for p in permutations(range(n))]
    found = permutation_moments([sums(k)], [sums(l)], n)
    assert found.mean.item() == pytest.approx(np.mean(values), rel=1e-9)
    assert found.variance.item() == pytest.approx(np.var(values), rel=1e-9)


def test_the_variance_of_debiased_cka_depends_on_nothing_but_the_number_of_items():
    for d_a, d_b in ((3, 5), (40, 70)):
        sides = ([CKALinearDebiased().signature(torch.from_numpy(x))] for x in related(seed=0, n=50, d_a=d_a, d_b=d_b))
        assert CKALinearDebiased().chance(*sides).variance.item() == pytest.approx(2 / (50 * 47), rel=1e-9)


def test_chance_of_biased_cka_is_high_where_items_are_few_and_dimensions_many():
    rng = np.random.default_rng(0)
    for d, expected in ((300, 300 / 364), (4, 4 / 68)):
        sides = ([CKALinear().signature(torch.from_numpy(rng.standard_normal((64, d))))] for _ in "ab")
        assert CKALinear().chance(*sides).mean.item() == pytest.approx(expected, rel=0.1)


# --- precision and refusals -------------------------------------------------------------------------------------------------


@each_cka
def test_one_item_of_enormous_norm_costs_no_precision(metric):
    x, y = related(seed=8, n=300, d_a=32, d_b=20)
    x[17] *= 5000
    assert affinity(metric, x.astype(np.float32), y.astype(np.float32)) == pytest.approx(affinity(metric, x, y), abs=1e-5)


@pytest.mark.parametrize(
    "metric",
    [*CKAS, CKARBF(bandwidth=0.5), CKARBFDebiased(bandwidth=0.5), HSIC(bandwidth=0.5), DistanceCorrelation()],
    ids=lambda metric: metric.name,
)
def test_a_layer_is_kept_in_no_more_dimensions_than_there_are_items(metric):
    x = torch.from_numpy(related(seed=0, n=30, d_a=200)[0])
    assert metric.signature(x).x.shape == (30, 30)
    assert metric.signature(x[:, :20]).x.shape == (30, 20)


def test_minibatch_cka_keeps_a_layer_in_no_more_dimensions_than_there_are_items():
    x = torch.from_numpy(related(seed=0, n=30, d_a=200)[0])
    assert CKAMinibatch(batch=10).signature(x).shape == (30, 30)


def test_cka_corrected_for_dimensions_keeps_them():
    x = torch.from_numpy(related(seed=0, n=30, d_a=200)[0])
    assert CKADepCols().signature(x).x.shape == (30, 200)


@each_cka
def test_a_zero_vector_is_as_good_as_any_other(metric):
    x, y = related(seed=0)
    x[7] = 0
    assert affinity(metric, x, y) == pytest.approx(affinity(metric, x + 1, y), abs=1e-12)


@quick
@given(seed=seeds, n=st.integers(5, 20), d=st.integers(1, 4))
def test_layers_full_of_duplicates_have_a_cka_in_bounds(seed, n, d):
    x, y = np.random.default_rng(seed).integers(0, 5, size=(2, n, d)).astype(float)
    x[:3, 0] = y[-3:, 0] = [0, 4, 9]  # at least three different vectors
    for metric in CKAS:
        low, high = metric.about.bounds
        assert low - 1e-12 <= affinity(metric, x, y) <= high + 1e-12


@pytest.mark.parametrize("width", [None, 150], ids=["narrow", "wide"])
@pytest.mark.parametrize("n", [8, 100])
@pytest.mark.parametrize("kind", ["one item differs", "all equally far apart"])
def test_debiased_metrics_refuse_a_layer_without_variance_between_pairs(kind, n, width):
    """Their U-centred Gram matrix is zero, so that the quotient would be rounding error over rounding error."""
    x = np.eye(n) if kind == "all equally far apart" else np.outer(np.arange(n) == 0, np.ones(3))
    x = x if width is None else np.hstack([x, np.full((n, width - x.shape[1]), 0.3)])
    expected = r"^all pairs of items are equally far apart: the U-centred Gram matrix is zero, its similarity undefined$"
    for metric in (CKALinearDebiased(), CKADepCols(), CKAMinibatch(batch=n), DistanceCorrelationDebiased()):
        with pytest.raises(ValueError, match=expected):
            affinity_matrix(metric, [x], [x])


def test_independent_dimensions_have_no_cka_corrected_for_dimensions():
    rng = np.random.default_rng(0)
    for x in (rng.standard_normal((40, 1)), np.linalg.qr(rng.standard_normal((40, 20)) - rng.standard_normal(20))[0]):
        with pytest.raises(ValueError, match=r"^its dimensions have nothing in common, so that CKA corrected for dimensions is"):
            CKADepCols().signature(torch.from_numpy(x))


@quick
@given(seed=seeds, n=st.integers(8, 40), distinct=st.integers(3, 40), dealt=st.booleans())
def test_the_median_distances_of_all_subsets_at_once_are_numpys(seed, n, distinct, dealt):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((distinct, 3))[rng.integers(0, distinct, n)]
    items = rng.permutation(n) if dealt else np.arange(n)
    subsets = [np.setdiff1d(np.arange(n), part) for part in np.array_split(items[: n - 2], 4)]
    groups = groups_of([torch.from_numpy(kept) for kept in subsets], n)
    medians = medians_without(torch.from_numpy(x).float()[groups.order], groups)
    expected = [np.median(np.square(x[kept, None] - x[kept]).sum(axis=2)) for kept in subsets]
    np.testing.assert_allclose(medians, expected, rtol=1e-4, atol=1e-5)


def test_a_subset_of_mostly_equal_items_has_no_median_bandwidth():
    x = np.random.default_rng(0).standard_normal((12, 4))
    x[4:] = x[4]
    metric = CKARBF(bandwidth=1.0)
    signature = metric.signature(torch.from_numpy(x[:11]))
    kept = [torch.arange(11)[torch.arange(11) // 2 != group] for group in range(2)]
    with pytest.raises(ValueError, match=r"^more than half of all pairs of items are equal"):
        metric.subset_affinity([signature], [signature], kept)


@pytest.mark.parametrize("width", [3, 50, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("copied", [0.0, 1.0])
def test_a_layer_of_mostly_equal_items_has_no_median_bandwidth(width, dtype, copied):
    x = np.random.default_rng(0).standard_normal((20, width)).astype(dtype)
    x[3:] = copied * x[3]
    with pytest.raises(ValueError, match=r"^more than half of all pairs of items are equal, so that the median distance is no"):
        affinity_matrix(CKARBF(bandwidth=0.5), [x], [x])


@pytest.mark.parametrize("bandwidth", [0.0, -1.5])
def test_a_bandwidth_is_positive(bandwidth):
    expected = rf"^metric.bandwidth: expected a positive multiple of the median distance; got {bandwidth}$"
    with pytest.raises(ConfigError, match=expected):
        CKARBF(bandwidth=bandwidth)


def test_a_batch_holds_at_least_four_items():
    with pytest.raises(ConfigError, match=r"^metric.batch: expected at least 4 items a batch; got 3$"):
        CKAMinibatch(batch=3)
