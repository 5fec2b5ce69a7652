import math

import numpy as np
import pytest
import torch
from calibrated_similarity import calibrate
from comparing import compared, inference
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import related
from scipy import stats

from layeratlas.affinity.matrix import with_intervals, with_null
from layeratlas.errors import ConfigError
from layeratlas.metrics import RSA, CKALinear, CKALinearDebiased, JaccardKNN, MutualKNN
from layeratlas.metrics.rdm import CosineDistance
from layeratlas.metrics.rsa import Spearman
from layeratlas.statistics.nulls import add_one_p, attainable_p, calibrated, null_of, orders, published_gaussian_tail, survivable

quick = settings(deadline=None, derandomize=True, max_examples=25)
seeds = st.integers(0, 2**32 - 1)


# --- orders -----------------------------------------------------------------------------------------------------------------


@quick
@given(seed=seeds, n=st.integers(2, 40), block=st.integers(1, 50))
def test_an_order_holds_every_item_once_and_blocks_stay_together(seed, n, block):
    block = min(block, n - 1)
    for order in orders(n, 3, np.random.default_rng(seed), block=block):
        assert sorted(order) == list(range(n))
        steps = np.diff(order)
        assert all(steps[i] == 1 for i in range(n - 1) if order[i] % block < block - 1 and order[i] + 1 < n)


@quick
@given(seed=seeds, labels=st.lists(st.sampled_from("abc"), min_size=4, max_size=40))
def test_within_groups_every_item_takes_the_place_of_one_of_its_own_group(seed, labels):
    if len(set(labels)) == len(labels):
        return
    for order in orders(len(labels), 3, np.random.default_rng(seed), groups=labels):
        assert sorted(order) == list(range(len(labels)))
        assert [labels[i] for i in order] == labels


