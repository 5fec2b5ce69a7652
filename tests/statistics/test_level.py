"""Tests that hold their level, and worlds in which nothing is to be found; each p of a run and of comparisons of runs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from comparing import asked, compared, inference
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import METRICS, many_layers, related
from scipy import stats

from layeratlas.affinity.matrix import with_null
from layeratlas.errors import ConfigError
from layeratlas.metrics import CKALinear, CKALinearDebiased, DistanceCorrelation, MutualKNN, RetrievalAt1
from layeratlas.statistics import Inference
from layeratlas.statistics.diagonal import layer_permutation_attainable_p, layer_permutation_p, monotone_share
from layeratlas.statistics.matrices import correlate
from layeratlas.statistics.multiplicity import corrected
from layeratlas.statistics.nulls import add_one_p, attainable_p, null_of, orders

# --- any false alarm ----------------------------------------------------------------------------------------------------------


def alarms(values: np.ndarray) -> list[bool]:
    """Each matrix once in the place of the observed one, all others as its draws: is any cell's p_fwer at most .05?"""
    return [
        bool((null_of(x, np.delete(values, i, axis=0), alpha=0.05, maximum=None).p_fwer <= 0.05).any())
        for i, x in enumerate(values)
    ]


@pytest.mark.parametrize("permutations", [19, 39, 99, 200])
@pytest.mark.parametrize("cells", [1, 30, 540])
@pytest.mark.parametrize("smooth", [False, True], ids=["independent", "smooth"])
def test_of_matrices_that_are_all_alike_exactly_the_share_of_the_level_raises_an_alarm(permutations, cells, smooth):
    """Which of exchangeable matrices is the observed one is a matter of chance: counting all is the size without its noise."""
    rng = np.random.default_rng(permutations)
    if permutations == 200 and cells == 540:
        pytest.skip("counted in tests/benchmarks/inference.py")
    values = rng.standard_normal((permutations + 1, 1, cells)) ** 3  # with long tails
    values = np.cumsum(values, axis=2) if smooth else values
    assert sum(alarms(values)) == (permutations + 1) // 20


@pytest.mark.parametrize("metric", [MutualKNN(k=3), CKALinearDebiased()], ids=lambda metric: metric.name)
def test_of_orders_that_are_all_alike_exactly_the_share_of_the_level_raises_an_alarm(metric):
    rng = np.random.default_rng(0)
    sides = ([metric.signature(torch.from_numpy(rng.standard_normal((24, 6)))) for _ in range(size)] for size in (4, 3))
    values = metric.permuted_affinity(*sides, torch.from_numpy(orders(24, 40, rng))).numpy()
    assert sum(alarms(values)) <= 2  # shares of neighbours can tie


@pytest.mark.slow
@pytest.mark.parametrize("metric", [MutualKNN(k=3), CKALinearDebiased()], ids=lambda metric: metric.name)
def test_layers_without_correspondence_raise_an_alarm_as_often_as_the_level_says(metric):
    rng, found, runs = np.random.default_rng(0), 0, 600
    for run in range(runs):
        a, b = ([rng.standard_normal((24, 6)) for _ in range(size)] for size in (4, 3))
        null = with_null(metric, compared(metric, a, b), inference(permutations=19), [""] * 24, run)
        found += (null.inferred["p_fwer"] <= 0.05).any()
    assert stats.binomtest(int(found), runs, 0.05).pvalue > 0.01


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(1, 40), draws=st.integers(1, 60))
def test_a_family_wise_p_is_no_smaller_than_the_cells_own(seed, cells, draws):
    rng = np.random.default_rng(seed)
    values = np.round(rng.standard_normal((draws + 1, 1, cells)), 1)
    null = null_of(values[0], values[1:], alpha=0.05, maximum=None)
    assert (null.p_fwer >= null.p_value).all()
    assert (null.p_fdr >= null.p_value).all()


def test_a_cell_where_nothing_varies_says_nothing_and_takes_no_part():
    """FAULTS: p_fwer of a constant cell was the smallest there is."""
    draws = np.zeros((200, 1, 2))
    draws[:, 0, 1] = np.random.default_rng(0).random(200)
    null = null_of(np.zeros((1, 2)), draws, alpha=0.05, maximum=1.0)
    assert (null.p_value[0, 0], null.p_fwer[0, 0], null.p_fdr[0, 0]) == (1, 1, 1)
    assert np.isnan(null.z[0, 0])
    alone = null_of(np.zeros((1, 1)), draws[..., 1:], alpha=0.05, maximum=1.0)
    assert null.p_fwer[0, 1] == alone.p_fwer[0, 0]


