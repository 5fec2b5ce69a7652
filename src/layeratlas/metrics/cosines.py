"""Cosines of all items of one side with all of another, by ranges of rows: made from vectors, or held."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.metrics.directions import Directions, about_common_mean
from layeratlas.metrics.gram import row_ranges
from layeratlas.metrics.nearest import rounding

Halves = Float[Tensor, " n"]


@dataclass(frozen=True)
class Cosines(abc.ABC):
    """Cosines less 1, that is minus half the squared distance of unit vectors; `halves` are half of each vector's square."""

    halves_a: Halves
    halves_b: Halves

    @property
    def n(self) -> int:
        return len(self.halves_a)

    @abc.abstractmethod
    def part(self, rows: slice) -> Float[Tensor, "rows n"]:
        """Of some items of side a."""

    @abc.abstractmethod
    def transposed(self) -> "Cosines":
        """Of side b with side a."""

    def row_ranges(self) -> Iterator[tuple[slice, Float[Tensor, "rows n"], Float[Tensor, "rows n"]]]:
        """The values of each range of rows, and what rounding may make of them."""
        for rows in row_ranges(self.n, layers=1):
            yield rows, self.part(rows), rounding(self.halves_a[rows, None], self.halves_b)

    def held(self) -> "HeldCosines":
        """The same as one n x n matrix, from which those of some items can be taken."""
        return HeldCosines(self.halves_a, self.halves_b, torch.cat([self.part(rows) for rows in row_ranges(self.n, layers=1)]))


@dataclass(frozen=True)
class CosinesOfVectors(Cosines):
    """Made anew for each range of rows, from vectors about their common mean."""

    a: LayerActivations
    b: LayerActivations

    @classmethod
    def of(cls, u: Directions, v: Directions) -> "CosinesOfVectors":
        left, right = about_common_mean(u, v)
        halves_left, halves_right = (part.square().sum(dim=1) / 2 for part in (left, right))
        return cls(halves_left, halves_right, left, right)

    def part(self, rows: slice) -> Float[Tensor, "rows n"]:
        return torch.addmm(-self.halves_b, self.a[rows], self.b.T) - self.halves_a[rows, None]

    def transposed(self) -> "CosinesOfVectors":
        return CosinesOfVectors(self.halves_b, self.halves_a, self.b, self.a)


@dataclass(frozen=True)
class HeldCosines(Cosines):
    values: Float[Tensor, "n n"]

    def part(self, rows: slice) -> Float[Tensor, "rows n"]:
        return self.values[rows]

    def transposed(self) -> "HeldCosines":
        return HeldCosines(self.halves_b, self.halves_a, self.values.T)

    def some(self, kept: Int[Tensor, " m"]) -> "HeldCosines":
        """Of some of the items alone."""
        kept = kept.to(self.values.device)
        return HeldCosines(self.halves_a[kept], self.halves_b[kept], self.values[kept[:, None], kept])
