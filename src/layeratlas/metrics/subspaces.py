"""Similarities of the spaces that dimensions span: canonical correlations, overlap of eigenspaces, linear regression.

A layer of d centred dimensions over n items spans a subspace of the n - 1 directions that items can differ in. All subspaces
are found by full singular value decompositions in float64: nothing is random, and the same layers give the same bits.
"""

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import About, AbstractMetric, Chance, centred, checked
from layeratlas.metrics.kernels import RIGID
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


class _OfComponents(AbstractMetric[Components], abc.ABC):
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


class _MeanCorrelation(_OfComponents, abc.ABC):
    """Mean canonical correlation, over as many as the smaller of two ranks, of the directions that a metric keeps."""

    remedy: str

    @property
    def min_n(self) -> int:
        """Of two dimensions a side: rank 2 + rank 2 <= n - 1."""
        return 5

    @abc.abstractmethod
    def directions(self, layer: Components) -> Float[Tensor, "n r"]:
        """The orthonormal vectors that are compared."""

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        found = torch.empty(len(a), len(b), dtype=torch.float64)
        for i, x in enumerate(map(self.directions, a)):
            for j, y in enumerate(map(self.directions, b)):
                require_room(x, y, self.remedy)
                found[i, j] = canonical_correlations(x, y).mean()
        return found


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
        symmetric=False,
    )

    @property
    def min_n(self) -> int:
        """Of two dimensions a side: rank 2 + rank 2 <= n - 1."""
        return 5

    def signature(self, x: LayerActivations) -> Loaded:
        return loaded(checked(x, self.min_n))

    def items(self, signature: Loaded) -> int:
        return len(signature.components.basis)

    def permuted(self, signature: Loaded, order: Int[Tensor, " n"]) -> Loaded:
        return Loaded(signature.components.permuted(order), signature.loadings)

    def subset(self, signature: Loaded, kept: Int[Tensor, " m"]) -> Loaded:
        return self.signature(signature.components.basis[kept.to(signature.loadings.device)] @ signature.loadings)

    def affinity(self, a: Sequence[Loaded], b: Sequence[Loaded]) -> AffinityMatrix:
        return torch.tensor([[self._weighted(x, y.components.basis) for y in b] for x in a], dtype=torch.float64)

    @staticmethod
    def _weighted(x: Loaded, y: Float[Tensor, "n r_b"]) -> float:
        require_room(x.components.basis, y, f"{MORE_ITEMS}, or metric=svcca")
        directions, correlations, _ = torch.linalg.svd(products(x.components.basis, y), full_matrices=False)
        weights = (directions.T @ x.loadings.double()).abs().sum(dim=1)
        return float(weights @ correlations.clamp(max=1) / weights.sum())  # rounding can go above 1


@dataclass(frozen=True)
class EigenspaceOverlap(_OfComponents):
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
    )

    @property
    def min_n(self) -> int:
        """Of two dimensions: rank 2 < n - 1."""
        return 4

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        for layer in (*a, *b):
            self._require_room(*layer.basis.shape)
        overlaps = [[products(x.basis, y.basis).square().sum() for y in b] for x in a]
        return torch.tensor(overlaps, dtype=torch.float64) / _larger_ranks(a, b)

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


class Fold(NamedTuple):
    """Items held out, those trained on, and the matrix that turns targets of the latter into predictions for the former.

    Both targets and predictions are deviations from the mean of the items trained on.
    """

    held_out: Int[Tensor, " m"]
    trained: Int[Tensor, " rest"]
    predicting: Float[Tensor, "m rest"]

    def squared_error(self, y: LayerActivations) -> Float[Tensor, ""]:
        mean = y[self.trained].mean(dim=0)
        return (y[self.held_out] - mean - self.predicting @ (y[self.trained] - mean)).square().sum()

    @property
    def squared_norm(self) -> float:
        """Of the matrix that turns all targets into errors: the identity, less the mean trained on, less predictions."""
        return len(self.held_out) * (1 + 1 / len(self.trained)) + float(self.predicting.square().sum())


