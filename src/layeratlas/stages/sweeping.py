"""Hydra's grid, but each pair of sides once, on record before it starts, and to be gone on with where it was left."""

import errno
import logging
import os
import shlex
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from layeratlas.errors import ConfigError, Damaged, Ended, Failure, JobError, one_line
from layeratlas.files.credentials import refuse_tokens_in
from layeratlas.files.identity import fingerprint
from layeratlas.models import HELD
from layeratlas.options import require, require_options
from layeratlas.runs import states
from layeratlas.runs.at_work import keep_trace
from layeratlas.runs.jobs import JOBS, Job, continued, identified, jobs_of, read_jobs, write_jobs
from layeratlas.runs.reading import RESULT, read_run
from layeratlas.stages.command_line import COMMAND, cannot_write, read
from layeratlas.stages.cores import shared_cores
from layeratlas.stages.factored import Factored
from layeratlas.stages.inputs import require_same_inputs
from layeratlas.stages.schema import built, checked
from layeratlas.stages.user_files import user_folders

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # of a disk, whatever the file
_SUBDIR = "${hydra.job.num}"
_BEGUN = "multirun.yaml"  # the config of the sweep as it was begun


class Sweeping:
    """One sweep: which jobs there are, which of them are still to be done, and what became of them."""

    def __init__(self, sweeper: Any) -> None:
        """`sweeper` is a hydra_plugins.layeratlas_sweeper.PairsSweeper, a class that Hydra makes anew for each command."""
        self.sweeper: Any = sweeper
        self.config: DictConfig = sweeper.config
        self.launcher: Launcher = sweeper.launcher
        self.loader: ConfigLoader = sweeper.hydra_context.config_loader
        self.pairs: Sequence[Sequence[str]] | None = sweeper.pairs

    def __call__(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        typed = read(OmegaConf.select, self.config, "hydra.sweep.dir", throw_on_missing=True)
        require(str, typed, "hydra.sweep.dir")
        options = read(OmegaConf.to_container, self.config.hydra.sweeper, resolve=True)
        require_options(type(self.sweeper), {key: value for key, value in options.items() if key != "_target_"}, "hydra.sweeper")
        with _kept(Path(typed)):
            return self._sweep(arguments, Path(typed))

    def _sweep(self, arguments: list[str], folder: Path) -> list[Sequence[JobReturn]]:
        jobs = self._jobs(arguments, folder)
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / states.ERROR).unlink(missing_ok=True)
            if not (folder / JOBS).is_file():
                OmegaConf.save(self.config, folder / _BEGUN)
            write_jobs(folder, jobs)
        job_states = states.states_of(folder)
        for job in (folder / str(state.job.number) for state in job_states if state.state == "done"):
            if (job / RESULT).is_file():
                require_same_inputs(job, read_run(job).result["provenance"])
        todo = _by_model([state.job for state in job_states if states.to_do(state)])
        logger.info("sweep %s: %d jobs to run of %d (%s)", folder, len(todo), len(job_states), states.count(job_states))
        _say_what_is_damaged(job_states)
        try:
            returns, errors = self._launch(todo, folder)
        except KeyboardInterrupt:
            _tell(folder, _again(self.config.hydra, folder))
            raise
        HELD.drop()
        _tell(folder, _again(self.config.hydra, folder))
        if self.sweeper.summarize:
            errors += self._summarized(folder)
        if errors:
            raise _worst(errors, folder, apart=_apart(self.launcher))
        if elsewhere := [state for state in states.states_of(folder) if state.state == "running"]:
            raise JobError(
                f"hydra.sweep.dir={folder}: {len(elsewhere)} jobs are done by other processes (job {elsewhere[0].job.number}:"
                f" {elsewhere[0].detail}); stage=status sweep_dir={folder} shows when they have ended"
            )
        return returns

    def _jobs(self, arguments: list[str], folder: Path) -> list[Job]:
        """What is to be done here: as asked for, under the numbers of a sweep begun here earlier, or what that one still lacks."""
        if (subdir := OmegaConf.to_container(self.config.hydra.sweep, resolve=False)["subdir"]) != _SUBDIR:  # type: ignore[index]
            raise ConfigError(f"hydra.sweep.subdir={subdir}: must stay {_SUBDIR}; a sweep is resumed by its jobs' numbers")
        resumed = not arguments and not self.sweeper.params and not self.pairs
        before = _begun(folder, resumed)
        if resumed and not before and _chosen(self.config):
            raise ConfigError(f"hydra.sweep.dir={folder}: no sweep there (no {JOBS}), and nothing is given to begin one")
        if waiting := states.queued(folder):
            raise ConfigError(
                f"hydra.sweep.dir={folder}: SLURM jobs {' '.join(waiting)} of this sweep still wait or run; wait, or scancel them"
            )
        if before and resumed:
            combinations, self_pairs = [job.overrides for job in before if not job.skipped], True
        else:
            combinations, self_pairs = self._combinations(arguments), self.sweeper.self_pairs or bool(self.pairs)
        compose = Factored(self._compose)
        jobs = jobs_of(combinations, compose, _Symmetric(), self_pairs=self_pairs)
        return continued(jobs, identified(before, folder, compose), folder) if before else jobs

    def _studies(self, folder: Path) -> dict[str, Any]:
        """What the sweep is asked: as typed now, or as when it was begun."""
        typed = any(override.lstrip("+~").startswith("study") for override in _overrides(self.config)["task"])
        begun = OmegaConf.load(folder / _BEGUN) if (folder / _BEGUN).is_file() else self.config
        chosen = self.config if typed or "study" not in begun else begun
        return read(OmegaConf.to_container, chosen.study, resolve=True)

    def _summarized(self, folder: Path) -> list[Exception]:
        """A convenience: `stage=summarize` does the same at any time, so what goes wrong here costs nothing but the exit code."""
        if not any((folder / str(state.job.number) / RESULT).is_file() for state in states.states_of(folder)):
            return []
        try:
            from layeratlas.stages.plan import store_of
            from layeratlas.stages.reopening import opener_of
            from layeratlas.stages.summary import summarize  # statsmodels and matplotlib take seconds to import

            made = {name: built(node, f"study.{name}") for name, node in self._studies(folder).items()}
            opener, page = opener_of(store_of(self.config)), self.config.report.enabled
            summarize([folder], folder, studies=made, report_missing=False, opener=opener, page=page)
        except ConfigError as error:
            logger.warning("the sweep is not summarised: %s", error)
        except Exception as error:
            logger.exception("the sweep is not summarised; stage=summarize sweep_dir=%s can be run again", folder)
            return [error]
        return []

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        parser = OverridesParser.create(config_loader=self.loader)
        overrides = read(parser.parse_overrides, [*read(self.sweeper._parse_config), *arguments])
        (grid,) = read(self.sweeper.split_arguments, overrides, None)
        if self.pairs is None:
            return grid
        if any(len(pair) != 2 for pair in self.pairs) or any("model@model_" in override for override in grid[0]):
            raise ConfigError(
                f"hydra.sweeper.pairs={self.pairs}: expected [[a, b], [c, d]], and no model@model_a or model@model_b beside it"
            )
        return [[f"model@model_a={a}", f"model@model_b={b}", *rest] for a, b in self.pairs for rest in grid]

    def _compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        config = read(self.loader.load_sweep_config, self.config, list(overrides))
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        resolved = checked(ours)
        refuse_tokens_in(resolved)
        return resolved

    def _launch(self, todo: Sequence[Job], folder: Path) -> tuple[list[Sequence[JobReturn]], list[Exception]]:
        """Every batch, whatever became of the one before; what the jobs returned, and what they or the launcher raised."""
        returns: list[Sequence[JobReturn]] = []
        errors: list[Exception] = []
        size = self.sweeper.max_batch_size or len(todo) or 1
        for start in range(0, len(todo), size):
            batch = [[*job.overrides, f"hydra.sweep.subdir={job.number}"] for job in todo[start : start + size]]
            try:
                with _writing(folder), _cores_of(self.launcher, len(batch)):
                    returns.append(read(self.launcher.launch, batch, initial_job_idx=start))
            except Exception as error:  # a job that died takes the answers of its siblings with it; their files show
                errors.append(error)
            else:
                errors += [job._return_value for job in returns[-1] if job.status == JobStatus.FAILED]
        for error in errors:
            _keep(folder, error)
        return returns, errors


