import io
import logging
import sys
from collections.abc import Callable

import pytest

from layeratlas.extraction import progress
from layeratlas.extraction.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still at its only element."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "layeratlas")
    return lambda: [record.message for record in caplog.records]  # as formatted when it was logged


def test_texts_and_tokens_are_counted_and_rates_and_the_time_left_follow(clock):
    with Progress("tiny", 100) as counted:
        clock[0] += 10
        counted.advance(16, 2000)
        counted.advance(4, 500)
        assert (counted.texts, counted.tokens) == (20, 2500)
        assert str(counted) == "20 of 100 texts, 2.0 texts/s, 250 tokens/s, 40 s left"


def test_nothing_is_left_at_the_end(clock):
    with Progress("tiny", 3) as counted:
        clock[0] += 2
        counted.advance(3, 30)
    assert str(counted) == "3 of 3 texts, 1.5 texts/s, 15 tokens/s, 0 s left"


def test_before_the_first_text_nothing_is_divided_by_zero(clock):
    with Progress("tiny", 3) as counted:
        assert str(counted).startswith("0 of 3 texts, 0.0 texts/s, 0 tokens/s, ")


def test_off_a_terminal_a_line_is_logged_every_half_minute_and_at_the_end(clock, lines):
    with Progress("tiny", 40) as counted:
        for _ in range(4):
            clock[0] += 20
            counted.advance(10, 100)
    assert lines() == [
        "extract tiny: 20 of 40 texts, 0.5 texts/s, 5 tokens/s, 40 s left",
        "extract tiny: 40 of 40 texts, 0.5 texts/s, 5 tokens/s, 0 s left",
        "extract tiny: 40 of 40 texts, 0.5 texts/s, 5 tokens/s, 0 s left",
    ]


def test_off_a_terminal_no_bar_is_drawn(clock, capfd):
    with Progress("tiny", 2) as counted:
        counted.advance(2, 10)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_a_bar_shows_texts_and_tokens_and_only_the_end_is_logged(clock, lines, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("tiny", 40) as counted:
        for _ in range(4):
            clock[0] += 40
            counted.advance(10, 100)
    shown = terminal.getvalue()
    assert "extract tiny" in shown
    assert "40/40" in shown
    assert "tokens/s" in shown
    assert lines() == ["extract tiny: 40 of 40 texts, 0.2 texts/s, 2 tokens/s, 0 s left"]


def test_an_extraction_that_fails_is_not_reported_as_done(clock, lines):
    counted = Progress("tiny", 2)
    with pytest.raises(KeyboardInterrupt), counted:
        raise KeyboardInterrupt
    assert lines() == []
