"""Sweeps: which pairs are run, what the files say of each job, how a sweep is gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from running import last_line

from layeratlas.affinity.matrix import Affinity
from layeratlas.errors import ConfigError
from layeratlas.files.processes import myself
from layeratlas.runs import at_work, states
from layeratlas.runs.jobs import Job, continued, jobs_of, mirrored, write_jobs
from layeratlas.runs.matrices import write_arrays
from layeratlas.runs.writing import write_result
from layeratlas.stages.sweeping import _symmetric

CONF = Path(__file__).parents[2] / "conf"


def grid(models_a, models_b, **constants):
    rest = [f"{key}={value}" for key, value in constants.items()]
    return [[f"model@model_a={a}", f"model@model_b={b}", *rest] for a in models_a for b in models_b]


def composed(overrides):
    """What Hydra makes of these: language b follows language a."""
    config = dict(override.replace("model@", "").replace("language@", "").split("=") for override in overrides)
    language = config.get("language_a", "en")
    return {"language_a": language, "language_b": config.get("language_b", language), "metric": "knn", "store": "x"} | config


def planned(combinations, symmetric=True, self_pairs=False):
    return jobs_of(combinations, composed, lambda config: symmetric, self_pairs=self_pairs)


def pairs(jobs):
    return ["".join(override[-1] for override in job.overrides[:2]) for job in jobs if not job.skipped]


def test_each_unordered_pair_is_run_once_and_its_mirror_points_to_it():
    jobs = planned(grid("ABC", "ABC"))
    assert pairs(jobs) == ["AB", "AC", "BC"]
    assert [job.number for job in jobs] == list(range(9))
    mirror = next(job for job in jobs if job.overrides[:2] == ["model@model_a=C", "model@model_b=A"])
    assert (mirror.twin, mirror.skipped) == (1, "the same comparison as job 1")
    assert "self_pairs=true" in next(job.skipped for job in jobs if job.overrides[0][-1] == job.overrides[1][-1])


def test_self_pairs_are_run_if_asked_for():
    assert pairs(planned(grid("AB", "AB"), self_pairs=True)) == ["AA", "AB", "BB"]


@pytest.mark.parametrize("sides", [["b"], ["a", "b"]])
def test_a_side_against_a_control_of_itself_is_no_pair_of_sides(sides):
    """Of `control=other_items` side b alone is replaced: both orders of two sides differ, and no side is paired with itself."""

    def of_control(overrides):
        return composed(overrides) | {"control": {"sides": sides}}

    def jobs(self_pairs):
        return pairs(jobs_of(grid("AB", "AB"), of_control, lambda config: True, self_pairs=self_pairs))

    both = ["AB"] if len(sides) == 2 else ["AB", "BA"]
    assert jobs(self_pairs=False) == both
    assert jobs(self_pairs=True) == sorted(["AA", *both, "BB"])


def test_against_a_reference_nothing_is_left_out():
    assert pairs(planned(grid("A", "ABC"))) == ["AA", "AB", "AC"]
    assert pairs(planned(grid("ABC", "C"))) == ["AC", "BC", "CC"]


def test_both_orders_are_run_where_the_sides_differ_in_more_than_the_model():
    jobs = planned(grid("AB", "AB", **{"language@language_a": "en", "language@language_b": "de"}))
    assert pairs(jobs) == ["AA", "AB", "BA", "BB"]


def test_languages_are_sides_too():
    combinations = [
        [*job, f"language@language_a={x}", f"language@language_b={y}"] for job in grid("AB", "AB") for x in "xy" for y in "xy"
    ]
    jobs = planned(combinations)
    assert len([job for job in jobs if not job.skipped]) == 6  # of 4 sides
    assert len(jobs) == 16


def test_a_mirror_is_found_where_the_language_of_b_follows():
    jobs = planned([[*job, f"language@language_a={x}"] for job in grid("AB", "AB") for x in ("en", "de")])
    assert [job.overrides for job in jobs if not job.skipped] == [
        [*grid("A", "B")[0], f"language@language_a={x}"] for x in ("en", "de")
    ]


def test_checkpoints_of_one_model_are_pairs():
    combinations = [[f"model_a.revision={x}", f"model_b.revision={y}"] for x in "123" for y in "123"]
    assert len([job for job in planned(combinations) if not job.skipped]) == 3


def test_an_asymmetric_metric_is_run_in_both_orders():
    assert pairs(planned(grid("AB", "AB"), symmetric=False)) == ["AB", "BA"]


def test_a_value_given_twice_is_run_once():
    jobs = planned(grid("A", "BB"))
    assert pairs(jobs) == ["AB"]
    assert jobs[1].twin == 0


def test_a_mirror_of_a_kind_that_was_seen_is_not_composed():
    seen = []
    jobs_of(grid("ABCDE", "ABCDE"), lambda overrides: seen.append(1) or composed(overrides), lambda config: True, self_pairs=False)
    assert len(seen) == 5 + 10 + 1


def test_a_config_with_its_sides_exchanged():
    config = {"model_a": {"id": 1}, "model_b": {"id": 2}, "dataset": {"field_a": "x", "field_b": "y", "n": 3}, "alpha": [1]}
    other = {"model_b": {"id": 1}, "model_a": {"id": 2}, "dataset": {"field_b": "x", "field_a": "y", "n": 3}, "alpha": [1]}
    assert mirrored(config) == other
    assert mirrored(other) == config


def test_a_control_of_one_side_is_one_of_the_other_side_after_the_exchange():
    assert mirrored({"control": {"sides": ["b"]}}) == {"control": {"sides": ["a"]}}
    assert mirrored({"control": {"sides": ["a", "b"]}}) == {"control": {"sides": ["a", "b"]}}
    assert mirrored({"control": {"sides": ["c"]}}) == {"control": {"sides": ["c"]}}  # for the control to refuse


def test_a_key_that_only_holds_a_b_is_no_side():
    combinations = [["model@model_a=A", "model@model_b=A", f"model_a.skip_blocks={x}"] for x in "12"]
    jobs = jobs_of(
        combinations, lambda overrides: {"model_a": overrides[2][-1], "model_b": "1"}, lambda config: True, self_pairs=False
    )
    assert not any(job.skipped for job in jobs)


@pytest.mark.parametrize(
    ("metric", "symmetric"), [("rsa_cosine_spearman", True), ("mutual_knn", True), ("linear_regression_cv_a_to_b", False)]
)
def test_a_metric_of_the_config_says_whether_one_order_of_the_sides_does(metric, symmetric, monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "store")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "test")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", [f"metric={metric}"]), resolve=True)
    assert _symmetric(config) == symmetric
    assert not _symmetric({"metric": {"_target_": "layeratlas.metrics.MutualKNN", "k": 0}})


def test_a_sweep_goes_on_under_its_old_numbers_and_refuses_other_jobs(tmp_path):
    before = planned(grid("A", "BC"))
    again = continued(planned([["model@model_b=C", "model@model_a=A"], *grid("A", "B")]), before, tmp_path)
    assert [job.overrides for job in again] == [grid("A", "B")[0], ["model@model_b=C", "model@model_a=A"]]
    with pytest.raises(ConfigError, match="holds a sweep of other jobs: model@model_a=A model@model_b=D is not in it"):
        continued(planned(grid("A", "BD")), before, tmp_path)
    with pytest.raises(ConfigError, match="model@model_a=A model@model_b=C is job 1 in it"):
        continued(planned(grid("A", "B")), before, tmp_path)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of seven jobs, one in each state, and one twin."""
    write_jobs(
        tmp_path, [Job(i, ["stage=all", f"x={i}"], str(i)) for i in range(7)] + [Job(7, ["stage=all", "x=7"], None, "twin", 0)]
    )
    for number in range(6):
        (tmp_path / str(number)).mkdir()
    affinity = Affinity(np.eye(2), np.eye(2), ["x", "y"], ["x", "y"], [0.5, 1.0], [0.5, 1.0], 9, [], [])
    write_result(tmp_path / "0", {}, [write_arrays(tmp_path / "0", affinity)])
    (tmp_path / "1" / "error.txt").write_text("ValueError: no such thing\n\nTraceback ...")
    (tmp_path / "2" / "skipped.json").write_text('{"reason": "no de in it"}')
    (tmp_path / "3" / "running.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "slurm": "7_3", "since": "now"}))
    (tmp_path / "4" / "running.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "slurm": None, "since": "now"}))
    os.utime(tmp_path / "4" / "running.json", (time.time() - 3600,) * 2)
    (tmp_path / "5" / "extracted.json").write_text("{}")
    return tmp_path


def test_the_state_of_each_job_is_told_from_files_alone(sweep):
    found = states.states_of(sweep)
    assert [state.state for state in found] == ["done", "failed", "skipped", "running", "failed", "done", "missing", "skipped"]
    assert found[1].detail == "ValueError: no such thing"
    assert found[2].detail == "no de in it"
    assert found[3].detail == "SLURM job 7_3, process 1 on elsewhere, since now"
    assert found[4].detail.startswith("killed without a word")
    assert states.count(found) == "2 done, 1 running, 2 failed, 1 missing, 2 skipped"
    assert states.listing(found, found).splitlines()[1] == "    1  failed   x=1  (ValueError: no such thing)"


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no sweep here"):
        states.states_of(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        states.states_of(tmp_path / "nowhere")


def test_a_job_shows_that_it_runs_and_leaves_no_trace(tmp_path):
    with at_work.at_work(tmp_path):
        assert str(os.getpid()) in (at_work.sign_of_life(tmp_path) or "")
        assert at_work.killed(tmp_path) is None
    assert at_work.sign_of_life(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_job_is_told_from_a_running_one(tmp_path):
    work = f"with at_work(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    code = f"import os, pathlib\nfrom layeratlas.runs.at_work import at_work\n{work}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert at_work.sign_of_life(tmp_path) is None
    assert at_work.killed(tmp_path)


def swallow_everything():
    try:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(1)
    except Exception:
        pytest.fail("a time-out was swallowed")


def test_a_time_out_passes_broad_excepts(tmp_path):
    def expires(number, frame):
        raise RuntimeError("timed-out too many times")

    before = signal.signal(signal.SIGUSR2, expires)
    try:
        with pytest.raises(at_work.TimedOut, match="too many times"), at_work.at_work(tmp_path):
            swallow_everything()
        assert signal.getsignal(signal.SIGUSR2) is expires
    finally:
        signal.signal(signal.SIGUSR2, before)


# one run a folder, and which process it is


def running(folder, **who):
    said = {"host": "elsewhere", "pid": 1, "slurm": None, "since": "now", "machine": "01234567", "started": 1} | who
    (folder / "running.json").write_text(json.dumps(said))


def here(**other):
    me = myself()
    return {"pid": me.pid, "machine": me.machine, "started": me.started} | other


def test_a_killed_job_whose_process_id_is_in_use_again_does_not_run(tmp_path):
    running(tmp_path, **here(started=1))
    assert at_work.sign_of_life(tmp_path) is None
    assert at_work.killed(tmp_path)
    at_work.claim(tmp_path)
    assert str(os.getpid()) in (at_work.sign_of_life(tmp_path) or "")


def test_a_folder_in_which_another_process_works_is_refused(tmp_path):
    other = subprocess.Popen(["sleep", "60"])
    began = round(10 * (psutil.Process(other.pid).create_time() - psutil.boot_time()))
    running(tmp_path, **here(pid=other.pid, started=began))
    before = (tmp_path / "running.json").read_text()
    with pytest.raises(at_work.AtWork, match=rf"^{tmp_path}: another run is at work here \(process {other.pid} on elsewhere"):
        at_work.claim(tmp_path)
    assert (tmp_path / "running.json").read_text() == before
    other.kill()
    other.wait()
    with at_work.at_work(tmp_path):
        assert str(os.getpid()) in (at_work.sign_of_life(tmp_path) or "")
    assert list(tmp_path.iterdir()) == []


def test_a_job_of_another_machine_is_believed_until_it_has_been_silent_for_long(tmp_path):
    running(tmp_path)
    with pytest.raises(at_work.AtWork, match="try again in 3 minutes"):
        at_work.claim(tmp_path)
    os.utime(tmp_path / "running.json", (time.time() - 3600,) * 2)
    at_work.claim(tmp_path)


def test_a_slurm_job_that_is_queued_again_goes_on_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    running(tmp_path, slurm="8")
    with pytest.raises(at_work.AtWork):
        at_work.claim(tmp_path)
    running(tmp_path, slurm="7")
    at_work.claim(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_sign_of_life_that_cannot_be_read_counts_while_it_is_young(tmp_path, content):
    (tmp_path / "running.json").write_text(content)
    with pytest.raises(at_work.AtWork, match="a process that has just begun"):
        at_work.claim(tmp_path)
    os.utime(tmp_path / "running.json", (time.time() - 3600,) * 2)
    at_work.claim(tmp_path)
    assert str(os.getpid()) in (at_work.sign_of_life(tmp_path) or "")


def test_of_many_that_want_a_folder_at_once_one_gets_it(tmp_path):
    running(tmp_path, **here(started=1))  # left by a killed one
    children = []
    for _ in range(8):
        if not (child := os.fork()):
            try:
                at_work.claim(tmp_path)
                time.sleep(60)  # whoever has it keeps it until all others have tried
                os._exit(0)
            except at_work.AtWork:
                os._exit(3)
            finally:
                os._exit(4)
        children.append(child)
    ended: dict[int, int] = {}
    while len(ended) < 7:
        child, status = os.wait()
        if child in children:
            ended[child] = os.waitstatus_to_exitcode(status)
    (holder,) = set(children) - set(ended)
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert [*ended.values()] == [3] * 7
    assert [path.name for path in tmp_path.iterdir()] == ["running.json"]


@pytest.mark.slow
def test_two_runs_in_one_folder_the_second_is_refused_and_writes_nothing(command, tiny, tmp_path, capfd):
    folder = tmp_path / "out"
    folder.mkdir()
    other = subprocess.Popen(["sleep", "60"])
    began = round(10 * (psutil.Process(other.pid).create_time() - psutil.boot_time()))
    running(folder, **here(pid=other.pid, started=began))
    for more in ([], ["k=4"], ["stage=extract"], ["stage=prefetch"]):
        assert command(*tiny, *more) == 2
        assert last_line(capfd).startswith(f"layeratlas: {folder}: another run is at work here (process {other.pid}")
    assert [path.name for path in folder.iterdir()] == ["running.json"]
    other.kill()
    other.wait()


@pytest.mark.slow
def test_a_sweep_whose_jobs_run_elsewhere_does_nothing_and_says_so_by_its_exit_code(command, tiny, tmp_path, capfd):
    assert command("-m", *tiny, "stage=extract", "dataset.n=8") == 0
    (tmp_path / "sweep" / "0" / "extracted.json").unlink()
    other = subprocess.Popen(["sleep", "60"])
    began = round(10 * (psutil.Process(other.pid).create_time() - psutil.boot_time()))
    running(tmp_path / "sweep" / "0", **here(pid=other.pid, started=began))
    assert command("-m") == 1
    line = last_line(capfd)
    assert line.startswith(f"layeratlas: hydra.sweep.dir={tmp_path / 'sweep'}: 1 jobs are done by other processes (job 0: process")
    other.kill()
    other.wait()
    assert command("-m") == 0
    assert (tmp_path / "sweep" / "0" / "extracted.json").exists()


# a sweep folder that was typed wrong


@pytest.mark.parametrize("existing", [False, True])
def test_going_on_with_a_sweep_that_is_not_there_starts_nothing(command, tmp_path, capfd, existing):
    typed = tmp_path / "typed-wrong"
    if existing:
        typed.mkdir()
        (typed / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for more in ([], ["hydra/launcher=local_parallel"], ["hydra.sweeper.summarize=false"]):
        assert command("-m", *more, where=[f"hydra.sweep.dir={typed}"]) == 2
        expected = f"layeratlas: hydra.sweep.dir={typed}: no sweep there (no jobs.json), and nothing is given to begin one"
        assert last_line(capfd) == expected
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_folder_without_m_starts_nothing(command, tmp_path, capfd):
    assert command(where=[f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 2
    expected = f"layeratlas: hydra.sweep.dir={tmp_path / 'sweep'}: nothing else is given; -m goes on with a sweep"
    assert last_line(capfd) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_new_sweep_in_a_folder_of_choice_begins(command, tiny, tmp_path):
    assert command("-m", *tiny, "stage=extract", "dataset.n=8", where=[f"hydra.sweep.dir={tmp_path / 'new' / 'place'}"]) == 0
    assert (tmp_path / "new" / "place" / "0" / "extracted.json").exists()
