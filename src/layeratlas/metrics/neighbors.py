"""Similarities of neighbourhoods: who is near whom."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import AbstractMetric, checked

Neighbors = Int[Tensor, "n k"]

_ROWS = 1024


def cosine_neighbors(x: LayerActivations, k: int) -> Neighbors:
    """Each item's k nearest other items by cosine similarity, nearest first.

    The item itself never counts, even where it has duplicates. Of equally near items the one that comes first is nearer.
    Row blocks keep the memory at O(n), not O(n^2).
    """
    largest = x.abs().amax(dim=1, keepdim=True)  # squares of very large or small values leave the range of float32
    if bool((largest == 0).any()):
        raise ValueError(f"item {int((largest == 0).nonzero()[0, 0])} is the zero vector, which has no direction")
    x = torch.nn.functional.normalize(x / largest, dim=1)
    return torch.cat([_nearest(x, start, k) for start in range(0, len(x), _ROWS)])


def _nearest(x: LayerActivations, start: int, k: int) -> Int[Tensor, "rows k"]:
    similarity = x[start : start + _ROWS] @ x.T
    own = torch.arange(len(similarity), device=x.device)
    similarity[own, start + own] = -torch.inf
    values, indices = similarity.topk(min(k + 1, len(x)), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    indices[tied] = similarity[tied].sort(dim=1, descending=True, stable=True).indices[:, : indices.shape[1]]
    return indices[:, :k]


@dataclass(frozen=True)
class AbstractNeighborMetric(AbstractMetric[Neighbors], abc.ABC):
    """A metric whose signature is the list of each item's `k` nearest other items."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k: expected at least 1 neighbour; got {self.k}")

    @property
    def min_n(self) -> int:
        return self.k + 1

    def signature(self, x: LayerActivations) -> Neighbors:
        return cosine_neighbors(checked(x, self.min_n), self.k)


@dataclass(frozen=True)
class MutualKNN(AbstractNeighborMetric):
    """Share of k nearest neighbours that two layers have in common, averaged over items; in [0, 1].

        M = 1 / (n k) * sum_i |N_a(i) & N_b(i)|

    with cosine neighbours (Huh et al., 2024; Wolfram and Schein, 2025, eq. 1). Invariant to rotation and isotropic scale, not to
    translation. Its mean over permutations of the items is k / (n - 1), whatever the layers.
    """

    name: ClassVar[str] = "mutual_knn"
    estimator: ClassVar[str] = "mean overlap of cosine neighbour lists"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    self_value: ClassVar[float] = 1.0
    symmetric: ClassVar[bool] = True

    def affinity(self, a: Sequence[Neighbors], b: Sequence[Neighbors]) -> AffinityMatrix:
        together = torch.stack(list(b))
        n = together.shape[1]
        counts = sum(
            torch.stack([_overlaps(layer[rows], together[:, rows], n) for layer in a])
            for rows in (slice(start, start + _ROWS) for start in range(0, n, _ROWS))
        )
        return torch.as_tensor(counts).double() / (n * self.k)

    def chance(self, a: Sequence[Neighbors], b: Sequence[Neighbors]) -> AffinityMatrix:
        return torch.full((len(a), len(b)), self.k / (len(a[0]) - 1), dtype=torch.float64)


def _overlaps(layer: Neighbors, others: Int[Tensor, "layers n k"], n: int) -> Int[Tensor, " layers"]:
    """Number of (item, neighbour) pairs that a layer shares with each of the others."""
    member = torch.zeros(len(layer), n, dtype=torch.bool, device=layer.device).scatter_(1, layer, True)
    flat = others + torch.arange(len(layer), device=layer.device)[:, None] * n
    return member.view(-1)[flat].sum(dim=(1, 2))
