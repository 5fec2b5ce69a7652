"""The command line: `python src/run.py ...` in this process, on tiny models."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import pytest
from conftest import TEXTS
from running import last_line

import layeratlas
import layeratlas.report.figures
from layeratlas.errors import ConfigError
from layeratlas.runs.jobs import read_jobs
from layeratlas.runs.states import states_of

SCRIPT = Path(__file__).parents[2] / "src" / "run.py"


@pytest.mark.pictures
def test_one_command_leaves_numbers_figures_and_a_result(command, tiny, tmp_path):
    assert command(*tiny) == 0
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    expected = {"affinity.npz", "affinity.parquet", "items.parquet", "neighbors.npz", "diagonal.parquet", "result.json"}
    assert expected | {"figures/affinity.png", "figures/affinity.pdf", "run.log"} <= names
    assert not [name for name in names if ".tmp" in name]


@pytest.mark.slow
def test_both_certificates_are_in_the_result_and_a_cut_at_a_models_positions_is_told(command, tiny, tmp_path):
    rows = [{"id": f"t{i}", "en": f"{text} " * 90} for i, text in enumerate(TEXTS)]  # the shortest has 540 bytes, a token each
    (tmp_path / "long.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    options = [*tiny[:4], f"dataset.path={tmp_path / 'long.jsonl'}", "dataset=local", "dataset.max_length=520", "k=3", tiny[-1]]
    loaded = "model tiny-gpt2: texts are cut at 512 tokens, all that its table of positions reads, not at dataset.max_length=520"
    for store in ("empty", "filled"):
        folder = tmp_path / store
        assert command(*options, "statistics=off", "analysis=[]", where=[f"hydra.run.dir={folder}"]) == 0
        result, log = json.loads((folder / "result.json").read_text()), (folder / "run.log").read_text()
        certificates = [result[side]["certificate"] for side in "ab"]
        assert [certificate["max_length"] for certificate in certificates] == [520, 512]
        assert [certificate["readable"] for certificate in certificates] == [None, 512]
        assert all(c["weights"] == "checkpoint" and c["blocks"] == 3 and c["leak"] == 0 and not c["alone"] for c in certificates)
        for told in ("tiny-llama, en: 8 of 8 texts are cut at 520 tokens", "tiny-gpt2, en: 8 of 8 texts are cut at 512 tokens"):
            assert any(warning.startswith(told) for warning in result["warnings"])
            assert told in log
        assert (loaded in log) == (store == "empty")


@pytest.mark.slow
def test_the_files_agree_with_each_other_and_with_the_contract(command, tiny, tmp_path):
    command(*tiny)
    read = layeratlas.read_run(tmp_path / "out")
    assert read.affinity.shape == (3, 3)
    assert list(read.affinity.index) == ["block_1", "block_2", "block_3"]
    np.testing.assert_allclose(read.arrays["depth_a"], [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(read.arrays["chance"], 3 / 39)
    table = read.table("affinity")
    np.testing.assert_array_equal(table["affinity"].to_numpy().reshape(3, 3), read.affinity)
    assert {"model_a", "language_b", "dataset", "n", "pooling", "metric", "k", "depth_b"} <= set(table.columns)
    assert read.result["schema_version"] == 2
    assert read.result["metric"] == {
        "name": "mutual_knn",
        "estimator": "mean overlap of cosine neighbour lists",
        "normalization": "none",
        "k": 3,
        "range": [0.0, 1.0],
        "min_n": 4,
        "self_value": 1.0,
        "symmetric": True,
        "parameters": {"k": 3, "listed": None, "nearest": {"_target_": "CosineNeighbors"}},
    }
    assert read.result["dataset"]["n"] == 40
    assert read.result["a"]["model"] == "tiny-llama"
    items = read.table("items")
    assert {"id", "group", "text_a", "text_b", "tokens_a", "bytes_b", "truncated_a", "last_token_b"} <= set(items.columns)
    assert read.result["provenance"]["config"]["k"] == {"k": 3}
    with np.load(tmp_path / "out" / "neighbors.npz") as lists:
        assert lists["neighbors_a"].shape == (3, 40, 3)
        shared = [len(set(x) & set(y)) for x, y in zip(lists["neighbors_a"][0], lists["neighbors_b"][1], strict=True)]
    assert np.mean(shared) / 3 == pytest.approx(read.affinity.iloc[0, 1])


def test_a_model_against_itself_has_ones_on_its_diagonal(command, tiny, checkpoint_folder, tmp_path):
    for metric in ("mutual_knn", "cka_linear", "cka_linear_debiased"):
        command(*tiny, f"model_b.id={checkpoint_folder('llama')}", f"metric={metric}", where=[f"hydra.run.dir={tmp_path / metric}"])
        np.testing.assert_allclose(np.diag(layeratlas.read_run(tmp_path / metric).affinity), 1, atol=1e-6)


def test_two_languages_are_compared_item_by_item(command, tiny, tmp_path):
    assert command(*tiny, "language@language_b=de") == 0
    items = layeratlas.read_run(tmp_path / "out").table("items")
    assert (items["text_a"].str.split().str[-1] == items["text_b"].str.split().str[-1]).all()
    assert (items["text_a"] != items["text_b"]).all()


def test_a_second_run_reads_the_store_and_gives_the_same_bytes(command, tiny, tmp_path, monkeypatch):
    command(*tiny)
    monkeypatch.setattr("layeratlas.models.base.AbstractModel.load", lambda *a: pytest.fail("loaded a model"))
    assert command(*tiny, where=[f"hydra.run.dir={tmp_path / 'again'}"]) == 0
    for name in ("affinity.npz", "affinity.parquet", "items.parquet", "neighbors.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.slow
def test_a_layer_of_choice_and_all_layers(command, tiny, tmp_path):
    command(*tiny, "layers=[block_1,block_3]", "analysis=[]")
    assert layeratlas.read_run(tmp_path / "out").affinity.shape == (2, 2)
    command(*tiny, "layers=hidden_states", "pooling=mean", where=[f"hydra.run.dir={tmp_path / 'all'}"])
    assert list(layeratlas.read_run(tmp_path / "all").affinity.index) == ["embed", "block_1", "block_2", "final_norm"]


@pytest.mark.slow
def test_an_analysis_that_cannot_be_made_is_a_warning_and_costs_no_numbers(command, tiny, tmp_path):
    assert command(*tiny, "layers=[block_2]") == 0
    result = layeratlas.read_run(tmp_path / "out").result
    assert any("analysis diagonal was not made" in warning for warning in result["warnings"])
    assert result["headline"]["text"] == "mean affinity"
    assert result["headline"]["sentence"].startswith("mean affinity 0.")


@pytest.mark.slow
def test_an_analysis_that_no_such_run_can_answer_is_refused_before_a_model_is_loaded(command, tiny, tmp_path, loads, capfd):
    expected = (
        "analysis.stability: mutual_knn needs at least 4 items in each half; got 3 of dataset.n=7: dataset.n=8 or more",
        "analysis.stability: cka_linear_debiased needs at least 4 items in each half; got 3 of dataset.n=7: dataset.n=8 or more",
    )
    few = [*tiny, "dataset.n=7", "analysis=[diagonal,stability]", "statistics=off"]
    for metric, line in zip(("mutual_knn", "cka_linear_debiased"), expected, strict=True):
        assert command(*few, f"metric={metric}") == 2
        assert last_line(capfd).endswith(line)
    assert loads == []
    assert command(*few, "stage=extract") == 0  # which asks nothing


@pytest.mark.slow
def test_a_mistake_that_shows_within_an_analysis_costs_nothing_that_was_computed(command, tiny, tmp_path, monkeypatch):
    def refuses(self, comparison):
        raise ConfigError("analysis.stability.splits: expected fewer; got 2")

    monkeypatch.setattr("layeratlas.analyses.Stability.__call__", refuses)
    assert command(*tiny, "analysis=[stability,diagonal]", "analysis.stability.splits=2") == 0
    read = layeratlas.read_run(tmp_path / "out")
    said = "analysis stability was not made: analysis.stability.splits: expected fewer; got 2"
    assert said in read.result["warnings"]
    assert said in (tmp_path / "out" / "run.log").read_text()
    assert "swap" in read.result["statistics"]["diagonal"]
    assert read.affinity.shape == (3, 3)


def test_a_side_compared_with_itself_completes_without_a_headline_and_says_why(command, tiny, checkpoint_folder, tmp_path):
    assert command(*tiny, f"model_b.id={checkpoint_folder('llama')}") == 0
    headline = layeratlas.read_run(tmp_path / "out").result["headline"]
    assert (headline["value"], headline["p"]) == (None, None)
    assert headline["sentence"].startswith("no swap margin: both sides hold the same vectors")


def test_a_failing_plot_costs_no_numbers(command, tiny, tmp_path, monkeypatch, undrawn):
    monkeypatch.setattr(layeratlas.report.figures, "affinity_figure", lambda run: 1 / 0)
    assert command(*tiny) == 0
    assert layeratlas.read_run(tmp_path / "out").affinity.shape == (3, 3)
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {"depth_curves.png", "depth_curves.pdf"}
    assert "figures: affinity is not drawn" in (tmp_path / "out" / "run.log").read_text()
    undrawn.clear()


@pytest.mark.slow
@pytest.mark.pictures
def test_a_run_with_stability_says_how_reliable_its_matrix_is(command, tiny, tmp_path):
    assert command(*tiny, "analysis=[diagonal,stability]", "analysis.stability.splits=2") == 0
    read = layeratlas.read_run(tmp_path / "out")
    stability = read.result["statistics"]["stability"]
    assert stability["half_correlation_lowest"] <= stability["half_correlation"] <= 1
    assert any(warning.startswith("stability: mutual_knn of 40 items has a split-half") for warning in read.result["warnings"])
    assert set(read.table("stability")["varied"]) == {"n", "half", "k"}
    names = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert names == {"affinity.png", "depth_curves.png", "stability.png"}
    agreement = layeratlas.compare_runs(read, read, draws=9)
    assert agreement.correlation.pearson == pytest.approx(1)
    assert agreement.apart == []
    known = stability["noise_ceiling"]
    assert agreement.ceiling == (None if known is None else pytest.approx(known**2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metrc=foo"], "there is no option 'metrc'; did you mean 'metric'?"),
        (["dataset.nn=3"], "there is no option 'dataset.nn'; did you mean"),
        (["model@model_a=nope"], "model: there is no 'nope'; available are apertus-8b-2509, "),
        (["metric=nope"], "metric: there is no 'nope'; available are cca_mean, "),
        (["pooling=nope"], "pooling: there is no 'nope'; available are attention_weighted, first, last"),
        (["stage=nope"], "stage: there is no 'nope'; available are all, compare"),
        (["k=[5]"], "layeratlas:"),
        (["k=40"], "dataset.n: mutual_knn needs at least 41 items (k + 1); got 40"),
        (["k=0"], "k.k: expected a number of at least 1; got 0"),
        (["dataset.n=41"], "dataset.n: asked for 41 items; texts has 40 for en-en"),
        (["dataset.n=0"], "dataset.n: expected a positive number of items or null for all; got 0"),
        (["dataset.max_length=0"], "dataset.max_length: expected a positive number of tokens; got 0"),
        (["dataset.path=nowhere.jsonl"], "dataset.path=nowhere.jsonl: no such file"),
        (["language@language_b=fr"], "no column fr (the language) or text; columns are id, en, de"),
        (["model_a.dtype=int8"], "model_a.dtype: expected one of float32, bfloat16, float16; got int8"),
        (["model_a.chat_template=true"], "this model's tokenizer has no chat template"),
        (["model_a.id=no/such-model"], "model_a.id=no/such-model: not in the local hub cache"),
        (["layers=[block_9]"], "layers: no layer 'block_9'; this model has embed .. final_norm (3 blocks)"),
        (["extract.poolings=[foo]"], "extract.poolings: there is no 'foo'; available are attention_weighted, first, last"),
        (["extract.batch_size=0"], "extract.batch_size: expected a number of at least 1; got 0"),
        (["device=tpu"], "device: expected auto, cpu, cuda"),
        (["device=cuda:99"], "device: "),
        (["+metric.foo=1"], "metric.foo: MutualKNN has no such option; it has k, nearest, listed"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_ends_with_one_clear_line_and_exit_code_2(command, tiny, capfd, arguments, message):
    assert command(*tiny, *arguments) == 2
    assert message in last_line(capfd)


def test_a_missing_path_is_named(command, capfd):
    assert command("dataset=local") == 2
    assert last_line(capfd) == "layeratlas: dataset.path: has no value; give one as dataset.path=..."


def test_an_empty_dataset_is_one_clear_line(command, tiny, tmp_path, capfd):
    (tmp_path / "empty.txt").write_text("\n")
    assert command(*tiny, f"dataset.path={tmp_path / 'empty.txt'}") == 2
    assert last_line(capfd) == f"layeratlas: dataset.path={tmp_path / 'empty.txt'}: is empty; expected at least one item"


@pytest.mark.parametrize("stage", ["all", "extract"])
def test_vectors_of_two_models_are_not_compared_directly_and_nothing_is_extracted(command, tiny, tmp_path, capfd, stage):
    assert command(*tiny, "metric=paired_cosine", f"stage={stage}") == 2
    needed = "layeratlas: metric paired_cosine compares vectors of one space: give both sides the same model, e.g. model_b.id="
    line = last_line(capfd)
    assert line.startswith(needed)
    assert line.endswith("/tiny-llama")
    assert not (tmp_path / "store").exists()


def test_the_line_to_type_names_the_file_of_the_other_sides_model(command, capfd):
    models = ["model@model_a=smollm2-135m-instruct", "model@model_b=gemma3-270m"]
    assert command(*models, "dataset.n=8", "metric=mexa") == 2
    assert last_line(capfd).endswith("give both sides the same model, e.g. model@model_b=smollm2-135m-instruct")


def test_the_suggested_line_is_all_that_is_needed(command, tiny, tmp_path, capfd):
    assert command(*tiny, "metric=retrieval_at_1", "language@language_b=de") == 2
    suggested = last_line(capfd).rsplit("e.g. ", 1)[1]
    assert command(*tiny, "metric=retrieval_at_1", "language@language_b=de", suggested) == 0
    np.testing.assert_allclose(layeratlas.read_run(tmp_path / "out").arrays["chance"], 1 / 40)


def test_the_suggested_line_can_be_pasted_whatever_the_folder_is_called(command, tiny, checkpoint_folder, tmp_path, capfd):
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "my model (v1)")
    assert command(*tiny, f"model_a.id={folder}", "metric=retrieval_at_1", "language@language_b=de") == 2
    assert shlex.split(last_line(capfd).rsplit("e.g. ", 1)[1]) == [f"model_b.id={folder}"]


def test_one_checkpoint_with_and_without_its_weights_is_two_spaces(command, tiny, checkpoint_folder, capfd):
    same = f"model_b.id={checkpoint_folder('llama')}"
    assert command(*tiny, same, "model_b.random_init=1", "metric=csls") == 2
    assert last_line(capfd).endswith("e.g. model_b.random_init=null")


def test_dimensions_dropped_layer_by_layer_leave_no_common_space(command, tiny, checkpoint_folder, capfd):
    same = f"model_b.id={checkpoint_folder('llama')}"
    assert command(*tiny, same, "metric=paired_cosine", "normalization=drop_top_dimensions") == 2
    assert "metric paired_cosine compares vectors of one space: normalization may not drop dimensions" in last_line(capfd)


@pytest.mark.parametrize(("width", "code"), [(5, 2), (4, 0)])
def test_stored_vectors_of_one_space_have_one_width(command, tiny, tmp_path, capfd, width, code):
    rng = np.random.default_rng(0)
    for side, d in (("a", 4), ("b", width)):
        np.savez(tmp_path / f"{side}.npz", block_1=rng.standard_normal((40, d)), block_2=rng.standard_normal((40, d)))
    data = [argument for argument in tiny if argument.startswith(("dataset", "store", "k="))]
    stored = [f"model@model_{s}=stored" for s in "ab"] + [f"model_{s}.path={tmp_path / s}.npz" for s in "ab"]
    assert command(*data, *stored, "metric=paired_cosine_centered", "analysis=[]") == code
    if code:
        expected = "layeratlas: metric paired_cosine_centered compares vectors of one space; got layers of 4 and 5 dimensions"
        assert last_line(capfd) == expected


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda x: np.where(x == x[7, 0], np.nan, x), "block_2 has NaN or an infinite value at row 7"),
        (np.zeros_like, "block_2 is 0 everywhere"),
        (np.ones_like, r"block_2 \(side b, metric mutual_knn\): every item has the same vector, so there is nothing to compare"),
        (lambda x: x * (np.arange(40) != 7)[:, None], r"block_2 \(side b, metric mutual_knn\): item \d+ is the zero vector, .*"),
    ],
)
def test_stored_vectors_that_cannot_be_compared_are_a_mistake_of_the_users(command, tiny, tmp_path, capfd, change, line):
    rng = np.random.default_rng(0)
    layers = {f"block_{k}": rng.standard_normal((40, 4)) for k in (1, 2)}
    np.savez(tmp_path / "a.npz", **layers)
    np.savez(tmp_path / "b.npz", **(layers | {"block_2": change(layers["block_2"])}))
    data = [argument for argument in tiny if argument.startswith(("dataset", "store", "k="))]
    stored = [f"model@model_{s}=stored" for s in "ab"] + [f"model_{s}.path={tmp_path / s}.npz" for s in "ab"]
    assert command(*data, *stored, "statistics=off", "analysis=[]") == 2
    assert re.fullmatch(rf"layeratlas: model path={tmp_path / 'b'}\.npz: {line}", last_line(capfd))


def test_embeddings_of_texts_that_end_alike_are_a_mistake_with_what_to_type_instead(command, tiny, texts_file, tmp_path, capfd):
    rows = [json.dumps({"id": str(i), "text": f"{i} of them met again"}) for i in range(40)]
    texts_file.write_text("\n".join(rows), encoding="utf-8")
    asked = [*tiny, "statistics=off", "analysis=[]", "report.enabled=false", "report.figures=false"]
    assert command(*asked, "layers=all") == 2
    assert re.fullmatch(
        r"layeratlas: metric mutual_knn, side a, embed: every item has the same vector, so there is nothing to compare;"
        r" all texts of side a are pooled at the token 'n' \(\d+\): layers=blocks leaves embed out, pooling=mean_content reads"
        r" more of each text",
        last_line(capfd),
    )
    assert command(*asked) == 0


@pytest.fixture
def stored(tiny, tmp_path):
    """Overrides that compare two files of vectors of the test's own texts."""
    rng = np.random.default_rng(0)
    for side in "ab":
        np.savez(tmp_path / f"{side}.npz", **{f"block_{k}": rng.standard_normal((40, 4)) for k in (1, 2)})
    data = [argument for argument in tiny if argument.startswith(("dataset", "store", "k="))]
    models = [f"model@model_{s}=stored" for s in "ab"] + [f"model_{s}.path={tmp_path / s}.npz" for s in "ab"]
    return [*data, *models, "statistics=off", "analysis=[]", "report.enabled=false", "report.figures=false"]


