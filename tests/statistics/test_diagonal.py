import math
from dataclasses import replace
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np
import pytest
from comparing import asked
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from layeratlas.affinity.matrix import Affinity
from layeratlas.statistics import Inference
from layeratlas.statistics.diagonal import (
    best_match_depth_rank,
    cell_depth_rank,
    circular_shift_p,
    contrast,
    diagonal_means,
    generalised_diagonal,
    layer_permutation_p,
    monotone_match,
    monotone_share,
    on_off_diagonal,
    proportional_band,
)
from layeratlas.statistics.swaps import swaps

quick = settings(deadline=None, derandomize=True, max_examples=40)
sizes = st.integers(1, 30)


def drawn(picture: str) -> np.ndarray:
    """A mask from its picture: # is on the diagonal."""
    return np.array([[cell == "#" for cell in line] for line in picture.split()])


def affinity_of(matrix: np.ndarray, rows: list[str], columns: list[str], chance: float | np.ndarray = 0.25) -> Affinity:
    def depths(names: list[str]) -> list[float]:
        blocks = sum(name.startswith("block_") for name in names)
        return [int(name[6:]) / blocks if name.startswith("block_") else math.nan for name in names]

    matrix = np.asarray(matrix, dtype=float)
    chance = np.broadcast_to(np.asarray(chance, dtype=float), matrix.shape).copy()
    return Affinity(matrix, chance, rows, columns, depths(rows), depths(columns), 64, list(rows), list(columns))


def blocks(count: int) -> list[str]:
    return [f"block_{k}" for k in range(1, count + 1)]


# --- the mask ---------------------------------------------------------------------------------------------------------------


def test_the_generalised_diagonal_of_a_square_is_its_main_diagonal():
    np.testing.assert_array_equal(generalised_diagonal(4, 4), drawn("#... .#.. ..#. ...#"))


def test_the_generalised_diagonal_of_a_tall_rectangle_is_every_diagonal_of_full_length():
    np.testing.assert_array_equal(generalised_diagonal(5, 3), drawn("#.. ##. ### .## ..#"))


def test_the_generalised_diagonal_of_a_wide_rectangle_is_that_of_the_tall_one_transposed():
    np.testing.assert_array_equal(generalised_diagonal(3, 5), drawn("###.. .###. ..###"))


def test_the_generalised_diagonal_of_80_by_16_layers_is_nearly_everything():
    mask = generalised_diagonal(80, 16)
    assert mask.sum() == 65 * 16
    assert mask.mean() == pytest.approx(0.8125)


@quick
@given(rows=sizes, columns=sizes)
def test_swapping_the_sides_transposes_the_mask(rows, columns):
    np.testing.assert_array_equal(generalised_diagonal(rows, columns), generalised_diagonal(columns, rows).T)


@quick
@given(rows=sizes, columns=sizes)
def test_every_layer_of_the_shallower_side_has_equally_many_cells_on_the_diagonal(rows, columns):
    mask = generalised_diagonal(rows, columns)
    per_layer = mask.sum(axis=0 if rows >= columns else 1)
    assert set(per_layer) == {abs(rows - columns) + 1}
    assert mask[0, 0]
    assert mask[-1, -1]


@quick
@given(rows=sizes, columns=sizes)
def test_the_mask_is_the_same_read_from_the_last_layers_to_the_first(rows, columns):
    mask = generalised_diagonal(rows, columns)
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])


# --- the published comparison -----------------------------------------------------------------------------------------------

TALL = np.array([[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.5, 0.6, 0.4], [0.2, 0.9, 0.7], [0.1, 0.3, 0.8]])
TALL_ON = [0.9, 0.7, 0.8, 0.5, 0.6, 0.4, 0.9, 0.7, 0.8]
TALL_OFF = [0.2, 0.1, 0.3, 0.2, 0.1, 0.3]


@pytest.mark.parametrize("matrix", [TALL, TALL.T], ids=["5x3", "3x5"])
def test_means_are_those_of_the_cells_on_and_off_the_diagonal(matrix):
    found = on_off_diagonal(matrix)
    assert (found.cells_on, found.cells_off) == (9, 6)
    assert found.on_mean == pytest.approx(6.3 / 9)
    assert found.off_mean == pytest.approx(1.2 / 6)
    assert found.contrast == pytest.approx(0.5)
    assert diagonal_means(matrix) == (found.on_mean, found.off_mean)


