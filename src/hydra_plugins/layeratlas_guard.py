"""What is refused before Hydra writes anything: it writes the config into the run's folder before our code has its say."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from layeratlas.errors import ConfigError, Refused
from layeratlas.files.credentials import refuse_tokens_in
from layeratlas.runs.at_work import claim
from layeratlas.stages.user_files import make_importable, require_own_names, user_folders


class Guard(Callback):
    """Refuses configs that hold a token, and a folder in which another run is at work."""

    def on_run_start(self, config: DictConfig, **more: Any) -> None:
        with _refusing():
            _refuse_tokens(config)
            _welcome_user_files(config)
            _require_sweep_flag(config)
            if config.hydra.output_subdir is not None:
                HydraConfig.instance().set_config(config)  # a folder may be named after hydra.job
                folder = Path(config.hydra.run.dir)
                folder.mkdir(parents=True, exist_ok=True)
                claim(folder)

    def on_multirun_start(self, config: DictConfig, **more: Any) -> None:
        with _refusing():
            _refuse_tokens(config)
            _welcome_user_files(config)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise Refused(error) from error
    except OSError as error:
        raise Refused(ConfigError(f"hydra.run.dir: cannot make or write {error.filename} ({error.strerror})")) from error


def _welcome_user_files(config: DictConfig) -> None:
    """Folders of the user's own may hold new names for Hydra, and modules for Python."""
    folders = user_folders(config.hydra)
    (conf,) = (Path(source.path) for source in config.hydra.runtime.config_sources if source.provider == "main")
    require_own_names(folders, conf)
    make_importable(folders)


def _require_sweep_flag(config: DictConfig) -> None:
    """A sweep is gone on with by `-m hydra.sweep.dir=...`; without -m, that would start the default comparison."""
    chosen = config.hydra.overrides
    given = {override.partition("=")[0] for override in chosen.hydra}
    if "hydra.sweep.dir" in given and "hydra.run.dir" not in given and not chosen.task:
        raise ConfigError(f"hydra.sweep.dir={config.hydra.sweep.dir}: nothing else is given; -m goes on with a sweep")


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
