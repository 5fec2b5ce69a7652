"""A run as others see it: `running.json` in its folder while it is at work, gone when it has ended.

Nobody can ask a process on another machine, so the file is touched every few seconds: one that has grown old, or whose
process is gone from this machine, was left by a run that was killed. One run works in a folder at a time.
"""

import json
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layeratlas.errors import ConfigError
from layeratlas.files.atomic import temporary
from layeratlas.files.credentials import redacted
from layeratlas.files.inert import inert
from layeratlas.files.processes import Owner, ended, myself

RUNNING = "running.json"
_BEAT = 15  # seconds
_SILENCE = 180  # seconds after which a job counts as killed: clocks of machines differ, and file servers cache


class AtWork(ConfigError):
    """Another run works in the folder."""


class TimedOut(BaseException):
    """The launcher's time-out. No Exception: it arrives inside whatever runs, where a broad `except` would swallow it."""


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Show that this run is at work, refuse others that want the folder, and let time-outs through."""
    claim(folder)
    file, over = folder / RUNNING, threading.Event()
    threading.Thread(target=_beat, args=(file, over), daemon=True).start()
    handler = signal.getsignal(signal.SIGUSR2)
    try:
        _let_through(handler)
        yield
    finally:
        if callable(handler):
            signal.signal(signal.SIGUSR2, handler)
        over.set()
        file.unlink(missing_ok=True)


def claim(folder: Path) -> None:
    """Take the folder for this process, from a killed one too. Raises AtWork if another run works there."""
    while not _taken(folder):
        who = _read(folder)
        if who and _is_mine(who):
            return
        if other := sign_of_life(folder):
            raise AtWork(
                f"{folder}: another run is at work here ({other}); wait for it, choose another folder, or, if it was killed on"
                f" another machine, try again in {_SILENCE // 60} minutes"
            )
        _set_aside(folder, who)


def _taken(folder: Path) -> bool:
    """Whether nobody had this folder, so that it is this process' now."""
    try:
        with (folder / RUNNING).open("x", encoding="utf-8") as file:
            file.write(json.dumps(_whoami()) + "\n")
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write {RUNNING} ({error.strerror or error})") from error
    return True


def _is_mine(who: dict[str, Any]) -> bool:
    """Written by this process, or by the same SLURM job before it was queued again."""
    return _owner(who) == myself() or (who.get("slurm") is not None and who["slurm"] == _whoami()["slurm"])


def _set_aside(folder: Path, judged: dict[str, Any] | None) -> None:
    """Remove what a killed run left, unless another process has taken the folder since it was judged."""
    aside = temporary(folder, f"-{RUNNING}")
    try:
        (folder / RUNNING).rename(aside)
    except FileNotFoundError:
        return
    if _read_file(aside) == judged:
        aside.unlink(missing_ok=True)
    else:
        aside.rename(folder / RUNNING)


def keep_trace(file: Path, line: str, trace: str) -> bool:
    """Write what went wrong into a file, what it is in its first line; whether the disk let it."""
    try:
        file.write_text(redacted(f"{inert(line)}\n\n{trace}"), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return False
    return True


def sign_of_life(folder: Path) -> str | None:
    """Who works in this folder; None if nobody does, or its process was killed."""
    if _seconds_old(folder) > _SILENCE:
        return None
    who = _read(folder)
    if who is None:  # none, or taken in this moment and not written yet
        return "a process that has just begun" if (folder / RUNNING).exists() else None
    return None if ended(_owner(who)) else _name(who)


def killed(folder: Path) -> str | None:
    """Which process worked in this folder and left no message."""
    who = _read(folder)
    return _name(who) if who and not sign_of_life(folder) else None


def _whoami() -> dict[str, Any]:
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    slurm = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
    me = myself()
    return {
        "host": platform.node(),
        "pid": me.pid,
        "machine": me.machine,
        "started": me.started,
        "slurm": slurm,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _owner(who: dict[str, Any]) -> Owner:
    return Owner(str(who.get("machine")), who["pid"], who.get("started", 0))


def _name(who: dict[str, Any]) -> str:
    slurm = f"SLURM job {who['slurm']}, " if who["slurm"] else ""
    return f"{slurm}process {who['pid']} on {who['host']}, since {who['since']}"


def _read(folder: Path) -> dict[str, Any] | None:
    return _read_file(folder / RUNNING)


def _read_file(file: Path) -> dict[str, Any] | None:
    try:
        who = json.loads(file.read_text(encoding="utf-8"))
        return who if {"host", "pid", "slurm", "since"} <= set(who) else None
    except (FileNotFoundError, ValueError, TypeError):  # none, ended in this moment, or being written in this moment
        return None


def _seconds_old(folder: Path) -> float:
    try:
        return time.time() - (folder / RUNNING).stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _beat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(_BEAT):
        try:
            os.utime(file)
        except FileNotFoundError:
            return


def _let_through(handler: Any) -> None:
    """Have the launcher's signal handler, if there is one, raise TimedOut where it would raise an Exception."""

    def handle(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except Exception as error:
            raise TimedOut(str(error)) from error

    if callable(handler):
        signal.signal(signal.SIGUSR2, handle)
