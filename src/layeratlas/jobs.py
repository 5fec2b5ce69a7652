"""One job of a sweep as others see it: `running.json` in its folder while it is at work, gone when it has ended.

Nobody can ask a process on another machine, so the file is touched every few seconds: one that has grown old, or whose
process is gone from this machine, was left by a job that was killed.
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

import psutil

RUNNING = "running.json"
_BEAT = 15  # seconds
_SILENCE = 180  # seconds after which a job counts as killed: clocks of machines differ, and file servers cache


class TimedOut(BaseException):
    """The launcher's time-out. No Exception: it arrives inside whatever runs, where a broad `except` would swallow it."""


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Show that this job runs, and let time-outs through."""
    file, ended = folder / RUNNING, threading.Event()
    file.write_text(json.dumps(_whoami()) + "\n", encoding="utf-8")
    threading.Thread(target=_beat, args=(file, ended), daemon=True).start()
    handler = signal.getsignal(signal.SIGUSR2)
    try:
        _let_through(handler)
        yield
    finally:
        if callable(handler):
            signal.signal(signal.SIGUSR2, handler)
        ended.set()
        file.unlink(missing_ok=True)


def sign_of_life(folder: Path) -> str | None:
    """Who works in this folder; None if nobody does, or its process was killed."""
    who = _read(folder)
    if who is None or _seconds_old(folder) > _SILENCE:
        return None
    if who["host"] == platform.node() and not psutil.pid_exists(who["pid"]):
        return None
    return _name(who)


def killed(folder: Path) -> str | None:
    """Who worked in this folder and left without a word."""
    who = _read(folder)
    return _name(who) if who and not sign_of_life(folder) else None


def _whoami() -> dict[str, Any]:
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    slurm = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
    return {"host": platform.node(), "pid": os.getpid(), "slurm": slurm, "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _name(who: dict[str, Any]) -> str:
    slurm = f"SLURM job {who['slurm']}, " if who["slurm"] else ""
    return f"{slurm}process {who['pid']} on {who['host']}, since {who['since']}"


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / RUNNING).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # none, ended in this moment, or being written in this moment
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
