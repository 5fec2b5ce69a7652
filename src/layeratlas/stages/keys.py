"""The keys of a config that belong to no class or function, with what they take."""

from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from layeratlas.errors import ConfigError
from layeratlas.options import Positive, Seed, require

# Those of all other nodes are the options of what their `_target_` names.
KEYS: dict[str, Any] = {
    "seed": Seed,
    "layers": str | list[str],
    "device": str,
    "k.k": Positive,
    "extract.poolings": list[str],
    "extract.batch_size": Positive,
    "extract.batch_tokens": Positive,
    "extract.exact": bool,
    "extract.nll": bool,
    "store.dir": str,
    "report.enabled": bool,
    "report.figures": bool,
    "report.texts": bool,
}
STAGE_KEYS: dict[str, Any] = {
    "store.action": Literal["list", "verify", "remove"],
    "store.entry": str,
    "run_dir": str | list[str] | None,
    "sweep_dir": str | list[str] | None,
    "against": str | None,
    "summary_dir": str | None,
    "summary_family": list[str] | None,
}


def with_keys(config: DictConfig) -> dict[str, Any]:
    """The config with every interpolation replaced. Raises ConfigError if one of these keys lacks a value, or has another kind."""
    whole = resolved(config)
    for key, hint in (KEYS | STAGE_KEYS).items():
        given = _at(whole, key)
        if not given and key in KEYS:
            raise ConfigError(f"{key}: has no value; give one as {key}=...")
        for value in given:
            require(hint, value, key)
    return whole


def resolved(config: DictConfig) -> dict[str, Any]:
    """The whole config as it will be stored, every interpolation replaced; raises ConfigError for a value that was not given."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: has no value; give one as {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from None


def _at(node: Any, key: str) -> list[Any]:
    """The value of a dotted key, if there is one."""
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return []
        node = node[part]
    return [node]
