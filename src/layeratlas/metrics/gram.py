"""Centred Gram matrices, made by ranges of rows over all layers at once and never whole."""

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import Undefined
from layeratlas.metrics.mantel import Sums, centred_sums

_NUMBERS_AT_ONCE = 2**26  # in all layers' ranges of rows together: 256 MB in float32
_ROWS = 256  # at most: the half below the diagonal is not made, and a range of rows stays in a processor's cache
_PAIRS = 2**13  # pairs of items whose values in 40 layers of each side fit into a core's cache
_WHOLE_NUMBERS = 2**29  # up to here, permutations keep all layers' matrices in memory instead of making them again
_ROUNDING = 32  # epsilons of an item's square: what remains of the squared distance of equal items
_SQRT_2 = math.sqrt(2)


class Kernel(abc.ABC):
    """A similarity of two items' vectors, for all pairs of a range of rows and one of columns."""

    @abc.abstractmethod
    def __call__(self, x: Float[Tensor, "rows d"], y: Float[Tensor, "columns d"]) -> Float[Tensor, "rows columns"]: ...

    @abc.abstractmethod
    def itself(self, x: LayerActivations) -> Float[Tensor, " n"]:
        """Each item's value with itself, without the rounding that a difference of equal numbers would leave."""


@dataclass(frozen=True)
class Linear(Kernel):
    """x . y"""

    def __call__(self, x: Float[Tensor, "rows d"], y: Float[Tensor, "columns d"]) -> Float[Tensor, "rows columns"]:
        return x @ y.T

    def itself(self, x: LayerActivations) -> Float[Tensor, " n"]:
        return x.square().sum(dim=1)