def test_orders_differ_from_each_other_and_repeat_with_the_seed():
    first, again = (orders(50, 4, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({tuple(order) for order in first}) == 4


def test_items_that_are_groups_of_their_own_cannot_be_permuted():
    expected = r"^statistics.within_groups=true: every item is a group of its own, so nothing can be permuted$"
    with pytest.raises(ConfigError, match=expected):
        orders(3, 2, np.random.default_rng(0), groups=["x", "y", "z"])


# --- what draws say ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d_b", [6, 50])
@pytest.mark.parametrize("share", [0.0, 0.3, 2.0], ids=["independent", "faint", "strong"])
def test_p_and_calibrated_values_are_those_of_calibrated_similarity(share, d_b):
    rng = np.random.default_rng(d_b)
    a = [rng.standard_normal((30, 6)) for _ in range(2)]
    b = [share * a[0] @ rng.standard_normal((6, d_b)) + rng.standard_normal((30, d_b)) for _ in range(2)]
    options, groups = inference(permutations=60, groups=0), [""] * 30
    found = with_null(CKALinear(), compared(CKALinear(), a, b), options, groups, 0).inferred

    def cka(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, y = x - x.mean(0), y - y.mean(0)
        return (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())

    for i, x in enumerate(a):
        for j, y in enumerate(b):
            drawn = iter(torch.from_numpy(options.orders(groups, 0)))
            pair = torch.from_numpy(x), torch.from_numpy(y)
            score, p, _ = calibrate(*pair, cka, K=60, alpha=0.05, perm_fn=lambda n, device, drawn=drawn: next(drawn))
            assert found["p_value"][i, j] == pytest.approx(float(p), rel=1e-6)
            assert max(found["calibrated"][i, j], 0) == pytest.approx(float(score), abs=1e-6)


def test_a_p_value_counts_the_observed_value_as_a_draw():
    draws = np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]
    assert add_one_p(np.array([[0.5]]), draws) == pytest.approx(1 / 5)
    assert add_one_p(np.array([[0.3]]), draws) == pytest.approx(3 / 5)
    assert add_one_p(np.array([[0.0]]), draws) == 1
    assert attainable_p(4) == 1 / 5


def test_mean_deviation_and_z_are_those_of_the_draws():
    rng = np.random.default_rng(0)
    draws, observed = rng.normal(2, 3, size=(500, 2, 3)), np.full((2, 3), 8.0)
    found = null_of(observed, draws, alpha=0.05, maximum=None)
    np.testing.assert_allclose(found.null_mean, draws.mean(axis=0))
    np.testing.assert_allclose(found.z, (8 - draws.mean(axis=0)) / draws.std(axis=0, ddof=1))
    assert found.calibrated is None


def test_family_wise_p_is_that_of_the_largest_studentised_cell():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(199, 4, 5)) * np.geomspace(0.01, 100, 20).reshape(4, 5)  # no cell's scale may rule the family
    observed = draws.std(axis=0, ddof=1) * np.linspace(-1, 6, 20).reshape(4, 5)
    found = null_of(observed, draws, alpha=0.05, maximum=None)
    every = np.concatenate([observed[None], draws])
    z = (every - every.mean(axis=0)) / every.std(axis=0)
    np.testing.assert_allclose(found.p_fwer, (z.max(axis=(1, 2))[:, None, None] >= z[0] - 1e-9).mean(axis=0))
    assert (found.p_fwer >= found.p_value).all()


def test_false_discoveries_are_controlled_as_benjamini_and_hochberg_do():
    rng = np.random.default_rng(2)
    found = null_of(rng.normal(1, 1, size=(3, 4)), rng.normal(size=(99, 3, 4)), alpha=0.05, maximum=None)
    p = found.p_value.ravel()
    order = np.argsort(p)
    stepped = np.minimum.accumulate((p[order] * 12 / np.arange(1, 13))[::-1])[::-1]
    np.testing.assert_allclose(found.p_fdr.ravel()[order], np.minimum(stepped, 1))


def test_a_calibrated_score_is_zero_at_the_edge_of_chance_and_one_at_the_maximum():
    draws = np.linspace(0, 0.18, 19)[:, None, None]
    assert calibrated(np.array([[1.0]]), draws, 0.05, 1.0).item() == pytest.approx(1)
    tau = 0.18  # the 19th of 20, the observed value being the 20th
    assert calibrated(np.array([[0.6]]), draws, 0.05, 1.0).item() == pytest.approx((0.6 - tau) / (1 - tau))
    assert calibrated(np.array([[0.05]]), draws, 0.05, 1.0).item() < 0


def test_a_cell_whose_draws_never_change_has_no_z():
    draws = np.dstack([np.full((9, 1, 1), 0.5), np.random.default_rng(0).random((9, 1, 1))])
    found = null_of(np.array([[0.5, 0.4]]), draws, alpha=0.05, maximum=1.0)
    assert np.isnan(found.z[0, 0])
    assert found.p_value[0, 0] == 1


def test_a_p_of_1_in_201_cannot_survive_a_correction_over_540_cells():
    assert not survivable(540, 200, 0.05)
    assert survivable(540, 20_000, 0.05)


# --- the published tail -------------------------------------------------------------------------------------------------------


def test_the_published_tail_comes_out_and_a_valid_bound_stands_beside_it():
    tail = published_gaussian_tail(0.4, n=2048, k=10, permutation_variance=0.00055**2)
    assert tail.published == pytest.approx(-143_449.86, abs=0.01)
    assert -6 < tail.bound < -5


def test_the_bound_holds_where_it_can_be_checked():
    rng = np.random.default_rng(0)
    metric = MutualKNN(k=3)
    a, b = ([metric.signature(torch.from_numpy(rng.standard_normal((30, 4))))] for _ in "ab")
    draws = metric.permuted_affinity(a, b, torch.from_numpy(orders(30, 4000, rng))).numpy().ravel()
    variance = metric.chance(a, b).variance.item()
    for value in np.quantile(draws, [0.6, 0.9, 0.99]):
        assert np.mean(draws >= value) <= 10 ** published_gaussian_tail(value, 30, 3, variance).bound + 0.01


# --- exactness --------------------------------------------------------------------------------------------------------------

EACH_NULL = [MutualKNN(k=3), CKALinear(), CKALinearDebiased(), RSA(CosineDistance(), Spearman()), JaccardKNN(k=3)]


@pytest.mark.slow
@pytest.mark.parametrize("metric", EACH_NULL, ids=lambda metric: metric.name)
@pytest.mark.parametrize("within", [False, True], ids=["free", "within groups"])
def test_p_is_uniform_where_items_are_paired_at_random(metric, within):
    """The size at 5 % and the whole distribution, over 200 pairs of layers whose items have nothing to do with each other."""
    rng, p = np.random.default_rng(4), []
    groups = ["x", "y"] * 12 if within else ["x"] * 24
    shift = 3 * np.array([group == "x" for group in groups])[:, None] if within else 0  # groups alone make layers alike
    for draw in range(200):
        x, y = rng.standard_normal((24, 4)) + shift, rng.standard_normal((24, 6)) + shift
        found = with_null(metric, compared(metric, [x], [y]), inference(permutations=39, within_groups=within), groups, draw)
        p.append(found.inferred["p_value"].item())
    assert stats.binomtest(sum(value <= 0.05 for value in p), 200, 0.05).pvalue > 0.001
    jittered = np.array(p) - rng.random(200) / 40  # p are multiples of 1/40
    assert stats.kstest(jittered, "uniform").pvalue > 0.001


def test_permuting_freely_across_groups_that_layers_share_finds_what_is_not_there():
    rng, rejected = np.random.default_rng(5), 0
    shift = 3 * np.tile([1, 0], 12)[:, None]
    for draw in range(60):
        x, y = rng.standard_normal((24, 4)) + shift, rng.standard_normal((24, 6)) + shift
        found = with_null(CKALinear(), compared(CKALinear(), [x], [y]), inference(permutations=39), ["x"] * 24, draw)
        rejected += found.inferred["p_value"].item() <= 0.05
    assert rejected > 50


def test_layers_that_share_their_items_are_found():
    x, y = related(0)
    found = with_null(CKALinearDebiased(), compared(CKALinearDebiased(), [x], [y]), inference(), ["x"] * 60, 0)
    assert found.inferred["p_fwer"].item() == attainable_p(99)
    assert 0 < found.inferred["calibrated"].item() < found.matrix.item()


def test_the_same_seed_gives_the_same_bits_and_another_one_others():
    x, y = related(0)
    runs = [with_null(MutualKNN(k=5), compared(MutualKNN(k=5), [x], [y]), inference(), ["x"] * 60, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].null_draws, runs[1].null_draws)
    assert not np.array_equal(runs[0].null_draws, runs[2].null_draws)


def test_off_leaves_the_matrix_as_it_is():
    x, y = related(0)
    before = compared(MutualKNN(k=5), [x], [y])
    off = inference(permutations=0, groups=0)
    assert with_intervals(MutualKNN(k=5), with_null(MutualKNN(k=5), before, off, ["x"] * 60, 0), off, ["x"] * 60) is before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"permutations": -1}, r"^statistics: expected permutations >= 0 and groups 0 or >= 2; got -1 and 10$"),
        ({"groups": 1}, r"^statistics: expected permutations >= 0 and groups 0 or >= 2; got 99 and 1$"),
        ({"alpha": 0.0}, r"^statistics: alpha and level lie between 0 and 1; got 0.0 and 0.95$"),
        ({"level": 1.0}, r"^statistics: alpha and level lie between 0 and 1; got 0.05 and 1.0$"),
        ({"block": 0}, r"^statistics.block: expected 1, or more without within_groups; got 0$"),
        ({"block": 2, "within_groups": True}, r"^statistics.block: expected 1, or more without within_groups; got 2$"),
    ],
)
def test_inference_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        inference(**options)


def test_the_exact_variance_of_mutual_knn_is_larger_than_the_hypergeometric_one():
    rng = np.random.default_rng(0)
    metric, n, k = MutualKNN(k=10), 256, 10
    a, b = ([metric.signature(torch.from_numpy(rng.standard_normal((n, 16))))] for _ in "ab")
    hypergeometric = abs(k - n + 1) / ((n - 1) * math.sqrt(n * (n - 2)))
    ratio = math.sqrt(metric.chance(a, b).variance.item()) / hypergeometric
    assert 1.1 < ratio < 1.6
