"""`stage=plan`: how many texts a sweep needs, and what it will cost, from a pilot in the store."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Gt
from omegaconf import DictConfig

from layeratlas.affinity.matrix import compare
from layeratlas.errors import Undefined
from layeratlas.extraction import preflight
from layeratlas.extraction.activations import Side
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric
from layeratlas.options import Positive, require, require_options
from layeratlas.runs import writing
from layeratlas.stages.keys import resolved
from layeratlas.stages.pilot import half_widths
from layeratlas.stages.pipeline import comparison_of, extracted_sides, of_layers
from layeratlas.stages.plan import Plan, planned
from layeratlas.statistics.precision import OF_A_MEAN, OF_GROWING_LISTS, Law, law

logger = logging.getLogger(__name__)

PLAN = "plan.json"
_TIMED = 32  # texts of each of two samples


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user wants to know."""

    half_width: Annotated[float, Gt(0)] | None
    n: Positive | None
    runs: Positive
    models: Positive
    time: bool


def planning(config: DictConfig, folder: Path) -> None:
    """Write plan.json, and say the same: of each interval the law of its width, the n that is wanted, and the sweep's cost."""
    node = resolved(config)["plan"]
    require_options(Wanted, node, "plan")
    wanted = Wanted(**node)
    plan = planned(config)
    require(Positive, plan.inference.groups, "statistics.groups")
    stored = replace(plan.extractor, only_stored=True)
    whole = extracted_sides(plan, stored, config.layers)
    chosen = of_layers(whole, config.layers)
    affinity = compare(plan.signer, chosen["a"].activations, chosen["b"].activations)
    pilot = comparison_of(plan, whole, affinity)
    measured = pd.DataFrame(half_widths(plan.analyses, pilot, config.layers))
    rows = list(_laws(measured, plan.metric, wanted))
    n = wanted.n or max((row["items"] for row in rows if row["items"]), default=plan.items.n)
    costs = {"n": n, "runs": wanted.runs, "models": wanted.models} | _comparing(measured, n, wanted) | _extracting(plan, n, wanted)
    predicted = {"pilot": plan.items.n, "metric": plan.metric.name, "wanted": asdict(wanted), "intervals": rows, "cost": costs}
    writing.write_json(folder, PLAN, predicted)
    logger.info("plan      %s of n = %d; half-widths of intervals\n%s", plan.metric.name, plan.items.n, _listed(rows))
    for line in _lines(costs):
        logger.info("plan      %s", line)


# --- how many texts -----------------------------------------------------------------------------------------------------------


def law_of(rows: pd.DataFrame, metric: AbstractMetric) -> Law:
    """From one interval's rows: each part's mean over how often it was drawn."""
    means = rows.groupby(["n", "part"])["half_width"].mean().reset_index()
    expected = OF_GROWING_LISTS if isinstance(metric, AbstractNeighborMetric) else OF_A_MEAN
    return law(means["n"].tolist(), means["half_width"].tolist(), expected)


def _laws(measured: pd.DataFrame, metric: AbstractMetric, wanted: Wanted) -> Iterator[dict[str, Any]]:
    for interval, rows in measured.groupby("interval", sort=False) if len(measured) else ():
        try:
            found = law_of(rows, metric)
            items = None if wanted.half_width is None else found.items(wanted.half_width)
        except Undefined as error:
            logger.warning("plan: %s: %s", interval, error)
            continue
        largest = int(rows["n"].max())
        ahead = {f"at_{times}n": found.half_width(times * largest) for times in (1, 4, 16)}
        yield {"interval": str(interval), "slope": found.slope, "error": found.error, **ahead, "items": items}


# --- what it costs ------------------------------------------------------------------------------------------------------------


def _comparing(measured: pd.DataFrame, n: int, wanted: Wanted) -> dict[str, Any]:
    """Seconds of comparing alone, without permutations; the error is that of predicting the pilot from its halves and quarters."""
    if measured.empty:
        return {"compare_seconds": None, "compare_error": None}
    seconds = measured.groupby("n")["seconds"].mean()
    sizes, values = seconds.index.to_numpy(dtype=float), seconds.to_numpy()
    error = abs(_power(sizes[:-1], values[:-1], int(sizes[-1])) / values[-1] - 1) if len(sizes) > 2 else None
    return {"compare_seconds": wanted.runs * _power(sizes, values, n), "compare_error": error}


