"""A finished run is of what the user's files held: it is not taken for one of what they hold now."""

import os
import re
import shutil

import pytest
from running import command as command
from running import last_line
from running import texts_file as texts_file
from running import tiny as tiny

from layeratlas.errors import ConfigError
from layeratlas.stages.inputs import INPUTS, inputs_of, require_same_inputs


@pytest.fixture
def provenance(tmp_path):
    """Of a run that has read a file of texts, a folder of weights and an edit."""
    files = {"texts.csv": "id,text\n1,a", "edit.safetensors": "vectors"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    model = {"id": str(tmp_path / "model"), "edit": str(tmp_path / "edit.safetensors"), "adapter": None}
    config = {"model_a": model, "model_b": {"id": "owner/name"}, "dataset": {"path": str(tmp_path / "texts.csv")}}
    return {"config": config, INPUTS: inputs_of(config)}


def test_files_and_folders_that_a_config_names_are_on_record_and_names_of_hubs_are_not(provenance):
    assert set(provenance[INPUTS]) == {"model_a.id", "model_a.edit", "dataset.path"}


def test_a_run_whose_files_are_as_they_were_stands(provenance, tmp_path):
    os.utime(tmp_path / "texts.csv")  # touched, and the same
    require_same_inputs(tmp_path, provenance)


@pytest.mark.parametrize(
    ("key", "file"), [("dataset.path", "texts.csv"), ("model_a.edit", "edit.safetensors"), ("model_a.id", "model/config.json")]
)
def test_a_file_that_holds_something_else_by_now_is_named(key, file, provenance, tmp_path):
    (tmp_path / file).write_text("other")
    named = tmp_path / file.partition("/")[0]
    with pytest.raises(ConfigError, match=re.escape(f"run holds a finished run of what {key}={named} held before it was changed")):
        require_same_inputs(tmp_path / "run", provenance)


def test_a_file_that_is_gone_contradicts_nothing(provenance, tmp_path):
    (tmp_path / "texts.csv").unlink()
    shutil.rmtree(tmp_path / "model")
    require_same_inputs(tmp_path, provenance)


def test_a_run_without_a_record_of_its_files_stands(provenance, tmp_path):
    (tmp_path / "texts.csv").write_text("other")
    require_same_inputs(tmp_path, {"config": provenance["config"]})


@pytest.mark.slow
@pytest.mark.parametrize("swept", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_texts_that_changed_after_a_run_are_refused_by_the_same_command(swept, command, tiny, texts_file, capfd):
    assert command(*tiny, *swept) == 0
    assert command(*tiny, *swept) == 0  # kept as it is
    texts_file.write_text(texts_file.read_text(encoding="utf-8").replace("0", "zero"), encoding="utf-8")
    assert command(*tiny, *swept) == 2
    assert f"holds a finished run of what dataset.path={texts_file} held before it was changed; it is kept" in last_line(capfd)
