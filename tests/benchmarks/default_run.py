"""What the default run takes at first and once the store is filled, and what of that are imports, the null and the pictures.

    uv run tests/benchmarks/default_run.py first    with nothing stored: models are converted and texts extracted; once
    uv run tests/benchmarks/default_run.py split    from a filled store, and the same without pictures and page
    uv run tests/benchmarks/default_run.py turns    in turns with the default run of an earlier commit, from a clone's history

Asked for: under 20 s from a filled store. Exits with 1 if that does not hold. The usual store must hold the bundled models; each
time is the best of several, as other programs can only make a run slower.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from busy import SCRIPT, empty_store
from measuring import Figures, measure
from race import race

ROOT = SCRIPT.parents[1]
EARLIER = "55cb8ad"
IMPORTED = "import hydra, matplotlib.pyplot, pandas, seaborn, torch"
MOST, ROUNDS = 20.0, 3


def first() -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        store = f"store.dir={folder}/store"
        return {"seconds": race({"whole": partial(run, Program(), Path(folder), store)}, rounds=1)}


def split() -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        scratch, now = Path(folder), Program()
        run(now, scratch)  # fills the store
        seconds = race(
            {
                "whole": partial(run, now, scratch),
                "without_pictures": partial(run, now, scratch, "report.enabled=false", "report.figures=false"),
                "imports": lambda: subprocess.run([sys.executable, "-c", IMPORTED], check=True),
            },
            ROUNDS,
        )
        timing = json.loads((run(now, scratch) / "result.json").read_text(encoding="utf-8"))["timing"]
    seconds |= {"pictures": seconds["whole"] - seconds["without_pictures"], "null": timing["infer"]}
    return {"seconds": seconds, "ratios": {name: seconds[name] / seconds["whole"] for name in ("imports", "pictures")}}


def turns() -> Figures:
    """Each from a store of its own, as the earlier commit may have kept other files."""
    with tempfile.TemporaryDirectory() as folder:
        scratch, earlier = Path(folder), Path(folder) / "earlier"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", earlier, EARLIER], cwd=ROOT, check=True)
        try:
            subprocess.run(["uv", "sync", "--quiet"], cwd=earlier, check=True)
            programs = {
                "earlier": Program(earlier / "src" / "run.py", earlier / ".venv" / "bin" / "python"),
                "now": Program(),
            }
            runs = {name: partial(run, program, scratch, f"store.dir={empty_store(scratch)}") for name, program in programs.items()}
            for fill in runs.values():
                fill()
            seconds = race(runs, ROUNDS)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)
    return {"seconds": seconds, "ratios": {"of_earlier": seconds["now"] / seconds["earlier"]}}


@dataclass(frozen=True)
class Program:
    script: Path = SCRIPT
    python: Path = Path(sys.executable)


def run(program: Program, scratch: Path, *overrides: str) -> Path:
    """The run's folder."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    environment = os.environ | {"PYTHONPATH": str(program.script.parent)}  # the package beside the script
    command = [str(program.python), str(program.script), *overrides, f"hydra.run.dir={folder}"]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return folder


if __name__ == "__main__":
    done = measure(__file__, {"first": first, "split": split, "turns": turns}, sys.argv[1:])
    sys.exit(int("split" in done and done["split"]["seconds"]["whole"] > MOST))
