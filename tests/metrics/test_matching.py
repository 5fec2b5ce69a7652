"""Matching of units: enumeration, the full linear program, unequal widths, refusals."""

import math
from itertools import permutations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from metric_rows import affinity, related
from scipy.optimize import linprog

from layeratlas import affinity_matrix
from layeratlas.errors import ConfigError
from layeratlas.metrics import PermutationMatch, SoftMatch
from layeratlas.metrics.matching import MOST_PAIRS, _assigned, _copied, _transported, correlations

METRICS = [PermutationMatch(), SoftMatch()]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


def transport_over_all_pairs(values: np.ndarray) -> float:
    d_a, d_b = values.shape
    rows, columns = (scipy.sparse.kron(*p) for p in ((np.eye(d_a), np.ones((1, d_b))), (np.ones((1, d_a)), np.eye(d_b))))
    masses = np.repeat([1 / d_a, 1 / d_b], [d_a, d_b])
    return -linprog(-values.ravel(), A_eq=scipy.sparse.vstack([rows, columns]), b_eq=masses, method="highs-ipm").fun


# --- values -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(5, 5), (6, 3), (3, 6), (1, 4)], ids=str)
def test_permutation_match_is_the_best_of_all_matchings(widths):
    x, y = related(1, 30, *widths)
    narrow, wide = (x, y) if x.shape[1] <= y.shape[1] else (y, x)
    r = pearson(narrow, wide)
    best = max(np.mean([r[i, j] for i, j in enumerate(p)]) for p in permutations(range(r.shape[1]), len(r)))
    assert affinity(PermutationMatch(), x, y) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("widths", [(5, 5), (6, 3), (12, 8), (23, 17), (17, 23), (48, 47), (1, 4)], ids=str)
def test_soft_match_is_the_optimum_over_all_pairs_of_units(widths):
    x, y = related(2, 80, *widths)
    assert affinity(SoftMatch(), x, y) == pytest.approx(transport_over_all_pairs(pearson(x, y)), abs=1e-7)


@pytest.mark.parametrize("widths", [(23, 17), (60, 45), pytest.param((64, 63), marks=pytest.mark.slow), (100, 30)], ids=str)
def test_the_linear_program_and_the_assignment_of_copies_agree(widths):
    r = pearson(*related(3, 40, *widths))
    assert _transported(r) == pytest.approx(_assigned(_copied(r)), abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
)
def test_ties_do_not_hide_the_optimum(values):
    assert _transported(values) == pytest.approx(_assigned(_copied(values)), abs=1e-9)


def test_for_equal_widths_both_metrics_are_one():
    x, y = related(4, 60, 40, 40)
    assert affinity(SoftMatch(), x, y) == affinity(PermutationMatch(), x, y)
    assert _transported(pearson(x, y)) == pytest.approx(affinity(PermutationMatch(), x, y), abs=1e-9)


def test_units_that_are_left_over_count_in_soft_match_alone():
    x = np.random.default_rng(5).standard_normal((30, 5))
    x = np.linalg.qr(x - x.mean(axis=0))[0]  # no two units correlate
    assert affinity(PermutationMatch(), x, x[:, :4]) == pytest.approx(1, abs=1e-12)
    assert affinity(SoftMatch(), x, x[:, :4]) == pytest.approx(4 / 5, abs=1e-12)


def test_copies_of_all_units_change_no_soft_match():
    x, y = related(6)
    assert affinity(SoftMatch(), x, x.repeat(3, axis=1)) == pytest.approx(1, abs=1e-12)
    assert affinity(SoftMatch(), x.repeat(2, axis=1), y) == pytest.approx(affinity(SoftMatch(), x, y), abs=1e-12)


@each_metric
def test_a_unit_is_no_match_for_its_negative(metric):
    x = related(7, 30, 1, 1)[0]
    assert affinity(metric, x, -x) == pytest.approx(-1, abs=1e-12)


@each_metric
def test_a_unit_that_is_the_same_for_all_items_is_left_out(metric):
    x, y = related(8)
    dead = np.insert(x, [0, 4], 0.1, axis=1)
    assert affinity(metric, dead, y) == affinity(metric, x, y)
    assert affinity(metric, dead, dead) == pytest.approx(1, abs=1e-12)


@each_metric
def test_a_unit_can_be_the_same_for_all_items_of_a_subset(metric):
    x, y = related(9)
    x[:50, 3] = 2.5
    kept = torch.arange(50)
    subset = metric.subset(metric.signature(torch.from_numpy(x)), kept)
    assert subset.shape == (50, 11)
    expected = affinity(metric, x[:50], y[:50])
    found = metric.affinity([subset], [metric.signature(torch.from_numpy(y[:50]))]).item()
    assert found == pytest.approx(expected, abs=1e-12)


# --- determinism, precision, refusals ---------------------------------------------------------------------------------------


@each_metric
@pytest.mark.parametrize("widths", [(40, 40), (31, 29)], ids=str)
def test_five_calls_give_the_same_bits(metric, widths):
    x, y = related(10, 100, *widths)
    assert len({affinity_matrix(metric, [x], [y]).tobytes() for _ in range(5)}) == 1


@each_metric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_what_the_same_numbers_in_float64_give(metric, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in related(11, 60, 23, 17))
    exact = affinity_matrix(metric, [x.double()], [y.double()])
    np.testing.assert_allclose(affinity_matrix(metric, [x], [y]), exact, atol=1e-6)


@each_metric
def test_more_units_than_can_be_matched_are_refused(metric):
    x = np.random.default_rng(12).standard_normal((3, math.isqrt(MOST_PAIRS) + 1)).astype(np.float32)
    message = (
        r"metric: matching 8193 units with 8193 takes minutes and gigabytes for each pair of layers; at most 67108864 pairs of "
        r"units can be matched, these are 67125249"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        affinity(metric, x, x)


def test_correlations_are_those_of_numpy():
    x, y = related(13)
    units = [SoftMatch().signature(torch.from_numpy(layer)) for layer in (x, y)]
    np.testing.assert_allclose(correlations(*units), pearson(x, y), atol=1e-14)
