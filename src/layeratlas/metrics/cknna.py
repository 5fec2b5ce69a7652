"""CKA of common nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix
from layeratlas.errors import Undefined
from layeratlas.metrics.base import About
from layeratlas.metrics.nearest import COSINE_INVARIANCES, Listed
from layeratlas.metrics.neighbors import AbstractNeighborMetric
from layeratlas.metrics.ties import credited

_ROUNDING = 1e-12  # of an HSIC of cosines


class Entries(NamedTuple):
    """Places i n + j of a list's entries in the n x n matrix, in order; the kernel there, and the share that counts as listed."""

    places: Int[Tensor, " entries"]
    kernel: Float[Tensor, " entries"]
    credits: Float[Tensor, " entries"]


@dataclass(frozen=True)
class CKNNA(AbstractNeighborMetric):
    """CKA restricted to common nearest neighbours (Huh et al., 2024, appendix A), with the unbiased estimator of HSIC.

        H(aK, aL) / sqrt(H(bK, bK) H(cL, cL))

    with K and L the cosine similarities of both layers, masked by a: the neighbours common to both layers, b: those of the one,
    c: those of the other layer. All entries outside the masks are 0, so the lists and their similarities are enough. Masked
    matrices are not symmetric, and neither is H of two of them, though nearly. Where items are equally near, a mask holds the
    probability that a neighbour is listed or common, when the ties of both layers are broken independently.
    """

    about = About(
        name="cknna",
        definition="debiased CKA of cosine similarities, of common nearest neighbours only",
        estimator="unbiased HSIC of masked Gram matrices",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="by permutation",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k log(n k) a pair",
        source="Huh et al. 2024",
        symmetric=False,
    )

    is_share = False

    @property
    def min_n(self) -> int:
        return max(4, self.k + 1)

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        entries_a, entries_b = ([self._entries(layer) for layer in side] for side in (a, b))
        own = [torch.tensor([self._own(e, self.items(a[0])) for e in side], dtype=torch.float64) for side in (entries_a, entries_b)]
        if min(values.min() for values in own) < _ROUNDING:
            raise Undefined("a layer's neighbours are all equally near: its CKNNA with itself is zero, so undefined")
        in_common = torch.tensor(
            [[self._common(x, y, self.items(a[0])) for y in entries_b] for x in entries_a], dtype=torch.float64
        )
        return in_common / torch.outer(*(values.sqrt() for values in own))

    def _entries(self, layer: Listed) -> Entries:
        listed = credited(layer, self.k)
        n, width = listed.indices.shape
        credits, kernel = (
            listed.credits.double().flatten(),
            layer.similarities[:, :width].double().flatten() + self.nearest.own_kernel,
        )
        places = (torch.arange(n, device=credits.device)[:, None] * n + listed.indices).flatten()
        places, kernel, credits = (part[credits > 0] for part in (places, kernel, credits))
        order = places.argsort()
        return Entries(places[order], kernel[order], credits[order])

    def _own(self, x: Entries, n: int) -> float:
        masked = x.kernel * x.credits
        return _masked_hsic(x.places, masked, masked, n)

    def _common(self, x: Entries, y: Entries, n: int) -> float:
        at = torch.searchsorted(y.places, x.places).clamp(max=len(y.places) - 1)
        both = y.places[at] == x.places
        credits = x.credits[both] * y.credits[at[both]]
        return _masked_hsic(x.places[both], x.kernel[both] * credits, y.kernel[at[both]] * credits, n)


def _masked_hsic(places: Int[Tensor, " m"], k: Float[Tensor, " m"], l: Float[Tensor, " m"], n: int) -> float:  # noqa: E741 (K, L)
    """Unbiased HSIC (Song et al., 2012, eq. 5) of two sparse matrices with entries at the same places, not on the diagonal."""
    rows, columns = places // n, places % n
    mirrored = columns * n + rows
    at = torch.searchsorted(places, mirrored).clamp(max=max(len(places) - 1, 0))
    crossed = (k * l[at])[places[at] == mirrored].sum() if len(places) else k.sum()
    column_sums = torch.zeros(n, dtype=k.dtype, device=k.device).index_add_(0, columns, k)
    row_sums = torch.zeros(n, dtype=l.dtype, device=l.device).index_add_(0, rows, l)
    parts = crossed + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (column_sums @ row_sums) / (n - 2)
    return float(parts) / (n * (n - 3))
