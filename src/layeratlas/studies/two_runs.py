"""Do two runs give the same picture of the same layers: under another language, dataset, pooling or metric, or a control?"""

from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.options import require
from layeratlas.runs.reading import Run
from layeratlas.statistics.differences import independent_difference, paired_difference
from layeratlas.statistics.matrices import MatrixCorrelation, correlate
from layeratlas.statistics.multiplicity import corrected
from layeratlas.statistics.resampling import jackknife_se
from layeratlas.statistics.swaps import at_equal_depths, margin_by_depth, shared_depths, swaps


@dataclass(frozen=True)
class Agreement:
    """How the two matrices correlate, and which of n, k and estimator set their scales apart: then only shapes can be compared.

    `ceiling` is the largest correlation that their noise allows, sqrt(reliability of one x reliability of the other), where
    both runs were made with `analysis=[...,stability]`; None otherwise. `differences` has a row for the swap margin, the net swap
    share and the margin at each shared depth: first minus second, interval, p of a two-sided t-test, and for the depths p_holm
    over them. It is None where these cannot be tested, as between runs of two metrics, and `reason` says why. `items` says
    whether the runs hold the same items in the same order ("same": the same groups were left out of both) or not ("other":
    standard errors add up; cautious if the samples overlap).
    """

    correlation: MatrixCorrelation
    apart: list[str]
    ceiling: float | None
    differences: pd.DataFrame | None
    items: str | None
    reason: str | None


def compare_runs(first: Run, second: Run, *, draws: int = 1000, seed: int = 0) -> Agreement:
    """Compare two runs' matrices cell by cell, and test whether their depth correspondence differs.

    Text against a control (random strings, other items, cipher) bears on content; text alone does not. Noise pulls both swap
    margins towards 0, the noisier one more, so a small difference between a clean and a noisy source is no evidence. Raises
    ValueError if the runs' layers differ.

    >>> import layeratlas
    >>> first, second = layeratlas.read_sweep(sweep_folder)
    >>> agreement = layeratlas.compare_runs(first, second, draws=99)
    >>> round(agreement.correlation.pearson, 3), agreement.correlation.attainable_p
    (1.0, 0.01)
    """
    for name, run in (("first", first), ("second", second)):
        require(Run, run, f"compare_runs: {name}")
    for axis in ("layers_a", "layers_b"):
        layers = [run.arrays[axis].tolist() for run in (first, second)]
        if layers[0] != layers[1]:
            x, y = next(pair for pair in zip_longest(*layers, fillvalue="nothing") if pair[0] != pair[1])
            raise ValueError(f"{axis} differ: {x} in {first.folder} is {y} in {second.folder}")
    matrices = (run.arrays["affinity"] for run in (first, second))
    scales = [_scale(run) for run in (first, second)]
    apart = [key for key in scales[0] if scales[0][key] != scales[1][key]]
    reliabilities = [run.result["statistics"].get("stability", {}).get("reliability") for run in (first, second)]
    known = [r for r in reliabilities if r is not None and r > 0]
    reason = _why_no_differences(first, second, apart)
    paired = reason is None and _same_items(first, second)
    return Agreement(
        correlation=correlate(
            *matrices, draws=draws, rng=np.random.default_rng(seed), one_model=all(map(of_one_model, (first, second)))
        ),
        apart=apart,
        ceiling=float(np.sqrt(np.prod(known))) if len(known) == 2 else None,
        differences=None if reason else _differences(first, second, paired=paired),
        items=None if reason else "same" if paired else "other",
        reason=reason,
    )


def of_one_model(run: Run) -> bool:
    """Whether rows and columns are the same layers of the same weights, in whatever languages."""
    same_layers = run.arrays["layers_a"].tolist() == run.arrays["layers_b"].tolist()
    return same_layers and _weights(run, "a") == _weights(run, "b")


def _weights(run: Run, side: str) -> list[Any]:
    config = run.result["provenance"]["config"][f"model_{side}"]
    return [run.result[side]["model"], run.result[side]["revision"], config.get("adapter"), config.get("random_init")]


def _scale(run: Run) -> dict[str, Any]:
    metric = run.result["metric"]
    return {"n": run.result["dataset"]["n"], "k": metric["k"], "estimator": metric["estimator"]}


