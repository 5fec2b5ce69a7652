"""What `stage=` names that reads finished work alone: none of a run's objects is made, and torch is not imported."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from layeratlas.errors import ConfigError
from layeratlas.runs import states

logger = logging.getLogger(__name__)


def status(config: DictConfig, folder: Path) -> None:
    """List the jobs of a sweep: done, running, failed with the first line of the error, missing, skipped with the reason."""
    for sweep in _sweeps(config):
        found = states.states_of(sweep)
        logger.info("sweep %s: %s\n%s", sweep, states.count(found), states.listing(found, found))
        if waiting := states.queued(sweep):
            logger.info("SLURM jobs of this sweep that wait or run: %s", " ".join(waiting))


def summarize(config: DictConfig, folder: Path) -> None:
    """Write one sweep's tables and figures, or those of several sweeps together."""
    from layeratlas.stages.schema import built
    from layeratlas.stages.summary import summarize  # statsmodels, seaborn and torch take seconds to import

    found = _sweeps(config)
    if len(found) > 1 and config.summary_dir is None:
        raise ConfigError("summary_dir: has no value; several sweeps are summarised in a folder of their own")
    studies = {name: built(node, f"study.{name}") for name, node in config.study.items()}
    summarize(found, Path(config.summary_dir or found[0]), studies=studies, family=config.summary_family)


def _sweeps(config: DictConfig) -> list[Path]:
    return [Path(sweep) for sweep in ([config.sweep_dir] if isinstance(config.sweep_dir, str) else config.sweep_dir)]
