"""Centred kernel alignment of dot products, where the Gram matrices can also be had from products of dimensions."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import RIGID, About, AbstractVectorsMetric, AnyLayer, Chance, centred, checked, in_few_dimensions
from layeratlas.metrics.gram import Gram, Linear, double_centred, u_centred
from layeratlas.metrics.kernels import AbstractGramMetric, Norms, Products
from layeratlas.metrics.left_out import Groups


class _LinearCKA(AbstractGramMetric, abc.ABC):
    """CKA with a linear kernel: <K, L> also follows from d x d products, which are fewer where items outnumber dimensions."""

    def products(self, a: Sequence[Gram], b: Sequence[Gram]) -> Products:
        return feature_products(a, b) if features_are_cheaper(a, b) else super().products(a, b)


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
class CKALinear(_LinearCKA):
    """Linear centred kernel alignment (Kornblith et al., 2019, eq. 2), the biased estimator.

        CKA = <K, L> / (|K| |L|),  K = X X^T,  L = Y Y^T,  X and Y centred

    Biased upward, the more the larger d / n: its mean over permutations of the items is tr(K) tr(L) / ((n - 1) |K| |L|).

    >>> import numpy as np
    >>> from layeratlas import affinity_matrix
    >>> x, y = np.random.default_rng(0).standard_normal((2, 50, 200))  # independent, and four times as wide as there are items
    >>> affinity_matrix(CKALinear(), [x], [y]).round(1).tolist()
    [[0.8]]
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
        min_n=3,
    )

    def gram(self, x: LayerActivations) -> Gram:
        return double_centred(x, Linear())


@dataclass(frozen=True)
class CKALinearDebiased(_LinearCKA):
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
        min_n=4,
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
        min_n=4,
    )

    def gram(self, x: LayerActivations) -> Gram:
        gram = u_centred(x, Linear())
        if self._structure(gram) <= 0:
            raise Undefined("its dimensions have nothing in common, so that CKA corrected for dimensions is undefined")
        return gram

    def norms(self, grams: Sequence[Gram]) -> Norms:
        return torch.tensor([self._structure(gram) for gram in grams], dtype=torch.float64).sqrt()

    def norms_without(
        self, grams: Sequence[Gram], squares: Float[Tensor, "groups layers"], groups: Groups
    ) -> Float[Tensor, "groups layers"]:
        members = groups.order.split(groups.sizes.tolist())
        structures = torch.empty_like(squares)
        for layer, gram in enumerate(grams):
            x = gram.x.double()
            powers = torch.stack([torch.stack([x[part].pow(p).sum(dim=0) for p in (1, 2, 3, 4)]) for part in members])
            for group, of_group in enumerate(powers[: groups.left_out]):
                n = len(x) - len(members[group])
                second, fourth = _central_sums(powers.sum(dim=0) - of_group, n)
                structures[group, layer] = _structure(float(squares[group, layer]), second, fourth, n)
        if bool((structures <= 0).any()):
            raise Undefined("without a group of items its dimensions have nothing in common, so that its CKA is undefined")
        return structures.sqrt()

    @staticmethod
    def _structure(gram: Gram) -> float:
        x = gram.x.double()
        return _structure(gram.squares, x.square().sum(dim=0), x.pow(4).sum(dim=0), gram.n)


def _structure(squares: float, second: Float[Tensor, " d"], fourth: Float[Tensor, " d"], n: int) -> float:
    """Mean U-centred product over pairs of different dimensions, times the number d^2 of all pairs.

    From the product of all pairs and the sums of the squares and fourth powers of each dimension, whose mean is 0.
    """
    d = len(second)
    own = second.square().sum() * (1 + 1 / ((n - 1) * (n - 2))) - fourth.sum() * n / (n - 2)
    return (squares - float(own)) * d / (d - 1) if d > 1 else 0.0


def _central_sums(sums: Float[Tensor, "4 d"], n: int) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Sums of squares and of fourth powers about the mean, from sums of the first four powers."""
    first, second, third, fourth = sums
    mean = first / n
    return second - n * mean**2, fourth - 4 * mean * third + 6 * mean**2 * second - 3 * n * mean**4


@dataclass(frozen=True)
class CKAMinibatch(AbstractVectorsMetric):
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
        min_n=4,
    )

    def __post_init__(self) -> None:
        if self.batch < 4:
            raise ConfigError(f"metric.batch: expected at least 4 items a batch; got {self.batch}")

    def signature(self, x: LayerActivations) -> Float[Tensor, "n r"]:
        return in_few_dimensions(centred(checked(x, self.min_n)))

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
        return gram.weighted_columns(slice(0, gram.n)).flatten().to(dtype)