def _metric(run: Run) -> dict[str, Any]:
    """Its name and what it was made with, apart from k, which `_scale` has."""
    metric = run.result["metric"]
    parameters = {key: value for key, value in (metric.get("parameters") or {}).items() if key != "k"}
    return {"name": metric["name"], "parameters": parameters, "normalization": metric.get("normalization")}


def _why_no_differences(first: Run, second: Run, apart: list[str]) -> str | None:
    metric = ["metric"] if _metric(first) != _metric(second) else []
    if differing := metric + apart:
        return f"the runs differ in {', '.join(differing)}, on which the swap margin depends; run both with the same"
    for run in (first, second):
        if "left_out" not in run.arrays:
            return f"{run.folder} has no matrices without groups of items; run it with statistics=quick"
        if _itself(run):
            return f"{run.folder} compares a side with itself, whose diagonal is given by construction"
    if len(_depths(first)[2]) < 2:
        return "the sides share fewer than two depths"
    return None


def _itself(run: Run) -> bool:
    """Whether each layer meets itself on the main diagonal: as the run has found, or, of older ones, by the values there."""
    swap = run.result["statistics"].get("diagonal", {}).get("swap", {})
    if "itself" in swap:
        return swap["itself"]
    matrix, own = run.arrays["affinity"], run.result["metric"].get("self_value")
    return own is not None and matrix.shape[0] == matrix.shape[1] and bool(np.allclose(np.diag(matrix), own, atol=1e-6))


def _same_items(first: Run, second: Run) -> bool:
    """Whether row i of both is the same item: the same dataset, perhaps translated or under a control, in the same order."""
    names = {run.result["dataset"]["name"].split("+")[0] for run in (first, second)}
    ids = [run.table("items")["id"].tolist() for run in (first, second)]
    groups = [len(run.arrays["left_out"]) for run in (first, second)]
    clustered = [run.result["provenance"]["config"]["statistics"]["by_group"] for run in (first, second)]
    return len(names) == 1 and ids[0] == ids[1] and groups[0] == groups[1] and clustered[0] == clustered[1]


def _differences(first: Run, second: Run, *, paired: bool) -> pd.DataFrame:
    values = [_statistics(run, run.arrays["affinity"]) for run in (first, second)]
    left_out = [_statistics(run, run.arrays["left_out"]) for run in (first, second)]
    level = first.result["provenance"]["config"]["statistics"]["level"]
    rows = []
    for (statistic, depth), value in values[0].items():
        pair = float(value), float(values[1][statistic, depth])
        one, other = (sample[statistic, depth] for sample in left_out)
        if paired:
            difference = paired_difference(*pair, one, other, level)
        else:
            errors = float(jackknife_se(one)), float(jackknife_se(other))
            difference = independent_difference(*pair, errors, (len(one) - 1, len(other) - 1), level)
        rows.append({"statistic": statistic, "depth": depth, "first": pair[0], "second": pair[1], **asdict(difference)})
    table = pd.DataFrame(rows).astype({"depth": float, "p": float})
    of_depths = table["statistic"] == "margin_at_depth"
    table.loc[of_depths, "p_holm"] = corrected(table.loc[of_depths, "p"].to_numpy(), "holm")
    return table


def _statistics(run: Run, matrices: np.ndarray) -> dict[tuple[str, float | None], np.ndarray]:
    """Swap margin, net share and the margin at each depth, of one matrix or of many; by name and depth (None: of all)."""
    depth_a, depth_b, shared = _depths(run)
    rows, columns = (np.flatnonzero(np.isfinite(run.arrays[f"depth_{side}"])) for side in "ab")
    squares = at_equal_depths(matrices[..., rows[:, None], columns], depth_a, depth_b)
    pairs, curve = swaps(squares), margin_by_depth(squares)
    whole: dict[tuple[str, float | None], np.ndarray] = {}
    whole["swap_margin", None] = pairs.swap_margin
    whole["net_share", None] = pairs.net_share
    for i, depth in enumerate(shared):
        whole["margin_at_depth", float(depth)] = curve[..., i]
    return whole


def _depths(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the blocks of both sides, and those at which they are compared."""
    a, b = (depths[np.isfinite(depths)] for depths in (run.arrays["depth_a"], run.arrays["depth_b"]))
    return a, b, shared_depths(a, b)
