"""What a run wrote is what is read, or the run is named: no flipped bit, no cut file, no missing picture passes unseen."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import last_line
from sweeps_by_hand import write_run

import layeratlas
from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.sealed import sealed, unsealed
from layeratlas.report import figures
from layeratlas.runs import reading, states, writing
from layeratlas.runs.jobs import read_jobs
from layeratlas.runs.matrices import write_arrays
from layeratlas.runs.reading import damage, read_run, read_sweep
from layeratlas.stages.summary import summarize

NUMBERS = ("result.json", "affinity.npz", "affinity.parquet", "diagonal.parquet")


@pytest.fixture
def run(tmp_path) -> Path:
    write_run(tmp_path / "run", "ant", "bee")
    return tmp_path / "run"


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def read_all(folder: Path) -> None:
    read = read_run(folder)
    for name in read.tables:
        read.table(name)


def test_a_run_lists_its_tables_and_refuses_others(run):
    (run / "stale.parquet").write_bytes((run / "diagonal.parquet").read_bytes())
    assert read_run(run).tables == ["affinity", "diagonal"]
    with pytest.raises(ConfigError, match=r"this run has no table 'stale'; there are affinity, diagonal$"):
        read_run(run).table("stale")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_flipped_bit_anywhere_in_any_file_is_found_by_the_reader_of_that_file(run, name):
    whole = (run / name).read_bytes()
    chance = random.Random(7)
    for bit in {*chance.sample(range(8 * len(whole)), 150), *range(8), *range(8 * len(whole) - 160, 8 * len(whole))}:
        (run / name).write_bytes(flipped(whole, bit))
        with pytest.raises(Damaged, match=rf"^{run / name} is damaged \(.*\); the same command with hydra.run.dir={run} makes"):
            read_all(run)
        assert damage(run) is not None
    (run / name).write_bytes(whole)
    read_all(run)
    assert damage(run) is None


def test_every_single_bit_of_a_sealed_file_counts():
    text = sealed("x.json", {"a": 1.5, "b": ["two", None], "nested": {"checksums": {"x.json": "0" * 64}}}, {"y": "1"}).encode()
    assert unsealed("x.json", text)["b"] == ["two", None]
    changed = [*(flipped(text, bit) for bit in range(8 * len(text))), *(text[:cut] for cut in range(len(text)))]
    assert [content for content in changed if passes(content)] == []


def passes(content: bytes) -> bool:
    try:
        return bool(unsealed("x.json", content))
    except ValueError:
        return False


def test_a_sealed_file_that_was_read_can_be_sealed_again():
    once = sealed("x.json", {"a": 1})
    assert sealed("x.json", {**unsealed("x.json", once.encode()), "b": 2}) == sealed("x.json", {"a": 1, "b": 2})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "of another run"])
def test_a_file_that_is_cut_empty_gone_or_of_another_run_is_named(run, tmp_path, name, harm):
    write_run(tmp_path / "other", "ant", "bee", p=0.02)
    pd.DataFrame({"layer": ["x"]}).to_parquet(tmp_path / "other" / "diagonal.parquet")
    pd.DataFrame({"layer": ["x"]}).to_parquet(tmp_path / "other" / "affinity.parquet")
    np.savez(tmp_path / "other" / "affinity.npz", affinity=np.eye(2))
    file = run / name
    if harm == "of another run" and name != "result.json":
        shutil.copy(tmp_path / "other" / name, file)
    elif harm == "gone" and name != "result.json":
        file.unlink()
    else:
        file.write_bytes(b"" if harm == "empty" else file.read_bytes()[:-40])
    with pytest.raises(Damaged, match=rf"^{file} is damaged"):
        read_all(run)


def unseal(folder: Path) -> None:
    """As runs were written before there were checksums."""
    result = json.loads((folder / "result.json").read_text())
    del result["checksums"]
    (folder / "result.json").write_text(json.dumps(result | {"schema_version": 1}))


def test_a_run_of_the_first_schema_has_no_checksums_and_is_read(run):
    expected = read_run(run).arrays["affinity"]
    unseal(run)
    read = read_run(run)
    np.testing.assert_array_equal(read.arrays["affinity"], expected)
    assert read.tables == ["affinity", "diagonal"]
    assert len(read.table("diagonal")) == 4
    assert damage(run) is None


@pytest.mark.parametrize("name", NUMBERS)
def test_a_cut_file_of_the_first_schema_is_named(run, name):
    unseal(run)
    (run / name).write_bytes((run / name).read_bytes()[:-40])
    with pytest.raises(Damaged, match=rf"^{run / name} is damaged"):
        read_all(run)
    assert damage(run) is not None


def test_a_result_whose_checksums_were_taken_out_is_refused(run):
    result = json.loads((run / "result.json").read_text())
    del result["checksums"]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(Damaged, match="its checksums are gone"):
        read_run(run)


def test_two_runs_are_not_compared_if_one_is_damaged(run):
    (run / "affinity.npz").write_bytes(flipped((run / "affinity.npz").read_bytes(), 4321))
    with pytest.raises(Damaged, match=r"affinity\.npz is damaged"):
        layeratlas.compare_runs(read_run(run), read_run(run))


# sweeps


@pytest.fixture(params=[*NUMBERS])
def damaged_sweep(request, sweep) -> Path:
    """Job 1 of five finished ones is damaged in one of its files."""
    file = sweep / "1" / request.param
    file.write_bytes(flipped(file.read_bytes(), 8 * (file.stat().st_size // 2)))
    return sweep


def test_a_damaged_run_costs_a_summary_nothing_but_itself(damaged_sweep, caplog):
    caplog.set_level("INFO")
    table = summarize([damaged_sweep], damaged_sweep, studies={})
    assert table["job"].tolist() == ["0", "2", "3", "4"]
    assert "4 done, 1 failed, 1 damaged, 1 missing, 1 skipped" in caplog.text
    listed = pd.read_csv(damaged_sweep / "jobs.csv")
    assert listed["state"].tolist()[:3] == ["done", "damaged", "done"]
    assert str(damaged_sweep / "1") in listed["detail"][1]
    assert f"-m hydra.sweep.dir={damaged_sweep} makes it again" in listed["detail"][1]
    assert set(pd.read_parquet(damaged_sweep / "tables" / "diagonal.parquet")["job"]) == {"0", "2", "3", "4"}


def test_a_damaged_run_is_done_again_when_its_sweep_goes_on(damaged_sweep):
    assert [state.job.number for state in states.states_of(damaged_sweep) if states.to_do(state)] == [1, 5, 6]


def test_a_sweep_with_damaged_runs_is_not_read_as_if_they_did_not_exist(sweep):
    for job, name in (("1", "affinity.npz"), ("3", "result.json")):
        (sweep / job / name).write_bytes(b"")
    with pytest.raises(Damaged, match=rf"^{sweep}/1/affinity.npz is damaged.*; {sweep}/3/result.json is damaged"):
        read_sweep(sweep)


@pytest.mark.parametrize("harm", [lambda content: content[:-9], lambda content: flipped(content, 999), lambda content: b"\xff"])
def test_a_damaged_list_of_jobs_costs_no_summary_and_is_not_gone_on_with(sweep, caplog, harm):
    file = sweep / "jobs.json"
    file.write_bytes(harm(file.read_bytes()))
    assert len(summarize([sweep], sweep, studies={})) == 5
    assert f"{file} is damaged" in caplog.text
    with pytest.raises(Damaged, match="the sweep's whole command, as it was first given, makes it again"):
        read_jobs(sweep)


def test_other_files_of_a_job_that_cannot_be_read_cost_no_status(sweep):
    (sweep / "5" / "error.txt").write_bytes(b"\xff\xfe no text\n")
    (sweep / "6").mkdir()
    (sweep / "6" / "skipped.json").write_bytes(b'{"rea')
    found = states.states_of(sweep)
    assert [state.state for state in found[5:7]] == ["failed", "skipped"]
    assert found[6].detail == "skipped.json cannot be read"


# the same command again


def quick(tiny: list[str]) -> list[str]:
    return [*tiny, "statistics=off"]


def test_the_same_command_makes_a_damaged_run_again(command, tiny, tmp_path, caplog):
    assert command(*quick(tiny)) == 0
    names = ["affinity.npz", "affinity.parquet", "items.parquet", "neighbors.npz", "diagonal.parquet"]
    whole = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    (tmp_path / "out" / "items.parquet").write_bytes(flipped(whole["items.parquet"], 5000))
    assert command(*quick(tiny)) == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == whole
    assert damage(tmp_path / "out") is None
    assert set(json.loads((tmp_path / "out" / "result.json").read_text())["checksums"]) == {*names, "result.json"}


@pytest.mark.slow
def test_the_same_command_draws_the_pictures_that_a_run_lacks(command, tiny, tmp_path, monkeypatch):
    assert command(*quick(tiny)) == 0
    folder, before = tmp_path / "out" / "figures", (tmp_path / "out" / "result.json").stat().st_mtime_ns
    names = sorted(path.name for path in folder.iterdir())
    assert {"affinity.pdf", "depth_curves.png"} <= set(names)
    drawn: list[str] = []
    draw = figures.save
    monkeypatch.setattr(figures, "save", lambda figure, folder, name: drawn.append(name) or draw(figure, folder, name))
    monkeypatch.setattr("layeratlas.stages.pipeline.planned", lambda config: pytest.fail("computed again"))
    harms: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: None, []),
        (lambda: (folder / "affinity.png").unlink(), ["affinity"]),
        (lambda: (folder / "depth_curves.pdf").write_bytes(b""), ["depth_curves"]),
        (lambda: shutil.rmtree(folder), ["affinity", "depth_curves"]),
    ]
    for harm, expected in harms:
        drawn.clear()
        harm()
        assert command(*quick(tiny)) == 0
        assert drawn == expected
        assert sorted(path.name for path in folder.iterdir()) == names
        assert all(path.stat().st_size for path in folder.iterdir())
    assert (tmp_path / "out" / "result.json").stat().st_mtime_ns == before


def test_a_picture_that_is_killed_half_way_does_not_take_the_place_of_a_whole_one(run, monkeypatch):
    figures.draw(read_run(run), figures.possible(read_run(run))[:1])
    whole = (run / "figures" / "affinity.png").read_bytes()

    def half(self, path, **options):
        Path(path).write_bytes(b"ha")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    with pytest.raises(KeyboardInterrupt):
        figures.draw(read_run(run), figures.possible(read_run(run))[:1])
    assert (run / "figures" / "affinity.png").read_bytes() == whole
    assert not list((run / "figures").glob(".tmp*"))


# full disks


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_pictures_on_a_full_disk_are_one_line_and_no_traceback(run, monkeypatch, caplog):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    figures.draw(read_run(run), figures.possible(read_run(run)))
    assert told(caplog) == [
        f"figures: they cannot be written into {run} (No space left on device); the numbers are complete, and the same command"
        " draws what is missing"
    ]
    assert figures.lacking(read_run(run)) == figures.possible(read_run(run))


def test_a_summary_whose_pictures_meet_a_full_disk_says_so_once(sweep, monkeypatch, caplog):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    assert len(summarize([sweep], sweep, studies={})) == 5
    assert [line for line in told(caplog) if "figures" in line] == [
        f"figures: they cannot be written into {sweep / 'figures'} (No space left on device); the tables are complete"
    ]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("affinity.npz", lambda patch: patch.setattr(np, "savez_compressed", full)),
        ("diagonal.parquet", lambda patch: patch.setattr(pd.DataFrame, "to_parquet", full)),
        ("result.json", lambda patch: patch.setattr(Path, "write_text", full)),
        ("jobs.csv", lambda patch: patch.setattr(pd.DataFrame, "to_csv", full)),
    ],
    ids=["arrays", "table", "result", "csv"],
)
def test_numbers_on_a_full_disk_are_one_line_and_leave_nothing(run, monkeypatch, name, write: Callable):
    read = read_run(run)
    table = read.table("diagonal")
    before = sorted(run.iterdir())
    write(monkeypatch)
    writers: dict[str, Callable[[], object]] = {
        ".npz": lambda: write_arrays_of(read),
        ".parquet": lambda: writing.write_table(run, "diagonal", table),
        ".csv": lambda: writing.write_csv(run, "jobs", table),
        ".json": lambda: writing.write_result(run, read.result, []),
    }
    with pytest.raises(ConfigError, match=rf"^{run}: cannot write {name} \(No space left on device\)$"):
        writers[Path(name).suffix]()
    assert sorted(run.iterdir()) == before


def write_arrays_of(read: reading.Run) -> None:
    from layeratlas.affinity.matrix import Affinity

    layers = [list(map(str, read.arrays[f"layers_{side}"])) for side in "ab"]
    depths = [list(map(float, read.arrays[f"depth_{side}"])) for side in "ab"]
    write_arrays(read.folder, Affinity(read.arrays["affinity"], read.arrays["chance"], *layers, *depths, 50, [], []))


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_in_one_line(command, tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(np, "savez_compressed", full)
    assert command(*quick(tiny)) == 2
    assert last_line(capfd) == f"layeratlas: {tmp_path / 'out'}: cannot write affinity.npz (No space left on device)"


@pytest.mark.slow
def test_what_killed_processes_left_in_a_runs_folder_goes_when_it_is_made(command, tiny, tmp_path):
    from layeratlas.files.processes import Owner, myself

    dead = Owner(myself().machine, myself().pid, 1)  # the id of this process, in use before
    for folder in (tmp_path / "out", tmp_path / "out" / "figures"):
        folder.mkdir()
        (folder / f".tmp-{dead}-abcd-affinity.npz").write_bytes(b"half")
    assert command(*quick(tiny)) == 0
    assert not list((tmp_path / "out").rglob(".tmp*"))