@dataclass(frozen=True)
class _LinearRegressionCV(_OfComponents, abc.ABC):
    """Share of the variance of one side's dimensions that a ridge regression on the other side predicts, held out.

        R^2 = 1 - sum_i |y_i - f_i(x_i)|^2 / sum_i |y_i - mean(y)|^2,

    f_i trained on all items but those of i's fold: `folds` runs of neighbouring items, whose sizes differ by one at most. The
    penalty is `ridge` times the mean squared singular value of the predictor, and so the same share of it at any scale.
    The sums run over all dimensions together: those of large variance count most.
    """

    ridge: float
    folds: int

    def __post_init__(self) -> None:
        if not 0 < self.ridge < math.inf:
            raise ConfigError(f"metric.ridge: expected a positive multiple of the mean squared singular value; got {self.ridge}")
        if self.folds < 2:
            raise ConfigError(f"metric.folds: expected at least 2 folds; got {self.folds}")

    @property
    def min_n(self) -> int:
        """Two items a fold."""
        return 2 * self.folds

    def explained(
        self, predictors: Sequence[Components], targets: Sequence[Components], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws predictors targets"]:
        """R^2 of each target by each predictor once the target's items are put into each of the orders."""
        errors = torch.zeros(len(orders), len(predictors), len(targets), dtype=torch.float64)
        for i, predictor in enumerate(predictors):
            for fold in self._trained(predictor):
                for j, target in enumerate(targets):
                    y = target.scores
                    errors[:, i, j] += torch.stack([fold.squared_error(y[order]) for order in orders.to(y.device)]).cpu()
        return 1 - errors / torch.stack([target.sizes.square().sum().cpu() for target in targets])

    def _trained(self, predictor: Components) -> Iterator[Fold]:
        x, items = predictor.scores, torch.arange(self.items(predictor), device=predictor.basis.device)
        penalty = self.ridge * float(predictor.sizes.square().mean())
        for held_out in items.tensor_split(self.folds):
            trained = torch.cat([items[: held_out[0]], items[held_out[-1] + 1 :]])
            mean = x[trained].mean(dim=0)
            known, asked = x[trained] - mean, x[held_out] - mean
            penalised = known.T @ known
            penalised.diagonal().add_(penalty)
            weights = torch.cholesky_solve(asked.T, torch.linalg.cholesky(penalised))
            yield Fold(held_out, trained, (known @ weights).T)


@dataclass(frozen=True)
class LinearRegressionCVAToB(_LinearRegressionCV):
    """Held-out R^2 of a ridge regression that predicts b from a.

    The held-out errors are A y with A a function of a alone that takes constants to 0. Their squares sum to <A'A, yy'>, so that
    the mean of R^2 over pairings is 1 - tr(A'A) / (n - 1), whatever b.
    """

    about = About(
        name="linear_regression_cv_a_to_b",
        definition="share of b's variance that a ridge regression on a predicts for held-out items",
        estimator="cross-validated R², folds of neighbouring items",
        bounds=(-math.inf, 1.0),
        self_value=None,
        chance="1 - tr A'A / (n - 1), A the map from b to held-out errors: below 0",
        invariances=RIGID,
        cost="n d min(n, d) + n² d a layer, n² d a pair",
        source="Hoerl & Kennard 1970; Stone 1974",
        symmetric=False,
    )

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        return self.permuted_affinity(a, b, torch.arange(self.items(a[0]))[None])[0]

    def permuted_affinity(
        self, a: Sequence[Components], b: Sequence[Components], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """Each predictor is trained once for all orders."""
        return self.explained(a, b, orders)

    def chance(self, a: Sequence[Components], b: Sequence[Components]) -> Chance:
        norms = torch.tensor([sum(fold.squared_norm for fold in self._trained(x)) for x in a], dtype=torch.float64)
        return Chance((1 - norms / (self.items(a[0]) - 1))[:, None].repeat(1, len(b)), None)


@dataclass(frozen=True)
class LinearRegressionCVBToA(_LinearRegressionCV):
    """Held-out R^2 of a ridge regression that predicts a from b.

    Another order of b's items puts other items into each fold, which is why chance has no closed form here.
    """

    about = replace(
        LinearRegressionCVAToB.about,
        name="linear_regression_cv_b_to_a",
        definition="share of a's variance that a ridge regression on b predicts for held-out items",
        chance="by permutation: below 0",
    )

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        return self.explained(b, a, torch.arange(self.items(a[0]))[None])[0].T
