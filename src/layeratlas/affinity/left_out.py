"""The matrix over some of the items, whether or not a metric can tell it from its signatures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from layeratlas.affinity.matrix import Affinity, bounded, compare
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import Undefined

Subsets = Sequence[Int[np.ndarray, " _"]]
Matrices = Float[np.ndarray, "subsets layers_a layers_b"]


def over_subsets(
    signer: Signer, signatures: tuple[Sequence[Any], Sequence[Any]], a: Activations, b: Activations, subsets: Subsets
) -> Matrices:
    """The matrices of each subset of the items: from both sides' signatures, or, where these cannot do without the others, anew.

    From signatures, a normalisation stays that of all items. `a` and `b` hold the layers that the signatures are of. Raises
    ActivationError where a subset has no similarity.
    """
    try:
        return bounded(signer.metric, signer.metric.subset_affinity(*signatures, [torch.from_numpy(subset) for subset in subsets]))
    except Undefined:
        return np.stack([_anew(signer, a, b, torch.from_numpy(subset)).matrix for subset in subsets])


def _anew(signer: Signer, a: Activations, b: Activations, kept: torch.Tensor) -> Affinity:
    some = a.some(kept)
    return compare(signer, some, some if b is a else b.some(kept))
