"""Laws that hold for every metric, each read off what the metric declares of itself. Values: test_<family>.py."""

import math
from collections.abc import Callable
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import METRICS, Row, affinity, many_layers, related

from layeratlas import affinity_matrix
from layeratlas.affinity.matrix import bounded
from layeratlas.metrics import INVARIANCES, SecondOrderCosine

TRANSFORMATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "rotation": lambda x, rng: x @ rotation(x.shape[1], rng),
    "scale": lambda x, rng: x * 1.337,
    "translation": lambda x, rng: x + 3 * rng.standard_normal(x.shape[1]),
    "item_scale": lambda x, rng: x * rng.uniform(0.2, 5, size=(len(x), 1)),
    "feature_permutation": lambda x, rng: x[:, rng.permutation(x.shape[1])],
    "feature_scale": lambda x, rng: x * rng.permutation(np.geomspace(0.1, 10, x.shape[1])),
    "linear": lambda x, rng: x @ (rotation(x.shape[1], rng) * np.geomspace(0.1, 10, x.shape[1])),
}

each_row = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
seeds = st.integers(0, 2**32 - 1)


def quick(examples: int = 10) -> settings:
    return settings(deadline=None, derandomize=True, max_examples=examples)


def rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def signatures(row: Row, layers: list[np.ndarray]) -> list:
    return [row.metric.signature(torch.from_numpy(layer)) for layer in layers]


# --- what a metric declares ---------------------------------------------------------------------------------------------------


def test_every_transformation_that_can_be_declared_is_tested():
    assert set(TRANSFORMATIONS) == set(INVARIANCES)


@each_row
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_a_metric_notices_exactly_the_transformations_that_it_does_not_declare(row, transformation):
    x, y = row.layers(seed=3)
    transformed = TRANSFORMATIONS[transformation](x, np.random.default_rng(4))
    others = [y] if row.own_value_set else [y, x]
    before, after = (np.array([affinity(row.metric, side, other) for other in others]) for side in (x, transformed))
    if transformation in row.metric.about.invariances:
        np.testing.assert_allclose(after, before, atol=row.tolerance, rtol=row.tolerance)
    else:
        assert np.abs(after - before).max() > 1e-3, f"{row.name} should change under {transformation}"


@each_row
def test_a_layer_has_its_declared_value_with_itself(row):
    for x in row.layers(seed=0):
        own = affinity(row.metric, x, x)
        if row.metric.about.self_value is not None:
            assert own == pytest.approx(row.metric.about.self_value, abs=10 * row.tolerance)
            assert (row.metric.about.self_value == row.metric.about.bounds[1]) != row.own_value_set


@each_row
@quick()
@given(seed=seeds)
def test_values_and_chance_lie_in_the_stated_bounds(row, seed):
    x, y = row.layers(seed)
    low, high = row.metric.about.bounds
    for a, b in ((x, y), (x, y if row.needs_structure else -np.exp(y))):
        sides = signatures(row, [a]), signatures(row, [b])
        for value in (row.metric.affinity(*sides), row.metric.chance(*sides).mean):
            assert low - 1e-9 <= value.item() <= high + 1e-9


@each_row
@quick(3)
@given(seed=seeds)
def test_swapping_the_sides_transposes_the_matrix_if_the_metric_is_symmetric(row, seed):
    a, b = many_layers(row, seed)
    there, back = affinity_matrix(row.metric, a, b), affinity_matrix(row.metric, b, a)
    if row.metric.about.symmetric:
        np.testing.assert_allclose(back, there.T, rtol=row.tolerance, atol=row.tolerance)
    else:
        assert np.abs(back - there.T).max() > 1e-6


