"""What an extraction will take, said before it starts, and refused if the machine does not have it."""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from layeratlas.errors import ConfigError
from layeratlas.models.base import Size

logger = logging.getLogger(__name__)

_FLOAT32 = 4
_BYTES_PER_TOKEN = 4  # of English; languages that tokenise worse take longer than estimated
_HIDDEN_STATES = 16  # tensors the size of a batch's hidden states that are alive at once inside a block, roughly
_MEASURING = 0.02  # seconds


@dataclass(frozen=True)
class Estimate:
    """Bytes on disk, bytes of memory, and seconds of arithmetic, if no text is cut and every expert is used."""

    disk: int
    memory: int
    seconds: float


def estimate(
    size: Size, *, texts: int, text_bytes: int, poolings: int, batch_tokens: int, device: torch.device, dtype: torch.dtype
) -> Estimate:
    tokens = text_bytes / _BYTES_PER_TOKEN
    working = batch_tokens * size.width * _HIDDEN_STATES * dtype.itemsize
    return Estimate(
        disk=texts * size.layers * size.width * _FLOAT32 * poolings,
        memory=size.bytes + working,
        seconds=2 * size.block_parameters * tokens / _flops(device, dtype),
    )


def require(expected: Estimate, name: str, store: Path, device: torch.device, *, spread: bool) -> None:
    """Log the estimate; refuse what does not fit on the disk of the store or into the memory of the device.

    A model that is `spread` over several devices is not held against the memory of one.
    """
    logger.info(
        "extract %s: about %s on disk, %s of memory, and some %.0f s of arithmetic",
        *(name, _size(expected.disk), _size(expected.memory), expected.seconds),
    )
    free = shutil.disk_usage(next(folder for folder in [store, *store.parents] if folder.exists())).free
    if expected.disk > free:
        raise ConfigError(
            f"store.dir={store}: {name} needs {_size(expected.disk)} and {_size(free)} is free; choose another folder"
        )
    available = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if expected.memory > available and not spread:
        raise ConfigError(
            f"model {name}: needs about {_size(expected.memory)} of memory and {device} has {_size(available)} free;"
            " choose a smaller dtype, quantization, or device_map=auto"
        )


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-adds x 2 per second of a matrix product on this device, measured."""
    size = 512 if device.type == "cpu" else 4096  # a CPU without bfloat16 arithmetic does a product of 1024 in two seconds
    a = torch.ones(size, size, device=device, dtype=dtype)
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < _MEASURING:
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _size(n: int | float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
