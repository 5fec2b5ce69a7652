"""How many neighbours each single item has in common in two layers: what metrics of neighbours are means of."""

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.metrics.nearest import Listed
from layeratlas.metrics.ties import credited

_ROWS = 1024


def shared_by_item(a: Listed, b: Listed, k: int) -> Float[Tensor, " n"]:
    """Of each item's k nearest in either layer, how many are the same, from 0 to k.

        |N_a(i) & N_b(i)|

    Where neighbours are equally near, the mean over all ways to break the ties, each layer's independently (see `ties`). The mean
    over items, divided by k, is `MutualKNN`.
    """
    (lists_a, credits_a), (lists_b, credits_b) = credited(a, k), credited(b, k)
    n, shared = len(lists_a), []
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        member = torch.zeros(len(lists_b[rows]), n, dtype=torch.float64, device=lists_b.device)
        member.scatter_add_(1, lists_b[rows].long(), credits_b[rows].double())
        shared.append((member.gather(1, lists_a[rows].long()) * credits_a[rows].double()).sum(dim=1))
    return torch.cat(shared)
