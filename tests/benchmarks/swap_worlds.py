"""How often the swap margin finds a correspondence of depths where there is none, and where one is planted.

    uv run tests/benchmarks/swap_worlds.py [RUNS]      RUNS of each world (400)

Prints a table in Markdown for each size of the matrices and number of items: the share of runs whose 95 % interval lies above, or
below, 0, for the raw contrast of on and off the diagonal and for the swap margin. The worlds are those of tests/worlds.py.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from worlds import NULL_WORLDS, PLANTED_WORLDS, judged

from layeratlas.metrics import CKALinearDebiased, MutualKNN

METRICS = {"mutual_knn": MutualKNN(k=10).with_slack(), "cka_linear_debiased": CKALinearDebiased()}
SETTINGS = [(96, (8, 8)), (256, (8, 8)), (96, (24, 16)), (256, (30, 18))]


def rejections(metric: str, world: str, n: int, sizes: tuple[int, int], runs: int) -> dict[str, tuple[float, float]]:
    """Shares of runs above and below 0, of each statistic."""
    torch.set_num_threads(1)
    told = [judged(METRICS[metric], (NULL_WORLDS | PLANTED_WORLDS)[world], seed, n, sizes) for seed in range(runs)]
    return {name: tuple(sum(one[name] == sign for one in told) / runs for sign in (1, -1)) for name in told[0]}


def main(runs: int) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for n, sizes in SETTINGS:
            jobs = {
                (world, metric): pool.submit(rejections, metric, world, n, sizes, runs)
                for world in [*NULL_WORLDS, *PLANTED_WORLDS]
                for metric in METRICS
            }
            print(f"\n{sizes[0]} x {sizes[1]} layers, {n} items, {runs} runs: share of intervals above / below 0\n")
            columns = [f"{name}, {metric}" for name in ("raw contrast", "swap margin") for metric in METRICS]
            print("| world | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1), flush=True)
            for world in [*NULL_WORLDS, *PLANTED_WORLDS]:
                cells = [jobs[world, metric].result()[name] for name in ("raw contrast", "swap margin") for metric in METRICS]
                print(f"| {world} | " + " | ".join(f"{above:.3f} / {below:.3f}" for above, below in cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 400)
