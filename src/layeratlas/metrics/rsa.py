"""Representational similarity analysis: how alike two layers' dissimilarities of the same pairs of items are."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import kendalltau
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import Undefined
from layeratlas.metrics.base import About, AbstractMetric, Chance, checked
from layeratlas.metrics.mantel import Sums, permutation_moments
from layeratlas.metrics.rdm import PAIRS_AT_ONCE, AbstractDissimilarity, PairMatrix, Pairs, pair_ranges

_WHOLE_NUMBERS = 2**29  # up to here, permutations keep the n x n matrices of all layers of b in memory: 2 GB in float32


# --- comparisons of two RDMs --------------------------------------------------------------------------------------------------


class AbstractComparison(abc.ABC):
    """A similarity of two RDMs.

    Law: `prepared` keeps all that the comparison needs to know, for the whole matrix and for each part of it:
    prepared(prepared(m).of(items)) is prepared(m.of(items)).
    """

    name: ClassVar[str]
    definition: ClassVar[str]
    bounds: ClassVar[tuple[float, float]]
    expected: ClassVar[str]
    cost: ClassVar[str]

    @abc.abstractmethod
    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        """What can be done once per layer. Raises ValueError for a matrix that has no similarity with any other."""

    @abc.abstractmethod
    def similarity(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> AffinityMatrix:
        """Of each of a with each of b, all of them prepared; float64."""

    @abc.abstractmethod
    def chance(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> Chance:
        """Mean and variance of the similarity over permutations of the items."""

    def permuted_similarity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """Similarity once the items of b are put into each of the orders; one layer of b at a time is copied."""
        return torch.stack([torch.cat([self.similarity(a, [m.of(order)]) for m in b], dim=1) for order in orders])

    def subset_similarity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        """Similarity over each subset of the items."""
        of_subsets = []
        for kept in subsets:
            of_a, of_b = ([self.prepared(m.of(kept)) for m in side] for side in (a, b))
            of_subsets.append(self.similarity(of_a, of_b))
        return torch.stack(of_subsets)


class AbstractCosine(AbstractComparison, abc.ABC):
    """A comparison that is the inner product of matrices of norm 1, so that all pairs of layers are one matrix product."""

    cost = "n² a pair"

    def similarity(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> AffinityMatrix:
        """Products are in the activations' precision, sums over ranges of pairs in float64."""
        wide = torch.promote_types(a[0].pairs.dtype, b[0].pairs.dtype)
        products = _stacked([m.own for m in a], wide) @ _stacked([m.own for m in b], wide).T / 2
        products = products.double().cpu()
        for start in range(0, len(a[0].pairs), PAIRS_AT_ONCE):
            k, l = (_stacked([m.pairs[start : start + PAIRS_AT_ONCE] for m in side], wide) for side in (a, b))  # noqa: E741
            products += (k @ l.T).double().cpu()
        return 2 * products

    def permuted_similarity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """Whole matrices of b are re-indexed where they fit into memory."""
        n, device, wide = a[0].n, a[0].own.device, torch.promote_types(a[0].pairs.dtype, b[0].pairs.dtype)
        if len(b) * n**2 > _WHOLE_NUMBERS:
            return super().permuted_similarity(a, b, orders)
        orders = orders.to(device)
        own_a, own_b = (_stacked([m.own for m in side], wide) for side in (a, b))
        products = torch.stack([own_a @ own_b[:, order].T for order in orders]).double().cpu() / 2
        l = torch.stack([m.whole() for m in b], dim=-1).flatten(end_dim=1).to(wide)  # noqa: E741 (K and L)
        for of_rows, i, j in pair_ranges(n, device):
            k = _stacked([m.pairs[of_rows] for m in a], wide)
            places = (order.index_select(0, i) * n + order.index_select(0, j) for order in orders)
            products += torch.stack([k @ l.index_select(0, place) for place in places]).double().cpu()
        return 2 * products

    def chance(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> Chance:
        return permutation_moments([_sums(m) for m in a], [_sums(m) for m in b], a[0].n)


@dataclass(frozen=True)
class Pearson(AbstractCosine):
    """Pearson's correlation of the upper triangles."""

    name = "pearson"
    definition = "Pearson correlation"
    bounds = (-1.0, 1.0)
    expected = "0"

    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        _require_different(matrix.pairs)
        pairs = matrix.pairs - matrix.pairs.mean(dtype=torch.float64).to(matrix.pairs.dtype)
        return PairMatrix(pairs / (2 * _squares(pairs)) ** 0.5, matrix.own)


@dataclass(frozen=True)
class Spearman(AbstractCosine):
    """Spearman's correlation of the upper triangles; equal dissimilarities share their average rank."""

    name = "spearman"
    definition = "Spearman correlation"
    bounds = (-1.0, 1.0)
    expected = "0"
    cost = "n² log n a layer, n² a pair"

    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        _require_different(matrix.pairs)
        return PairMatrix(unit_ranks(matrix.pairs) / 2**0.5, matrix.own)

    def subset_similarity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        """Sorted once: the rank of a pair within a subset is how many pairs up to it are kept. Pairs that are not count 0."""
        if (len(a) + len(b)) * len(a[0].pairs) > _WHOLE_NUMBERS:
            return super().subset_similarity(a, b, subsets)
        sides = [[(m, Ranking.of(m.pairs)) for m in side] for side in (a, b)]
        affinities = []
        for subset in subsets:
            kept = _kept_pairs(subset, a[0].n, a[0].own.device)
            parts = ([PairMatrix(ranking.within(kept, m.pairs.dtype) / 2**0.5, m.own) for m, ranking in side] for side in sides)
            affinities.append(self.similarity(*parts))
        return torch.stack(affinities)


@dataclass(frozen=True)
class Cosine(AbstractCosine):
    """Cosine of the upper triangles: high by chance, as dissimilarities are positive."""

    name = "cosine"
    definition = "cosine"
    bounds = (0.0, 1.0)
    expected = "the product of mean over root mean square dissimilarity of both: near 1 for wide layers"

    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        return matrix.scaled((2 * _squares(matrix.pairs)) ** -0.5)


@dataclass(frozen=True)
class WhitenedCosine(AbstractCosine):
    """Cosine after whitening by the covariance that noise in the activations gives an RDM (Diedrichsen et al., 2021).

    It is the cosine of the double-centred matrices: with squared Euclidean distances, linear CKA (the biased estimator).
    """

    name = "whitened_cosine"
    definition = "cosine of the double-centred matrices"
    bounds = (0.0, 1.0)
    expected = "tr K tr L / ((n - 1) |K| |L|): grows with d / n"

    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        dtype, means = matrix.pairs.dtype, (matrix.row_sums() + matrix.own.double()) / matrix.n
        means -= means.mean() / 2
        pairs = torch.empty_like(matrix.pairs)
        for of_rows, i, j in pair_ranges(matrix.n, means.device):
            pairs[of_rows] = (matrix.pairs[of_rows] - (means[i] + means[j])).to(dtype)
        own = (matrix.own - 2 * means).to(dtype)
        return PairMatrix(pairs, own).scaled((2 * _squares(pairs) + _squares(own)) ** -0.5)


@dataclass(frozen=True)
class Kendall(AbstractComparison):
    """Kendall's tau-b of the upper triangles. No inner product: n^2 log n for each pair of layers, minutes where n is 10 000.

    Its mean over permutations is 0: swapping the two pairs of items in each comparison of pairs changes its sign.
    """

    name = "kendall"
    definition = "Kendall's tau-b"
    bounds = (-1.0, 1.0)
    expected = "0"
    cost = "n² log n a pair"

    def prepared(self, matrix: PairMatrix) -> PairMatrix:
        _require_different(matrix.pairs)
        return matrix

    def similarity(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> AffinityMatrix:
        rows, columns = ([m.pairs.cpu().numpy() for m in side] for side in (a, b))
        taus = [[kendalltau(x, y, method="asymptotic").statistic for y in columns] for x in rows]
        return torch.tensor(taus, dtype=torch.float64)

    def chance(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> Chance:
        return Chance(torch.zeros(len(a), len(b), dtype=torch.float64), None)


class Ranking(NamedTuple):
    """Where the values stand in ascending order, and how many equal ones there are of each; None where all differ."""

    places: Int[Tensor, " pairs"]
    counts: Int[Tensor, " distinct"] | None

    @classmethod
    def of(cls, values: Pairs) -> "Ranking":
        ordered, places = _sorted(values)
        counts = torch.unique_consecutive(ordered, return_counts=True)[1]
        return cls(places.int(), None if len(counts) == len(values) else counts)

    def within(self, kept: Bool[Tensor, " pairs"], dtype: torch.dtype) -> Pairs:
        """Ranks among the kept values, less their mean and scaled to norm 1; 0 for the others. As `unit_ranks` of the former."""
        present = kept.index_select(0, self.places)
        ranks = present.cumsum(0, dtype=torch.int32)
        total = int(ranks[-1])
        if self.counts is not None:
            ends = ranks[self.counts.cumsum(0) - 1]
            starts = torch.nn.functional.pad(ends[:-1], (1, 0))
            ranks = ((starts + ends + 1).double() / 2).repeat_interleave(self.counts)
        ranks = (ranks.double() - (total + 1) / 2) * present
        norm = ranks.norm()
        if not norm > 0:
            raise Undefined("all pairs of items are equally far apart: the RDM is constant, its correlation undefined")
        return torch.empty(len(kept), dtype=dtype, device=kept.device).index_copy_(0, self.places.long(), (ranks / norm).to(dtype))


def _kept_pairs(items: Int[Tensor, " m"], n: int, device: torch.device) -> Bool[Tensor, " pairs"]:
    """Whether both items of a pair are among these."""
    present = torch.zeros(n, dtype=torch.bool, device=device)
    present[items.to(device)] = True
    kept = torch.empty(n * (n - 1) // 2, dtype=torch.bool, device=device)
    for of_rows, i, j in pair_ranges(n, device):
        kept[of_rows] = present[i] & present[j]
    return kept


def unit_ranks(values: Pairs) -> Pairs:
    """Ranks, equal values sharing their average, less the mean rank and scaled to norm 1."""
    ordered, places = _sorted(values)
    counts = torch.unique_consecutive(ordered, return_counts=True)[1]
    middles = counts.cumsum(0) - (counts + len(values)) / 2
    middles = middles.double() / (counts * middles.double().square()).sum().sqrt()
    return torch.empty_like(values).scatter_(0, places, middles.to(values.dtype).repeat_interleave(counts))


def _sorted(values: Pairs) -> tuple[Tensor, Int[Tensor, " pairs"]]:
    """What is equal where two values are, in ascending order of the values, and where each stood.

    Float32 numbers are ordered like their bits, those of negative ones flipped. Packed with their places into integers of 64
    bits, they are sorted 4 times as fast on a CPU as PyTorch sorts with places.
    """
    if values.dtype == torch.float64:
        return values.sort()
    bits = (values + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0
    keys = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    keys <<= 32
    keys |= torch.arange(len(values), device=values.device)
    if keys.device.type == "cpu":
        keys.numpy().sort()
    else:
        keys = keys.sort().values
    return (keys >> 32).int(), keys.bitwise_and_(0xFFFFFFFF)


def _require_different(pairs: Pairs) -> None:
    low, high = torch.aminmax(pairs)
    if high - low <= 100 * torch.finfo(pairs.dtype).eps * torch.maximum(-low, high):
        raise Undefined("all pairs of items are equally far apart: the RDM is constant, its correlation undefined")


def _squares(values: Float[Tensor, " _"]) -> float:
    return float(sum(part.double().square().sum() for part in values.split(PAIRS_AT_ONCE)))


def _stacked(vectors: list[Tensor], dtype: torch.dtype) -> Float[Tensor, "layers _"]:
    return torch.stack([vector.to(dtype) for vector in vectors])


def _sums(matrix: PairMatrix) -> Sums:
    rows, own, squares = matrix.row_sums(), matrix.own.double(), 2 * _squares(matrix.pairs)
    rows_rows, own_rows = rows @ rows, own @ rows
    return Sums(rows.sum(), own.sum(), squares, squares, rows_rows, rows_rows, rows_rows, own @ own, own_rows, own_rows)


# --- the metric ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RSA(AbstractMetric[PairMatrix]):
    """Similarity, by `comparison`, of two layers' matrices of dissimilarities by `rdm` (Kriegeskorte et al., 2008).

    The signature is the RDM as the comparison needs it: n^2 / 2 numbers a layer, 8 MB for 2 000 items and 800 MB for 20 000 in
    float32. Ranks of more than 2^24 pairs (5 800 items) are rounded to float32, by less than 1e-7 of the largest.
    """

    rdm: AbstractDissimilarity
    comparison: AbstractComparison
    about: About = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        about = About(
            name=f"rsa_{self.rdm.name}_{self.comparison.name}",
            definition=f"{self.comparison.definition} of {self.rdm.definition}",
            estimator="all pairs of different items",
            bounds=self.comparison.bounds,
            self_value=1.0,
            chance=self.comparison.expected,
            invariances=self.rdm.invariances,
            cost=f"n² d a layer, {self.comparison.cost}",
            source="Kriegeskorte et al. 2008",
            min_n=3,
        )
        object.__setattr__(self, "about", about)

    def signature(self, x: LayerActivations) -> PairMatrix:
        pairs = self.rdm(checked(x, self.min_n))
        return self.comparison.prepared(PairMatrix(pairs, pairs.new_zeros(len(x))))

    def items(self, signature: PairMatrix) -> int:
        return signature.n

    def permuted(self, signature: PairMatrix, order: Int[Tensor, " n"]) -> PairMatrix:
        return signature.of(order)

    def subset(self, signature: PairMatrix, kept: Int[Tensor, " m"]) -> PairMatrix:
        return self.comparison.prepared(signature.of(kept))

    def affinity(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> AffinityMatrix:
        return self.comparison.similarity(a, b)

    def permuted_affinity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        return self.comparison.permuted_similarity(a, b, orders)

    def subset_affinity(
        self, a: Sequence[PairMatrix], b: Sequence[PairMatrix], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        return self.comparison.subset_similarity(a, b, subsets)

    def chance(self, a: Sequence[PairMatrix], b: Sequence[PairMatrix]) -> Chance:
        return self.comparison.chance(a, b)