def _by_model(jobs: Sequence[Job]) -> list[Job]:
    """Jobs of the same models one after the other, as one of these stays in memory; otherwise in their order."""
    models = [[override for override in job.overrides if override.lstrip("+").startswith("model")] for job in jobs]
    first = [models.index(mine) for mine in models]
    return [job for _, job in sorted(zip(first, jobs, strict=True), key=lambda pair: pair[0])]


def _cores_of(launcher: object, jobs: int) -> AbstractContextManager[None]:
    """Submitit starts all jobs at once on this machine; joblib shares it among its workers, and SLURM gives out cores."""
    # Hydra makes its plugins' modules anew while it looks for them: a class imported above would not be the launcher's.
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher

    return shared_cores(jobs) if isinstance(launcher, LocalLauncher) else nullcontext()


def _begun(folder: Path, resumed: bool) -> list[Job]:
    """The jobs of a sweep begun here; a damaged plan is made again from the sweep's whole command."""
    try:
        return read_jobs(folder)
    except Damaged as error:
        if resumed:
            raise
        logger.warning("%s", error)
        return []


def _chosen(config: DictConfig) -> bool:
    """Whether the folder of the sweep was typed."""
    return any(override.startswith("hydra.sweep.dir=") for override in _overrides(config)["hydra"])


