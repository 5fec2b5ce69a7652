"""Cosine similarities compared with each other, item by item, over neighbours of either layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.metrics.base import About, AbstractMetric, Doubt, checked
from layeratlas.metrics.directions import unit_vectors
from layeratlas.metrics.nearest import COSINE_INVARIANCES, Listed
from layeratlas.metrics.neighbors import MutualKNN
from layeratlas.metrics.ties import credited

_ROWS = 256
_ALIKE = 0.999  # mean cosine of an item's similarities with a constant

NEARLY_CONSTANT = (
    "each item is nearly as similar to all its neighbours, so that its similarities point the same way in any such layer: values"
    " near 1 then say nothing of the neighbours (metric=mutual_knn does)"
)


class Pointed(NamedTuple):
    """Neighbour lists and the unit vectors that they were found from."""

    listed: Listed
    unit: LayerActivations


@dataclass(frozen=True)
class SecondOrderCosine(AbstractMetric[Pointed]):
    """Cosine of each item's similarities to the neighbours that it has in either layer (Hamilton et al., 2016, eq. 3).

    Where items are equally near, each counts by the probability that it is listed in either layer once ties are broken.
    """

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

    def diagnose(self, signature: Pointed) -> Doubt | None:
        """Where similarities hardly vary, two layers' are vectors along the same diagonal, whoever the neighbours are."""
        if doubt := self._neighbors.diagnose(signature.listed):
            return doubt
        near, unit = signature.listed.indices[:, : self.k].long(), signature.unit
        rows = torch.arange(len(unit), device=unit.device).split(_ROWS)
        similar = torch.cat([(unit[block] @ unit.T).gather(1, near[block]) for block in rows]).double()
        constant = similar.mean(dim=1) / similar.square().mean(dim=1).sqrt()
        return Doubt(NEARLY_CONSTANT) if constant.mean() > _ALIKE else None

    def affinity(self, a: Sequence[Pointed], b: Sequence[Pointed]) -> AffinityMatrix:
        n, total = self.items(a[0]), torch.zeros(len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            of_a, of_b = ([(_similarities(layer, rows), self._absent(layer, rows)) for layer in side] for side in (a, b))
            for i, (similar_a, absent_a) in enumerate(of_a):
                for j, (similar_b, absent_b) in enumerate(of_b):
                    weights = (1 - absent_a * absent_b).sqrt_()
                    cosines = torch.cosine_similarity(similar_a * weights, similar_b * weights, dim=1)
                    total[i, j] += cosines.double().sum()
        return total / n

    def _absent(self, layer: Pointed, rows: slice) -> Float[Tensor, "rows n"]:
        """The probability that an item is not among the neighbours."""
        listed = credited(layer.listed, self.k)
        absent = layer.unit.new_ones(len(layer.unit[rows]), len(layer.unit))
        return absent.scatter_(1, listed.indices[rows].long(), 1 - listed.credits[rows].to(absent.dtype))


def _similarities(layer: Pointed, rows: slice) -> Float[Tensor, "rows n"]:
    return layer.unit[rows] @ layer.unit.T
