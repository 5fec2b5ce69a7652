import math

import numpy as np
import pytest
import torch

from layeratlas import affinity_matrix
from layeratlas.affinity.matrix import Affinity, compare
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError
from layeratlas.layers import all_layers
from layeratlas.metrics import CKALinear, CKALinearDebiased, MutualKNN

CPU = torch.device("cpu")
each_metric = pytest.mark.parametrize("metric", [MutualKNN(k=4), CKALinear(), CKALinearDebiased()], ids=lambda metric: metric.name)


def side(n_blocks: int, d: int, seed: int, n: int = 30, final_norm: bool = True) -> Activations:
    generator = torch.Generator().manual_seed(seed)
    names = all_layers(n_blocks, final_norm=final_norm)
    return Activations({name: torch.randn(n, d, generator=generator) for name in names}, n_blocks)


@pytest.fixture
def a() -> Activations:
    return side(n_blocks=3, d=6, seed=0)


@pytest.fixture
def b() -> Activations:
    return side(n_blocks=2, d=9, seed=1, final_norm=False)


# --- affinity_matrix --------------------------------------------------------------------------------------------------------


@each_metric
def test_tensors_and_arrays_give_the_same_matrix(metric, a, b):
    layers_a, layers_b = list(a.layers.values()), list(b.layers.values())
    from_tensors = affinity_matrix(metric, layers_a, layers_b)
    from_arrays = affinity_matrix(metric, [x.numpy() for x in layers_a], [x.numpy() for x in layers_b])
    from_both = affinity_matrix(metric, layers_a, [x.numpy() for x in layers_b])
    assert from_tensors.shape == (5, 3)
    assert from_tensors.dtype == np.float64
    np.testing.assert_array_equal(from_arrays, from_tensors)
    np.testing.assert_array_equal(from_both, from_tensors)


@each_metric
def test_the_matrix_holds_what_each_pair_of_layers_gives(metric, a, b):
    matrix = affinity_matrix(metric, list(a.layers.values()), list(b.layers.values()))
    for i, x in enumerate(a.layers.values()):
        for j, y in enumerate(b.layers.values()):
            assert matrix[i, j] == pytest.approx(affinity_matrix(metric, [x], [y])[0, 0], abs=1e-6)


@each_metric
def test_read_only_arrays_and_reversed_views_are_as_good_as_others(metric):
    x, y = np.random.default_rng(0).standard_normal((2, 30, 5))
    expected = affinity_matrix(metric, [x[::-1].copy()], [y])
    y.flags.writeable = False  # what a memory-mapped file is
    np.testing.assert_array_equal(affinity_matrix(metric, [x[::-1]], [y]), expected)


@each_metric
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_integers_are_read_as_the_numbers_that_they_are(metric, kind):
    x, y = np.random.default_rng(0).integers(-100, 100, (2, 30, 5)).astype(kind)  # squares of int8 would overflow
    expected = affinity_matrix(metric, [x.astype(float)], [y.astype(float)])
    np.testing.assert_array_equal(affinity_matrix(metric, [x], [torch.from_numpy(y)]), expected)


@pytest.mark.parametrize(("layers_a", "layers_b"), [([], [np.eye(5)]), ([np.eye(5)], []), ([], [])])
def test_a_side_without_layers_is_refused(layers_a, layers_b):
    with pytest.raises(ValueError, match="layer"):
        affinity_matrix(MutualKNN(k=2), layers_a, layers_b)


def test_every_count_of_items_is_named_where_they_differ():
    layers = [np.random.default_rng(0).standard_normal((n, 4)) for n in (12, 9, 12, 30)]
    with pytest.raises(ValueError, match=r"^all layers must hold the same items; got layers of 9 and 12 and 30 items$"):
        affinity_matrix(CKALinear(), layers[:2], layers[2:])


# --- compare ----------------------------------------------------------------------------------------------------------------


@each_metric
def test_a_comparison_holds_affinity_chance_names_and_depths(metric, a, b):
    found = compare(Signer(metric, CPU), a, b)
    np.testing.assert_array_equal(found.matrix, affinity_matrix(metric, list(a.layers.values()), list(b.layers.values())))
    np.testing.assert_array_equal(found.chance, metric.chance(found.signatures_a, found.signatures_b).mean.numpy())
    assert found.chance.shape == found.matrix.shape == (5, 3)
    assert found.layers_a == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    assert found.layers_b == ["embed", "block_1", "block_2"]
    assert found.depth_a == pytest.approx([math.nan, 1 / 3, 2 / 3, 1, math.nan], nan_ok=True)
    assert found.depth_b == pytest.approx([math.nan, 0.5, 1], nan_ok=True)
    assert found.n == 30
    assert (len(found.signatures_a), len(found.signatures_b)) == (5, 3)


