"""Least-squares erasure of the language (Belrose et al., 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.statistics.removals.base import AbstractRemoval, Basis, Eraser, Languages, means_of, size_of, spanned
from layeratlas.statistics.shrinkage import Shrunk


@dataclass(frozen=True)
class LeastSquares(AbstractRemoval):
    """The change that leaves no linear trace of the language, and is the smallest that does (Belrose et al., 2023, theorem 4.3).

        x - D (D'S^-1 D)^-1 D'S^-1 (x - m),  D a basis of the languages' means less their mean m, S a covariance

    S is the covariance within languages, shrunk towards a multiple of the identity (Ledoit and Wolf, 2004): that within
    languages and that of all vectors give the same map, as they differ only along D, and whatever S is, the means of the
    items it was fitted on are equal afterwards.
    """

    name: ClassVar[str] = "least_squares"

    def rank_of(self, languages: int) -> int:
        return languages - 1

    def fit(self, x: Languages) -> Sequence[Eraser]:
        means = means_of(x)
        within = (x - means[:, None]).reshape(-1, x.shape[-1])
        centre = means.mean(dim=0)
        return [oblique(spanned(means - centre, size_of(x)), Shrunk.of(within), centre)] * len(x)


def oblique(basis: Basis, covariance: Shrunk, m: Float[Tensor, " d"]) -> Eraser:
    """The projection along `basis` that is orthogonal by the inverse covariance."""
    if not basis.shape[1]:
        return Eraser(basis, basis, m, torch.zeros_like(m))
    solved = covariance.solve(basis)
    return Eraser(basis, torch.linalg.solve(basis.T @ solved, solved.T).T, m, torch.zeros_like(m))
