"""What is offered to somebody who typed a key or a file's name that does not exist."""

from pathlib import Path

import pytest

from layeratlas.stages.command_line import CONF
from layeratlas.stages.suggestions import for_file, for_key

KEYS = [
    *("model@model_a", "model@model_b", "language@language_a", "language@language_b", "metric", "k", "normalization", "control"),
    *("dataset", "pooling", "layers", "model_a", "model_a.id", "model_b", "model_b.id", "metric.k", "metric.listed", "dataset.n"),
    *("control.seed", "a.seed_of", "extract.batch_size", "hydra/launcher"),
]
MODELS, LANGUAGES, DATASETS = (CONF / group for group in ("model", "language", "dataset"))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("metrik", "'metric'"),
        ("metrics", "'metric'"),
        ("kontrol", "'control'"),
        ("datset", "'dataset'"),
        ("model", "model@model_a or model@model_b"),
        ("modle", "model@model_a or model@model_b"),
        ("languages", "language@language_a or language@language_b"),
        ("lang", "language@language_a or language@language_b"),
        ("model@model_c", "model@model_a or model@model_b"),
        ("norm", "'normalization'"),
        ("model@model_a.id", "'model_a.id'"),
        ("model@model_a.ide", "'model_a.id'"),
        ("metric.kk", "'metric.k'"),
        ("n", "'dataset.n'"),
        ("batch_size", "'extract.batch_size'"),
        ("id", "model_a.id or model_b.id"),
    ],
)
def test_a_key_without_a_dot_is_compared_with_groups_first(typed, offered):
    assert for_key(typed, [*KEYS, "metric"]) == f"; did you mean {offered}?"


@pytest.mark.parametrize("typed", ["zebra", "xy", "zebra.x"])
def test_nothing_is_offered_for_what_resembles_nothing(typed):
    assert for_key(typed, KEYS) == ""


@pytest.mark.parametrize(
    ("key", "typed", "folder", "offered"),
    [
        ("model@model_a", "/a/folder", MODELS, "a model of a folder or a hub is given as model@model_a=gpt2 model_a.id=/a/folder"),
        (
            "model@model_b",
            "OWNER/NAME",
            MODELS,
            "a model of a folder or a hub is given as model@model_b=gpt2 model_b.id=OWNER/NAME",
        ),
        ("model@model_a", "~/x", MODELS, "a model of a folder or a hub is given as model@model_a=gpt2 model_a.id=~/x"),
        ("model@model_b", "/a/x.npz", MODELS, "vectors of a file are given as model@model_b=stored model_b.path=/a/x.npz"),
        (
            "model@model_a",
            "x.safetensors",
            MODELS,
            "vectors of a file are given as model@model_a=stored model_a.path=x.safetensors",
        ),
        ("model@model_a", "meta-llama/Llama-3.2-1B", MODELS, "did you mean 'llama-3.2-1b'?"),
        ("model@model_a", "gpt3", MODELS, "did you mean 'gpt2'?"),
        ("language@language_a", "german", LANGUAGES, "did you mean 'de'?"),
        ("dataset", "/a/texts.csv", DATASETS, "texts of a file are given as dataset=local dataset.path=/a/texts.csv"),
        ("dataset", "texts.jsonl", DATASETS, "texts of a file are given as dataset=local dataset.path=texts.jsonl"),
        ("dataset", "speech", DATASETS, "did you mean 'speeches'?"),
    ],
)
def test_a_name_that_no_file_has_is_met_with_where_it_belongs(key, typed, folder, offered):
    known = [file.stem for file in Path(folder).glob("*.yaml")]
    assert for_file(key, key.partition("@")[0], typed, known, Path(folder)) == f"; {offered}"


def test_a_model_in_a_folder_of_a_plain_name_is_one(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert for_file("model@model_a", "model", "mine", ["gpt2"], MODELS).endswith("given as model@model_a=gpt2 model_a.id=mine")
