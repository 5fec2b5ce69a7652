"""How often single tests and intervals of analyses and studies err, on the worlds of their tests.

    uv run tests/benchmarks/null_worlds.py [crossed] [subspace] [bootstrap] [pilots]    writes tests/claims/null_worlds_*.json

crossed: the tests of `study=[conditions]` where no factor has an effect. subspace: intervals of `analysis=[subspace]` where
languages do not differ. bootstrap: resampling with replacement of layers that share nothing.
pilots: what `stage=plan` predicts from a pilot.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core: threads would wait for each other over matrices this small
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from crossed_worlds import rejected
from pilot_worlds import predictions
from results import keep_parts
from subspace_worlds import beyond_chance

from layeratlas import affinity_matrix
from layeratlas.metrics import CKALinearDebiased, MutualKNN

WORLDS, MODES, PILOTS, FACTOR = 400, (1, 5, 30), 20, 1.5


def crossed(pool: ProcessPoolExecutor) -> dict[str, Any]:
    """By the number of shapes that noise has, the share of worlds that each test rejects; and the least and most of all sizes."""
    shares = {str(modes): _shares(pool, partial(rejected, modes=modes)) for modes in MODES}
    table = pd.DataFrame(shares).T
    sizes = table[["first", "second", "interaction"]]
    return {
        "worlds": WORLDS,
        "shares": shares,
        "smallest": float(sizes.min(axis=None)),
        "largest": float(sizes.max(axis=None)),
        **{f"smallest_of_{name}": float(table[name].min()) for name in ("difference", "difference_of_equals")},
        **{f"largest_of_{name}": float(table[name].max()) for name in ("difference", "difference_of_equals")},
    }


def subspace(pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The share of worlds in which each interval leaves out chance, and the least and most but for the probe of language."""
    shares = _shares(pool, beyond_chance)
    others = [share for name, share in shares.items() if not name.startswith("language_probe,")]
    return {"worlds": WORLDS, "shares": shares, "smallest_of_others": min(others), "largest_of_others": max(others)}


def _shares(pool: ProcessPoolExecutor, judge: Callable[[int], dict[str, bool]]) -> dict[str, float]:
    shares = pd.DataFrame(pool.map(judge, range(WORLDS), chunksize=10)).mean().to_dict()
    print(shares, flush=True)
    return {str(name): float(share) for name, share in shares.items()}


def bootstrap(pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Debiased CKA of two independent layers, their items drawn with replacement."""
    rng, items, samples = np.random.default_rng(0), 60, 1000
    x, y = rng.standard_normal((items, 200)), rng.standard_normal((items, 200))
    draws = [rng.integers(items, size=items) for _ in range(samples)]
    values = [affinity_matrix(CKALinearDebiased(), [x[drawn]], [y[drawn]]).item() for drawn in draws]
    return {"items": items, "samples": samples, "share": 0.975, "above": float(np.quantile(values, 0.025))}


def pilots(pool: ProcessPoolExecutor) -> dict[str, Any]:
    """How many predict the half-width of the headline at four times their items within a factor, and the median of all."""
    of = {
        "cka_linear_debiased": (128, CKALinearDebiased(), CKALinearDebiased()),
        "mutual_knn": (256, MutualKNN(k=16).with_slack(), MutualKNN(k=64).with_slack()),
    }
    jobs = {name: pool.submit(predictions, *given, PILOTS) for name, given in of.items()}
    found: dict[str, Any] = {"pilots": PILOTS, "factor": FACTOR}
    for name, job in jobs.items():
        ratios = 1 / job.result()
        within = (ratios > 1 / FACTOR) & (ratios < FACTOR)
        found[name] = {"within": int(within.sum()), "median": float(np.median(ratios)), "realised_over_predicted": ratios.tolist()}
        print(name, found[name], flush=True)
    return found


PARTS = {"crossed": crossed, "subspace": subspace, "bootstrap": bootstrap, "pilots": pilots}


if __name__ == "__main__":
    keep_parts(__file__, "null_worlds", PARTS)
