"""Folders of the user's own YAML files, and of the modules that these name: `--config-dir DIR`, or `hydra.searchpath`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.conf import HydraConf
from omegaconf import DictConfig

from layeratlas.errors import ConfigError
from layeratlas.stages.command_line import FOLDER


def user_folders(hydra_config: DictConfig | HydraConf) -> list[Path]:
    """The folders beside conf/ in which Hydra looks for files; `hydra_config` is the node `hydra` of a config."""
    sources = hydra_config.runtime.config_sources
    return [Path(source.path).resolve() for source in sources if source.schema == "file" and source.provider != "main"]


def make_importable(folders: Sequence[Path]) -> None:
    """Let Python search these folders last, so that no file in them hides the module of a library."""
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]


def require_own_names(folders: Sequence[Path], conf: Path) -> None:
    """Raises ConfigError for a file that is named as one of conf/: Hydra reads the first that it finds, and says nothing."""
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            name = file.relative_to(folder)
            if folder != conf and (conf / name).is_file():
                raise ConfigError(f"{file}: layeratlas has a {name} and would read that; give yours another name")


def typed_folders(arguments: Sequence[str]) -> Iterator[Path]:
    """The folders given as `--config-dir DIR`, before Hydra has read the command line."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, _, value = argument.partition("=")
        if flag in FOLDER and (value or following):
            yield Path(value or following)
