"""How often the swap margin finds a correspondence of depths where there is none, and where one is planted.

    uv run tests/benchmarks/swap_worlds.py [pair] [larger] [sweep]    20 minutes of processor time; writes the statistics' README

pair: 8 x 8 layers, 96 items: the share of runs whose 95 % interval lies above, or below, 0, for the raw contrast of on and off the
diagonal and for the swap margin. larger: the swap margin of larger matrices and more items. sweep: what the tests over eight
models' pairs say. The worlds are those of tests/worlds.py; a world is the same one for both metrics.
"""

import os
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core: threads would wait for each other over matrices this small
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from readme import markdown, write
from worlds import NULL_SWEEPS, NULL_WORLDS, PLANTED_SWEEPS, PLANTED_WORLDS, judged, judged_over_models

from layeratlas.metrics import CKALinearDebiased, MutualKNN

METRICS = {"mutual_knn": MutualKNN(k=10, listed=24), "cka_linear_debiased": CKALinearDebiased()}
WORLDS, SWEEPS = NULL_WORLDS | PLANTED_WORLDS, NULL_SWEEPS | PLANTED_SWEEPS
STATISTICS = ("raw contrast", "swap margin")
RUNS, SWEEP_RUNS, MODELS = 400, (100, 25), (5, 6, 8, 6, 5, 8, 6, 7)
LARGER = {
    (256, (8, 8)): (200, 50),
    (96, (24, 16)): (200, 50),
    (256, (30, 18)): (60, 20),
}  # runs of each world without, with partners


def rejections(metric: str, world: str, n: int, sizes: tuple[int, int], runs: int) -> dict[str, str]:
    """Shares of runs above / below 0, of each statistic."""
    told = [judged(METRICS[metric], WORLDS[world], seed, n, sizes) for seed in range(runs)]
    return {name: " / ".join(f"{sum(one[name] == sign for one in told) / runs:.3f}" for sign in (1, -1)) for name in told[0]}


def of_sweeps(metric: str, sweep: str) -> dict[str, str]:
    runs = SWEEP_RUNS[sweep in PLANTED_SWEEPS]
    told = [judged_over_models(METRICS[metric], SWEEPS[sweep], seed, 96, MODELS) for seed in range(runs)]
    return {name: f"{sum(one[name] for one in told) / runs:.3f}" for name in told[0]}


def printed(name: str, cells: Iterable[str]) -> list[str]:
    row = [name, *cells]
    print(row, flush=True)
    return row


def pair(pool: ProcessPoolExecutor) -> str:
    jobs = {(world, metric): pool.submit(rejections, metric, world, 96, (8, 8), RUNS) for world in WORLDS for metric in METRICS}
    rows = [printed(world, (jobs[world, metric].result()[name] for name in STATISTICS for metric in METRICS)) for world in WORLDS]
    head = ["world", *(f"{name}, {metric}" for name in STATISTICS for metric in METRICS)]
    return f"{RUNS} runs of 8 x 8 layers and 96 items:\n\n{markdown(head, rows)}"


def larger(pool: ProcessPoolExecutor) -> str:
    jobs: dict[tuple, Future] = {}
    for (n, sizes), runs in LARGER.items():
        for world in WORLDS:
            for metric in METRICS:
                jobs[world, n, sizes, metric] = pool.submit(rejections, metric, world, n, sizes, runs[world in PLANTED_WORLDS])
    columns = [(n, sizes, metric) for n, sizes in LARGER for metric in METRICS]
    rows = [printed(world, (jobs[world, *column].result()["swap margin"] for column in columns)) for world in WORLDS]
    rows.append(
        ["*runs of a world without, with partners*", *(f"{', '.join(map(str, LARGER[n, sizes]))}" for n, sizes, _ in columns)]
    )
    return markdown(["world", *(f"{a} x {b}, {n} items, {metric}" for n, (a, b), metric in columns)], rows)


def sweep(pool: ProcessPoolExecutor) -> str:
    jobs = {(name, metric): pool.submit(of_sweeps, metric, name) for name in SWEEPS for metric in METRICS}
    tests = list(jobs[next(iter(jobs))].result())
    rows = [
        printed(name, (" / ".join(jobs[name, metric].result()[test] for metric in METRICS) for test in tests)) for name in SWEEPS
    ]
    said = (
        f"{SWEEP_RUNS[0]} sweeps ({SWEEP_RUNS[1]} with partners) of {len(MODELS)} models of {min(MODELS)} to {max(MODELS)} layers,"
        " 96 items;"
        f" {' / '.join(METRICS)}:"
    )
    return f"{said}\n\n{markdown(['sweep', *tests], rows)}"


TABLES = {"pair": ("swap", pair), "larger": ("swap, larger", larger), "sweep": ("swap, sweep", sweep)}


def main(wanted: Iterable[str]) -> None:
    with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name in wanted:
            place, table = TABLES[name]
            write(place, table(pool))


if __name__ == "__main__":
    main(sys.argv[1:] or TABLES)
