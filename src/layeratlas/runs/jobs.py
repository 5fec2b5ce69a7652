"""The jobs of a sweep: each pair of sides once, on record in the sweep's folder before any is run."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.identity import comparable, fingerprint
from layeratlas.files.sealed import unsealed
from layeratlas.runs.reading import RESULT, read_run
from layeratlas.runs.writing import write_json

logger = logging.getLogger(__name__)

JOBS = "jobs.json"

_MANY = 100  # jobs whose planning is worth a line
_SECONDS = 5.0  # between two lines
_OTHER = str.maketrans("ab", "ba")
_SIDE = r"_(a|b)(?=$|\.)"  # what a key ends in, or its first part
IDENTITY = 2  # how jobs are distinguished: since 2 without the paths of modules


Config = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One planned job: its folder is its number. `config` fingerprints what it computes; `skipped` says why it is not run."""

    number: int
    overrides: list[str]
    config: str | None = None
    skipped: str | None = None
    twin: int | None = None


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
    """Jobs as they are found, with what identifies them. A mirror is known by its overrides once one of its kind was composed."""

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
        exchanged = mirrored(config)
        own, other = fingerprint(config), fingerprint(exchanged)
        twin = self.by_config.get(own, self.by_config.get(other) if symmetric(composed) else None)
        if partner is not None:
            self.proven[kind] = twin == partner
        if _but_control(config) == _but_control(exchanged):
            self.selves.add(number)
        self.jobs.append(Job(number, overrides, own, twin=twin))
        self.by_config.setdefault(own, number)
        self.by_overrides.setdefault(frozenset(overrides), number)


def _but_control(config: Config) -> Config:
    """What the sides are: a control that replaces the texts of one of them makes no other side."""
    return {key: value for key, value in config.items() if key != "control"}


def jobs_of(
    combinations: Sequence[list[str]],
    compose: Callable[[Sequence[str]], Config],
    symmetric: Callable[[Config], bool],
    *,
    self_pairs: bool,
) -> list[Job]:
    """The jobs of a sweep, each pair of sides once; those that are not run come last.

    (b, a) repeats (a, b) if nothing but the order of the sides differs and the metric is `symmetric`. In a sweep of both sides
    a side is compared with itself, or with a control of itself, only if `self_pairs`.
    """
    planned, reported = _Planned(), time.monotonic()
    if len(combinations) >= _MANY:
        logger.info("planning %d jobs", len(combinations))
    for number, overrides in enumerate(combinations):
        planned.add(overrides, compose, symmetric)
        if time.monotonic() - reported > _SECONDS:
            reported = time.monotonic()
            logger.info("planned %d of %d jobs", number + 1, len(combinations))
    dropped = set() if self_pairs or not _both_sides_vary(combinations) else planned.selves
    run = [job.number for job in planned.jobs if job.twin is None and job.number not in dropped]
    skipped = [job.number for job in planned.jobs if job.twin is not None or job.number in dropped]
    place = {number: i for i, number in enumerate([*run, *skipped])}
    jobs = [replace(job, number=place[job.number], twin=place.get(job.twin)) for job in planned.jobs]  # type: ignore[arg-type]
    marked = [replace(job, skipped=_why_skipped(job)) if job.number >= len(run) else job for job in jobs]
    return sorted(marked, key=lambda job: job.number)


def _both_sides_vary(combinations: Sequence[list[str]]) -> bool:
    def varies(side: str) -> bool:
        return len({frozenset(o for o in overrides if _side(o) == side) for overrides in combinations}) > 1

    return varies("a") and varies("b")


def _side(override: str) -> str | None:
    match = re.search(_SIDE, override.partition("=")[0])
    return match and match[1]


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


def write_jobs(folder: Path, jobs: Sequence[Job]) -> None:
    write_json(folder, JOBS, {"identity": IDENTITY, "jobs": [asdict(job) for job in jobs]})


def read_jobs(folder: Path) -> list[Job]:
    """The jobs planned here; none if no sweep of ours began here. Raises Damaged if the file is not what was written."""
    if not (folder / JOBS).is_file():
        return []
    try:
        plan = unsealed(JOBS, (folder / JOBS).read_bytes())
        jobs = [Job(**job) for job in plan["jobs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{folder / JOBS} is damaged ({str(error)[:120]}); the sweep's whole command, as it was first given, makes it again"
        ) from error
    return jobs if plan.get("identity") == IDENTITY else [replace(job, config=None) for job in jobs]


def identified(jobs: Sequence[Job], folder: Path, compose: Callable[[Sequence[str]], Config]) -> list[Job]:
    """Jobs of an older record, distinguished as today: a finished one by the config that its run keeps, another by composing it."""

    def config_of(job: Job) -> Config:
        finished = (folder / str(job.number) / RESULT).is_file()
        return read_run(folder / str(job.number)).result["provenance"]["config"] if finished else compose(job.overrides)

    return [job if job.config or job.skipped else replace(job, config=fingerprint(comparable(config_of(job)))) for job in jobs]
