"""Sweeps on a real SLURM: what lands, what is told of jobs that fail or are killed, and that they go on where they were."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import TEXTS, save_tiny
from pages import write_users_own_files
from slurm.cluster import Cluster

import layeratlas
from layeratlas.files.store import Store

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "src" / "run.py"
PATIENCE = 420  # seconds; without an end, a launcher that waits for a lost job would wait for ever


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(folder)
    cluster.up()
    yield cluster
    cluster.down()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    for seed in range(4):
        save_tiny("gpt2", folder / f"tiny-{seed}", seed)
    return [str(folder / f"tiny-{seed}") for seed in range(4)]


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> Path:
    """Enough of them for the extraction of a model, one text at a time, to take several seconds and six shards."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [{"id": f"t{i}", "en": f"{TEXTS[i % len(TEXTS)]} {i}"} for i in range(6 * 256)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


class Launched:
    """A command line that runs: `src/run.py` with what the cluster and these tests need."""

    def __init__(self, cluster: Cluster, arguments: list[str], log: Path) -> None:
        source = {"PYTHONPATH": str(SCRIPT.parent), "OMP_NUM_THREADS": "1"}
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}  # the launcher's to set
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *arguments],
                env=environment | cluster.environment | source,
                cwd=log.parent,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored by what is started in the background
            )

    def ends(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"did not end\n{self.told()}")

    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def launch(cluster, models, texts, tmp_path) -> Iterator[Callable[..., Launched]]:
    """Start a sweep on the cluster, below tmp_path, of two tiny models on 40 texts, or whatever else is said."""

    begun = []

    def launched(*arguments: str, store: str = "store", sweep: str = "sweep", n: int = 40) -> Launched:
        sides = [f"model@model_{side}=gpt2" for side in "ab"] + [f"model_a.id={models[0]}", f"model_b.id={models[1]}"]
        texts_of = ["dataset=local", f"dataset.path={texts}", f"dataset.n={n}", "k=3", f"store.dir={tmp_path / store}"]
        where = ["-m", "hydra/launcher=slurm_local_test", f"hydra.sweep.dir={tmp_path / sweep}"]
        given = {argument.split("=")[0] for argument in arguments}
        given |= {f"{key.removeprefix('model@')}.id" for key in given if key.startswith("model@")}  # its file names it
        common = [argument for argument in [*sides, *texts_of] if argument.split("=")[0] not in given]
        begun.append(Launched(cluster, [*where, *common, *arguments], tmp_path / f"{sweep}.log"))
        return begun[-1]

    yield launched
    for one in begun:
        one.process.kill()  # a launcher whose test has failed would wait for ever


def status(cluster: Cluster, tmp_path: Path, sweep: str = "sweep") -> str:
    looked = Launched(cluster, ["stage=status", f"sweep_dir={tmp_path / sweep}"], tmp_path / f"status-{time.time()}.log")
    assert looked.ends() == 0, looked.told()
    return looked.told()


def wait_for(happened: Callable[[], object], what: str, launched: Launched) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end or launched.process.poll() is not None:
            pytest.fail(f"{what} did not come\n{launched.told()}")
        time.sleep(0.05)


def shards(folder: Path) -> dict[Path, int]:
    """The vectors of shards of which both poolings are there, and when they were written."""
    vectors = [path for path in Store(folder).objects() if path.suffix == ".safetensors"]
    keys = [path.name.split("-")[0] for path in vectors]
    return {path: path.stat().st_mtime_ns for path, key in zip(vectors, keys, strict=True) if keys.count(key) == 2}


def worker(sweep: Path) -> dict:
    return json.loads((sweep / "0" / "running.json").read_text(encoding="utf-8"))


