"""Credit for equally near neighbours: the mean over all ways to break the ties, each layer's independently of the other's.

Of an item's k nearest others, those nearer than the k-th are members for certain. Where m items are as near as the k-th and r
places are left for them, each is a member with probability r / m. Two layers break their ties independently, so that the expected
number of common members is the sum of products of these credits; what is no such sum follows from the distribution of their number.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.metrics.nearest import Listed

_CELLS = 2**24  # of a table of probabilities that is made at once


class Credited(NamedTuple):
    """Neighbours and the probability that each is among the k nearest; entries of 0 fill up rows."""

    indices: Int[Tensor, "*layers n width"]
    credits: Float[Tensor, "*layers n width"]


class Runs(NamedTuple):
    """Places of the first and of the last of the equally near neighbours that an entry is one of."""

    first: Int[Tensor, "*rows width"]
    last: Int[Tensor, "*rows width"]


def runs(similarities: Float[Tensor, "*rows width"]) -> Runs:
    width = similarities.shape[-1]
    places = torch.arange(width, device=similarities.device)
    new = torch.ones_like(similarities, dtype=torch.bool)
    new[..., 1:] = similarities[..., 1:] != similarities[..., :-1]
    ends = torch.ones_like(new)
    ends[..., :-1] = new[..., 1:]
    first = torch.where(new, places, 0).cummax(dim=-1).values
    last = torch.where(ends, places, width).flip(-1).cummin(dim=-1).values.flip(-1)
    return Runs(first, last)


def shares(similarities: Float[Tensor, "*rows width"], kept: Bool[Tensor, "*draws width"], k: int) -> Float[Tensor, "*draws width"]:
    """The probability that an entry is among the k nearest of those that are `kept`."""
    counts = kept.cumsum(dim=-1, dtype=torch.int32)
    credits = (kept & (counts <= k)).float()
    tied = (similarities[..., 1:] == similarities[..., :-1]).any(dim=-1)
    if bool(tied.any()):
        run = runs(similarities[tied])
        shape = counts[..., tied, :].shape
        reached = counts[..., tied, :].gather(-1, run.last.expand(shape))
        before = (
            counts[..., tied, :].gather(-1, run.first.expand(shape)) - kept[..., tied, :].gather(-1, run.first.expand(shape)).int()
        )
        credits[..., tied, :] = kept[..., tied, :] * ((k - before) / (reached - before).clamp(min=1)).clamp(0, 1)
    return credits


def split(layer: Listed, k: int) -> Bool[Tensor, " n"]:
    """Items whose k-th neighbour is no nearer than one that finds no place."""
    if layer.similarities.shape[1] == k:
        return torch.zeros(len(layer.indices), dtype=torch.bool, device=layer.indices.device)
    return layer.similarities[:, k - 1] == layer.similarities[:, k]


def credited(layer: Listed, k: int) -> Credited:
    """The k nearest of each item, and all that are as near as the last of them."""
    rows = split(layer, k)
    if not bool(rows.any()):
        return Credited(layer.indices[:, :k], torch.ones_like(layer.similarities[:, :k], dtype=torch.float32))
    similarities = layer.similarities[rows]
    credit = shares(similarities, similarities.isfinite(), k)
    width = int((credit > 0).sum(dim=1).max())
    credits = torch.zeros(len(rows), width, device=rows.device)
    credits[:, :k] = 1
    credits[rows] = credit[:, :width]
    indices = layer.indices[:, :width].clone()
    return Credited(indices, credits)


def stacked(layers: list[Credited]) -> Credited:
    """All layers' neighbours in one tensor; the item itself, with a credit of 0, fills up shorter lists."""
    if len(widths := {layer.indices.shape[1] for layer in layers}) == 1:
        return Credited(*(torch.stack(parts) for parts in zip(*layers, strict=True)))
    n, device = len(layers[0].indices), layers[0].indices.device
    own = torch.arange(n, device=device, dtype=torch.int32)[:, None]
    indices = own.expand(len(layers), n, max(widths)).clone()
    credits = torch.zeros(indices.shape, device=device)
    for i, layer in enumerate(layers):
        indices[i, :, : layer.indices.shape[1]] = layer.indices
        credits[i, :, : layer.indices.shape[1]] = layer.credits
    return Credited(indices, credits)


class Shared(NamedTuple):
    """How an item's neighbours in two layers meet, as integers: of `tied_*` as near as the k-th, `places_*` are left to be drawn.

    `certain`: members of both lists for certain; `first`: for certain in a, tied in b; `second`: tied in a, for certain in b;
    `both`: tied in both.
    """

    certain: Int[Tensor, " rows"]
    first: Int[Tensor, " rows"]
    second: Int[Tensor, " rows"]
    both: Int[Tensor, " rows"]
    tied_a: Int[Tensor, " rows"]
    places_a: Int[Tensor, " rows"]
    tied_b: Int[Tensor, " rows"]
    places_b: Int[Tensor, " rows"]


