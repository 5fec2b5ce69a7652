"""Canonical correlations, overlap of eigenspaces, regression: published values, definitions, other implementations."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import scipy.linalg
import torch
from golden_layers import golden_layers, published_layers
from metric_rows import affinity, related
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import (
    PWCCA,
    SVCCA,
    CCAMean,
    EigenspaceOverlap,
    LinearRegressionCVAToB,
    LinearRegressionCVBToA,
)
from layeratlas.metrics.subspaces import canonical_correlations, loaded

A_TO_B, B_TO_A = LinearRegressionCVAToB(ridge=0.01, folds=5), LinearRegressionCVBToA(ridge=0.01, folds=5)
CCAS = [CCAMean(), SVCCA(variance=0.99), PWCCA()]
METRICS = [*CCAS, EigenspaceOverlap(), A_TO_B, B_TO_A]
WIDTHS = [(12, 8), (8, 12), (9, 9), (5, 1), (1, 5)]

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
each_width = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def orthonormal(n: int, d: int) -> np.ndarray:
    """Columns of mean 0 and norm 1 at right angles to each other."""
    x = np.random.default_rng(0).standard_normal((n, d))
    return np.linalg.qr(x - x.mean(axis=0))[0]


def angles_between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return scipy.linalg.subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0))


# --- canonical correlations -------------------------------------------------------------------------------------------------


def test_mean_cca_is_what_other_implementations_find():
    assert affinity(CCAMean(), *golden_layers()["shared"]) == pytest.approx(0.765179814701624, rel=1e-12)


def test_mean_squared_cca_is_what_its_authors_published():
    """Published without centring; with it, and for equal ranks, it is the overlap of eigenspaces."""
    x, y = published_layers()
    uncentred = canonical_correlations(*(torch.linalg.qr(torch.from_numpy(layer)).Q for layer in (x, y)))
    assert float(uncentred.square().mean()) == pytest.approx(0.5431238559305234, rel=1e-12)
    assert affinity(EigenspaceOverlap(), x, y) == pytest.approx(0.5453963321908326, rel=1e-12)


@each_width
def test_mean_cca_is_the_mean_cosine_of_principal_angles(widths):
    x, y = related(1, 60, *widths)
    assert affinity(CCAMean(), x, y) == pytest.approx(np.cos(angles_between(x, y)).mean(), abs=1e-12)


def test_mean_cca_is_that_of_scikit_learn():
    x, y = related(2, 60, 6, 4)
    u, v = CCA(n_components=4, max_iter=100_000, tol=1e-14).fit_transform(x, y)
    expected = np.mean([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(4)])
    assert affinity(CCAMean(), x, y) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", CCAS, ids=lambda metric: metric.name)
def test_of_one_dimension_a_side_it_is_the_absolute_correlation(metric):
    x, y = related(3, 30, 1, 1)
    assert affinity(metric, x, -y) == pytest.approx(abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]), abs=1e-12)


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
@each_width
def test_svcca_is_cca_of_the_components_of_scikit_learn(widths, variance):
    x, y = related(4, 60, *widths)
    kept = [PCA(variance if layer.shape[1] > 1 else 1, svd_solver="full").fit_transform(layer) for layer in (x, y)]
    assert affinity(SVCCA(variance), x, y) == pytest.approx(np.cos(angles_between(*kept)).mean(), abs=1e-12)


@pytest.mark.parametrize(("variance", "count"), [(0.5, 1), (0.9, 1), (0.91, 2), (0.99, 2), (0.991, 3), (1.0, 3)])
def test_svcca_keeps_the_fewest_components_that_hold_the_variance(variance, count):
    x = orthonormal(20, 3) * np.sqrt([90.001, 9.001, 0.998])
    metric = SVCCA(variance)
    assert metric.directions(metric.signature(torch.from_numpy(x))).shape == (20, count)


def test_svcca_of_all_variance_is_cca():
    x, y = related(5)
    assert affinity(SVCCA(variance=1.0), x, y) == affinity(CCAMean(), x, y)


def test_svcca_compares_layers_of_more_dimensions_than_items():
    rng = np.random.default_rng(6)
    z = rng.standard_normal((60, 5)) * 10
    x, y = (z @ rng.standard_normal((5, d)) + 0.1 * rng.standard_normal((60, d)) for d in (200, 300))
    assert affinity(SVCCA(variance=0.99), x, y) > 0.99
    assert affinity(SVCCA(variance=0.99), x, y[rng.permutation(60)]) < 0.5


@each_width
def test_pwcca_follows_its_definition_for_layers_of_different_widths(widths):
    x, y = (layer - layer.mean(axis=0) for layer in related(7, 60, *widths))
    whiten_x, whiten_y = (scipy.linalg.inv(scipy.linalg.sqrtm(layer.T @ layer)) for layer in (x, y))
    u, correlations, _ = np.linalg.svd(whiten_x @ x.T @ y @ whiten_y, full_matrices=False)
    weights = np.abs((x @ whiten_x @ u).T @ x).sum(axis=1)
    assert affinity(PWCCA(), x, y) == pytest.approx((weights * correlations).sum() / weights.sum(), abs=1e-12)


def test_side_a_weights_in_pwcca():
    u, v, w = orthonormal(20, 3).T
    x, y = np.stack([10 * u, v], axis=1), np.stack([u, w], axis=1)
    assert affinity(PWCCA(), x, y) == pytest.approx(10 / 11, abs=1e-12)
    assert affinity(PWCCA(), y, x) == pytest.approx(1 / 2, abs=1e-12)


@pytest.mark.parametrize("metric", [CCAMean(), PWCCA()], ids=lambda metric: metric.name)
def test_layers_that_must_share_directions_are_refused(metric):
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((64, 40)), rng.standard_normal((64, 30))
    assert affinity(metric, x, y[:, :23]) < 1
    message = (
        "with 64 items, layers of rank 40 and 24 share at least 1 of 24 canonical directions whatever they hold "
        r"\(rank a \+ rank b > n - 1\): use more items than both layers have dimensions together, or metric=svcca"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        affinity(metric, x, y[:, :24])
    with pytest.raises(ConfigError, match="share at least 7 of 30 canonical directions"):
        affinity(metric, x, y)


def test_the_degenerate_case_that_others_print_as_1_is_refused():
    with pytest.raises(ConfigError, match="layers of rank 63 and 63 share at least 63 of 63 canonical directions"):
        affinity(CCAMean(), *golden_layers()["independent"])


def test_svcca_names_the_option_that_keeps_fewer_directions():
    with pytest.raises(ConfigError, match=r": use more items, or a smaller metric\.variance$"):
        affinity(SVCCA(variance=0.99), *golden_layers()["independent"])


@pytest.mark.parametrize("variance", [0.0, -0.1, 1.01])
def test_a_share_of_the_variance_lies_between_0_and_1(variance):
    with pytest.raises(ConfigError, match=rf"^metric\.variance: expected a share of the variance in \(0, 1\]; got {variance}$"):
        SVCCA(variance)


# --- rank -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_errors_are_no_dimensions(dtype):
    rng = np.random.default_rng(9)
    x = rng.standard_normal((40, 3)).astype(dtype) @ rng.standard_normal((3, 30)).astype(dtype)
    assert loaded(torch.from_numpy(x)).components.basis.shape == (40, 3)


def test_a_small_dimension_counts_as_much_as_a_large_one():
    x, y = related(10)
    massive = x.copy()
    massive[:, 0] *= 1000
    assert affinity(CCAMean(), massive.astype(np.float32), y) == pytest.approx(affinity(CCAMean(), x, y), abs=1e-6)


def test_a_repeated_dimension_adds_nothing():
    x, y = related(11)
    for metric in (CCAMean(), EigenspaceOverlap()):
        assert affinity(metric, np.hstack([x, x[:, :3]]), y) == pytest.approx(affinity(metric, x, y), abs=1e-12)


def test_the_rank_of_centred_items_is_below_their_number():
    x = np.random.default_rng(12).standard_normal((20, 50)) + 1e6
    assert loaded(torch.from_numpy(x)).components.basis.shape == (20, 19)


# --- overlap ----------------------------------------------------------------------------------------------------------------


@each_width
def test_overlap_is_the_inner_product_of_projections(widths):
    x, y = (layer - layer.mean(axis=0) for layer in related(13, 60, *widths))
    onto_x, onto_y = (layer @ np.linalg.pinv(layer) for layer in (x, y))
    assert affinity(EigenspaceOverlap(), x, y) == pytest.approx((onto_x * onto_y).sum() / max(widths), abs=1e-12)


def test_overlap_of_a_layer_with_a_part_of_it_is_their_ratio_of_ranks():
    x = related(14)[0]
    assert affinity(EigenspaceOverlap(), x, x[:, :4]) == pytest.approx(4 / 12, abs=1e-12)


def test_chance_and_variance_of_overlap_are_those_of_all_permutations():
    x, y = related(15, 6, 2, 3)
    metric = EigenspaceOverlap()
    values = [affinity(metric, x, y[list(order)]) for order in permutations(range(6))]
    chance = metric.chance(*([metric.signature(torch.from_numpy(layer))] for layer in (x, y)))
    assert chance.mean.item() == pytest.approx(2 / 5, abs=1e-12)
    assert np.mean(values) == pytest.approx(2 / 5, abs=1e-12)
    assert chance.variance is not None
    assert chance.variance.item() == pytest.approx(np.var(values), rel=1e-9)


@pytest.mark.parametrize("swapped", [False, True])
def test_overlap_with_a_layer_that_spans_everything_is_refused(swapped):
    rng = np.random.default_rng(16)
    x, y = rng.standard_normal((20, 30)), rng.standard_normal((20, 5))
    message = (
        "with 20 items, a layer of rank 19 = n - 1 spans every direction in which items can differ, so that its overlap with any "
        "layer is known beforehand: use more items than the layer has dimensions, or metric=svcca"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        affinity(EigenspaceOverlap(), *((y, x) if swapped else (x, y)))


# --- regression -------------------------------------------------------------------------------------------------------------


def held_out_r2(x: np.ndarray, y: np.ndarray, ridge: float, folds: int) -> float:
    """By scikit-learn, with the penalty that the metric states."""
    sizes = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    penalty = ridge * np.square(sizes[: min(len(x) - 1, x.shape[1])]).mean()
    predicted = cross_val_predict(Ridge(alpha=penalty, solver="cholesky"), x, y, cv=KFold(folds))
    return r2_score(y, predicted.reshape(y.shape), multioutput="variance_weighted")


@pytest.mark.parametrize("ridge", [1e-6, 0.01, 1.0])
@pytest.mark.parametrize("folds", [2, 5, 7])
@pytest.mark.parametrize("widths", [*WIDTHS, (100, 8), (8, 100)], ids=str)
def test_regression_is_that_of_scikit_learn(widths, folds, ridge):
    x, y = related(17, 60, *widths)
    assert affinity(LinearRegressionCVAToB(ridge, folds), x, y) == pytest.approx(held_out_r2(x, y, ridge, folds), rel=1e-6)
    assert affinity(LinearRegressionCVBToA(ridge, folds), x, y) == pytest.approx(held_out_r2(y, x, ridge, folds), rel=1e-6)


def test_a_linear_map_is_predicted_and_noise_is_predicted_worse_than_by_the_mean():
    rng = np.random.default_rng(18)
    x = rng.standard_normal((60, 12))
    assert affinity(replace(A_TO_B, ridge=1e-9), x, x @ rng.standard_normal((12, 20)) + 5) == pytest.approx(1, abs=1e-12)
    assert affinity(A_TO_B, x, rng.standard_normal((60, 20))) < 0


def test_what_a_predicts_of_b_is_not_what_b_predicts_of_a():
    x = related(19)[0]
    part = x[:, :3]
    assert affinity(A_TO_B, x, part) > 0.99
    assert affinity(A_TO_B, part, x) < 0.9
    assert affinity(B_TO_A, part, x) == affinity(A_TO_B, x, part)


def test_chance_of_regression_is_the_mean_over_all_permutations():
    x, y = related(20, 6, 2, 3)
    metric = LinearRegressionCVAToB(ridge=0.1, folds=3)
    values = [affinity(metric, x, y[list(order)]) for order in permutations(range(6))]
    chance = metric.chance(*([metric.signature(torch.from_numpy(layer))] for layer in (x, y)))
    assert chance.mean.item() == pytest.approx(np.mean(values), rel=1e-9)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_options_of_metrics_are_finite_numbers(number):
    with pytest.raises(ConfigError, match=rf"^SVCCA\.variance: expected a finite number; got {number}$"):
        SVCCA(number)
    with pytest.raises(ConfigError, match=rf"^LinearRegressionCVAToB\.ridge: expected a finite number; got {number}$"):
        LinearRegressionCVAToB(number, folds=5)


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_penalty_is_positive(ridge):
    with pytest.raises(
        ConfigError, match=rf"^metric\.ridge: expected a positive multiple of the mean squared singular value; got {ridge}$"
    ):
        LinearRegressionCVAToB(ridge, folds=5)


def test_one_fold_leaves_nothing_to_train_on():
    with pytest.raises(ConfigError, match=r"^metric\.folds: expected at least 2 folds; got 1$"):
        LinearRegressionCVBToA(ridge=0.01, folds=1)


# --- all of them ------------------------------------------------------------------------------------------------------------


@each_metric
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_five_calls_give_the_same_bits(metric, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in related(21, 200, 48, 32))
    assert len({affinity_matrix(metric, [x], [y]).tobytes() for _ in range(5)}) == 1


@each_metric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_what_the_same_numbers_in_float64_give(metric, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in related(22))
    exact = affinity_matrix(metric, [x.double()], [y.double()])
    np.testing.assert_allclose(affinity_matrix(metric, [x], [y]), exact, atol=1e-6)