@pytest.mark.parametrize("value", [0.3, 1.0, 200.0])
def test_what_varies_by_rounding_alone_does_not_vary(value):
    rng = np.random.default_rng(1)
    values = value * (1 + 2e-7 * rng.standard_normal((100, 3, 4)))
    values[0] += 5e-7 * value
    null = null_of(values[0], values[1:], alpha=0.05, maximum=None)
    assert (null.p_value == 1).all()
    assert (null.p_fwer == 1).all()
    assert (null.p_fdr == 1).all()
    assert np.isnan(null.z).all()


def test_values_near_zero_are_rounded_at_the_scale_of_the_metric_not_at_their_own():
    values = 3e-7 * np.random.default_rng(2).standard_normal((100, 3, 4))
    null = null_of(values[0], values[1:], alpha=0.05, maximum=None, scale=1.0)
    assert (null.p_fwer == 1).all()
    assert np.isnan(null.z).all()


def test_a_value_far_above_draws_that_are_all_one_number_is_as_significant_as_draws_allow():
    """Few mutual neighbours are found in no random order at all: the observed value is then the one of K + 1 that differs."""
    null = null_of(np.array([[0.5]]), np.zeros((19, 1, 1)), alpha=0.05, maximum=1.0)
    assert null.p_value == null.p_fwer == 1 / 20
    assert np.isnan(null.z)


# --- one path and one tolerance -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Unmoved(Inference):
    """Permutations that leave every item where it is."""

    def orders(self, groups, seed):
        return np.tile(np.arange(len(groups)), (self.permutations, 1))


UNMOVED = Unmoved(permutations=9, groups=0, alpha=0.05, level=0.95, within_groups=False, by_group=False, block=1)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)], ids=["float32", "float64"])
def test_where_no_order_moves_an_item_every_p_is_1(row, dtype):
    a, b = ([x.astype(dtype) for x in side] for side in many_layers(row, seed=5))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = with_null(row.metric, compared(row.metric, a, b), UNMOVED, [""] * row.n, 0)
        for name in ("p_value", "p_fwer", "p_fdr"):
            assert (found.inferred[name] == 1).all(), name
        summary = asked(found).numbers
        nested = [summary[name] for name in ("generalised", "band", "monotone_share_a", "monotone_share_b")]
        assert {part["p"] for part in nested if np.isfinite(part["value"])} == {1}
    torch.set_num_threads(1)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_a_matrix_made_by_another_path_is_as_large_as_itself(row):
    a, b = ([row.metric.signature(torch.from_numpy(x).float()) for x in side] for side in many_layers(row, seed=5))
    draws = row.metric.permuted_affinity(a, b, torch.arange(row.n).repeat(5, 1)).numpy()
    assert (add_one_p(row.metric.affinity(a, b).numpy(), draws, abs(row.metric.about.self_value or 0.0)) == 1).all()


def test_layers_that_are_the_same_within_a_group_have_nothing_to_find_within_groups():
    """Many orders, and each gives the same matrix but for the order of its sums."""
    rng, groups = np.random.default_rng(3), [str(i % 6) for i in range(60)]
    x, y = (rng.standard_normal((6, d))[[int(group) for group in groups]] for d in (8, 5))
    for metric in (CKALinear(), CKALinearDebiased(), DistanceCorrelation()):
        x32, y32 = x.astype(np.float32), y.astype(np.float32)
        found = with_null(metric, compared(metric, [x32], [y32]), inference(within_groups=True), groups, 0)
        assert found.inferred["p_value"] == found.inferred["p_fwer"] == 1


# --- few orders -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "groups", "block", "different"),
    [
        (256, None, 128, 2),
        (256, None, 100, 6),
        (4, None, 1, 24),
        (6, list("aabbcc"), 1, 8),
        (7, list("abababc"), 1, 36),
        (200, ["x", "x", *map(str, range(198))], 1, 2),
    ],
)
def test_where_there_are_few_orders_each_is_used_once(n, groups, block, different):
    found = orders(n, 200, np.random.default_rng(0), groups=groups, block=block)
    assert len({tuple(order) for order in found} | {tuple(range(n))}) == len(found) + 1 == different
    options = inference(permutations=200, within_groups=groups is not None, block=block)
    (doubt,) = options.doubts(groups or [""] * n)
    assert f"allows {different} different orders; all are used, so that the smallest attainable p is {1 / different:.2g}" in doubt
    assert attainable_p(len(options.orders(groups or [""] * n, 0))) == pytest.approx(1 / different)


