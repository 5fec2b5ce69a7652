"""Mutual information of diffusion maps: the embedding that a random walk between similar items gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import eigsh
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import About, AbstractMetric, Doubt, centred, checked
from layeratlas.metrics.gram import Gaussian, median_gaussian, row_ranges

_WHOLE_SPECTRUM = 1024  # up to here all eigenvalues take less time than the few largest by iteration
_ROUNDING = 1e-14  # of an eigenvalue whose largest is 1
_CLOSE = 0.01  # relative gap below which neighbouring eigenvalues of a finite sample are one

_ARBITRARY = "the embedding then holds arbitrary directions, so do not read its values"
NEARLY_IDENTITY = Doubt(
    f"the kernel is nearly the identity: its bandwidth is too narrow for most items to have a neighbour; {_ARBITRARY}"
)
NEARLY_CONSTANT = Doubt(f"the kernel is nearly constant: its bandwidth is too wide to tell items apart; {_ARBITRARY}")
NO_GAP = Doubt("the first eigenvalue left out is as large as the last one kept: which dimensions the embedding holds is arbitrary")


class PublishedMap(NamedTuple):
    """Activations, their embedding, and the sum squared over the sum of squares of their kernel's eigenvalues."""

    x: LayerActivations
    embedding: Float[Tensor, "n dimensions"]
    effective_rank: float


@dataclass(frozen=True)
class DiffusionNMIPublished(AbstractMetric[PublishedMap]):
    """Gaussian "normalised" mutual information of diffusion embeddings, exactly as published, to reproduce and not to use.

        W[i, j] = exp(-|x_i - x_j|^2 / (2 sigma^2)),  P = W / (row sums + 1e-8),  e_k = lambda_k^alpha v_k,  k = 1 .. dimensions
        NMI = I / (sqrt(H_a H_b) + 1e-8),  I = H_a + H_b - H_ab,  H = 1/2 log det(C + 1e-6 1)

    with v_k the unit right eigenvectors of P in falling order of lambda_k, the first one skipped, and C the covariance (ddof 1).
    The published constants are sigma 8, alpha 1/2 and 2 dimensions. Everything is in float64; it was float32.

    Known faults, kept: H lacks (2 pi e)^d, so the values have no upper bound of 1 and depend on n; a fixed bandwidth saturates
    on residual streams, and two saturated layers of 40 items then score up to 2.557. The published program never computes a layer
    with itself but writes 1. Here layers with equal activations are the same layer and score 1; two different layers with equal
    embeddings (saturated ones) score what the formula gives, as there.
    """

    sigma: float
    alpha: float
    dimensions: int

    about = About(
        name="diffusion_nmi_published",
        definition="Gaussian mutual information of diffusion embeddings over the root of the product of their entropies",
        estimator="plug-in covariances + 1e-6, fixed bandwidth, entropies without constant",
        bounds=(0.0, float("inf")),
        self_value=1.0,
        chance="by permutation: grows as n falls",
        invariances=frozenset({"rotation", "translation", "feature_permutation"}),
        cost="n² (d + n) a layer, n a pair",
        source="Jain 2025, after Liu et al. 2024",
    )

    def __post_init__(self) -> None:
        _require_dimensions(self.dimensions)
        if not self.sigma > 0:
            raise ConfigError(f"metric.sigma: expected a positive bandwidth; got {self.sigma}")

    @property
    def min_n(self) -> int:
        return self.dimensions + 1

    def signature(self, x: LayerActivations) -> PublishedMap:
        x = checked(x, self.min_n)
        kernel = _whole_kernel((x - x.mean(dim=0)).double(), Gaussian(self.sigma**2)).cpu()
        try:
            values, vectors = torch.linalg.eig(kernel / (kernel.sum(dim=1, keepdim=True) + 1e-8))
        except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]  # too many equal eigenvalues
            raise Undefined(f"the eigenvectors of its kernel are not found, as sigma={self.sigma} saturates it") from error
        order = values.real.argsort(descending=True, stable=True)
        kept = order[1 : self.dimensions + 1]
        if values.real[kept].min() <= _ROUNDING:
            raise Undefined(
                f"fewer than {self.dimensions + 1} eigenvalues of its kernel are positive, so that powers of them are undefined:"
                f" sigma={self.sigma} is too wide, or items repeat"
            )
        embedding = values.real[kept] ** self.alpha * vectors.real[:, kept]
        return PublishedMap(x, embedding, float(values.real.sum() ** 2 / values.real.square().sum()))

    def items(self, signature: PublishedMap) -> int:
        return len(signature.x)

    def permuted(self, signature: PublishedMap, order: Int[Tensor, " n"]) -> PublishedMap:
        x, embedding, rank = signature
        return PublishedMap(x[order.to(x.device)], embedding[order.cpu()], rank)

    def subset(self, signature: PublishedMap, kept: Int[Tensor, " m"]) -> PublishedMap:
        return self.signature(signature.x[kept.to(signature.x.device)])

    def affinity(self, a: Sequence[PublishedMap], b: Sequence[PublishedMap]) -> AffinityMatrix:
        cross, (own_a, own_b) = _covariances(*([layer.embedding for layer in side] for side in (a, b)))
        shape = (len(a), len(b), self.dimensions, self.dimensions)
        upper = torch.cat([own_a[:, None].expand(shape), cross], dim=3)
        joint = torch.cat([upper, torch.cat([cross.mT, own_b.expand(shape)], dim=3)], dim=2)
        h_a, h_b = _entropy(own_a)[:, None], _entropy(own_b)
        if (h_a * h_b < 0).any():
            raise Undefined(
                "the entropies of two layers' embeddings differ in sign, so that the root of their product, which the published"
                f" formula divides by, is undefined; alpha={self.alpha} makes one of the embeddings larger than a unit vector"
            )
        shared = (h_a + h_b - _entropy(joint)) / ((h_a * h_b).sqrt() + 1e-8)
        return shared.masked_fill(torch.tensor([[_equal(s.x, t.x) for t in b] for s in a]), 1.0)

    def diagnose(self, signature: PublishedMap) -> Doubt | None:
        if signature.effective_rank < 1 + _CLOSE**2:
            return NEARLY_CONSTANT
        return NEARLY_IDENTITY if signature.effective_rank > self.items(signature) / 2 else None


