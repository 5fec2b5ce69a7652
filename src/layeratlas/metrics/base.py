"""What every metric is: a signature per layer, and an affinity of all pairs of signatures."""

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import Undefined
from layeratlas.options import parameters, require_options

Signature = TypeVar("Signature")
AnyLayer = Float[Tensor, "n _"]  # layers of one list may differ in width

CHANCE_DRAWS = 20

_NOISE = 16  # epsilons: what sums in another order, or batches of another size, change in a vector
_FEW = 16  # items that nearly always show that they differ, so that no layer is copied

INVARIANCES = {
    "rotation": "orthogonal maps of the dimensions",
    "scale": "one factor for all items and dimensions",
    "translation": "one vector added to all items",
    "item_scale": "one factor per item",
    "feature_permutation": "reordered dimensions",
    "feature_scale": "one factor per dimension",
    "linear": "any invertible map of the dimensions",
}

RIGID = frozenset({"rotation", "scale", "translation", "feature_permutation"})


@dataclass(frozen=True, kw_only=True)
class About:
    """What a metric declares of itself: for results, plots, the table in README.md, and the tests that hold it to its word.

    `bounds` are the smallest and largest value attainable, `self_value` the value of a layer with itself (None where it
    depends on the layer), `invariances` the transformations of one side (of INVARIANCES) that change nothing. `symmetric`: the
    affinity of (b, a) is the transpose of that of (a, b). `same_space`: both sides must be vectors of one space. `min_n`: the
    fewest items that give a value, unless the metric's options ask for more.
    """

    name: str
    definition: str
    estimator: str
    bounds: tuple[float, float]
    self_value: float | None
    chance: str
    invariances: frozenset[str]
    cost: str
    source: str
    symmetric: bool = True
    same_space: bool = False
    min_n: int = 2


class Chance(NamedTuple):
    """Mean of the affinity over all pairings of the items of a with those of b, and its variance where a closed form is known."""

    mean: AffinityMatrix
    variance: AffinityMatrix | None


class Doubt(NamedTuple):
    """What makes a layer's values doubtful, in the same words for every layer, and the share of items that have that trouble."""

    trouble: str
    share: float | None = None


