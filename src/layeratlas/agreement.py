"""Do two runs give the same picture of the same layers: under another language, dataset, pooling or metric?"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from layeratlas.results import Run
from layeratlas.statistics.matrices import MatrixCorrelation, correlate


@dataclass(frozen=True)
class Agreement:
    """How the two matrices correlate, and which of n, k and estimator set their scales apart: then only shapes can be compared.

    `ceiling` is the largest correlation that their noise allows, sqrt(reliability of one x reliability of the other), where
    both runs were made with `analysis=[...,stability]`; None otherwise.
    """

    correlation: MatrixCorrelation
    apart: list[str]
    ceiling: float | None


def compare_runs(first: Run, second: Run, *, draws: int = 1000, seed: int = 0) -> Agreement:
    """Compare two runs' matrices cell by cell. Raises ValueError if their layers differ."""
    for axis in ("layers_a", "layers_b"):
        layers = [run.arrays[axis].tolist() for run in (first, second)]
        if layers[0] != layers[1]:
            x, y = next(pair for pair in zip_longest(*layers, fillvalue="nothing") if pair[0] != pair[1])
            raise ValueError(f"{axis} differ: {x} in {first.folder} is {y} in {second.folder}")
    matrices = (run.arrays["affinity"] for run in (first, second))
    scales = [_scale(run) for run in (first, second)]
    reliabilities = [run.result["statistics"].get("stability", {}).get("reliability") for run in (first, second)]
    known = [r for r in reliabilities if r is not None and r > 0]
    return Agreement(
        correlation=correlate(
            *matrices, draws=draws, rng=np.random.default_rng(seed), one_model=all(map(_of_one_model, (first, second)))
        ),
        apart=[key for key in scales[0] if scales[0][key] != scales[1][key]],
        ceiling=float(np.sqrt(np.prod(known))) if len(known) == 2 else None,
    )


def _of_one_model(run: Run) -> bool:
    """Whether rows and columns are the same layers of the same weights, in whatever languages."""
    same_layers = run.arrays["layers_a"].tolist() == run.arrays["layers_b"].tolist()
    return same_layers and _weights(run, "a") == _weights(run, "b")


def _weights(run: Run, side: str) -> list[Any]:
    config = run.result["provenance"]["config"][f"model_{side}"]
    return [run.result[side]["model"], run.result[side]["revision"], config.get("adapter"), config.get("random_init")]


def _scale(run: Run) -> dict[str, Any]:
    metric = run.result["metric"]
    return {"n": run.result["dataset"]["n"], "k": metric["k"], "estimator": metric["estimator"]}
