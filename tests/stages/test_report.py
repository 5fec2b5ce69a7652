"""stage=report, and the page that a run writes last."""

import hashlib
import logging
import os
import resource
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest
from pages_by_hand import data_of, paged_run
from running import last_line

import layeratlas
from layeratlas.errors import ConfigError
from layeratlas.report import again
from layeratlas.report.again import run_again
from layeratlas.report.page.difference import require_comparable
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.stages.summary import summarize


def digests(folder) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()
    }


def of_run(folder) -> dict[str, str]:
    """Apart from the log and Hydra's record of the last command."""
    return {name: digest for name, digest in digests(folder).items() if "run.log" not in name and not name.startswith(".hydra")}


@pytest.mark.slow
def test_a_run_writes_its_page_last_and_a_stage_writes_the_same_again(command, tiny, tmp_path):
    folder = tmp_path / "out"
    page = folder / "report.html"
    assert command(*tiny, "report.enabled=false") == 0
    numbers = of_run(folder)
    assert not page.exists()
    assert command(*tiny) == 0
    assert of_run(folder) == numbers | {"report.html": hashlib.sha256(page.read_bytes()).hexdigest()}
    assert page.stat().st_mtime_ns >= max(file.stat().st_mtime_ns for file in (folder / "figures").iterdir())
    whole = of_run(folder)
    page.unlink()
    assert command("stage=report", f"run_dir={folder}", where=()) == 0
    assert of_run(folder) == whole


def test_a_run_without_pictures_gets_them_when_it_is_asked_again(command, tiny, tmp_path):
    figures = tmp_path / "out" / "figures"
    plain = [*tiny, "statistics=off", "analysis=[]", "report.enabled=false"]
    assert command(*plain, "report.figures=false") == 0
    assert not figures.exists()
    assert command(*plain) == 0
    assert {file.name for file in figures.iterdir()} == {"affinity.png", "affinity.pdf"}


def test_a_page_is_made_without_drawing_pictures(run):
    run_again(run, page=True, texts=True, pictures=False)
    assert (run.folder / "report.html").is_file()
    assert not (run.folder / "figures").exists()


@pytest.fixture
def run(tmp_path):
    return layeratlas.read_run(paged_run(tmp_path / "run"))


def test_a_page_that_is_there_is_kept_and_one_that_is_lacking_is_made(run):
    page = run.folder / "report.html"
    for before in (None, ""):  # absent, or what a full disk has left
        if before is not None:
            page.write_text(before)
        run_again(run, page=True, texts=True, only_lacking=True)
        assert page.stat().st_size > 10_000
    page.write_text("kept")
    run_again(run, page=True, texts=True, only_lacking=True)
    assert page.read_text() == "kept"


def test_no_page_is_made_where_none_is_wanted(run, command):
    assert command("stage=report", f"run_dir={run.folder}", "report.enabled=false", where=()) == 0
    assert not (run.folder / "report.html").exists()
    assert (run.folder / "figures" / "affinity.png").exists()


def test_several_runs_are_drawn_at_once(command, tmp_path):
    folders = [paged_run(tmp_path / name) for name in ("one", "two")]
    assert command("stage=report", f"run_dir=[{','.join(map(str, folders))}]", where=()) == 0
    assert all((folder / "report.html").is_file() for folder in folders)


def test_a_page_that_cannot_be_made_costs_no_number(run, monkeypatch, caplog, undrawn):
    def broken(_, *, texts, against):
        raise RuntimeError("no ink")

    monkeypatch.setattr(again, "write_run_page", broken)
    run_again(run, page=True, texts=True)
    assert "report.html is not written; the numbers in" in caplog.text
    assert "no ink" in caplog.text
    undrawn.clear()


def test_a_full_disk_is_one_line(run, monkeypatch, caplog):
    def full(_, *, texts, against):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(again, "write_run_page", full)
    with caplog.at_level(logging.WARNING):
        run_again(run, page=True, texts=True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "[Errno 28] No space left on device; the numbers are complete, and the same command writes it"
    ]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage=report"], "layeratlas: run_dir: has no value; give one as run_dir=... or sweep_dir=..."),
        (["stage=report", "run_dir=nowhere"], "layeratlas: nowhere: no finished run here (no result.json)"),
        (["stage=report", "run_dir=5"], "layeratlas: 5: no finished run here (no result.json)"),
        (["stage=report", "run_dir=nowhere", "against=5"], "layeratlas: against: expected text or null; got 5 (put it in quotes)"),
        (["report.enabled=perhaps"], "layeratlas: report.enabled: expected true or false; got 'perhaps'"),
        (["report.figures=1"], "layeratlas: report.figures: expected true or false; got 1"),
        (["report.texts=null"], "layeratlas: report.texts: expected true or false; got null"),
        (["stage=status", "sweep_dir=null"], "layeratlas: sweep_dir: has no value; give one as sweep_dir=..."),
    ],
)
def test_what_the_report_cannot_use_is_one_line(arguments, message, command, capfd):
    assert command(*arguments, where=()) == 2
    assert last_line(capfd) == message