@pytest.mark.parametrize("matrix", [TALL, TALL.T], ids=["5x3", "3x5"])
def test_both_t_tests_are_scipys_on_the_cells_picked_by_hand(matrix):
    found = on_off_diagonal(matrix)
    student = stats.ttest_ind(TALL_ON, TALL_OFF, alternative="greater")
    welch = stats.ttest_ind(TALL_ON, TALL_OFF, equal_var=False, alternative="greater")
    assert (found.student_t, found.student_p) == pytest.approx((student.statistic, student.pvalue), rel=1e-12)
    assert (found.welch_t, found.welch_p) == pytest.approx((welch.statistic, welch.pvalue), rel=1e-12)


def test_both_t_tests_follow_their_formulas():
    found = on_off_diagonal(TALL)
    n, m = len(TALL_ON), len(TALL_OFF)
    v, w = np.var(TALL_ON, ddof=1), np.var(TALL_OFF, ddof=1)
    pooled = ((n - 1) * v + (m - 1) * w) / (n + m - 2)
    student = 0.5 / math.sqrt(pooled * (1 / n + 1 / m))
    welch = 0.5 / math.sqrt(v / n + w / m)
    freedom = (v / n + w / m) ** 2 / ((v / n) ** 2 / (n - 1) + (w / m) ** 2 / (m - 1))
    assert (found.student_t, found.student_p) == pytest.approx((student, stats.t.sf(student, n + m - 2)), rel=1e-9)
    assert (found.welch_t, found.welch_p) == pytest.approx((welch, stats.t.sf(welch, freedom)), rel=1e-9)


@pytest.mark.parametrize("shape", [(12, 12), (14, 9), (9, 14)])
def test_a_planted_diagonal_is_found_and_a_planted_hole_is_not(shape):
    noise = np.random.default_rng(0).normal(0.3, 0.05, size=shape)
    bump = 0.2 * generalised_diagonal(*shape)
    ridge, hole = on_off_diagonal(noise + bump), on_off_diagonal(noise - bump)
    assert ridge.contrast == pytest.approx(0.2, abs=0.03)
    assert max(ridge.student_p, ridge.welch_p) < 1e-9
    assert hole.contrast == pytest.approx(-0.2, abs=0.03)
    assert min(hole.student_p, hole.welch_p) > 1 - 1e-9


def test_the_smallest_square_that_can_be_compared_has_two_layers_a_side():
    found = on_off_diagonal(np.array([[0.9, 0.3], [0.1, 0.7]]))
    assert (found.on_mean, found.off_mean) == pytest.approx((0.8, 0.2))
    assert (found.cells_on, found.cells_off) == (2, 2)


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (1, 6), (0, 0)])
def test_a_matrix_too_small_to_have_a_rest_is_refused(shape):
    with pytest.raises(ValueError, match=rf"^a {shape[0]} x {shape[1]} matrix is too small to compare its diagonal with the rest$"):
        on_off_diagonal(np.ones(shape))


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (1, 6)])
def test_means_of_a_matrix_without_a_rest_are_refused(shape):
    expected = rf"^every cell of a {shape[0]} x {shape[1]} matrix lies on its generalised diagonal$"
    with pytest.raises(ValueError, match=expected):
        diagonal_means(np.ones(shape))


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_matrix_of_equal_cells_has_a_contrast_of_zero_and_no_t(value):
    found = on_off_diagonal(np.full((4, 4), value))
    assert found.contrast == pytest.approx(0, abs=1e-15)
    assert all(math.isnan(number) for number in (found.student_t, found.student_p, found.welch_t, found.welch_p))


def test_two_blocks_of_one_model_with_itself_have_a_contrast_but_no_finite_t():
    found = on_off_diagonal(np.array([[1.0, 0.3], [0.3, 1.0]]))
    assert found.contrast == pytest.approx(0.7)
    assert (found.student_t, found.welch_t) == (math.inf, math.inf)


# --- the analysis -----------------------------------------------------------------------------------------------------------


