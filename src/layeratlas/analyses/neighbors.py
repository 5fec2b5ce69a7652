"""Whose neighbourhoods do two layers agree on, and on whose not?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats

from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric
from layeratlas.metrics.nearest import Listed
from layeratlas.metrics.shared_neighbors import shared_by_item
from layeratlas.options import Positive
from layeratlas.statistics.diagonal import monotone_match

_ROUNDING = 1e-9  # of a count of common neighbours


class _Cell(NamedTuple):
    """Two layers, and of each item how many of its neighbours both share, and p of as many or more (NaN where ties decide)."""

    i: int
    j: int
    shared: np.ndarray
    p: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Neighbors(AbstractAnalysis):
    """Item by item: how many of a text's k nearest are the same in two layers, and which.

    The layers are those of the best path: each block of a with its match in b if depth never runs backwards; or `cells`, a list
    of [layer of a, layer of b]. p of an item is exact for it alone: once partners are dealt out at random, its neighbours in b are
    any k of the n - 1 others, so that the number of common ones is hypergeometric. Items are not independent, so that the number
    of items with a small p is compared with what chance gives, and has no p of its own.

    `neighbors`: a row per cell; hubness is the skewness of how many lists a text is on (Radovanovic, Nanopoulos and Ivanovic,
    2010): a few texts that are near all others make lists alike. `neighbors_items`: per cell and item. `neighbors_counts`: how
    many items share how many neighbours, and how many of them chance would give. `neighbors_extremes`: the `extremes` items whose
    neighbourhoods agree most and least, and who their neighbours are, nearest first. All lists are in neighbors.npz.
    """

    cells: Sequence[Sequence[str]] | None
    extremes: Positive

    def require(self, metric: AbstractMetric, n: int) -> None:
        if not isinstance(metric, AbstractNeighborMetric):
            raise ConfigError(
                f"analysis.neighbors: {metric.name} keeps no lists of neighbours; metric=mutual_knn does, and analysis=[influence]"
                " says for any metric which items carry its value"
            )
        if self.cells is not None and not (self.cells and all(len(cell) == 2 for cell in self.cells)):
            raise ConfigError(
                "analysis.neighbors.cells: expected null or pairs such as [[block_3,block_2]], a layer of a and one of b"
            )

    def __call__(self, comparison: Comparison) -> Findings:
        metric, affinity = comparison.signer.metric, comparison.affinity
        if not isinstance(metric, AbstractNeighborMetric):
            raise Undefined(f"{metric.name} keeps no lists of neighbours")
        places = self._places(comparison)
        pairs = [(i, j, affinity.signatures_a[i], affinity.signatures_b[j]) for i, j in places]
        found = [_Cell(i, j, *_of_items(x, y, metric)) for i, j, x, y in pairs]
        tables = [
            pd.concat([pd.DataFrame(rows) for rows in of], ignore_index=True)
            for of in zip(*(self._tables(cell, comparison, metric) for cell in found), strict=True)
        ]
        parts: dict[str, pd.DataFrame] = dict(zip(("items", "counts", "extremes"), tables[1:], strict=True))
        best = tables[0].iloc[int(tables[0]["shared"].to_numpy().argmax())]
        numbers = {"k": metric.k, "cells": len(found), "best": {str(key): _plain(value) for key, value in best.items()}}
        sentence = _sentence(
            best, metric.k, comparison.inference.alpha, among="on the best path" if self.cells is None else "of these cells"
        )
        return Findings(tables[0], parts, numbers, sentences=[sentence])

    def _places(self, comparison: Comparison) -> list[tuple[int, int]]:
        affinity = comparison.affinity
        if self.cells is not None:
            return [(_place(a, affinity.layers_a, "a"), _place(b, affinity.layers_b, "b")) for a, b in self.cells]
        blocks, same = affinity.blocks(), set(comparison.same_layers())
        matches = [blocks.layers_b[j] for j in monotone_match(blocks.matrix)]
        pairs = [(a, b) for a, b in zip(blocks.layers_a, matches, strict=True) if not (a == b and a in same)]
        if not pairs:
            raise Undefined(
                "both sides hold the same vectors, so that every neighbourhood agrees by construction; cells=[..] names others"
            )
        return [(affinity.layers_a.index(a), affinity.layers_b.index(b)) for a, b in pairs]

    def _tables(self, cell: _Cell, comparison: Comparison, metric: AbstractNeighborMetric) -> tuple[Any, ...]:
        """The rows of one cell, for each of the tables."""
        affinity, k = comparison.affinity, metric.k
        layers = {"layer_a": affinity.layers_a[cell.i], "layer_b": affinity.layers_b[cell.j]}
        ids = comparison.items["id"].astype(str).to_numpy()
        sides = affinity.signatures_a[cell.i], affinity.signatures_b[cell.j]
        law, alpha = _law(affinity.n, k), comparison.inference.alpha
        depths = {"depth_a": affinity.depth_a[cell.i], "depth_b": affinity.depth_b[cell.j]}
        summary = (
            layers
            | depths
            | _summary(cell, law, k, alpha)
            | dict(zip(("hubness_a", "hubness_b"), map(_hubness, sides, (k, k)), strict=True))
        )
        counts = np.bincount(np.rint(cell.shared).astype(int), minlength=k + 1)
        numbers = np.arange(k + 1)
        return (
            [summary],
            layers | {"id": ids, "shared": cell.shared, "p": cell.p},
            layers | {"shared": numbers, "items": counts, "chance": affinity.n * law.pmf(numbers)},
            [layers | row for row in self._extremes(cell, sides, ids, k)],
        )

    def _extremes(self, cell: _Cell, sides: tuple[Listed, Listed], ids: np.ndarray, k: int) -> Iterator[dict[str, Any]]:
        order = np.argsort(-cell.shared, kind="stable")
        chosen = {"most": order[: self.extremes], "least": order[::-1][: self.extremes]}
        lists = [side.indices[:, :k].cpu().numpy() for side in sides]
        for which, items in chosen.items():
            for rank, item in enumerate(items.tolist(), 1):
                a, b = (of[item].tolist() for of in lists)
                parts = {
                    "both": [x for x in a if x in b],
                    "only_a": [x for x in a if x not in b],
                    "only_b": [x for x in b if x not in a],
                }
                named = {key: ids[some].tolist() for key, some in parts.items()}
                yield {"agree": which, "rank": rank, "id": ids[item], "shared": cell.shared[item]} | named


def _of_items(x: Listed, y: Listed, metric: AbstractNeighborMetric) -> tuple[np.ndarray, np.ndarray]:
    shared = shared_by_item(x, y, metric.k).cpu().numpy()
    tied = (metric.tied(x) | metric.tied(y)).cpu().numpy()
    p = _law(len(shared), metric.k).sf(np.rint(shared) - 1)
    return shared, np.where(tied, np.nan, p)


def _law(n: int, k: int) -> Any:
    """How many of k neighbours are the same if the other k are drawn from the n - 1 other items."""
    return stats.hypergeom(n - 1, k, k)


def _summary(cell: _Cell, law: Any, k: int, alpha: float) -> dict[str, float]:
    """Shares of items beside what chance gives; those of small p over the items whose lists no tie decides."""
    numbers = np.arange(k + 1)
    small = law.sf(numbers - 1) <= alpha
    tested = cell.p[np.isfinite(cell.p)]
    return {
        "shared": float(cell.shared.mean()),
        "shared_chance": float(law.mean()),
        "none_share": float((cell.shared < _ROUNDING).mean()),
        "none_share_chance": float(law.pmf(0)),
        "small_p_share": float((tested <= alpha).mean()) if len(tested) else np.nan,
        "small_p_share_chance": float(law.pmf(numbers)[small].sum()),
    }


def _hubness(side: Listed, k: int) -> float:
    """Skewness of the number of lists that an item is on; 0 where all are on as many."""
    n = len(side.indices)
    counted = torch.bincount(side.indices[:, :k].reshape(-1).long().cpu(), minlength=n).double()
    spread = counted - counted.mean()
    variance = spread.square().mean()
    return float((spread**3).mean() / variance**1.5) if variance > 0 else 0.0


def _place(layer: str, layers: Sequence[str], side: str) -> int:
    if layer not in layers:
        raise ConfigError(f"analysis.neighbors.cells: side {side} has no layer {layer!r}; there are {', '.join(layers)}")
    return layers.index(layer)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _sentence(best: pd.Series, k: int, alpha: float, *, among: str) -> str:
    sentence = (
        f"of a text's {k} nearest texts, {best['shared']:.1f} are the same in a {best['layer_a']} and b {best['layer_b']}"
        f" (chance {best['shared_chance']:.2g}), the most {among}"
    )
    if np.isnan(best["small_p_share"]):
        return sentence
    return (
        f"{sentence}; {best['small_p_share']:.0%} of texts share more than chance gives at the level {alpha:g}"
        f" ({best['small_p_share_chance']:.1%} would by chance), {best['none_share']:.0%} share none"
        f" (by chance {best['none_share_chance']:.0%})"
    )