@each_metric
def test_a_side_compared_with_itself_is_symmetric_with_its_self_value_on_the_diagonal(metric, a):
    found = compare(Signer(metric, CPU), a, a)
    np.testing.assert_allclose(found.matrix, found.matrix.T, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.diag(found.matrix), metric.about.self_value, rtol=0, atol=1e-6)
    assert found.signatures_a is found.signatures_b


@each_metric
def test_swapping_the_sides_of_a_comparison_transposes_it(metric, a, b):
    there, back = compare(Signer(metric, CPU), a, b).transposed(), compare(Signer(metric, CPU), b, a)
    assert_same(there, back)


@each_metric
def test_the_blocks_of_a_comparison_are_the_comparison_of_the_blocks(metric, a, b):
    def only_blocks(whole: Activations) -> Activations:
        return Activations({name: x for name, x in whole.layers.items() if name.startswith("block_")}, whole.n_blocks)

    assert_same(compare(Signer(metric, CPU), a, b).blocks(), compare(Signer(metric, CPU), only_blocks(a), only_blocks(b)))


def test_blocks_and_transposition_go_together_and_undo_themselves(a, b):
    found = compare(Signer(MutualKNN(k=4), CPU), a, b)
    assert_same(found.blocks().transposed(), found.transposed().blocks())
    assert_same(found.transposed().transposed(), found)
    assert_same(found.blocks().blocks(), found.blocks())


def assert_same(found: Affinity, expected: Affinity) -> None:
    np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.chance, expected.chance, rtol=0, atol=1e-6)
    assert (found.layers_a, found.layers_b, found.n) == (expected.layers_a, expected.layers_b, expected.n)
    assert found.depth_a == pytest.approx(expected.depth_a, nan_ok=True)
    assert found.depth_b == pytest.approx(expected.depth_b, nan_ok=True)
    for mine, theirs in ((found.signatures_a, expected.signatures_a), (found.signatures_b, expected.signatures_b)):
        assert len(mine) == len(theirs)
        assert all(
            torch.equal(x[0] if isinstance(x, tuple) else x.x, y[0] if isinstance(y, tuple) else y.x)
            for x, y in zip(mine, theirs, strict=True)
        )


# --- refusals ---------------------------------------------------------------------------------------------------------------


@each_metric
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_layer_without_a_similarity_is_named_with_its_side_and_the_metric(metric, name, a, b):
    spoilt = {"a": a, "b": b}
    spoilt[name].layers["block_2"][5, 1] = math.nan
    expected = rf"^metric {metric.name}, side {name}, block_2: activations hold NaN or infinite values$"
    with pytest.raises(ActivationError, match=expected):
        compare(Signer(metric, CPU), a, b)


def test_a_constant_embedding_is_named(a, b):
    b.layers["embed"][:] = 0.5
    expected = r"^metric cka_linear, side b, embed: every item has the same vector, so there is nothing to compare$"
    with pytest.raises(ActivationError, match=expected):
        compare(Signer(CKALinear(), CPU), a, b)


def test_a_zero_vector_is_named_with_its_item(a, b):
    a.layers["final_norm"][3] = 0
    expected = r"^metric mutual_knn, side a, final_norm: item 3 is the zero vector, which has no direction$"
    with pytest.raises(ActivationError, match=expected):
        compare(Signer(MutualKNN(k=4), CPU), a, b)


def test_too_few_items_are_named_with_the_first_layer(a, b):
    expected = r"^metric mutual_knn, side a, embed: needs at least 31 items; got 30$"
    with pytest.raises(ActivationError, match=expected):
        compare(Signer(MutualKNN(k=30), CPU), a, b)


def test_sides_of_different_items_are_refused(a):
    with pytest.raises(ValueError, match=r"^both sides must hold the same items; got 30 and 29$"):
        compare(Signer(CKALinear(), CPU), a, side(n_blocks=2, d=9, seed=1, n=29))