def test_the_analysis_reads_blocks_only():
    full = np.full((7, 5), 99.0)  # rows: embed, five blocks, final_norm; columns: embed, three blocks, final_norm
    full[1:-1, 1:-1] = TALL
    chance = np.full((7, 5), 77.0)
    chance[1:-1, 1:-1] = 0.1 + 0.2 * generalised_diagonal(5, 3)
    found = asked(
        affinity_of(full, ["embed", *blocks(5), "final_norm"], ["embed", *blocks(3), "final_norm"], chance),
    )
    alone = on_off_diagonal(TALL)
    statistics = found.numbers
    assert {key: statistics[key] for key in vars(alone)} == vars(alone)
    assert statistics["contrast"] == alone.contrast
    assert (statistics["chance_on"], statistics["chance_off"]) == pytest.approx((0.3, 0.1))
    assert not {*found.table["layer"], *found.table["best_layer"]} & {"embed", "final_norm"}


RIDGE = 0.2 + 0.5 * np.exp(-6 * np.abs(np.arange(8)[:, None] - np.arange(8)) / 8)
MEETING = affinity_of(RIDGE + 0.3, blocks(8), blocks(8))  # as if each layer met itself


def test_the_headline_is_the_swap_margin_and_says_that_nothing_was_resampled():
    found = asked(affinity_of(RIDGE, blocks(8), blocks(8)))
    headline, margin = found.headline, swaps(RIDGE).swap_margin
    assert (headline.text, headline.value, headline.chance) == ("swap margin", float(margin), 0)
    assert (headline.ci_low, headline.ci_high, headline.p, headline.attainable_p) == (None, None, None, None)
    assert headline.sentence == (
        f"swap margin {margin:.3f} of mutual_knn, without an interval: in 100% of pairs of depths all four layers are more alike"
        " to the layer at their own depth than to the one at the other (the reverse in 0%)"
    )
    assert "random strings show a diagonal too" in headline.caution
    assert headline.sided == "two"


def test_chance_beside_the_raw_contrast_is_that_of_the_closed_form():
    chance = 0.1 + 0.05 * generalised_diagonal(5, 3)
    diagonal = asked(affinity_of(TALL, blocks(5), blocks(3), chance)).numbers
    assert diagonal["chance_on"] - diagonal["chance_off"] == pytest.approx(0.05)
    assert diagonal["generalised"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("matrix", "itself", "reason"),
    [
        (RIDGE, True, "both sides hold the same vectors, so that each layer is most alike to itself by construction"),
        (TALL, False, "the sides share 3 depths, and fewer than 6 make no headline"),
        (np.where(np.eye(8), np.nan, RIDGE), False, "the matrix has undefined cells"),
    ],
    ids=["itself", "few depths", "undefined"],
)
def test_where_there_is_no_headline_the_reason_is_given(matrix, itself, reason):
    headline = asked(affinity_of(matrix, blocks(len(matrix)), blocks(matrix.shape[1])), itself=itself).headline
    assert headline.sentence == f"no swap margin: {reason}"
    assert (headline.value, headline.p, headline.ci_low) == (None, None, None)


def test_the_same_vectors_under_another_name_are_no_finding():
    """A copy of a model, a revision that is the same, an edit that does nothing."""
    copied = asked(MEETING, same=blocks(8))
    assert copied.headline is not None
    assert copied.headline.value is None
    assert copied.headline.sentence.startswith("no swap margin: both sides hold the same vectors")
    assert copied.numbers["swap"]["itself"]


def test_layers_of_the_same_vectors_beside_others_are_named():
    """Layers before the first that was edited, or that training left frozen."""
    partly = asked(MEETING, same=["block_2", "block_1"])
    assert list(partly.warnings) == [
        "block_1, block_2: the same vectors on both sides, so that they are each other's partners by construction"
    ]
    assert partly.headline is not None
    assert partly.headline.value is not None
    assert not asked(MEETING).warnings


def test_equal_values_alone_do_not_make_layers_the_same():
    """Retrieval finds every item of a layer that is near, and a layer of b may be one of a of another depth."""
    found = asked(MEETING)
    assert not found.numbers["swap"]["itself"]


