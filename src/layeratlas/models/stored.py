"""Activations that somebody else extracted, in place of a model."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError
from layeratlas.layers import EMBED, FINAL_NORM, block
from layeratlas.paths import expanded
from layeratlas.store import checksum

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoredActivations:
    """Pooled vectors from a .safetensors or .npz file with an (n, d) array per layer, or a folder of one .npy per layer.

    Layers are named `embed`, `block_1` .., `final_norm`; arrays with other names are taken for blocks 1, 2, .. in the
    natural order of their names (layer_2 before layer_10). Row i belongs to the i-th item of the dataset's file.
    """

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

    def activations(self, items: int, rows: Sequence[int]) -> Activations:
        """The chosen rows of each layer; the file must hold one row for each of the dataset's `items`."""
        layers = self._named(self._arrays())
        for layer, x in layers.items():
            if x.ndim != 2 or len(x) != items:
                raise ConfigError(
                    f"model path={self.path}: {layer} has shape {tuple(x.shape)}; expected ({items}, d), a row for each item"
                    " of the dataset in its own order"
                )
        index = torch.tensor(rows)
        n_blocks = sum(layer.startswith("block_") for layer in layers)
        return Activations({layer: x[index].float() for layer, x in layers.items()}, n_blocks)

    def _existing(self) -> Path:
        path = expanded(self.path)
        if not path.exists():
            raise ConfigError(f"model path={self.path}: no such file or folder")
        return path

    def _arrays(self) -> dict[str, torch.Tensor]:
        path = self._existing()
        try:
            if path.is_dir():
                return {file.stem: torch.from_numpy(np.load(file, allow_pickle=False)) for file in path.glob("*.npy")}
            if path.suffix == ".npz":
                with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                    return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            if path.suffix == ".safetensors":
                return safetensors.torch.load_file(path)
        except Exception as error:  # what NumPy, zipfile and safetensors raise for damaged, pickled or strange files has no end
            reason = (str(error) or type(error).__name__).splitlines()[0][:120]
            raise ConfigError(f"model path={self.path}: cannot be read ({reason})") from error
        raise ConfigError(f"model path={self.path}: expected a .safetensors or .npz file, or a folder of .npy files")

    def _named(self, arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if not arrays:
            raise ConfigError(f"model path={self.path}: holds no arrays")
        natural = sorted(arrays, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
        blocks = [name for name in natural if name not in (EMBED, FINAL_NORM)]
        if blocks != [block(k) for k in range(1, len(blocks) + 1)]:
            logger.info("model %s: %s .. %s are taken for block_1 .. block_%d", self.name, blocks[0], blocks[-1], len(blocks))
        renamed = {name: block(k) for k, name in enumerate(blocks, 1)}
        order = [name for name in [EMBED, *blocks, FINAL_NORM] if name in arrays]
        return {renamed.get(name, name): arrays[name] for name in order}