@pytest.mark.parametrize(("control", "side"), [("random_characters", "a"), ("other_items", "b"), ("shared_words", "b")])
def test_a_control_of_texts_whose_vectors_lie_in_a_file_is_refused_as_it_would_change_nothing(
    command, stored, tmp_path, capfd, control, side
):
    assert command(*stored, f"control={control}") == 2
    line = f"control={control} replaces the texts of side {side}, and model_{side} is a file of vectors, which it cannot change"
    assert line in last_line(capfd)
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_control_of_the_side_that_a_model_reads_leaves_the_other_sides_file_alone(command, stored, checkpoint_folder, tmp_path):
    read = ["model@model_b=gpt2", f"model_b.id={checkpoint_folder('llama')}"]
    of_a_model = [argument for argument in stored if "model_b" not in argument] + read
    assert command(*of_a_model, "control=other_items") == 0
    assert layeratlas.read_run(tmp_path / "out").result["dataset"]["control"] == "other_items"


@pytest.mark.parametrize(("typed", "named"), [([], "stored"), (["pooling=mean"], "mean")])
def test_vectors_of_files_are_said_to_be_pooled_by_what_the_user_says_and_by_no_default(command, stored, tmp_path, typed, named):
    assert command(*stored, *typed) == 0
    run = layeratlas.read_run(tmp_path / "out")
    assert run.result["pooling"] == named
    assert set(run.table("affinity")["pooling"]) == {named}