def test_where_there_are_more_orders_than_draws_nothing_is_told():
    assert list(inference(permutations=99).doubts([""] * 60)) == []
    assert len(inference(permutations=22).orders([""] * 4, 0)) == 22
    assert len(inference(permutations=23).orders([""] * 4, 0)) == 23  # all others of 24
    assert list(inference(permutations=0, block=60).doubts([""] * 60)) == []


def test_all_orders_of_few_items_give_the_exact_p():
    x, y = (np.random.default_rng(seed).standard_normal((5, 3)) for seed in (0, 1))
    found = with_null(CKALinear(), compared(CKALinear(), [x], [y]), inference(permutations=200), [""] * 5, 0)
    assert len(found.null_draws) == 119
    assert found.inferred["p_value"] == pytest.approx((found.null_draws >= found.matrix - 1e-9).sum() / 120 + 1 / 120)
    assert found.methods["orders"] == 120
    assert found.methods["attainable_p"] == 1 / 120


@pytest.mark.parametrize(
    ("options", "groups", "message"),
    [
        (
            {"block": 60},
            [""] * 60,
            r"^statistics.block=60: all 60 items are one block, so nothing can be permuted; expected at most 30$",
        ),
        ({"block": 900}, [""] * 60, r"^statistics.block=900: all 60 items are one block"),
        ({"within_groups": True}, [str(i) for i in range(60)], r"^statistics.within_groups=true: every item is a group of its own"),
        ({"by_group": True}, [""] * 60, r"^statistics.by_group=true: all items are of one group, so no group can be left out$"),
        (
            {"by_group": True},
            ["big"] * 60 + list("abcd"),
            r"^statistics.by_group=true: group 'big' holds 60 of 64 items, and leaving it out leaves other data; expected no group"
            r" of more than half of the items$",
        ),
    ],
)
def test_one_order_alone_and_groups_that_cannot_be_left_out_are_refused_before_anything_is_computed(options, groups, message):
    with pytest.raises(ConfigError, match=message):
        inference(**options).require(groups)
    off = inference(permutations=0, groups=0, **options)
    off.require(groups)


def test_few_layers_have_few_orders():
    assert layer_permutation_attainable_p((3, 2), 999) == pytest.approx(1 / 6)
    assert layer_permutation_attainable_p((30, 18), 999) == pytest.approx(1 / 1000)
    matrix, on = np.array([[0.9, 0.1], [0.2, 0.8]]), np.eye(2, dtype=bool)
    assert layer_permutation_p(matrix, on, 999, np.random.default_rng(0)) == 0.5
    found = correlate(np.array([[0.1, 0.2, 0.5]]), np.array([[0.1, 0.3, 0.9]]), draws=999, rng=np.random.default_rng(0))
    assert found.mantel_p == found.attainable_p == pytest.approx(1 / 6)


# --- what is undefined ------------------------------------------------------------------------------------------------------------


def test_an_undefined_value_or_draw_has_no_p():
    draws = np.random.default_rng(0).random((99, 1, 3))
    draws[7, 0, 1] = np.nan
    observed = np.array([[np.nan, 5.0, 5.0]])
    null = null_of(observed, draws, alpha=0.05, maximum=None)
    for p in (null.p_value, null.p_fwer, null.p_fdr):
        assert np.isnan(p[0, :2]).all()
        assert p[0, 2] == 0.01
    assert np.isnan(null.z[0, :2]).all()
    assert np.isnan(add_one_p(np.inf, draws[:, 0, 0]))


