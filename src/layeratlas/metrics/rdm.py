"""Representational dissimilarity matrices: how far apart each two items of a layer are."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import Undefined
from layeratlas.metrics.base import centred
from layeratlas.metrics.directions import Directions, differing, directions
from layeratlas.metrics.gram import squared_distances

Pairs = Float[Tensor, " pairs"]

_ROWS = 256
PAIRS_AT_ONCE = 2**16  # what is taken of 20 layers then fits a core's cache


@dataclass(frozen=True)
class PairMatrix:
    """A symmetric matrix of n items: its `pairs` i < j row by row, and its diagonal, `own`."""

    pairs: Pairs
    own: Float[Tensor, " n"]

    @property
    def n(self) -> int:
        return len(self.own)

    def scaled(self, factor: float) -> "PairMatrix":
        return PairMatrix(self.pairs * factor, self.own * factor)

    def of(self, items: Int[Tensor, " m"]) -> "PairMatrix":
        """The matrix of some of the items, or of all in another order."""
        items = items.to(self.own.device)
        pairs = self.pairs.new_empty(len(items) * (len(items) - 1) // 2)
        starts = torch.arange(self.n, device=items.device)
        starts = starts * (2 * self.n - starts - 3) // 2 - 1  # pair (i, j) stands at starts[i] + j
        for of_rows, i, j in pair_ranges(len(items), items.device):
            first, second = items.index_select(0, i), items.index_select(0, j)
            places = starts.index_select(0, torch.minimum(first, second)) + torch.maximum(first, second)
            pairs[of_rows] = self.pairs.index_select(0, places)
        return PairMatrix(pairs, self.own[items])

    def row_sums(self) -> Float[Tensor, " n"]:
        """Sum of each row without the diagonal, in float64."""
        sums = torch.zeros(self.n, dtype=torch.float64, device=self.own.device)
        for of_rows, i, j in pair_ranges(self.n, self.own.device):
            values = self.pairs[of_rows].double()
            sums += torch.bincount(i, values, self.n) + torch.bincount(j, values, self.n)
        return sums

    def whole(self) -> Float[Tensor, "n n"]:
        upper = torch.zeros(self.n, self.n, dtype=self.pairs.dtype, device=self.own.device)
        for row, pairs in enumerate(self.pairs.split(list(range(self.n - 1, -1, -1)))):
            upper[row, row + 1 :] = pairs
        upper.diagonal().copy_(self.own / 2)
        return upper + upper.T


def pair_ranges(n: int, device: torch.device) -> Iterator[tuple[slice, Int[Tensor, " pairs"], Int[Tensor, " pairs"]]]:
    """The pairs i < j of n items by ranges of rows: where they stand among all pairs, i, and j."""
    rows, start = max(1, PAIRS_AT_ONCE // n), 0
    for row in range(0, n - 1, rows):
        i, j = torch.triu_indices(min(rows, n - row), n - row, offset=1, device=device) + row
        yield slice(start, start + len(i)), i, j
        start += len(i)


class AbstractDissimilarity(abc.ABC):
    """A dissimilarity of two items' vectors, as a function of the squared distance of vectors made from them.

    So no rounding error is larger than the spread of the items, however large what all of them have in common.
    """

    name: ClassVar[str]
    definition: ClassVar[str]
    invariances: ClassVar[frozenset[str]]

    @abc.abstractmethod
    def vectors(self, x: LayerActivations) -> LayerActivations:
        """Vectors of mean 0 whose distances count. Raises ValueError for items without a dissimilarity."""

    @abc.abstractmethod
    def from_squares(self, squared: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        """The dissimilarity, given the squared distance of the vectors."""

    def __call__(self, x: LayerActivations) -> Pairs:
        """The upper triangle of the RDM, row by row; only a range of its rows is ever whole."""
        x, n = self.vectors(x), len(x)
        pairs, filled = x.new_empty(n * (n - 1) // 2), 0
        for start in range(0, n, _ROWS):
            values = self.from_squares(squared_distances(x[start : start + _ROWS], x[start:]))
            upper = torch.cat([row[i + 1 :] for i, row in enumerate(values)])
            pairs[filled : filled + len(upper)] = upper
            filled += len(upper)
        return pairs


@dataclass(frozen=True)
class SquaredEuclideanDistance(AbstractDissimilarity):
    """|x - y|^2, up to a factor that is the same for all pairs"""

    name = "squared_euclidean"
    definition = "squared Euclidean distances"
    invariances = frozenset({"rotation", "scale", "translation", "feature_permutation"})

    def vectors(self, x: LayerActivations) -> LayerActivations:
        return centred(x)

    def from_squares(self, squared: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return squared


@dataclass(frozen=True)
class EuclideanDistance(AbstractDissimilarity):
    """|x - y|, up to a factor that is the same for all pairs"""

    name = "euclidean"
    definition = "Euclidean distances"
    invariances = SquaredEuclideanDistance.invariances

    def vectors(self, x: LayerActivations) -> LayerActivations:
        return centred(x)

    def from_squares(self, squared: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return squared.sqrt_()


@dataclass(frozen=True)
class CosineDistance(AbstractDissimilarity):
    """1 - x . y / (|x| |y|)"""

    name = "cosine"
    definition = "cosine distances"
    invariances = frozenset({"rotation", "scale", "item_scale", "feature_permutation"})

    def vectors(self, x: LayerActivations) -> LayerActivations:
        return differing(directions(x))

    def from_squares(self, squared: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return squared.div_(2)


@dataclass(frozen=True)
class CorrelationDistance(AbstractDissimilarity):
    """1 - r, with r Pearson's correlation over the dimensions of two items"""

    name = "correlation"
    definition = "correlation distances"
    invariances = frozenset({"scale", "item_scale", "feature_permutation"})

    def vectors(self, x: LayerActivations) -> LayerActivations:
        differs, wide = (x != x[:, :1]).any(dim=1, keepdim=True), x.double()
        deviations = (wide - wide.mean(dim=1, keepdim=True)) * differs  # of equal numbers, the mean can be off by a rounding error
        if not bool(differs.all()):
            item = int((~differs).nonzero()[0, 0])
            raise Undefined(f"item {item} has the same value in each dimension, so no correlation with any other item")
        norms = deviations.abs().amax(dim=1, keepdim=True)
        unit = directions(deviations / norms)
        size = (x.abs().amax(dim=1, keepdim=True) / norms).to(x.dtype)
        return differing(Directions(unit.deviations.to(x.dtype), unit.mean), size)

    def from_squares(self, squared: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return squared.div_(2)
