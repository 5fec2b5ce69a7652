"""Inner products of centred Gram matrices of many subsets of the items at once, each subset being all items but one group.

A matrix over some of the items is a part of the whole one, centred anew: with r_i and s_i the sums of its rows in both layers, t
and u the sums of all of them and m the number of items kept, the double-centred product is

    sum_ij K_ij L_ij - 2/m sum_i r_i s_i + t u / m^2

and the U-centred one, without the diagonal, has m - 2 in the place of m and (m - 1) (m - 2) in that of m^2. Each of these sums is
made up of sums over pairs of groups, and those of all pairs of groups cost what the whole matrix costs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.metrics.gram import Gram, row_ranges

Products = Float[Tensor, "groups layers_a layers_b"]


class Groups(NamedTuple):
    """Items by groups: `order` is all items, those of a group together; `ends`: where each group ends in it.

    `left_out` groups are left out in turn; a last one, which may be empty, never is.
    """

    order: Int[Tensor, " n"]
    ends: list[int]
    left_out: int

    @property
    def fewest_kept(self) -> int:
        return len(self.order) - int(self.sizes[: self.left_out].max())

    @property
    def sizes(self) -> Int[Tensor, " groups"]:
        return torch.tensor([0, *self.ends]).diff()


def groups_of(subsets: Sequence[Int[Tensor, " _"]], n: int) -> Groups | None:
    """The groups whose complements are the subsets; None where they overlap, or a subset repeats an item or reorders its items."""
    left_out = []
    for kept in subsets:
        present = torch.zeros(n, dtype=torch.bool)
        present[kept.cpu()] = True
        if not torch.equal(present.nonzero()[:, 0], kept.cpu()):
            return None
        left_out.append((~present).nonzero()[:, 0])
    members = torch.cat(left_out)
    if len(members.unique()) < len(members):
        return None
    rest = torch.ones(n, dtype=torch.bool)
    rest[members] = False
    parts = [*left_out, rest.nonzero()[:, 0]]
    return Groups(torch.cat(parts), torch.tensor([len(part) for part in parts]).cumsum(0).tolist(), len(left_out))


class LeftOut(NamedTuple):
    """Of each subset: how many items it holds, products of all pairs of layers, and each layer's product with itself."""

    items: Int[Tensor, " groups"]
    products: Products
    squares_a: Float[Tensor, "groups layers_a"]
    squares_b: Float[Tensor, "groups layers_b"]


class _Sums:
    """Sums over pairs of groups of one side's layers: of squares, and of each item's row over each group."""

    def __init__(self, layers: int, groups: Groups) -> None:
        count = len(groups.ends)
        self.squares = torch.zeros(count, count, layers, dtype=torch.float64)
        self.rows = torch.zeros(layers, len(groups.order), count, dtype=torch.float64)


def products_without(a: Sequence[Gram], b: Sequence[Gram], groups: Groups) -> LeftOut:
    """Blocks of columns that each lie in one group are made once, for all layers."""
    n, count, device = a[0].n, len(groups.ends), a[0].x.device
    wide = torch.promote_types(a[0].x.dtype, b[0].x.dtype)
    order = None if torch.equal(groups.order, torch.arange(n)) else groups.order.to(device)
    products = torch.zeros(count, count, len(a), len(b), dtype=torch.float64)
    sums_a, sums_b = _Sums(len(a), groups), _Sums(len(b), groups)
    group_of = torch.repeat_interleave(torch.arange(count), groups.sizes)
    for group, rows in ranges_in_groups(groups, n, len(a) + len(b)):
        members = torch.nn.functional.one_hot(group_of[rows.start :], count).T.to(device, a[0].x.dtype)
        k, l = (  # noqa: E741 (K and L)
            torch.stack([_weighted(gram, i, rows, order, group, members, sums).to(wide) for i, gram in enumerate(side)])
            for side, sums in ((a, sums_a), (b, sums_b))
        )
        bounds, columns = [0, *(max(0, end - rows.start) for end in groups.ends)], rows.stop - rows.start
        for other in range(group, count):
            part = slice(bounds[other] * columns, bounds[other + 1] * columns)
            products[group, other] += (k[:, part] @ l[:, part].T).double().cpu()
    return _centred(products, sums_a, sums_b, groups, hollow=a[0].hollow)


def _weighted(
    gram: Gram,
    layer: int,
    rows: slice,
    order: Int[Tensor, " n"] | None,
    group: int,
    members: Float[Tensor, "groups later"],
    sums: _Sums,
) -> Float[Tensor, " _"]:
    """A layer's columns, flattened, each pair of items once and at its weight; what they add to the layer's sums is added.

    `members` is 1 where a row is an item of a group.
    """
    values = gram.columns(rows, order)
    columns = values.shape[1]
    sums.rows[layer, rows] += (members.to(values.dtype) @ values).T.double().cpu()
    sums.rows[layer, rows.stop :, group] += values[columns:].sum(dim=1).double().cpu()
    values[columns:] *= 2**0.5
    squares = values.square().sum(dim=1).double()
    sums.squares[group, :, layer] += (members.double() @ squares).cpu()
    return values.flatten()


def ranges_in_groups(groups: Groups, n: int, layers: int) -> list[tuple[int, slice]]:
    (largest, *_) = row_ranges(n, layers)
    ranges, start = [], 0
    for group, end in enumerate(groups.ends):
        while start < end:
            stop = min(start + largest.stop, end)
            ranges.append((group, slice(start, stop)))
            start = stop
    return ranges


def _centred(products: Float[Tensor, "groups groups a b"], a: _Sums, b: _Sums, groups: Groups, *, hollow: bool) -> LeftOut:
    """The sums over each subset, centred by the sums of its rows."""
    n = len(groups.order)
    group_of = torch.repeat_interleave(torch.arange(len(groups.ends)), groups.sizes)
    parts = []
    for group in range(groups.left_out):
        others = torch.arange(len(groups.ends)) != group
        rows_a, rows_b = (side.rows[:, group_of != group][..., others].sum(dim=-1) for side in (a, b))
        whole, *squares = (sums[others][:, others].sum(dim=(0, 1)) for sums in (products, a.squares, b.squares))
        parts.append(recentred(whole, squares, (rows_a, rows_b), n - int(groups.sizes[group]), hollow=hollow))
    return LeftOut(n - groups.sizes[: groups.left_out], *(torch.stack(part) for part in zip(*parts, strict=True)))


def recentred(
    products: Float[Tensor, "layers_a layers_b"],
    squares: Sequence[Float[Tensor, " _"]],
    rows: Sequence[Float[Tensor, "_ n"]],
    m: int,
    *,
    hollow: bool,
) -> tuple[Float[Tensor, "layers_a layers_b"], Float[Tensor, " layers_a"], Float[Tensor, " layers_b"]]:
    """Sums over m items centred by the sums of their rows: products of both sides, and each side's `squares`."""
    by_rows, by_all = (m - 2, (m - 1) * (m - 2)) if hollow else (m, m**2)

    def centre(whole: Tensor, meeting: Tensor, totals: Tensor) -> Tensor:
        return whole - 2 / by_rows * meeting + totals / by_all

    totals = [of_side.sum(dim=1) for of_side in rows]
    of_a, of_b = (
        centre(whole, of_side.square().sum(dim=1), total.square())
        for whole, of_side, total in zip(squares, rows, totals, strict=True)
    )
    return centre(products, rows[0] @ rows[1].T, torch.outer(*totals)), of_a, of_b
