"""Activations that somebody else extracted, in place of a model."""

import logging
import math
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Protocol

import numpy as np
import pandas as pd
import safetensors
import torch

from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError
from layeratlas.files.paths import expanded
from layeratlas.files.store import Store, checksum, readable
from layeratlas.layers import EMBED, FINAL_NORM, block
from layeratlas.models.stored_tables import COUNTS, Columns, table_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoredActivations:
    """Pooled vectors from a .safetensors or .npz file with an (n, d) array per layer, a folder of one .npy per layer, or a table.

    A table (.parquet, or the folder of a Hugging Face data set) has a column per layer. Arrays of n numbers called `tokens`, `nll`
    and `nll_tokens` are each text's number of tokens, its negative log-likelihood in nats, and over how many tokens that is (all
    of them, if it does not say).

    Layers are named `embed`, `block_1` .., `final_norm`; arrays with other names are taken for blocks 1, 2, .. in the
    natural order of their names (layer_2 before layer_10). Row i belongs to the i-th item of the dataset's file.
    """

    POOLING: ClassVar[str] = "stored"  # how results call a pooling that nobody names

    path: str

    @property
    def name(self) -> str:
        return Path(self.path).stem

    @property
    def dtype(self) -> str:
        return "stored"

    def fingerprint(self) -> str:
        return f"sha256:{checksum(self._existing())}"

    def require_files(self, key: str) -> None:
        """Raises ConfigError if there is nothing at `path`."""
        self._existing()

    def prefetch(self, store: Store) -> None:
        """A file of the user's is where it is."""
        del store
        self._existing()

    def activations(self, items: int, rows: Sequence[int]) -> Activations:
        """The chosen rows of each layer, read when it is asked for; the file must hold a row for each of the dataset's `items`."""
        arrays = self._arrays()
        layers = self._named([name for name in arrays.shapes if not self._beside(name, arrays)])
        for layer, name in layers.items():
            shape = arrays.shapes[name]
            if len(shape) != 2 or shape[0] != items or shape[1] == 0:
                raise ConfigError(
                    f"model path={self.path}: {layer} has shape {shape}; expected ({items}, d), a row for each item"
                    " of the dataset in its own order"
                )
        n_blocks = sum(layer.startswith("block_") for layer in layers)
        counts = self.counts(items, rows)
        lengths = torch.tensor(counts["tokens"].to_numpy(), dtype=torch.float32) if "tokens" in counts else None
        vectors = StoredVectors(self.path, arrays, layers, torch.tensor(rows))
        return Activations(vectors, n_blocks, lengths, file=f"model path={self.path}")

    @property
    def has_likelihoods(self) -> bool:
        return "nll" in self._arrays().shapes

    def counts(self, items: int, rows: Sequence[int]) -> pd.DataFrame:
        """What the file says of the chosen items beside their vectors: of `tokens`, `nll`, `nll_tokens` what is there."""
        arrays = self._arrays()
        table = pd.DataFrame(index=range(len(rows)))
        for name in (name for name in COUNTS if name in arrays.shapes):
            if arrays.shapes[name] != (items,):
                shape = arrays.shapes[name]
                raise ConfigError(f"model path={self.path}: {name} has shape {shape}; expected ({items},), a number for each item")
            with _explained(self.path):
                values = arrays.read(name).double().numpy()
            possible = _possible_likelihoods(values) if name == "nll" else _possible_counts(values)
            if not possible.all():
                row, expected = int(possible.argmin()), "a number from 0 on" if name == "nll" else "a whole number from 1 on"
                raise ConfigError(f"model path={self.path}: {name} is {values[row]:g} at row {row}; expected {expected}")
            table[name] = values[list(rows)].astype(float if name == "nll" else int)
        self._require_together(table)
        return table

    def _require_together(self, table: pd.DataFrame) -> None:
        """Raises ConfigError for a likelihood without the tokens that it sums over, and for more scored tokens than there are."""
        if "nll" in table and "tokens" not in table:
            raise ConfigError(f"model path={self.path}: nll is a sum over tokens, and no array tokens says how many there are")
        if "nll_tokens" in table and "nll" not in table:
            raise ConfigError(f"model path={self.path}: nll_tokens says over how many tokens nll is, and there is no array nll")
        if "nll_tokens" in table and bool((table["nll_tokens"] > table["tokens"]).any()):
            raise ConfigError(f"model path={self.path}: nll_tokens is larger than tokens for a text")

    def memory(self, items: int) -> int:
        """Bytes that reading the widest layer takes: as it is stored, the chosen rows of it, and these in float32."""
        arrays = self._arrays()
        sizes = [math.prod(shape) * arrays.itemsize(name) + 8 * items * shape[-1] for name, shape in arrays.shapes.items() if shape]
        return max(sizes, default=0)

    @staticmethod
    def _beside(name: str, arrays: "Arrays") -> bool:
        """Whether this array is none of a layer: a count, or a single number of a table's row."""
        return name in COUNTS or (isinstance(arrays, Columns) and len(arrays.shapes[name]) == 1)

    def _existing(self) -> Path:
        path = expanded(self.path)
        if not readable(path):
            raise ConfigError(f"model path={self.path}: no such file or folder")
        return path

    def _arrays(self) -> "Arrays":
        path = self._existing()
        with _explained(self.path):
            if files := table_files(path):
                return Columns(files)
            if path.is_dir():
                return NumpyFiles({file.stem: file for file in path.glob("*.npy") if file.is_file()})
            if path.suffix == ".npz":
                return NumpyArchive(path)
            if path.suffix == ".safetensors":
                return Safetensors(path)
        raise ConfigError(
            f"model path={self.path}: expected a .safetensors, .npz or .parquet file, a folder of .npy files or of a data set"
        )

    def _named(self, arrays: Collection[str]) -> dict[str, str]:
        """The names of layers, in the order of the network, and those of their arrays."""
        if not arrays:
            raise ConfigError(f"model path={self.path}: holds no arrays")
        natural = sorted(arrays, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
        blocks = [name for name in natural if name not in (EMBED, FINAL_NORM)]
        if blocks != [block(k) for k in range(1, len(blocks) + 1)]:
            logger.info("model %s: %s .. %s are taken for block_1 .. block_%d", self.name, blocks[0], blocks[-1], len(blocks))
        renamed = {name: block(k) for k, name in enumerate(blocks, 1)}
        order = [name for name in [EMBED, *blocks, FINAL_NORM] if name in arrays]
        return {renamed.get(name, name): name for name in order}


@dataclass(frozen=True)
class StoredVectors(Mapping[str, torch.Tensor]):
    """Some rows of each layer as float32, each layer read when it is asked for and then forgotten.

    Raises ConfigError for a layer of these rows that holds NaN, infinite or too large values, or nothing but 0. Rows are counted
    from 0 in the file.
    """

    path: str
    arrays: "Arrays"
    names: Mapping[str, str]
    rows: torch.Tensor

    def __getitem__(self, layer: str) -> torch.Tensor:
        name = self.names[layer]
        with _explained(self.path):
            x = self.arrays.read(name)[self.rows]
        array = layer if name == layer else f"{layer} (array {name})"
        if not bool((finite := x.isfinite().all(dim=1)).all()):
            row = int(self.rows[int((~finite).nonzero()[0, 0])])
            raise ConfigError(f"model path={self.path}: {array} has NaN or an infinite value at row {row}")
        if not bool((x := x.float()).isfinite().all()):
            raise ConfigError(f"model path={self.path}: {array} has values that are too large for float32")
        if not bool(x.any()):
            raise ConfigError(f"model path={self.path}: {array} is 0 everywhere")
        return x

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Arrays(Protocol):
    """Arrays in files, their shapes known from the headers alone."""

    shapes: dict[str, tuple[int, ...]]

    def itemsize(self, name: str) -> int:
        """Bytes of a number."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """One of the arrays."""
        ...


class NumpyFiles:
    """One .npy file for each array."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self.shapes, self.dtypes = {}, {}
        for name, file in files.items():
            with file.open("rb") as stream:
                self.shapes[name], self.dtypes[name] = _header(stream)
                whole = stream.tell() + math.prod(self.shapes[name]) * self.itemsize(name)
            if file.stat().st_size < whole:
                raise ValueError(f"{file.name} is cut off: {file.stat().st_size} bytes of {whole}")

    def itemsize(self, name: str) -> int:
        return self.dtypes[name].itemsize

    def read(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files[name], allow_pickle=False))


