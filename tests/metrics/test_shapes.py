"""Values of Procrustes similarities: other implementations, identities, held-out items. Laws of all metrics: test_metrics.py."""

import math

import numpy as np
import pytest
import torch
from golden_layers import golden_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import related
from rsatoolbox.rdm import RDMs, compare
from scipy.linalg import orthogonal_procrustes, sqrtm
from scipy.spatial.distance import pdist

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import (
    AbstractMetric,
    CKALinear,
    Procrustes,
    ProcrustesAngular,
    ProcrustesCV,
    ProcrustesSizeShape,
    layer_space_residual,
)

WIDTHS = [(12, 8), (8, 12), (30, 50), (50, 5), (20, 20)]

seeds = st.integers(0, 2**32 - 1)
quickly = settings(deadline=None, derandomize=True, max_examples=10)


def affinity(metric: AbstractMetric, x: np.ndarray, y: np.ndarray) -> float:
    return float(affinity_matrix(metric, [x], [y])[0, 0])


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


def unit(x: np.ndarray) -> np.ndarray:
    return centred(x) / np.linalg.norm(centred(x))


def padded(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with as many dimensions as the wider one, those added being 0."""
    width = max(x.shape[1], y.shape[1])
    return np.pad(x, ((0, 0), (0, width - x.shape[1]))), np.pad(y, ((0, 0), (0, width - y.shape[1])))


def rotation(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


# --- values of other implementations, and identities --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "similarity", "angle", "distance", "size_shape"),
    [
        ("shared", 0.535800844437628, 1.005340383994176, 0.963534281240031, 211.900835592841),
        ("independent", 0.938853961975338, 0.351509722486950, 0.349702839635774, 47.895385595157),
    ],
)
def test_values_are_those_that_several_implementations_agree_on(layers, similarity, angle, distance, size_shape):
    x, y = golden_layers()[layers]
    assert affinity(Procrustes(), x, y) == pytest.approx(similarity, rel=1e-12)
    assert math.sqrt(2 - 2 * affinity(Procrustes(), x, y)) == pytest.approx(distance, rel=1e-12)
    assert (1 - affinity(ProcrustesAngular(), x, y)) * math.pi / 2 == pytest.approx(angle, rel=1e-12)
    assert -affinity(ProcrustesSizeShape(), x, y) == pytest.approx(size_shape, rel=1e-12)


@pytest.mark.parametrize(("d_a", "d_b"), WIDTHS)
@quickly
@given(seed=seeds)
def test_procrustes_is_what_scipys_best_rotation_gives(d_a, d_b, seed):
    x, y = related(seed, 20, d_a, d_b)
    _, scale = orthogonal_procrustes(*padded(unit(x), unit(y)))
    assert affinity(Procrustes(), x, y) == pytest.approx(scale, abs=1e-12)


@pytest.mark.parametrize(("d_a", "d_b"), WIDTHS)
@quickly
@given(seed=seeds)
def test_distances_are_what_remains_after_the_best_rotation(d_a, d_b, seed):
    x, y = related(seed, 20, d_a, d_b)
    for metric, a, b in ((Procrustes(), unit(x), unit(y)), (ProcrustesSizeShape(), centred(x), centred(y))):
        a, b = padded(a, b)
        remaining = np.linalg.norm(a @ orthogonal_procrustes(a, b)[0] - b)
        value = affinity(metric, x, y)
        assert remaining == pytest.approx(math.sqrt(2 - 2 * value) if metric == Procrustes() else -value, abs=1e-9)


@quickly
@given(seed=seeds)
def test_procrustes_is_the_bures_similarity_of_gram_matrices(seed):
    x, y = related(seed, n=20)
    k, root = unit(y) @ unit(y).T, sqrtm(unit(x) @ unit(x).T).real
    assert affinity(Procrustes(), x, y) == pytest.approx(np.trace(sqrtm(root @ k @ root).real), abs=1e-6)
    rdms = (RDMs(pdist(layer, "sqeuclidean")[None]) for layer in (x, y))
    assert affinity(Procrustes(), x, y) == pytest.approx(compare(*rdms, method="bures").item(), abs=1e-6)


@quickly
@given(seed=seeds)
def test_the_angular_similarity_is_the_arccosine_on_the_scale_from_0_to_1(seed):
    x, y = related(seed)
    assert math.cos((1 - affinity(ProcrustesAngular(), x, y)) * math.pi / 2) == pytest.approx(
        affinity(Procrustes(), x, y), abs=1e-12
    )


@quickly
@given(seed=seeds)
def test_angles_and_size_and_shape_distances_obey_the_triangle_inequality(seed):
    layers = [*related(seed, 20, 12, 8), *related(seed + 1, 20, 30, 5)]
    for metric in (ProcrustesAngular(), ProcrustesSizeShape()):
        assert metric.about.self_value is not None
        distances = metric.about.self_value - affinity_matrix(metric, layers, layers)
        detours = distances[:, :, None] + distances[None, :, :]
        assert (distances[:, None, :] <= detours + 1e-6).all()


# --- reduced forms and precision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d", "kept"), [(10, 40, 10), (40, 10, 10), (10, 10, 10)])
def test_a_signature_has_no_more_dimensions_than_items(n, d, kept):
    x = torch.from_numpy(related(0, n, d, 5)[0])
    signature = Procrustes().signature(x)
    assert signature.x.shape == (n, kept)
    assert signature.size == pytest.approx(float((x - x.mean(dim=0)).norm()))


@pytest.mark.parametrize("d", [8, 300])
def test_a_rotated_layer_is_near_itself_even_in_float32(d):
    x = related(0, 60, d, 5)[0]
    turned = (x @ rotation(d) + 5).astype(np.float32)
    size = np.linalg.norm(centred(x))
    assert affinity(ProcrustesSizeShape(), x.astype(np.float32), turned) == pytest.approx(0, abs=2e-6 * size)
    assert affinity(ProcrustesAngular(), x.astype(np.float32), turned) == pytest.approx(1, abs=2e-6)


def test_the_distance_of_a_layer_from_itself_is_not_minus_zero():
    value = affinity(ProcrustesSizeShape(), np.eye(4), np.eye(4))
    assert value == pytest.approx(0, abs=1e-7)
    assert value != 0 or math.copysign(1, value) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_changes_a_value_little(dtype):
    x, y = related(0)
    half = [torch.from_numpy(layer).to(dtype) for layer in (x, y)]
    for metric in (Procrustes(), ProcrustesAngular(), ProcrustesCV(folds=5)):
        assert affinity_matrix(metric, half[:1], half[1:]).item() == pytest.approx(affinity(metric, x, y), abs=0.01)


# --- held-out items -----------------------------------------------------------------------------------------------------------


def held_out(x: np.ndarray, y: np.ndarray, folds: int) -> float:
    """The definition, one fold after another."""
    product = squares_x = squares_y = 0.0
    for fold in np.array_split(np.arange(len(x)), folds):
        rest = np.setdiff1d(np.arange(len(x)), fold)
        u, s, v = np.linalg.svd(centred(x[rest]).T @ centred(y[rest]), full_matrices=False)
        rank = int((s > 1e-12 * s[0]).sum())
        held_x, held_y = centred(x[fold]), centred(y[fold])
        product += np.sum(held_x @ (u[:, :rank] @ v[:rank]) * held_y)
        squares_x, squares_y = squares_x + np.sum(held_x**2), squares_y + np.sum(held_y**2)
    return product / math.sqrt(squares_x * squares_y)


@pytest.mark.parametrize(("d_a", "d_b"), WIDTHS)
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_held_out_values_follow_the_definition(d_a, d_b, folds):
    x, y = related(folds, 23, d_a, d_b)
    assert affinity(ProcrustesCV(folds), x, y) == pytest.approx(held_out(x, y, folds), abs=1e-10)


def test_a_rotated_scaled_and_moved_layer_is_predicted_fully_whatever_dimensions_are_added():
    x = related(0, 60, 12, 8)[0]
    wider = np.hstack([x, np.zeros((60, 4))]) @ rotation(16) * 7 + 3
    assert affinity(ProcrustesCV(folds=5), x, wider) == pytest.approx(1, abs=1e-12)


def test_what_fewer_items_than_dimensions_leave_unseen_counts_as_not_explained():
    x = np.random.default_rng(0).standard_normal((24, 200))
    assert affinity(Procrustes(), x, x) == pytest.approx(1)
    assert affinity(ProcrustesCV(folds=4), x, x) < 0.3


def test_independent_wide_layers_have_a_high_procrustes_similarity_and_none_on_held_out_items():
    x, y = golden_layers()["independent"]
    assert affinity(Procrustes(), x, y) > 0.9
    assert abs(affinity(ProcrustesCV(folds=8), x, y)) < 0.05


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(folds):
    with pytest.raises(ConfigError, match=rf"^metric\.folds: expected at least 2 folds; got {folds}$"):
        ProcrustesCV(folds=folds)


def test_folds_of_single_items_are_refused():
    with pytest.raises(ValueError, match=r"^needs at least 20 items; got 19$"):
        ProcrustesCV(folds=10).signature(torch.from_numpy(related(0, n=19)[0]))


# --- mixing layers ------------------------------------------------------------------------------------------------------------


def stacks(seed: int, layers: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = [related(seed % 1000 + i, 15, 6, 4) for i in range(layers)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def signatures(layers: list[np.ndarray]) -> list:
    return [CKALinear().signature(torch.from_numpy(layer)) for layer in layers]


@quickly
@given(seed=seeds)
def test_the_residual_is_that_of_stacks_of_flattened_gram_matrices(seed):
    a, b = stacks(seed, layers=4)
    k, l = (np.array([(unit(x) @ unit(x).T).ravel() for x in side]) for side in (a, b))  # noqa: E741 (K and L)
    k, l = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (k, l))  # noqa: E741
    mixing, _ = orthogonal_procrustes(k.T, l.T)
    expected = np.linalg.norm(k.T @ mixing - l.T) / math.sqrt(np.sum(k**2) + np.sum(l**2))
    assert layer_space_residual(signatures(a), signatures(b)) == pytest.approx(expected, abs=1e-9)


@quickly
@given(seed=seeds, layers=st.integers(1, 6))
def test_the_residual_is_bounded_by_the_cka_of_the_layers_in_order(seed, layers):
    a, b = (signatures(side) for side in stacks(seed, layers))
    in_order = CKALinear().affinity(a, b).diagonal().mean().item()
    assert 0 <= layer_space_residual(a, b) <= math.sqrt(1 - in_order) + 1e-9


def test_the_residual_does_not_see_the_order_of_the_layers():
    a, _ = (signatures(side) for side in stacks(0, layers=5))
    assert layer_space_residual(a, a[::-1]) == pytest.approx(0, abs=1e-6)


def test_layers_that_the_other_stack_lacks_remain():
    a, _ = (signatures(side) for side in stacks(0, layers=1))
    b, _ = (signatures(side) for side in stacks(0, layers=2))
    together = math.sqrt(sum(value.item() ** 2 for value in CKALinear().affinity(a, b)[0]))
    assert layer_space_residual(a, b) == pytest.approx(math.sqrt(1 - 2 * together / 3), abs=1e-9)
