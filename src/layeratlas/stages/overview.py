"""What `stage=` names that reads finished work alone: none of a run's objects is made, and torch is not imported."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from layeratlas.errors import ConfigError
from layeratlas.runs import states
from layeratlas.runs.reading import read_run

logger = logging.getLogger(__name__)


def status(config: DictConfig, folder: Path) -> None:
    """List the jobs of a sweep: done, running, failed with the first line of the error, missing, skipped with the reason."""
    for sweep in _sweeps(config):
        job_states = states.states_of(sweep)
        logger.info("sweep %s: %s\n%s", sweep, states.count(job_states), states.listing(job_states, job_states))
        if waiting := states.queued(sweep):
            logger.info("SLURM jobs of this sweep that wait or run: %s", " ".join(waiting))


def summarize(config: DictConfig, folder: Path) -> None:
    """Write one sweep's tables and figures, or those of several sweeps together."""
    from layeratlas.stages.plan import store_of
    from layeratlas.stages.reopening import opener_of
    from layeratlas.stages.schema import built
    from layeratlas.stages.summary import summarize  # statsmodels and matplotlib take seconds to import

    sweeps = _sweeps(config)
    if len(sweeps) > 1 and config.summary_dir is None:
        raise ConfigError("summary_dir: has no value; several sweeps are summarised in a folder of their own")
    studies = {name: built(node, f"study.{name}") for name, node in config.study.items()}
    into, opener = Path(config.summary_dir or sweeps[0]), opener_of(store_of(config))
    page = config.report.enabled
    summarize(sweeps, into, studies=studies, family=config.summary_family, opener=opener, page=page)


def report(config: DictConfig, folder: Path) -> None:
    """Draw the figures and write the page of finished runs, or of summarised sweeps, from their saved files."""
    from layeratlas.report.again import run_again

    runs, sweeps = _folders(config, "run_dir"), _folders(config, "sweep_dir")
    if not runs and not sweeps:
        raise ConfigError("run_dir: has no value; give one as run_dir=... or sweep_dir=...")
    against = None if config.against is None else read_run(config.against)
    page, texts, pictures = config.report.enabled, config.report.texts, config.report.figures
    for run in runs:
        run_again(read_run(run), page=page, texts=texts, pictures=pictures, against=against)
    for sweep in sweeps:
        from layeratlas.report.sweep_again import sweep_again  # the studies take as long to import as a run takes to draw

        sweep_again(sweep, config.summary_family, page=page)


def _sweeps(config: DictConfig) -> list[Path]:
    if not (folders := _folders(config, "sweep_dir")):
        raise ConfigError("sweep_dir: has no value; give one as sweep_dir=...")
    return folders


def _folders(config: DictConfig, key: str) -> list[Path]:
    """The folders that a key names, one or several."""
    given = config[key] or []
    return [Path(folder) for folder in ([given] if isinstance(given, str) else given)]
