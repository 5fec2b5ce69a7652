"""What is known of a matrix that somebody else has published, and what its layers are called here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from layeratlas.errors import ConfigError
from layeratlas.layers import EMBED, FINAL_NORM, block, is_layer
from layeratlas.options import Positive, meant

_FIELD = re.compile(r"\{(\w+)\}")
_BOTH = ("model", "language")  # a field of this name says it of both sides
_NUMBERS = ("n", "k")
# By preset: which of `embed` and `final_norm` stand around the blocks, and how many blocks of the network are not there.
_PRESETS = {
    "blocks": (False, False, 0),
    "all": (True, True, 0),
    "hidden_states": (True, True, 1),
    "hidden_states_without_embed": (False, True, 1),
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What somebody says of a matrix beside its numbers; None where nobody does. `settings` are fields of names of their own."""

    model_a: str | None = None
    model_b: str | None = None
    language_a: str | None = None
    language_b: str | None = None
    dataset: str | None = None
    n: Positive | None = None
    pooling: str | None = None
    metric: str | None = None
    k: Positive | None = None
    chance: float | None = None
    symmetric: bool | None = None
    self_value: float | None = None
    layers: str = "blocks"
    blocks_a: Positive | None = None
    blocks_b: Positive | None = None
    settings: Mapping[str, str] | None = None

    def with_names(self, named: Mapping[str, str], where: str) -> "Facts":
        """With what a path says, which may not contradict what was given. Raises ConfigError where it does."""
        known = {field.name for field in fields(self)}
        given: dict[str, Any] = {}
        for name, text in named.items():
            value: Any = _whole(text, name, where) if name in _NUMBERS else text
            keys = [f"{name}_{side}" for side in "ab"] if name in _BOTH else [name]
            given |= dict.fromkeys(keys, value)
        own = {key: value for key, value in given.items() if key in known}
        for key, value in own.items():
            if getattr(self, key) not in (None, value):
                raise ConfigError(f"{where}: its name says {key} {value}, and matrices.{key} is {getattr(self, key)}")
        others = {key: str(value) for key, value in given.items() if key not in known}
        return replace(self, **own, settings=others or None)


def _whole(text: str, name: str, where: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{where}: matrices.names takes {text!r} for {name}, which is a whole number of at least 1")
    return int(text)


def said_by(names: Sequence[str], patterns: Sequence[str]) -> dict[str, str]:
    """What the first of some names that follows a pattern says: the text in the place of each `{field}` of it.

    A field holds a slash only where the pattern has none. Raises ConfigError where no name follows any.
    """
    for name in names:
        for pattern in patterns:
            if found := _compiled(pattern).fullmatch(name):
                return found.groupdict()
    raise ConfigError(f"matrices.names: {names[-1]} does not read as {' or '.join(patterns)}")


def _compiled(pattern: str) -> re.Pattern[str]:
    names = _FIELD.findall(pattern)
    if not names or len(set(names)) < len(names) or set("{}") & set(_FIELD.sub("", pattern)):
        raise ConfigError(f"matrices.names: expected fields in braces, each once, as in {{model_a}}_X_{{model_b}}; got {pattern!r}")
    parts, held = _FIELD.split(pattern), "[^/]" if "/" in pattern else "."  # texts, with the names of fields between them
    return re.compile("".join(f"(?P<{part}>{held}+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)))


@dataclass(frozen=True)
class Axis:
    """The layers of one side by our names, and their depths; `labels` are those of the file."""

    names: list[str]
    n_blocks: int
    labels: list[str]


def axis_of(labels: Sequence[str], preset: str, n_blocks: int | None, side: str, where: Path) -> Axis:
    """Labels that are names of layers here stay what they are; any others are taken, in their order, for those of the preset."""
    if preset not in _PRESETS:
        raise ConfigError(f"matrices.layers: there is no {preset!r}{meant(preset, _PRESETS)}; available are {', '.join(_PRESETS)}")
    if all(map(is_layer, labels)):
        numbers = [int(label.removeprefix("block_")) for label in labels if label.startswith("block_")]
        highest = max(numbers, default=1)
        if n_blocks is not None and n_blocks < highest:
            raise ConfigError(f"matrices.blocks_{side}={n_blocks}: {where} has a block_{highest}")
        return Axis(list(labels), n_blocks or highest, list(labels))
    if n_blocks is not None:
        raise ConfigError(f"matrices.blocks_{side}: goes with layers named embed, block_1, ..; {where} names them {labels[0]} ..")
    embed, norm, lacking = _PRESETS[preset]
    blocks = len(labels) - embed - norm
    if blocks < 1:
        raise ConfigError(f"matrices.layers={preset}: {where} has {len(labels)} layers on side {side}, which leaves no block")
    names = [*([EMBED] if embed else []), *(block(k) for k in range(1, blocks + 1)), *([FINAL_NORM] if norm else [])]
    return Axis(names, blocks + lacking, list(labels))
