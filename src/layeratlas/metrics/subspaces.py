"""Similarities of the spaces that dimensions span: canonical correlations, overlap of eigenspaces.

A layer of d centred dimensions over n items spans a subspace of the n - 1 directions that items can differ in. All subspaces
are found by full singular value decompositions in float64: nothing is random, and the same layers give the same bits.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import RIGID, About, AbstractMetric, Chance, centred, checked, of_all_pairs
from layeratlas.metrics.mantel import Sums, centred_sums, permutation_moments

LINEAR = frozenset({"rotation", "scale", "translation", "feature_permutation", "feature_scale", "linear"})
MORE_ITEMS = "more items than both layers have dimensions together"


class Components(NamedTuple):
    """Principal components of a layer, largest first: items' scores at norm 1, and singular values."""

    basis: Float[Tensor, "n r"]
    sizes: Float[Tensor, " r"]

    @property
    def scores(self) -> LayerActivations:
        """The centred layer up to a rotation of its dimensions, in float64."""
        return self.basis * self.sizes

    def permuted(self, order: Int[Tensor, " n"]) -> "Components":
        return Components(self.basis[order.to(self.basis.device)], self.sizes)


class Loaded(NamedTuple):
    """Principal components, and what each of them adds to each dimension of the layer."""

    components: Components
    loadings: Float[Tensor, "r d"]


def loaded(x: LayerActivations) -> Loaded:
    """Components and loadings of all directions that are no rounding error.

    Those are longer than max(n, d) eps times the longest, with the eps of the activations' dtype; at most n - 1.
    """
    basis, sizes, directions = torch.linalg.svd(centred(x.double()), full_matrices=False)
    longer = sizes > max(x.shape) * torch.finfo(x.dtype).eps * sizes[0]
    rank = min(int(longer.sum()), len(x) - 1)  # what is left of the mean can be longer than that in float64
    components = Components(basis[:, :rank].to(x.dtype), sizes[:rank])
    return Loaded(components, (sizes[:rank, None] * directions[:rank]).to(x.dtype))


class AbstractComponentMetric(AbstractMetric[Components], abc.ABC):
    """A metric whose signature is a layer's principal components, so that it is invariant to rotations of its dimensions."""

    def signature(self, x: LayerActivations) -> Components:
        return loaded(checked(x, self.min_n)).components

    def items(self, signature: Components) -> int:
        return len(signature.basis)

    def permuted(self, signature: Components, order: Int[Tensor, " n"]) -> Components:
        return signature.permuted(order)

    def subset(self, signature: Components, kept: Int[Tensor, " m"]) -> Components:
        part = signature.scores[kept.to(signature.basis.device)]
        return self.signature(part.to(signature.basis.dtype))


def products(x: Float[Tensor, "n r_a"], y: Float[Tensor, "n r_b"]) -> Float[Tensor, "r_a r_b"]:
    """Cosines between the vectors of two orthonormal bases."""
    wide = torch.promote_types(x.dtype, y.dtype)
    return (x.to(wide).T @ y.to(wide)).double()


def canonical_correlations(x: Float[Tensor, "n r_a"], y: Float[Tensor, "n r_b"]) -> Float[Tensor, " _"]:
    """Cosines of the principal angles of two subspaces of n items, from orthonormal bases of them; largest first."""
    return torch.linalg.svdvals(products(x, y)).clamp(max=1)  # rounding can go above 1


def require_room(x: Float[Tensor, "n r_a"], y: Float[Tensor, "n r_b"], remedy: str) -> None:
    """Refuse subspaces that must intersect: their canonical correlations of 1 are no finding."""
    (n, rank_a), rank_b = x.shape, y.shape[1]
    if (forced := rank_a + rank_b - (n - 1)) > 0:
        raise ConfigError(
            f"with {n} items, layers of rank {rank_a} and {rank_b} share at least {forced} of {min(rank_a, rank_b)} canonical "
            f"directions whatever they hold (rank a + rank b > n - 1): use {remedy}"
        )


