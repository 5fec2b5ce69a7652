"""The analysis `edits` on a made-up world: which files it makes, what they say of themselves, and what holds of their energies."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawing import drawn_of_run, illegible
from meeting_worlds import World, inferring
from safetensors import safe_open

import layeratlas
from layeratlas.analyses import Edits
from layeratlas.analyses.edit_files import hash_of
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import RetrievalAt1
from layeratlas.report.analyses.edits import edits_figure
from layeratlas.statistics.removals import BetweenLanguages, LanguageMeans, LeadingComponents, LeastSquares

REMOVALS = (LeastSquares(), LanguageMeans(), BetweenLanguages(rank=1), LeadingComponents(rank=1))
WORLD = World(strengths=(0.0, 3.0), n=60, offset=1.0)


def edits(**options) -> Edits:
    return Edits(**({"removals": list(REMOVALS), "draws": 5, "seed": 0} | options))


@pytest.fixture(scope="module")
def found():
    return edits()(WORLD.comparison(0, inferring(0)))


def test_there_is_a_file_for_each_definition_each_shift_and_each_draw_of_their_controls(found):
    own = {
        "least_squares_1",
        "language_means_1",
        "between_languages_1",
        "leading_components_1_side_a",
        "leading_components_1_side_b",
    }
    shifts = {"shift_en_to_de", "shift_de_to_en"}
    draws = {f"random_directions_1_draw_{i}" for i in range(1, 6)}
    draws |= {f"random_{shift}_draw_{i}" for shift in shifts for i in range(1, 6)}
    draws |= {f"random_energy_of_{name}_draw_{i}" for name in own for i in range(1, 6)}
    assert set(found.tensors) == own | shifts | draws
    assert set(found.table["layer"]) == {"block_1", "block_2"}


def test_draws_of_the_same_energy_hold_it_within_a_thousandth_and_are_as_many_as_are_asked_for(found):
    energies = found.table.set_index(["edit", "layer"])["energy"]
    draws = found.table[found.table["matched"] == "energy"]
    wanted = np.array([energies[name, layer] for name, layer in zip(draws["control_of"], draws["layer"], strict=True)])
    np.testing.assert_allclose(draws["energy"], wanted, rtol=1e-3)
    assert (draws.groupby(["control_of", "layer"]).size() == 5).all()
    shifts = found.table[found.table["matched"] == "length"]
    wanted = np.array([energies[name, layer] for name, layer in zip(shifts["control_of"], shifts["layer"], strict=True)])
    np.testing.assert_allclose(shifts["energy"], wanted)


def test_energies_are_those_of_the_arrays_that_are_written(found):
    comparison = WORLD.comparison(0, inferring(0))
    h = torch.cat([side.layers["block_2"] for side in (comparison.a, comparison.b)]).double().numpy()
    for name in ("least_squares_1", "random_energy_of_least_squares_1_draw_3"):
        A, B, m, v = (found.tensors[name].arrays[f"block_2.{part}"].astype(float) for part in "ABmv")
        moved = -((h - m) @ B) @ A.T + v
        energy = found.table.set_index(["edit", "layer"])["energy"][name, "block_2"]
        assert energy == pytest.approx(np.square(moved).sum(axis=1).mean(), rel=1e-4)


def test_a_shift_moves_the_first_languages_mean_onto_the_seconds(found):
    comparison = WORLD.comparison(0, inferring(0))
    means = [side.layers["block_1"].double().mean(dim=0).numpy() for side in (comparison.a, comparison.b)]
    arrays = found.tensors["shift_en_to_de"].arrays
    np.testing.assert_allclose(arrays["block_1.v"], means[1] - means[0], atol=1e-5)
    assert arrays["block_1.A"].shape == (24, 0)
    assert found.tensors["shift_en_to_de"].header["applies_to"] == ["en"]


def test_a_file_says_which_items_and_texts_it_was_fitted_on_and_what_its_draws_stand_beside(found):
    comparison = WORLD.comparison(0, inferring(0))
    header = found.tensors["random_energy_of_language_means_1_draw_2"].header
    assert (header["control_of"], header["matched"], header["rank"]) == ("language_means_1", "energy", 1)
    assert header["ids"] == comparison.items["id"].tolist()
    assert hash_of(comparison.items["text_b"][3]) in header["texts"]
    assert found.tensors["least_squares_1"].header["matched"] is None


def test_what_no_random_subspace_can_match_is_named_and_left_out_where_that_is_so():
    far = replace(WORLD, n=10, offset=40.0)  # languages differ by more than all items of one do, and in more directions
    found = edits(removals=[LanguageMeans()])(far.comparison(0, inferring(0)))
    assert not [name for name in found.tensors if name.startswith("random_energy")]
    (warning,) = found.warnings
    assert warning.startswith("edits: there is no random_energy_of_language_means_1 at block_1, block_2 (the directions in which")


def test_the_same_seed_gives_the_same_bits_and_another_gives_other_draws():
    comparison = WORLD.comparison(0, inferring(0))
    first, again, other = (edits(seed=seed)(comparison).tensors for seed in (0, 0, 1))
    for name in first:
        for key, array in first[name].arrays.items():
            assert np.array_equal(array, again[name].arrays[key])
    draw = "random_directions_1_draw_1"
    assert not np.allclose(first[draw].arrays["block_1.A"], other[draw].arrays["block_1.A"])


def test_how_large_an_edit_is_beside_random_ones_is_said(found):
    assert any(sentence.startswith("least_squares_1 moves vectors") for sentence in found.sentences)


@pytest.mark.parametrize(
    ("removals", "message"),
    [
        ([], "analysis.edits.removals: expected one or more, each once"),
        ([LanguageMeans(), LanguageMeans()], "expected one or more, each once"),
        ([BetweenLanguages(rank=2)], "two languages differ in one direction; BetweenLanguages expects rank: 1"),
    ],
)
def test_what_cannot_be_made_is_refused_before_a_model_is_loaded(removals, message):
    with pytest.raises(ConfigError, match=message):
        edits(removals=removals).require(RetrievalAt1(), 60)


def test_sides_with_different_layers_are_refused():
    comparison = WORLD.comparison(0, inferring(0))
    with pytest.raises(Undefined, match="edits the same layers of both sides"):
        edits()(replace(comparison, b=Activations({"block_2": comparison.b.layers["block_2"]}, 2)))


@pytest.mark.slow
def test_a_run_leaves_files_that_say_which_model_they_are_of_and_a_run_of_other_items_says_what_was_done(
    command, tiny, tmp_path, checkpoint_folder
):
    same = [*tiny, f"model_b.id={checkpoint_folder('llama')}", "analysis=[edits]", "statistics=off"]
    assert command(*same, "language@language_b=de", "dataset.n=20") == 0
    run = layeratlas.read_run(tmp_path / "out")
    with safe_open(tmp_path / "out" / "edits_least_squares_1.safetensors", "np") as file:
        header = json.loads(file.metadata()["header"])
    assert header["revision"] == run.result["a"]["revision"]
    assert [axes.get_ylabel() for axes in edits_figure(run).axes] == ["mean squared change of a vector"]
    others = tmp_path / "others.jsonl"
    others.write_text("\n".join(json.dumps({"id": f"o{i}", "en": f"Another text, number {i}."}) for i in range(12)))
    edited = [f"model_a.edit={tmp_path / 'out' / 'edits_random_directions_1_draw_2.safetensors'}", f"dataset.path={others}"]
    where = (f"hydra.run.dir={tmp_path / 'second'}",)
    assert command(*same, *edited, "analysis=[]", where=where) == 0
    said = layeratlas.read_run(tmp_path / "second").result["a"]["edit"]
    assert (said["what"], said["rank"], said["matched"], said["fitted_on_items"]) == ("random_directions_1_draw_2", 1, "rank", 20)


@pytest.mark.pictures
def test_its_picture_has_a_line_for_each_edit_and_can_be_read_in_a_column(found, tmp_path):
    charts, drawn = drawn_of_run(tmp_path / "run", "edits", found)
    assert charts == []
    own = found.table[found.table["matched"].isna()]
    assert len(drawn["edits"].axes[0].lines) == own["edit"].nunique()
    assert illegible(drawn["edits"]) == []
