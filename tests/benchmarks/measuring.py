"""What every benchmark does with its figures: print them, and keep them in tests/claims/ with the command and the machine.

A measure is a function that returns its figures by name. Those under `ratios` were measured side by side or in turns, and
are compared from machine to machine; all others are this machine's.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CLAIMS = Path(__file__).resolve().parents[1] / "claims"
Figures = dict[str, Any]


def measure(script: str, measures: Mapping[str, Callable[[], Figures]], wanted: Sequence[str]) -> None:
    """Those that are wanted, by name, or all; the figures of `metrics.py floor` become `metrics_floor.json`."""
    for name in wanted or measures:
        figures = measures[name]()
        show(figures)
        keep(script, name, figures)


def show(figures: Figures) -> None:
    for path, value in flat(figures):
        print(f"{path}: {value:.4g}" if isinstance(value, float) else f"{path}: {value}", flush=True)


def keep(script: str, name: str, figures: Figures) -> None:
    command = f"uv run tests/benchmarks/{Path(script).name} {name}"
    content = {"command": command, "machine": machine(), "values": rounded(figures)}
    _file(script, name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measured(script: str, name: str) -> Figures:
    """What was kept last."""
    return json.loads(_file(script, name).read_text(encoding="utf-8"))["values"]


def _file(script: str, name: str) -> Path:
    return CLAIMS / f"{Path(script).stem}_{name}.json"


def flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def rounded(node: Any) -> Any:
    """To five digits, more than any of two measurements share."""
    if isinstance(node, Mapping):
        return {key: rounded(value) for key, value in node.items()}
    return float(f"{node:.5g}") if isinstance(node, float) else node


def machine() -> Figures:
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "gflops": round(gflops())}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def gflops(width: int = 2048, rounds: int = 5) -> float:
    """Thousand millions of operations a second in products of float32 matrices, the best of several."""
    import torch

    x, best = torch.randn(width, width), float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        x @ x
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best / 1e9


if __name__ == "__main__":
    sys.exit("measures nothing by itself: see the other files of this folder")