class NumpyArchive:
    """An .npz file: a zip file of .npy files, each with a checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes, self.dtypes = {}, {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    name = member.removesuffix(".npy")
                    self.shapes[name], self.dtypes[name] = _header(stream)

    def itemsize(self, name: str) -> int:
        return self.dtypes[name].itemsize

    def read(self, name: str) -> torch.Tensor:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return torch.from_numpy(arrays[name])


class Safetensors:
    """A .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with safetensors.safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            self.shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            if wrong := next((name for name, part in slices.items() if not re.match("B?F|[IU]", part.get_dtype())), None):
                raise ValueError(f"{wrong}: expected numbers; got {slices[wrong].get_dtype()}")
            self.bits = {name: int(re.sub(r"\D*(\d+).*", r"\1", part.get_dtype()) or 8) for name, part in slices.items()}

    def itemsize(self, name: str) -> int:
        return max(1, self.bits[name] // 8)

    def read(self, name: str) -> torch.Tensor:
        with safetensors.safe_open(self.path, "pt") as file:
            return file.get_tensor(name)


def _header(stream: IO[bytes] | zipfile.ZipExtFile) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in NumPy's format, before its numbers."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if dtype.kind not in "iuf":
        raise ValueError(f"expected numbers; got {dtype}")
    return shape, dtype


def _possible_counts(values: np.ndarray) -> np.ndarray:
    """Which of the numbers may be how many tokens a text has; no text has as many as int32 cannot hold."""
    return (values >= 1) & (values == np.floor(values)) & (values < 2**31)


def _possible_likelihoods(values: np.ndarray) -> np.ndarray:
    """Which of the numbers may be a text's negative log-likelihood: the probability of tokens is at most 1."""
    return np.isfinite(values) & (values >= 0)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # what NumPy, zipfile and safetensors raise for damaged, pickled or strange files has no end
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise ConfigError(f"model path={path}: cannot be read ({reason})") from error
