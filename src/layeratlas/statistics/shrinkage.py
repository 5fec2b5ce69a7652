"""Covariances of fewer items than dimensions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.errors import Undefined


@dataclass(frozen=True)
class Shrunk:
    """(1 - intensity) S + intensity * scale * I, with S = Z'Z / n the covariance of n deviations Z from their mean.

    `of` takes the intensity of Ledoit and Wolf (2004, theorem 2), the least-squares optimum as n and d grow, and tr S / d for the
    scale. It is positive definite even where n < d.
    """

    deviations: Float[Tensor, "n d"]
    products: Float[Tensor, "r r"]  # Z'Z or Z Z', whichever is smaller
    intensity: float
    scale: float

    @classmethod
    def of(cls, deviations: Float[Tensor, "n d"]) -> "Shrunk":
        """Raises Undefined where nothing varies."""
        n, d = deviations.shape
        squares = deviations.square().sum(dim=1)
        scale = float(squares.sum() / (n * d))
        if not scale > 0:
            raise Undefined("no item differs from its mean")
        products = products_of(deviations)
        of_covariance = float(products.square().sum() / n**2)  # both products have the same sum of squares
        of_items = float(squares.square().sum() / n)
        from_identity = of_covariance / d - scale**2
        noise = (of_items - of_covariance) / (n * d)
        intensity = 1.0 if noise >= from_identity else max(noise, 0.0) / from_identity
        return cls(deviations, products, intensity, scale)

    def solve(self, v: Float[Tensor, "d k"]) -> Float[Tensor, "d k"]:
        """The inverse times v. Raises Undefined where it has none: without shrinkage, and n < d."""
        (n, d), z = self.deviations.shape, self.deviations
        ridge = self.intensity * self.scale
        if len(self.products) == d:
            return torch.linalg.solve((1 - self.intensity) / n * self.products + ridge * torch.eye(d).to(z), v)
        if ridge == 0:
            raise Undefined(f"the covariance of {n} deviations in {d} dimensions is singular")
        if self.intensity == 1:
            return v / ridge
        inner = self.products + n * ridge / (1 - self.intensity) * torch.eye(n).to(z)  # Woodbury: n equations for d
        return (v - z.T @ torch.linalg.solve(inner, z @ v)) / ridge


def products_of(z: Float[Tensor, "n d"]) -> Float[Tensor, "r r"]:
    return z @ z.T if len(z) < z.shape[1] else z.T @ z
