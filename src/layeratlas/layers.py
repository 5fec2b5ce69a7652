"""Names of layers and their relative depth.

A layer is named, never numbered: `embed` is what enters the first block, `block_k` the residual stream after block k and
before the final norm, `final_norm` what the network returns. Only blocks have a depth, k / L.
"""

import math
import re
from collections.abc import Sequence

from layeratlas.errors import ConfigError

EMBED = "embed"
FINAL_NORM = "final_norm"

_PRESETS = "blocks, all, hidden_states, hidden_states_without_embed, every_N"
_PRESET = re.compile(r"blocks|all|hidden_states(?:_without_embed)?|every_[1-9]\d*")
_NAME = re.compile(rf"{EMBED}|block_[1-9]\d*|{FINAL_NORM}")


def block(k: int) -> str:
    return f"block_{k}"


def all_layers(n_blocks: int, *, final_norm: bool) -> list[str]:
    """Every layer of a network of `n_blocks` blocks, in the order of the forward pass."""
    return [EMBED, *(block(k) for k in range(1, n_blocks + 1)), *([FINAL_NORM] if final_norm else [])]


def is_layer(name: str) -> bool:
    """Whether a text is the name of a layer: `embed`, `block_1`, `block_2`, .., `final_norm`."""
    return _NAME.fullmatch(name) is not None


def depth(name: str, n_blocks: int) -> float:
    """Relative depth k / L of `block_k`; NaN for `embed` and `final_norm`, which stay out of depth statistics."""
    found = re.fullmatch(r"block_(\d+)", name)
    return int(found[1]) / n_blocks if found else math.nan


def require_names(wanted: str | Sequence[str]) -> None:
    """Raises ConfigError for what is no layer and no preset of any model."""
    if isinstance(wanted, str) and _PRESET.fullmatch(wanted):
        return
    if unknown := [name for name in ([wanted] if isinstance(wanted, str) else wanted) if not is_layer(name)]:
        raise ConfigError(
            f"layers: there is no {', '.join(map(repr, unknown))}; presets are {_PRESETS};"
            f" layers are {EMBED}, block_1, block_2, .., {FINAL_NORM}"
        )


def select(wanted: str | Sequence[str], available: Sequence[str]) -> list[str]:
    """Resolve the config's `layers=` against the layers that a model has.

    `blocks`: every block. `all`: also `embed` and `final_norm`. `hidden_states`: what Hugging Face returns, that is `embed`,
    all blocks but the last, and the last one after the final norm; `hidden_states_without_embed`: the same but `embed`.
    `every_N`: each N-th block and the last. Or a list of names.
    """
    blocks = [name for name in available if name.startswith("block_")]
    if isinstance(wanted, str):
        if not blocks:
            raise ConfigError(f"layers: {wanted} chooses among blocks; here are only {', '.join(available)}")
        reported = _hidden_states(available, blocks)
        presets = {
            "blocks": blocks,
            "all": list(available),
            "hidden_states": reported,
            "hidden_states_without_embed": [name for name in reported if name != EMBED],
        }
        if wanted in presets:
            return presets[wanted]
        if stride := re.fullmatch(r"every_([1-9]\d*)", wanted):
            return [*blocks[int(stride[1]) - 1 : -1 : int(stride[1])], blocks[-1]]
        wanted = [wanted]
    if unknown := [name for name in wanted if name not in available]:
        raise ConfigError(
            f"layers: no layer {', '.join(map(repr, unknown))}; this model has {available[0]} .. {available[-1]}"
            f" ({len(blocks)} blocks); presets are {_PRESETS}"
        )
    if len(set(wanted)) != len(wanted) or not wanted:
        raise ConfigError(f"layers: expected one or more distinct names; got {list(wanted)}")
    return list(wanted)


def _hidden_states(available: Sequence[str], blocks: Sequence[str]) -> list[str]:
    last = FINAL_NORM if FINAL_NORM in available else blocks[-1]
    return [*([EMBED] if EMBED in available else []), *blocks[:-1], last]