@pytest.mark.slow
def test_the_geometry_of_every_layer_is_a_table(command, tiny, tmp_path):
    assert command(*tiny, "analysis=[geometry]", "layers=all") == 0
    read = layeratlas.read_run(tmp_path / "out")
    table = read.table("geometry")
    assert list(table["side"]) == ["a"] * 5 + ["b"] * 5
    assert list(table["layer"][:5]) == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    assert np.isfinite(table.drop(columns=["side", "layer", "depth"])).all(axis=None)
    assert read.result["analyses"]["geometry"]["top_dimensions"] == 1


@pytest.mark.slow
def test_a_saturated_metric_says_so_in_the_log_and_in_the_result(command, tiny, tmp_path):
    assert command(*tiny, "metric=diffusion_nmi_published", "metric.sigma=0.001", "analysis=[]") == 0
    warnings = layeratlas.read_run(tmp_path / "out").result["warnings"]
    saturated = [text for text in warnings if "nearly the identity" in text]
    assert [text.split(":")[0] for text in saturated] == [
        f"metric diffusion_nmi_published, side {side}, block_1, block_2, block_3" for side in "ab"
    ]


@pytest.mark.slow
def test_a_crash_leaves_its_traceback_and_exit_code_1(command, tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("layeratlas.stages.pipeline.compare", lambda *a: 1 / 0)
    assert command(*tiny) == 1
    assert last_line(capfd).startswith("layeratlas: ZeroDivisionError: division by zero (traceback in ")
    assert "ZeroDivisionError" in (tmp_path / "out" / "error.txt").read_text()


@pytest.mark.slow
def test_a_sweep_runs_every_combination_and_one_failure_leaves_its_siblings(command, tiny, tmp_path, capfd):
    code = command("-m", *tiny, "k=3,40,5", "pooling=last,mean")
    assert code == 2
    shown = capfd.readouterr()
    assert "job 2 failed: dataset.n: mutual_knn needs at least 41 items" in shown.out + shown.err
    states = {job: (tmp_path / "sweep" / str(job) / "result.json").exists() for job in range(6)}
    assert states == {0: True, 1: True, 2: False, 3: False, 4: True, 5: True}
    assert "needs at least 41" in (tmp_path / "sweep" / "3" / "error.txt").read_text()
    assert [run.result["metric"]["k"] for run in layeratlas.read_sweep(tmp_path / "sweep")] == [3, 3, 5, 5]


@pytest.mark.slow
def test_a_resumed_sweep_keeps_what_is_finished_and_refuses_another_config(command, tiny, tmp_path, capfd):
    command("-m", *tiny, "k=3,5")
    first = tmp_path / "sweep" / "0" / "result.json"
    before = first.stat().st_mtime_ns
    (tmp_path / "sweep" / "1" / "result.json").unlink()
    assert command("-m", *tiny, "k=3,5") == 0
    assert first.stat().st_mtime_ns == before
    assert (tmp_path / "sweep" / "1" / "result.json").exists()
    assert command("-m", *tiny, "k=4,5") == 2
    assert "holds a sweep of other jobs: " in last_line(capfd)
    assert first.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_sweep_over_models_and_languages_extracts_each_side_once(command, tiny, checkpoint_folder, tmp_path, monkeypatch):
    from layeratlas.models.base import AbstractModel

    loaded = []
    original = AbstractModel.load
    monkeypatch.setattr(AbstractModel, "load", lambda self, *a: loaded.append(self.name) or original(self, *a))
    ids = ",".join(str(checkpoint_folder(name)) for name in ("llama", "gpt2"))
    assert command("-m", *tiny, f"model_a.id={ids}", f"model_b.id={ids}", "language@language_b=en,de") == 0
    assert len(layeratlas.read_sweep(tmp_path / "sweep")) == 5  # one en-en pair; en-de both ways, and each model with itself
    assert sorted(loaded) == ["tiny-gpt2", "tiny-llama"]


def test_a_sweep_of_both_sides_runs_each_pair_once_and_is_summarised(command, tiny, checkpoint_folder, tmp_path, capfd):
    ids = ",".join(str(checkpoint_folder(name)) for name in ("llama", "gpt2", "gpt_neox"))
    assert command("-m", *tiny, f"model_a.id={ids}", f"model_b.id={ids}", "statistics=off") == 0
    models = [(run.result["a"]["model"], run.result["b"]["model"]) for run in layeratlas.read_sweep(tmp_path / "sweep")]
    assert models == [("tiny-llama", "tiny-gpt2"), ("tiny-llama", "tiny-gpt_neox"), ("tiny-gpt2", "tiny-gpt_neox")]
    assert len(pd.read_csv(tmp_path / "sweep" / "summary.csv")) == 3
    (tmp_path / "sweep" / "summary.csv").unlink()
    capfd.readouterr()
    assert command("stage=status", f"sweep_dir={tmp_path / 'sweep'}", where=()) == 0
    assert "3 done, 6 skipped" in (told := capfd.readouterr().out)
    assert told.count("the same comparison as job") == 3
    assert command("stage=summarize", f"sweep_dir={tmp_path / 'sweep'}", where=()) == 0
    assert len(pd.read_csv(tmp_path / "sweep" / "summary.csv")) == 3


@pytest.mark.slow
def test_pairs_can_be_listed(command, tiny, tmp_path):
    sides = [override for override in tiny if not override.startswith("model@")]
    assert command("-m", *sides, "hydra.sweeper.pairs=[[gpt2,gpt2],[gpt2,pythia-410m]]", "statistics=off") == 0
    assert [job.overrides[:2] for job in read_jobs(tmp_path / "sweep")] == [
        ["model@model_a=gpt2", "model@model_b=gpt2"],
        ["model@model_a=gpt2", "model@model_b=pythia-410m"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra.sweeper.pairs=[[gpt2,gpt2]]"], "hydra.sweeper.pairs=[['gpt2', 'gpt2']]: expected [[a, b], [c, d]], and no model@"),
        (["hydra.sweep.subdir=x"], "hydra.sweep.subdir=x: must stay ${hydra.job.num}"),
        (["model@model_a=nope,gpt2"], "model: there is no 'nope'; available are "),
    ],
)
def test_a_mistake_in_a_sweep_is_told_before_any_job_starts(command, tiny, tmp_path, capfd, arguments, message):
    assert command("-m", *tiny, *arguments) == 2
    assert message in last_line(capfd)
    assert not (tmp_path / "sweep" / "jobs.json").exists()


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_with_what_it_lacks(command, tiny, tmp_path, capfd, monkeypatch):
    from layeratlas.stages import pipeline

    def once(*arguments, **options):
        if (tmp_path / "sweep" / "0" / "result.json").exists():
            raise KeyboardInterrupt
        return original(*arguments, **options)

    original = pipeline._run
    monkeypatch.setattr(pipeline, "_run", once)
    assert command("-m", *tiny, "k=3,4,5", "statistics=off") == 130
    assert f"the rest is done by: layeratlas -m hydra.sweep.dir={tmp_path / 'sweep'}" in capfd.readouterr().out
    assert [state.state for state in states_of(tmp_path / "sweep")] == ["done", "missing", "missing"]
    monkeypatch.setattr(pipeline, "_run", original)
    first = (tmp_path / "sweep" / "0" / "result.json").stat().st_mtime_ns
    assert command("-m") == 0
    assert [run.result["metric"]["k"] for run in layeratlas.read_sweep(tmp_path / "sweep")] == [3, 4, 5]
    assert (tmp_path / "sweep" / "0" / "result.json").stat().st_mtime_ns == first


@pytest.mark.slow
def test_extraction_of_side_a_alone_where_side_b_was_not_chosen(command, tiny, tmp_path, monkeypatch):
    from layeratlas.models.base import AbstractModel

    loaded = []
    original = AbstractModel.load
    monkeypatch.setattr(AbstractModel, "load", lambda self, *a: loaded.append(self.name) or original(self, *a))
    one_sided = [override for override in tiny if "model_b" not in override]
    assert command("-m", *one_sided, "stage=extract", "dataset.n=8,12") == 0
    assert loaded == ["tiny-llama"]
    assert json.loads((tmp_path / "sweep" / "1" / "extracted.json").read_text())["b"]["model"] == "tiny-llama"
    assert command("-m") == 0
    assert len(loaded) == 1


def test_a_side_b_that_was_chosen_is_extracted_even_if_it_is_of_the_same_kind(command, tiny, checkpoint_folder, capfd):
    chosen = [*tiny[:1], *tiny[4:], f"model_a.id={checkpoint_folder('llama')}", "model@model_b=gpt2"]
    assert command(*chosen, "stage=prefetch") == 2
    assert "openai-community/gpt2" in last_line(capfd)  # which is not on this machine


@pytest.mark.slow
def test_a_sweep_over_languages_marks_those_that_the_dataset_lacks_and_goes_on(command, tiny, tmp_path, capfd):
    assert command("-m", *tiny, "language@language_b=glob([d*,f*,hi])", "stage=extract") == 0
    jobs = {
        job.name: json.loads((job / "skipped.json").read_text())
        for job in (tmp_path / "sweep").glob("*/")
        if list(job.glob("skip*"))
    }
    assert len(jobs) == len(list((tmp_path / "sweep").glob("*/run.log"))) - 1
    assert all(
        set(said) == {"reason"} and "(the language) or text; columns are id, en, de" in said["reason"] for said in jobs.values()
    )
    assert not list((tmp_path / "sweep").rglob("error.txt"))
    assert "job 1 skipped: dataset.path=" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_language_that_is_there_now_is_no_longer_marked_as_skipped(command, tiny, tmp_path, texts_file):
    rows = [json.loads(line) for line in texts_file.read_text(encoding="utf-8").splitlines()]
    texts_file.write_text("\n".join(json.dumps({"id": row["id"], "en": row["en"]}) for row in rows), encoding="utf-8")
    command("-m", *tiny, "language@language_b=de,en", "stage=extract")
    assert (tmp_path / "sweep" / "0" / "skipped.json").exists()
    texts_file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert command("-m", *tiny, "language@language_b=de,en", "stage=extract") == 0
    assert not (tmp_path / "sweep" / "0" / "skipped.json").exists()


def test_one_run_in_a_language_that_the_dataset_lacks_is_a_mistake(command, tiny, tmp_path):
    assert command(*tiny, "language@language_b=fr") == 2
    assert not (tmp_path / "out" / "skipped.json").exists()


@pytest.mark.slow
def test_a_run_says_how_its_sides_are_balanced_and_where_its_texts_are_from(command, tiny, tmp_path, texts_file):
    assert command(*tiny, "language@language_b=de", "control=other_items", "dataset.final_punctuation=strip", "analysis=[]") == 0
    result = layeratlas.read_run(tmp_path / "out").result
    assert result["dataset"]["name"] == "texts+other_items"
    assert result["dataset"]["source"] == {"a": None, "b": None}
    assert {side["items"] for side in result["balance"].values()} == {40}
    assert result["balance"]["a"]["characters"] == sum(map(len, layeratlas.read_run(tmp_path / "out").table("items")["text_a"]))
    assert result["balance"]["a"]["fertility"] == 1  # a token a byte; <bos> is none of the text
    assert set(layeratlas.read_run(tmp_path / "out").table("affinity")["dataset"]) == {"texts+other_items"}


def test_a_prefetch_fetches_the_dataset_before_the_models(command, tiny, tmp_path, capfd):
    assert command(*tiny, "stage=prefetch") == 0
    assert "prefetch texts: on this machine (40 items drawn)" in "".join(capfd.readouterr())
    assert command(*tiny[:4], "dataset=imdb", "stage=prefetch") == 2
    assert "layeratlas: dataset stanfordnlp/imdb (en): not on this machine, and the hub cannot be reached" in last_line(capfd)


@pytest.mark.slow
def test_two_runs_of_the_same_second_get_folders_of_their_own(command, tiny, tmp_path):
    for _ in range(2):
        assert command(*tiny, where=()) == 0
    assert len(list((tmp_path / "outputs").glob("*/*/result.json"))) == 2


@pytest.mark.slow
def test_two_sweeps_of_the_same_second_do_not_mix(command, tiny, tmp_path):
    for _ in range(2):
        assert command("-m", *tiny, "stage=extract", "dataset.n=8", where=()) == 0
    assert len(list((tmp_path / "multirun").glob("*/*/0/extracted.json"))) == 2


def test_help_shows_a_person_what_can_be_set(command, capfd):
    with pytest.raises(SystemExit) as left:
        command("--help")
    assert left.value.code in (0, None)
    page = capfd.readouterr().out
    for word in (
        "mutual_knn",
        "pooling: attention_weighted, first",
        "dataset.path=",
        "batch_size",
        "-m ",
    ):
        assert word in page


@pytest.mark.slow
def test_the_script_runs_as_a_program_from_any_folder(tiny, tmp_path):
    arguments = [*tiny, f"hydra.run.dir={tmp_path / 'out'}"]
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr  # libraries complain where a process that loaded a network leaves without cleaning up
    summary = [line.split("] - ")[-1] for line in done.stdout.splitlines()][-6:]
    assert [line.split()[0] for line in summary] == ["models", "items", "metric", "headline", "beside", "files"]


@pytest.fixture
def usual_store():
    """The user's own store, where models are converted already if any run has used them; a fresh one in CI."""
    return f"store.dir={os.environ.get('LAYERATLAS_STORE', platformdirs.user_cache_dir('layeratlas'))}"


@pytest.mark.slow
def test_the_main_job_compares_the_bundled_models_on_real_text(usual_store, command, tmp_path):
    assert command(usual_store, "dataset.n=40", "layers=every_3") == 0
    read = layeratlas.read_run(tmp_path / "out")
    assert (read.result["a"]["model"], read.result["b"]["model"]) == ("SmolLM2-135M-Instruct-Q4_1", "gemma-3-270m-Q4_K_M")
    assert read.affinity.shape == (10, 6)
    assert isinstance(read.table("diagonal"), pd.DataFrame)
    diagonal = read.result["statistics"]["diagonal"]
    assert diagonal["on_mean"] > diagonal["off_mean"] > diagonal["chance_off"]


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [("en", "hi"), ("fr", "am")])
def test_translations_find_each_other_in_one_model_and_shuffled_ones_do_not(usual_store, command, tmp_path, a, b):
    asked = [f"model@model_{side}=gemma3-270m" for side in "ab"] + [f"language@language_a={a}", f"language@language_b={b}"]
    asked += [usual_store, "dataset=concepts", "pooling=mean_content", "metric=retrieval_at_1", "analysis=[]"]
    assert command(*asked, where=[f"hydra.run.dir={tmp_path / 'pairs'}"]) == 0
    assert command(*asked, "control=other_items", where=[f"hydra.run.dir={tmp_path / 'shuffled'}"]) == 0
    pairs, shuffled = (layeratlas.read_run(tmp_path / name) for name in ("pairs", "shuffled"))
    assert pairs.result["dataset"]["n"] == shuffled.result["dataset"]["n"] == 40
    layers = [np.diag(read.arrays["affinity"]) for read in (pairs, shuffled)]
    assert np.unique(shuffled.arrays["chance"]) == pytest.approx(1 / 40)
    assert layers[0].max() > 4 / 40
    assert layers[1].mean() < 2 / 40
    assert pairs.table("affinity")["p_fwer"].min() <= 0.05


