"""Mean and variance, over all permutations of the items, of an inner product of two item-by-item matrices (Mantel, 1967).

For T = sum_ij K[i, j] L[p(i), p(j)] with p uniform over permutations, E[T] and E[T^2] are sums over the ways in which the
indices can coincide: each way contributes (its sum over K) x (its sum over L) / (the number of its index tuples).
So each layer is described by the sums of its own matrix, and all pairs of layers follow by one matrix product.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.metrics.base import Chance

Scalar = float | Float[Tensor, ""]


class Sums(NamedTuple):
    """What the moments need to know of a matrix K: sums over i of powers of its diagonal d, and its off-diagonal rows' and
    columns' sums r and c; of K[i, j]^2 and K[i, j] K[j, i] over i != j.
    """

    total: Scalar  # sum of all off-diagonal entries
    trace: Scalar
    squares: Scalar
    reciprocal: Scalar
    rows_rows: Scalar
    columns_columns: Scalar
    rows_columns: Scalar
    diagonal_diagonal: Scalar
    diagonal_rows: Scalar
    diagonal_columns: Scalar


def symmetric_sums(*, total: Scalar, squares: Scalar, rows_rows: Scalar) -> Sums:
    """Of a symmetric matrix with a diagonal of zeros."""
    return Sums(total, 0.0, squares, squares, rows_rows, rows_rows, rows_rows, 0.0, 0.0, 0.0)


def centred_sums(*, trace: Scalar, squares_with_diagonal: Scalar, diagonal_diagonal: Scalar) -> Sums:
    """Of a symmetric matrix whose rows, diagonal included, sum to 0: each off-diagonal row then sums to minus its diagonal."""
    squares = squares_with_diagonal - diagonal_diagonal
    d = diagonal_diagonal
    return Sums(-trace, trace, squares, squares, d, d, d, d, -d, -d)


def permutation_moments(a: list[Sums], b: list[Sums], n: int) -> Chance:
    """Mean and variance of the inner product for each pair of layers of n items."""
    first_a, second_a = _coincidences(a)
    first_b, second_b = _coincidences(b)
    mean = (first_a / _tuples([2, 1], n)) @ first_b.T
    # diagonal and off-diagonal parts meet twice in the square of their sum
    weights = torch.tensor([1.0] * 7 + [2.0] * 3 + [1.0] * 2, dtype=torch.float64)
    square = (second_a * weights / _tuples([2, 2, 3, 3, 3, 3, 4, 2, 2, 3, 1, 2], n)) @ second_b.T
    return Chance(mean, (square - mean**2).clamp(min=0))  # a variance of 0 may come out as -1e-20


def _coincidences(layers: list[Sums]) -> tuple[Float[Tensor, "layers 2"], Float[Tensor, "layers 12"]]:
    """Per layer, the sums over index tuples (i, j) and (i, j, k, l) by which of them coincide."""
    parts = torch.tensor([[float(part) for part in sums] for sums in layers], dtype=torch.float64)
    s = dict(zip(Sums._fields, parts.T, strict=True))
    one_row, one_column = s["rows_rows"] - s["squares"], s["columns_columns"] - s["squares"]
    chained = s["rows_columns"] - s["reciprocal"]
    apart = s["total"] ** 2 - s["squares"] - s["reciprocal"] - one_row - one_column - 2 * chained
    off_off = [s["squares"], s["reciprocal"], one_row, one_column, chained, chained, apart]
    off_on = [s["diagonal_rows"], s["diagonal_columns"], s["total"] * s["trace"] - s["diagonal_rows"] - s["diagonal_columns"]]
    on_on = [s["diagonal_diagonal"], s["trace"] ** 2 - s["diagonal_diagonal"]]
    return torch.stack([s["total"], s["trace"]], dim=1), torch.stack([*off_off, *off_on, *on_on], dim=1)


def _tuples(sizes: list[int], n: int) -> Float[Tensor, " kinds"]:
    """Number of tuples of distinct indices of each size; 1 where there are none, as their sums are 0 too."""
    counts = [torch.arange(n, n - size, -1, dtype=torch.float64).clamp(min=0).prod() for size in sizes]
    return torch.stack(counts).clamp(min=1)