@dataclass(frozen=True)
class Gaussian(Kernel):
    """exp(-|x - y|^2 / (2 s^2))"""

    squared_bandwidth: float

    @classmethod
    def of_median(cls, median: float, multiple: float, x: LayerActivations) -> "Gaussian":
        """With a bandwidth of `multiple` times the root of the median squared distance of items of x.

        Raises Undefined where the median is what rounding makes of 0.
        """
        if median <= _ROUNDING * torch.finfo(x.dtype).eps * float(x.square().sum(dim=1).median()):
            raise Undefined("more than half of all pairs of items are equal, so that the median distance is no bandwidth")
        return cls(multiple**2 * median)

    def __call__(self, x: Float[Tensor, "rows d"], y: Float[Tensor, "columns d"]) -> Float[Tensor, "rows columns"]:
        return self.of_squares(squared_distances(x, y))

    def of_squares(self, distances: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return (distances / (-2 * self.squared_bandwidth)).exp_()

    def itself(self, x: LayerActivations) -> Float[Tensor, " n"]:
        return torch.ones_like(x[:, 0])


@dataclass(frozen=True)
class NegativeDistance(Kernel):
    """-|x - y|, whose centred matrix gives the distance covariance (Sejdinovic et al., 2013, theorem 24)"""

    def __call__(self, x: Float[Tensor, "rows d"], y: Float[Tensor, "columns d"]) -> Float[Tensor, "rows columns"]:
        return squared_distances(x, y).sqrt_().neg_()

    def itself(self, x: LayerActivations) -> Float[Tensor, " n"]:
        return torch.zeros_like(x[:, 0])


def squared_distances(x: Float[Tensor, "rows d"], y: Float[Tensor, "columns d"]) -> Float[Tensor, "rows columns"]:
    return (x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * (x @ y.T)).clamp_(min=0)  # rounding can go below 0


@dataclass(frozen=True)
class Gram:
    """K[i, j] - t[i] - t[j] + c for a kernel K of the items' vectors, and a `diagonal` of its own: all that is known of a layer.

    `squares` are the sums of the squares of all centred entries and of those on the diagonal, `trace` the sum of the latter.
    """

    x: LayerActivations
    kernel: Kernel
    diagonal: Float[Tensor, " n"]
    row_terms: Float[Tensor, " n"]
    constant: float
    squares: float = 0.0
    diagonal_squares: float = 0.0
    trace: float = 0.0

    @property
    def n(self) -> int:
        return len(self.x)

    @property
    def norm(self) -> float:
        return math.sqrt(self.squares)

    @property
    def hollow(self) -> bool:
        """Whether it is U-centred."""
        return not bool(self.diagonal.any())

    @property
    def sums(self) -> Sums:
        return centred_sums(trace=self.trace, squares_with_diagonal=self.squares, diagonal_diagonal=self.diagonal_squares)

    def columns(self, items: slice, order: Int[Tensor, " n"] | None = None) -> Float[Tensor, "later columns"]:
        """Centred values of the columns of some items, from the first one's row on: the matrix is symmetric.

        With an `order`, they are those of a range of items in that order.
        """
        places = slice(items.start, None) if order is None else order[items.start :]
        own = slice(0, items.stop - items.start)
        x, row_terms = self.x[places], self.row_terms[places]
        return _centred(self.kernel(x, x[own]), row_terms, self.constant, self.diagonal[places][own])

    def centred_columns(self, values: Float[Tensor, "later columns"], items: slice) -> Float[Tensor, "later columns"]:
        """Values of another kernel in the place of those of `columns`, centred like them; `values` are overwritten."""
        return _centred(values, self.row_terms[items.start :], self.constant, self.diagonal[items])

    def weighted_columns(self, items: slice, order: Int[Tensor, " n"] | None = None) -> Float[Tensor, "later columns"]:
        """Columns scaled such that inner products of all ranges together are those of the whole matrices."""
        values = self.columns(items, order)
        values[values.shape[1] :] *= _SQRT_2
        return values

    def permuted(self, order: Int[Tensor, " n"]) -> "Gram":
        order = order.to(self.x.device)
        return replace(self, x=self.x[order], diagonal=self.diagonal[order], row_terms=self.row_terms[order])

    def with_norms(self) -> "Gram":
        squares = diagonal_squares = trace = 0.0
        for rows in row_ranges(self.n, layers=1):
            values = self.columns(rows)
            diagonal = values.diagonal().double()
            squares += 2 * _sum_of_squares(values[values.shape[1] :]) + _sum_of_squares(values[: values.shape[1]])
            diagonal_squares += float(diagonal.square().sum())
            trace += float(diagonal.sum())
        return replace(self, squares=squares, diagonal_squares=diagonal_squares, trace=trace)


def double_centred(x: LayerActivations, kernel: Kernel) -> Gram:
    """H K H with H = 1 - 11'/n: all rows sum to 0. `x` has mean 0."""
    n, itself = len(x), kernel.itself(x)
    row_terms = (_off_diagonal_row_sums(x, kernel) + itself) / n
    constant = float(row_terms.double().mean())
    return Gram(x, kernel, itself - 2 * row_terms + constant, row_terms, constant).with_norms()


def u_centred(x: LayerActivations, kernel: Kernel) -> Gram:
    """Off-diagonal rows sum to 0, the diagonal is 0 (Székely and Rizzo, 2014, eq. 2.3). `x` has mean 0.

    Raises ValueError if nothing but rounding errors remains: all pairs are then equally far apart.
    """
    n, sums = len(x), _off_diagonal_row_sums(x, kernel)
    constant = float(sums.double().sum()) / ((n - 1) * (n - 2))
    gram = Gram(x, kernel, torch.zeros_like(sums), sums / (n - 2), constant).with_norms()
    size = float((kernel.itself(x).abs() + sums.abs() / n).double().sum())
    if gram.norm < 10 * torch.finfo(x.dtype).eps * size:
        raise Undefined("all pairs of items are equally far apart: the U-centred Gram matrix is zero, its similarity undefined")
    return gram


def inner_products(a: Sequence[Gram], b: Sequence[Gram]) -> Float[Tensor, "layers_a layers_b"]:
    """<K, L> for each layer of a and b. Products are in the activations' precision, sums over ranges of rows in float64."""
    wide = torch.promote_types(a[0].x.dtype, b[0].x.dtype)
    products = torch.zeros(len(a), len(b), dtype=torch.float64)
    for rows in row_ranges(a[0].n, len(a) + len(b)):
        k, l = (torch.stack([gram.weighted_columns(rows).flatten().to(wide) for gram in side]) for side in (a, b))  # noqa: E741 (K and L)
        products += (k @ l.T).double().cpu()
    return products


def permuted_inner_products(
    a: Sequence[Gram], b: Sequence[Gram], orders: Int[Tensor, "draws n"]
) -> Float[Tensor, "draws layers_a layers_b"]:
    """The same for each order of b's items: re-indexing whole matrices where they fit, else making their rows again.

    By ranges of pairs of items, so that what is re-indexed is multiplied while it is in a processor's cache. The same order gives
    the same bits, wherever it stands among the others.
    """
    n = a[0].n
    if len(a) * n * (n + 1) // 2 + len(b) * n**2 > _WHOLE_NUMBERS:
        return torch.stack([inner_products(a, [gram.permuted(order) for gram in b]) for order in orders])
    i, j = torch.triu_indices(n, n, device=a[0].x.device)
    weights = torch.where(i == j, 1.0, 2.0).to(a[0].x.dtype)
    k = weights.new_empty(len(i), len(a))
    l = weights.new_empty(n**2, len(b))  # noqa: E741
    for layer, gram in enumerate(a):
        k[:, layer] = _whole(gram)[i, j] * weights
    for layer, gram in enumerate(b):
        l[:, layer] = _whole(gram).flatten()
    orders = orders.to(i.device)
    products = torch.zeros(len(orders), len(b), len(a), dtype=torch.float64, device=i.device)
    for start in range(0, len(i), _PAIRS):
        pairs = slice(start, start + _PAIRS)
        for product, order in zip(products, orders, strict=True):
            places = order.index_select(0, i[pairs]) * n + order.index_select(0, j[pairs])
            product += l.index_select(0, places).T @ k[pairs]
    return products.mT.cpu()


def row_ranges(n: int, layers: int) -> Iterator[slice]:
    """Ranges of rows such that those of all layers together stay below a fixed amount of memory."""
    rows = max(1, min(n, _ROWS, _NUMBERS_AT_ONCE // (layers * n)))
    yield from (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def median_gaussian(x: LayerActivations, multiple: float) -> Gaussian:
    """With a bandwidth of `multiple` times the median distance. Raises Undefined where that is 0."""
    return Gaussian.of_median(median_squared_distance(x), multiple, x)


def median_squared_distance(x: LayerActivations) -> float:
    """Median over all n^2 pairs, each item with itself included, exactly and without an n x n matrix.

    Float32 numbers that are not negative are ordered like their bits: counting the upper half of the bits finds a narrow
    range that holds the median, and only the distances in it are sorted.
    """
    counts = torch.zeros(2**16, dtype=torch.long, device=x.device)
    for distances in _distances_of_rows(x):
        counts += torch.bincount(upper_bits(distances), minlength=2**16)
    below = counts.cumsum(0)
    middle = torch.tensor([(len(x) ** 2 - 1) // 2, len(x) ** 2 // 2], device=x.device)
    low, high = torch.searchsorted(below, middle, right=True).tolist()
    within = [d[(bits >= low) & (bits <= high)] for d in _distances_of_rows(x) for bits in [upper_bits(d)]]
    skipped = int(below[low - 1]) if low else 0
    return float(torch.cat(within).sort().values[middle - skipped].mean())


def _distances_of_rows(x: LayerActivations) -> Iterator[Float[Tensor, " _"]]:
    for rows in row_ranges(len(x), layers=4):
        distances = squared_distances(x[rows], x)
        distances[:, rows].fill_diagonal_(0)
        yield distances.flatten()


def upper_bits(distances: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Half the bits of a float32 number; those of numbers that are not negative are ordered like the numbers."""
    return distances.float().view(torch.int32) >> 16


def _off_diagonal_row_sums(x: LayerActivations, kernel: Kernel) -> Float[Tensor, " n"]:
    if isinstance(kernel, Linear):
        return -kernel.itself(x)  # with mean 0, whole rows sum to 0
    sums = []
    for rows in row_ranges(len(x), layers=2):
        values = kernel(x[rows], x)
        values[:, rows].fill_diagonal_(0)
        sums.append(values.double().sum(dim=1))
    return torch.cat(sums).to(x.dtype)


def _centred(
    values: Float[Tensor, "later columns"], row_terms: Float[Tensor, " later"], constant: float, diagonal: Float[Tensor, " columns"]
) -> Float[Tensor, "later columns"]:
    values -= row_terms[: values.shape[1]]
    values -= (row_terms - constant)[:, None]
    values.diagonal().copy_(diagonal)
    return values


def _sum_of_squares(values: Float[Tensor, "rows columns"]) -> float:
    return float(values.square().sum(dim=1).double().sum())


def _whole(gram: Gram) -> Float[Tensor, "n n"]:
    upper = torch.zeros(gram.n, gram.n, device=gram.x.device, dtype=gram.x.dtype)
    for rows in row_ranges(gram.n, layers=1):
        upper[rows, rows.start :] = gram.columns(rows).T
    return upper.triu() + upper.triu(1).T