@pytest.fixture
def loads(monkeypatch):
    """The name of each model that is loaded."""
    from layeratlas.models.base import AbstractModel

    names, original = [], AbstractModel.load
    monkeypatch.setattr(AbstractModel, "load", lambda self, *a: names.append(self.name) or original(self, *a))
    return names


@pytest.mark.slow
def test_a_sweep_over_languages_and_draws_loads_its_model_once(command, tiny, checkpoint_folder, loads):
    one = [*tiny[:3], f"model_b.id={checkpoint_folder('llama')}", *tiny[4:]]
    languages = "language@language_b=en,de"
    assert command("-m", *one, languages, "seed=0,1", "dataset.n=12", "statistics=off", "hydra.sweeper.self_pairs=true") == 0
    assert loads == ["tiny-llama"]


@pytest.mark.slow
def test_of_two_models_the_one_in_memory_is_read_first_and_sides_keep_their_places(command, tiny, loads, tmp_path):
    assert command("-m", *tiny, "seed=0,1", "dataset.n=12", "statistics=off") == 0
    assert loads == ["tiny-llama", "tiny-gpt2", "tiny-llama"]
    for swept in layeratlas.read_sweep(tmp_path / "sweep"):
        assert (swept.result["a"]["model"], swept.result["b"]["model"]) == ("tiny-llama", "tiny-gpt2")


