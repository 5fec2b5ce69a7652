"""What an extraction was said to take, against what it took: seconds of forward passes, and the process's largest memory.

    uv run tests/benchmarks/preflight.py estimates       both bundled models in English and Hindi
    uv run tests/benchmarks/preflight.py dataset.n=24    fewer texts, to see that the benchmark works; not kept

Asked for: time within a factor of 1.5, memory within 1.3. Exits with 1 if that does not hold.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from busy import SCRIPT, empty_store
from measuring import Figures, measure, show

MODELS = {"smollm2": "smollm2-135m-instruct", "gemma": "gemma3-270m"}
TEXTS = {
    "english_speeches": ["dataset=speeches"],
    "english_sentences": ["dataset=parallel"],
    "hindi_sentences": ["dataset=parallel", "language@language_a=hi"],
    "hindi_concepts": ["dataset=concepts", "language@language_a=hi"],
}
ALLOWED = {"time": ("seconds", 1.5), "memory": ("gigabytes", 1.3)}
_UNITS = {"B": 1e-9, "KB": 1e-6, "MB": 1e-3, "GB": 1.0}
_SECONDS = {"s": 1, "minutes": 60}


def estimates(overrides: Sequence[str] = ()) -> Figures:
    """By model and texts the estimate, what was measured, and the `ratios` of both; the largest factor between them."""
    figures: Figures = {"estimated": {}, "measured": {}, "ratios": {}}
    for short, model in MODELS.items():
        for texts, chosen in TEXTS.items():
            estimated, used = extracted([f"model@model_a={model}", *chosen, *overrides])
            one = f"{short}_{texts}"
            figures["estimated"][one], figures["measured"][one] = estimated, used
            figures["ratios"][one] = {what: estimated[unit] / used[unit] for what, (unit, _) in ALLOWED.items()}
    factors = {what: max(max(one[what], 1 / one[what]) for one in figures["ratios"].values()) for what in ALLOWED}
    return figures | {"largest_factor": factors}


def extracted(asked: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and gigabytes, estimated and measured, of an extraction into an empty store in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        where = [f"store.dir={empty_store(Path(scratch))}", f"hydra.run.dir={scratch}/run"]
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "stage=extract", *asked, *where], cwd=scratch, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        log = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(log)
    memory, unit = match(r"and ([\d.]+) ([KMG]?B) of memory", log)
    seconds, second = match(r": some ([\d.e+]+) (s|minutes)", log)
    begun, *_, ended = (moment(line) for line in log.splitlines() if re.search(r": some |: \d+ of \d+ texts, ", line))
    kilobyte = 1 if sys.platform == "darwin" else 1024
    estimated = {"seconds": float(seconds) * _SECONDS[second], "gigabytes": float(memory) * _UNITS[unit]}
    return estimated, {"seconds": ended - begun, "gigabytes": usage.ru_maxrss * kilobyte / 1e9}


def match(pattern: str, log: str) -> tuple[str, ...]:
    (found,) = re.findall(pattern, log)
    return found


def moment(line: str) -> float:
    return datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f").timestamp()


if __name__ == "__main__":
    if sys.argv[1:] and "=" in sys.argv[1]:
        show(estimates(sys.argv[1:]))
    else:
        largest = measure(__file__, {"estimates": estimates}, sys.argv[1:])["estimates"]["largest_factor"]
        sys.exit(int(any(largest[what] > allowed for what, (_, allowed) in ALLOWED.items())))
