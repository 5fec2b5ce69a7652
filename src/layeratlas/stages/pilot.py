"""The intervals of a run over parts of its items: what `stage=plan` extrapolates from."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch

from layeratlas.affinity.matrix import compare, with_intervals
from layeratlas.analyses import AbstractAnalysis, Comparison, Findings
from layeratlas.errors import ActivationError, ConfigError, Undefined
from layeratlas.metrics import AbstractNeighborMetric

logger = logging.getLogger(__name__)

_PARTS = (4, 2, 1)  # of the pilot's items, in so many disjoint parts
_DRAWN = 8  # times


def half_widths(analyses: Mapping[str, AbstractAnalysis], pilot: Comparison, layers: Any) -> Iterator[dict[str, Any]]:
    """A row per part of the pilot's items and interval: `part`, `n`, `interval`, `half_width`, and the seconds that the part took.

    Parts of one size are disjoint, and drawn several times: other items are then left out together, which is most of an interval's
    own noise. The number of neighbours is so large a share of the items as in the pilot, as near as whole numbers come. A part
    without an interval has a row of its time alone.
    """
    rng = np.random.default_rng([pilot.seed, 9])
    for order, parts in product([rng.permutation(len(pilot.items)) for _ in range(_DRAWN)], _PARTS):
        size = len(order) // parts
        if size < pilot.signer.metric.min_n:
            continue
        for part in range(parts):
            kept = order[part * size : (part + 1) * size]
            start = time.perf_counter()
            try:
                found = list(_intervals(analyses, pilot, kept, layers))
            except (Undefined, ConfigError, ActivationError, ValueError) as error:
                logger.warning("plan: nothing is known of %d items: %s", size, error)
                continue
            seconds = time.perf_counter() - start
            for name, width in found or [(None, float("nan"))]:
                yield {"part": part, "n": size, "interval": name, "half_width": width, "seconds": seconds}


def _intervals(
    analyses: Mapping[str, AbstractAnalysis], pilot: Comparison, kept: np.ndarray, layers: Any
) -> Iterator[tuple[str, float]]:
    """Of some items: the headline of each analysis, and the mean over layers of each statistic that has a curve."""
    part = part_of(pilot, kept)
    for name, analysis in analyses.items():
        findings = analysis(part.reading(analysis.needs.layers or layers))
        headline = findings.headline
        if headline and headline.ci_low is not None and headline.ci_high is not None:
            yield f"{name}: {headline.text}", (headline.ci_high - headline.ci_low) / 2
        yield from ((f"{name}: {statistic}, mean of layers", width) for statistic, width in _curves(name, findings))


def _curves(name: str, findings: Findings) -> Iterator[tuple[str, float]]:
    for table in findings.tables(name).values():
        if {"statistic", "layer", "ci_low", "ci_high"} <= set(table):
            widths = (table["ci_high"] - table["ci_low"]) / 2
            for statistic, of_layers in widths.groupby(table["statistic"], sort=False):
                if np.isfinite(mean := float(of_layers.mean())):
                    yield str(statistic), mean


def part_of(pilot: Comparison, kept: np.ndarray) -> Comparison:
    """The pilot over some of its items, with intervals and without a null."""
    signer = pilot.signer
    if isinstance(metric := signer.metric, AbstractNeighborMetric):
        k = max(1, round(metric.k * len(kept) / len(pilot.items)))
        signer = replace(signer, metric=replace(metric, k=k, listed=None).with_slack())
    items = torch.from_numpy(kept)
    a = pilot.a.some(items)
    b = a if pilot.b is pilot.a else pilot.b.some(items)
    table = pilot.items.iloc[kept].reset_index(drop=True)
    inference = replace(pilot.inference, permutations=0)
    of_matrix = [side.select(names) for side, names in ((a, pilot.affinity.layers_a), (b, pilot.affinity.layers_b))]
    matrix = compare(signer, of_matrix[0], of_matrix[0] if b is a else of_matrix[1])
    matrix = with_intervals(signer.metric, matrix, inference, table["group"].tolist())
    return replace(pilot, affinity=matrix, a=a, b=b, signer=signer, items=table, inference=inference)