@pytest.mark.slow
def test_jobs_of_one_model_are_run_one_after_the_other_under_their_own_numbers(command, tiny, checkpoint_folder, loads, tmp_path):
    ids = ",".join(str(checkpoint_folder(name)) for name in ("gpt2", "llama"))
    models = ["model@model_a=gpt2", f"model_a.id={ids}", "stage=extract"]
    assert command("-m", *tiny[4:], "language@language_a=en,de", *models) == 0
    assert loads == ["tiny-gpt2", "tiny-llama"]
    done = [json.loads((tmp_path / "sweep" / str(i) / "extracted.json").read_text())["a"] for i in range(4)]
    assert [(side["language"], side["model"]) for side in done] == [
        ("en", "tiny-gpt2"),
        ("en", "tiny-llama"),
        ("de", "tiny-gpt2"),
        ("de", "tiny-llama"),
    ]


@pytest.mark.slow
def test_a_run_by_itself_frees_its_model_before_it_compares(command, tiny, monkeypatch):
    from layeratlas.models import HELD
    from layeratlas.stages import pipeline

    held, original = [], pipeline.compare
    monkeypatch.setattr(pipeline, "compare", lambda *a: held.append(HELD.bytes) or original(*a))
    assert command(*tiny, "statistics=off") == 0
    assert held == [0]


@pytest.mark.slow
def test_a_sweep_frees_a_model_that_leaves_too_little_memory_to_compare(command, tiny, monkeypatch):
    from layeratlas.extraction import preflight
    from layeratlas.models import HELD
    from layeratlas.stages import pipeline

    held, original = [], pipeline.compare
    monkeypatch.setattr(pipeline, "compare", lambda *a: held.append(HELD.bytes) or original(*a))
    assert command("-m", *tiny, "seed=0", "statistics=off") == 0
    monkeypatch.setattr(preflight, "free_memory", lambda device: 10_000_000)  # the tiny model has a tenth of a megabyte
    assert command("-m", *tiny, "seed=1", "statistics=off", where=()) == 0
    assert held[0] == held[1] > 0
    monkeypatch.setattr(preflight, "free_memory", lambda device: held[0] - 1)
    monkeypatch.setattr(preflight, "require", lambda *a, **options: None)
    assert command("-m", *tiny, "seed=2", "statistics=off", where=()) == 0
    assert held[2] == 0