def _power(n: np.ndarray, seconds: np.ndarray, at: int) -> float:
    """Least squares of log seconds on log n, no steeper than the square: comparing all items with all costs no more."""
    slope = np.polyfit(np.log(n), np.log(seconds), 1)[0] if len(n) > 1 else 1.0
    slope = min(max(float(slope), 0.0), 2.0)
    return float(np.exp(np.mean(np.log(seconds) - slope * np.log(n)) + slope * math.log(at)))


def _extracting(plan: Plan, n: int, wanted: Wanted) -> dict[str, Any]:
    """Of models like the sides' own: bytes on disk of all, of memory of the largest, and the seconds that this machine takes."""
    sides = [side for side in plan.sides.values() if isinstance(side, Side)]
    if not sides:
        return {"disk_bytes": None, "memory_bytes": None, "extract_seconds": None, "extract_error": None}
    extractor = plan.extractor
    disk, memory, seconds, errors = [], [], [], []
    for side in sides:
        needs = side.needs(nll=extractor.nll)
        size = extractor.held.size(side.model, extractor.store, extractor.device, needs)
        expected = preflight.estimate(
            size,
            texts=n,
            shard=256,
            poolings=len(extractor.poolings),
            signatures=n * extractor.signature_bytes,
            batch_tokens=extractor.batching.tokens,
            device=extractor.device,
            dtype=getattr(torch, side.model.dtype),
            nll=extractor.nll,
            held=False,
        )
        disk.append(expected.disk)
        memory.append(expected.memory)
        if wanted.time:
            each, error = _seconds_a_text(plan, side)
            seconds.append(each * n)
            errors.append(error)
    return {
        "disk_bytes": int(np.mean(disk) * wanted.models),
        "memory_bytes": int(max(memory)),
        "extract_seconds": float(np.mean(seconds) * wanted.models) if seconds else None,
        "extract_error": float(max(errors)) if errors else None,
    }


def _seconds_a_text(plan: Plan, side: Side) -> tuple[float, float]:
    """Of two samples of texts, after one that is not counted; the error is how far the two lie from their mean."""
    from layeratlas.extraction.forward import Texts, unchecked  # transformers takes seconds to import

    extractor = plan.extractor
    model = extractor.held.load(side.model, extractor.store, extractor.device, side.needs(nll=extractor.nll))
    size = max(1, min(_TIMED, len(side.texts) // 2))
    samples = [side.texts[:size], side.texts[-size:]]
    spent = []
    for texts in (samples[0][:4], *samples):
        some = Texts(texts, model.encoder.encode(texts, None))
        start = time.perf_counter()
        unchecked(model, some, extractor.poolings, extractor.batching, lambda texts, tokens: None)
        spent.append((time.perf_counter() - start) / len(texts))
    mean = float(np.mean(spent[1:]))
    return mean, abs(spent[1] - mean) / mean


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    return pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4f}") if rows else "none"


def _lines(costs: Mapping[str, Any]) -> Iterator[str]:
    yield f"for n = {costs['n']}, {costs['runs']} runs of {costs['models']} models with languages like these:"
    if costs["compare_seconds"] is not None:
        yield f"comparing, null not counted: some {preflight.duration(costs['compare_seconds'])}{_error(costs['compare_error'])}"
    if costs["disk_bytes"] is not None:
        disk, memory = (costs[f"{what}_bytes"] / 1e9 for what in ("disk", "memory"))
        yield f"extraction: {disk:.2f} GB on disk; {memory:.2f} GB of memory for the largest model"
    if costs["extract_seconds"] is not None:
        yield f"extraction on this machine: some {preflight.duration(costs['extract_seconds'])}{_error(costs['extract_error'])}"


def _error(error: float | None) -> str:
    return "" if error is None else f" (error of this cost model on the pilot {error:.0%})"