class _MeanCorrelation(AbstractComponentMetric, abc.ABC):
    """Mean canonical correlation, over as many as the smaller of two ranks, of the directions that a metric keeps."""

    remedy: str

    @abc.abstractmethod
    def directions(self, layer: Components) -> Float[Tensor, "n r"]:
        """The orthonormal vectors that are compared."""

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        return of_all_pairs(self._mean_correlation, map(self.directions, a), map(self.directions, b))

    def _mean_correlation(self, a: Float[Tensor, "n r_a"], b: Float[Tensor, "n r_b"]) -> Tensor:
        require_room(a, b, self.remedy)
        return canonical_correlations(a, b).mean()


@dataclass(frozen=True)
class CCAMean(_MeanCorrelation):
    """Mean canonical correlation (Hotelling, 1936): how far each layer is a linear map of the other.

        mean over i <= min(rank_a, rank_b) of s_i,  s the singular values of U'V,

    with U and V orthonormal bases of all centred dimensions. Noise counts as much as signal. Refused where rank_a + rank_b
    exceeds n - 1, as some correlations are then 1 for any data.
    """

    about = About(
        name="cca_mean",
        definition="mean canonical correlation of all directions",
        estimator="plug-in, rank by relative tolerance max(n, d) eps",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: grows with d / n",
        invariances=LINEAR,
        cost="n d min(n, d) a layer, n r² + r³ a pair",
        source="Hotelling 1936",
        min_n=5,  # of two dimensions a side: rank 2 + rank 2 <= n - 1
    )
    remedy = f"{MORE_ITEMS}, or metric=svcca"

    def directions(self, layer: Components) -> Float[Tensor, "n r"]:
        return layer.basis


@dataclass(frozen=True)
class SVCCA(_MeanCorrelation):
    """Mean canonical correlation of the fewest principal components that hold `variance` of a layer's variance.

    Singular vector CCA (Raghu et al., 2017, section 2).
    """

    variance: float

    about = About(
        name="svcca",
        definition="mean canonical correlation of the principal components that hold a given share of the variance",
        estimator="plug-in, full singular value decomposition",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: grows with the number of components / n",
        invariances=RIGID,
        cost="n d min(n, d) a layer, n r² + r³ a pair",
        source="Raghu et al. 2017",
        min_n=5,  # of two dimensions a side: rank 2 + rank 2 <= n - 1
    )
    remedy = "more items, or a smaller metric.variance"

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise ConfigError(f"metric.variance: expected a share of the variance in (0, 1]; got {self.variance}")

    def directions(self, layer: Components) -> Float[Tensor, "n r"]:
        held = layer.sizes.square().cumsum(dim=0)
        return layer.basis[:, : int((held < self.variance * held[-1]).sum()) + 1]


