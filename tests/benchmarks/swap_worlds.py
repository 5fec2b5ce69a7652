"""How often the swap margin finds a correspondence of depths where there is none, and where one is planted.

    uv run tests/benchmarks/swap_worlds.py [pair] [larger] [sweep]    20 minutes of processor time; writes tests/claims/swap_*.json

pair: 8 x 8 layers, 96 items: the share of runs whose 95 % interval lies above, or below, 0, for the raw contrast of on and off the
diagonal and for the swap margin. larger: the swap margin of larger matrices and more items. sweep: what the tests over eight
models' pairs say. The worlds are those of tests/worlds.py; a world is the same one for both metrics.
"""

import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core: threads would wait for each other over matrices this small
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results import keep_parts
from worlds import NULL_SWEEPS, NULL_WORLDS, PLANTED_SWEEPS, PLANTED_WORLDS, judged, judged_over_models

from layeratlas.metrics import CKALinearDebiased, MutualKNN

METRICS = {"mutual_knn": MutualKNN(k=10, listed=24), "cka_linear_debiased": CKALinearDebiased()}
WORLDS, SWEEPS = NULL_WORLDS | PLANTED_WORLDS, NULL_SWEEPS | PLANTED_SWEEPS
STATISTICS = ("raw contrast", "swap margin")
RUNS, MODELS = 400, (5, 6, 8, 6, 5, 8, 6, 7)
# Runs of each world without partners, and with; sweeps of each kind. They cost minutes each, so few: a gross fault is seen.
LARGER = dict.fromkeys([(256, (8, 8)), (96, (24, 16)), (256, (30, 18))], (10, 5))
SWEEP_RUNS = 30


def rejections(metric: str, world: str, n: int, sizes: tuple[int, int], runs: int) -> dict[str, dict[str, float]]:
    """Shares of runs above and below 0, of each statistic."""
    judgements = [judged(METRICS[metric], WORLDS[world], seed, n, sizes) for seed in range(runs)]
    signs = {"above": 1, "below": -1}
    return {
        name: {side: sum(one[name] == sign for one in judgements) / runs for side, sign in signs.items()} for name in judgements[0]
    }


def rejections_over_models(metric: str, sweep: str, runs: int) -> dict[str, float]:
    judgements = [judged_over_models(METRICS[metric], SWEEPS[sweep], seed, 96, MODELS) for seed in range(runs)]
    return {name: sum(one[name] for one in judgements) / runs for name in judgements[0]}


def collected(jobs: Mapping[str, Mapping[str, Future]]) -> dict[str, dict[str, Any]]:
    rows = {}
    for name, of in jobs.items():
        rows[name] = {metric: job.result() for metric, job in of.items()}
        print(name, rows[name], flush=True)
    return rows


def pair(pool: ProcessPoolExecutor) -> dict[str, Any]:
    jobs = {world: {metric: pool.submit(rejections, metric, world, 96, (8, 8), RUNS) for metric in METRICS} for world in WORLDS}
    worlds = collected(jobs)
    found = [sum(worlds[world][metric]["swap margin"].values()) for world in NULL_WORLDS for metric in METRICS]
    without = {"runs": RUNS * len(NULL_WORLDS), "with_a_margin_beyond_0": round(RUNS * sum(found))}
    return {"runs": RUNS, "without_partners": without, "worlds": worlds}


def larger(pool: ProcessPoolExecutor) -> dict[str, Any]:
    jobs: dict[str, dict[str, Future]] = {world: {} for world in WORLDS}
    sizes = {f"{a} x {b}, {n} items": (n, (a, b)) for n, (a, b) in LARGER}
    for world in WORLDS:
        for name, size in sizes.items():
            for metric in METRICS:
                runs = LARGER[size][world in PLANTED_WORLDS]
                jobs[world][f"{name}, {metric}"] = pool.submit(rejections, metric, world, *size, runs)
    runs = {name: dict(zip(("without", "with"), LARGER[size], strict=True)) for name, size in sizes.items()}
    return {"runs": runs, "worlds": collected(jobs)}


def sweep(pool: ProcessPoolExecutor) -> dict[str, Any]:
    jobs = {name: {metric: pool.submit(rejections_over_models, metric, name, SWEEP_RUNS) for metric in METRICS} for name in SWEEPS}
    return {
        "sweeps": SWEEP_RUNS,
        "models": len(MODELS),
        "fewest_layers": min(MODELS),
        "most_layers": max(MODELS),
        "worlds": collected(jobs),
    }


PARTS = {"pair": pair, "larger": larger, "sweep": sweep}


if __name__ == "__main__":
    keep_parts(__file__, "swap", PARTS)