class DiffusionMap(NamedTuple):
    """An orthonormal basis of a layer's centred diffusion map, and what says how well its kernel determines it.

    `effective_rank` is the sum squared over the sum of squares of the kernel's eigenvalues (1: all items alike, n: none),
    `gap` how much smaller the first eigenvalue left out is than the last one kept, relative to that.
    """

    basis: Float[Tensor, "n dimensions"]
    effective_rank: Float[Tensor, ""]
    gap: Float[Tensor, ""]


@dataclass(frozen=True)
class DiffusionNMI(AbstractMetric[DiffusionMap]):
    """Mutual information of two layers' diffusion maps (Coifman and Lafon, 2006), were these jointly Gaussian, from 0 to 1.

        I = -1/2 sum_k log(1 - rho_k^2),  affinity = sqrt(1 - exp(-2 I / dimensions)):
        1 - affinity^2 is the geometric mean of 1 - rho_k^2

    with rho_k the canonical correlations of both maps. A map's coordinates are the right eigenvectors of D^-1 K that follow the
    constant one, found from the symmetric D^-1/2 K D^-1/2, with D the row sums of a Gaussian kernel K whose bandwidth is
    `bandwidth` times the layer's median distance (over all n^2 pairs). As one canonical correlation of 1 is infinite information,
    a single dimension that both maps share exactly gives 1.

    With one dimension the affinity is the absolute correlation of both maps.
    """

    dimensions: int
    bandwidth: float

    kept_as = DiffusionMap
    about = About(
        name="diffusion_nmi",
        definition="sqrt(1 - exp(-2 I / dimensions)), I the Gaussian mutual information of diffusion maps",
        estimator="sample canonical correlations (biased); bandwidth a multiple of the median distance",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: near sqrt(dimensions / (n - 1))",
        invariances=frozenset({"rotation", "scale", "translation", "feature_permutation"}),
        cost="4 n² d + n² · iterations a layer (n³ for n up to 1024), n a pair",
        source="Coifman & Lafon 2006",
    )

    def __post_init__(self) -> None:
        _require_dimensions(self.dimensions)
        if not self.bandwidth > 0:
            raise ConfigError(f"metric.bandwidth: expected a positive multiple of the median distance; got {self.bandwidth}")

    @property
    def min_n(self) -> int:
        """With fewer items, any two centred maps have a direction in common."""
        return 2 * self.dimensions + 1

    @property
    def signature_key(self) -> dict[str, Any]:
        return {"name": self.name, "dimensions": self.dimensions, "bandwidth": self.bandwidth}

    @property
    def signature_bytes(self) -> int:
        return 8 * self.dimensions

    def signature(self, x: LayerActivations) -> DiffusionMap:
        x = centred(checked(x, self.min_n)).double()
        kernel = _whole_kernel(x, median_gaussian(x, self.bandwidth))
        weights = kernel.sum(dim=1).rsqrt()
        walk = kernel.mul_(weights[:, None]).mul_(weights)
        effective_rank = walk.trace() ** 2 / walk.flatten().dot(walk.flatten())
        constant = 1 / weights / (1 / weights).norm()
        walk.addr_(constant, constant, alpha=-1)  # leaves 0 for its eigenvalue 1, which has no unique eigenvector if others are 1
        values, vectors = _largest(walk, self.dimensions + 1)
        if values[-2] <= _ROUNDING:
            raise Undefined(f"its kernel has fewer than {self.dimensions} dimensions beside the constant one: items repeat")
        coordinates = weights[:, None] * vectors[:, :-1]
        basis = torch.linalg.qr(coordinates - coordinates.mean(dim=0)).Q
        return DiffusionMap(basis, effective_rank, 1 - values[-1] / values[-2])

    def items(self, signature: DiffusionMap) -> int:
        return len(signature.basis)

    def permuted(self, signature: DiffusionMap, order: Int[Tensor, " n"]) -> DiffusionMap:
        return signature._replace(basis=signature.basis[order.to(signature.basis.device)])

    def subset(self, signature: DiffusionMap, kept: Int[Tensor, " m"]) -> DiffusionMap:
        raise Undefined("the diffusion map of some items does not follow from that of all: it needs their activations")

    def affinity(self, a: Sequence[DiffusionMap], b: Sequence[DiffusionMap]) -> AffinityMatrix:
        bases_a, bases_b = (torch.stack([layer.basis for layer in side]) for side in (a, b))
        squares = torch.linalg.svdvals(torch.einsum("ind,jne->ijde", bases_a, bases_b)).square()
        unexplained = (1 - squares).clamp(min=0).prod(dim=2) ** (1 / self.dimensions)  # rounding can take a square past 1
        return (1 - unexplained).clamp(min=0).sqrt().cpu()

    def diagnose(self, signature: DiffusionMap) -> Doubt | None:
        if signature.effective_rank > self.items(signature) / 2:
            return NEARLY_IDENTITY
        return NO_GAP if signature.gap < _CLOSE else None


