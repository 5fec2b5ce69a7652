"""Unit vectors, and what is left of them once their mean is taken away.

Where all items share a large direction, cosines are all but 1 and differ in digits that float32 does not have. Differences of unit
vectors keep those digits: 1 - u . v is |u - v|^2 / 2, and the mean drops out of u - v.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import Undefined

_ROWS = 256  # in float64 a block of rows stays in a processor's cache
_SHARED = 1e-3  # unit vectors that differ more than this are not taken for rounding errors


class Directions(NamedTuple):
    """Unit vectors as their `mean` in float64 and what each differs from it in the activations' precision."""

    deviations: LayerActivations
    mean: Float[Tensor, " d"]

    @property
    def unit(self) -> LayerActivations:
        return self.deviations + self.mean.to(self.deviations.dtype)


def unit_vectors(x: LayerActivations) -> LayerActivations:
    return torch.nn.functional.normalize(x / _largest(x), dim=1)


def directions(x: LayerActivations) -> Directions:
    """Unit vectors about their mean, computed in float64. Raises ValueError for a zero vector."""
    largest = _largest(x)
    parts = [_normalised(x[start : start + _ROWS].double() / largest[start : start + _ROWS]) for start in range(0, len(x), _ROWS)]
    mean = torch.stack([part.sum(dim=0) for part in parts]).sum(dim=0) / len(x)
    return Directions(torch.cat([(part - mean).to(x.dtype) for part in parts]), mean)


def about_common_mean(u: Directions, v: Directions) -> tuple[LayerActivations, LayerActivations]:
    """Both sides' unit vectors less the mean of both, so that squared distances across the sides keep their digits too."""
    half = ((u.mean - v.mean) / 2).to(u.deviations.dtype)
    return u.deviations + half, v.deviations - half


def differing(layer: Directions, size: Float[Tensor, "n _"] | None = None) -> LayerActivations:
    """The deviations from the mean direction. Raises ValueError where they are no larger than the rounding of the activations.

    `size` is what each coordinate was rounded at, relative to the item's norm; by default the coordinate itself.
    """
    deviations = layer.deviations.abs()
    if deviations.max() < _SHARED:
        size = layer.unit.abs() if size is None else size
        if bool((deviations <= 10 * torch.finfo(deviations.dtype).eps * size).all()):
            raise Undefined("all items point in the same direction, so that there is nothing to compare")
    return layer.deviations


def _largest(x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    largest = x.abs().amax(dim=1, keepdim=True)  # squares of very large or small values leave the range of float32
    if bool((largest == 0).any()):
        raise Undefined(f"item {int((largest == 0).nonzero()[0, 0])} is the zero vector, which has no direction")
    return largest


def _normalised(x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows d"]:
    return x / x.norm(dim=1, keepdim=True)
