"""Pairs of texts in categories whose centroid asymmetry correlates with their preference as planted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CATEGORIES, EACH = 6, 30
LABELS = [f"category {i // EACH}" for i in range(CATEGORIES * EACH)]
BETWEEN = 1.8  # variance of category means that makes r = -.4 within categories .5 over all: (BETWEEN - .4) / (BETWEEN + 1)


@dataclass(frozen=True)
class World:
    """`x` (layers, n) and `y` (n)."""

    x: Float[np.ndarray, "layers n"]
    y: Float[np.ndarray, " n"]


def category_means(rng: np.random.Generator, variance: float) -> Float[np.ndarray, " n"]:
    """Of each item's category: numbers of this variance over the items, in random order."""
    means = np.linspace(-1, 1, CATEGORIES)
    means *= np.sqrt(variance / means.var()) if variance else 0.0
    return np.repeat(rng.permutation(means), EACH)


def world(
    within: Sequence[float] | Float[np.ndarray, " layers"], rng: np.random.Generator, *, between: float = 0.0, smooth: float = 0.8
) -> World:
    """Layers whose correlation with y within categories is as given; what else they hold is alike in neighbouring layers.

    Between categories, means of x and y are the same numbers, of variance `between` to 1 within.
    """
    n, means = CATEGORIES * EACH, category_means(rng, between)
    y = rng.standard_normal(n)
    noise = rng.standard_normal((len(within), n))
    for layer in range(1, len(within)):
        noise[layer] = smooth * noise[layer - 1] + np.sqrt(1 - smooth**2) * noise[layer]
    r = np.asarray(within)[:, None]
    return World(r * y + np.sqrt(1 - r**2) * noise + means, y + means)


def vectors(x: Float[np.ndarray, " n"], rng: np.random.Generator, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Both texts' vectors of a layer, of unit length, whose centroid asymmetry is about .02 x.

    All share one direction; a text of side a has .6 + .02 x of it, one of side b .6, and the rest in a direction of its own.
    """
    shares = 0.6 + 0.02 * x, np.full(len(x), 0.6)
    return tuple(_sharing(share, rng, width) for share in shares)  # type: ignore[return-value]


def _sharing(share: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
    own = rng.standard_normal((len(share), width))
    own[:, 0] = 0
    own -= own.mean(axis=0)  # so that nothing but the shared direction is left in a centroid
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    rows = own * np.sqrt(1 - share**2)[:, None]
    rows[:, 0] = share
    return rows
