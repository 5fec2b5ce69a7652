"""What edits and skipped blocks cost, against the same done at random: runs made by hand, and a sweep of a tiny model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from drawing import drawn_by, illegible
from runs_by_hand import RunByHand
from scipy import stats

import layeratlas
from layeratlas.errors import Undefined
from layeratlas.report.studies.interventions import interventions_figure
from layeratlas.runs.reading import Run
from layeratlas.statistics.control_draws import against_draws, pooled_against_draws
from layeratlas.studies import Interventions, Sweep

STUDY = Interventions(random="random_directions", level=0.95, reorders=999, least_items=5, folds=5, seed=0)
RNG = np.random.default_rng(0)
PLAIN_NLL = RNG.uniform(2, 4, 30)


def run_of(
    change: Any, *, job: int = 0, same_texts: bool = True, nll: bool = True, header: Any = None, layers: int = 0, **model: Any
) -> Run:
    """Model a is model b with these fields; its texts cost `change` more nats per token."""
    plain = {"id": "owner/ant", "edit": None, "edit_blocks": None, "edit_positions": "all", "skip_blocks": []}
    side = {"language": "en", "control": None}
    result = {
        "a": side | {"edit": header},
        "b": side,
        "dataset": {"name": "texts", "same_texts": same_texts},
        "provenance": {"config": {"model_a": plain | model, "model_b": plain}},
    }
    scores = {"nll_per_token_a": PLAIN_NLL + change, "nll_per_token_b": PLAIN_NLL}
    names = [f"block_{k}" for k in range(1, layers + 1)]
    arrays = {"layers_b": np.array(names), "depth_b": np.arange(1, layers + 1) / layers} if layers else {}
    return RunByHand(Path(str(job)), result, arrays, pd.DataFrame(scores if nll else {"id": [0]}))


def asked(*runs: Run) -> Any:
    return STUDY(Sweep(runs, pd.DataFrame(), [], []))


def edits(own: float, draws: list[float], block: int) -> list[Run]:
    named = {"span": own} | {f"random_directions_1_draw_{i}": value for i, value in enumerate(draws)}
    return [run_of(value, edit=f"some/{name}.safetensors", edit_blocks=[block]) for name, value in named.items()]


def test_a_cost_is_the_mean_of_paired_differences_with_the_interval_of_a_paired_t_test():
    change = RNG.normal(0.3, 0.2, 30)
    (row,) = asked(run_of(change, edit="span.safetensors", edit_blocks=[7, 2])).table.to_dict("records")
    expected = stats.ttest_rel(PLAIN_NLL + change, PLAIN_NLL).confidence_interval(0.95)
    np.testing.assert_allclose([row["value"], row["ci_low"], row["ci_high"]], [change.mean(), *expected])
    assert (row["model"], row["edit"], row["blocks"], row["items"], row["is_control"]) == ("ant", "span", "2,7", 30, False)


def test_skipped_blocks_are_an_intervention_too():
    (row,) = asked(run_of(0.5, skip_blocks=[3])).table.to_dict("records")
    assert (row["edit"], row["blocks"], row["positions"]) == ("skipped", "3", "")


def test_a_run_in_which_nothing_is_edited_or_texts_differ_or_both_sides_are_edited_asks_nothing():
    assert asked(run_of(0.5)) is None
    assert asked(run_of(0.5, edit="span", same_texts=False)) is None
    assert asked(run_of(0.5, edit="span", id="owner/bee")) is None


def test_runs_without_likelihoods_are_named():
    found = asked(run_of(0, edit="span", nll=False), run_of(1, edit="span"))
    assert found.warnings == ["1 runs of an edited model hold no likelihoods; extract.nll=true keeps them"]
    assert len(found.table) == 1
    assert asked(run_of(0, edit="span", nll=False)).numbers == {"edits": 0}


def test_draws_are_those_that_a_files_header_says_and_p_is_against_each_kind():
    said = [
        ({"what": "span", "rank": 1, "sha256": "0"}, 0.5),
        ({"what": "other", "rank": 2, "sha256": "1"}, 0.5),
        *(({"what": f"r{i}", "rank": 1, "matched": "rank"}, 0.1) for i in range(5)),
        *(({"what": f"s{i}", "rank": 2, "matched": "rank"}, 0.9) for i in range(3)),
        *(({"what": f"e{i}", "rank": 1, "matched": "energy", "control_of": "span"}, 0.6) for i in range(4)),
        ({"what": "f", "rank": 1, "matched": "energy", "control_of": "other"}, 0.1),
    ]
    runs = [run_of(value, edit="any", edit_blocks=[1], header=header) for header, value in said]
    own = asked(*runs).table.set_index("edit")
    columns = ["draws", "p", "energy_draws", "energy_p"]
    assert own.loc["span", columns].tolist() == pytest.approx([5, 1 / 6, 4, 1])
    assert own.loc["other", columns].tolist() == pytest.approx([3, 1, 1, 1 / 2])
    assert own.loc["r0", "is_control"]
    assert np.isnan(own.loc["r0", "p"])


def test_a_shift_stands_beside_its_own_random_shifts():
    shift = run_of(0.5, edit="any", edit_blocks=[1], header={"what": "shift_en_to_de", "rank": 0})
    header = {"rank": 0, "matched": "length"}
    draws = [
        run_of(v, edit="any", edit_blocks=[1], header=header | {"what": f"r{i}", "control_of": of})
        for i, (of, v) in enumerate([("shift_en_to_de", 0.1), ("shift_en_to_de", 0.2), ("shift_de_to_en", 0.9)])
    ]
    own = asked(shift, *draws).table.set_index("edit").loc["shift_en_to_de"]
    assert (own["draws"], own["p"]) == (2, pytest.approx(1 / 3))


def test_files_of_one_name_that_differ_are_told():
    runs = [run_of(0.5, edit="any", edit_blocks=[k], header={"what": "span", "rank": 1, "sha256": str(k)}) for k in (1, 2)]
    assert asked(*runs).warnings[0].startswith("span: runs of 2 different files of this name are read as one edit")


def test_thirds_of_the_depth_are_means_of_their_places_over_the_same_items():
    rng = np.random.default_rng(5)
    changes = {k: rng.normal(k / 10, 0.1, 30) for k in (1, 2, 3, 6)}
    found = asked(*(run_of(change, edit="span", edit_blocks=[k], layers=6) for k, change in changes.items()))
    thirds = found.parts["depths"].set_index("third")
    assert thirds["places"].to_dict() == {"first third": 2, "middle third": 1, "last third": 1}
    both = (changes[1] + changes[2]) / 2
    expected = stats.ttest_1samp(both, 0).confidence_interval(0.95)
    np.testing.assert_allclose(thirds.loc["first third", ["value", "ci_low", "ci_high"]].astype(float), [both.mean(), *expected])


def test_the_p_of_an_edit_counts_the_draws_at_its_own_place_alone():
    found = asked(*edits(0.5, [0.1, 0.6, 0.2, 0.3], block=1), *edits(0.5, [0.1, 0.2], block=2), *edits(0.2, [], block=3))
    own = found.table[~found.table["is_control"]].set_index("blocks")
    assert own["p"].tolist()[:2] == [pytest.approx(2 / 5), pytest.approx(1 / 3)]
    assert own["attainable_p"].tolist()[:2] == [pytest.approx(1 / 5), pytest.approx(1 / 3)]
    assert np.isnan(own["p"]["3"])
    assert own["draws"].tolist() == [4, 2, 0]


def test_over_places_a_cost_that_is_always_the_largest_is_found_and_said():
    runs = [run for block in range(1, 7) for run in edits(0.5 + 0.1 * block, [0.01, 0.02, 0.03, 0.02, 0.01], block)]
    found = asked(*runs)
    (row,) = found.parts["pooled"].to_dict("records")
    assert row["p"] < 0.005
    assert (row["places"], row["draws"], row["value"]) == (6, 5, pytest.approx(0.85))
    assert any(sentence.startswith("ant, en: span costs 0.850 over 6 places") for sentence in found.sentences)


def test_without_draws_nothing_is_compared():
    with pytest.raises(Undefined, match="no draw"):
        against_draws(1.0, np.array([]))
    with pytest.raises(Undefined, match="no draw"):
        pooled_against_draws(np.ones(3), np.ones((3, 0)), 9, np.random.default_rng(0))


def test_equal_costs_give_p_one():
    assert against_draws(0.3, np.full(5, 0.3)) == 1
    assert pooled_against_draws(np.full(4, 0.3), np.full((4, 5), 0.3), 99, np.random.default_rng(0)) == 1


@pytest.mark.parametrize("draws", [5, 10])
def test_the_pooled_p_holds_its_level_where_the_edit_is_one_draw_more(draws):
    """Places differ in their mean and spread, as blocks do: 400 worlds."""
    rng = np.random.default_rng(1)
    ps = []
    for _ in range(400):
        place = rng.normal(size=(6, 1)) + rng.exponential(size=(6, 1)) * rng.standard_t(4, size=(6, draws + 1))
        ps.append(pooled_against_draws(place[:, 0], place[:, 1:], 199, rng))
    assert 0.025 <= np.mean(np.array(ps) <= 0.05) <= 0.08


@pytest.mark.pictures
def test_the_picture_has_a_line_per_edit_and_all_draws():
    runs = [run for block in (1, 2, 10) for run in edits(0.1 * block, [0.01, 0.02], block)]
    findings = asked(*runs)
    figure = interventions_figure(findings.table)
    assert illegible(figure) == []
    (chart,) = drawn_by("interventions", findings)
    span, random = chart["series"]
    assert (chart["ticks"], len(random["y"])) == (["1", "2", "10"], 6)
    assert span["y"] == findings.table[~findings.table["is_control"]]["value"].tolist()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "10"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["random directions, same rank", "span"]
    assert len(axes.lines[0].get_xdata()) == 6


@pytest.mark.slow
def test_a_sweep_over_edits_of_a_tiny_model_ends_with_their_costs(command, tiny, tmp_path, checkpoint_folder):
    generator = torch.Generator().manual_seed(0)
    names = ("span", "random_directions_1_draw_1", "random_directions_1_draw_2")
    for name in names:
        basis = torch.linalg.qr(torch.randn(32, 1, generator=generator)).Q.contiguous()
        parts = {"A": basis, "B": basis.clone(), "m": torch.zeros(32), "v": torch.zeros(32)}
        tensors = {f"block_{k}.{part}": array.clone() for k in (1, 2) for part, array in parts.items()}
        safetensors.torch.save_file(tensors, tmp_path / f"{name}.safetensors")
    files = ",".join(str(tmp_path / f"{name}.safetensors") for name in names)
    same = [f"model_b.id={checkpoint_folder('llama')}", "extract.nll=true", "study=[interventions]"]
    assert command("-m", *tiny, *same, f"model_a.edit={files}", "model_a.edit_blocks=[1],[2]") == 0
    table = pd.read_parquet(tmp_path / "sweep" / "tables" / "interventions.parquet")
    assert len(table) == 6
    assert table["is_control"].sum() == 4
    assert (table["value"] != 0).all()
    called = {run.result["a"]["model"] for run in layeratlas.read_sweep(tmp_path / "sweep")}
    assert "tiny-llama+span@1" in called
