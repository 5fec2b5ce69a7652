"""What other work on the machine costs a run, and what jobs that run side by side cost each other.

    uv run tests/benchmarks/busy.py                 the default run, and four jobs
    uv run tests/benchmarks/busy.py dataset.n=32    a smaller run, to see that the benchmark works

Asked for: beside one busy loop at most 1.8 times its quiet time, beside two at most 2.5 times; four jobs of
`hydra/launcher=local_parallel` take no longer than one after the other. Exits with 1 if that does not hold. The store must hold
the bundled models; what is measured first fills it. Each time is the best of three, as other programs can only make a run slower.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "run.py"
ROUNDS = 3
ALLOWED = {1: 1.8, 2: 2.5}


def main(overrides: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        fails = beside_busy_loops(overrides, Path(scratch)) + side_by_side(overrides, Path(scratch))
    return 1 if fails else 0


def beside_busy_loops(overrides: Sequence[str], scratch: Path) -> int:
    run(overrides, scratch)  # fills the store
    quiet, fails = best(overrides, scratch), 0
    print(f"default run, quiet:              {quiet:6.1f} s")
    for loops, allowed in ALLOWED.items():
        with busy(loops):
            beside = best(overrides, scratch)
        fails += beside > allowed * quiet
        print(
            f"default run, beside {loops} busy loop{'s' * (loops > 1)}: {beside:6.1f} s, {beside / quiet:.2f} x (at most {allowed})"
        )
    return fails


def side_by_side(overrides: Sequence[str], scratch: Path) -> int:
    """Four draws of the texts, each of them extracted."""
    jobs = ["-m", "seed=1,2,3,4", "hydra.sweeper.summarize=false", *overrides]
    taken = {}
    for name, options in {"one after the other": [], "local_parallel": ["hydra/launcher=local_parallel"]}.items():
        taken[name] = min(run([*jobs, *options, f"store.dir={empty_store(scratch)}"], scratch) for _ in range(ROUNDS))
        print(f"four jobs, {name}: {taken[name]:6.1f} s")
    return taken["local_parallel"] > taken["one after the other"]


def empty_store(scratch: Path) -> Path:
    """A store that holds the models and nothing else."""
    import platformdirs

    folder = Path(tempfile.mkdtemp(dir=scratch))
    usual = Path(os.environ.get("LAYERATLAS_STORE", platformdirs.user_cache_dir("layeratlas")))
    (folder / "models").symlink_to(usual / "models")
    return folder


def best(overrides: Sequence[str], scratch: Path) -> float:
    return min(run(overrides, scratch) for _ in range(ROUNDS))


def run(arguments: Sequence[str], scratch: Path) -> float:
    folder = tempfile.mkdtemp(dir=scratch)
    where = [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
    start = time.perf_counter()
    subprocess.run([sys.executable, str(SCRIPT), *arguments, *where], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@contextmanager
def busy(loops: int) -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
