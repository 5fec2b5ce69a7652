"""What is done to a layer's activations before a metric sees them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import ConfigError

Lengths = Float[Tensor, " n"] | None


def none(x: LayerActivations, lengths: Lengths) -> LayerActivations:
    """Activations as they are."""
    return x


def center(x: LayerActivations, lengths: Lengths) -> LayerActivations:
    """Each dimension with mean 0."""
    return x - x.mean(dim=0)


def zscore(x: LayerActivations, lengths: Lengths) -> LayerActivations:
    """Each dimension with mean 0 and standard deviation 1; a dimension that is the same for all items stays 0."""
    x = center(x, lengths)
    return x / _or_one(x.std(dim=0))


def unit(x: LayerActivations, lengths: Lengths) -> LayerActivations:
    """Each item with norm 1; the zero vector stays 0."""
    return x / _or_one(x.norm(dim=1, keepdim=True))


def length_residual(x: LayerActivations, lengths: Lengths) -> LayerActivations:
    """What is left of each dimension after linear regression on the item's number of tokens."""
    if lengths is None:
        raise ConfigError("normalization=length_residual: stored vectors come without token counts; choose another one")
    x, t = center(x, lengths), lengths.to(x) - lengths.to(x).mean()
    if not bool(t.any()):
        raise ConfigError("normalization=length_residual: all items have the same number of tokens, so there is nothing to remove")
    return x - torch.outer(t, t @ x) / t.square().sum()


@dataclass(frozen=True)
class DropTopDimensions:
    """Without the `dimensions` of largest variance, where massive activations sit (Sun et al., 2024)."""

    dimensions: int

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ConfigError(f"normalization.dimensions: expected a positive number to drop; got {self.dimensions}")

    def __call__(self, x: LayerActivations, lengths: Lengths) -> Float[Tensor, "n rest"]:
        if self.dimensions >= x.shape[1]:
            raise ConfigError(f"normalization.dimensions: cannot drop {self.dimensions} of {x.shape[1]} dimensions")
        order = center(x, lengths).square().sum(dim=0).argsort(descending=True, stable=True)
        return x[:, order[self.dimensions :].sort().values]


@dataclass(frozen=True)
class DropPrincipalComponents:
    """Centred, and without the first `components` principal components (Mu and Viswanath, 2018)."""

    components: int

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ConfigError(f"normalization.components: expected a positive number to remove; got {self.components}")

    def __call__(self, x: LayerActivations, lengths: Lengths) -> LayerActivations:
        if self.components >= min(x.shape):
            raise ConfigError(f"normalization.components: cannot remove {self.components} of {min(x.shape)} components")
        x = center(x, lengths)
        axes = torch.linalg.eigh((x.T @ x).double()).eigenvectors[:, -self.components :].to(x)
        return x - (x @ axes) @ axes.T


def _or_one(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))
