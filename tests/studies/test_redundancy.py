"""Blocks that are like their neighbours against what they cost to skip: runs made by hand, in which the answer is known."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn_by, illegible
from runs_by_hand import RunByHand

from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.metrics import CKALinear
from layeratlas.report.views import of_study
from layeratlas.runs.reading import Run
from layeratlas.studies import Redundancy, Sweep
from layeratlas.studies.opened import Opened

BLOCKS, N = 10, 40
STUDY = Redundancy(alike=0.9, level=0.95, groups=20, draws=999, least_items=5, seed=0)
LAYERS = ["embed", *(f"block_{k}" for k in range(1, BLOCKS + 1)), "final_norm"]
DEPTHS = [np.nan, *(k / BLOCKS for k in range(1, BLOCKS + 1)), np.nan]
PLAIN = {"id": "owner/ant", "edit": None, "edit_blocks": None, "edit_positions": "all", "skip_blocks": []}

NOTHING = Sweep([], pd.DataFrame(), [], [])


def steps(seed: int = 0) -> np.ndarray:
    """How far each block moves the stream: what it costs to skip goes with it."""
    return np.random.default_rng(seed).uniform(0.05, 1.0, BLOCKS)


def matrix_of(moves: np.ndarray) -> np.ndarray:
    """A model's layers with each other, which fall apart as blocks move them."""
    place = np.concatenate([[0.0], np.cumsum(moves), [moves.sum() + 0.01]])
    return np.exp(-np.abs(place[:, None] - place))


def run_of(job: int, change: Any, matrix: np.ndarray | None = None, *, ids: str = "i", warnings=(), **model: Any) -> Run:
    side = {"language": "en", "control": None}
    result = {
        "a": side,
        "b": side,
        "metric": {"name": "cka_linear"},
        "warnings": list(warnings),
        "dataset": {"name": "texts", "same_texts": True, "fingerprint": "f"},
        "provenance": {"config": {"model_a": PLAIN | model, "model_b": PLAIN}},
    }
    items = pd.DataFrame(
        {"id": [f"{ids}{i}" for i in range(N)], "nll_per_token_a": 3.0 + change, "nll_per_token_b": np.full(N, 3.0)}
    )
    arrays = {"layers_b": np.array(LAYERS), "depth_b": np.array(DEPTHS)}
    if matrix is not None:
        arrays |= {"affinity": matrix, "chance": np.zeros_like(matrix), "layers_a": np.array(LAYERS), "depth_a": np.array(DEPTHS)}
    return RunByHand(Path(str(job)), result, arrays, items)


def skipped(cost: np.ndarray, seed: int = 1) -> list[Run]:
    noise = np.random.default_rng(seed)
    return [run_of(k, value + noise.normal(0, 0.02, N), skip_blocks=[k]) for k, value in enumerate(cost, 1)]


def asked(*runs: Run, **options: Any) -> Any:
    return STUDY(Sweep(runs, pd.DataFrame(), [], [], **options))


def test_where_cost_goes_with_how_far_a_block_moves_the_stream_the_order_of_similarity_is_the_cheapest():
    moves = steps()
    found = asked(run_of(0, np.zeros(N), matrix_of(moves)), *skipped(moves))
    agreed = found.parts["agreement"].set_index("order")
    assert agreed.loc["similarity", "value"] > 0.9
    assert agreed.loc["similarity", "ci_low"] > agreed.loc["similarity", "random_high"]
    assert abs(agreed.loc["last_first", "value"]) < 0.8
    difference = agreed.loc["similarity - last_first"]
    assert difference["value"] == pytest.approx(agreed.loc["similarity", "value"] - agreed.loc["last_first", "value"])
    assert difference[["random_low", "random_high"]].isna().all()  # random orders are no chance level of a difference
    (said,) = (sentence for sentence in found.sentences if "similarity - last_first" in sentence)
    assert "difference of their rank correlations" in said
    assert "random orders" not in said
    predicted = found.parts["prediction"].set_index(["affinity", "given"])
    assert predicted.loc[("with_input", "depth, depth²"), "ci_high"] < -0.8  # what is alike costs little
    blocks = found.table.set_index("block")
    assert (blocks["removed_by_similarity"] - blocks["removed_by_cost"]).abs().max() <= 1
    np.testing.assert_allclose(blocks["value"], moves, atol=0.02)
    assert ((blocks["ci_low"] <= moves) & (moves <= blocks["ci_high"])).mean() >= 0.8
    assert found.sentences[0].startswith(f"ant texts en  cka_linear: similarity would remove block {np.argmin(moves) + 1} first")