class AbstractMetric(abc.ABC, Generic[Signature]):
    """Compare layers through signatures, each computed once per layer.

    Laws: `affinity` is larger for layers that are more alike; what `about` declares holds; `permuted(signature(x), order)` is
    `signature(x[order])` and `subset(signature(x), kept)` is `signature(x[kept])`, both without x.
    """

    about: About
    is_share: ClassVar[bool] = False  # whether the value is a mean over items of numbers from 0 to 1
    kept_as: Callable[..., Signature] | None = None  # a NamedTuple of tensors, where signatures are small enough to be kept on disk

    def __new__(cls, *positional: Any, **options: Any):
        """Refuses arguments that do not fit the constructor's annotations, before a metric computes with them."""
        require_options(cls, dict(zip(parameters(cls), positional, strict=False)) | options, cls.__name__)
        return super().__new__(cls)

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def min_n(self) -> int:
        """The fewest items that give a value with these options."""
        return self.about.min_n

    @abc.abstractmethod
    def signature(self, x: LayerActivations) -> Signature:
        """Everything this metric needs to know about one layer. Raises ValueError for a layer it cannot describe."""

    @property
    def signature_key(self) -> Any:
        """All that a signature depends on besides the layer, as JSON."""
        return self.name

    @property
    def signature_bytes(self) -> int:
        """Bytes of each item in a signature that is kept on disk."""
        return 0

    def with_slack(self) -> "AbstractMetric[Signature]":
        """The same metric with signatures that can do without some items, and serve other runs."""
        return self

    @abc.abstractmethod
    def affinity(self, a: Sequence[Signature], b: Sequence[Signature]) -> AffinityMatrix:
        """Similarity of each layer of a with each of b, from signatures of the same items in the same order; float64."""

    @abc.abstractmethod
    def items(self, signature: Signature) -> int:
        """How many items a signature describes."""

    @abc.abstractmethod
    def permuted(self, signature: Signature, order: Int[Tensor, " n"]) -> Signature:
        """The signature of the same layer with its items in another order."""

    @abc.abstractmethod
    def subset(self, signature: Signature, kept: Int[Tensor, " m"]) -> Signature:
        """The signature of the same layer over some of its items. Raises ValueError if it cannot be known."""

    def diagnose(self, signature: Signature) -> Doubt | None:
        """What makes this layer's values doubtful, though they are defined."""
        return None

    def permuted_affinity(
        self, a: Sequence[Signature], b: Sequence[Signature], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """Affinity once the items of b are put into each of the orders: draws from the null distribution."""
        return torch.stack([self.affinity(a, [self.permuted(layer, order) for layer in b]) for order in orders])

    def subset_affinity(
        self, a: Sequence[Signature], b: Sequence[Signature], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        """Affinity over each subset of the items, for the jackknife."""
        of_subsets = []
        for kept in subsets:
            of_a, of_b = ([self.subset(layer, kept) for layer in side] for side in (a, b))
            of_subsets.append(self.affinity(of_a, of_b))
        return torch.stack(of_subsets)

    def chance(self, a: Sequence[Signature], b: Sequence[Signature]) -> Chance:
        """Where no closed form is known, the mean over CHANCE_DRAWS random pairings, always the same ones."""
        generator = torch.Generator().manual_seed(0)
        orders = torch.stack([torch.randperm(self.items(a[0]), generator=generator) for _ in range(CHANCE_DRAWS)])
        return Chance(self.permuted_affinity(a, b, orders).mean(dim=0), None)


class AbstractVectorsMetric(AbstractMetric[AnyLayer], abc.ABC):
    """A metric whose signature is a vector an item, which that of some items follows from."""

    def items(self, signature: LayerActivations) -> int:
        return len(signature)

    def permuted(self, signature: LayerActivations, order: Int[Tensor, " n"]) -> LayerActivations:
        return signature[order.to(signature.device)]

    def subset(self, signature: LayerActivations, kept: Int[Tensor, " m"]) -> Float[Tensor, "m _"]:
        return self.signature(signature[kept.to(signature.device)])


def of_all_pairs(similarity: Callable[[Any, Any], float | Tensor], a: Iterable[Any], b: Iterable[Any]) -> AffinityMatrix:
    """The similarity of each layer of a with each of b, one pair after another."""
    b = list(b)
    return torch.tensor([[float(similarity(x, y)) for y in b] for x in a], dtype=torch.float64)


def checked(x: LayerActivations, min_n: int) -> LayerActivations:
    """Activations in float32 or better, after refusing what no similarity is defined for."""
    x = torch.as_tensor(x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"activations must be of shape (n, d); got {tuple(x.shape)}")
    if len(x) < min_n:
        raise Undefined(f"needs at least {min_n} items; got {len(x)}")
    if not x.isfinite().all():
        raise Undefined("activations hold NaN or infinite values")
    require_different_items(x)
    return x if x.dtype == torch.float64 else x.float()


def require_different_items(x: LayerActivations) -> None:
    """Refuse a layer whose items are one vector, exactly or but for the last digits of its precision.

    Such a layer holds the noise of arithmetic alone, which is spread like a signal, and which dividing by its deviation would
    blow up to one. Items are roundings of the mean vector if none is farther from it than _NOISE epsilon of its length, or in no
    dimension farther than 2 epsilon of the largest number there (as half precision rounds what it stores).
    """
    if bool((x == x[0]).all()):
        raise Undefined("every item has the same vector, so there is nothing to compare")
    if _roundings(x[:_FEW], x.dtype) and _roundings(x, x.dtype):
        raise Undefined("every item has the same vector up to rounding, so there is nothing to compare")


def _roundings(x: LayerActivations, dtype: torch.dtype) -> bool:
    """Whether these items may be roundings of one vector, which a few of them can deny for all."""
    wide = x.double()
    off = (wide - wide.mean(dim=0)).abs()
    arithmetic = _NOISE * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    by_length = bool((off.norm(dim=1) <= arithmetic * wide.norm(dim=1).max()).all())
    return by_length or bool((off <= 2 * torch.finfo(dtype).eps * wide.abs().amax(dim=0)).all())


def centred(x: LayerActivations) -> LayerActivations:
    """Mean 0 in each dimension and Frobenius norm 1, scaled on the way so that no square leaves the range of float32."""
    x = x - x.mean(dim=0)  # before any product: an offset of thousands in one dimension would drown the rest
    x = x / x.abs().max()
    return x / x.norm()


def in_few_dimensions(x: LayerActivations) -> Float[Tensor, "n r"]:
    """X rotated into n dimensions if it has more: they hold all of n items, and all products and distances of them."""
    n, d = x.shape
    return torch.linalg.qr(x.T, mode="r").R.T.contiguous() if n < d else x
