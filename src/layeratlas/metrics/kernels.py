"""Similarities of Gram matrices: centred kernel alignment, distance correlation, HSIC."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import About, AbstractMetric, AnyLayer, Chance, centred, checked
from layeratlas.metrics.gram import (
    Gaussian,
    Gram,
    Linear,
    NegativeDistance,
    double_centred,
    inner_products,
    median_gaussian,
    permuted_inner_products,
    u_centred,
)
from layeratlas.metrics.mantel import permutation_moments

RIGID = frozenset({"rotation", "scale", "translation", "feature_permutation"})

Products = Float[Tensor, "*draws layers_a layers_b"]


class AbstractGramMetric(AbstractMetric[Gram], abc.ABC):
    """A function of the inner product of two centred Gram matrices and of their norms; the signature is the centred matrix."""

    @abc.abstractmethod
    def gram(self, x: LayerActivations) -> Gram:
        """The centred Gram matrix of centred activations."""

    def value(self, products: Products, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        """The affinity as a function of the inner products: their cosine."""
        return products / torch.outer(*(torch.tensor([gram.norm for gram in side], dtype=torch.float64) for side in (a, b)))

    def signature(self, x: LayerActivations) -> Gram:
        return self.gram(centred(checked(x, self.min_n)))

    def items(self, signature: Gram) -> int:
        return signature.n

    def permuted(self, signature: Gram, order: Int[Tensor, " n"]) -> Gram:
        return signature.permuted(order)

    def subset(self, signature: Gram, kept: Int[Tensor, " m"]) -> Gram:
        return self.signature(signature.x[kept.to(signature.x.device)])

    def affinity(self, a: Sequence[Gram], b: Sequence[Gram]) -> AffinityMatrix:
        return self.value(inner_products(a, b), a, b)

    def permuted_affinity(
        self, a: Sequence[Gram], b: Sequence[Gram], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        return self.value(permuted_inner_products(a, b, orders), a, b)

    def chance(self, a: Sequence[Gram], b: Sequence[Gram]) -> Chance:
        """Moments of the inner product, exact, carried over to its cosine."""
        moments = permutation_moments([g.sums for g in a], [g.sums for g in b], a[0].n)
        assert moments.variance is not None
        unit = self.value(torch.ones_like(moments.mean), a, b)
        return Chance(moments.mean * unit, moments.variance * unit.square())


class _Biased(AbstractGramMetric, abc.ABC):
    @property
    def min_n(self) -> int:
        return 3


class _Debiased(AbstractGramMetric, abc.ABC):
    @property
    def min_n(self) -> int:
        return 4


class _LinearCKA(AbstractGramMetric, abc.ABC):
    """CKA with a linear kernel: <K, L> also follows from d x d products, which are fewer where items outnumber dimensions."""

    def affinity(self, a: Sequence[Gram], b: Sequence[Gram]) -> AffinityMatrix:
        return self.value(feature_products(a, b) if features_are_cheaper(a, b) else inner_products(a, b), a, b)


def features_are_cheaper(a: Sequence[Gram], b: Sequence[Gram]) -> bool:
    """Whether products of dimensions take fewer operations than products of items: the former are in float64, twice the work."""
    n = a[0].n
    by_features = sum(4 * n * k.x.shape[1] * l.x.shape[1] for k in a for l in b)  # noqa: E741
    by_items = sum(n**2 * gram.x.shape[1] for gram in [*a, *b]) + 2 * n**2 * len(a) * len(b)
    return by_features < by_items


def feature_products(a: Sequence[Gram], b: Sequence[Gram]) -> Products:
    """<K, L> of linear Gram matrices from |X'Y|^2, in float64: what U-centring takes away from it can be nearly all.

    With g the diagonal of X X' and t its sum, and h and u those of Y: the U-centred product is
    |X'Y|^2 - g.h n/(n - 2) + t u / ((n - 1) (n - 2)); the double-centred one is |X'Y|^2.
    """
    n = a[0].n
    products = torch.zeros(len(a), len(b), dtype=torch.float64)
    for i, k in enumerate(a):
        x, g = k.x.double(), k.kernel.itself(k.x.double())
        for j, other in enumerate(b):
            h = other.kernel.itself(other.x.double())
            whole = (x.T @ other.x.double()).square().sum()
            u_centring = g @ h * n / (n - 2) - g.sum() * h.sum() / ((n - 1) * (n - 2))
            products[i, j] = whole - (u_centring if k.hollow else 0)
    return products


@dataclass(frozen=True)
class CKALinear(_LinearCKA, _Biased):
    """Linear centred kernel alignment (Kornblith et al., 2019, eq. 2), the biased estimator.

        CKA = <K, L> / (|K| |L|),  K = X X^T,  L = Y Y^T,  X and Y centred

    Biased upward, the more the larger d / n: its mean over permutations of the items is tr(K) tr(L) / ((n - 1) |K| |L|).
    """

    about = About(
        name="cka_linear",
        definition="cosine of centred Gram matrices",
        estimator="biased HSIC",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="tr K tr L / ((n - 1) |K| |L|): grows with d / n",
        invariances=RIGID,
        cost="n² d a layer, n² a pair (or n d² a pair)",
        source="Kornblith et al. 2019",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, Linear())


@dataclass(frozen=True)
class CKALinearDebiased(_LinearCKA, _Debiased):
    """Linear CKA from the unbiased estimator of HSIC (Song et al., 2012, eq. 5): 0 in the mean for independent layers.

    The cosine of U-centred Gram matrices, also known as the bias-corrected squared distance correlation of squared
    Euclidean distances.
    """

    about = About(
        name="cka_linear_debiased",
        definition="cosine of U-centred Gram matrices",
        estimator="unbiased HSIC",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="0",
        invariances=RIGID,
        cost="n² d a layer, n² a pair (or n d² a pair)",
        source="Song et al. 2012",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, Linear())


@dataclass(frozen=True)
class CKADepCols(AbstractGramMetric):
    """Linear CKA corrected for the finite sample of items and of dimensions (Chun et al., 2025).

        <K, L> / sqrt((<K, K> - sum_i <K_i, K_i>) (<L, L> - sum_j <L_j, L_j>)),  each mean over its pairs of dimensions

    with U-centred products, K_i the Gram matrix of dimension i alone: a layer's norm leaves out the pairs of a dimension with
    itself, so that it does not count the noise of each dimension as structure. Undefined where no structure remains.
    """

    about = About(
        name="cka_dep_cols",
        definition="debiased CKA whose norms leave out each dimension's product with itself",
        estimator="unbiased HSIC over items and over dimensions",
        bounds=(-math.inf, math.inf),
        self_value=None,
        chance="0",
        invariances=frozenset({"scale", "translation", "feature_permutation"}),
        cost="n² d a layer, n² a pair",
        source="Chun et al. 2025",
    )

    @property
    def min_n(self) -> int:
        return 4

    def gram(self, x: LayerActivations) -> Gram:
        gram = u_centred(x, Linear())
        if self._structure(gram) <= 0:
            raise ValueError("its dimensions have nothing in common, so that CKA corrected for dimensions is undefined")
        return gram

    def value(self, products: Products, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        scales = (torch.tensor([self._structure(g) for g in side], dtype=torch.float64).sqrt() for side in (a, b))
        return products / torch.outer(*scales)

    @staticmethod
    def _structure(gram: Gram) -> float:
        """Mean U-centred product over pairs of different dimensions, times the number d^2 of all pairs."""
        n, d = gram.x.shape
        squares = gram.x.double().square()
        second, fourth = squares.sum(dim=0).square().sum(), squares.square().sum()
        own = second * (1 + 1 / ((n - 1) * (n - 2))) - fourth * n / (n - 2)
        return (gram.squares - float(own)) * d / (d - 1) if d > 1 else 0.0


@dataclass(frozen=True)
class AbstractGaussianMetric(AbstractGramMetric, abc.ABC):
    """Gram matrices of a Gaussian kernel whose bandwidth is `bandwidth` times the layer's median distance.

    The median is over all n^2 pairs, each item with itself included, as in Kornblith et al. (2019).
    """

    bandwidth: float

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise ConfigError(f"metric.bandwidth: expected a positive multiple of the median distance; got {self.bandwidth}")

    def kernel(self, x: LayerActivations) -> Gaussian:
        return median_gaussian(x, self.bandwidth)


@dataclass(frozen=True)
class CKARBF(AbstractGaussianMetric, _Biased):
    """CKA with a Gaussian kernel (Kornblith et al., 2019, section 3), the biased estimator."""

    about = About(
        name="cka_rbf",
        definition="cosine of centred Gaussian Gram matrices; bandwidth a multiple of the median distance",
        estimator="biased HSIC",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="tr K tr L / ((n - 1) |K| |L|): near 1 for wide layers",
        invariances=RIGID,
        cost="4 n² d a layer, n² a pair",
        source="Kornblith et al. 2019",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, self.kernel(x))


@dataclass(frozen=True)
class CKARBFDebiased(AbstractGaussianMetric, _Debiased):
    """CKA with a Gaussian kernel from the unbiased estimator of HSIC."""

    about = About(
        name="cka_rbf_debiased",
        definition="cosine of U-centred Gaussian Gram matrices; bandwidth a multiple of the median distance",
        estimator="unbiased HSIC",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="0",
        invariances=RIGID,
        cost="4 n² d a layer, n² a pair",
        source="Song et al. 2012",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, self.kernel(x))


@dataclass(frozen=True)
class HSIC(AbstractGaussianMetric, _Debiased):
    """Hilbert-Schmidt independence criterion with a Gaussian kernel, the unbiased estimator (Song et al., 2012, eq. 5).

    Not normalised: a layer's value with itself depends on its spectrum, so compare values only where that does not matter.
    """

    about = About(
        name="hsic",
        definition="inner product of U-centred Gaussian Gram matrices / (n (n - 3))",
        estimator="unbiased HSIC",
        bounds=(-1.0, 1.0),
        self_value=None,
        chance="0",
        invariances=RIGID,
        cost="4 n² d a layer, n² a pair",
        source="Song et al. 2012",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, self.kernel(x))

    def value(self, products: Products, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        n = a[0].n
        return products / (n * (n - 3))


@dataclass(frozen=True)
class DistanceCorrelation(_Biased):
    """Distance correlation (Székely et al., 2007, definition 3), the biased estimator: it is 0 only for independent layers.

    The root of the cosine of double-centred matrices of Euclidean distances.
    """

    about = About(
        name="distance_correlation",
        definition="root of the cosine of double-centred distance matrices",
        estimator="biased (V-statistic)",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: near 1 for wide layers",
        invariances=RIGID,
        cost="3 n² d a layer, n² a pair",
        source="Székely et al. 2007",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, NegativeDistance())

    def value(self, products: Products, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        return super().value(products, a, b).clamp(min=0).sqrt()  # not negative but for rounding: both matrices are semidefinite

    def chance(self, a: Sequence[Gram], b: Sequence[Gram]) -> Chance:
        return AbstractMetric.chance(self, a, b)  # the mean of a root is not the root of the mean


@dataclass(frozen=True)
class DistanceCorrelationDebiased(_Debiased):
    """Squared distance correlation, bias-corrected (Székely and Rizzo, 2014, eq. 3.2): 0 in the mean for independent layers."""

    about = About(
        name="distance_correlation_debiased",
        definition="cosine of U-centred distance matrices (a squared correlation)",
        estimator="unbiased (U-statistic)",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="0",
        invariances=RIGID,
        cost="3 n² d a layer, n² a pair",
        source="Székely & Rizzo 2014",
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, NegativeDistance())


@dataclass(frozen=True)
class CKAMinibatch(AbstractMetric[AnyLayer]):
    """Linear CKA from unbiased HSIC averaged over batches of about `batch` items (Nguyen et al., 2021, eq. 3).

    For more items than a Gram matrix can be made of: the cost is linear in n. Items are taken in their order, which a
    seeded draw has made random; batches differ in size by one at most, so that no item is left out.
    """

    batch: int

    about = About(
        name="cka_minibatch",
        definition="cosine of U-centred Gram matrices, products averaged over batches of items",
        estimator="unbiased HSIC per batch",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="0",
        invariances=RIGID,
        cost="n b d a layer, n b a pair, b items a batch",
        source="Nguyen et al. 2021",
    )

    def __post_init__(self) -> None:
        if self.batch < 4:
            raise ConfigError(f"metric.batch: expected at least 4 items a batch; got {self.batch}")

    @property
    def min_n(self) -> int:
        return 4

    def signature(self, x: LayerActivations) -> LayerActivations:
        return centred(checked(x, self.min_n))

    def items(self, signature: LayerActivations) -> int:
        return len(signature)

    def permuted(self, signature: LayerActivations, order: Int[Tensor, " n"]) -> LayerActivations:
        return signature[order.to(signature.device)]

    def subset(self, signature: LayerActivations, kept: Int[Tensor, " m"]) -> Float[Tensor, "m d"]:
        return self.signature(signature[kept.to(signature.device)])

    def affinity(self, a: Sequence[AnyLayer], b: Sequence[AnyLayer]) -> AffinityMatrix:
        wide = torch.promote_types(a[0].dtype, b[0].dtype)
        products = torch.zeros(len(a), len(b), dtype=torch.float64)
        squares = [torch.zeros(len(side), dtype=torch.float64) for side in (a, b)]
        for batch in torch.arange(len(a[0])).tensor_split(max(1, len(a[0]) // self.batch)):
            k, l = (torch.stack([self._batch(x[batch], wide) for x in side]) for side in (a, b))  # noqa: E741 (K and L)
            scale = len(batch) * (len(batch) - 3)
            products += (k @ l.T).double().cpu() / scale
            for sums, grams in zip(squares, (k, l), strict=True):
                sums += grams.square().sum(dim=1).double().cpu() / scale
        return products / torch.outer(*(sums.sqrt() for sums in squares))

    def chance(self, a: Sequence[AnyLayer], b: Sequence[AnyLayer]) -> Chance:
        """0: reordering the items within each batch of b already averages every batch's product to 0."""
        return Chance(torch.zeros(len(a), len(b), dtype=torch.float64), None)

    @staticmethod
    def _batch(x: LayerActivations, dtype: torch.dtype) -> Float[Tensor, " _"]:
        gram = u_centred(x - x.mean(dim=0), Linear())
        return gram.weighted_rows(slice(0, gram.n)).to(dtype)
