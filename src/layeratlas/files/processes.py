"""Which process left a file, and whether it still runs.

Process ids are used again, by other processes, on other machines and in other containers: a process is known by its machine,
its id and the moment at which it began.
"""

import hashlib
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Owner:
    """A process: `machine` stands for a host since its start (and a container), `started` for tenths of a second after that."""

    machine: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"


def myself() -> Owner:
    return Owner(_machine(), os.getpid(), _started(psutil.Process()))


def ended(owner: Owner) -> bool | None:
    """Whether this process runs no more; None for one of another machine, whom nobody can ask here."""
    if owner.machine != _machine():
        return None
    try:
        process = psutil.Process(owner.pid)
        return abs(_started(process) - owner.started) > 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _started(process: psutil.Process) -> int:
    """Counted from the start of the machine, as clocks are set."""
    return round(10 * (process.create_time() - psutil.boot_time()))


@cache
def _machine() -> str:
    known = [platform.node(), _boot(), _space_of_ids()]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return ""


def _space_of_ids() -> str:
    """Containers of one host and name count their processes apart."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
