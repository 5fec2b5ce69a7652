"""A run's files, read and checked: `result.json` holds the SHA-256 of all of them and of itself."""

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.identity import comparable
from layeratlas.files.sealed import CHECKSUMS, unsealed
from layeratlas.options import require
from layeratlas.runs.older import completed

_UNSEALED = 1  # the last schema without checksums
ARRAYS = "affinity.npz"
NEIGHBORS = "neighbors.npz"
RESULT = "result.json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Run:
    """One run as read from its folder: `result` is result.json, `arrays` is affinity.npz.

    What an older result.json does not say stands in `result` as far as it can be known (see `older_runs`).

    >>> import layeratlas
    >>> run = layeratlas.read_run(folder)
    >>> round(float(run.affinity.loc["block_4", "block_6"]), 3)
    1.0
    >>> "diagonal" in run.tables
    True
    """

    folder: Path
    result: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __repr__(self) -> str:
        """What was compared and where it lies; all else would be pages of numbers."""
        a, b = (f"{side['model']} ({side['language'] or 'language unknown'})" for side in (self.result["a"], self.result["b"]))
        rows, columns = self.arrays["affinity"].shape
        metric, dataset = self.result["metric"]["name"], self.result["dataset"]
        return f"<Run {a} x {b}: {rows} x {columns} layers, {metric}, n = {dataset['n']} of {dataset['name']}, in {self.folder}>"

    @property
    def affinity(self) -> pd.DataFrame:
        """Layers of a (index) against layers of b (columns)."""
        return pd.DataFrame(self.arrays["affinity"], index=self.arrays["layers_a"], columns=self.arrays["layers_b"])

    @property
    def tables(self) -> list[str]:
        """The names of the run's tables."""
        return [name.removesuffix(".parquet") for name in _files(self.folder, self.result) if name.endswith(".parquet")]

    def table(self, name: str) -> pd.DataFrame:
        """`affinity`, `items` or an analysis' table. Raises Damaged if its bytes are not those that the run wrote."""
        if name not in self.tables:
            raise ConfigError(f"{self.folder}: this run has no table {name!r}; there are {', '.join(self.tables)}")
        content = _content(self.folder, self.result, f"{name}.parquet")
        try:
            return pd.read_parquet(io.BytesIO(content))
        except Exception as error:  # what a damaged file of an old schema makes pyarrow raise has no end
            raise _damaged(self.folder, f"{name}.parquet", error) from error

    def neighbors(self) -> dict[str, np.ndarray] | None:
        """Of each side (layers, n, k): rows of `items`, nearest first; None where the metric has no lists of neighbours."""
        if NEIGHBORS not in _files(self.folder, self.result):
            return None
        lists = _arrays(self.folder, self.result, NEIGHBORS)
        return {side: lists[f"neighbors_{side}"] for side in "ab"}


def read_run(folder: str | Path) -> Run:
    """Read a finished run. Raises ConfigError if there is none, and Damaged if its bytes are not those that were written.

    Tables are read, and checked, when they are asked for.

    >>> import layeratlas
    >>> run = layeratlas.read_run(folder)
    >>> run.result["a"]["model"], run.result["b"]["model"], run.affinity.shape
    ('ant', 'bee', (4, 6))
    >>> run.table("diagonal")["layer"].tolist()
    ['block_1', 'block_2', 'block_3', 'block_4']
    """
    require(str | Path, folder, "read_run")
    folder = Path(folder)
    if not (folder / RESULT).is_file():
        sweep = "; it is a sweep's folder: read_sweep reads its runs" if (folder / "jobs.json").is_file() else ""
        raise ConfigError(f"{folder}: no finished run here (no {RESULT}){sweep}")
    try:
        document = unsealed(RESULT, (folder / RESULT).read_bytes())
        if CHECKSUMS not in document and document.get("schema_version") != _UNSEALED:
            raise ValueError("its checksums are gone")
        result = completed(document)
    except (OSError, ValueError) as error:
        raise _damaged(folder, RESULT, error) from error
    return Run(folder, result, _arrays(folder, result, ARRAYS))


def read_sweep(folder: str | Path) -> list[Run]:
    """Every finished run below a sweep's folder, in the order of their job numbers; raises ConfigError if it is none.

    Raises Damaged, naming each, if some are damaged: a sweep with a run missing is not the sweep that was asked for.
    `read_run` reads the others one by one, and `stage=summarize` summarises them.

    >>> import layeratlas
    >>> runs = layeratlas.read_sweep(sweep_folder)
    >>> [(run.result["a"]["model"], run.result["b"]["model"]) for run in runs]
    [('ant', 'bee'), ('ant', 'bee')]
    """
    require(str | Path, folder, "read_sweep")
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder")
    if (Path(folder) / RESULT).is_file():
        raise ConfigError(f"{folder}: is the folder of one run; read_run reads it")
    folders = [path.parent for path in Path(folder).glob(f"*/{RESULT}")]
    if not folders and not (Path(folder) / "jobs.json").is_file():
        raise ConfigError(f"{folder}: no sweep here (no jobs.json, and no folder of a finished run)")
    runs, damages = [], []
    for job in sorted(folders, key=lambda job: (len(job.name), job.name)):
        try:
            runs.append(read_run(job))
        except Damaged as error:
            damages.append(str(error))
    if damages:
        raise Damaged("; ".join(damages))
    return runs


def damage(folder: Path) -> Damaged | None:
    """What is wrong with the bytes of a finished run, all its files read."""
    try:
        run = read_run(folder)
        for name in _files(folder, run.result):
            _content(folder, run.result, name)
        if CHECKSUMS not in run.result:
            for name in run.tables:
                run.table(name)
    except Damaged as error:
        return error
    return None


def _files(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """The names of a run's arrays and tables."""
    if CHECKSUMS in result:
        return [name for name in result[CHECKSUMS] if name != RESULT]
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".npz", ".parquet"))


def _arrays(folder: Path, result: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    content = _content(folder, result, name)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # what a damaged file of an old schema makes NumPy and zipfile raise has no end
        raise _damaged(folder, name, error) from error


def _content(folder: Path, result: Mapping[str, Any], name: str) -> bytes:
    """A file's bytes, read once and checked."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise _damaged(folder, name, error) from error
    if CHECKSUMS in result and hashlib.sha256(content).hexdigest() != result[CHECKSUMS].get(name):
        raise _damaged(folder, name, ValueError("its bytes are not those that were written"))
    return content


def _damaged(folder: Path, name: str, error: Exception) -> Damaged:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    sweep = (folder.parent / "jobs.json").is_file()
    again = f"-m hydra.sweep.dir={folder.parent}" if sweep else f"the same command with hydra.run.dir={folder}"
    return Damaged(f"{folder / name} is damaged ({reason.splitlines()[0][:120]}); {again} makes it again")


def finished_with(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether this folder holds a finished run of this very config, undamaged; one of another is refused, not overwritten."""
    if not (folder / RESULT).is_file():
        return False
    if damaged := damage(folder):
        logger.warning("%s", damaged)
        return False
    before, now = comparable(read_run(folder).result["provenance"]["config"]), comparable(config)
    if differing := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        raise ConfigError(f"{folder} holds a finished run of another config (differs in {', '.join(differing)}); it is kept")
    return True