def _require_dimensions(dimensions: int) -> None:
    if dimensions < 1:
        raise ConfigError(f"metric.dimensions: expected at least 1 dimension of the diffusion map; got {dimensions}")


def _whole_kernel(x: LayerActivations, kernel: Gaussian) -> Float[Tensor, "n n"]:
    """By ranges of rows, so that nothing else of its size is made."""
    whole = torch.empty(len(x), len(x), dtype=x.dtype, device=x.device)
    for rows in row_ranges(len(x), layers=4):
        whole[rows] = kernel(x[rows], x)
    return whole.fill_diagonal_(1)


def _largest(matrix: Float[Tensor, "n n"], count: int) -> tuple[Float[Tensor, " count"], Float[Tensor, "n count"]]:
    """The largest eigenvalues of a symmetric matrix, in falling order, and their eigenvectors."""
    if len(matrix) <= _WHOLE_SPECTRUM:
        values, vectors = torch.linalg.eigh(matrix)
    else:
        start = np.random.default_rng(0).standard_normal(len(matrix))
        vectors_kept = max(64, 4 * count)  # clusters of nearly equal eigenvalues do not converge with ARPACK's 20
        eigenpairs = eigsh(matrix.cpu().numpy(), count, which="LA", v0=start, ncv=vectors_kept)
        values, vectors = (torch.as_tensor(part, device=matrix.device) for part in eigenpairs)
    order = values.argsort(descending=True)[:count]
    return values[order], vectors[:, order]


def _covariances(
    a: Sequence[Float[Tensor, "n d"]], b: Sequence[Float[Tensor, "n d"]]
) -> tuple[Float[Tensor, "layers_a layers_b d d"], list[Float[Tensor, "layers d d"]]]:
    """Of the dimensions of each layer of a with those of each of b, and of each layer's own dimensions."""
    left, right = (torch.stack(list(side)) for side in (a, b))
    left, right = (side - side.mean(dim=1, keepdim=True) for side in (left, right))
    degrees_of_freedom = left.shape[1] - 1
    own = [side.mT @ side / degrees_of_freedom for side in (left, right)]
    return torch.einsum("ind,jne->ijde", left, right) / degrees_of_freedom, own


def _entropy(covariance: Float[Tensor, "*layers d d"]) -> Float[Tensor, "*layers"]:
    """Differential entropy as published: without the constant, and with a ridge."""
    return torch.logdet(covariance + 1e-6 * torch.eye(covariance.shape[-1], dtype=covariance.dtype)) / 2


def _equal(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape and bool((x == y).all())
