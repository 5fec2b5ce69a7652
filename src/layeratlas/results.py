"""A run's files, written and read.

Arrays and tables come first, `result.json` last, each under a temporary name and then renamed: a run's numbers are complete
if and only if `result.json` exists.
"""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.affinity import Affinity
from layeratlas.errors import ConfigError
from layeratlas.options import require

SCHEMA_VERSION = 2
RESULT = "result.json"
EXTRACTED, PREFETCHED = "extracted.json", "prefetched.json"  # what stages leave that compare nothing
_VERSIONS = ("layeratlas", "torch", "transformers", "datasets", "numpy", "scipy", "pandas", "hydra-core", "omegaconf")


@dataclass(frozen=True)
class Run:
    """One run as read from its folder: `result` is result.json, `arrays` is affinity.npz."""

    folder: Path
    result: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def affinity(self) -> pd.DataFrame:
        """Layers of a (index) against layers of b (columns)."""
        return pd.DataFrame(self.arrays["affinity"], index=self.arrays["layers_a"], columns=self.arrays["layers_b"])

    def table(self, name: str) -> pd.DataFrame:
        """`affinity`, `items` or an analysis' table."""
        return pd.read_parquet(self.folder / f"{name}.parquet")


def read_run(folder: str | Path) -> Run:
    """Read a finished run; raises ConfigError if there is none."""
    require(str | Path, folder, "read_run")
    folder = Path(folder)
    if not (folder / RESULT).is_file():
        raise ConfigError(f"{folder}: no finished run here (no {RESULT})")
    with np.load(folder / "affinity.npz", allow_pickle=False) as arrays:
        return Run(folder, json.loads((folder / RESULT).read_text(encoding="utf-8")), dict(arrays))


def read_sweep(folder: str | Path) -> list[Run]:
    """Every finished run below a sweep's folder, in the order of their job numbers; raises ConfigError if there is no folder."""
    require(str | Path, folder, "read_sweep")
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder")
    found = [path.parent for path in Path(folder).glob(f"*/{RESULT}")]
    return [read_run(job) for job in sorted(found, key=lambda job: (len(job.name), job.name))]


def write_arrays(folder: Path, affinity: Affinity) -> None:
    """`left_out` (groups, layers_a, layers_b) are the matrices without each group of items: the interval of any statistic."""
    arrays = {
        "affinity": affinity.matrix,
        "layers_a": np.array(affinity.layers_a),
        "layers_b": np.array(affinity.layers_b),
        "depth_a": np.array(affinity.depth_a),
        "depth_b": np.array(affinity.depth_b),
        "chance": affinity.chance,
        **affinity.inferred,
        **({} if affinity.left_out is None else {"left_out": affinity.left_out}),
    }
    _write(folder / "affinity.npz", lambda path: np.savez_compressed(path, allow_pickle=False, **arrays))


def write_neighbors(folder: Path, affinity: Affinity, k: int) -> None:
    """Ordered neighbour lists, as rows of items.parquet: `neighbors_a` and `neighbors_b` of shape (layers, n, k)."""
    smallest = np.min_scalar_type(affinity.signatures_a[0].indices.shape[0])  # as small as compressed, in a tenth of the time
    lists = {
        f"neighbors_{side}": np.stack([signature.indices[:, :k].cpu().numpy() for signature in signatures]).astype(smallest)
        for side, signatures in (("a", affinity.signatures_a), ("b", affinity.signatures_b))
    }
    _write(folder / "neighbors.npz", lambda path: np.savez(path, allow_pickle=False, **lists))


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    folder.mkdir(exist_ok=True)
    _write(folder / f"{name}.parquet", table.to_parquet)


def write_csv(folder: Path, name: str, table: pd.DataFrame) -> None:
    _write(folder / f"{name}.csv", lambda path: table.to_csv(path, index=False))


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write result.json; a number that is undefined (the t of two constants, say) is null there."""
    write_json(folder, RESULT, {"schema_version": SCHEMA_VERSION, **result})


def write_json(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    text = json.dumps(_finite(dict(content)), indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / name, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def tidy(affinity: Affinity, constants: Mapping[str, Any]) -> pd.DataFrame:
    """One row per layer pair, the `constants` of the run repeated in each."""
    rows, columns = (index.ravel() for index in np.indices(affinity.matrix.shape))
    return pd.DataFrame(
        {
            **constants,
            "layer_a": np.array(affinity.layers_a)[rows],
            "layer_b": np.array(affinity.layers_b)[columns],
            "depth_a": np.array(affinity.depth_a)[rows],
            "depth_b": np.array(affinity.depth_b)[columns],
            "affinity": affinity.matrix.ravel(),
            "chance": affinity.chance.ravel(),
            **{name: values.ravel() for name, values in affinity.inferred.items()},
        }
    )


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


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a config another run: all but where it computes, and from which store."""
    return {key: value for key, value in config.items() if key not in ("store", "device")}


def finished_with(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether this folder holds a finished run of this very config; a run of another config is refused, not overwritten."""
    if not (folder / RESULT).is_file():
        return False
    before, now = comparable(read_run(folder).result["provenance"]["config"]), comparable(config)
    if differing := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        raise ConfigError(f"{folder} holds a finished run of another config (differs in {', '.join(differing)}); it is kept")
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
