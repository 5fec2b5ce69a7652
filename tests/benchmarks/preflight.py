"""What an extraction was said to take, against what it took: seconds of forward passes, and the process's largest memory.

    uv run tests/benchmarks/preflight.py                 both bundled models in English and Hindi
    uv run tests/benchmarks/preflight.py dataset.n=24    fewer texts, to see that the benchmark works

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

MODELS = ("smollm2-135m-instruct", "gemma3-270m")
TEXTS = {
    "English speeches": ["dataset=speeches"],
    "English sentences": ["dataset=parallel"],
    "the same in Hindi": ["dataset=parallel", "language@language_a=hi"],
    "concepts in Hindi": ["dataset=concepts", "language@language_a=hi"],
}
TIME, MEMORY = 1.5, 1.3
_UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_SECONDS = {"s": 1, "minutes": 60}


def main(overrides: Sequence[str]) -> int:
    fails = 0
    print("model                  texts                 estimated  took  ratio |  estimated  used  ratio")
    for model in MODELS:
        for texts, chosen in TEXTS.items():
            told, took, said, used = extracted([f"model@model_a={model}", *chosen, *overrides])
            fails += ratio(told, took) > TIME or ratio(said, used) > MEMORY
            print(
                f"{model:22} {texts:20} {told:8.1f} s {took:5.1f} s {told / took:5.2f} | {said / 1e9:5.2f} GB {used / 1e9:5.2f} GB"
                f" {said / used:5.2f}"
            )
    return 1 if fails else 0


def ratio(a: float, b: float) -> float:
    return max(a / b, b / a)


def extracted(asked: Sequence[str]) -> tuple[float, float, float, float]:
    """Seconds told and taken, bytes told and taken, of an extraction into an empty store in a process of its own."""
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
    return float(seconds) * _SECONDS[second], ended - begun, float(memory) * _UNITS[unit], usage.ru_maxrss * kilobyte


def match(pattern: str, log: str) -> tuple[str, ...]:
    (found,) = re.findall(pattern, log)
    return found


def moment(line: str) -> float:
    return datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f").timestamp()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
