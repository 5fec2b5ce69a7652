"""The user's own files that a run reads: what they held, so that a finished run is not taken for one of other content."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from layeratlas.errors import ConfigError
from layeratlas.files.paths import expanded
from layeratlas.files.store import checksum
from layeratlas.models.hub import fingerprint_of

INPUTS = "inputs"  # the field of a result's provenance
_NAMING = {"model_a": ("id", "path", "edit", "adapter"), "model_b": ("id", "path", "edit", "adapter"), "dataset": ("path",)}


def inputs_of(config: Mapping[str, Any]) -> dict[str, str]:
    """By key of a run's config, what names the content of each file of the user's, or the state of each folder."""
    return {f"{node}.{field}": _content(path) for node, field, path in _files(config)}


def require_same_inputs(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Raises ConfigError if a file that the finished run in `folder` has read, by its `provenance`, holds something else by now.

    A file that is gone, or of which the run has no record, is no reason: nothing contradicts what was computed.
    """
    recorded = provenance.get(INPUTS, {})
    for node, field, path in _files(provenance["config"]):
        key = f"{node}.{field}"
        if key in recorded and recorded[key] != _content(path):
            raise ConfigError(
                f"{folder} holds a finished run of what {key}={path} held before it was changed; it is kept: give another folder,"
                " or remove this one to have it made anew"
            )


def _files(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Path]]:
    for node, fields in _NAMING.items():
        for field in fields:
            value = (config.get(node) or {}).get(field)
            if isinstance(value, str) and value and (path := expanded(value)).exists():
                yield node, field, path


def _content(path: Path) -> str:
    """Of a folder's files by name, size and time, as in the store's keys."""
    if path.is_dir():
        return fingerprint_of(str(path), "")
    status = path.stat()
    return _checksum(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache
def _checksum(path: Path, size: int, changed: int) -> str:
    """Read once a process: a sweep's jobs share their files."""
    del size, changed
    return checksum(path)