def test_where_cost_has_nothing_to_do_with_similarity_intervals_hold_zero_or_say_the_opposite():
    moves = steps()
    cost = np.random.default_rng(9).permutation(np.linspace(0.1, 1.0, BLOCKS))
    found = asked(run_of(0, np.zeros(N), matrix_of(moves)), *skipped(cost))
    agreed = found.parts["agreement"].set_index("order")
    assert agreed.loc["similarity", "random_low"] < agreed.loc["similarity", "value"] < agreed.loc["similarity", "random_high"]


def test_neighbours_of_which_every_two_are_alike_are_a_group_and_their_measured_costs_stand_beside_them():
    moves = np.full(BLOCKS, 0.8)
    moves[4:7] = 0.01  # blocks 5, 6 and 7 hardly move the stream
    found = asked(run_of(0, np.zeros(N), matrix_of(moves)), *skipped(moves))
    blocks = found.table.set_index("block")
    assert (blocks.loc[[5, 6, 7], "alike_group"] == "block_4 to block_7").all()
    assert blocks.loc[[1, 2, 3, 8, 9], "alike_group"].isna().all()
    assert set(blocks.nsmallest(3, "removed_by_similarity").index) == {5, 6, 7}


def test_orders_of_removal_add_up_single_costs_and_hold_what_was_measured_together():
    moves = steps()
    first = sorted(np.argsort(moves)[:2] + 1)
    together = run_of(99, np.full(N, 7.0), skip_blocks=[int(k) for k in first])
    found = asked(run_of(0, np.zeros(N), matrix_of(moves)), *skipped(moves), together)
    orders = found.parts["orders"].set_index(["order", "removed"])
    assert orders.loc[("similarity", 2), "measured"] == pytest.approx(7.0)
    assert orders.loc[("similarity", BLOCKS), "sum_of_costs"] == pytest.approx(moves.sum(), abs=0.1)
    assert orders.loc[("random, on average", 3), "sum_of_costs"] == pytest.approx(3 * moves.mean(), abs=0.05)
    assert orders.loc[("last_first", 1), "blocks"] == str(BLOCKS)
    assert orders.loc[("cheapest_first", 4), "sum_of_costs"] <= orders.loc[("last_first", 4), "sum_of_costs"]


def test_a_metric_that_is_saturated_is_said_so_with_the_blocks_and_the_reason():
    matrix = matrix_of(np.full(BLOCKS, 0.3))
    matrix[7:, 7:] = 2.557
    np.fill_diagonal(matrix, 1.0)
    doubt = "metric cka_linear, side a, block_2 (12%), block_3: a kernel that sees no neighbours"
    found = asked(run_of(0, np.zeros(N), matrix, warnings=[doubt]), *skipped(steps()))
    blocks = found.table.set_index("block")
    assert (blocks.loc[[7, 8, 9, 10], "saturated"] == "more alike to another layer than to itself").all()
    assert (blocks.loc[[2, 3], "saturated"] == "a kernel that sees no neighbours").all()
    assert blocks.loc[[4, 5], "saturated"].isna().all()
    assert any("block_7, block_8" in warning and "the metric is saturated there" in warning for warning in found.warnings)