@each_row
@quick(3)
@given(seed=seeds)
def test_the_order_of_the_items_does_not_matter_unless_they_are_taken_in_parts(row, seed):
    x, y = row.layers(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    difference = abs(affinity(row.metric, x[order], y[order]) - affinity(row.metric, x, y))
    assert (1e-9 < difference < 0.3) if row.ordered else (difference <= row.tolerance)


@each_row
def test_a_metric_says_what_it_is(row):
    about = row.metric.about
    assert all((about.name, about.definition, about.estimator, about.chance, about.cost, about.source))
    assert about.bounds[0] < about.bounds[1]
    assert about.invariances <= set(INVARIANCES)


# --- all layers at once -----------------------------------------------------------------------------------------------------


@each_row
def test_all_layers_at_once_give_what_each_pair_gives(row):
    a, b = many_layers(row, seed=0)
    pairs = [[affinity(row.metric, x, y) for y in b] for x in a]
    np.testing.assert_allclose(affinity_matrix(row.metric, a, b), pairs, rtol=0, atol=row.tolerance)


@each_row
def test_the_chance_of_all_layers_at_once_is_that_of_each_pair(row):
    a, b = (signatures(row, side) for side in many_layers(row, seed=0))
    pairs = [[row.metric.chance([x], [y]).mean.item() for y in b] for x in a]
    np.testing.assert_allclose(row.metric.chance(a, b).mean.numpy(), pairs, rtol=1e-9, atol=row.tolerance)


@each_row
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_affinity_and_chance_are_float64_whatever_the_layers(row, dtype):
    x, y = (row.metric.signature(torch.from_numpy(layer).to(dtype)) for layer in row.layers(seed=0))
    assert row.metric.affinity([x], [y]).dtype == torch.float64
    assert row.metric.chance([x], [y]).mean.dtype == torch.float64


# --- items in another order, and some of them ---------------------------------------------------------------------------------


@each_row
def test_reordering_signatures_is_reordering_activations(row):
    a, b = many_layers(row, seed=1)
    order = np.random.default_rng(2).permutation(len(a[0]))
    expected = affinity_matrix(row.metric, a, [y[order] for y in b])
    reordered = [row.metric.permuted(s, torch.from_numpy(order)) for s in signatures(row, b)]
    np.testing.assert_allclose(row.metric.affinity(signatures(row, a), reordered).numpy(), expected, rtol=0, atol=row.tolerance)


@each_row
def test_many_orders_at_once_give_what_each_gives(row):
    a, b = (signatures(row, side) for side in many_layers(row, seed=1))
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([torch.arange(row.n), *(torch.randperm(row.n, generator=generator) for _ in range(3))])
    each = [row.metric.affinity(a, [row.metric.permuted(s, order) for s in b]).numpy() for order in orders]
    np.testing.assert_allclose(row.metric.permuted_affinity(a, b, orders).numpy(), each, rtol=0, atol=row.tolerance)


@each_row
def test_the_signature_of_a_subset_needs_no_activations(row):
    a, b = many_layers(row, seed=1)
    kept = np.sort(np.random.default_rng(3).permutation(row.n)[: row.n - 5])
    metric = replace(row.metric, listed=20) if hasattr(row.metric, "listed") else row.metric
    expected = affinity_matrix(row.metric, [x[kept] for x in a], [y[kept] for y in b])
    sides = ([metric.signature(torch.from_numpy(x)) for x in side] for side in (a, b))
    if row.whole:
        with pytest.raises(ValueError, match="some items does not follow from that of all"):
            metric.subset_affinity(*sides, [torch.from_numpy(kept)])
        return
    found = metric.subset_affinity(*sides, [torch.from_numpy(kept)])[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=100 * row.tolerance)


GROUPINGS = {
    "consecutive groups": [np.arange(start, start + 3) for start in range(0, 12, 3)],
    "groups that are dealt out": [np.arange(start, 12, 4) for start in range(4)],
    "groups of different size": [np.array([5]), np.arange(6, 11)],
    "groups that overlap": [np.arange(4), np.arange(2, 6)],
}


@each_row
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_leaving_out_groups_in_turn_gives_what_each_subset_gives(row, grouping):
    if row.whole:
        pytest.skip(f"{row.name} of some items does not follow from that of all")
    metric = replace(row.metric, listed=20) if hasattr(row.metric, "listed") else row.metric
    a, b = ([metric.signature(torch.from_numpy(x)) for x in side] for side in many_layers(row, seed=1))
    subsets = [torch.from_numpy(np.setdiff1d(np.arange(row.n), left_out)) for left_out in GROUPINGS[grouping]]
    each = [metric.affinity(*([metric.subset(s, kept) for s in side] for side in (a, b))).numpy() for kept in subsets]
    found = metric.subset_affinity(a, b, subsets).numpy()
    np.testing.assert_allclose(found, each, rtol=0, atol=max(1e-7, 100 * row.tolerance))


@each_row
def test_an_order_gives_the_same_bits_wherever_it_stands_among_others(row):
    a, b = (signatures(row, side) for side in many_layers(row, seed=1))
    orders = torch.stack([torch.randperm(row.n, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1, 0)])
    draws = row.metric.permuted_affinity(a, b, orders)
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[:1], row.metric.permuted_affinity(a, b, orders[:1]))


# --- chance -----------------------------------------------------------------------------------------------------------------


@each_row
def test_chance_is_the_mean_over_permutations_of_the_items_and_its_variance_theirs(row):
    a, b = (signatures(row, side) for side in many_layers(row, seed=11, n=row.n))
    draws, generator = 200, torch.Generator().manual_seed(5)
    orders = torch.stack([torch.randperm(row.n, generator=generator) for _ in range(draws)])
    values, chance = row.metric.permuted_affinity(a, b, orders).numpy(), row.metric.chance(a, b)
    spread = values.std(axis=0, ddof=1)
    drawn = 0 if chance.variance is not None or "permutation" not in row.metric.about.chance else 1 / 20
    error = spread * np.sqrt(1 / draws + drawn)
    assert (np.abs(chance.mean.numpy() - values.mean(axis=0)) <= 4.5 * error + 1e-12).all()
    if chance.variance is not None:
        np.testing.assert_allclose(np.sqrt(chance.variance.numpy()), spread, rtol=0.2)


