"""Signatures of both sides' layers to their affinity matrix, with what chance alone would give."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import Activations
from layeratlas.metrics.base import AbstractMetric
from layeratlas.signatures import Signer
from layeratlas.statistics import Inference
from layeratlas.statistics.nulls import null_of
from layeratlas.statistics.resampling import jackknife_interval

Matrix = Float[np.ndarray, "layers_a layers_b"]
Matrices = Float[np.ndarray, "_ layers_a layers_b"]


@dataclass(frozen=True)
class Affinity:
    """Layers of a (rows) against layers of b (columns). `depth` is NaN for layers that are no blocks.

    `inferred` holds what `infer` makes of each cell, by the names of the columns of affinity.parquet. `null_draws` are whole
    matrices with the items of b in random orders, `left_out` those without each group of items in turn; None: not computed.
    """

    matrix: Matrix
    chance: Matrix
    layers_a: list[str]
    layers_b: list[str]
    depth_a: list[float]
    depth_b: list[float]
    n: int
    signatures_a: Sequence[Any]
    signatures_b: Sequence[Any]
    inferred: dict[str, Matrix] = field(default_factory=dict)
    null_draws: Matrices | None = None
    left_out: Matrices | None = None
    inference: Inference | None = None

    def blocks(self) -> "Affinity":
        """The part of the matrix that has a depth, without `embed` and `final_norm`."""
        rows, columns = ([i for i, depth in enumerate(depths) if math.isfinite(depth)] for depths in (self.depth_a, self.depth_b))
        return replace(
            self._mapped(lambda matrices: matrices[..., np.array(rows)[:, None], np.array(columns)]),
            layers_a=[self.layers_a[i] for i in rows],
            layers_b=[self.layers_b[j] for j in columns],
            depth_a=[self.depth_a[i] for i in rows],
            depth_b=[self.depth_b[j] for j in columns],
            signatures_a=[self.signatures_a[i] for i in rows],
            signatures_b=[self.signatures_b[j] for j in columns],
        )

    def transposed(self) -> "Affinity":
        return replace(
            self._mapped(lambda matrices: np.swapaxes(matrices, -1, -2)),
            layers_a=self.layers_b,
            layers_b=self.layers_a,
            depth_a=self.depth_b,
            depth_b=self.depth_a,
            signatures_a=self.signatures_b,
            signatures_b=self.signatures_a,
        )

    def _mapped(self, of: Callable[[np.ndarray], np.ndarray]) -> "Affinity":
        """The same done to every array whose last two axes are the layers."""
        return replace(
            self,
            matrix=of(self.matrix),
            chance=of(self.chance),
            inferred={name: of(values) for name, values in self.inferred.items()},
            null_draws=None if self.null_draws is None else of(self.null_draws),
            left_out=None if self.left_out is None else of(self.left_out),
        )


def affinity_matrix(
    metric: AbstractMetric, layers_a: Sequence[Tensor | np.ndarray], layers_b: Sequence[Tensor | np.ndarray]
) -> Float[np.ndarray, "layers_a layers_b"]:
    """Similarity of each layer of a with each of b.

    A layer is an (n, d) array; n and the order of the items must agree everywhere, d need not. Raises ValueError for layers
    without a defined similarity.
    """
    tensors_a, tensors_b = ([_tensor(x) for x in layers] for layers in (layers_a, layers_b))
    _require_same_items(tensors_a, tensors_b)
    return metric.affinity([metric.signature(x) for x in tensors_a], [metric.signature(x) for x in tensors_b]).cpu().numpy()


def compare(signer: Signer, a: Activations, b: Activations) -> Affinity:
    """Affinity and chance of all layer pairs of two sides."""
    if a.n != b.n:
        raise ValueError(f"both sides must hold the same items; got {a.n} and {b.n}")
    metric = signer.metric
    signatures_a = signer(a, "a")
    signatures_b = signatures_a if b is a else signer(b, "b")
    return Affinity(
        matrix=metric.affinity(signatures_a, signatures_b).cpu().numpy(),
        chance=metric.chance(signatures_a, signatures_b).mean.cpu().numpy(),
        layers_a=a.names,
        layers_b=b.names,
        depth_a=a.depths,
        depth_b=b.depths,
        n=a.n,
        signatures_a=signatures_a,
        signatures_b=signatures_b,
    )


def diagnoses(metric: AbstractMetric, affinity: Affinity) -> list[str]:
    """What makes values doubtful, one line for each side and trouble, which names the layers that have it."""
    sides = {"a": (affinity.layers_a, affinity.signatures_a)}
    if affinity.signatures_b is not affinity.signatures_a:
        sides["b"] = (affinity.layers_b, affinity.signatures_b)
    found: dict[tuple[str, str], list[str]] = {}
    for side, (layers, signatures) in sides.items():
        for layer, signature in zip(layers, signatures, strict=True):
            if trouble := metric.diagnose(signature):
                found.setdefault((side, trouble), []).append(layer)
    return [f"metric {metric.name}, side {side}, {', '.join(layers)}: {trouble}" for (side, trouble), layers in found.items()]


def with_null(metric: AbstractMetric, affinity: Affinity, inference: Inference, groups: Sequence[str], seed: int) -> Affinity:
    """Add the null of each cell: its items of b in random orders, the same for all layers."""
    if not inference.permutations:
        return affinity
    orders = torch.from_numpy(inference.orders(groups, seed))
    draws = metric.permuted_affinity(affinity.signatures_a, affinity.signatures_b, orders).cpu().numpy()
    about = metric.about
    maximum = about.bounds[1] if about.self_value == about.bounds[1] and math.isfinite(about.bounds[1]) else None
    null = null_of(affinity.matrix, draws, alpha=inference.alpha, maximum=maximum)
    found = {name: values for name, values in vars(null).items() if values is not None}
    return replace(affinity, inferred=affinity.inferred | found, null_draws=draws, inference=inference)


def with_intervals(metric: AbstractMetric, affinity: Affinity, inference: Inference, groups: Sequence[str]) -> Affinity:
    """Add an interval for each cell, from leaving out each group of items in turn. Raises ValueError if a metric cannot."""
    if not inference.groups:
        return affinity
    subsets = [torch.from_numpy(kept) for kept in inference.subsets(groups)]
    left_out = metric.subset_affinity(affinity.signatures_a, affinity.signatures_b, subsets).cpu().numpy()
    low, high = jackknife_interval(affinity.matrix, left_out, level=inference.level, bounds=metric.about.bounds)
    inferred = affinity.inferred | {"ci_low": low, "ci_high": high}
    return replace(affinity, inferred=inferred, left_out=left_out, inference=inference)


def _require_same_items(layers_a: Collection[Tensor], layers_b: Collection[Tensor]) -> None:
    if not layers_a or not layers_b:
        raise ValueError("expected at least one layer on each side")
    if len(counts := {len(x) for x in [*layers_a, *layers_b]}) != 1:
        raise ValueError(f"all layers must hold the same items; got layers of {' and '.join(map(str, sorted(counts)))} items")


def _tensor(x: Tensor | np.ndarray) -> Tensor:
    return x if isinstance(x, Tensor) else torch.tensor(np.ascontiguousarray(x))  # maps and views are read-only or strided
