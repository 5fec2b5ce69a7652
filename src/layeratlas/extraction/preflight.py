"""What an extraction will take, said before it starts, and refused if the machine does not have it."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from layeratlas.errors import ConfigError
from layeratlas.extraction.batching import Batching
from layeratlas.models.settings import Size

logger = logging.getLogger(__name__)

_FLOAT32 = 4
_HIDDEN_STATES = 16  # tensors the size of a batch's hidden states that are alive at once inside a block, roughly
_TOKENIZER = 1100  # bytes for each entry of the vocabulary: measured 0.8 to 1.2 KB
_SAMPLE = 512  # tokens timed on a CPU, on which so many are as fast as more; other devices need a whole batch to be busy


@dataclass(frozen=True)
class Estimate:
    """Bytes on disk, and bytes of memory at the peak, `present` of which are in use already.

    On a CPU memory is that of the whole process, Python and its libraries included, elsewhere that of the device.
    """

    disk: int
    memory: int
    present: int = 0


def estimate(
    size: Size,
    *,
    texts: int,
    shard: int,
    poolings: int,
    signatures: int,
    batch_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
    nll: bool,
    held: bool,
) -> Estimate:
    """If no text is cut: `texts` are to be run, `shard` of them are kept in memory until they are written.

    `signatures` are bytes of one layer. A model that is `held` is in memory already. Of a token table that lies in the file as it
    is wanted, a CPU reads the rows of the texts alone, which are few, unless likelihoods (`nll`) read it as the output's weights.
    """
    vectors = size.layers * size.width * _FLOAT32
    batch = batch_tokens * size.width * _HIDDEN_STATES * dtype.itemsize
    weights = 0 if held else size.bytes
    disk = texts * vectors * poolings + size.layers * signatures
    if device.type != "cpu":
        present = size.bytes if held else 0
        return Estimate(disk, present + weights + batch, present)
    present = psutil.Process().memory_info().rss
    tokenizer = 0 if held else size.vocabulary * _TOKENIZER
    written = shard * vectors * (poolings + 1)  # one more while it is put into a file's format
    if not (held or nll):
        weights -= size.left_in_file
    return Estimate(disk, present + weights + tokenizer + batch + written, present)


def require(expected: Estimate, name: str, store: Path, device: torch.device, *, spread: bool) -> None:
    """Log the estimate; refuse what does not fit on the disk of the store or into the memory of the device.

    A model that is `spread` over several devices is not held against the memory of one.
    """
    logger.info("extract %s: about %s on disk and %s of memory", name, _size(expected.disk), _size(expected.memory))
    free = shutil.disk_usage(next(folder for folder in [store, *store.parents] if folder.exists())).free
    if expected.disk > free:
        raise ConfigError(
            f"store.dir={store}: {name} needs {_size(expected.disk)} and {_size(free)} is free; choose another folder"
        )
    needed, available = expected.memory - expected.present, free_memory(device)
    if needed > available and not spread:
        raise ConfigError(
            f"model {name}: needs about {_size(needed)} of memory and {device} has {_size(available)} free;"
            " choose a smaller dtype, quantization, or device_map=auto"
        )


def require_memory(needed: int, what: str, device: torch.device) -> None:
    """Refuse what takes more memory than is free."""
    if needed > free_memory(device):
        raise ConfigError(f"{what}: needs about {_size(needed)} of memory and {device} has {_size(free_memory(device))} free")


def free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def operations(size: Size, batches: Iterable[Sequence[int]]) -> float:
    """Operations of forward passes over batches of texts of so many tokens, padding included, if every expert is used.

    Two for each parameter of the blocks and token, four for each two tokens of a text, dimension and block (attention).
    """
    blocks = size.layers - 2
    tokens = [(len(batch) * max(batch), max(batch)) for batch in batches]
    return float(sum(n * (2 * size.block_parameters + 4 * blocks * size.width * longest) for n, longest in tokens))


def sample(lengths: Sequence[int], batching: Batching, device: torch.device) -> list[int]:
    """Texts to time before the others: from the middle of the lengths, one batch or less, at most a quarter of all."""
    middle = sorted(range(len(lengths)), key=lambda i: lengths[i])[len(lengths) // 2 :]
    longest = lengths[middle[0]]
    budget = min(batching.tokens, _SAMPLE) if device.type == "cpu" else batching.tokens
    n = max(1, min(batching.size, budget // longest, len(lengths) // 4))
    return middle[:n]


def duration(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"


def _size(n: int | float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
