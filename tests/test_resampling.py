import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nulls import compared, inference

from layeratlas import affinity_matrix
from layeratlas.affinity import with_intervals
from layeratlas.errors import ConfigError
from layeratlas.metrics import CKALinearDebiased, MutualKNN
from layeratlas.statistics.resampling import bootstrap_interval, jackknife_groups, jackknife_interval

quick = settings(deadline=None, derandomize=True, max_examples=25)


@quick
@given(n=st.integers(2, 100), count=st.integers(2, 30))
def test_every_item_is_left_out_once(n, count):
    parts = jackknife_groups(n, count)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(n))
    assert len(parts) == min(n, count)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@quick
@given(labels=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), count=st.integers(2, 6))
def test_clusters_are_left_out_as_wholes(labels, count):
    parts = jackknife_groups(len(labels), count, labels)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert len(parts) == min(count, len(set(labels)))
    homes = {labels[i]: g for g, part in enumerate(parts) for i in part}
    assert all(homes[labels[i]] == g for g, part in enumerate(parts) for i in part)


def test_the_jackknife_of_a_mean_is_students_interval():
    x = np.random.default_rng(0).normal(3, 2, size=20)
    left_out = np.array([np.delete(x, i).mean() for i in range(20)])
    low, high = jackknife_interval(x.mean(), left_out, level=0.95, bounds=(-np.inf, np.inf))
    reach = 2.093024 * x.std(ddof=1) / np.sqrt(20)
    assert (low, high) == pytest.approx((x.mean() - reach, x.mean() + reach), rel=1e-6)


def test_an_interval_ends_at_the_bounds_of_what_is_attainable():
    low, high = jackknife_interval(0.95, np.array([0.5, 1.0]), level=0.95, bounds=(0.0, 1.0))
    assert (low, high) == (0, 1)


@pytest.mark.parametrize("metric", [MutualKNN(k=5), CKALinearDebiased()], ids=lambda metric: metric.name)
def test_left_out_matrices_are_those_of_the_other_items(metric):
    rng = np.random.default_rng(1)
    a, b = ([rng.standard_normal((60, 7)) for _ in range(size)] for size in (2, 3))
    found = with_intervals(metric.with_slack(), compared(metric.with_slack(), a, b), inference(groups=6), ["x"] * 60)
    for g, matrix in enumerate(found.left_out):
        kept = np.setdiff1d(np.arange(60), np.arange(10 * g, 10 * g + 10))
        np.testing.assert_allclose(matrix, affinity_matrix(metric, [x[kept] for x in a], [y[kept] for y in b]), atol=1e-12)
    assert (found.inferred["ci_low"] <= found.matrix).all()
    assert (found.matrix <= found.inferred["ci_high"]).all()


def test_a_large_neighbourhood_lists_enough_neighbours_for_intervals():
    rng = np.random.default_rng(2)
    a, b = ([rng.standard_normal((256, 7))] for _ in "ab")
    metric = MutualKNN(k=100).with_slack()
    found = with_intervals(metric, compared(metric, a, b), inference(groups=20), ["x"] * 256)
    assert found.inferred["ci_low"] < found.matrix < found.inferred["ci_high"]


def test_naive_resampling_with_replacement_finds_similarity_where_there_is_none_and_the_jackknife_does_not():
    """Duplicates are alike in every layer: debiased CKA of independent layers comes out near .3 in every bootstrap sample."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 200)), rng.standard_normal((60, 200))
    resampled = []
    for _ in range(100):
        drawn = rng.integers(60, size=60)
        resampled.append(affinity_matrix(CKALinearDebiased(), [x[drawn]], [y[drawn]]).item())
    truth = 0.0
    assert np.quantile(resampled, 0.025) > 0.2
    found = with_intervals(CKALinearDebiased(), compared(CKALinearDebiased(), [x], [y]), inference(groups=20), ["x"] * 60)
    assert found.inferred["ci_low"].item() < truth < found.inferred["ci_high"].item()


def test_groups_that_are_all_one_cannot_be_left_out():
    with pytest.raises(ConfigError, match=r"^statistics.by_group=true: all items are of one group, so no group can be left out$"):
        inference(by_group=True).subsets(["x"] * 9)


def test_the_bootstrap_of_a_correlation_covers_it_and_repeats_with_the_seed():
    rng = np.random.default_rng(2)
    x = rng.standard_normal(200)
    y = 0.6 * x + 0.8 * rng.standard_normal(200)

    def correlations(indices: np.ndarray) -> np.ndarray:
        u, v = x[indices], y[indices]
        u, v = u - u.mean(axis=1, keepdims=True), v - v.mean(axis=1, keepdims=True)
        return (u * v).sum(axis=1) / np.sqrt((u**2).sum(axis=1) * (v**2).sum(axis=1))

    low, high = bootstrap_interval(correlations, 200, np.random.default_rng(0), draws=2000, level=0.95)
    again = bootstrap_interval(correlations, 200, np.random.default_rng(0), draws=2000, level=0.95)
    assert (low, high) == again
    r = np.corrcoef(x, y)[0, 1]
    fisher = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 1.96 / np.sqrt(197))
    assert (low, high) == pytest.approx(fisher, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("metric", [MutualKNN(k=10), CKALinearDebiased()], ids=lambda metric: metric.name)
def test_intervals_cover_what_they_are_about(metric):
    """Of 100 samples' 95 % intervals, between 88 and 100 hold the mean over many samples of the same size."""
    rng = np.random.default_rng(3)
    mixing = [rng.standard_normal((8, d)) for d in (20, 30)]

    def sample() -> list[np.ndarray]:
        signal = rng.standard_normal((128, 8))
        return [signal @ m + 2 * rng.standard_normal((128, m.shape[1])) for m in mixing]

    truth = np.mean([affinity_matrix(metric, [x], [y]).item() for x, y in (sample() for _ in range(200))])
    covered = 0
    for _ in range(100):
        x, y = sample()
        found = with_intervals(metric.with_slack(), compared(metric.with_slack(), [x], [y]), inference(groups=20), ["x"] * 128)
        covered += found.inferred["ci_low"].item() <= truth <= found.inferred["ci_high"].item()
    assert 88 <= covered <= 100
    assert torch.get_default_dtype() == torch.float32