REGIMES = {"more items": (60, 4), "as many": (40, 40), "more dimensions": (24, 120)}


@pytest.mark.slow
@each_row
@pytest.mark.parametrize("power", [0.0, 1.0], ids=["isotropic", "power_law"])
@pytest.mark.parametrize("regime", REGIMES)
def test_chance_is_what_independent_layers_have(row, regime, power):
    n, d = REGIMES[regime]
    if row.metric.min_n > n or (row.widths[0] < 12 and d > row.widths[0]):
        pytest.skip(f"{row.name} is not defined for {n} items of {d} dimensions")
    if row.needs_structure:
        pytest.skip(f"{row.name} is not defined for independent dimensions")
    if row.needs_items and n <= 2 * d:
        pytest.skip(f"{row.name} is not defined for {n} items of twice {d} dimensions")
    rng = np.random.default_rng(7)
    excess, draws = [], 15 if "permutation" in row.metric.about.chance else 30  # each of the former draws pairings of its own
    for _ in range(draws):
        sides = [signatures(row, [rng.standard_normal((n, d)) * np.arange(1.0, d + 1) ** -power]) for _ in "ab"]
        excess.append(row.metric.affinity(*sides).item() - row.metric.chance(*sides).mean.item())
    assert abs(np.mean(excess)) <= 4 * np.std(excess, ddof=1) / np.sqrt(len(excess)) + 1e-12
    if row.metric.about.chance == "0":
        assert np.std(excess) > 0


# --- precision --------------------------------------------------------------------------------------------------------------


@each_row
def test_a_constant_offset_of_thousands_in_one_dimension_changes_no_centred_metric(row):
    if "translation" not in row.metric.about.invariances:
        pytest.skip(f"{row.name} is not centred")
    x, y = related_for_precision(row)
    shifted = x.astype(np.float32)
    shifted[:, 1] += 3000
    expected = affinity(row.metric, x, y)
    assert affinity(row.metric, shifted, y.astype(np.float32)) == pytest.approx(expected, abs=1e-4, rel=1e-4)


def related_for_precision(row: Row) -> tuple[np.ndarray, np.ndarray]:
    wide = (48, 32) if row.widths == (12, 8) else row.widths
    return related(7, 300, *wide)


@each_row
@pytest.mark.parametrize("exponent", [-100, 80])
def test_scales_far_from_one_change_nothing(row, exponent):
    if "scale" not in row.metric.about.invariances:
        pytest.skip(f"{row.name} depends on the scale")
    x, y = (layer.astype(np.float32) for layer in row.layers(seed=5))
    assert affinity(row.metric, x * np.float32(2.0**exponent), y) == pytest.approx(affinity(row.metric, x, y), abs=1e-5)


@each_row
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accepted_and_computed_in_float32(row, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in row.layers(seed=9))
    np.testing.assert_array_equal(affinity_matrix(row.metric, [x], [y]), affinity_matrix(row.metric, [x.float()], [y.float()]))


@each_row
def test_half_precision_of_large_activations_does_not_overflow(row):
    x, y = row.layers(seed=9)
    large = torch.from_numpy(x * 4_000).half()
    assert large.isfinite().all()
    expected = affinity(row.metric, x * 4_000, y)
    assert affinity(row.metric, large.numpy(), y.astype(np.float32)) == pytest.approx(expected, abs=0.02, rel=0.02)


@each_row
def test_the_sides_may_differ_in_precision(row):
    x, y = row.layers(seed=9)
    expected = affinity(row.metric, x, y)
    assert affinity(row.metric, x.astype(np.float32), y) == pytest.approx(expected, abs=1e-4, rel=1e-4)
    assert affinity(row.metric, x, y.astype(np.float32)) == pytest.approx(expected, abs=1e-4, rel=1e-4)