def _overrides(config: DictConfig) -> dict[str, list[str]]:
    """What was typed, of Hydra's own keys and of ours, its interpolations as they stand."""
    return OmegaConf.to_container(config.hydra.overrides, resolve=False)  # type: ignore[return-value]


def _say_what_is_damaged(job_states: Sequence[states.JobState]) -> None:
    for state in job_states:
        if state.state == "damaged":
            logger.warning("job %d is done again: %s", state.job.number, state.detail)


class _Symmetric:
    """Whether one order of the sides does for a config's metric; each metric is asked once."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def __call__(self, config: dict[str, Any]) -> bool:
        key = fingerprint(config["metric"])
        if key not in self._known:
            self._known[key] = _symmetric(config)
        return self._known[key]


def _symmetric(config: dict[str, Any]) -> bool:
    try:
        return instantiate(config["metric"], _convert_="all").about.symmetric
    except Exception:  # a metric that cannot be made is refused by its job, whose siblings run
        return False


def _tell(folder: Path, again: str) -> None:
    job_states = states.states_of(folder)
    for state in job_states:
        if state.state == "failed" and not (folder / str(state.job.number) / states.ERROR).is_file():  # the others said so
            logger.error("job %d failed: %s", state.job.number, state.detail)
    logger.info("sweep %s: %s", folder, states.count(job_states))
    if any(state.state in ("failed", "missing") for state in job_states):
        logger.info("the rest is done by: %s", again)
    if waiting := states.queued(folder):
        logger.warning("SLURM jobs %s of this sweep wait or run on; scancel %s ends them", *[" ".join(waiting)] * 2)


def _again(hydra_config: DictConfig, folder: Path) -> str:
    """The command that goes on with a sweep: it needs the user's own files again."""
    own = [f"--config-dir {shlex.quote(str(own))}" for own in user_folders(hydra_config)]
    return " ".join([os.environ.get(COMMAND, "layeratlas"), *own, "-m", f"hydra.sweep.dir={shlex.quote(str(folder))}"])


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the disk refuses of the folder is reported as a mistake in where to write; no other error of a system call is."""
    try:
        yield
    except OSError as error:
        file = Path(str(error.filename))
        if error.errno in _FULL or file.is_relative_to(folder) or folder.is_relative_to(file):
            raise cannot_write(f"hydra.sweep.dir={folder}", error) from error
        raise


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Keep the traceback of a bug in the sweep's folder, if there is one yet."""
    try:
        yield
    except Exception as error:
        raise Ended(error, _keep(folder, error)) from error


def _keep(folder: Path, error: Exception) -> Path | None:
    """Write the traceback of a bug; returns the file that holds it."""
    file = folder / states.ERROR
    if isinstance(error, ConfigError | Failure) or not folder.is_dir():
        return None
    return file if keep_trace(file, one_line(error), "".join(traceback.format_exception(error))) else None


def _apart(launcher: object) -> bool:
    """Whether jobs write into logs of their own (submitit's), and not where the sweep's lines are read."""
    return type(launcher).__module__.startswith("hydra_plugins.hydra_submitit_launcher")


def _worst(errors: Sequence[Exception], folder: Path, *, apart: bool) -> Exception:
    """One error to end with: a crash rather than a mistake in what was asked for.

    Jobs have said themselves what went wrong; where they did so `apart`, the first one's reason is said here.
    """
    mistakes = all(isinstance(error, ConfigError) for error in errors)
    job_states = states.states_of(folder)
    failed = [state for state in job_states if state.state == "failed"]
    if not failed:
        return errors[0] if mistakes else next(error for error in errors if not isinstance(error, ConfigError))
    first = f"job {failed[0].job.number}: {failed[0].detail}; " if apart else ""
    kept = f"; what the launcher raised is in {folder / states.ERROR}" if (folder / states.ERROR).is_file() else ""
    message = (
        f"{len(failed)} of {len(job_states)} jobs failed; {first}stage=status sweep_dir={shlex.quote(str(folder))} lists why{kept}"
    )
    return ConfigError(message) if mistakes else JobError(message)
