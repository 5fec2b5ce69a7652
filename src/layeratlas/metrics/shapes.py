"""Similarities of shapes: how well one layer can be rotated onto another."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import (
    RIGID,
    About,
    AbstractMetric,
    AnyLayer,
    Chance,
    centred,
    checked,
    in_few_dimensions,
    of_all_pairs,
)
from layeratlas.metrics.gram import Gram
from layeratlas.metrics.linear_cka import CKALinear


@dataclass(frozen=True)
class Shape:
    """Centred activations of Frobenius norm 1, up to rotation, in min(n, d) dimensions; and the norm that they had."""

    x: Float[Tensor, "n r"]
    size: float

    @property
    def n(self) -> int:
        return len(self.x)


class AbstractShapeMetric(AbstractMetric[Shape], abc.ABC):
    """A function of the cross-product of two layers, which only matters up to rotations of either.

    Products and singular values are in float64, whatever the layers: of two shapes that are alike, what matters is by how
    little their similarity differs from 1.
    """

    @abc.abstractmethod
    def similarity(self, a: Shape, b: Shape) -> float:
        """The affinity of two layers; both are in float64."""

    def signature(self, x: LayerActivations) -> Shape:
        x = checked(x, self.min_n)
        return Shape(in_few_dimensions(centred(x)), _centred_norm(x))

    def items(self, signature: Shape) -> int:
        return signature.n

    def permuted(self, signature: Shape, order: Int[Tensor, " n"]) -> Shape:
        return Shape(signature.x[order.to(signature.x.device)], signature.size)

    def subset(self, signature: Shape, kept: Int[Tensor, " m"]) -> Shape:
        part = self.signature(signature.x[kept.to(signature.x.device)])
        return Shape(part.x, part.size * signature.size)

    def affinity(self, a: Sequence[Shape], b: Sequence[Shape]) -> AffinityMatrix:
        """No more than two layers are held in float64."""
        return of_all_pairs(lambda x, y: self.similarity(_in_float64(x), _in_float64(y)), a, b)


def _centred_norm(x: LayerActivations) -> float:
    x = x.double()
    return float((x - x.mean(dim=0)).norm())


def _in_float64(shape: Shape) -> Shape:
    x = shape.x.double()
    return Shape(x / x.norm(), shape.size)


def _nuclear_norm(x: Float[Tensor, "rows columns"]) -> float:
    return float(torch.linalg.svdvals(x if len(x) >= x.shape[1] else x.T).sum())  # LAPACK takes twice as long for a wide matrix


@dataclass(frozen=True)
class Procrustes(AbstractShapeMetric):
    """Procrustes similarity: the inner product of two layers once the best rotation has aligned them (Ding et al., 2021).

        |X'Y|_* / (|X| |Y|),  X and Y centred, |.|_* the sum of the singular values

    The Procrustes distance of layers scaled to norm 1 is sqrt(2 - 2 s). Also the Bures similarity (fidelity) of X X' and Y Y'.
    """

    about = About(
        name="procrustes",
        definition="nuclear norm of the cross-product of centred layers of norm 1",
        estimator="fitted and evaluated on the same items",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: grows with d / n",
        invariances=RIGID,
        cost="n d² + d³ a pair (n³ where n < d)",
        source="Ding et al. 2021",
        min_n=3,
    )

    def similarity(self, a: Shape, b: Shape) -> float:
        return _nuclear_norm(a.x.T @ b.x)


@dataclass(frozen=True)
class ProcrustesAngular(AbstractShapeMetric):
    """Procrustes similarity on the scale of angles (Williams et al., 2021): 1 - 2 / pi * arccos(s).

    arccos(s) is a metric in the mathematical sense: it obeys the triangle inequality.
    """

    about = About(
        name="procrustes_angular",
        definition="1 - 2/π · arccos of the Procrustes similarity",
        estimator="fitted and evaluated on the same items",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: grows with d / n",
        invariances=RIGID,
        cost="n d² + d³ a pair (n³ where n < d)",
        source="Williams et al. 2021",
        min_n=3,
    )

    def similarity(self, a: Shape, b: Shape) -> float:
        return 1 - 2 / math.pi * math.acos(min(1.0, _nuclear_norm(a.x.T @ b.x)))  # 1 + 1e-16 has no arccos


@dataclass(frozen=True)
class ProcrustesSizeShape(AbstractShapeMetric):
    """Minus the size-and-shape distance (Dryden and Mardia, 2016): what is left of X - Y after the best rotation.

        -sqrt(|X|^2 + |Y|^2 - 2 |X'Y|_*),  X and Y centred, not scaled

    In units of the activations, so layers of unlike norms are far apart whatever their shape.
    """

    about = About(
        name="procrustes_size_shape",
        definition="minus the Frobenius distance of centred layers after the best rotation",
        estimator="fitted and evaluated on the same items",
        bounds=(-math.inf, 0.0),
        self_value=0.0,
        chance="by permutation",
        invariances=RIGID - {"scale"},
        cost="n d² + d³ a pair (n³ where n < d)",
        source="Dryden & Mardia 2016",
        min_n=3,
    )

    def similarity(self, a: Shape, b: Shape) -> float:
        apart = max(0.0, 1 - _nuclear_norm(a.x.T @ b.x))
        return 0.0 - math.sqrt((a.size - b.size) ** 2 + 2 * a.size * b.size * apart)  # 0.0 - 0.0 is not -0.0


@dataclass(frozen=True)
class ProcrustesCV(AbstractShapeMetric):
    """Procrustes similarity of items that the rotation was not fitted on.

        sum_f <X_f Q_f, Y_f> / sqrt(sum_f |X_f|^2 sum_f |Y_f|^2)

    X_f and Y_f hold the items of fold f, less their mean; Q_f = U V' from the singular value decomposition U S V' of the
    cross-product of all other items, less theirs. Where the widths differ or fewer items than dimensions leave directions
    without any variance in common, Q_f maps those to 0: what has not been seen counts as not explained, so that a wide layer
    falls short of 1 even with itself. Folds are runs of consecutive items, whose order a seeded draw has made random; they
    differ in size by one at most. Larger is more alike; below 0, held-out items are worse than unrelated.
    """

    folds: int

    about = About(
        name="procrustes_cv",
        definition="cosine of held-out items after the rotation that is best for all others",
        estimator="cross-validated over folds of consecutive items",
        bounds=(-1.0, 1.0),
        self_value=None,
        chance="0",
        invariances=RIGID,
        cost="n d² + 8 f d³ a pair, f folds (n for d where n < d)",
        source="Williams et al. 2021",
    )

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ConfigError(f"metric.folds: expected at least 2 folds; got {self.folds}")

    @property
    def min_n(self) -> int:
        return 2 * self.folds

    def similarity(self, a: Shape, b: Shape) -> float:
        product, whole = 0.0, a.x.T @ b.x
        for x, y in zip(a.x.tensor_split(self.folds), b.x.tensor_split(self.folds), strict=True):
            cross, sums = x.T @ y, torch.outer(x.sum(dim=0), y.sum(dim=0))
            fitted = whole - cross - sums / (a.n - len(x))  # all items sum to 0, those outside the fold to minus its sum
            product += float((_rotation(fitted) * (cross - sums / len(x))).sum())
        return product / math.sqrt(self._held_out_squares(a.x) * self._held_out_squares(b.x))

    def _held_out_squares(self, x: AnyLayer) -> float:
        return sum(float((fold - fold.mean(dim=0)).square().sum()) for fold in x.tensor_split(self.folds))

    def chance(self, a: Sequence[Shape], b: Sequence[Shape]) -> Chance:
        """0: reordering the items within a fold changes neither its rotation nor any norm, and averages its product to 0."""
        return Chance(torch.zeros(len(a), len(b), dtype=torch.float64), None)


def _rotation(cross: Float[Tensor, "d_a d_b"]) -> Float[Tensor, "d_a d_b"]:
    """U V' of a singular value decomposition, without directions whose singular value is 0 but for rounding."""
    u, s, v = torch.linalg.svd(cross, full_matrices=False)
    rank = int((s > s[0] * max(cross.shape) * torch.finfo(s.dtype).eps).sum())
    return u[:, :rank] @ v[:rank]


def layer_space_residual(a: Sequence[Gram], b: Sequence[Gram]) -> float:
    """How far two stacks of layers remain apart after the best orthogonal mixing of the layers (not dimensions) of one of them.

        sqrt(1 - 2 |C|_* / (layers of a + layers of b)),  C their matrix of linear CKA

    Each layer counts as one unit vector, its flattened centred Gram matrix: the signatures of `CKALinear`. The mixing may pair
    any layer with any other, so the residual of stacks of L layers is at most sqrt(1 - mean CKA of the layers in order). It
    says nothing about rotations of the layers' dimensions: for those, see `Procrustes`.
    """
    common = _nuclear_norm(CKALinear().affinity(a, b))
    return math.sqrt(max(0.0, 1 - 2 * common / (len(a) + len(b))))