def test_a_sweep_of_six_pairs_lands_complete_with_two_jobs_at_once(cluster, launch, models, tmp_path):
    every = ",".join(models)
    launched = launch(f"model_a.id={every}", f"model_b.id={every}", "hydra.launcher.array_parallelism=2")
    assert launched.ends() == 0, launched.told()
    runs = layeratlas.read_sweep(tmp_path / "sweep")
    assert len({frozenset((run.result["a"]["model"], run.result["b"]["model"])) for run in runs}) == 6
    assert len(pd.read_csv(tmp_path / "sweep" / "summary.csv")) == 6
    (array,) = {name[1] for job in (tmp_path / "sweep" / ".submitit").iterdir() if (name := re.fullmatch(r"(\d+)_\d+", job.name))}
    told = cluster.run("scontrol", "--oneliner", "show", "job", array).stdout
    times = [pd.Timestamp(stamp) for pair in re.findall(r"StartTime=(\S+) EndTime=(\S+)", told) for stamp in pair]
    starts, ends = np.array(times[::2]), np.array(times[1::2])
    assert len(starts) == 6
    assert max(int(((starts <= start) & (start < ends)).sum()) for start in starts) == 2
    assert "6 done, 10 skipped" in status(cluster, tmp_path)


def test_a_model_and_a_metric_of_the_users_own_reach_the_nodes(cluster, launch, models, tmp_path):
    mine = write_users_own_files(tmp_path, models[0])
    launched = launch(f"hydra.searchpath=[{mine}]", "model@model_a=tuned", "metric=norm_correlation", "seed=0,1")
    assert launched.ends() == 0, launched.told()
    runs = layeratlas.read_sweep(tmp_path / "sweep")
    assert [(run.result["metric"]["name"], run.result["a"]["family"]) for run in runs] == [("norm_correlation", "tuned")] * 2


def test_a_job_that_raises_leaves_its_traceback_and_its_siblings(cluster, launch, tmp_path):
    launched = launch("pooling._target_=layeratlas.extraction.pooling.last,os.path.join")
    assert launched.ends() == 1
    assert "layeratlas: 1 of 2 jobs failed; job 1: TypeError: " in launched.told()
    error = (tmp_path / "sweep" / "1" / "error.txt").read_text(encoding="utf-8")
    assert error.startswith("TypeError: ")
    assert "Traceback (most recent call last)" in error
    told = status(cluster, tmp_path)
    assert "1 done, 1 failed" in told
    assert f"({error.splitlines()[0]})" in told


def test_a_killed_job_is_reported_and_goes_on_from_its_shards(cluster, launch, tmp_path):
    launched = launch("extract.exact=true", n=1536)
    wait_for(lambda: shards(tmp_path / "store"), "a shard", launched)
    job = psutil.Process(worker(tmp_path / "sweep")["pid"])
    assert job.environ()["HF_HUB_OFFLINE"] == "1"
    job.kill()
    before = shards(tmp_path / "store")
    assert launched.ends() == 1
    assert "1 failed" in status(cluster, tmp_path)
    assert "killed without a word (SLURM job " in launched.told()
    again = Launched(cluster, ["-m", "hydra/launcher=slurm_local_test", f"hydra.sweep.dir={tmp_path / 'sweep'}"], launched.log)
    assert again.ends() == 0, again.told()
    after = shards(tmp_path / "store")
    assert before.items() <= after.items()
    assert len(before) < len(after) == 24  # six shards of two poolings of two models
    assert "1 done" in status(cluster, tmp_path)


@pytest.mark.parametrize(
    "options", [[], ["hydra.launcher.timeout_min=60", "hydra.launcher.max_num_timeout=0"]], ids=["time-out", "preemption"]
)
def test_a_job_told_to_end_is_queued_again_and_gives_the_bytes_of_an_undisturbed_one(cluster, launch, tmp_path, options):
    disturbed = launch("extract.exact=true", *options, n=1536)
    wait_for(lambda: shards(tmp_path / "store"), "a shard", disturbed)
    first = worker(tmp_path / "sweep")
    before = shards(tmp_path / "store")
    cluster.run("scancel", "--signal=USR2", first["slurm"])
    undisturbed = launch("extract.exact=true", n=1536, store="other", sweep="calm")
    assert (disturbed.ends(), undisturbed.ends()) == (0, 0), disturbed.told()
    after = shards(tmp_path / "store")
    assert before.items() <= after.items()
    assert len(before) < len(after)
    logs = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").rglob("*.err"))
    assert f"this job is {'preempted' if options else 'timed-out'}" in logs
    names = [[path.relative_to(tmp_path / store) for path in Store(tmp_path / store).objects()] for store in ("store", "other")]
    assert names[0] == names[1]  # a name holds the checksum of the bytes
    for name in ("affinity.npz", "affinity.parquet", "items.parquet", "neighbors.npz"):
        assert (tmp_path / "sweep" / "0" / name).read_bytes() == (tmp_path / "calm" / "0" / name).read_bytes()


