"""Matrices over one half of the items and over the other, and over these without each group of items."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from layeratlas.affinity.matrix import bounded
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations


def half_matrices(
    signer: Signer,
    a: Activations,
    b: Activations,
    groups: Sequence[Int[np.ndarray, " members"]],
    half_of: Int[np.ndarray, " groups"],
) -> tuple[Float[np.ndarray, "2 layers_a layers_b"], Float[np.ndarray, "groups layers_a layers_b"]]:
    """Both halves' matrices and, for each group of items, that of its half without it.

    `half_of` is 0 or 1 for each group. Signatures of a half are made from its vectors alone, so that nothing of the other half is
    in them, not even by a normalisation. Raises ValueError where the metric has no value for so few items, or knows none of
    subsets.
    """
    whole, without = [], {}
    for half in (0, 1):
        own = np.flatnonzero(half_of == half).tolist()
        members = torch.from_numpy(np.concatenate([groups[group] for group in own]))
        part = a.some(members)
        signatures_a = signer(part, "a")
        signatures_b = signatures_a if b is a else signer(b.some(members), "b")
        whole.append(bounded(signer.metric, signer.metric.affinity(signatures_a, signatures_b)))
        ends = np.cumsum([len(groups[group]) for group in own])
        kept = [np.delete(np.arange(ends[-1]), np.arange(end - len(groups[g]), end)) for g, end in zip(own, ends, strict=True)]
        subsets = [torch.from_numpy(places) for places in kept]
        matrices = bounded(signer.metric, signer.metric.subset_affinity(signatures_a, signatures_b, subsets))
        without |= dict(zip(own, matrices, strict=True))
    return np.stack(whole), np.stack([without[group] for group in range(len(groups))])


def in_memory(side: Activations) -> Activations:
    """The same vectors, read once."""
    return Activations(dict(side.layers), side.n_blocks, side.lengths)