def test_the_cost_of_an_edit_is_predicted_too_and_draws_of_its_control_are_none_of_its_blocks():
    moves = steps()
    edits = [run_of(20 + k, np.full(N, float(moves[k - 1])), edit="span", edit_blocks=[k]) for k in range(1, 9)]
    draws = [run_of(40 + k, np.full(N, 5.0), edit="random_directions_1_draw_1", edit_blocks=[k]) for k in range(1, 9)]
    found = asked(run_of(0, np.zeros(N), matrix_of(moves)), *skipped(moves), *edits, *draws)
    predicted = found.parts["prediction"].set_index(["intervention", "affinity", "given"])
    assert set(predicted.index.get_level_values(0)) == {"skipped", "span"}
    assert predicted.loc[("span", "with_input", ""), "value"] < -0.9
    assert predicted.loc[("span", "with_input", ""), "blocks"] == 8


def test_without_the_vectors_intervals_are_of_the_costs_alone_which_is_said():
    found = asked(run_of(0, np.zeros(N), matrix_of(steps())), *skipped(steps()))
    assert found.warnings[0].startswith("intervals are of the costs alone, affinities are taken as they are: 0: its vectors")


def test_with_the_vectors_both_are_computed_anew_over_the_items_that_stay():
    generator = torch.Generator().manual_seed(0)
    layers, x = {}, torch.randn(N, 16, generator=generator)
    for name, move in zip(LAYERS, [0.0, *steps(), 0.01], strict=True):
        x = x + move * torch.randn(N, 16, generator=generator)
        layers[name] = x
    signer = Signer(CKALinear(), torch.device("cpu"))
    side = Activations(layers, BLOCKS)
    affinity = compare(signer, side, side)
    own = run_of(0, np.zeros(N), affinity.matrix)
    fixed = asked(replace(own), *skipped(steps()))
    opened = asked(own, *skipped(steps()), opener=lambda run: Opened(side, side, signer))
    wide, narrow = (found.parts["agreement"].set_index("order").loc["similarity"] for found in (opened, fixed))
    assert wide["value"] == narrow["value"]
    assert wide["ci_high"] - wide["ci_low"] > narrow["ci_high"] - narrow["ci_low"]
    assert not opened.warnings


def test_what_is_missing_is_said_in_one_line():
    assert asked(run_of(0, np.zeros(N), matrix_of(steps()))) is None
    alone = asked(*skipped(steps()))
    assert alone.table is None
    assert "no run compares this model with itself on these texts" in alone.warnings[0]
    other = asked(run_of(0, np.zeros(N), matrix_of(steps()), ids="j"), *skipped(steps()))
    assert any("has other items than those that skip its blocks" in warning for warning in other.warnings)
    without_embed = run_of(0, np.zeros(N), matrix_of(steps()))
    without_embed.arrays.update({name: without_embed.arrays[name][1:] for name in ("layers_a", "depth_a")})
    without_embed.arrays.update({name: without_embed.arrays[name][1:, 1:] for name in ("affinity", "chance")})
    assert any("has no embed; layers=all has them" in warning for warning in asked(without_embed, *skipped(steps())).warnings)


@pytest.fixture(scope="module")
def drawable():
    """Blocks of which the second costs far more than the others, and a run that skips two at once."""
    cost = steps()
    cost[1] = 20.0
    together = run_of(90, np.full(N, 0.7), skip_blocks=[9, 10])
    return asked(run_of(0, np.zeros(N), matrix_of(steps())), *skipped(cost), together)


@pytest.mark.pictures
def test_each_panel_of_the_picture_can_be_read_in_a_column(drawable):
    ((name, figure),) = of_study("redundancy", None)[0].figures(NOTHING, drawable.tables("redundancy"))
    assert name == "redundancy"
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:3] == ["block skipped", "affinity with its input", "blocks removed"]
    assert [axes.get_yscale() for axes in figure.axes[:3]] == ["log", "log", "linear"]
    assert illegible(figure) == []


