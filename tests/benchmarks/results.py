"""The result file of a benchmark in tests/claims/, which pages take their numbers from (tests/claims/registry.py)."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

OF_A_MACHINE = ("seconds", "milliseconds", "minutes", "hours", "gflops")
ROOT = Path(__file__).resolve().parents[2]


def keep(name: str, command: str, values: Mapping[str, Any], within: float | None = None) -> None:
    """Write `tests/claims/NAME.json`; `command` is what follows `uv run`, and makes this file and no other.

    `within` is for what differs from one machine and one time to the next: the machine is then named, and when the file is made
    anew each number may be this many times larger or smaller; those below a key `seconds`, or another of `OF_A_MACHINE`, are not
    compared.
    Where the environment variable CLAIMS_FOLDER names another folder, file and picture are written there.
    """
    measured = {} if within is None else {"machine": machine(), "within": within}
    text = json.dumps({"command": f"uv run {command}", **measured, "values": values}, indent=1) + "\n"
    Path(os.environ.get("CLAIMS_FOLDER", ROOT / "tests" / "claims"), f"{name}.json").write_text(text, encoding="utf-8")


def keep_parts(script: str, prefix: str, parts: Mapping[str, Callable[[ProcessPoolExecutor], Mapping[str, Any]]]) -> None:
    """Measure the parts named on the command line, or all, in a process per core, and keep each as PREFIX_NAME."""
    import torch

    with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name in sys.argv[1:] or parts:
            keep(f"{prefix}_{name}", f"tests/benchmarks/{Path(script).name} {name}", parts[name](pool))


def picture(name: str) -> Path:
    """Where a picture of pages is saved."""
    return Path(os.environ.get("CLAIMS_FOLDER", ROOT / ".github"), name)


def machine() -> str:
    """Processor, cores and speed in words."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    cores = f"{os.cpu_count()} cores of {model[1] if model else 'an unknown processor'}"
    return f"{cores}, {gflops():.0f} GFLOP/s in products of float32 matrices"


def gflops(width: int = 2048, rounds: int = 5) -> float:
    """Thousand millions of operations a second in products of float32 matrices, the best of several."""
    import torch

    x, best = torch.randn(width, width), float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        x @ x
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best / 1e9
