"""Folders of runs and sweeps, taken for each other, and what a run looks like where its name is typed."""

import pytest
from pages_by_hand import paged_run

import layeratlas
from layeratlas.errors import ConfigError


def test_a_run_is_shown_in_one_line(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run"))
    assert repr(run) == f"<Run ant (en) x bee (de): 6 x 4 layers, mutual_knn, n = 40 of texts, in {tmp_path / 'run'}>"


def test_the_folder_of_a_run_is_no_sweep_and_that_of_a_sweep_no_run(tmp_path):
    run = paged_run(tmp_path / "sweep" / "0")
    (tmp_path / "sweep" / "jobs.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"/sweep/0: is the folder of one run; read_run reads it$"):
        layeratlas.read_sweep(run)
    with pytest.raises(ConfigError, match=r"no finished run here .*; it is a sweep's folder: read_sweep reads its runs$"):
        layeratlas.read_run(tmp_path / "sweep")
    assert len(layeratlas.read_sweep(tmp_path / "sweep")) == 1


def test_a_folder_without_jobs_or_runs_is_no_sweep_and_a_sweep_that_has_not_finished_a_job_is_one(tmp_path):
    with pytest.raises(ConfigError, match=r": no sweep here \(no jobs\.json, and no folder of a finished run\)$"):
        layeratlas.read_sweep(tmp_path)
    (tmp_path / "jobs.json").write_text("{}")
    assert layeratlas.read_sweep(tmp_path) == []
