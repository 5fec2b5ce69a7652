"""A run's files, written.

Arrays and tables come first, `result.json` last, each under a temporary name and then renamed: a run's numbers are complete
if and only if `result.json` exists.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy

from layeratlas.errors import ConfigError
from layeratlas.files.atomic import remove_abandoned, replacing
from layeratlas.files.cells import inert_cells
from layeratlas.files.sealed import sealed, sha256
from layeratlas.runs.reading import RESULT

SCHEMA_VERSION = 2
EXTRACTED, PREFETCHED = "extracted.json", "prefetched.json"  # what stages leave that compare nothing
_VERSIONS = ("layeratlas", "torch", "transformers", "datasets", "numpy", "scipy", "pandas", "hydra-core", "omegaconf")


def write_table(folder: Path, name: str, table: pd.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    return write_file(folder / f"{name}.parquet", table.to_parquet)


def write_tensors(folder: Path, name: str, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> Path:
    """Arrays as safetensors; their `header` is JSON under the key `header` of the file's metadata."""
    metadata = {"header": json.dumps(header, ensure_ascii=False)}
    content = safetensors.numpy.save(dict(arrays), metadata=metadata)
    return write_file(folder / f"{name}.safetensors", lambda path: path.write_bytes(content))


def write_csv(folder: Path, name: str, table: pd.DataFrame) -> None:
    write_file(folder / f"{name}.csv", lambda path: inert_cells(table).to_csv(path, index=False))


def write_result(folder: Path, result: Mapping[str, Any], files: Iterable[Path]) -> None:
    """Write result.json, which vouches for these files; a number that is undefined (the t of two constants, say) is null there."""
    write_json(folder, RESULT, {"schema_version": SCHEMA_VERSION, **result}, files)


def write_json(folder: Path, name: str, content: Mapping[str, Any], files: Iterable[Path] = ()) -> None:
    text = sealed(name, content, {file.name: sha256(file) for file in files})
    write_file(folder / name, lambda path: path.write_text(text, encoding="utf-8"))


def provenance(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """What is needed to run this again: resolved config, versions, commit and machine."""
    return {
        "config": config,
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _VERSIONS}},
        "git": _git_state(),
        "host": platform.node(),
        "device": device,
        "seed": config["seed"],
    }


def clean(folder: Path) -> None:
    """Remove what killed processes left unfinished among a run's or a summary's files."""
    below = [folder, folder / "tables", folder / "figures", *(folder / "figures").glob("*/")]
    remove_abandoned(path for part in below if part.is_dir() for path in part.iterdir())


def _git_state() -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # a virtual environment may lie inside somebody else's repository
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None  # installed from a wheel, or no git


def write_file(path: Path, write: Callable[[Path], Any]) -> Path:
    try:
        with replacing(path) as unfinished:
            write(unfinished)
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot write {path.name} ({error.strerror or error})") from error
    return path
