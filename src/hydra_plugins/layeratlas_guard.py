"""What is refused before Hydra writes anything: it writes the config into the run's folder before our code has its say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from layeratlas.errors import ConfigError, Ended
from layeratlas.files.credentials import refuse_tokens_in
from layeratlas.options import require
from layeratlas.runs.at_work import claim
from layeratlas.stages.command_line import cannot_write, read
from layeratlas.stages.user_files import make_importable, require_own_names, user_folders


class Guard(Callback):
    """Refuses configs that hold a token, and a folder in which another run is at work."""

    def on_run_start(self, config: DictConfig, **more: Any) -> None:
        with _ending():
            _refuse_tokens(config)
            _welcome_user_files(config)
            _require_sweep_flag(config)
            if config.hydra.output_subdir is not None:
                HydraConfig.instance().set_config(config)  # a folder may be named after hydra.job
                _take(read(OmegaConf.select, config, "hydra.run.dir", throw_on_missing=True))

    def on_multirun_start(self, config: DictConfig, **more: Any) -> None:
        with _ending():
            _refuse_tokens(config)
            _welcome_user_files(config)


@contextmanager
def _ending() -> Iterator[None]:
    """Whatever goes wrong ends the command: Hydra would warn of a callback's exception, and go on."""
    try:
        yield
    except Exception as error:
        raise Ended(error) from error


def _take(run_dir: Any) -> None:
    """Make the run's folder this process' own."""
    require(str, run_dir, "hydra.run.dir")
    try:
        Path(run_dir).mkdir(parents=True, exist_ok=True)
        claim(Path(run_dir))
    except OSError as error:
        raise cannot_write("hydra.run.dir", error) from error


def _welcome_user_files(config: DictConfig) -> None:
    """Folders of the user's own may hold new names for Hydra, and modules for Python."""
    folders = user_folders(config.hydra)
    (conf,) = (Path(source.path) for source in config.hydra.runtime.config_sources if source.provider == "main")
    require_own_names(folders, conf)
    make_importable(folders)


def _require_sweep_flag(config: DictConfig) -> None:
    """A sweep is gone on with by `-m hydra.sweep.dir=...`; without -m, that would start the default comparison."""
    chosen: Any = OmegaConf.to_container(config.hydra.overrides, resolve=False)  # as typed
    given = dict(override.partition("=")[::2] for override in chosen["hydra"])
    if "hydra.sweep.dir" in given and "hydra.run.dir" not in given and not chosen["task"]:
        raise ConfigError(f"hydra.sweep.dir={given['hydra.sweep.dir']}: nothing else is given; -m goes on with a sweep")


def _refuse_tokens(config: DictConfig) -> None:
    """As it is written, and as it reads with every interpolation replaced that can be."""
    refuse_tokens_in(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]
    refuse_tokens_in(_resolved(config))


def _resolved(node: Any) -> Any:
    if isinstance(node, DictConfig):
        return {str(key): _value(node, key) for key in node}
    if isinstance(node, ListConfig):
        return [_value(node, i) for i in range(len(node))]
    return node


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    try:
        return _resolved(node[key])
    except OmegaConfBaseException:  # nothing was given yet, or it depends on the job
        return None
