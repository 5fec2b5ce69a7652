"""The proof of interventions: a transformer with a planted language direction and a redundant block, from texts to study."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from meeting_worlds import World, inferring
from planted_language import BLOCKS, LANGUAGES, PLANTED, REDUNDANT, WIDTH, WRITES, items, save_planted

from layeratlas.analyses.edit_files import edit_files
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.extraction.forward import extract_batch
from layeratlas.extraction.pooling import last
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint, Needs
from layeratlas.runs.writing import write_tensors
from layeratlas.statistics.removals import LanguageMeans, LeastSquares

CPU = torch.device("cpu")
LETTERS = 12
# The first letter follows the beginning of the text, which is of no language: all others are one of 8 letters, or of 16.
COST = math.log(2) * (LETTERS - 1) / LETTERS


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return save_planted(tmp_path_factory.mktemp("planted") / "planted")


@pytest.fixture
def sides(planted, tmp_path):
    """Overrides for both sides: this model, and the words of one seed."""

    def overrides(seed: int, n: int = 40) -> list[str]:
        path = tmp_path / f"words{seed}.jsonl"
        path.write_text("\n".join(map(json.dumps, items(n, seed))), encoding="utf-8")
        models = [part for s in "ab" for part in (f"model@model_{s}=gpt2", f"model_{s}.id={planted}", f"model_{s}.dtype=float32")]
        return [*models, "dataset=local", f"dataset.path={path}", "dataset.n=null", "k=3", "pooling=last", "report.enabled=false"]

    return overrides


@pytest.fixture(scope="module")
def plain(planted, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return Checkpoint(id=str(planted), dtype="float32").load(store, CPU, Needs(64, nll=True))


@pytest.fixture(scope="module")
def edits(plain, tmp_path_factory):
    """The folder of the files that the analysis writes of 40 words."""
    words = pd.DataFrame(items(40)).rename(columns={"en": "text_a", "de": "text_b"})
    a, b = (Activations(vectors(plain, words[f"text_{side}"].tolist()), BLOCKS) for side in "ab")
    comparison = World(strengths=(0.0,), n=40).comparison(0, inferring(0))
    comparison = replace(comparison, a=a, b=b, items=words, languages={"a": Language("en"), "b": Language("de")}, pooling="last")
    made = edit_files(comparison, [LeastSquares(), LanguageMeans()], a.names, 5, 0, controls=True)
    folder = tmp_path_factory.mktemp("edits")
    for name, tensors in made.tensors().items():
        write_tensors(folder, f"edits_{name}", tensors.arrays, {**tensors.header, "dataset": "words0"})
    return folder


def vectors(model, words: list[str]) -> dict[str, torch.Tensor]:
    pooled = extract_batch(model, model.encoder.encode(words), {"last": last})[0]["last"]
    return {layer: states for layer, states in pooled.items() if layer.startswith("block_")}


def per_token(model, code: str) -> float:
    """Nats per token of new words."""
    words = [item[code] for item in items(30, seed=1)]
    scores = extract_batch(model, model.encoder.encode(words), {"last": last})[1]
    return float((scores[:, 0] / scores[:, 1]).mean())


def cost(plain, planted, code: str, edit: Path, block: int) -> float:
    """Nats per token more than without the edit."""
    model = Checkpoint(id=str(planted), dtype="float32", edit=str(edit), edit_blocks=[block])
    return per_token(model.edited(plain), code) - per_token(plain, code)


def test_removing_the_planted_direction_costs_what_it_says_exactly_where_it_is_written(plain, planted, edits, tmp_path):
    fitted = safetensors.torch.load_file(edits / "edits_least_squares_1.safetensors")
    axis = fitted[f"block_{WRITES}.A"][:, 0]
    means = safetensors.torch.load_file(edits / "edits_language_means_1.safetensors")[f"block_{WRITES}.A"][:, 0]
    assert abs(float(means[PLANTED])) > 0.8 * float(means.norm())  # beside it lies the feature that it was copied from
    assert abs(float(axis[PLANTED])) > 0.8 * float(axis.norm())
    direction = torch.zeros(WIDTH, 1)
    direction[PLANTED] = 1.0
    parts = {"A": direction, "B": direction, "m": torch.zeros(WIDTH), "v": torch.zeros(WIDTH)}
    tensors = {f"block_{k}.{part}": array.clone() for k in range(1, BLOCKS + 1) for part, array in parts.items()}
    safetensors.torch.save_file(tensors, tmp_path / "planted.safetensors")
    for code in LANGUAGES:
        costs = [cost(plain, planted, code, tmp_path / "planted.safetensors", k) for k in range(1, BLOCKS + 1)]
        np.testing.assert_allclose(costs[: WRITES - 1], 0, atol=1e-3)
        np.testing.assert_allclose(costs[WRITES - 1 :], COST, rtol=0.02)


@pytest.mark.slow
def test_the_fitted_language_subspace_costs_the_same_and_random_ones_of_its_rank_or_its_energy_nothing(plain, planted, edits):
    for k in range(WRITES, BLOCKS + 1):
        assert cost(plain, planted, "de", edits / "edits_least_squares_1.safetensors", k) == pytest.approx(COST, rel=0.05)
        for kind in ("random_directions_1", "random_energy_of_least_squares_1"):
            for draw in range(1, 6):
                of_draw = cost(plain, planted, "de", edits / f"edits_{kind}_draw_{draw}.safetensors", k)
                assert abs(of_draw) < 0.05 * COST, (kind, draw, k)


def test_a_shift_to_the_other_language_makes_the_model_write_that(plain, planted, edits):
    sure_of_the_other = cost(plain, planted, "en", edits / "edits_shift_en_to_de.safetensors", WRITES)
    assert sure_of_the_other > 3
    assert abs(cost(plain, planted, "en", edits / "edits_random_shift_en_to_de_draw_1.safetensors", WRITES)) < 0.1


def test_a_block_that_adds_nothing_costs_nothing_to_skip_and_the_one_that_writes_the_language_costs_it(plain, planted, store):
    model = Checkpoint(id=str(planted), dtype="float32")
    for block, expected in ((REDUNDANT, 0), (WRITES, COST)):
        skipping = replace(model, skip_blocks=[block]).load(store, CPU, Needs(64, nll=True))
        assert per_token(skipping, "en") - per_token(plain, "en") == pytest.approx(expected, abs=0.01)


def test_a_run_on_items_that_the_edit_was_fitted_on_is_refused(command, edits, sides, capfd, tmp_path):
    same = [f"model_a.edit={edits / 'edits_least_squares_1.safetensors'}", f"store.dir={tmp_path / 'store'}"]
    where = (f"hydra.run.dir={tmp_path / 'second'}",)
    capfd.readouterr()
    assert command(*sides(0), *same, "analysis=[]", "statistics=off", where=where) == 2
    assert "was fitted on 40 of the 40 items of this run, such as 's0i" in capfd.readouterr().err


def test_the_same_texts_under_other_ids_are_refused_too(command, edits, sides, capfd, tmp_path):
    path = tmp_path / "renamed.jsonl"
    renamed = [item | {"id": f"other{i}"} for i, item in enumerate(items(12, seed=0))]
    path.write_text("\n".join(map(json.dumps, renamed)), encoding="utf-8")
    same = [f"model_b.edit={edits / 'edits_language_means_1.safetensors'}", f"store.dir={tmp_path / 'store'}"]
    capfd.readouterr()
    where = (f"hydra.run.dir={tmp_path / 'second'}",)
    assert command(*sides(0), *same, f"dataset.path={path}", "analysis=[]", "statistics=off", where=where) == 2
    assert "was fitted on 12 of the 12 items of this run" in capfd.readouterr().err


@pytest.mark.slow
def test_a_sweep_finds_the_planted_direction_the_redundant_block_and_what_is_lost_downstream(command, sides, tmp_path):
    """Least squares and ten draws at two blocks in both languages, and every block skipped: the studies' answers."""
    made = [*sides(0), "language@language_a=en", "language@language_b=de", "analysis=[edits]", "statistics=off"]
    assert command(*made, f"store.dir={tmp_path / 'store'}") == 0
    assert (tmp_path / "out" / "figures" / "edits.png").is_file()
    edits = tmp_path / "out"
    names = ["least_squares_1", *(f"random_directions_1_draw_{i}" for i in range(1, 6))]
    names += [f"random_energy_of_least_squares_1_draw_{i}" for i in range(1, 6)]
    files = ",".join(str(edits / f"edits_{name}.safetensors") for name in names)
    shared = [*sides(1), "analysis=[]", "statistics=off", "extract.nll=true", "metric=cka_linear"]
    shared.append(f"store.dir={tmp_path / 'store'}")
    folder = (f"hydra.sweep.dir={tmp_path / 'edits'}",)
    swept = ["language@language_a=en,de", "model_a.edit_blocks=[2],[3]", f"model_a.edit={files}", "study=[interventions]"]
    assert command("-m", *shared, *swept, where=folder) == 0
    table = pd.read_parquet(tmp_path / "edits" / "tables" / "interventions.parquet")
    assert len(table) == 2 * 2 * 11
    own = table[table["edit"] == "least_squares_1"].set_index(["language", "blocks"])
    for code in LANGUAGES:
        np.testing.assert_allclose(own.loc[code]["value"].loc[["2", "3"]], COST, rtol=0.05)
        assert (own.loc[code]["draws"] == 5).all()
        assert (own.loc[code]["energy_draws"] == 5).all()
        np.testing.assert_allclose(own.loc[code][["p", "energy_p"]], 1 / 6)
    pooled = pd.read_parquet(tmp_path / "edits" / "tables" / "interventions_pooled.parquet")
    assert set(pooled["against"]) == {"size", "energy"}
    assert (pooled["p"] < 0.05).all()  # of 36 choices at two places
    later = pd.read_parquet(tmp_path / "edits" / "tables" / "interventions_downstream.parquet")
    probe = later[(later["statistic"] == "language_probe") & (later["edit"] == "least_squares_1")].set_index(["blocks", "layer"])
    assert set(probe.loc["3"].index) == {"block_3", "block_4"}
    assert (probe["before"] == 1).all()
    assert probe.loc[("2", "block_2"), "ci_high"] < -0.1
    assert (probe["draws_low"].abs() < 0.02).all()

    folder = (f"hydra.sweep.dir={tmp_path / 'skips'}",)
    swept = ["model_a.skip_blocks=[],[1],[2],[3],[4]", "layers=all", "study=[redundancy]", "hydra.sweeper.self_pairs=true"]
    assert command("-m", *shared, *swept, "language@language_a=en", where=folder) == 0
    blocks = pd.read_parquet(tmp_path / "skips" / "tables" / "redundancy.parquet").set_index("block")
    assert blocks["removed_by_similarity"].idxmax() == WRITES  # the others hardly move the stream
    assert blocks.loc[REDUNDANT, "with_input"] == pytest.approx(1, abs=1e-3)
    assert abs(blocks.loc[REDUNDANT, "value"]) < 1e-3
    assert blocks.loc[WRITES, "value"] == pytest.approx(COST, rel=0.02)
    assert blocks["removed_by_cost"].idxmax() == WRITES
    agreement = pd.read_parquet(tmp_path / "skips" / "tables" / "redundancy_agreement.parquet").set_index("order")
    assert agreement.loc["similarity", "value"] > 0  # whatever the order of those that cost nothing
