"""What distinguishes the first text of a pair from the second in one space: how central either is, how dense its surroundings.

Everything takes two matrices (n, d) whose rows i are the two texts of pair i, and returns a number a pair. Formulas and the
constant 1e-10 are those of D'Elia (2026, uniformity asymmetry), computed in float64.
"""

import numpy as np
from jaxtyping import Float

from layeratlas.errors import Undefined
from layeratlas.statistics.nulls import ROUNDING

Vectors = Float[np.ndarray, "n d"]
Pairs = Float[np.ndarray, " n"]
Weights = Float[np.ndarray, "draws n"]

_TINY = 1e-10
_NEIGHBOURS = 10


def centroid_asymmetry(a: Vectors, b: Vectors) -> Pairs:
    """cos(a_i, mean of a) - cos(b_i, mean of b), in [-2, 2]. As published: each text is a part of the centroid it is held to."""
    return _cosines(a, a.mean(axis=0)) - _cosines(b, b.mean(axis=0))


def cross_centroid(a: Vectors, b: Vectors) -> Pairs:
    """cos(a_i, mean of b) - cos(b_i, mean of a), in [-2, 2]."""
    return _cosines(a, b.mean(axis=0)) - _cosines(b, a.mean(axis=0))


def within_pair_similarity(a: Vectors, b: Vectors) -> Pairs:
    """cos(a_i, b_i), in [-1, 1]."""
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + _TINY)


def density_asymmetry(a: Vectors, b: Vectors) -> Pairs:
    """z(density of a_i) - z(density of b_i), z over the texts of one side.

        density = 1 / mean cosine distance to the min(10, n - 1) nearest texts of its side

    As published, the text itself is the first of these, at distance 0.
    """
    return _standardised(_density(a)) - _standardised(_density(b))


def margin_asymmetry(a: Vectors, b: Vectors) -> Pairs:
    """|a_i - m| - |b_i - m|, m half-way between both means, in the vectors' units."""
    middle = (a.mean(axis=0) + b.mean(axis=0)) / 2
    return np.linalg.norm(a - middle, axis=1) - np.linalg.norm(b - middle, axis=1)


PUBLISHED = {  # in the published order, which is also the order in which their resamples are drawn
    "centroid_asymmetry": centroid_asymmetry,
    "cross_centroid": cross_centroid,
    "within_pair_similarity": within_pair_similarity,
    "density_asymmetry": density_asymmetry,
    "margin_asymmetry": margin_asymmetry,
}


def uniformity(x: Vectors) -> float:
    """Mean cosine over all pairs of different rows, in [-1, 1]; larger = less spread. Raises ValueError for fewer than two."""
    if len(x) < 2:
        raise Undefined(f"uniformity is a mean over pairs of texts; got {len(x)}")
    unit = x / (np.linalg.norm(x, axis=1, keepdims=True) + _TINY)
    total, squares = unit.sum(axis=0), (unit**2).sum()
    return float((total @ total - squares) / (len(x) * (len(x) - 1)))


def left_out_asymmetry(a: Vectors, b: Vectors, weights: Weights) -> Float[np.ndarray, "draws n"]:
    """Centroid asymmetry with each text left out of its own centroid, for every weighting of the items.

        cos(a_i, sum_(j != i) w_j a_j) - cos(b_i, sum_(j != i) w_j b_j)

    Weights are how often each item was drawn, all 1 for the sample itself: a centroid is made anew for each resample, and every
    copy of an item is left out of its own. Raises ValueError where nothing but the item itself has weight.
    """
    if ((weights > 0).sum(axis=1) < 2).any():
        raise Undefined("a centroid without the text itself needs another text")
    return _left_out_cosines(a, weights) - _left_out_cosines(b, weights)


def _left_out_cosines(x: Vectors, weights: Weights) -> Float[np.ndarray, "draws n"]:
    y = np.asarray(np.linalg.qr(x.T, mode="r")).T if x.shape[1] > len(x) else x  # the same inner products in fewer dimensions
    y = y / np.abs(y).max()
    squares = (y**2).sum(axis=1)
    centroids = weights @ y
    products = centroids @ y.T - weights * squares
    length = (centroids**2).sum(axis=1)[:, None] - 2 * weights * products - weights**2 * squares
    smallest = ROUNDING * (centroids**2).sum(axis=1)[:, None]
    if (length <= smallest).any():
        raise Undefined("texts cancel out: their centroid has no direction")
    return products / np.sqrt(length * squares)


def _cosines(x: Vectors, centroid: Float[np.ndarray, " d"]) -> Pairs:
    return x @ centroid / (np.linalg.norm(x, axis=1) * np.linalg.norm(centroid) + _TINY)


def _density(x: Vectors) -> Pairs:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T
    np.fill_diagonal(distances, 0.0)
    k = min(_NEIGHBOURS, len(x) - 1)
    return 1 / (np.partition(np.maximum(distances, 0.0), k - 1, axis=1)[:, :k].mean(axis=1) + _TINY)


def _standardised(values: Pairs) -> Pairs:
    return (values - values.mean()) / (values.std() + _TINY)
