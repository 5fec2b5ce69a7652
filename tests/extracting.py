"""Extractions in processes of their own, which a test can start together, starve and kill at any moment.

They are forked from a server that has imported everything, so that one starts in a fraction of a second.
"""

import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tqdm import tqdm

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extracted, Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint

IMPORTED = [
    "pyarrow.parquet",
    "layeratlas.extraction.forward",
    "layeratlas.models.loading",
    "transformers.models.llama.modeling_llama",
]
PATIENCE = 120  # seconds after which an extraction of a second is taken for a deadlock
FILE_OPERATIONS = {"open", "os.listdir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "shutil.rmtree"}
LOCKS = {"fcntl.flock", "fcntl.lockf"}


@dataclass(frozen=True)
class Job:
    """What one process extracts.

    `file_size` is the largest file it may write, in bytes; on a larger one it gets an error, or dies if `die_of_size`.
    It kills itself before its file operation number `last_operation` (from 1) in the store.
    """

    store: Path
    checkpoint: Path
    texts: Sequence[str]
    poolings: Sequence[str] = ("last", "mean")
    nll: bool = False
    file_size: int | None = None
    die_of_size: bool = False
    last_operation: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a process told before it ended: the hash of its activations, the line with which it refused, or its traceback.

    `operations` are the file operations in the store, each with the name of the file, `locks` those on locks of any file.
    """

    digest: str = ""
    refusal: str = ""
    crash: str = ""
    operations: Sequence[str] = field(default=(), compare=False)
    locks: Sequence[str] = ()


class Process:
    """An extraction that has imported everything and waits for `go`."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(PATIENCE):
            raise TimeoutError("the process did not start")
        self._pipe.recv()

    def go(self) -> "Process":
        self._pipe.send("go")
        return self

    def kill_after(self, seconds: float) -> bool:
        """Send SIGKILL when the process has run for so long; whether it died of that, and not of having finished."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join(PATIENCE)
        return self.killed

    @property
    def killed(self) -> bool:
        return self._process.exitcode == -signal.SIGKILL

    def end(self) -> int:
        """Wait for the process to end; returns its exit code, negative for a signal."""
        self._process.join(PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError("the process did not end")
        return self._process.exitcode

    def answer(self) -> Answer:
        """What the process told when it had done its work."""
        try:
            if not self._pipe.poll(PATIENCE):
                self._process.kill()
                raise TimeoutError("the process did not end")
            told = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process died without a word (exit code {self.end()})") from None
        self.end()
        return told


def answer(job: Job) -> Answer:
    """Extract in a process of its own, undisturbed."""
    return Process(job).go().answer()


def extractor(store: Path, poolings: Sequence[str] = ("last", "mean"), nll: bool = False) -> Extractor:
    chosen = {name: getattr(pooling, name) for name in poolings}
    return Extractor(Store(store), chosen, Batching(64, 4096), torch.device("cpu"), nll=nll)


def side(checkpoint: Path, texts: Sequence[str]) -> Side:
    return Side(Checkpoint(id=str(checkpoint), dtype="float32"), texts, 64, label="texts en")


def digest(extracted: Extracted) -> str:
    """Hash of the bits of every layer and of the table of tokens."""
    found = hashlib.sha256(extracted.tokens.to_json(double_precision=15).encode())
    for name, vectors in extracted.activations.layers.items():
        found.update(name.encode() + vectors.numpy().tobytes())
    return found.hexdigest()


def _work(job: Job, pipe: Connection) -> None:
    torch.set_num_threads(1)  # threads do not survive a fork
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process never gives back
    operations, locks = _watch(job)
    if job.file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if job.die_of_size else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_size, job.file_size))
    pipe.send("ready")
    pipe.recv()
    told = {}
    try:
        found = extractor(job.store, job.poolings, job.nll)(side(job.checkpoint, job.texts), job.poolings[-1], "all")
        told = {"digest": digest(found)}
    except ConfigError as error:
        told = {"refusal": str(error)}
    except Exception:
        told = {"crash": traceback.format_exc()}
    pipe.send(Answer(**told, operations=tuple(operations), locks=tuple(locks)))


def _watch(job: Job) -> tuple[list[str], list[str]]:
    """Count what is done to files in the store and to locks anywhere; die at the moment that the job names."""
    operations: list[str] = []
    locks: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event in LOCKS:
            locks.append(event)
        if event in FILE_OPERATIONS and str(arguments[0]).startswith(str(job.store)):
            operations.append(f"{event} {Path(str(arguments[0])).name}")
            if len(operations) == job.last_operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return operations, locks