class Meeting(NamedTuple):
    """Some items' neighbours in layer b, and where each of them stands in layer a: its place, or -1."""

    places_a: Int[Tensor, "rows width"]
    certain_a: Bool[Tensor, "rows width"]
    tied_a: Bool[Tensor, "rows width"]
    certain_b: Bool[Tensor, "rows width"]
    tied_b: Bool[Tensor, "rows width"]
    shared: Shared


def meeting(a: Listed, b: Listed, rows: Bool[Tensor, " n"], k: int) -> Meeting:
    n, (there, at_a), (others, at_b) = len(a.indices), _split_lists(a, rows, k), _split_lists(b, rows, k)
    places = torch.full((len(there), n), -1, dtype=torch.int32, device=there.device)
    listed = at_a >= 0
    row, column = listed.nonzero(as_tuple=True)
    places[row, there[row, column].long()] = column.int()
    places_a = places.gather(1, others.long())
    state_a = torch.where(places_a >= 0, at_a.gather(1, places_a.clamp(min=0).long()), -1)
    certain_a, tied_a, certain_b, tied_b = state_a == 1, state_a == 0, at_b == 1, at_b == 0
    shared = Shared(
        certain=(certain_a & certain_b).sum(dim=1),
        first=(certain_a & tied_b).sum(dim=1),
        second=(tied_a & certain_b).sum(dim=1),
        both=(tied_a & tied_b).sum(dim=1),
        tied_a=(at_a == 0).sum(dim=1),
        places_a=k - (at_a == 1).sum(dim=1),
        tied_b=(at_b == 0).sum(dim=1),
        places_b=k - (at_b == 1).sum(dim=1),
    )
    return Meeting(places_a, certain_a, tied_a, certain_b, tied_b, shared)


def _split_lists(layer: Listed, rows: Bool[Tensor, " n"], k: int) -> tuple[Int[Tensor, "rows width"], Int[Tensor, "rows width"]]:
    """The k nearest and all as near as the last; 1 for what is a member for certain, 0 for what has to be drawn, -1 for neither."""
    listed = credited(Listed(layer.indices[rows], layer.similarities[rows]), k)
    state = torch.where(listed.credits == 1, 1, torch.where(listed.credits > 0, 0, -1))
    return listed.indices, state


def common_counts(cases: Shared, most: int) -> Float[Tensor, "rows counts"]:
    """The distribution, from 0 to `most`, of how many neighbours two lists have in common, by hypergeometric draws.

    a's draw takes `v` of `second` and `u` of `both`; b's then takes `h` of the `first` and those u: certain + v + h are common.
    """
    rows = torch.stack(cases, dim=1).long()
    distinct, inverse = rows.unique(dim=0, return_inverse=True)
    places_a, places_b = distinct[:, 5], distinct[:, 7]
    most_drawn = torch.minimum(distinct[:, 2], places_a), torch.minimum(distinct[:, 3], places_a), places_b
    sizes = [max(0, int(drawn.max())) + 1 for drawn in most_drawn]
    chunk = max(1, _CELLS // (sizes[0] * sizes[1] * sizes[2]))
    return torch.cat([_counts(part, sizes, most) for part in distinct.split(chunk)])[inverse]


def _counts(rows: Int[Tensor, "cases 8"], sizes: list[int], most: int) -> Float[Tensor, "cases counts"]:
    certain, first, second, both, tied_a, places_a, tied_b, places_b = (column[:, None, None, None] for column in rows.T)
    v, u, h = torch.meshgrid(*(torch.arange(size, device=rows.device) for size in sizes), indexing="ij")
    drawn_a = _log_choose(second, v) + _log_choose(both, u) + _log_choose(tied_a - second - both, places_a - v - u)
    drawn_b = _log_choose(first + u, h) + _log_choose(tied_b - first - u, places_b - h)
    logs = drawn_a + drawn_b - _log_choose(tied_a, places_a) - _log_choose(tied_b, places_b)
    counts = (certain + v + h).clamp(max=most)
    sums = torch.zeros(len(rows), most + 1, dtype=torch.float64, device=rows.device)
    return sums.scatter_add_(1, counts.flatten(start_dim=1), logs.exp().flatten(start_dim=1))


def _log_choose(n: Int[Tensor, "..."], k: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Minus infinity where there is no such choice."""
    logs = torch.lgamma(n.double() + 1) - torch.lgamma(k.double() + 1) - torch.lgamma((n - k).double() + 1)
    return torch.where((k >= 0) & (k <= n), logs, -torch.inf)
