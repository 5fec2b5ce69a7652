"""A content-addressed store on disk that no crash, race or bad sector can turn into wrong numbers.

An object is a file or a folder under `ROOT/KIND/KEY-CHECKSUM.SUFFIX`: the key says what was asked for, the checksum
(SHA-256 of the bytes) what was written. It is built under a temporary name and renamed into place, so it is either whole or
absent, and is verified whenever it is opened. Two processes that build the same object at once do the work twice and
leave two equal files, or two valid ones under different checksums; readers take the first.
"""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from layeratlas.errors import ConfigError
from layeratlas.files.atomic import TEMPORARY, discard, remove_abandoned, temporary
from layeratlas.files.identity import DIGITS, fingerprint

logger = logging.getLogger(__name__)

SIGNATURES = "signatures"  # a kind of objects: what metrics keep of layers
_OBJECT = re.compile(r"-[0-9a-f]{32}(\.\w+)?$")


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and checksums of all files below a folder."""
    if path.is_dir():
        inside = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return fingerprint([(name, checksum(path / name)) for name in inside])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def intact(path: Path) -> bool:
    """Whether an object's bytes still have the checksum that its name says they had."""
    return _checksum_in(path) == checksum(path)


def _checksum_in(path: Path) -> str:
    return path.name.rsplit("-", 1)[-1].split(".")[0]


def readable(path: Path) -> bool:
    """Whether this is a file or a folder, or a link to one: reading a pipe would never end, and a dangling link leads nowhere."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


@dataclass(frozen=True)
class Store:
    root: Path

    def open(self, kind: str, key: str) -> Path | None:
        """The verified object under this key, or None if it has to be made (again)."""
        for path in self._candidates(kind, key):
            try:
                if intact(path):
                    return path
            except FileNotFoundError:  # another process found it damaged and removed it
                continue
            except OSError as error:
                logger.warning("store: %s cannot be read (%s); skipped", path, error.strerror or error)
                continue
            logger.warning("store: %s is damaged (its bytes do not match its checksum); it will be made again", path)
            self._discard_damaged(path)
        return None

    def has(self, kind: str, key: str) -> bool:
        """Whether something is stored under this key, without reading it."""
        return bool(self._candidates(kind, key))

    def objects(self) -> Iterator[Path]:
        """Every object of every kind, in the order of their names; unfinished ones, pipes and dead links are no objects."""
        yield from _readable(path for path in self._entries() if _OBJECT.search(path.name))

    def leftovers(self) -> list[Path]:
        """What is being written, and what killed processes left unfinished."""
        return [path for path in self._entries() if path.name.startswith(TEMPORARY)]

    def clean(self) -> None:
        """Remove what killed processes left unfinished."""
        for path in remove_abandoned(self.leftovers()):
            logger.info("store: removed %s, which a killed process left unfinished", path)

    def _entries(self) -> Iterator[Path]:
        """Everything but the folders of kinds and what lies inside objects, in the order of their names."""
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            inside = [name for name in folders if name.startswith(TEMPORARY) or _OBJECT.search(name)]
            folders[:] = [name for name in folders if name not in inside]
            yield from (Path(folder) / name for name in sorted([*files, *inside]))

    @contextmanager
    def building(self, kind: str, key: str, suffix: str = "") -> Iterator[Path]:
        """Yield a temporary path to fill with a file or folder; rename it into place if the block succeeds."""
        with self.unfinished(kind, suffix) as path:
            yield path
            _flush(path)
            target = path.with_name(f"{key}-{checksum(path)}{suffix}")
            try:
                path.rename(target)
            except OSError:
                if not target.is_dir():  # else another process has put an equal folder there; files replace equal files
                    raise

    @contextmanager
    def unfinished(self, kind: str, suffix: str = "") -> Iterator[Path]:
        """Yield the path of a file or folder that nobody else sees and that is gone after the block, whatever happens."""
        folder = self.root / kind
        path = temporary(folder, suffix)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            yield path
        except SafetensorError as error:  # how safetensors reports whatever its writing meets
            raise ConfigError(f"store.dir={self.root}: cannot write ({error})") from error
        except OSError as error:
            if error.errno is None:  # not the disk: Hugging Face's loaders raise it for whatever they cannot load
                raise
            raise ConfigError(f"store.dir={self.root}: cannot write ({error.strerror})") from error
        finally:
            discard(path)

    def _discard_damaged(self, path: Path) -> None:
        """Set aside first: another process may have put an intact object in its place in the meantime."""
        aside = temporary(path.parent, f"-damaged{path.suffix}")
        try:
            path.rename(aside)
            if _checksum_in(path) == checksum(aside):
                aside.rename(path)
        except FileNotFoundError:
            return  # another process has removed it
        except OSError as error:
            if not aside.exists():
                logger.warning("store: could not remove %s (%s)", path, error.strerror or error)
        discard(aside)  # gone if it was put back; still there if it is damaged, or a folder whose place is taken again

    def _candidates(self, kind: str, key: str) -> list[Path]:
        folder = self.root / kind
        try:
            names = sorted(name for name in os.listdir(folder) if name.startswith(f"{key}-"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"store.dir={self.root}: cannot read ({error.strerror or error})") from error
        return list(_readable(folder / name for name in names))


def _readable(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if readable(path):
            yield path
        elif path.is_symlink() or path.exists():  # else another process has removed it in this moment
            logger.warning("store: %s is neither a file nor a folder; skipped", path)


def _flush(path: Path) -> None:
    """Force bytes to disk before the rename, or a power failure could leave a whole name on half a file."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
