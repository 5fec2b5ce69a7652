"""Random subspaces that hold as much as another edit takes away."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.errors import Undefined
from layeratlas.statistics.removals.base import Basis, Eraser, Languages, Vectors, means_of

_HELD = 0.999  # of the variance: directions beyond are those of rounding, and may be those in which languages differ


class WithinSpan(NamedTuple):
    """The directions in which items of one language differ, and the variance along each, the largest first.

    They hold all but a thousandth of that variance.
    """

    directions: Float[Tensor, "d k"]
    variances: Float[Tensor, " k"]

    @classmethod
    def of(cls, x: Languages) -> "WithinSpan":
        within = (x - means_of(x)[:, None]).reshape(-1, x.shape[-1])
        _, sizes, directions = torch.linalg.svd(within, full_matrices=False)
        variances = sizes.square() / len(within)
        kept = int((variances.cumsum(0) < _HELD * variances.sum()).sum()) + 1
        return cls(directions[:kept].T, variances[:kept])

    def drawn(self, count: int, generator: torch.Generator) -> Basis:
        """Orthonormal random directions, weighted by their variance as those of `random_directions` are."""
        weights = torch.randn(len(self.variances), count, dtype=self.variances.dtype, generator=generator).to(self.variances.device)
        return self.directions @ torch.linalg.qr(self.variances.sqrt()[:, None] * weights).Q


def energy(eraser: Eraser, x: Vectors) -> float:
    """How far an edit moves vectors, E|A B'(h - m) - v|^2 over the rows of x."""
    return float((eraser.removed(x) - eraser.v).square().sum(dim=-1).mean())


def random_of_energy(span: WithinSpan, x: Vectors, m: Float[Tensor, " d"], wanted: float, generator: torch.Generator) -> Eraser:
    """Takes away as much of random directions of `span` as makes E|A B'(h - m)|^2 `wanted` over the rows of x.

        A = Q diag(1, ..., 1, c),  B = Q an orthonormal basis of V D^1/2 G,  V and D of `span`, G standard normal

    There are as many directions as hold that much together, and of the last one only the part c of each vector's share is taken, so
    that the energy is the same and not merely near it. Raises Undefined where the whole span holds less.
    """
    basis = span.drawn(len(span.variances), generator)
    held = ((x - m) @ basis).square().mean(dim=0)
    before = torch.cat([held.new_zeros(1), held.cumsum(0)])
    if before[-1] < wanted:
        raise Undefined(f"the directions in which items of one language differ hold {before[-1]:.4g}, and {wanted:.4g} is wanted")
    rank = int((before[:-1] < wanted).sum())
    basis = basis[:, :rank]
    parts = held.new_ones(rank)
    if rank:
        parts[-1] = ((wanted - before[rank - 1]) / held[rank - 1]).sqrt()
    return Eraser(basis * parts, basis, m, torch.zeros_like(m))


def random_shift(span: WithinSpan, length: float, generator: torch.Generator) -> Eraser:
    """Adds a random direction of the span, weighted by variance, of this length: the control of a shift."""
    none = span.directions.new_empty(len(span.directions), 0)
    return Eraser(none, none, none.new_zeros(len(none)), length * span.drawn(1, generator)[:, 0])
