"""What every removal is: a map of each language's vectors, fitted on some items and applied to others."""

import abc
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.statistics.nulls import ROUNDING

Vectors = Float[Tensor, "*items d"]
Languages = Float[Tensor, "languages _ d"]  # row i of each is the same item
Basis = Float[Tensor, "d r"]


class Eraser(NamedTuple):
    """x -> x - A B'(x - m) + v, of rank r: an orthogonal projection where A = B has orthonormal columns, else an oblique one."""

    a: Basis
    b: Basis
    m: Float[Tensor, " d"]
    v: Float[Tensor, " d"]

    @property
    def rank(self) -> int:
        return self.a.shape[1]

    def __call__(self, x: Vectors) -> Vectors:
        return x - self.removed(x) + self.v

    def removed(self, x: Vectors) -> Vectors:
        """A B'(x - m)."""
        return ((x - self.m) @ self.b) @ self.a.T


class AbstractRemoval(abc.ABC):
    """One definition of what is a language's own. `name` and `rank` tell it from others.

    Law: rotating all vectors rotates the erased ones alike.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def rank_of(self, languages: int) -> int:
        """The largest rank of an eraser for so many languages."""

    @abc.abstractmethod
    def fit(self, x: Languages) -> Sequence[Eraser]:
        """An eraser for each language, from the same items in all of them.

        Raises Undefined where these vectors have no such subspace.
        """


def orthogonal(basis: Basis, m: Float[Tensor, " d"]) -> Eraser:
    """The projection that takes x to where m lies along the columns of `basis`, which are orthonormal."""
    return Eraser(basis, basis, m, torch.zeros_like(m))


def spanned(differences: Float[Tensor, "k d"], scale: float) -> Basis:
    """An orthonormal basis of these vectors' span, the longest direction first; `scale` is the size at which they round."""
    _, sizes, directions = torch.linalg.svd(differences, full_matrices=False)
    return directions[sizes > ROUNDING * scale].T


def means_of(x: Languages) -> Float[Tensor, "languages d"]:
    return x.mean(dim=1)


def size_of(x: Languages) -> float:
    """The length of the longest vector: what differences of means round at."""
    return float(x.norm(dim=-1).max())