def test_strengths_that_rise_with_depth_on_both_sides_have_a_contrast_and_no_margin():
    rise = np.linspace(0.2, 1, 8)
    found = asked(resampled_items(np.outer(rise, rise), noise=0.0))
    diagonal = found.numbers
    assert diagonal["generalised"]["value"] > 0.05
    assert (found.headline.value, found.headline.p, diagonal["swap"]["kept_share"]) == (0, None, 0)
    assert "it has no interval and no p" in found.headline.sentence


def resampled_items(matrix: np.ndarray, noise: float) -> Affinity:
    """A matrix with what resampling its items gave, as if each left-out group had moved each cell by chance."""
    rng, (rows, columns) = np.random.default_rng(0), matrix.shape
    return replace(
        affinity_of(matrix, blocks(rows), blocks(columns)),
        null_draws=0.25 + 0.02 * rng.standard_normal((199, rows, columns)),
        left_out=matrix + noise * rng.standard_normal((20, rows, columns)),
        inference=Inference(permutations=199, groups=20, alpha=0.05, level=0.95, within_groups=False, by_group=False, block=1),
    )


def test_the_interval_and_p_of_the_margin_are_those_of_a_t_test_with_the_jackknifes_standard_error():
    affinity = resampled_items(RIDGE, noise=0.01)
    headline = asked(affinity).headline
    values = swaps(affinity.left_out).swap_margin
    se = math.sqrt(19 / 20 * ((values - values.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, 19) * se
    assert (headline.ci_low, headline.ci_high) == pytest.approx((headline.value - reach, headline.value + reach))
    assert headline.p == pytest.approx(2 * stats.t.sf(headline.value / se, 19))
    assert headline.p < 1e-6
    assert headline.attainable_p is None
    assert headline.sentence.startswith(f"layers at equal depth prefer each other by at least {headline.ci_low:.3f} of mutual_knn")
    assert "p < 0.001)" in headline.sentence


def test_an_interval_that_holds_0_is_told_as_nothing_shown_and_one_below_it_as_the_reverse():
    nothing = asked(resampled_items(np.random.default_rng(1).random((8, 8)), noise=0.1)).headline
    assert nothing.ci_low < 0 < nothing.ci_high
    assert nothing.sentence.startswith("no preference of layers for their own depth is shown (swap margin")
    reverse = asked(resampled_items(RIDGE[::-1], noise=0.01)).headline
    assert reverse.ci_high < 0
    assert reverse.sentence.startswith(f"layers prefer another depth than their own by at least {-reverse.ci_high:.3f}")


def test_a_share_has_an_interval_only_where_it_can_vary():
    full = asked(resampled_items(RIDGE, noise=0.001)).numbers["swap"]["net_share"]
    assert full == {"value": 1.0, "ci_low": None, "ci_high": None, "se": None, "p": None}
    half = RIDGE.copy()
    half[4:, 4:] = RIDGE[4:, 4:][::-1]
    spread = asked(resampled_items(half, noise=0.02)).numbers["swap"]["net_share"]
    assert spread["ci_low"] < spread["value"] < spread["ci_high"]
    assert 0 < spread["p"] < 1


def test_the_margin_by_depth_has_an_interval_at_each_depth_both_sides_have():
    matrix = np.random.default_rng(2).random((12, 8))
    curve = asked(resampled_items(matrix, noise=0.02)).numbers["swap"]["by_depth"]
    np.testing.assert_allclose(curve["depth"], np.arange(1, 9) / 8)
    assert np.mean(curve["margin"]) == pytest.approx(asked(affinity_of(matrix, blocks(12), blocks(8))).headline.value)
    assert all(low <= value <= high for low, value, high in zip(curve["ci_low"], curve["margin"], curve["ci_high"], strict=True))


def test_layers_that_share_one_depth_have_no_swaps_but_their_contrast():
    affinity = replace(affinity_of(np.eye(2) + 0.1, blocks(2), blocks(2)), depth_b=[0.1, 0.5])
    found = asked(affinity)
    assert found.numbers["swap"]["depths"] == 1
    assert found.numbers["swap"]["margin"] is None
    assert found.headline.sentence == "no swap margin: the sides share 1 depths, and fewer than 6 make no headline"


def test_best_matches_of_both_sides_are_the_maxima_of_rows_and_columns():
    matrix = np.array([[0.9, 0.2], [0.7, 0.8], [0.1, 0.85], [0.3, 0.4]])
    table = asked(affinity_of(matrix, blocks(4), blocks(2))).table
    assert table.drop(columns=["monotone_layer", "monotone_depth"]).to_dict("records") == [
        {"side": "a", "layer": "block_1", "depth": 0.25, "best_layer": "block_1", "best_depth": 0.5, "best_affinity": 0.9},
        {"side": "a", "layer": "block_2", "depth": 0.5, "best_layer": "block_2", "best_depth": 1.0, "best_affinity": 0.8},
        {"side": "a", "layer": "block_3", "depth": 0.75, "best_layer": "block_2", "best_depth": 1.0, "best_affinity": 0.85},
        {"side": "a", "layer": "block_4", "depth": 1.0, "best_layer": "block_2", "best_depth": 1.0, "best_affinity": 0.4},
        {"side": "b", "layer": "block_1", "depth": 0.5, "best_layer": "block_1", "best_depth": 0.25, "best_affinity": 0.9},
        {"side": "b", "layer": "block_2", "depth": 1.0, "best_layer": "block_3", "best_depth": 0.75, "best_affinity": 0.85},
    ]


def test_the_analysis_refuses_a_model_of_one_block():
    with pytest.raises(ValueError, match=r"^a 3 x 1 matrix is too small to compare its diagonal with the rest$"):
        asked(affinity_of(np.ones((4, 2)), ["embed", *blocks(3)], ["embed", "block_1"]))


# --- with inference ---------------------------------------------------------------------------------------------------------


@quick
@given(rows=st.integers(2, 7), columns=st.integers(2, 7), seed=st.integers(0, 10_000))
def test_the_monotone_match_is_the_best_of_all_that_never_run_backwards(rows, columns, seed):
    matrix = np.random.default_rng(seed).random((rows, columns))
    found = monotone_match(matrix)
    assert (np.diff(found) >= 0).all()
    paths = combinations_with_replacement(range(columns), rows)
    best = max(matrix[np.arange(rows), list(path)].sum() for path in paths)
    assert matrix[np.arange(rows), found].sum() == pytest.approx(best)
    assert 0 < monotone_share(matrix) <= 1


def test_a_matrix_whose_best_matches_never_run_backwards_is_wholly_monotone():
    assert monotone_share(np.eye(6) + 0.1) == 1
    assert monotone_share(np.eye(6)[::-1] + 0.1) < 0.6


def test_the_proportional_band_holds_the_same_share_of_any_shape():
    depths = {size: [(i + 1) / size for i in range(size)] for size in (16, 32, 80)}
    shares = [proportional_band(depths[a], depths[b], 0.1).mean() for a, b in ((32, 32), (80, 16), (16, 32))]
    assert max(shares) - min(shares) < 0.03
    np.testing.assert_array_equal(proportional_band([0.5, 1.0], [0.4, 0.5, 1.0], 0.1), drawn("##. ..#"))


def test_the_contrast_of_many_matrices_is_that_of_each():
    matrices = np.random.default_rng(0).random((4, 6, 3))
    on = generalised_diagonal(6, 3)
    np.testing.assert_allclose(contrast(matrices, on), [on_off_diagonal(matrix).contrast for matrix in matrices])


def test_a_contrast_needs_cells_on_both_sides():
    for on, which in ((np.ones((2, 3), bool), "every"), (np.zeros((2, 3), bool), "no")):
        with pytest.raises(ValueError, match=rf"^{which} cell of a 2 x 3 matrix lies on its diagonal, so there"):
            contrast(np.ones((2, 3)), on)


def test_a_clear_diagonal_has_the_smallest_shift_p_there_is():
    matrix, on = np.eye(10), generalised_diagonal(10, 10)
    assert circular_shift_p(matrix, on, axis=0) == pytest.approx(1 / 10)
    assert circular_shift_p(np.ones((10, 10)), on, axis=1) == 1


def test_layer_permutations_find_a_planted_diagonal_and_not_noise():
    rng, on = np.random.default_rng(0), generalised_diagonal(12, 9)
    noise = rng.random((12, 9))
    assert layer_permutation_p(noise + on, on, 99, rng) == 0.01
    assert np.mean([layer_permutation_p(rng.random((12, 9)), on, 19, rng) <= 0.05 for _ in range(200)]) == pytest.approx(
        0.05, abs=0.04
    )


def test_equal_distances_of_depths_tie_whatever_their_floats():
    """FAULTS: 30 x 18 depths have 86 different distances, and 199 as floats."""
    a, b = np.arange(1, 31) / 30, np.arange(1, 19) / 18
    exact = np.array([[abs(Fraction(i, 30) - Fraction(j, 18)) for j in range(1, 19)] for i in range(1, 31)])
    assert (len(set(exact.ravel())), len(np.unique(np.abs(a[:, None] - b)))) == (86, 199)
    matrix = np.random.default_rng(0).random((30, 18))
    assert cell_depth_rank(matrix, a, b) == pytest.approx(stats.spearmanr(-exact.astype(float).round(9).ravel(), matrix.ravel())[0])
    assert cell_depth_rank(-exact.astype(float).round(9), a, b) == pytest.approx(1, abs=1e-15)


def test_a_matrix_that_is_constant_but_for_rounding_or_undefined_somewhere_has_no_ranks():
    a, b = np.arange(1, 6) / 5, np.arange(1, 5) / 4
    nearly = 0.4 + 1e-9 * np.random.default_rng(0).random((5, 4))
    undefined = np.random.default_rng(0).random((5, 4))
    undefined[2, 2] = np.nan
    assert np.isnan([cell_depth_rank(matrix, a, b) for matrix in (np.full((5, 4), 0.4), nearly, undefined)]).all()


def test_the_interval_of_a_bounded_number_stays_in_its_bounds():
    """FAULTS: monotone shares of up to 1.034."""
    rng = np.random.default_rng(0)
    matrix = 0.9 * np.eye(6) + 0.05
    affinity = replace(
        affinity_of(matrix, blocks(6), blocks(6)),
        bounds=(0.0, 1.0),
        left_out=np.clip(matrix + 0.4 * rng.standard_normal((20, 6, 6)), 0, 1),
        inference=Inference(permutations=0, groups=20, alpha=0.05, level=0.95, within_groups=False, by_group=False, block=1),
    )
    found = asked(affinity)
    summary = found.numbers
    assert summary["monotone_share_a"]["ci_high"] == summary["monotone_share_b"]["ci_high"] == 1
    assert -1 <= summary["generalised"]["ci_low"] < summary["generalised"]["ci_high"] <= 1
    assert -1 <= summary["swap"]["margin"]["ci_low"] < summary["swap"]["margin"]["ci_high"] <= 1
    assert found.table["best_affinity_ci_high"].max() <= 1
    assert found.table["best_affinity_ci_low"].min() >= 0


def test_rank_correlations_with_depth_are_scipys():
    rng = np.random.default_rng(1)
    a, b = np.arange(1, 8) / 7, np.arange(1, 5) / 4
    matrix = rng.random((7, 4)) - np.abs(a[:, None] - b)
    assert best_match_depth_rank(matrix, a, b) == pytest.approx(stats.spearmanr(a, b[matrix.argmax(axis=1)]).statistic)
    nearness = -np.abs(a[:, None] - b).ravel().round(9)  # equal distances are equal
    assert cell_depth_rank(matrix, a, b) == pytest.approx(stats.spearmanr(nearness, matrix.ravel()).statistic)


def test_with_draws_and_intervals_every_statistic_says_how_sure_it_is():
    matrix = 0.2 + 0.3 * generalised_diagonal(8, 6) + 0.02 * np.random.default_rng(0).random((8, 6))
    found = asked(resampled_items(matrix, noise=0.01))
    diagonal = found.numbers
    raw = diagonal["generalised"]
    assert raw["ci_low"] < raw["value"] < raw["ci_high"]
    assert raw["p"] == raw["attainable_p"] == 1 / 200
    assert diagonal["band"]["ci_low"] < diagonal["band"]["value"] < diagonal["band"]["ci_high"]
    assert diagonal["monotone_share_a"]["value"] <= 1
    assert {"best_depth_ci_low", "monotone_depth_ci_high", "best_affinity_ci_low"} <= set(found.table.columns)
    assert (found.table["best_affinity_ci_low"] < found.table["best_affinity"]).all()
