"""A sweep as its folder tells it: the jobs that were planned, and what has become of each, from files alone."""

import json
import logging
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.identity import comparable, fingerprint
from layeratlas.files.inert import inert
from layeratlas.files.sealed import unsealed
from layeratlas.runs.at_work import killed, sign_of_life
from layeratlas.runs.results import EXTRACTED, PREFETCHED, RESULT, damage, read_run, write_json

logger = logging.getLogger(__name__)

PLAN = "jobs.json"
ERROR, SKIPPED = "error.txt", "skipped.json"
_MANY = 100  # jobs whose planning is worth a line
_SECONDS = 5.0  # between two lines
_OTHER = str.maketrans("ab", "ba")
_SIDE = r"_(a|b)(?=$|\.)"  # what a key ends in, or its first part
IDENTITY = 2  # how jobs are told apart: since 2 without the paths of modules
STATES = ("done", "running", "failed", "damaged", "missing", "skipped")

Config = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One planned job: its folder is its number. `config` fingerprints what it computes; `skipped` says why it is not run."""

    number: int
    overrides: list[str]
    config: str | None = None
    skipped: str | None = None
    twin: int | None = None


@dataclass(frozen=True)
class JobState:
    """What the files say of a job: one of STATES, and the reason, the error, or who is at work."""

    job: Job
    state: str
    detail: str = ""


def mirrored(node: Any) -> Any:
    """The config of the same comparison with its sides exchanged: every `x_a` is called `x_b`, and the other way round.

    A list of `sides`, which a control replaces the texts of, names the other ones.
    """
    if isinstance(node, list):
        return [mirrored(value) for value in node]
    if not isinstance(node, dict):
        return node
    exchanged = {_other_side(key): mirrored(value) for key, value in node.items()}
    if "sides" in node:
        exchanged["sides"] = sorted(str(side).translate(_OTHER) for side in node["sides"])
    return exchanged


def _other_side(override: str) -> str:
    key, equals, value = override.partition("=")
    return re.sub(_SIDE, lambda side: "_b" if side[1] == "a" else "_a", key) + equals + value


@dataclass
class _Planned:
    """Jobs as they are found, with what identifies them. A mirror is told from its overrides once one of its kind was composed."""

    jobs: list[Job] = field(default_factory=list)
    selves: set[int] = field(default_factory=set)
    by_config: dict[str, int] = field(default_factory=dict)
    by_overrides: dict[frozenset[str], int] = field(default_factory=dict)
    proven: dict[frozenset[str], bool] = field(default_factory=dict)

    def add(self, overrides: list[str], compose: Callable[[Sequence[str]], Config], symmetric: Callable[[Config], bool]) -> None:
        partner = self.by_overrides.get(frozenset(map(_other_side, overrides)))
        kind = frozenset(override for override in overrides if _other_side(override) == override)
        number = len(self.jobs)
        if partner is not None and self.proven.get(kind):  # composing a config takes a tenth of a second
            self.jobs.append(Job(number, overrides, twin=partner))
            return
        composed = compose(overrides)
        config = comparable(composed)
        own, other = fingerprint(config), fingerprint(mirrored(config))
        twin = self.by_config.get(own, self.by_config.get(other) if symmetric(composed) else None)
        if partner is not None:
            self.proven[kind] = twin == partner
        if own == other:
            self.selves.add(number)
        self.jobs.append(Job(number, overrides, own, twin=twin))
        self.by_config.setdefault(own, number)
        self.by_overrides.setdefault(frozenset(overrides), number)


def plan(
    combinations: Sequence[list[str]],
    compose: Callable[[Sequence[str]], Config],
    symmetric: Callable[[Config], bool],
    *,
    self_pairs: bool,
) -> list[Job]:
    """The jobs of a sweep, each pair of sides once; those that are not run come last.

    (b, a) repeats (a, b) if nothing but the order of the sides differs and the metric is `symmetric`. In a sweep of both sides
    a side is compared with itself only if `self_pairs`.
    """
    planned, told = _Planned(), time.monotonic()
    if len(combinations) >= _MANY:
        logger.info("planning %d jobs", len(combinations))
    for number, overrides in enumerate(combinations):
        planned.add(overrides, compose, symmetric)
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            logger.info("planned %d of %d jobs", number + 1, len(combinations))
    dropped = set() if self_pairs or not _both_sides_vary(combinations) else planned.selves
    run = [job.number for job in planned.jobs if job.twin is None and job.number not in dropped]
    skipped = [job.number for job in planned.jobs if job.twin is not None or job.number in dropped]
    place = {number: i for i, number in enumerate([*run, *skipped])}
    jobs = [replace(job, number=place[job.number], twin=place.get(job.twin)) for job in planned.jobs]  # type: ignore[arg-type]
    told_apart = [replace(job, skipped=_why_skipped(job)) if job.number >= len(run) else job for job in jobs]
    return sorted(told_apart, key=lambda job: job.number)


def _both_sides_vary(combinations: Sequence[list[str]]) -> bool:
    sided = [[o for o in overrides if _other_side(o) != o] for overrides in combinations]
    firsts, seconds = ({frozenset(o for o in overrides if _side(o) == side) for overrides in sided} for side in "ab")
    return len(firsts) > 1 and len(seconds) > 1


def _side(override: str) -> str | None:
    found = re.search(_SIDE, override.partition("=")[0])
    return found and found[1]


def _why_skipped(job: Job) -> str:
    if job.twin is None:
        return "both sides are the same; hydra.sweeper.self_pairs=true runs these too"
    return f"the same comparison as job {job.twin}"


def continued(planned: Sequence[Job], before: Sequence[Job], folder: Path) -> list[Job]:
    """The planned jobs under the numbers that they have in a sweep begun earlier; other jobs are refused."""
    new, old = ({job.config: job for job in jobs if not job.skipped} for jobs in (planned, before))
    for differing, whose in ((new.keys() - old.keys(), new), (old.keys() - new.keys(), old)):
        if differing:
            job = min((whose[config] for config in differing), key=lambda job: job.number)
            place = "is not" if whose is new else f"is job {job.number}"
            raise ConfigError(
                f"hydra.sweep.dir={folder} holds a sweep of other jobs: {' '.join(job.overrides)} {place} in it, or its config"
                " files have changed since; -m hydra.sweep.dir=... alone goes on with what was begun"
            )
    return [job if job.skipped else replace(job, overrides=new[job.config].overrides) for job in before]


def write_plan(folder: Path, jobs: Sequence[Job]) -> None:
    write_json(folder, PLAN, {"identity": IDENTITY, "jobs": [asdict(job) for job in jobs]})


def read_plan(folder: Path) -> list[Job]:
    """The jobs planned here; none if no sweep of ours began here. Raises Damaged if the file is not what was written."""
    if not (folder / PLAN).is_file():
        return []
    try:
        plan = unsealed(PLAN, (folder / PLAN).read_bytes())
        jobs = [Job(**job) for job in plan["jobs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{folder / PLAN} is damaged ({str(error)[:120]}); the sweep's whole command, as it was first given, makes it again"
        ) from error
    return jobs if plan.get("identity") == IDENTITY else [replace(job, config=None) for job in jobs]


def identified(jobs: Sequence[Job], folder: Path, compose: Callable[[Sequence[str]], Config]) -> list[Job]:
    """Jobs of an older plan, which told them apart otherwise: a finished one by the config that its run keeps, another composed."""

    def config_of(job: Job) -> Config:
        finished = (folder / str(job.number) / RESULT).is_file()
        return read_run(folder / str(job.number)).result["provenance"]["config"] if finished else compose(job.overrides)

    return [job if job.config or job.skipped else replace(job, config=fingerprint(comparable(config_of(job)))) for job in jobs]


def states(folder: str | Path) -> list[JobState]:
    """The state of each job of a sweep; raises ConfigError where there is no sweep."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"sweep_dir={folder}: no such folder")
    found = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())  # of a sweep by another sweeper
    try:
        jobs = read_plan(folder)
    except Damaged as error:
        logger.warning("%s", error)
        jobs = []
    jobs = jobs or [Job(number, []) for number in found]
    if not jobs:
        raise ConfigError(f"sweep_dir={folder}: no sweep here (no {PLAN} and no folders of jobs)")
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


def count(found: Sequence[JobState]) -> str:
    """`5 done, 1 failed` of all states that occur."""
    counts = Counter(state.state for state in found)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def listing(found: Sequence[JobState], shown: Sequence[JobState]) -> str:
    """A line for each of the `shown` jobs: number, state, what sets it apart from all that were found, and what there is to say."""
    common = set.intersection(*(set(state.job.overrides) for state in found)) if len(found) > 1 else set()
    lines = []
    for state in shown:
        varied = " ".join(override for override in state.job.overrides if override not in common)
        told = inert(f"{varied}{f'  ({state.detail})' if state.detail else ''}")
        lines.append(f"{state.job.number:>5}  {state.state:<8} {told}")
    return "\n".join(lines)


def queued(folder: Path) -> list[str]:
    """The SLURM jobs of this sweep that wait or run now, as far as this machine's squeue knows."""
    arrays = {path.parent.name for path in (folder / ".submitit").glob("*/*_submission.sh")}
    if not arrays or not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return [job for job in listed if job.split("_")[0] in arrays]
