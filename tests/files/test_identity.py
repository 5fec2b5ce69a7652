"""What makes two runs the same: a sweep that was begun before modules were moved goes on, and its runs are read.

`sweep_of_29c6b20` is a sweep of two metrics over 12 items of two files of vectors, as that commit wrote it: its configs name
classes by paths that are no longer there, and its jobs are told apart by these paths.
"""

import json
import shutil
from pathlib import Path

import pytest

import layeratlas
from layeratlas.files.identity import comparable, placeless

OLD = Path(__file__).parent / "sweep_of_29c6b20"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_sweep_from_before_the_moves_goes_on_where_it_was_left(old, command, capfd):
    kept = (old / "sweep" / "0" / "result.json").read_bytes()
    before = layeratlas.read_run("sweep/1").affinity
    shutil.rmtree("sweep/1")
    assert command("-m", where=["hydra.sweep.dir=sweep"]) == 0
    assert "1 jobs to run of 2 (1 done, 1 missing)" in capfd.readouterr().out
    assert (old / "sweep" / "0" / "result.json").read_bytes() == kept
    assert layeratlas.read_run("sweep/1").affinity.equals(before)


def test_a_finished_sweep_from_before_the_moves_is_kept_by_its_own_command(old, command, capfd):
    plan = json.loads((old / "sweep" / "jobs.json").read_text())
    own, other = (job["overrides"] for job in plan["jobs"])
    typed = [override for override in own if override in other]
    assert command("-m", *typed, "metric=mutual_knn,cka_linear", where=["hydra.sweep.dir=sweep"]) == 0
    assert "0 jobs to run of 2 (2 done)" in capfd.readouterr().out


def test_other_jobs_are_refused_in_a_sweep_from_before_the_moves(old, command, capfd):
    plan = json.loads((old / "sweep" / "jobs.json").read_text())
    assert command("-m", *plan["jobs"][0]["overrides"], "seed=1,2", where=["hydra.sweep.dir=sweep"]) == 2
    assert "holds a sweep of other jobs" in capfd.readouterr().err


def test_a_run_from_before_the_moves_is_the_run_of_the_same_config(old, command, capfd):
    overrides = json.loads((old / "sweep" / "jobs.json").read_text())["jobs"][0]["overrides"]
    assert command(*overrides, where=["hydra.run.dir=sweep/0"]) == 0
    assert "holds this run already" in capfd.readouterr().out


def test_a_run_from_before_the_moves_is_read(old):
    run = layeratlas.read_run(old / "sweep" / "0")
    assert run.result["metric"]["name"] == "mutual_knn"
    assert run.affinity.shape == (3, 3)
    assert set(run.tables) == {"affinity", "items", "diagonal"}


def test_a_module_that_moves_changes_no_identity():
    before = {"metric": {"_target_": "layeratlas.metrics.MutualKNN", "k": 10}, "analysis": {"x": {"_target_": "layeratlas.a.X"}}}
    after = {"metric": {"_target_": "layeratlas.b.c.MutualKNN", "k": 10}, "analysis": {"x": {"_target_": "layeratlas.x.X"}}}
    assert comparable(before) == comparable(after)


def test_another_class_is_another_run():
    assert placeless({"_target_": "layeratlas.metrics.MutualKNN"}) != placeless({"_target_": "layeratlas.metrics.JaccardKNN"})


def test_classes_of_a_users_own_are_told_apart_by_their_modules():
    assert placeless([{"_target_": "mine.Metric"}]) != placeless([{"_target_": "yours.Metric"}])


def test_where_a_run_computes_and_what_is_made_of_it_make_no_other_run():
    config = {"seed": 0, "store": {"dir": "x"}, "device": "cpu", "study": {"depth": {}}}
    assert comparable(config) == comparable({"seed": 0, "store": {"dir": "y"}, "device": "cuda"}) == {"seed": 0}


def test_a_new_field_of_models_that_is_not_used_makes_no_other_run():
    assert comparable({"model_a": {"id": "gpt2"}}) == comparable({"model_a": {"id": "gpt2", "edit": None}})
    assert comparable({"model_a": {"id": "gpt2"}}) != comparable({"model_a": {"id": "gpt2", "edit": "x.safetensors"}})
    assert comparable({"model_a": {"id": "gpt2"}}) == comparable({"model_a": {"id": "gpt2", "generation_prompt": True}})
    assert comparable({"model_a": {"id": "gpt2"}}) != comparable({"model_a": {"id": "gpt2", "generation_prompt": False}})


def test_a_new_field_of_datasets_that_is_not_used_makes_no_other_run():
    before = {"dataset": {"path": "x.csv", "n": 4}}
    assert comparable(before) == comparable({"dataset": before["dataset"] | {"leave_out_empty": False, "language_column": None}})
    assert comparable(before) != comparable({"dataset": before["dataset"] | {"leave_out_empty": True}})
