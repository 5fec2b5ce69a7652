"""Cosine similarities compared with each other, item by item, over neighbours of either layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.metrics.base import About, AbstractMetric, checked
from layeratlas.metrics.nearest import COSINE_INVARIANCES, Listed, unit_vectors
from layeratlas.metrics.neighbors import MutualKNN

_ROWS = 256


class Pointed(NamedTuple):
    """Neighbour lists and the unit vectors that they were found from."""

    listed: Listed
    unit: LayerActivations


@dataclass(frozen=True)
class SecondOrderCosine(AbstractMetric[Pointed]):
    """Cosine of each item's similarities to the neighbours that it has in either layer (Hamilton et al., 2016, eq. 3)."""

    k: int

    about = About(
        name="second_order_cosine",
        definition="cosine of an item's cosine similarities to all its neighbours in either layer, averaged over items",
        estimator="mean over items, cosine neighbour lists",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="by permutation: high, as similarities are mostly positive",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n² (d + k) a pair of models",
        source="Hamilton et al. 2016",
    )

    @property
    def min_n(self) -> int:
        return self._neighbors.min_n

    @property
    def _neighbors(self) -> MutualKNN:
        return MutualKNN(self.k)

    def signature(self, x: LayerActivations) -> Pointed:
        x = checked(x, self.min_n)
        return Pointed(self._neighbors.signature(x), unit_vectors(x))

    def items(self, signature: Pointed) -> int:
        return len(signature.unit)

    def permuted(self, signature: Pointed, order: Int[Tensor, " n"]) -> Pointed:
        return Pointed(self._neighbors.permuted(signature.listed, order), signature.unit[order.to(signature.unit.device)])

    def subset(self, signature: Pointed, kept: Int[Tensor, " m"]) -> Pointed:
        return self.signature(signature.unit[kept.to(signature.unit.device)])

    def affinity(self, a: Sequence[Pointed], b: Sequence[Pointed]) -> AffinityMatrix:
        n, total = self.items(a[0]), torch.zeros(len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            similar = [[layer.unit[rows] @ layer.unit.T for layer in side] for side in (a, b)]
            for i, x in enumerate(a):
                for j, y in enumerate(b):
                    near = torch.zeros(len(similar[0][i]), n, dtype=torch.bool, device=x.unit.device)
                    for layer in (x, y):
                        near.scatter_(1, layer.listed.indices[rows].long(), True)
                    seen_a, seen_b = similar[0][i] * near, similar[1][j] * near
                    total[i, j] += torch.cosine_similarity(seen_a, seen_b, dim=1).double().sum()
        return total / n
