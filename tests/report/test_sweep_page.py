"""The page of a sweep as a file, and stage=report of a sweep."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import HOSTILE, data_of, large_sweep
from running import last_line
from sweeps_by_hand import write_run

from layeratlas.errors import ConfigError
from layeratlas.report.page.sweep_page import Answer, write_sweep_page
from layeratlas.report.page.wording import in_short
from layeratlas.report.sweep_again import sweep_again
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.stages.summary import summarize
from layeratlas.studies import Depth, sweep_of

STUDIES = {"depth": Depth()}


@pytest.mark.slow
def test_a_summary_ends_with_a_page_and_the_stage_draws_the_same_again(sweep, command):
    summarize([sweep], sweep, studies=STUDIES)
    page = sweep / "report.html"
    before = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in sweep.rglob("*") if file.is_file()}
    page.unlink()
    assert command("stage=report", f"sweep_dir={sweep}", where=()) == 0
    assert {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in before} == before


@pytest.mark.slow
def test_several_sweeps_summarised_in_a_folder_of_their_own_have_a_page_there(sweep, command, tmp_path):
    into = tmp_path / "both"
    summarize([sweep], into, studies=STUDIES)
    before = (into / "report.html").read_bytes()
    assert command("stage=report", f"sweep_dir={into}", where=()) == 0
    assert (into / "report.html").read_bytes() == before


def test_a_sweep_that_was_moved_is_drawn_from_the_runs_in_it(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summarize([Path(sweep.name)], Path(sweep.name), studies={}, page=False)  # as a program started there calls it
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(sweep, moved)
    shutil.rmtree(sweep)
    sweep_again(moved, None, page=True)
    runs = data_of((moved / "report.html").read_text(encoding="utf-8"))["runs"]
    assert runs["rows"] == 5


def test_runs_that_a_summary_elsewhere_no_longer_finds_are_named(sweep, tmp_path):
    summarize([sweep], tmp_path / "both", studies={}, page=False)
    shutil.rmtree(sweep)
    with pytest.raises(ConfigError, match=rf"none of the runs that jobs.csv lists is where it says, such as {sweep / '0'}$"):
        sweep_again(tmp_path / "both", None, page=True)


def test_a_page_of_a_sweep_is_left_out_when_it_is_not_wanted(sweep):
    summarize([sweep], sweep, studies=STUDIES, page=False)
    assert not (sweep / "report.html").exists()
    assert (sweep / "summary.csv").is_file()


def test_a_folder_without_a_summary_is_told_what_makes_one(sweep, command, capfd):
    assert command("stage=report", f"sweep_dir={sweep}", where=()) == 2
    assert (
        last_line(capfd) == f"layeratlas: {sweep}: no summary here (no studies.json); stage=summarize sweep_dir={sweep} makes one"
    )


@pytest.mark.slow
def test_a_damaged_record_of_the_studies_is_named(sweep, command, capfd):
    summarize([sweep], sweep, studies=STUDIES)
    content = (sweep / "studies.json").read_text(encoding="utf-8")
    (sweep / "studies.json").write_text(content.replace("depth", "death", 1), encoding="utf-8")
    assert command("stage=report", f"sweep_dir={sweep}", where=()) != 0
    assert "studies.json is damaged" in last_line(capfd)


def test_every_matrix_is_on_the_page_to_a_step_of_its_range(sweep):
    summarize([sweep], sweep, studies={})
    data = data_of((sweep / "report.html").read_text(encoding="utf-8"))
    matrices, start = data["matrices"], 0
    for run, place in enumerate(data["runs"]["columns"][0]["values"]):
        own = np.load(sweep / place / "affinity.npz")["affinity"]
        low, high = matrices["low"][run], matrices["high"][run]
        shown = low + matrices["cells"][start : start + own.size] / 65535 * (high - low)
        np.testing.assert_allclose(shown.reshape(own.shape), own, atol=(high - low) / 65535)
        assert matrices["layers"][matrices["a"][run]]["names"] == [f"block_{i + 1}" for i in range(len(own))]
        start += own.size
    assert start == len(matrices["cells"]) == len(matrices["covered"])


def test_cells_that_are_not_shown_to_be_above_chance_are_marked(tmp_path):
    runs = large_sweep(tmp_path, 3, 6)
    del runs[1].arrays["p_fwer"]
    runs[2].arrays["p_fwer"][0, 0] = np.nan
    data = data_of(write_sweep_page(sweep_of(runs), {}, {}, tmp_path).read_text(encoding="utf-8"))
    covered = data["matrices"]["covered"].reshape(3, 6, 6)
    np.testing.assert_array_equal(covered[0], ~(runs[0].arrays["p_fwer"] <= 0.05))
    assert covered[1].sum() == 0
    assert covered[2][0, 0] == 1
    assert data["matrices"]["tested"] == [True, False, True]


def test_a_constant_matrix_has_no_range_and_stays_what_it_is(tmp_path):
    (run,) = large_sweep(tmp_path, 1, 4)
    run.arrays["affinity"][:] = 0.25
    matrices = data_of(write_sweep_page(sweep_of([run]), {}, {}, tmp_path).read_text(encoding="utf-8"))["matrices"]
    assert matrices["low"][0] == matrices["high"][0] == 0.25
    assert not matrices["cells"].any()


@pytest.mark.slow
def test_three_hundred_runs_of_large_models_stay_under_twelve_megabytes(tmp_path):
    page = write_sweep_page(sweep_of(large_sweep(tmp_path, 300, 80)), {}, {}, tmp_path)
    assert page.stat().st_size < 12e6


def test_what_a_study_says_and_left_stays_text(tmp_path):
    evil = HOSTILE[0]
    answer = Answer({"evil": pd.DataFrame({evil: [evil]})}, {"sentences": [evil], "numbers": {evil: evil}, "warnings": [evil]})
    page = write_sweep_page(sweep_of(large_sweep(tmp_path, 2, 3)), {"evil": answer}, {}, tmp_path).read_text(encoding="utf-8")
    assert evil not in page
    assert page.count("</script>") == 2


def test_where_no_study_says_anything_the_page_begins_with_what_the_headlines_come_to(tmp_path):
    sweep = sweep_of(large_sweep(tmp_path, 2, 3))
    table = sweep.table.assign(headline="swap margin", value=[0.01, 0.25], p_holm=[0.04, 0.3])
    page = write_sweep_page(replace(sweep, table=table), {}, {}, tmp_path).read_text(encoding="utf-8")
    said = re.findall(r'<p class="sentence">(.*)</p>', page)
    assert said == ["swap margin of 2 runs: 0.010 to 0.250; p_holm is at most 0.05 in 1 of 2"]


def test_headlines_of_several_statistics_are_a_sentence_each_and_p_is_not_spoken_of_where_there_is_none():
    runs = pd.DataFrame({"headline": ["a", "b", "b", None], "value": [0.5, 0.1, 0.2, None]})
    assert in_short(runs, 0.05) == ["a of 1 run: 0.500", "b of 2 runs: 0.100 to 0.200"]


@pytest.mark.parametrize(
    ("count", "said"), [(3, None), (4, "1 more finding of the studies"), (6, "3 more findings of the studies")]
)
def test_sentences_that_do_not_stand_on_top_are_counted_there(count, said, tmp_path):
    answer = Answer({}, {"sentences": [f"sentence {i}" for i in range(count)], "numbers": {}, "warnings": []})
    page = write_sweep_page(sweep_of(large_sweep(tmp_path, 2, 3)), {"depth": answer}, {}, tmp_path).read_text(encoding="utf-8")
    assert page.count('<p class="sentence">') == 3
    assert re.findall(r'<a href="#studies">(\d.*)</a>', page) == ([] if said is None else [said])


def test_pictures_beyond_the_room_of_a_page_are_named_and_left_where_they_are(tmp_path):
    files = [tmp_path / "figures" / f"{name}.png" for name in ("small", "large", "other")]
    files[0].parent.mkdir()
    for file, size in zip(files, (10, 4_000_000, 20), strict=True):
        file.write_bytes(b"\0" * size)
    page = write_sweep_page(sweep_of(large_sweep(tmp_path, 2, 3)), {}, {"condition": files}, tmp_path).read_text(encoding="utf-8")
    assert page.count('<img loading="lazy"') == 2
    assert "figures/large: too large for this page" in page


def test_a_run_with_a_page_of_its_own_is_linked_from_where_the_sweep_lies(tmp_path):
    folder = tmp_path / "a sweep"
    folder.mkdir()
    write_jobs(folder, [Job(0, [], "0"), Job(1, [], "1")])
    for job in "01":
        write_run(folder / job, "ant", "bee", seed=int(job))
    (folder / "0" / "report.html").write_text("a page")
    summarize([folder], tmp_path / "elsewhere", studies={})
    data = data_of((tmp_path / "elsewhere" / "report.html").read_text(encoding="utf-8"))
    assert data["runs"]["pages"] == ["./../a%20sweep/0/report.html", None]


def test_studies_say_which_tables_are_theirs(sweep):
    summarize([sweep], sweep, studies=STUDIES)
    said = json.loads((sweep / "studies.json").read_text(encoding="utf-8"))
    for name in STUDIES:
        if name in said:
            assert all((sweep / "tables" / f"{table}.parquet").is_file() for table in said[name]["tables"])
            assert said[name]["views"] is None