def test_a_job_out_of_time_for_good_says_so(cluster, launch, tmp_path):
    launched = launch("extract.exact=true", "hydra.launcher.max_num_timeout=0", n=1536)
    wait_for(lambda: shards(tmp_path / "store"), "a shard", launched)
    cluster.run("scancel", "--signal=USR2", worker(tmp_path / "sweep")["slurm"])
    assert launched.ends() == 1
    assert "TimedOut: Job not requeued because: timed-out too many times" in (tmp_path / "sweep" / "0" / "error.txt").read_text()


def test_ctrl_c_says_what_runs_on_and_a_sweep_is_not_done_twice_at_once(cluster, launch, tmp_path):
    launched = launch("extract.exact=true", n=1536)
    wait_for((tmp_path / "sweep" / "0" / "running.json").exists, "the job", launched)
    slurm = worker(tmp_path / "sweep")["slurm"]
    os.kill(launched.process.pid, signal.SIGINT)
    assert launched.ends() == 130
    assert f"SLURM jobs {slurm} of this sweep wait or run on; scancel {slurm} ends them" in launched.told()
    assert f"(SLURM job {slurm}, process " in status(cluster, tmp_path)
    again = Launched(
        cluster, ["-m", "hydra/launcher=slurm_local_test", f"hydra.sweep.dir={tmp_path / 'sweep'}"], tmp_path / "2.log"
    )
    assert again.ends() == 2
    assert f"SLURM jobs {slurm} of this sweep still wait or run" in again.told()
    cluster.run("scancel", slurm)


def test_a_mistake_in_a_job_is_one_clear_line(cluster, launch):
    launched = launch("k=50")
    assert launched.ends() == 2
    mistake = "dataset.n: mutual_knn needs at least 51 items (k + 1); got 40"
    assert launched.told().strip().splitlines()[-1].startswith(f"layeratlas: 1 of 1 jobs failed; job 0: {mistake}; stage=status")


def readme_commands() -> list[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Sweeps and clusters")[1]
    export, *commands = section.split("```")[1].strip().splitlines()
    assert len(commands) == 4
    return [f"{export}; {command.replace('uv run src/run.py', f'{sys.executable} {SCRIPT}')}" for command in commands]


def test_the_four_commands_of_the_readme_work_as_they_stand(cluster, tmp_path):
    """On 40 texts, without statistics; the store is the user's, where the models are converted already."""
    environment = os.environ | cluster.environment | {"PYTHONPATH": str(SCRIPT.parent)}
    for command in readme_commands():
        less = "" if "summarize" in command else " dataset.n=40 layers=every_6 statistics=off"
        done = subprocess.run(
            command + less, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (run,) = layeratlas.read_sweep(tmp_path / "multirun" / "pairs")
    assert (run.result["a"]["model"], run.result["b"]["model"]) == ("SmolLM2-135M-Instruct-Q4_1", "gemma-3-270m-Q4_K_M")
    assert (tmp_path / "multirun" / "pairs" / "summary.parquet").exists()
    extracted = sorted((tmp_path / "multirun").rglob("extracted.json"))
    assert [json.loads(path.read_text())["b"]["model"] for path in extracted] == [
        "SmolLM2-135M-Instruct-Q4_1",
        "gemma-3-270m-Q4_K_M",
    ]
