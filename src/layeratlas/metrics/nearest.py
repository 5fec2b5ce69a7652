"""Who is near whom: each item's nearest other items, from the nearest to the farthest.

An item is never its own neighbour, even where it has duplicates, and of equally near items the one that comes first is nearer.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations

Neighbors = Int[Tensor, "n k"]

_ROWS = 1024
COSINE_INVARIANCES = frozenset({"rotation", "scale", "item_scale", "feature_permutation"})


class Listed(NamedTuple):
    """Each item's nearest other items and how similar they are, nearest first."""

    indices: Neighbors
    similarities: Float[Tensor, "n k"]


class Nearest(abc.ABC):
    """A rule for who is near whom, with the transformations that it does not notice."""

    name: str
    invariances: frozenset[str]

    @abc.abstractmethod
    def __call__(self, x: LayerActivations, k: int) -> Listed:
        """Each item's k nearest other items."""


@dataclass(frozen=True)
class CosineNeighbors(Nearest):
    """By cosine similarity."""

    name = "cosine"
    invariances = COSINE_INVARIANCES

    def __call__(self, x: LayerActivations, k: int) -> Listed:
        unit = unit_vectors(x)
        return _nearest(lambda block: unit[block] @ unit.T, len(x), k)


@dataclass(frozen=True)
class EuclideanNeighbors(Nearest):
    """By Euclidean distance; similarities are minus half the squared distance, in a scale of their own."""

    name = "Euclidean"
    invariances = frozenset({"rotation", "scale", "translation", "feature_permutation"})

    def __call__(self, x: LayerActivations, k: int) -> Listed:
        x = x - x.mean(dim=0)
        x = x / x.abs().max()
        half = x.square().sum(dim=1) / 2
        return _nearest(lambda block: x[block] @ x.T - half - half[block, None], len(x), k)


def unit_vectors(x: LayerActivations) -> LayerActivations:
    largest = x.abs().amax(dim=1, keepdim=True)  # squares of very large or small values leave the range of float32
    if bool((largest == 0).any()):
        raise ValueError(f"item {int((largest == 0).nonzero()[0, 0])} is the zero vector, which has no direction")
    return torch.nn.functional.normalize(x / largest, dim=1)


def _nearest(rows: Callable[[slice], Float[Tensor, "rows n"]], n: int, k: int) -> Listed:
    """By blocks of rows, which keeps the memory at O(n), not O(n^2)."""
    listed = [_nearest_of(rows(slice(start, start + _ROWS)), start, k) for start in range(0, n, _ROWS)]
    return Listed(*(torch.cat(parts) for parts in zip(*listed, strict=True)))


def _nearest_of(similarity: Float[Tensor, "rows n"], start: int, k: int) -> Listed:
    own = torch.arange(len(similarity), device=similarity.device)
    similarity[own, start + own] = -torch.inf
    values, indices = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    indices[tied] = similarity[tied].sort(dim=1, descending=True, stable=True).indices[:, : indices.shape[1]]
    return Listed(indices[:, :k].int(), values[:, :k])
