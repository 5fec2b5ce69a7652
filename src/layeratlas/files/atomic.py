"""Files that are whole or absent: written under a temporary name that says whose they are, then renamed.

What a killed process leaves behind is removed by whoever comes next and knows that it runs no more.
"""

import logging
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from layeratlas.files.processes import Owner, ended, myself

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp-"
_OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{8})-(\d+)-(\d+)-")
_DAY = 86_400  # seconds without a write after which a temporary file of an unknown process is given up


def temporary(folder: Path, ending: str) -> Path:
    """A name in this folder that nobody else uses, for what will get another name once it is whole."""
    return folder / f"{TEMPORARY}{myself()}-{secrets.token_hex(4)}{ending}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; it takes the place of `path` if the block succeeds."""
    unfinished = temporary(path.parent, f"-{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def abandoned(path: Path) -> bool:
    """Whether a temporary file or folder belongs to no living process.

    One of another machine, or without an owner in its name, is given up after a day without a write.
    """
    gone = _owner_ended(path)
    return _idle(path) > _DAY if gone is None else gone


def in_use(path: Path) -> bool:
    """Whether a process that is known to live works on this temporary file or folder."""
    return _owner_ended(path) is False


def _owner_ended(path: Path) -> bool | None:
    named = _OWNED.match(path.name)
    return ended(Owner(named[1], int(named[2]), int(named[3]))) if named else None


def remove_abandoned(paths: Iterable[Path]) -> list[Path]:
    """Remove those of these temporary files and folders that no living process owns."""
    gone = [path for path in paths if path.name.startswith(TEMPORARY) and abandoned(path)]
    for path in gone:
        discard(path)
    return gone


def discard(path: Path) -> None:
    """Remove a file, link or folder, if there is one; what cannot be removed is only warned about."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # gone in the meantime is gone
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        logger.warning("could not remove %s (%s)", path, error.strerror or error)


def _idle(path: Path) -> float:
    """Seconds since this, or anything in it, was written."""
    times = []
    for file in [path, *path.rglob("*")]:
        try:
            times.append(file.lstat().st_mtime)
        except FileNotFoundError:
            continue
    return time.time() - max(times, default=time.time())