@pytest.mark.pictures
def test_numbers_of_near_blocks_do_not_cover_each_other(drawable):
    ((_, figure),) = of_study("redundancy", None)[0].figures(NOTHING, drawable.tables("redundancy"))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[1].texts]
    assert len(boxes) >= BLOCKS // 2
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_two_metrics_have_a_picture_each():
    runs = [run_of(0, np.zeros(N), matrix_of(steps())), *skipped(steps())]
    other = run_of(90, np.zeros(N), matrix_of(steps(1)))
    other.result["metric"] = {"name": "rsa"}
    tables = asked(*runs, other).tables("redundancy")
    drawn = dict(of_study("redundancy", None)[0].figures(NOTHING, tables))
    assert list(drawn) == ["redundancy/ant_texts_en_cka_linear", "redundancy/ant_texts_en_rsa"]
    assert len(drawn_by("redundancy", asked(*runs, other))) == 10


def test_the_charts_hold_what_the_study_found(drawable):
    cost, against, orders, agreed, predicted = drawn_by("redundancy", drawable)
    table, parts = drawable.table, drawable.parts
    assert cost["logarithmic"]
    assert cost["ticks"] == [str(k) for k in range(1, BLOCKS + 1)]
    for chart in (cost, against):
        (series,) = chart["series"]
        assert (series["y"], series["low"]) == (table["value"].tolist(), table["ci_low"].tolist())
    assert against["series"][0]["x"] == table["with_input"].tolist()
    names = ["by similarity", "last first", "at random, on average", "cheapest first", "measured together"]
    assert [one["name"] for one in orders["series"]] == names
    last_first = parts["orders"].query("order == 'last_first'")
    assert orders["series"][1]["y"] == last_first["sum_of_costs"].tolist()
    assert orders["series"][4]["y"] == pytest.approx([0.7])
    assert agreed["series"][0]["y"] == parts["agreement"]["value"].tolist()
    assert agreed["series"][1]["low"][:2] == parts["agreement"]["random_low"].tolist()[:2]
    assert np.isnan(agreed["series"][1]["low"][2])  # random orders are no chance level of a difference
    assert [one["name"] for one in predicted["series"]] == ["as it is", "given depth, depth²"]
    assert predicted["series"][0]["y"] == parts["prediction"].query("given == ''")["value"].tolist()


@pytest.mark.parametrize("cost", [steps(), np.append(steps()[1:] * 100, -0.1)])
def test_costs_of_one_size_or_below_0_have_no_logarithmic_axis(cost):
    found = asked(run_of(0, np.zeros(N), matrix_of(steps())), *skipped(cost))
    assert [chart["logarithmic"] for chart in drawn_by("redundancy", found)] == [False] * 5


@pytest.mark.nightly
def test_intervals_of_agreement_hold_the_truth_of_the_texts_in_general():
    """400 worlds whose costs are known without noise of items: how often the interval holds the correlation of the true costs."""
    held = []
    for seed in range(400):
        moves = steps(seed)
        cost = moves + np.random.default_rng(seed).normal(0, 0.3, BLOCKS)
        noise = np.random.default_rng([1, seed])
        runs = [run_of(k, value + noise.normal(0, 0.5, N), skip_blocks=[k]) for k, value in enumerate(cost, 1)]
        found = replace(STUDY, draws=19)(Sweep([run_of(0, np.zeros(N), matrix_of(moves)), *runs], pd.DataFrame(), [], []))
        row = found.parts["agreement"].set_index("order").loc["similarity"]
        order = np.argsort(np.argsort(-found.table["with_input"].to_numpy()))
        truth = pd.Series(order).corr(pd.Series(cost), method="spearman")
        held.append(row["ci_low"] - 1e-9 <= truth <= row["ci_high"] + 1e-9)
    print(np.mean(held))
    assert np.mean(held) >= 0.9
