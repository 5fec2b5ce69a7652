"""Can a label be read off vectors by a linear map?"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.statistics.nulls import ROUNDING
from layeratlas.statistics.shrinkage import Shrunk

Vectors = Float[Tensor, "n d"]
Labels = Int[Tensor, " n"]
_TIED = 1e-9  # of the largest score: nearer ones differ by rounding


class LinearProbe(NamedTuple):
    """Linear discriminant analysis with a shrunk covariance and equal priors: the class of the largest of w_c'z + o_c.

        z = (x - mean) / deviation,  w_c = S^-1 mean_c,  o_c = -mean_c'w_c / 2

    of each dimension, S the covariance within classes of z (see `Shrunk`). All of it from the training items alone. A dimension
    that does not vary beyond rounding is left out, and one in which classes do not differ beyond it tells none from another.
    """

    mean: Float[Tensor, " d"]
    inverse_deviation: Float[Tensor, " d"]
    weights: Float[Tensor, "d classes"]
    offsets: Float[Tensor, " classes"]

    def scores(self, x: Vectors) -> Float[Tensor, "n classes"]:
        return ((x - self.mean) * self.inverse_deviation) @ self.weights + self.offsets

    def credits(self, x: Vectors, labels: Labels) -> Float[Tensor, " n"]:
        """1 for an item whose class has the largest score, 1 / m where m classes tie for it, else 0."""
        scores = self.scores(x)
        best = scores >= scores.amax(dim=1, keepdim=True) - _TIED * scores.abs().max()
        return best[torch.arange(len(x)), labels].double() / best.sum(dim=1)


def fitted(x: Vectors, labels: Labels, classes: int) -> LinearProbe:
    """A probe of labels 0 .. classes - 1, each of which some item has. Raises Undefined where no dimension varies."""
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    varies = deviation > ROUNDING * x.abs().amax(dim=0)
    inverse = torch.where(varies, 1 / deviation, 0.0)
    z = (x - mean) * inverse
    means = torch.stack([z[labels == label].mean(dim=0) for label in range(classes)])
    apart = (means - means[0]).abs().amax(dim=0) > ROUNDING  # of a standard deviation; what an eraser leaves is no difference
    means = torch.where(apart, means, means.mean(dim=0))
    weights = Shrunk.of(z - means[labels]).solve(means.T)
    return LinearProbe(mean, inverse, weights, -(means.T * weights).sum(dim=0) / 2)
