"""What makes two runs, jobs or stored signatures the same: what they compute, and never the place of the code that does."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGITS = 32  # 128 of SHA-256's 256 bits: file names stay below 100 characters
_TARGET = "_target_"
_OURS = "layeratlas."
# Where a run computes, and what is made of its numbers once they stand.
_ELSEWHERE = ("store", "device", "study", "report", "sweep_dir", "run_dir", "summary_dir", "summary_family")
_GROWN = ("model_a", "model_b", "dataset")  # whose fields become more
_ALWAYS_WAS = {"generation_prompt": True, "edit_positions": "all", "leave_out_empty": False}  # before it could be chosen


def fingerprint(description: Any) -> str:
    """Key of whatever can be written as JSON: equal descriptions have equal keys, in every process and on every machine."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def placeless(node: Any) -> Any:
    """A config's node with the classes of this package by their bare names: a module that moves changes no identity.

    Of a user's own class the whole path is kept, as nothing else distinguishes it from another of that name.
    """
    if isinstance(node, list):
        return [placeless(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    return {key: _bare(value) if key == _TARGET else placeless(value) for key, value in node.items()}


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a config another run.

    A field of a model or a dataset that is null, or as all were before it existed, counts as absent.
    """
    kept = {key: value for key, value in config.items() if key not in _ELSEWHERE}
    for key in _GROWN:
        if isinstance(node := kept.get(key), Mapping):
            kept[key] = {field: value for field, value in node.items() if value is not None and value != _ALWAYS_WAS.get(field)}
    return placeless(kept)


def _bare(target: Any) -> Any:
    return target.rpartition(".")[2] if isinstance(target, str) and target.startswith(_OURS) else target
