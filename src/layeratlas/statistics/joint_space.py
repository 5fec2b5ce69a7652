"""Layers as points of one space, from the matrix of their similarities.

A similarity that is an inner product of what it keeps of each layer, S = V V', gives the layers' coordinates up to a rotation. The
distance of two layers is |v - w|^2 = S_vv + S_ww - 2 S_vw, in all of the space or in its leading dimensions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layeratlas.errors import Undefined

Similarity = Float[np.ndarray, "_ _"]
Coordinates = Float[np.ndarray, "_ dimensions"]
Places = Int[np.ndarray, " _"]
Marks = Float[np.ndarray, " _"]  # +1 for points of the one language, -1 for those of the other

_ROUNDING = 1e-5  # of each entry: matrices are sums of float32 products
_NOTHING = 1e-12  # of the largest eigenvalue: a dimension without any extent


class Embedding(NamedTuple):
    """Coordinates in the leading dimensions; the share of all points' squares in each of these, of each point's in all."""

    coordinates: Coordinates
    shares: Float[np.ndarray, " dimensions"]
    captured: Float[np.ndarray, " _"]


def require_inner_product(s: Similarity) -> float:
    """The smallest eigenvalue over the largest. Raises Undefined where it is below 0 by more than rounding explains.

    Every entry may be off by 1e-5, and the eigenvalues of p points by p times that.
    """
    values = np.linalg.eigvalsh(_symmetric(s))
    if values[0] < -_ROUNDING * len(s):
        raise Undefined(
            f"these similarities are no inner products (eigenvalues from {values[0]:.2g} to {values[-1]:.3g}), and layers"
            " are no points of one space; those of cka_linear, cka_linear_debiased, mutual_knn and rsa_cosine_spearman are"
        )
    return float(values[0] / values[-1])


def embedding(s: Similarity, dimensions: int, *, centred: bool) -> Embedding:
    """Coordinates U sqrt(w) from the largest eigenvalues w of S, or of S with the points' mean moved to the origin."""
    s = _centred(s) if centred else _symmetric(s)
    values, vectors = _leading(s, dimensions)
    coordinates = vectors * np.sqrt(values)
    own = np.diag(s)
    captured = np.divide(np.square(coordinates).sum(axis=1), own, out=np.full(len(s), np.nan), where=own > _NOTHING)
    return Embedding(coordinates, values / np.trace(s), captured)


def extended(s: Similarity, fitted: Places, others: Places, dimensions: int, *, centred: bool) -> tuple[Coordinates, Coordinates]:
    """Coordinates of the `fitted` points from their own similarities, and those of `others` along the same axes (Nystroem).

        y = S_of U / sqrt(w)

    Centred: both less the mean of the fitted points. Others have no part in the axes. A dimension without extent is 0.
    """
    own, cross = _symmetric(s[np.ix_(fitted, fitted)]), s[np.ix_(others, fitted)]
    if centred:
        mean = own.mean(axis=0)
        cross = cross - cross.mean(axis=1, keepdims=True) - mean + own.mean()
        own = _centred(own)
    values, vectors = _leading(own, dimensions)
    inverse = np.divide(1.0, np.sqrt(values), out=np.zeros_like(values), where=values > _NOTHING * max(values[0], _NOTHING))
    return vectors * np.sqrt(values), cross @ (vectors * inverse)


def correlations(coordinates: Coordinates, marks: Marks) -> Float[np.ndarray, " dimensions"]:
    """Of each dimension with the marks; NaN where a dimension does not vary."""
    x = coordinates - coordinates.mean(axis=0)
    y = marks - marks.mean()
    norms = np.linalg.norm(x, axis=0) * np.linalg.norm(y)
    return np.divide(y @ x, norms, out=np.full(x.shape[1], np.nan), where=norms > _NOTHING)


def held_out_correlations(
    s: Similarity, fitted: Places, others: Places, marks: Marks, dimensions: int, *, centred: bool
) -> Float[np.ndarray, " dimensions"]:
    """Correlation of the marks of `others` with axes of the `fitted` points, on which the sign of each axis is fixed.

    `marks` are those of all points. Near 1: the axis separates languages the same way in points that it was not made of. A
    difference of languages in the others alone correlates with any axis that it is not orthogonal to, with either sign.
    """
    own, extension = extended(s, fitted, others, dimensions, centred=centred)
    signs = np.where(correlations(own, marks[fitted]) < 0, -1.0, 1.0)
    return correlations(extension, marks[others]) * signs


def distances(s: Similarity, a: Places, b: Places) -> Float[np.ndarray, " pairs"]:
    """Of pairs of points in all of the space."""
    return np.sqrt(np.maximum(s[a, a] + s[b, b] - 2 * s[a, b], 0.0))


@dataclass(frozen=True)
class Residuals:
    """What is left between two stacks of layers V and W after the best rotation of one of them, over sqrt(|V|^2 + |W|^2).

    `dimensions`: the rotation is of the dimensions that all layers share: |V'W|_* = sum of the roots of the eigenvalues of
    (V V')(W W'), which the similarities within either stack tell. `layers`: the published one mixes the layers, |V W'|_*.
    From 0 to 1; NaN where the stacks differ in their number of layers.
    """

    dimensions: float
    layers: float


def residuals(s: Similarity, a: Places, b: Places) -> Residuals:
    """Of layers a and b in order."""
    within = [s[np.ix_(places, places)] for places in (a, b)]
    total = np.trace(within[0]) + np.trace(within[1])
    of_layers = np.linalg.svd(s[np.ix_(a, b)], compute_uv=False).sum()
    of_dimensions = np.linalg.svd(_root(within[0]) @ _root(within[1]), compute_uv=False).sum() if len(a) == len(b) else np.nan
    return Residuals(_relative(total, of_dimensions), _relative(total, of_layers))


def _relative(total: float, common: float) -> float:
    return float(np.sqrt(np.maximum(0.0, 1 - 2 * common / total)))


def _root(s: Similarity) -> Similarity:
    """The square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(_symmetric(s))
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _symmetric(s: Similarity) -> Similarity:
    return (s + s.T) / 2


def _centred(s: Similarity) -> Similarity:
    s = _symmetric(s)
    mean = s.mean(axis=0)
    return s - mean - mean[:, None] + mean.mean()


def _leading(s: Similarity, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, none below 0, and their vectors; each vector's largest entry is positive."""
    values, vectors = np.linalg.eigh(s)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return np.maximum(values, 0.0), vectors * np.where(largest < 0, -1.0, 1.0)
