"""Random subspaces to compare a language's with."""

import torch

from layeratlas.errors import Undefined
from layeratlas.statistics.removals.base import Eraser, Languages, means_of, orthogonal


def random_directions(x: Languages, rank: int, generator: torch.Generator) -> Eraser:
    """Projects out `rank` random directions of those in which items of one language differ, weighted by their variance.

        Q an orthonormal basis of W'G,  W the vectors less their language's mean, G standard normal

    Such directions hold energy as the items' own do: a direction at random of all d would hold next to none, and would be too
    easy a control. Raises Undefined where items vary in fewer directions.
    """
    means = means_of(x)
    within = (x - means[:, None]).reshape(-1, x.shape[-1])
    most = min(len(within) - len(x), x.shape[-1])
    if rank > most:
        raise Undefined(f"random directions: items differ in at most {most}; got rank={rank}")
    weights = torch.randn(len(within), rank, dtype=x.dtype, generator=generator)
    basis = torch.linalg.qr(within.T @ weights.to(x.device)).Q
    return orthogonal(basis, means.mean(dim=0))
