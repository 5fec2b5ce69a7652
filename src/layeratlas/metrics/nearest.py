"""Who is near whom: each item's nearest other items, from the nearest to the farthest.

An item is never its own neighbour, even where it has duplicates. Items whose distances differ by no more than the rounding of the
arithmetic are equally near: they have the same similarity, and stand in the order of the items, which means nothing.
"""

import abc
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.metrics.directions import differing, directions

Neighbors = Int[Tensor, "n k"]

_ROWS = 1024
_ROUNDING = 8.0  # errors of a product of two vectors, in units of the precision times the product of their norms
_ENTRIES = 2**22  # of one layer's lists, where equally near items make them long: 32 MB
COSINE_INVARIANCES = frozenset({"rotation", "scale", "item_scale", "feature_permutation"})


class Listed(NamedTuple):
    """Each item's nearest other items and how similar they are, nearest first.

    Equally near items have equal similarities. All that are as near as the last of the k nearest are listed as well; shorter
    rows are filled up with the item itself, at a similarity of minus infinity.
    """

    indices: Neighbors
    similarities: Float[Tensor, "n k"]

    @property
    def length(self) -> int:
        """How many neighbours every item has at least."""
        return int(self.similarities.isfinite().sum(dim=1).min())


class Nearest(abc.ABC):
    """A rule for which items are near each other, with the transformations that it does not notice."""

    name: str
    invariances: frozenset[str]
    own_kernel: float  # the kernel of an item with itself, of which a similarity is what is taken away

    @abc.abstractmethod
    def vectors(self, x: LayerActivations) -> LayerActivations:
        """Vectors of mean 0 whose squared distances rank the neighbours."""

    def __call__(self, x: LayerActivations, k: int) -> Listed:
        """Each item's k nearest other items, and those as near as the last; similarities are minus half the squared distance.

        Where equally near items would make the lists too long for memory, a random sample stands for all of them, drawn for each
        item anew by a seed that is the layer's own: shares of credit stay what they are in the mean.
        """
        return _nearest(self.vectors(x), k)


@dataclass(frozen=True)
class CosineNeighbors(Nearest):
    """By cosine similarity, of which 1 is taken away: minus half the squared distance of unit vectors."""

    name = "cosine"
    invariances = COSINE_INVARIANCES
    own_kernel = 1.0

    def vectors(self, x: LayerActivations) -> LayerActivations:
        return differing(directions(x))


@dataclass(frozen=True)
class EuclideanNeighbors(Nearest):
    """By Euclidean distance, in a scale of its own."""

    name = "Euclidean"
    invariances = frozenset({"rotation", "scale", "translation", "feature_permutation"})
    own_kernel = 0.0

    def vectors(self, x: LayerActivations) -> LayerActivations:
        x = x - x.mean(dim=0)
        return x / x.abs().max()


def rounding(half_squares: Float[Tensor, "..."], others: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """What half the squared distance of two vectors may be off by, given half of either's square."""
    return _ROUNDING * torch.finfo(half_squares.dtype).eps * (half_squares + others)


def _nearest(x: LayerActivations, k: int) -> Listed:
    """By blocks of rows, which keeps the memory at O(n), not O(n^2)."""
    half = x.square().sum(dim=1) / 2
    parts = []
    for start in range(0, len(x), _ROWS):
        block = slice(start, start + _ROWS)
        similarity = torch.addmm(-half, x[block], x.T)  # half the item's own square, the same for all others, comes off later
        similarity.diagonal(offset=start).fill_(-torch.inf)
        parts.append(_nearest_of(similarity, half[block, None], half, k))
    return _together(parts, x)


class _Block(NamedTuple):
    """Some items' k nearest others, those items among them that have ties, and their lists as far as the last tie reaches."""

    nearest: Listed
    tied: Int[Tensor, " tied"]
    whole: Listed | None


def _nearest_of(similarity: Float[Tensor, "rows n"], own: Float[Tensor, "rows 1"], half: Float[Tensor, " n"], k: int) -> _Block:
    """Whole rows are sorted only where a tie reaches beyond the k-th place."""
    values, indices = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    values, noise = values - own, rounding(own, half[indices])
    near = values[:, :-1] - values[:, 1:] <= noise[:, 1:]
    within = near[:, : k - 1].any(dim=1).nonzero()[:, 0]
    beyond = near[:, k - 1].nonzero()[:, 0]
    listed = Listed(indices[:, :k].int(), torch.where(values > -noise, 0.0, values)[:, :k].contiguous())
    if len(within):
        of_some = _with_ties(values[within], indices[within], noise[within], k)
        listed.indices[within], listed.similarities[within] = of_some.indices[:, :k], of_some.similarities[:, :k]
    if not len(beyond):
        return _Block(listed, beyond, None)
    values, indices = similarity[beyond].sort(dim=1, descending=True)
    noise = rounding(own[beyond], half[indices])
    return _Block(listed, beyond, _with_ties(values - own[beyond], indices, noise, k))


def _with_ties(values: Float[Tensor, "rows m"], indices: Int[Tensor, "rows m"], noise: Float[Tensor, "rows m"], k: int) -> Listed:
    """Lists that end with the last item as near as the k-th; -1 at minus infinity fills up what is shorter."""
    values = torch.where(values > -noise, 0.0, values)
    new = torch.ones_like(values, dtype=torch.bool)
    new[:, 1:] = values[:, :-1] - values[:, 1:] > noise[:, 1:]
    run, most = new.cumsum(dim=1), int(indices.max()) + 1
    starts = torch.where(new, torch.arange(new.shape[1], device=new.device), 0).cummax(dim=1).values
    indices = (run * most + indices).sort(dim=1).values - run * most
    listed = run <= run[:, k - 1 : k]
    width = int(listed.sum(dim=1).max())
    values = torch.where(listed, values.gather(1, starts), -torch.inf)[:, :width]
    return Listed(torch.where(listed, indices, -1)[:, :width].int(), values)


def _together(blocks: list[_Block], x: LayerActivations) -> Listed:
    n, k = len(x), blocks[0].nearest.indices.shape[1]
    width, most = max(block.whole.indices.shape[1] if block.whole else k for block in blocks), max(2 * k, _ENTRIES // n)
    generator = torch.Generator().manual_seed(zlib.crc32(x.cpu().numpy().tobytes())) if width > most else None
    indices = torch.arange(n, device=x.device, dtype=torch.int32)[:, None].repeat(1, min(width, most))
    similarities = torch.full(indices.shape, -torch.inf, dtype=x.dtype, device=x.device)
    start = 0
    for nearest, tied, whole in blocks:
        rows = slice(start, start + len(nearest.indices))
        indices[rows, :k], similarities[rows, :k] = nearest
        if whole:
            listed = _sampled(whole, most, k, generator) if generator else whole
            columns = slice(0, listed.indices.shape[1])
            indices[start + tied, columns] = torch.where(listed.indices < 0, indices[start + tied, columns], listed.indices)
            similarities[start + tied, columns] = listed.similarities
        start = rows.stop
    return Listed(indices, similarities)


def _sampled(listed: Listed, width: int, k: int, generator: torch.Generator) -> Listed:
    """Of those as near as the k-th, no more than `width` places hold, each equally likely."""
    last = listed.similarities == listed.similarities[:, k - 1 : k]
    lots = torch.rand(last.shape, generator=generator).to(last.device)
    lots = torch.where(last, lots, torch.where(listed.indices >= 0, -1.0, 2.0))
    places = lots.argsort(dim=1, stable=True)[:, :width].sort(dim=1).values
    return Listed(listed.indices.gather(1, places), listed.similarities.gather(1, places))