@dataclass(frozen=True)
class PWCCA(AbstractMetric[Loaded]):
    """Canonical correlations, each weighted by how much of layer a its direction accounts for (Morcos et al., 2018, eq. 2).

        sum_i w_i s_i / sum_i w_i,  w_i = sum_j |<h_i, x_j>|,

    with h_i the canonical directions in the space of a, i <= min(rank_a, rank_b), and x_j the centred dimensions of a. Side a
    weights, whichever is wider, so that the value is not symmetric. Refused where CCA is.
    """

    about = About(
        name="pwcca",
        definition="canonical correlations, weighted by the projections of a's dimensions on their directions",
        estimator="plug-in, rank by relative tolerance max(n, d) eps",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: near 1 where d nears n / 2",
        invariances=frozenset({"scale", "translation", "feature_permutation"}),
        cost="n d min(n, d) a layer, n r² + r² d a pair",
        source="Morcos et al. 2018",
        min_n=5,  # of two dimensions a side: rank 2 + rank 2 <= n - 1
        symmetric=False,
    )

    def signature(self, x: LayerActivations) -> Loaded:
        return loaded(checked(x, self.min_n))

    def items(self, signature: Loaded) -> int:
        return len(signature.components.basis)

    def permuted(self, signature: Loaded, order: Int[Tensor, " n"]) -> Loaded:
        return Loaded(signature.components.permuted(order), signature.loadings)

    def subset(self, signature: Loaded, kept: Int[Tensor, " m"]) -> Loaded:
        return self.signature(signature.components.basis[kept.to(signature.loadings.device)] @ signature.loadings)

    def affinity(self, a: Sequence[Loaded], b: Sequence[Loaded]) -> AffinityMatrix:
        return of_all_pairs(lambda x, y: self._weighted(x, y.components.basis), a, b)

    @staticmethod
    def _weighted(x: Loaded, y: Float[Tensor, "n r_b"]) -> float:
        require_room(x.components.basis, y, f"{MORE_ITEMS}, or metric=svcca")
        directions, correlations, _ = torch.linalg.svd(products(x.components.basis, y), full_matrices=False)
        weights = (directions.T @ x.loadings.double()).abs().sum(dim=1)
        return float(weights @ correlations.clamp(max=1) / weights.sum())  # rounding can go above 1


@dataclass(frozen=True)
class EigenspaceOverlap(AbstractComponentMetric):
    """Overlap of the spaces that two layers span (May et al., 2019, definition 1), of centred dimensions.

        |U'V|^2 / max(rank_a, rank_b)

    with the left singular vectors U and V: the mean squared canonical correlation, where a rank that the other layer lacks
    counts as 0. A layer of rank n - 1 spans all that there is, which leaves nothing to compare, and is refused.
    """

    about = About(
        name="eigenspace_overlap",
        definition="squared norm of the product of both layers' left singular vectors / the larger rank",
        estimator="plug-in, rank by relative tolerance max(n, d) eps",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="min(rank a, rank b) / (n - 1)",
        invariances=LINEAR,
        cost="n d min(n, d) a layer, n r² a pair",
        source="May et al. 2019",
        min_n=4,  # of two dimensions: rank 2 < n - 1
    )

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        for layer in (*a, *b):
            self._require_room(*layer.basis.shape)
        return of_all_pairs(lambda x, y: products(x.basis, y.basis).square().sum(), a, b) / _larger_ranks(a, b)

    def chance(self, a: Sequence[Components], b: Sequence[Components]) -> Chance:
        """|U'V|^2 is the inner product of the projections UU' and VV': Mantel's moments are exact."""
        moments = permutation_moments(_projection_sums(a), _projection_sums(b), self.items(a[0]))
        assert moments.variance is not None
        ranks = _larger_ranks(a, b)
        return Chance(moments.mean / ranks, moments.variance / ranks.square())

    @staticmethod
    def _require_room(n: int, rank: int) -> None:
        if rank >= n - 1:
            raise ConfigError(
                f"with {n} items, a layer of rank {rank} = n - 1 spans every direction in which items can differ, so that its "
                "overlap with any layer is known beforehand: use more items than the layer has dimensions, or metric=svcca"
            )


def _larger_ranks(a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
    ranks_a, ranks_b = (torch.tensor([len(layer.sizes) for layer in side], dtype=torch.float64) for side in (a, b))
    return torch.maximum(ranks_a[:, None], ranks_b)


def _projection_sums(layers: Sequence[Components]) -> list[Sums]:
    """Of the projections UU': symmetric, of centred rows, equal to their squares, and of the rank as trace."""
    ranks = [float(len(layer.sizes)) for layer in layers]
    leverages = [layer.basis.double().square().sum(dim=1).square().sum() for layer in layers]
    return [
        centred_sums(trace=rank, squares_with_diagonal=rank, diagonal_diagonal=squares)
        for rank, squares in zip(ranks, leverages, strict=True)
    ]
