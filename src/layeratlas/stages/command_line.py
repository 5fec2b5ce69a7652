"""What people type, as Hydra's grammar wants it, and what Hydra answers, in one line."""

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from layeratlas.errors import ConfigError
from layeratlas.stages.suggestions import for_file, for_key

_TEXT = re.compile(r"(^|[._])(path|id|revision|mirror|adapter|dir|entry|names)$|@|^(dataset|metric|pooling)$")
_SEVERAL = re.compile(r"\w*_dir$|^matrices\.(path|names)$")  # sweep_dir=[A,B]
_SWEEP = ("-m", "--multirun")
FOLDER = ("--config-dir", "-cd")  # the next argument is a folder of the user's own YAML files
COMMAND = "LAYERATLAS_COMMAND"  # the environment variable that says how people call the command line
_VALUED = (*FOLDER, "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c", "--package", "-p", "--experimental-rerun")
_FLAGS = (
    *(*_SWEEP, *_VALUED, "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--info", "-i"),
    *("--shell-completion", "-sc"),
)
_READERS = {"hydra", "omegaconf", "yaml", "antlr4"}  # the libraries that read what people type, and their YAML
_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(conf for conf in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if conf.is_dir())  # of a wheel, of a checkout


def understood(arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """The arguments with values in quotes where Hydra would not read them, or not as the text that their key takes.

    `options` are the names of the files of conf/k: Hydra takes no number for such a name, so any other `k=5` becomes `k.k=5`.
    """
    before = ["", *arguments]
    swept = any(argument in _SWEEP for argument in arguments)
    first, rest = [], []  # argparse takes no overrides on both sides of what begins with a dash
    for flag, argument in zip(before, arguments, strict=False):
        if flag in _VALUED or argument.partition("=")[0] in (*_SWEEP, *_VALUED):
            first.append(argument)
        else:
            rest.append(_understood(_free_k(argument, options), swept=swept))
    return [*first, *rest]


def refuse_unknown_flags(arguments: Sequence[str]) -> None:
    """Raises ConfigError for what begins with a dash and is none of Hydra's, before argparse prints its usage."""
    for flag, argument in zip(["", *arguments], arguments, strict=False):
        name, _, _ = argument.partition("=")
        if not argument.startswith("-") or flag in _VALUED or any(known.startswith(name) for known in _FLAGS):
            continue
        key = argument.lstrip("-")
        meant = f"; did you mean {key}?" if "=" in argument else ""
        raise ConfigError(
            f"{argument}: there is no such option{meant} (keys are given as KEY=VALUE, without dashes; --help lists them)"
        )


def refuse_undecoded(arguments: Sequence[str]) -> None:
    """Raises ConfigError for bytes that the locale's encoding, mostly UTF-8, does not know: no result could be written of them."""
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise ConfigError(
                f"{argument.partition('=')[0]}: {argument.partition('=')[2]!a} is no text in {sys.getfilesystemencoding()};"
                " rename the file, or set PYTHONUTF8=1 where the name is UTF-8"
            )


def _free_k(argument: str, options: Sequence[str]) -> str:
    values = argument.removeprefix("k=")
    free = argument.startswith("k=") and values and not any(value in options for value in values.split(","))
    return f"k.{argument}" if free else argument


def _understood(argument: str, *, swept: bool) -> str:
    key, equals, value = argument.partition("=")
    if argument.startswith("-") or not equals or _readable(key, value, swept=swept):
        return argument
    listed = value.startswith("[") and value.endswith("]") and bool(_SEVERAL.search(key))
    values = (value[1:-1] if listed else value).split(",") if swept or listed else [value]
    quoted = ",".join(one if _readable(key, one, swept=False) else _quoted(one) for one in values)
    quoted = f"[{quoted}]" if listed else quoted
    return f"{key}={quoted}" if _parsed(key, quoted) else argument


def _readable(key: str, value: str, *, swept: bool) -> bool:
    """Whether Hydra reads this value, and for keys that take text as text."""
    override = _parsed(key, value)
    if override is None:
        return False
    if not _TEXT.search(key.lstrip("+~")):
        return True
    if override.is_sweep_override():
        listed = override.value_type == ValueType.SIMPLE_CHOICE_SWEEP  # else glob(...), range(...)
        return swept and (not listed or all(_readable(key, one, swept=False) for one in override.sweep_string_iterator()))
    read = override.value()
    return read is None or isinstance(read, str) or (isinstance(read, list) and bool(_SEVERAL.search(key)))


def _parsed(key: str, value: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return None


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.single).with_quotes()


def read(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function of Hydra or OmegaConf that reads what people typed. Raises ConfigError where that is refused."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        if refused(error):
            raise ConfigError(refusal(error, str(CONF), sys.argv[1:])) from error
        raise


def refused(error: BaseException) -> bool:
    """Whether an exception, caught here, is how Hydra, OmegaConf or YAML refuse what they read, and no bug below them."""
    modules = _modules(error)
    return only_read(error) and len(modules) > 1 and (modules[-1] in _READERS or isinstance(error, UnicodeError))


def only_read(error: BaseException) -> bool:
    """Whether no code ran below the function that caught it but the readers' own: neither ours nor any plugin's."""
    ran = _modules(error)[1:]
    cause = error.__cause__
    while cause is not None:
        ran += _modules(cause)
        cause = cause.__cause__
    return all(module in _READERS or module in sys.stdlib_module_names for module in ran)


def _modules(error: BaseException) -> list[str]:
    """The packages that an exception passed through, the one where it was caught first."""
    return [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]


def cannot_write(key: str, error: OSError) -> ConfigError:
    """What the disk refuses of the folder that a key names."""
    file = f" {error.filename}" if error.filename else ""
    return ConfigError(f"{key}: cannot make or write{file} ({error.strerror or error})")


def refusal(error: BaseException, config_dir: str, arguments: Sequence[str]) -> str:
    """Hydra's refusal in one line, with what there is and what was probably meant."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        key, group, name = _asked(error.missing_cfg_file, arguments)
        folder = Path(config_dir) / group
        known = sorted(error.options or (file.stem for file in folder.glob("*.yaml")))
        hint = for_file(key, group, name, known, folder)
        return f"{group}: there is no {name!r}{hint}; available are {', '.join(known) or 'none'}"
    if unknown := re.match(r"Could not override '([\w.@/-]+)'", text):
        return f"there is no option {unknown[1]!r}{for_key(unknown[1], _keys(config_dir, arguments))}; --help lists what can be set"
    if several := re.match(r"Ambiguous value for argument '(.*?)' 1\.", text):
        return f"{several[1]}: several values are a sweep, which needs -m; a list is written [..], a text with commas \"'..'\""
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; expected KEY=VALUE"
    if text.startswith("Config group override must be"):
        empty = [argument for argument in arguments if re.match(r"[\w/@]+=null$", argument)]
        return f"{' '.join(empty)}: a group takes the name of one of its files"
    if error.__cause__ and isinstance(error.__cause__, OmegaConfBaseException):  # what Hydra could not merge, and why
        text = f"{text}: {str(error.__cause__).splitlines()[0]}"
    return text or type(error).__name__


def _asked(file: str, arguments: Sequence[str]) -> tuple[str, str, str]:
    """The key, the group and the name by which a file was asked for: a name that is a path has slashes of its own."""
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        group = key.partition("@")[0]
        if any(f"{group}/{name}" == file for name in value.strip("'\"").split(",")):
            return key, group, file.removeprefix(f"{group}/")
    group, _, name = file.rpartition("/")
    return group, group, name


def _keys(config_dir: str, arguments: Sequence[str]) -> list[str]:
    """Every key of the config with the group files that were chosen, and the groups themselves."""
    chosen = [argument for argument in arguments if re.match(r"[\w/]+(@\w+)?=[\w-]+$", argument)]
    with hydra.initialize_config_dir(config_dir, version_base="1.3"):
        for overrides in (chosen, []):
            try:
                config = hydra.compose("config", overrides, return_hydra_config=True)
            except HydraException:  # what was chosen is no file
                continue
            groups = [str(group) for group in config.hydra.runtime.choices]
            return [*groups, *_dotted(OmegaConf.to_container(OmegaConf.masked_copy(config, [k for k in config if k != "hydra"])))]  # type: ignore[list-item]
    return []


def _dotted(node: object, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _dotted(value, f"{prefix}{key}.")
