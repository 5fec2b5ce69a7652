"""The same for Gaussian kernels, whose bandwidth follows from each subset's own median distance.

A bandwidth that stayed that of all items would miss up to a third of the spread over subsets. Distances do not depend on it: they
are made once for all subsets, twice to find the medians and once for the products.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.metrics.gram import Gaussian, Gram, row_ranges, squared_distances, upper_bits
from layeratlas.metrics.left_out import Groups, LeftOut, ranges_in_groups, recentred

Bits = Int[Tensor, "rows n"]

_BINS = 2**16  # of a float's upper bits


def gaussian_products_without(a: Sequence[Gram], b: Sequence[Gram], groups: Groups, multiple: float) -> LeftOut:
    """Products of the Gram matrices of each subset, the bandwidth being `multiple` times the subset's median distance.

    Raises Undefined where that median is 0.
    """
    sides = tuple(_Side.of([gram.permuted(groups.order) for gram in side], groups, multiple) for side in (a, b))
    n, wide = a[0].n, torch.promote_types(a[0].x.dtype, b[0].x.dtype)
    products = torch.zeros(groups.left_out, len(a), len(b), dtype=torch.float64)
    for rows in row_ranges(n, 2 * (len(a) + len(b))):
        distances = [side.distances(rows) for side in sides]
        for subset in range(groups.left_out):
            k, l = (side.weighted(subset, rows, of_rows).to(wide) for side, of_rows in zip(sides, distances, strict=True))  # noqa: E741 (K and L)
            products[subset] += (k @ l.T).double().cpu()
    sizes = n - groups.sizes[: groups.left_out]
    first, second = sides
    parts = [
        recentred(products[s], (first.squares[s], second.squares[s]), (first.rows[s], second.rows[s]), m, hollow=a[0].hollow)
        for s, m in enumerate(sizes.tolist())
    ]
    return LeftOut(sizes, *(torch.stack(part) for part in zip(*parts, strict=True)))


class _Side(NamedTuple):
    """The layers of one side, their items by groups, and what is added up for each subset: squares, and each item's row."""

    grams: Sequence[Gram]
    kernels: Sequence[Sequence[Gaussian]]  # of each layer, over each subset
    left_out: Sequence[slice]
    squares: Float[Tensor, "subsets layers"]
    rows: Float[Tensor, "subsets layers n"]

    @classmethod
    def of(cls, grams: Sequence[Gram], groups: Groups, multiple: float) -> "_Side":
        shape = groups.left_out, len(grams)
        return cls(
            grams,
            [_kernels(gram.x, groups, multiple) for gram in grams],
            [slice(start, end) for start, end in zip([0, *groups.ends], groups.ends[: groups.left_out], strict=False)],
            torch.zeros(shape, dtype=torch.float64),
            torch.zeros(*shape, grams[0].n, dtype=torch.float64),
        )

    def distances(self, rows: slice) -> list[Float[Tensor, "later columns"]]:
        return [squared_distances(gram.x[rows.start :], gram.x[rows]) for gram in self.grams]

    def weighted(self, subset: int, rows: slice, distances: Sequence[Tensor]) -> Float[Tensor, "layers _"]:
        """Each layer's values, each pair of items once and at its weight, 0 where an item is left out; what they add is added."""
        weighted = [self._weighted(subset, layer, rows, of_layer) for layer, of_layer in enumerate(distances)]
        return torch.stack(weighted)

    def _weighted(self, subset: int, layer: int, rows: slice, distances: Float[Tensor, "later columns"]) -> Float[Tensor, " _"]:
        gram, left_out = self.grams[layer], self.left_out[subset]
        values = gram.centred_columns(self.kernels[layer][subset].of_squares(distances), rows)
        columns = values.shape[1]
        start, stop = (max(0, place - rows.start) for place in (left_out.start, left_out.stop))
        values[start:stop] = 0
        values[:, start:stop] = 0
        self.rows[subset, layer, rows.start :] += values.sum(dim=1).double().cpu()
        self.rows[subset, layer, rows] += values[columns:].sum(dim=0).double().cpu()
        values[columns:] *= 2**0.5
        self.squares[subset, layer] += values.square().sum(dim=1).double().sum().cpu()
        return values.flatten()


def _kernels(x: LayerActivations, groups: Groups, multiple: float) -> list[Gaussian]:
    return [Gaussian.of_median(median, multiple, x) for median in medians_without(x, groups)]


def medians_without(x: LayerActivations, groups: Groups) -> list[float]:
    """The median squared distance of each subset, over all m^2 pairs of its m items; `x` has the items by groups.

    As `median_squared_distance`: counts of distances by their upper bits say in which few bins the medians lie, and only the
    distances there are sorted. A subset's counts are all counts less those of the left-out group's rows and columns.
    """
    shape = len(groups.ends), _BINS
    of_rows, of_columns, within = (torch.zeros(shape, dtype=torch.long, device=x.device) for _ in range(3))
    for group, _, bits in _bits(x, groups):
        for other, part in enumerate(bits.split(groups.sizes.tolist(), dim=1)):
            counts = torch.bincount(part.flatten(), minlength=_BINS)
            of_rows[group] += counts
            of_columns[other] += counts
            if group == other:
                within[group] += counts
    kept = (of_rows.sum(dim=0) - of_rows - of_columns + within)[: groups.left_out]
    below = kept.cumsum(dim=1)
    pairs = below[:, -1:]
    middle = torch.cat([(pairs - 1) // 2, pairs // 2], dim=1)
    places = torch.searchsorted(below, middle, right=True)
    low, high = int(places.min()), int(places.max())
    skipped = below[:, low - 1] if low else torch.zeros_like(below[:, 0])
    values, group_of_row, group_of_column = _sorted_within(x, groups, low, high)
    medians = []
    for subset in range(groups.left_out):
        ordered = values[(group_of_row != subset) & (group_of_column != subset)]
        medians.append(float(ordered[middle[subset] - skipped[subset]].mean()))
    return medians


def _sorted_within(x: LayerActivations, groups: Groups, low: int, high: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances whose upper bits lie between `low` and `high`, in their order, with the groups of both items."""
    group_of = torch.repeat_interleave(torch.arange(len(groups.ends), device=x.device), groups.sizes.to(x.device))
    parts = []
    for group, distances, bits in _bits(x, groups):
        inside = (bits >= low) & (bits <= high)
        columns = inside.nonzero()[:, 1]
        parts.append((distances[inside], torch.full_like(columns, group), group_of[columns]))
    values, group_of_row, group_of_column = (torch.cat(part) for part in zip(*parts, strict=True))
    values, order = values.sort()
    return values, group_of_row[order], group_of_column[order]


def _bits(x: LayerActivations, groups: Groups) -> Iterator[tuple[int, Float[Tensor, "rows n"], Bits]]:
    """Squared distances of ranges of rows that each lie in one group, and their upper bits."""
    for group, rows in ranges_in_groups(groups, len(x), layers=4):
        distances = squared_distances(x[rows], x)
        distances[:, rows].fill_diagonal_(0)
        yield group, distances, upper_bits(distances)