def test_a_monotone_share_that_is_undefined_has_no_p_and_does_not_reject():
    """FAULTS: NaN had the smallest p. Where nothing is alike, no share of it can be taken."""
    rng = np.random.default_rng(0)
    a, b = ([rng.standard_normal((20, 30)) for _ in range(3)] for _ in "ab")
    metric = CKALinearDebiased()
    found = with_null(metric, compared(metric, a, b), inference(), [""] * 20, 0)
    nowhere = replace(found, matrix=-np.abs(found.matrix), unpermuted=-np.abs(found.matrix))
    assert np.isnan(monotone_share(nowhere.matrix))
    summary = asked(nowhere).numbers
    assert np.isnan(summary["monotone_share_a"]["value"])
    assert np.isnan(summary["monotone_share_a"]["p"])


def test_a_p_that_is_not_there_is_no_test_of_a_family():
    np.testing.assert_allclose(corrected(np.array([0.01, np.nan, 0.02]), "bonferroni"), [0.02, np.nan, 0.04])


@pytest.mark.parametrize(
    "second", [np.full((5, 5), 0.3), 0.3 + 1e-8 * np.random.default_rng(1).random((5, 5))], ids=["constant", "nearly"]
)
def test_a_constant_matrix_correlates_with_nothing(second):
    found = correlate(np.random.default_rng(0).random((5, 5)), second, draws=999, rng=np.random.default_rng(0))
    assert np.isnan([found.pearson, found.spearman, found.off_diagonal_pearson, found.partial, found.mantel_p]).all()


def test_a_matrix_that_is_a_function_of_depth_has_no_partial_correlation_with_depth_held_constant():
    near = -np.abs(np.linspace(0, 1, 6)[:, None] - np.linspace(0, 1, 6))
    found = correlate(0.7 + 0.2 * near, np.random.default_rng(0).random((6, 6)), draws=9, rng=np.random.default_rng(0))
    assert np.isnan(found.partial)
    assert np.isfinite(found.mantel_p)


def test_two_models_of_as_many_layers_have_no_cells_of_a_layer_with_itself():
    first, second = (np.random.default_rng(seed).random((6, 6)) for seed in (3, 4))
    for matrix in (first, second):
        np.fill_diagonal(matrix, matrix.diagonal() + 2)
    options = {"draws": 199, "rng": np.random.default_rng(0)}
    two, one = correlate(first, second, **options), correlate(first, second, **options, one_model=True)
    assert two.off_diagonal_pearson == two.pearson == one.pearson > 0.8
    assert one.off_diagonal_pearson < 0.5
    with pytest.raises(ValueError, match="cannot be compared cell by cell"):
        correlate(first[:5], second[:5], draws=9, rng=np.random.default_rng(0), one_model=True)


# --- z without permutations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric", [MutualKNN(k=5), CKALinear(), CKALinearDebiased(), RetrievalAt1()], ids=lambda metric: metric.name
)
def test_a_closed_form_z_is_that_of_many_permutations(metric):
    x, y = (layer.astype(np.float32) for layer in related(3, 80, 12, 12))
    off, many = (inference(permutations=draws, groups=0) for draws in (0, 1000))
    before = compared(metric, [x], [y])
    moments = metric.chance(before.signatures_a, before.signatures_b)
    before = replace(before, chance_variance=moments.variance.numpy(), scale=1.0)
    closed, drawn = with_null(metric, before, off, [""] * 80, 0), with_null(metric, before, many, [""] * 80, 0)
    assert closed.inferred["z"].item() == pytest.approx(drawn.inferred["z"].item(), rel=0.1)
    assert closed.methods["z"] == "closed-form mean and standard deviation over all orders of the items"
    assert drawn.methods["z"] == "mean and standard deviation over the permutations"
    assert set(closed.inferred) == {"z"}
    assert closed.null_draws is None


def test_there_is_no_closed_form_z_where_moments_are_unknown_orders_restricted_or_nothing_varies():
    x, y = related(3)
    off = inference(permutations=0, groups=0)
    before = replace(compared(MutualKNN(k=5), [x], [y]), chance_variance=np.array([[1e-4]]))
    assert "z" in with_null(MutualKNN(k=5), before, off, [""] * 60, 0).inferred
    for restricted in (replace(off, within_groups=True), replace(off, block=5)):
        assert with_null(MutualKNN(k=5), before, restricted, list("ab") * 30, 0).inferred == {}
    assert with_null(MutualKNN(k=5), replace(before, chance_variance=None), off, [""] * 60, 0).inferred == {}
    assert np.isnan(with_null(MutualKNN(k=5), replace(before, chance_variance=np.zeros((1, 1))), off, [""] * 60, 0).inferred["z"])
