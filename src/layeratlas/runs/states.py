"""What has become of each job of a sweep, from files alone."""

import json
import logging
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.inert import inert
from layeratlas.runs.at_work import killed, sign_of_life
from layeratlas.runs.jobs import JOBS, Job, read_jobs
from layeratlas.runs.reading import RESULT, damage
from layeratlas.runs.writing import EXTRACTED, PREFETCHED

logger = logging.getLogger(__name__)

ERROR, SKIPPED = "error.txt", "skipped.json"
STATES = ("done", "running", "failed", "damaged", "missing", "skipped")


@dataclass(frozen=True)
class JobState:
    """What the files say of a job: one of STATES, and the reason, the error, or who is at work."""

    job: Job
    state: str
    detail: str = ""


def states_of(folder: str | Path) -> list[JobState]:
    """The state of each job of a sweep; raises ConfigError where there is no sweep."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"sweep_dir={folder}: no such folder")
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())  # of a sweep by another sweeper
    try:
        jobs = read_jobs(folder)
    except Damaged as error:
        logger.warning("%s", error)
        jobs = []
    jobs = jobs or [Job(number, []) for number in numbers]
    if not jobs:
        raise ConfigError(f"sweep_dir={folder}: no sweep here (no {JOBS} and no folders of jobs)")
    return [_state(folder / str(job.number), job) for job in jobs]


def _state(folder: Path, job: Job) -> JobState:
    damaged = damage(folder) if (folder / RESULT).is_file() else None
    if not damaged and any((folder / name).is_file() for name in (RESULT, EXTRACTED, PREFETCHED)):
        return JobState(job, "done")
    if job.skipped:
        return JobState(job, "skipped", job.skipped)
    if who := sign_of_life(folder):
        return JobState(job, "running", who)
    if who := killed(folder):
        return JobState(job, "failed", f"killed without a word ({who})")
    if damaged:
        return JobState(job, "damaged", str(damaged))
    if (folder / SKIPPED).is_file():
        return JobState(job, "skipped", _reason(folder / SKIPPED))
    if (folder / ERROR).is_file():
        return JobState(job, "failed", (folder / ERROR).read_text(encoding="utf-8", errors="replace").partition("\n")[0])
    return JobState(job, "missing")


def _reason(file: Path) -> str:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["reason"])
    except (ValueError, KeyError, TypeError):
        return f"{file.name} cannot be read"


def to_do(state: JobState) -> bool:
    """What a sweep that goes on does: also what the dataset lacked before, as it may be there now."""
    return state.state in ("failed", "damaged", "missing") or (state.state == "skipped" and not state.job.skipped)


def count(states: Sequence[JobState]) -> str:
    """`5 done, 1 failed` of all states that occur."""
    counts = Counter(state.state for state in states)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def listing(states: Sequence[JobState], shown: Sequence[JobState]) -> str:
    """A line for each of the `shown` jobs: number, state, what sets it apart from all `states`, and what there is to say."""
    common = set.intersection(*(set(state.job.overrides) for state in states)) if len(states) > 1 else set()
    lines = []
    for state in shown:
        varied = " ".join(override for override in state.job.overrides if override not in common)
        described = inert(f"{varied}{f'  ({state.detail})' if state.detail else ''}")
        lines.append(f"{state.job.number:>5}  {state.state:<8} {described}")
    return "\n".join(lines)


def queued(folder: Path) -> list[str]:
    """The SLURM jobs of this sweep that wait or run now, as far as this machine's squeue knows."""
    arrays = {path.parent.name for path in (folder / ".submitit").glob("*/*_submission.sh")}
    if not arrays or not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return [job for job in listed if job.split("_")[0] in arrays]
