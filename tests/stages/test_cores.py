"""Threads wait asleep, and no process has more of them than cores of its own, however it was started."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import torch
from conftest import TEXTS

import layeratlas
from layeratlas.stages.cores import limit_threads, own_cores, shared_cores
from layeratlas.stages.sweeping import _cores_of

SCRIPT = Path(__file__).parents[2] / "src" / "run.py"


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores on which nobody has set a number of threads; torch starts with this many."""

    def having(threads: int = 4) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
        monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
        torch.set_num_threads(threads)

    yield having
    torch.set_num_threads(1)


def openmp(arguments: list[str], folder: Path, **environment: str) -> list[dict[str, str]]:
    """What OpenMP says of itself in each process of a command that loads it."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    asked = cleared | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return displayed(done.stderr)


def displayed(log: str) -> list[dict[str, str]]:
    shown = log.split("OPENMP DISPLAY ENVIRONMENT BEGIN")[1:]
    return [dict(re.findall(r"(\w+) = '([^']*)'", one.split("OPENMP DISPLAY ENVIRONMENT END")[0])) for one in shown]


@pytest.mark.slow
def test_the_script_waits_passively(tmp_path):
    (told,) = openmp([str(SCRIPT), "stage=store", "store.dir=here"], tmp_path)
    assert (told["OMP_WAIT_POLICY"], told["GOMP_SPINCOUNT"]) == ("PASSIVE", "0")


def test_importing_the_package_makes_waiting_passive_unless_the_user_has_said_how(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    importlib.reload(layeratlas)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    importlib.reload(layeratlas)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_threads_are_as_many_as_cores_that_slurm_allots(machine, monkeypatch):
    machine()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    limit_threads()
    assert torch.get_num_threads() == 3


def test_an_allotment_larger_than_the_machine_adds_no_cores(machine, monkeypatch):
    machine()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    assert own_cores() == 4


def test_threads_are_as_many_as_a_container_may_keep_busy(machine):
    machine(threads=8)
    limit_threads()
    assert torch.get_num_threads() == 4


def test_threads_are_never_raised(machine):
    machine(threads=2)
    limit_threads()
    assert torch.get_num_threads() == 2


def test_a_number_of_threads_that_was_set_stays(machine, monkeypatch):
    machine(threads=8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    limit_threads()
    assert torch.get_num_threads() == 8


@pytest.mark.parametrize(("processes", "each"), [(1, "4"), (2, "2"), (3, "1"), (40, "1")])
def test_processes_that_start_together_share_the_cores(machine, processes, each):
    machine()
    with shared_cores(processes):
        assert os.environ["OMP_NUM_THREADS"] == each
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_share_is_not_imposed_on_who_has_set_a_number(machine, monkeypatch):
    machine()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with shared_cores(4):
        assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_jobs_that_submitit_starts_on_this_machine_share_it_and_those_on_a_cluster_do_not(machine):
    # Hydra makes its plugins' modules anew when it looks for them, as other tests have it do.
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher, SlurmLauncher

    machine()
    with _cores_of(LocalLauncher(), 2):
        assert os.environ["OMP_NUM_THREADS"] == "2"
    with _cores_of(SlurmLauncher(), 2):
        assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local_parallel", "submitit_local"])
def test_workers_wait_passively_and_share_the_cores(launcher, checkpoint_folder, tmp_path):
    rows = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    models = [f"model@model_{side}=gpt2" for side in "ab"] + [f"model_{side}.id={checkpoint_folder('gpt2')}" for side in "ab"]
    texts = ["dataset=local", f"dataset.path={tmp_path / 'texts.jsonl'}", "k=3", "stage=extract", f"store.dir={tmp_path / 'store'}"]
    asked = [str(SCRIPT), "-m", f"hydra/launcher={launcher}", *models, *texts, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    if launcher == "local_parallel":
        asked.append("hydra.launcher.n_jobs=2")
    ours, *workers = openmp(asked, tmp_path)
    workers += [told for log in tmp_path.rglob("*_log.err") for told in displayed(log.read_text())]
    assert len(workers) >= 2
    assert {told["OMP_WAIT_POLICY"] for told in [ours, *workers]} == {"PASSIVE"}
    assert {told["OMP_NUM_THREADS"] for told in workers} == {str(max(1, joblib.cpu_count() // 2))}
