"""Similarities of centred Gram matrices: CKA and HSIC of Gaussian kernels, and distance correlation. Linear CKA: linear_cka.py."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import RIGID, About, AbstractMetric, Chance, centred, checked, in_few_dimensions
from layeratlas.metrics.gram import (
    Gaussian,
    Gram,
    NegativeDistance,
    double_centred,
    inner_products,
    median_gaussian,
    permuted_inner_products,
    u_centred,
)
from layeratlas.metrics.left_out import Groups, LeftOut, groups_of, products_without
from layeratlas.metrics.left_out_gaussian import gaussian_products_without
from layeratlas.metrics.mantel import permutation_moments

Products = Float[Tensor, "*draws layers_a layers_b"]
Norms = Float[Tensor, " _"]  # of the layers of one side


class AbstractGramMetric(AbstractMetric[Gram], abc.ABC):
    """A function of the inner product of two centred Gram matrices and of their norms; the signature is the centred matrix.

    It is made from the layer each time, which is kept in n dimensions where it has more and where rotations change nothing.
    """

    @abc.abstractmethod
    def gram(self, x: LayerActivations) -> Gram:
        """The centred Gram matrix of centred activations."""

    def norms(self, grams: Sequence[Gram]) -> Norms:
        return torch.tensor([gram.norm for gram in grams], dtype=torch.float64)

    def value(self, products: Products, a: Norms, b: Norms, n: int) -> Products:
        """The affinity of layers of n items as a function of the inner products: their cosine."""
        del n
        return products / torch.outer(a, b)

    def signature(self, x: LayerActivations) -> Gram:
        x = centred(checked(x, self.min_n))
        return self.gram(in_few_dimensions(x) if "rotation" in self.about.invariances else x)

    def items(self, signature: Gram) -> int:
        return signature.n

    def permuted(self, signature: Gram, order: Int[Tensor, " n"]) -> Gram:
        return signature.permuted(order)

    def subset(self, signature: Gram, kept: Int[Tensor, " m"]) -> Gram:
        return self.signature(signature.x[kept.to(signature.x.device)])

    def affinity(self, a: Sequence[Gram], b: Sequence[Gram]) -> AffinityMatrix:
        return self.value(self.products(a, b), self.norms(a), self.norms(b), a[0].n)

    def products(self, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        return inner_products(a, b)

    def permuted_affinity(
        self, a: Sequence[Gram], b: Sequence[Gram], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        return self.value(permuted_inner_products(a, b, orders), self.norms(a), self.norms(b), a[0].n)

    def subset_affinity(
        self, a: Sequence[Gram], b: Sequence[Gram], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        """All subsets at once, where each leaves out a group of its own."""
        groups = groups_of(subsets, a[0].n)
        if groups is None:
            return super().subset_affinity(a, b, subsets)
        if groups.fewest_kept < self.min_n:
            raise Undefined(f"needs at least {self.min_n} items; got {groups.fewest_kept}")
        kept = self.products_without(a, b, groups)
        norms_a, norms_b = (
            self.norms_without(side, squares, groups) for side, squares in ((a, kept.squares_a), (b, kept.squares_b))
        )
        counts = kept.items.tolist()
        return torch.stack([self.value(*of_subset) for of_subset in zip(kept.products, norms_a, norms_b, counts, strict=True)])

    def products_without(self, a: Sequence[Gram], b: Sequence[Gram], groups: Groups) -> LeftOut:
        return products_without(a, b, groups)

    def norms_without(
        self, grams: Sequence[Gram], squares: Float[Tensor, "groups layers"], groups: Groups
    ) -> Float[Tensor, "groups layers"]:
        """Norms over each subset, given each layer's product with itself. Raises ValueError where nothing but rounding remains."""
        del groups
        noise = [100 * torch.finfo(gram.x.dtype).eps * gram.squares / gram.n for gram in grams]
        if bool((squares <= torch.tensor(noise, dtype=torch.float64)).any()):
            raise Undefined("without a group of items, all pairs are equally far apart, so that their similarity is undefined")
        return squares.sqrt()

    def chance(self, a: Sequence[Gram], b: Sequence[Gram]) -> Chance:
        """Moments of the inner product, exact, carried over to its cosine."""
        moments = permutation_moments([g.sums for g in a], [g.sums for g in b], a[0].n)
        assert moments.variance is not None
        unit = self.value(torch.ones_like(moments.mean), self.norms(a), self.norms(b), a[0].n)
        return Chance(moments.mean * unit, moments.variance * unit.square())


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

    def products_without(self, a: Sequence[Gram], b: Sequence[Gram], groups: Groups) -> LeftOut:
        return gaussian_products_without(a, b, groups, self.bandwidth)


@dataclass(frozen=True)
class CKARBF(AbstractGaussianMetric):
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
        min_n=3,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, self.kernel(x))


@dataclass(frozen=True)
class CKARBFDebiased(AbstractGaussianMetric):
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
        min_n=4,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, self.kernel(x))


@dataclass(frozen=True)
class HSIC(AbstractGaussianMetric):
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
        min_n=4,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, self.kernel(x))

    def value(self, products: Products, a: Norms, b: Norms, n: int) -> Products:
        del a, b
        return products / (n * (n - 3))


@dataclass(frozen=True)
class DistanceCorrelation(AbstractGramMetric):
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
        min_n=3,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, NegativeDistance())

    def value(self, products: Products, a: Norms, b: Norms, n: int) -> Products:
        return super().value(products, a, b, n).clamp(min=0).sqrt()  # not negative but for rounding: both matrices are semidefinite

    def chance(self, a: Sequence[Gram], b: Sequence[Gram]) -> Chance:
        return AbstractMetric.chance(self, a, b)  # the mean of a root is not the root of the mean


@dataclass(frozen=True)
class DistanceCorrelationDebiased(AbstractGramMetric):
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
        min_n=4,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return u_centred(x, NegativeDistance())
