"""The command line: `layeratlas [key=value ...]`, `-m` for sweeps, `--help` for what can be set.

Exit codes: 0 done; 2 a mistake in what was asked for, reported in one line; 1 anything else, with the traceback in error.txt of
the run's folder.
"""

import atexit
import gc
import json
import logging
import os
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path

import hydra
import platformdirs
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from layeratlas.errors import ConfigError, Ended, Failure, JobError, Skipped, one_line
from layeratlas.files.credentials import redacted, refuse_tokens
from layeratlas.files.inert import inert
from layeratlas.runs.at_work import AtWork, TimedOut, at_work, keep_trace
from layeratlas.stages.command_line import (
    COMMAND,
    CONF,
    cannot_write,
    only_read,
    refusal,
    refuse_undecoded,
    refuse_unknown_flags,
    refused,
    understood,
)
from layeratlas.stages.console import unbroken
from layeratlas.stages.cores import limit_threads
from layeratlas.stages.keys import with_keys
from layeratlas.stages.user_files import make_importable, typed_folders, user_folders

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> None:
    """One job. Those of a sweep raise what went wrong: leaving the process here would end the other ones."""
    hydra_config = HydraConfig.get()
    make_importable(user_folders(hydra_config))  # a launcher's process has heard nothing of them
    folder = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.MULTIRUN:
        return _job(config, folder)
    trace = folder / "error.txt" if hydra_config.output_subdir else None  # a stage that looks makes no run
    try:
        with at_work(folder) if trace else nullcontext(), traced(trace):
            _stage(config, folder)
    except Exception as error:
        raise Ended(error, trace) from error


def _job(config: DictConfig, folder: Path) -> None:
    """One job of a sweep, whose errors may have to travel between processes: they lose their cause there, and some cannot."""
    try:
        with at_work(folder), gaps_marked(folder / "skipped.json"), traced(folder / "error.txt"):
            _stage(config, folder)
    except AtWork as error:
        logger.warning("job %s is left to the process that does it: %s", folder.name, error)
    except (Exception, TimedOut) as error:
        untold = not isinstance(error, ConfigError | Failure) and not (folder / "error.txt").is_file()
        logger.error("job %s failed: %s", folder.name, one_line(error), exc_info=untold)
        raise (ConfigError if isinstance(error, ConfigError) else JobError)(one_line(error)) from error


@contextmanager
def gaps_marked(file: Path) -> Iterator[None]:
    """Note what a job asked for in vain, `{"reason": ...}`, and let the sweep go on; a run by itself has made a mistake."""
    file.unlink(missing_ok=True)
    try:
        yield
    except Skipped as gap:
        file.write_text(json.dumps({"reason": str(gap)}, ensure_ascii=False) + "\n", encoding="utf-8")
        logger.warning("job %s skipped: %s", file.parent.name, gap)


@contextmanager
def traced(file: Path | None) -> Iterator[None]:
    """Keep what goes wrong for whoever did not watch: what it is in the first line, then the traceback."""
    if file:
        file.unlink(missing_ok=True)
    try:
        yield
    except Skipped:
        raise
    except (Exception, TimedOut) as error:
        if file:
            keep_trace(file, one_line(error), traceback.format_exc())
        raise


def _stage(config: DictConfig, folder: Path) -> None:
    if "sweep_dir" in config:  # finished work is only read
        with_keys(config)
    else:
        from layeratlas.stages.schema import checked  # torch takes seconds to import

        limit_threads()
        checked(config)
    hydra.utils.instantiate(config.stage)(config, folder)


def main(command: str = "layeratlas") -> int:
    """Do what the arguments ask for; returns the exit code. `command` is how people call this, as help and hints show it."""
    gc.set_threshold(100_000)  # libraries make a million objects that stay: looking among them for garbage takes half a second
    atexit.register(_leave_quickly)
    with unbroken():
        if sys.argv[1:] == ["--version"]:  # Hydra would print its own
            print(f"layeratlas {metadata.version('layeratlas')}")
            return 0
        return _main(command)


def _leave_quickly() -> None:
    """Spare Python a last look through all objects, which takes a second; libraries of a loaded network would report what stays."""
    if "transformers" not in sys.modules:
        gc.freeze()


def _main(command: str) -> int:
    os.environ[COMMAND] = command
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra otherwise prints a trace of its own and exits with 1, whatever happened
    os.environ["LAYERATLAS_RUN_ID"] = secrets.token_hex(3)  # two runs started in the same second get folders of their own
    os.environ.setdefault("LAYERATLAS_STORE", platformdirs.user_cache_dir("layeratlas"))
    try:
        refuse_undecoded(sys.argv[1:])
        sys.argv[1:] = understood(sys.argv[1:], _names("k"))
        refuse_unknown_flags(sys.argv[1:])
        refuse_tokens(sys.argv[1:])
        run()
    except Ended as end:
        return _report(end.error, end.trace)
    except Exception as error:  # before a job starts
        return _report(_mistake(error) or error, None)
    except KeyboardInterrupt:
        print("layeratlas: interrupted; the same command goes on from the last finished shard", file=sys.stderr)
        return 130
    return 0


def _names(group: str) -> list[str]:
    """The files of a config group, the user's own among them."""
    return [file.stem for folder in (CONF, *typed_folders(sys.argv)) for file in (folder / group).glob("*.yaml")]


def _mistake(error: Exception) -> ConfigError | None:
    """What Hydra refuses, or cannot write, before any code of ours runs; None for what is raised elsewhere."""
    if isinstance(error, OSError) and not isinstance(error, HydraException) and only_read(error):
        if str(error.filename).endswith(".yaml") and Path(error.filename).parent.name != ".hydra":
            return ConfigError(f"{error.filename}: cannot be read ({error.strerror})")
        return cannot_write("hydra.sweep.dir" if {"-m", "--multirun"} & set(sys.argv) else "hydra.run.dir", error)
    return ConfigError(refusal(error, str(CONF), sys.argv[1:])) if refused(error) else None


def _report(error: BaseException, trace: Path | None) -> int:
    """Print one line for what went wrong, and the traceback of a bug where none is kept; returns the exit code."""
    bug = not isinstance(error, ConfigError | Failure)
    kept = trace is not None and trace.is_file()
    if bug and not kept:
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"layeratlas: {inert(redacted(one_line(error)))}{f' (traceback in {trace})' if bug and kept else ''}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1
