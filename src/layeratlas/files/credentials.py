"""Access tokens stay in the environment: no config may hold one, as configs are written beside every result."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from layeratlas.errors import ConfigError
from layeratlas.files.inert import inert

_TOKEN = re.compile(
    r"\b(?:hf_|api_org_)[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}|\bsk-[\w-]{20,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_SECRET = r"(?i:(?:^|.*_)(?:token|secret|password|passwd|api_?key|access_key))"  # names of variables and of options
_READ = re.compile(r"oc\.env:\s*['\"]?(\w+)")
_SHORTEST = 8  # letters; shorter values of variables called so are switches such as `0` or `false`


def refuse_tokens(arguments: Sequence[str]) -> None:
    """Raise ConfigError if an argument of the command line holds a token, or asks for one from the environment."""
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = re.split(r"[.@/]", key.lstrip("+~"))[-1]
        if holds_token(argument) or (len(value) >= _SHORTEST and re.fullmatch(_SECRET, name)):
            _refuse(redacted(key) if equals else "an argument")


def refuse_tokens_in(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if a value or a key, at any depth, holds a token."""
    for where, text in _texts(config):
        if holds_token(text):
            _refuse(redacted(where))


def holds_token(text: str) -> bool:
    asked = any(re.fullmatch(_SECRET, name) or _secret(os.environ.get(name, "")) for name in _READ.findall(text))
    return asked or _secret(text)


def redacted(text: str) -> str:
    """The text without any token."""
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, "***")
    return _TOKEN.sub("***", text)


def _secret(text: str) -> bool:
    return bool(_TOKEN.search(text)) or any(value in text for value in _values())


def _values() -> set[str]:
    return {value for name, value in os.environ.items() if len(value) >= _SHORTEST and _names_secret(name)}


@cache
def _names_secret(variable: str) -> bool:
    return re.fullmatch(_SECRET, variable) is not None


def _texts(node: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every key and every text of a config, and where it stands."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            inside = f"{where}.{key}" if where else str(key)
            yield inside, str(key)
            yield from _texts(value, inside)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value, where)
    elif isinstance(node, str):
        yield where, node


def _refuse(where: str) -> None:
    raise ConfigError(
        f"{inert(where)}: holds an access token, which would be written beside every result; take it out, and give it in the"
        " environment alone (export HF_TOKEN=...)"
    )
