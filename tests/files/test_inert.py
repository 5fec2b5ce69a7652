"""Names from outside cannot act: not on a terminal, not in a spreadsheet, not as a line of the log."""

import logging

import pandas as pd
import pytest

from layeratlas.files.cells import inert_cells
from layeratlas.files.inert import inert
from layeratlas.files.logs import Formatter, LogFile
from layeratlas.runs import writing
from layeratlas.runs.jobs import Job
from layeratlas.runs.states import JobState, listing

ESCAPE = "\x1b[2J\x1b]0;title\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, déjà vu 你好 \u200d", "plain text, déjà vu 你好 \u200d"),
        (ESCAPE, r"\x1b[2J\x1b]0;title\x07"),
        ("a\nb\r\tc\x85\u2028", r"a\nb\r\tc\x85\u2028"),
        ("x\u202egnp.exe", r"x\u202egnp.exe"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
    ],
)
def test_control_characters_are_shown_and_everything_else_stays(text, shown):
    assert inert(text) == shown


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("-0.5", "-0.5"),
        ("+1e-9", "+1e-9"),
        ("- a dash", "'- a dash"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe_and_a_number_stays(cell, written):
    assert inert_cells(pd.DataFrame({"x": [cell]}))["x"].tolist() == [written]


def test_a_csv_is_inert_and_the_parquet_beside_it_holds_what_was_given(tmp_path):
    table = pd.DataFrame(
        {"model": ["=x", f"a{ESCAPE}\nb", None], "value": [-0.5, 1.0, None], "n": [-3, 2, 1], "=head": ["", "", ""]}
    )
    writing.write_csv(tmp_path, "summary", table)
    writing.write_table(tmp_path, "summary", table)
    written = (tmp_path / "summary.csv").read_text(encoding="utf-8")
    assert written.splitlines() == ["model,value,n,'=head", "'=x,-0.5,-3,", r"a\x1b[2J\x1b]0;title\x07\nb,1.0,2,", ",,1,"]
    assert pd.read_parquet(tmp_path / "summary.parquet")["model"].tolist()[:2] == ["=x", f"a{ESCAPE}\nb"]


def test_only_a_record_begins_at_the_left_margin_of_the_log():
    record = logging.LogRecord(
        "x", 20, "", 0, "extract %s: done\n%s", ("a\x1b[1m\n[2026][fake][ERROR] - all is lost", " t\n r"), None
    )
    assert Formatter("[%(name)s] - %(message)s").format(record).split("\n") == [
        r"[x] - extract a\x1b[1m",
        "    [2026][fake][ERROR] - all is lost: done",
        "     t",
        "     r",
    ]


def test_a_job_is_one_line_of_a_listing():
    states = [
        JobState(Job(0, [f"model_a.id=a{ESCAPE}\n    9  done"]), "failed", "x\ny"),
        JobState(Job(1, ["model_a.id=b"]), "done"),
    ]
    listed = listing(states, states)
    assert len(listed.splitlines()) == 2
    assert "\x1b" not in listed


def test_a_log_on_a_full_disk_ends_with_one_line(capsys):
    handler, log = LogFile("/dev/full"), logging.getLogger("on a full disk")
    log.addHandler(handler)
    for i in range(20):
        log.error("line %d", i)
    log.removeHandler(handler)
    with pytest.raises(OSError, match="No space left"):  # what it could not write; logging drops it when Python ends
        handler.close()
    assert capsys.readouterr().err == "layeratlas: /dev/full cannot be written (No space left on device); the log ends here\n"


def test_a_log_that_cannot_be_made_is_one_line(tmp_path, capsys):
    handler, log = LogFile(tmp_path / "nowhere" / "run.log", delay=True), logging.getLogger("in no folder")
    log.addHandler(handler)
    for i in range(3):
        log.error("line %d", i)
    log.removeHandler(handler)
    expected = f"layeratlas: {tmp_path}/nowhere/run.log cannot be written (No such file or directory); the log ends here\n"
    assert capsys.readouterr().err == expected