def test_a_damaged_run_is_named_and_nothing_of_it_is_drawn(command, tmp_path, capfd):
    folder = paged_run(tmp_path / "run")
    content = bytearray((folder / "affinity.npz").read_bytes())
    content[100] ^= 1
    (folder / "affinity.npz").write_bytes(content)
    assert command("stage=report", f"run_dir={folder}", where=()) != 0
    assert "affinity.npz is damaged" in last_line(capfd)
    assert not (folder / "report.html").exists()


def test_the_difference_to_another_run_is_on_the_page_when_asked_for(command, tmp_path):
    folders = [paged_run(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    assert command("stage=report", f"run_dir={folders[0]}", f"against={folders[1]}", where=()) == 0
    held = data_of((folders[0] / "report.html").read_text(encoding="utf-8"))["against"]
    other = layeratlas.read_run(folders[1])
    np.testing.assert_array_equal(held["affinity"], other.arrays["affinity"].ravel())
    np.testing.assert_array_equal(held["p_fwer"], other.arrays["p_fwer"].ravel())
    assert held["name"].endswith("in two")
    assert command("stage=report", f"run_dir={folders[0]}", where=()) == 0
    assert data_of((folders[0] / "report.html").read_text(encoding="utf-8"))["against"] is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"rows": 5},
            "its side a has 5 layers (block_1 to block_5), that of {one} 6 layers (block_1 to block_6); expected the same",
        ),
        (
            {"columns": 3},
            "its side b has 3 layers (block_1 to block_3), that of {one} 4 layers (block_1 to block_4); expected the same",
        ),
    ],
)
def test_a_run_of_other_layers_has_no_difference_and_it_is_told(options, told, command, tmp_path, capfd):
    one, two = paged_run(tmp_path / "one"), paged_run(tmp_path / "two", **options)
    assert command("stage=report", f"run_dir={one}", f"against={two}", where=()) == 2
    assert last_line(capfd) == f"layeratlas: against={two}: {told.format(one=one)}"
    assert not (one / "report.html").exists()


def test_values_of_two_metrics_have_no_difference(tmp_path):
    one, two = (layeratlas.read_run(paged_run(tmp_path / name)) for name in ("one", "two"))
    two.result["metric"]["name"] = "cka_linear"
    with pytest.raises(ConfigError, match=r"its metric is cka_linear, and that of .* mutual_knn; expected the same"):
        require_comparable(one, two)


MAIN = "import sys; from layeratlas.stages import main; sys.exit(main.main())"


def seconds_of(arguments, cwd) -> float:
    """Of a processor, in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    compiled = environment | {"PYTHONPYCACHEPREFIX": str(cwd / "compiled")}
    subprocess.run([sys.executable, "-c", MAIN, *arguments], check=True, cwd=cwd, env=compiled, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_a_run_is_drawn_again_in_less_than_five_seconds(tmp_path):
    folder = paged_run(tmp_path / "run", rows=30, columns=18, n=256, k=10)
    seconds_of(["stage=report", f"run_dir={folder}"], tmp_path)  # compiles every module
    (folder / "report.html").unlink()
    assert seconds_of(["stage=report", f"run_dir={folder}"], tmp_path) < 5
    assert (folder / "report.html").is_file()


@pytest.mark.nightly
def test_three_hundred_runs_are_summarised_in_half_a_minute_and_drawn_again_in_less_than_a_minute(command, tmp_path):
    pairs = list(combinations([f"model-{i}" for i in range(25)], 2))
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    write_jobs(sweep, [Job(i, [], str(i)) for i in range(len(pairs))])
    for i, names in enumerate(pairs):
        paged_run(sweep / str(i), rows=80, columns=80, n=30, k=3, names=names, languages=("en", "en"), seed=i)
    start = time.process_time()
    summarize([sweep], sweep, studies={}, page=False)
    assert time.process_time() - start < 30  # its pictures included
    start = time.process_time()
    assert command("stage=report", f"sweep_dir={sweep}", where=()) == 0
    assert time.process_time() - start < 60
    assert (sweep / "report.html").stat().st_size < 12e6


@pytest.mark.slow
def test_a_page_of_a_large_run_needs_no_torch(tmp_path):
    folder = paged_run(tmp_path / "run", rows=80, columns=80, n=512, k=10)
    code = "import sys; from layeratlas.stages import main; code = main.main(); print('torch' in sys.modules); sys.exit(code)"
    arguments = [sys.executable, "-c", code, "stage=report", f"run_dir={folder}"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "False"
    assert (folder / "report.html").stat().st_size < 6e6
