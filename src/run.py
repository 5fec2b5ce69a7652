"""The one entry point: `python src/run.py [key=value ...]`, `-m` for sweeps, `--help` for what can be set.

Exit codes: 0 done; 2 a mistake in what was asked for, told in one line; 1 anything else, with the traceback in error.txt of
the run's folder.
"""

import difflib
import json
import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
import platformdirs
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from layeratlas.cores import limit_threads
from layeratlas.errors import ConfigError, JobError, Skipped
from layeratlas.jobs import TimedOut, at_work

logger = logging.getLogger(__name__)

CONF = str(Path(__file__).resolve().parent.parent / "conf")


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def run(config: DictConfig) -> None:
    """One job. It raises what went wrong: leaving the process here would end the other jobs of a sweep."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if hydra_config.output_subdir is None:  # a stage that looks but makes no run
        try:
            _stage(config, folder)
        except Exception as error:
            error.add_note("no run folder, so no traceback is kept")
            raise
    elif hydra_config.mode == RunMode.MULTIRUN:
        _job(config, folder)
    else:
        with traced(folder / "error.txt"):
            _stage(config, folder)


def _job(config: DictConfig, folder: Path) -> None:
    """One job of a sweep, whose errors may have to travel between processes: they lose their cause there, and some cannot."""
    try:
        with at_work(folder), gaps_marked(folder / "skipped.json"), traced(folder / "error.txt"):
            _stage(config, folder)
    except (Exception, TimedOut) as error:
        logger.error("job %s failed: %s", folder.name, one_line(error))
        raise (ConfigError if is_mistake(error) else JobError)(one_line(error)) from error


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
def traced(file: Path) -> Iterator[None]:
    """Keep what goes wrong for those who did not watch: what it is in the first line, then the traceback."""
    file.unlink(missing_ok=True)
    try:
        yield
    except Skipped:
        raise
    except (Exception, TimedOut) as error:
        trace = traceback.format_exc()
        error.add_note(f"traceback in {file}")
        file.write_text(f"{one_line(error)}\n\n{trace}", encoding="utf-8")
        raise


def _stage(config: DictConfig, folder: Path) -> None:
    limit_threads()
    hydra.utils.instantiate(config.stage)(config, folder)


def main() -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra otherwise prints a trace of its own and exits with 1, whatever happened
    os.environ["LAYERATLAS_RUN_ID"] = secrets.token_hex(3)  # two runs started in the same second get folders of their own
    os.environ.setdefault("LAYERATLAS_STORE", platformdirs.user_cache_dir("layeratlas"))
    sys.argv[1:] = [free_k(argument) for argument in sys.argv[1:]]
    try:
        run()
    except Exception as error:
        where = "" if is_mistake(error) else "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        print(f"layeratlas: {one_line(error)}{where}", file=sys.stderr)
        return 2 if is_mistake(error) else 1
    except KeyboardInterrupt:
        print("layeratlas: interrupted; the same command goes on from the last finished shard", file=sys.stderr)
        return 130
    return 0


def free_k(argument: str) -> str:
    """`k=5` or `k=5,10` as `k.k=...`: k is a config group, and Hydra takes no number for the name of an option."""
    return f"k.{argument}" if re.fullmatch(r"k=\d+(,\d+)*", argument) else argument


def is_mistake(error: BaseException) -> bool:
    """Whether the config or the command line is to blame: anything that fails before a job starts, and what we or Hydra refuse."""
    started = isinstance(error, JobError) or bool(getattr(error, "__notes__", []))
    blamed = (ConfigError, HydraException, OmegaConfBaseException)
    return not started or any(isinstance(cause, blamed) for cause in causes(error))


def one_line(error: BaseException) -> str:
    ours = [cause for cause in causes(error) if isinstance(cause, ConfigError)]
    missing = [cause for cause in causes(error) if isinstance(cause, MissingMandatoryValue)]
    text = " ".join(str((ours or [error])[0]).split()).split(" Config search path:")[0] or type(error).__name__
    if missing:
        return f"{missing[0].full_key}: has no value; give one as {missing[0].full_key}=..."
    if unknown := re.match(r"Could not override '([\w.@]+)'", text):
        return f"there is no option {unknown[1]!r}{suggestion(unknown[1])}; --help lists what can be set"
    return text if isinstance(error, JobError) or is_mistake(error) else f"{type(error).__name__}: {text}"


def suggestion(key: str) -> str:
    """The option that a misspelt one most resembles."""
    from hydra import compose
    from omegaconf import OmegaConf

    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        known = list(keys(OmegaConf.to_container(compose("config"))))
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def keys(node: object, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from keys(value, f"{prefix}{key}.")


def causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause:
        yield cause
        cause = cause.__cause__ or cause.__context__


if __name__ == "__main__":
    sys.exit(main())
