"""Things that are alike, put beside each other."""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from layeratlas.errors import Undefined

Similarities = Float[np.ndarray, "n n"]


def average_linkage(similarities: Similarities) -> Float[np.ndarray, "merges 4"]:
    """The tree of two things or more by average linkage (Sokal and Michener, 1958), in SciPy's form, neighbours as alike as can be.

    The distance of two things is the largest similarity of any two less theirs. Similarities are symmetric; their diagonal is not
    read. Raises Undefined where one is undefined.
    """
    pairs = similarities[np.triu_indices(len(similarities), 1)]
    if not np.isfinite(pairs).all():
        raise Undefined("a similarity is undefined, so nothing can be clustered")
    distances = pairs.max() - similarities
    np.fill_diagonal(distances, 0.0)
    return linkage(squareform(distances, checks=False), "average", optimal_ordering=True)


def clustered_order(similarities: Similarities) -> Int[np.ndarray, " n"]:
    """The things in the order of the tree's leaves."""
    return leaves_list(average_linkage(similarities)).astype(int)
