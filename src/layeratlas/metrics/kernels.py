"""Similarities of Gram matrices: centred kernel alignment."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.metrics.base import AbstractMetric, checked

_ROWS = 256

Centred = Float[Tensor, "n _"]  # layers of one list may differ in width

GramRows = Callable[[LayerActivations, slice], Float[Tensor, "rows n"]]


def _cosines(a: Sequence[Centred], b: Sequence[Centred], rows: GramRows) -> AffinityMatrix:
    """<K_i, L_j> / (|K_i| |L_j|) for each layer i of a and j of b, in blocks of rows over all layers at once.

    Memory O(layers x rows x n): no Gram matrix is ever whole. Products are in the activations' precision, sums in float64.
    """
    products = torch.zeros(len(a), len(b), dtype=torch.float64)
    squares_a, squares_b = torch.zeros(len(a), dtype=torch.float64), torch.zeros(len(b), dtype=torch.float64)
    wide = torch.promote_types(a[0].dtype, b[0].dtype)
    for start in range(0, len(a[0]), _ROWS):
        block = slice(start, start + _ROWS)
        k, l = (torch.stack([rows(x.to(wide), block).flatten() for x in side]) for side in (a, b))  # noqa: E741 (the papers' K and L)
        products += (k @ l.T).double().cpu()
        squares_a += k.square().sum(dim=1).double().cpu()
        squares_b += l.square().sum(dim=1).double().cpu()
    if min(squares_a.min(), squares_b.min()).sqrt() < 10 * torch.finfo(wide).eps:
        raise ValueError("all pairs of items are equally far apart in a layer: its U-centred Gram matrix is zero, CKA undefined")
    return products / torch.outer(squares_a.sqrt(), squares_b.sqrt())


def _centred_rows(x: LayerActivations, block: slice) -> Float[Tensor, "rows n"]:
    return x[block] @ x.T


def _trace_over_norm(x: LayerActivations) -> float:
    """tr(K) / |K|, from whichever of K = X X^T and X^T X is smaller: their traces and norms are equal."""
    x = x if len(x) < x.shape[1] else x.T
    return float(x.double().square().sum() / (x @ x.T).double().norm())


def _u_centred_rows(x: LayerActivations, block: slice) -> Float[Tensor, "rows n"]:
    """Rows of the U-centred Gram matrix (Székely and Rizzo, 2014, eq. 2.3): off-diagonal rows sum to 0, the diagonal is 0.

    With centred x, the sum of row i of the Gram matrix without its diagonal is -K_ii, and the sum of all of them -tr K.
    """
    n = len(x)
    diagonal = x.square().sum(dim=1)
    gram = x[block] @ x.T + (diagonal[block, None] + diagonal) / (n - 2) - diagonal.sum() / ((n - 1) * (n - 2))
    own = torch.arange(n, device=x.device)[block]
    gram[torch.arange(len(own), device=x.device), own] = 0
    return gram


class _LinearCKA(AbstractMetric[Centred], abc.ABC):
    """<K, L> / (|K| |L|) for Gram matrices of centred activations, centred further by `_rows`; signatures are the activations."""

    _rows: ClassVar[GramRows]

    def signature(self, x: LayerActivations) -> LayerActivations:
        x = checked(x, self.min_n)
        x = x - x.mean(dim=0)  # before any product: an offset of thousands in one dimension would drown the rest
        x = x / x.abs().max()  # squares of very large or small values leave the range of float32
        return x / x.norm()

    def affinity(self, a: Sequence[Centred], b: Sequence[Centred]) -> AffinityMatrix:
        return _cosines(a, b, type(self)._rows)


@dataclass(frozen=True)
class CKALinear(_LinearCKA):
    """Linear centred kernel alignment (Kornblith et al., 2019, eq. 2), the biased estimator; in [0, 1].

        CKA = <K, L> / (|K| |L|),  K = X X^T,  L = Y Y^T,  X and Y centred

    Invariant to rotation, translation and isotropic scale. Biased upward, the more the larger d / n: its mean over permutations
    of the items is tr(K) tr(L) / ((n - 1) |K| |L|), which `chance` returns.
    """

    name: ClassVar[str] = "cka_linear"
    estimator: ClassVar[str] = "biased HSIC"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    self_value: ClassVar[float] = 1.0
    symmetric: ClassVar[bool] = True
    _rows = staticmethod(_centred_rows)

    @property
    def min_n(self) -> int:
        return 3

    def chance(self, a: Sequence[Centred], b: Sequence[Centred]) -> AffinityMatrix:
        return torch.outer(*(torch.tensor([_trace_over_norm(x) for x in side], dtype=torch.float64) for side in (a, b))) / (
            len(a[0]) - 1
        )


@dataclass(frozen=True)
class CKALinearDebiased(_LinearCKA):
    """Linear CKA from the unbiased estimator of HSIC (Song et al., 2012, eq. 5); in [-1, 1], 0 for independent layers.

    The cosine of U-centred Gram matrices, also known as the bias-corrected squared distance correlation of squared
    Euclidean distances. Invariant to rotation, translation and isotropic scale. Its mean over permutations of the items is 0.
    """

    name: ClassVar[str] = "cka_linear_debiased"
    estimator: ClassVar[str] = "unbiased HSIC"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    self_value: ClassVar[float] = 1.0
    symmetric: ClassVar[bool] = True
    _rows = staticmethod(_u_centred_rows)

    @property
    def min_n(self) -> int:
        return 4

    def chance(self, a: Sequence[Centred], b: Sequence[Centred]) -> AffinityMatrix:
        return torch.zeros(len(a), len(b), dtype=torch.float64)
