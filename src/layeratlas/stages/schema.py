"""What a config may hold, checked whole before anything is read or computed."""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from layeratlas.analyses import AbstractAnalysis
from layeratlas.arrays import Pooling
from layeratlas.corpora import AbstractControl, AbstractCorpus, Language
from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.pooling import require_pooling
from layeratlas.layers import require_names
from layeratlas.metrics import AbstractMetric
from layeratlas.models import AbstractModel, StoredActivations
from layeratlas.options import hints, meant, require, require_complete, require_options, shown
from layeratlas.stages.keys import with_keys
from layeratlas.statistics import Inference
from layeratlas.studies.base import AbstractStudy

# What the nodes of the config's groups make.
KINDS: dict[str, tuple[type, ...]] = {
    "metric": (AbstractMetric,),
    "dataset": (AbstractCorpus,),
    "control": (AbstractControl, type(None)),
    "model_a": (AbstractModel, StoredActivations),
    "model_b": (AbstractModel, StoredActivations),
    "statistics": (Inference,),
    "pooling": (Callable,),  # type: ignore[dict-item]
    "normalization": (Callable,),  # type: ignore[dict-item]
    "stage": (Callable,),  # type: ignore[dict-item]
}
# What the nodes of lists of files make.
ASKED: dict[str, type] = {"analysis": AbstractAnalysis, "study": AbstractStudy}
_PLACE_OF_MODULES = "PYTHONPATH=DIR has Python search a folder of yours"


def checked(config: DictConfig) -> dict[str, Any]:
    """The config with every interpolation replaced. Raises ConfigError for the first mistake in it."""
    whole = with_keys(config)
    require_names(whole["layers"])
    for name in whole["extract"]["poolings"]:
        named_pooling(name, "extract.poolings")
    for key in (*KINDS, *ASKED, "language_a", "language_b"):
        _require_part(key, json.dumps(whole.get(key), default=str))
    return whole


def built(node: Any, where: str) -> Any:
    """The object that a node describes; its own refusal is the user's mistake, any other failure of its code is not."""
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, ConfigError):
            raise ConfigError(re.sub(r"^model ", f"{where}.", str(cause))) from None  # a model does not know which side it is
        if isinstance(cause, ValueError):
            raise ConfigError(f"{where}: {' '.join(str(cause).split())}") from error
        raise cause from None


def named_pooling(name: str, where: str) -> Pooling:
    """A pooling without options by its dotted path, or by its bare name if it is one of ours."""
    if "." in name:
        pool = _located(name, where)
        require_pooling(pool, where)
        return pool
    if name not in pooling.__all__:
        raise ConfigError(
            f"{where}: there is no {name!r}{meant(name, pooling.__all__)}; available are {', '.join(pooling.__all__)}"
        )
    return getattr(pooling, name)


@cache
def _require_part(key: str, text: str) -> None:
    """A job differs from the other jobs of its sweep in a few parts; what was checked once is not checked again."""
    node = json.loads(text)
    if key in ASKED:
        for name, question in node.items():
            _require_object(question, f"{key}.{name}", (ASKED[key],))
    elif key.startswith("language"):
        _require_chosen(node, key)
        require_options(Language, node, key)
        require_complete(Language, node, key)
    elif key == "pooling":
        require_pooling(_require_object(node, key, KINDS[key]), key)
    else:
        _require_object(node, key, KINDS[key])


def _require_chosen(node: Any, where: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        group = re.split("[._]", where)[0]
        choice = f"{group}@{where}" if "_" in where else group
        by_id = f"; a model of a folder or a hub is given as {where}.id={node}" if group == "model" and "/" in str(node) else ""
        raise ConfigError(f"{where}: expected a file of conf/{group}, chosen as {choice}=NAME; got {shown(node)}{by_id}")
    return node


def _require_object(node: Any, where: str, kinds: tuple[type, ...]) -> Any:
    """The object that the node makes. Raises ConfigError unless it is of one of the kinds."""
    if node is None and type(None) in kinds:
        return None
    chosen = _require_chosen(node, where)
    _require_options(chosen, where)
    made = built(chosen, where)
    if not isinstance(made, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigError(f"{where}._target_: expected a {names}; {chosen['_target_']} makes a {type(made).__name__}")
    return made


def _require_options(node: dict[str, Any], where: str) -> None:
    if "_target_" not in node:
        raise ConfigError(f"{where}._target_: has no value; it names the class")
    owner = _located(node["_target_"], f"{where}._target_")
    options = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    for key, value in options.items():
        for i, inner in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(inner, dict) and "_target_" in inner:
                place = f"{where}.{key}" + (f"[{i}]" if isinstance(value, list) else "")
                _require_options(inner, place)
                _require_kind(owner, key, inner["_target_"], place)
    plain = {key: value for key, value in options.items() if not _makes_objects(value)}
    require_options(owner, plain, where)
    if not node.get("_partial_"):
        require_complete(owner, options, where)


def _require_kind(owner: Callable[..., Any], key: str, path: str, where: str) -> None:
    """Raises ConfigError for a class that is none of those that the owner declares for this option, or for each of a list."""
    hint = hints(owner).get(key)
    several = get_origin(hint) in (Sequence, list, tuple, Union, UnionType)
    origins = (get_origin(each) or each for each in (get_args(hint) if several else [hint]))
    kinds = tuple(kind for kind in origins if inspect.isclass(kind) and not getattr(kind, "_is_protocol", False))
    made = _located(path, f"{where}._target_")
    if inspect.isclass(made) and kinds and not issubclass(made, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigError(f"{where}._target_: expected a {names}; {path} makes a {made.__name__}")


def _makes_objects(value: Any) -> bool:
    return any(isinstance(inner, dict) and "_target_" in inner for inner in (value if isinstance(value, list) else [value]))


def _located(path: Any, where: str) -> Callable[..., Any]:
    """What a dotted path names. Raises ConfigError for a module that fails, a name that it lacks, or what makes nothing."""
    require(str, path, where)
    try:
        target = get_object(path)
    except Exception as error:  # Hydra's own, or whatever a module raises when it is imported
        raise ConfigError(f"{where}: {_why_not_located(path)}") from error
    if not callable(target) or inspect.isabstract(target):
        raise ConfigError(f"{where}: {path} makes no object; expected a class or a function that does")
    return target


def _why_not_located(path: str) -> str:
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module, name = ".".join(parts[:length]), parts[length]
        try:
            package = importlib.import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name and f"{module}.".startswith(f"{missing.name}."):
                continue
            return f"{module} cannot be imported ({missing})"
        except Exception as failure:  # whatever a module of the user's raises
            return f"{module} cannot be imported ({type(failure).__name__}: {' '.join(str(failure).split())})"
        known = [each for each in dir(package) if not each.startswith("_")]
        exported = " (a class is named by its own file, or imported in __init__.py)" if hasattr(package, "__path__") else ""
        return f"{module} has no {name!r}{meant(name, known)}{exported}"
    if len(parts) == 1:
        return f"expected a dotted path such as layeratlas.metrics.MutualKNN; got {path!r}"
    return f"there is no module {parts[0]!r}; {_PLACE_OF_MODULES}"
