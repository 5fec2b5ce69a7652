"""What one layer looks like: how many dimensions it fills, in which directions, how evenly. Numbers of one (n, d) array each.

Sizes are in float64, and activations are taken as they are unless a function says that it removes their mean.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import checked
from layeratlas.metrics.directions import unit_vectors
from layeratlas.metrics.gram import row_ranges
from layeratlas.metrics.nearest import EuclideanNeighbors

_ROUNDING = 1e-9  # of the log of two equal distances
_DISCARDED = 0.1
_LEAST_DISTINCT = 5


def effective_rank(x: LayerActivations) -> float:
    """Exponential of the entropy of the singular values' shares of their sum (Roy and Vetterli, 2007).

    The mean is removed; 1 to min(n - 1, d).
    """
    singular = _spectrum(x).sqrt()
    shares = singular / singular.sum()
    return float(torch.special.entr(shares).sum().exp())


def participation_ratio(x: LayerActivations) -> float:
    """(sum of the covariance's eigenvalues)^2 / sum of their squares, mean removed; 1 to min(n - 1, d) (Gao et al., 2017)."""
    eigenvalues = _spectrum(x)
    return float(eigenvalues.sum() ** 2 / eigenvalues.square().sum())


def intrinsic_dimension(x: LayerActivations) -> float:
    """TwoNN (Facco et al., 2017): the slope through the origin of -log(1 - F(mu)) over log(mu).

    mu is the distance to an item's second nearest item over that to its nearest, F its empirical distribution; the largest tenth
    is discarded, as there. Repeated vectors count once. Invariant to rotation, translation and scale.
    """
    distinct = checked(x, 2).unique(dim=0).double()
    if len(distinct) < _LEAST_DISTINCT:
        raise Undefined(f"needs at least {_LEAST_DISTINCT} distinct items; got {len(distinct)}")
    squared = EuclideanNeighbors()(distinct, 2).similarities.neg().clamp(min=torch.finfo(torch.float64).tiny)
    log_mu = (squared[:, 1] / squared[:, 0]).log().div(2).sort().values[: int(len(distinct) * (1 - _DISCARDED))]
    if log_mu[-1] < _ROUNDING:
        raise Undefined("each item has two equally near neighbours, as on a grid, so that the dimension is undefined")
    below = torch.arange(1, len(log_mu) + 1, dtype=torch.float64, device=x.device) / len(distinct)
    return float(log_mu @ -torch.log1p(-below) / log_mu.square().sum())


def anisotropy(x: LayerActivations) -> float:
    """Mean cosine of two different items (Ethayarajh, 2019): 0 if they point everywhere, near 1 in a narrow cone."""
    unit = unit_vectors(checked(x, 2).double())
    n = len(unit)
    return float((unit.sum(dim=0).square().sum() - unit.square().sum()) / (n * (n - 1)))


def kurtosis(x: LayerActivations) -> float:
    """Of an item's values over the dimensions, averaged over items: 3 for Gaussian values, up to about d if one dominates.

    Directions that are no axes do not show in it; so it shows whether the axes are special (Elhage et al., 2023).
    """
    x = _scaled(x)
    deviations = x - x.mean(dim=1, keepdim=True)
    second = deviations.square().mean(dim=1)
    if bool((second == 0).any()):
        raise Undefined(f"item {int((second == 0).nonzero()[0, 0])} has the same value in every dimension: no kurtosis")
    return float((deviations.pow(4).mean(dim=1) / second.square()).mean())


def top_dimension_share(x: LayerActivations, largest: int = 1) -> float:
    """Share of the squared norm of all items that the `largest` largest dimensions hold, as massive activations do.

    It is largest / d where all dimensions are alike (Sun et al., 2024, found shares near 1).
    """
    energy = _scaled(x).square().sum(dim=0)
    if not 1 <= largest <= len(energy):
        raise ConfigError(f"top dimensions: expected 1 to {len(energy)}, the width of the layer; got {largest}")
    return float(energy.topk(largest).values.sum() / energy.sum())


def uniformity(x: LayerActivations) -> float:
    """Logarithm of the mean of exp(-2 |u - v|^2) over pairs of different items' unit vectors.

    With t = 2 in Wang and Isola (2020), eq. 2. 0 if all items point in one direction; the lower, the more evenly they cover the
    sphere: -4 for many dimensions.
    """
    unit = unit_vectors(checked(x, 2).double())
    n, total = len(unit), 0.0
    for rows in row_ranges(n, layers=2):
        kernel = (4 * (unit[rows] @ unit.T - 1)).exp()  # |u - v|^2 = 2 - 2 u.v
        kernel[:, rows].fill_diagonal_(0)
        total += float(kernel.sum())
    return math.log(total / (n * (n - 1)))


def _scaled(x: LayerActivations) -> LayerActivations:
    x = checked(x, 2).double()
    return x / x.abs().max()


def _spectrum(x: LayerActivations) -> Float[Tensor, " m"]:
    """Eigenvalues of the covariance, up to a factor, from the smaller of both products of the centred activations."""
    x = _scaled(x)
    x = x - x.mean(dim=0)
    product = x.T @ x if x.shape[1] < len(x) else x @ x.T
    return torch.linalg.eigvalsh(product).clamp(min=0)  # rounding can take a zero below it
