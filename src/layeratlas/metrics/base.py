"""What every metric is: a signature per layer, and an affinity of all pairs of signatures."""

import abc
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch

from layeratlas.arrays import AffinityMatrix, LayerActivations

Signature = TypeVar("Signature")


class AbstractMetric(abc.ABC, Generic[Signature]):
    """Compare layers through signatures, each computed once per layer.

    Laws: `affinity` is larger for layers that are more alike; a layer's affinity with itself is `self_value`; the affinity of
    (b, a) is the transpose of that of (a, b) where `symmetric`. `bounds` are the smallest and largest value attainable,
    and `min_n` the fewest items that give a value.
    """

    name: ClassVar[str]
    estimator: ClassVar[str]
    bounds: ClassVar[tuple[float, float]]
    self_value: ClassVar[float]
    symmetric: ClassVar[bool]

    @property
    @abc.abstractmethod
    def min_n(self) -> int: ...

    @abc.abstractmethod
    def signature(self, x: LayerActivations) -> Signature:
        """Everything this metric needs to know about one layer. Raises ValueError for a layer it cannot describe."""

    @abc.abstractmethod
    def affinity(self, a: Sequence[Signature], b: Sequence[Signature]) -> AffinityMatrix:
        """Similarity of each layer of a with each of b, from signatures of the same items in the same order; float64."""

    @abc.abstractmethod
    def chance(self, a: Sequence[Signature], b: Sequence[Signature]) -> AffinityMatrix:
        """Expected affinity of the same layers when the items of b are permuted at random; float64."""


def checked(x: LayerActivations, min_n: int) -> LayerActivations:
    """Activations in float32 or better, after refusing what no similarity is defined for."""
    x = torch.as_tensor(x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"activations must be of shape (n, d); got {tuple(x.shape)}")
    if len(x) < min_n:
        raise ValueError(f"needs at least {min_n} items; got {len(x)}")
    x = x if x.dtype == torch.float64 else x.float()
    if not x.isfinite().all():
        raise ValueError("activations hold NaN or infinite values")
    if bool((x == x[0]).all()):
        raise ValueError("every item has the same vector, so there is nothing to compare")
    return x