@each_row
def test_layers_are_left_as_they_were(row):
    x = torch.from_numpy(row.layers(seed=10)[0])
    before = x.clone()
    affinity_matrix(row.metric, [x], [x])
    assert torch.equal(x, before)


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_type_checker():
    """Shapes unchecked, as they are for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@each_row
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(row, bad):
    x, y = row.layers(seed=0)
    x[4, 2] = bad
    with pytest.raises(ValueError, match=r"^activations hold NaN or infinite values$"):
        affinity_matrix(row.metric, [y], [y, x])


@each_row
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_layer_of_one_and_the_same_vector_is_refused(row, value):
    with pytest.raises(ValueError, match=r"^every item has the same vector, so there is nothing to compare$"):
        row.metric.signature(torch.full((row.n, 5), value))


@each_row
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_layer_of_one_vector_but_for_rounding_is_refused(row, dtype):
    """One unit in the last place up or down, and what sums in another order leave."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(12, generator=generator, dtype=torch.float64).to(dtype)
    away = torch.randint(-1, 2, (row.n, 12), generator=generator) * float(torch.finfo(dtype).eps)
    with pytest.raises(ValueError, match=r"^every item has the same vector up to rounding, so there is nothing to compare$"):
        row.metric.signature((one.double() * (1 + away.double())).to(dtype))


@each_row
def test_a_layer_whose_items_differ_by_more_than_rounding_is_not_refused(row):
    x, _ = row.layers(seed=0)
    assert row.metric.signature(torch.from_numpy(x[:, :1] * 0 + 100 + 0.01 * x)) is not None


@each_row
def test_a_layer_with_itself_in_float32_stays_in_bounds(row):
    a, b = ([x.astype(np.float32) for x in side] for side in many_layers(row, seed=21, n=max(row.n, 60)))
    low, high = row.metric.about.bounds
    for sides in ((a, a), (b, b), (a, b)):
        matrix = affinity_matrix(row.metric, *sides)
        assert low <= matrix.min()
        assert matrix.max() <= high


def test_a_value_that_leaves_the_bounds_by_more_than_rounding_is_no_value_of_the_metric():
    metric = METRICS[0].metric
    assert bounded(metric, torch.tensor([[1 + 1e-7, -1e-7, 0.5]], dtype=torch.float64)).tolist() == [[1, 0, 0.5]]
    with pytest.raises(ValueError, match=r"^metric mutual_knn declares values from 0 to 1 and gave 1.00001$"):
        bounded(metric, torch.tensor([[1.00001, -1e-7]], dtype=torch.float64))
    assert np.isnan(bounded(metric, torch.tensor([[torch.nan]], dtype=torch.float64))).all()
    unlimited = next(row.metric for row in METRICS if row.metric.about.bounds == (0, math.inf) and row.metric.about.self_value)
    assert bounded(unlimited, torch.tensor([[-4e-16, 2.5]], dtype=torch.float64)).tolist() == [[0, 2.5]]
    with pytest.raises(ValueError, match=r"declares values from 0 to inf and gave -0\.001$"):
        bounded(unlimited, torch.tensor([[-0.001, 2.5]], dtype=torch.float64))


@each_row
def test_the_fewest_items_that_give_a_value_do_and_one_fewer_is_refused(row):
    least = row.metric.min_n
    x, y = (layer[:least, :2] for layer in row.layers(seed=1))
    low, high = row.metric.about.bounds
    if not row.needs_structure:
        assert low - 1e-9 <= affinity(row.metric, x, y) <= high + 1e-9
    with pytest.raises(ValueError, match=rf"^needs at least {least} items; got {least - 1}$"):
        affinity_matrix(row.metric, [x[1:]], [y[1:]])


@each_row
@pytest.mark.parametrize("shape", [(12,), (1, 12, 5), (12, 0)])
@pytest.mark.usefixtures("without_type_checker")
def test_anything_but_items_times_dimensions_is_refused(row, shape):
    x = np.ones(shape)
    with pytest.raises(ValueError, match=r"^activations must be of shape \(n, d\); got \(" + ", ".join(map(str, shape))):
        affinity_matrix(row.metric, [x], [x])


@each_row
def test_layers_of_different_items_are_refused(row):
    x, y = row.layers(seed=0)
    with pytest.raises(ValueError, match=rf"^all layers must hold the same items; got layers of {row.n - 3} and {row.n} items$"):
        affinity_matrix(row.metric, [x], [y[3:]])


@each_row
def test_the_number_of_threads_changes_nothing_beyond_rounding(row):
    """Sums in another order differ in the last digits of float32."""
    a, b = (signatures(row, side) for side in many_layers(row, seed=12, n=row.n))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(row.metric.affinity(a, b).numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)


def test_second_order_cosine_says_where_it_can_be_nothing_but_1():
    """Independent layers of vectors that nearly point the same way, as real ones do: the value is nearly 1, and tells nothing."""
    metric, rng = SecondOrderCosine(k=5), np.random.default_rng(0)
    x, y = (torch.from_numpy(20 + rng.standard_normal((60, 12))) for _ in "ab")
    assert metric.affinity([metric.signature(x)], [metric.signature(y)]).item() > 0.999
    assert "say nothing of the neighbours" in metric.diagnose(metric.signature(x)).trouble
    assert metric.diagnose(metric.signature(x - 20)) is None
