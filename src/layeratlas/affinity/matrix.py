"""Signatures of both sides' layers to their affinity matrix, with what chance alone would give."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import AbstractMetric
from layeratlas.options import require, shown
from layeratlas.statistics import Inference
from layeratlas.statistics.nulls import ROUNDING, attainable_p, null_of
from layeratlas.statistics.resampling import design_effect, jackknife_interval, share_interval

Matrix = Float[np.ndarray, "layers_a layers_b"]
Matrices = Float[np.ndarray, "_ layers_a layers_b"]

_OPTIONAL = ("chance_variance", "unpermuted", "null_draws", "left_out")


@dataclass(frozen=True)
class Affinity:
    """Layers of a (rows) against layers of b (columns). `depth` is NaN for layers that are no blocks.

    `inferred` holds what is inferred for each cell, by the names of the columns of affinity.parquet, and `methods` by what
    estimators. `null_draws` are whole matrices with the items of b in other orders and `unpermuted` the matrix itself as one more
    of them, which may differ from `matrix` by rounding; `left_out` are those without each group of items in turn; None: not
    computed. `bounds` are the metric's, `scale` its value of a layer with itself (0 where it has none).
    """

    matrix: Matrix
    chance: Matrix
    layers_a: list[str]
    layers_b: list[str]
    depth_a: list[float]
    depth_b: list[float]
    n: int
    signatures_a: Sequence[Any]
    signatures_b: Sequence[Any]
    inferred: dict[str, Matrix] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)
    bounds: tuple[float, float] = (-math.inf, math.inf)
    scale: float = 0.0
    chance_variance: Matrix | None = None
    unpermuted: Matrix | None = None
    null_draws: Matrices | None = None
    left_out: Matrices | None = None
    inference: Inference | None = None

    def blocks(self) -> "Affinity":
        """The part of the matrix that has a depth, without `embed` and `final_norm`."""
        rows, columns = ([i for i, depth in enumerate(depths) if math.isfinite(depth)] for depths in (self.depth_a, self.depth_b))
        return replace(
            self._mapped(lambda matrices: matrices[..., np.array(rows)[:, None], np.array(columns)]),
            layers_a=[self.layers_a[i] for i in rows],
            layers_b=[self.layers_b[j] for j in columns],
            depth_a=[self.depth_a[i] for i in rows],
            depth_b=[self.depth_b[j] for j in columns],
            signatures_a=[self.signatures_a[i] for i in rows],
            signatures_b=[self.signatures_b[j] for j in columns],
        )

    def transposed(self) -> "Affinity":
        return replace(
            self._mapped(lambda matrices: np.swapaxes(matrices, -1, -2)),
            layers_a=self.layers_b,
            layers_b=self.layers_a,
            depth_a=self.depth_b,
            depth_b=self.depth_a,
            signatures_a=self.signatures_b,
            signatures_b=self.signatures_a,
        )

    def _mapped(self, of: Callable[[np.ndarray], np.ndarray]) -> "Affinity":
        """The same done to every array whose last two axes are the layers."""
        return replace(
            self,
            matrix=of(self.matrix),
            chance=of(self.chance),
            inferred={name: of(values) for name, values in self.inferred.items()},
            **{name: of(values) for name in _OPTIONAL if (values := getattr(self, name)) is not None},
        )


def affinity_matrix(
    metric: AbstractMetric, layers_a: Sequence[Tensor | np.ndarray], layers_b: Sequence[Tensor | np.ndarray]
) -> Float[np.ndarray, "layers_a layers_b"]:
    """Similarity of each layer of a with each of b.

    A layer is an (n, d) array; n and the order of the items must agree everywhere, d need not. Integers are taken as float64.
    Raises ConfigError for what is no such array, and ValueError for layers without a defined similarity.

    >>> import numpy as np, layeratlas
    >>> from layeratlas.metrics import MutualKNN
    >>> rng = np.random.default_rng(0)
    >>> layers_a, layers_b = [*rng.standard_normal((2, 40, 8))], [*rng.standard_normal((3, 40, 5))]
    >>> layeratlas.affinity_matrix(MutualKNN(k=5), layers_a, layers_b).shape
    (2, 3)
    >>> float(layeratlas.affinity_matrix(MutualKNN(k=5), layers_a, layers_a)[0, 0])
    1.0
    """
    require(AbstractMetric, metric, "affinity_matrix: metric")
    tensors_a, tensors_b = (
        _tensors(layers, f"affinity_matrix: {name}") for name, layers in (("layers_a", layers_a), ("layers_b", layers_b))
    )
    _require_same_items(tensors_a, tensors_b)
    return bounded(metric, metric.affinity([metric.signature(x) for x in tensors_a], [metric.signature(x) for x in tensors_b]))


def bounded(metric: AbstractMetric, values: Float[Tensor, "*shape"]) -> np.ndarray:
    """Values that leave the metric's bounds by rounding, put back onto them.

    The cosine of a vector with itself comes out as 1 + 1e-7 from sums in float32. This is the only place where a value is moved,
    and by no more than ROUNDING times the larger bound, or the value of a layer with itself where a metric has no largest one.
    Raises ValueError for more: the metric is then not what it declares.
    """
    numbers, (low, high) = values.cpu().numpy(), metric.about.bounds
    slack = ROUNDING * max(abs(size) if math.isfinite(size) else 0.0 for size in (low, high, metric.about.self_value or 0.0))
    if (beyond := numbers[(numbers < low - slack) | (numbers > high + slack)]).size:
        worst = beyond[np.maximum(low - beyond, beyond - high).argmax()]
        raise ValueError(f"metric {metric.name} declares values from {low:g} to {high:g} and gave {worst:.9g}")
    return np.clip(numbers, low, high)


def compare(signer: Signer, a: Activations, b: Activations) -> Affinity:
    """Affinity and chance of all layer pairs of two sides."""
    if a.n != b.n:
        raise ValueError(f"both sides must hold the same items; got {a.n} and {b.n}")
    metric = signer.metric
    signatures_a = signer(a, "a")
    signatures_b = signatures_a if b is a else signer(b, "b")
    chance = metric.chance(signatures_a, signatures_b)
    return Affinity(
        matrix=bounded(metric, metric.affinity(signatures_a, signatures_b)),
        chance=bounded(metric, chance.mean),
        layers_a=a.names,
        layers_b=b.names,
        depth_a=a.depths,
        depth_b=b.depths,
        n=a.n,
        signatures_a=signatures_a,
        signatures_b=signatures_b,
        bounds=metric.about.bounds,
        scale=abs(metric.about.self_value or 0.0),
        chance_variance=None if chance.variance is None else chance.variance.cpu().numpy(),
    )


def diagnoses(metric: AbstractMetric, affinity: Affinity) -> list[str]:
    """What makes values doubtful, one line for each side and trouble, which names the layers that have it."""
    sides = {"a": (affinity.layers_a, affinity.signatures_a)}
    if affinity.signatures_b is not affinity.signatures_a:
        sides["b"] = (affinity.layers_b, affinity.signatures_b)
    doubted: dict[tuple[str, str], list[str]] = {}
    for side, (layers, signatures) in sides.items():
        for layer, signature in zip(layers, signatures, strict=True):
            if doubt := metric.diagnose(signature):
                share = "" if doubt.share is None else f" ({_percent(doubt.share)})"
                doubted.setdefault((side, doubt.trouble), []).append(layer + share)
    return [f"metric {metric.name}, side {side}, {', '.join(layers)}: {trouble}" for (side, trouble), layers in doubted.items()]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def with_null(metric: AbstractMetric, affinity: Affinity, inference: Inference, groups: Sequence[str], seed: int) -> Affinity:
    """Add the null of each cell: its items of b in other orders, the same for all layers.

    Without permutations there is still z where the metric knows the mean and variance over all orders in closed form.
    """
    if not inference.permutations:
        return _with_closed_form_z(affinity) if inference.free else affinity
    matrices = _in_orders(metric, affinity, [np.arange(affinity.n), *inference.orders(groups, seed)])
    unpermuted, draws = matrices[0], matrices[1:]
    about = metric.about
    maximum = about.bounds[1] if about.self_value == about.bounds[1] and math.isfinite(about.bounds[1]) else None
    null = null_of(unpermuted, draws, alpha=inference.alpha, maximum=maximum, scale=affinity.scale)
    inferred = {name: values for name, values in vars(null).items() if values is not None}
    methods = {
        "z": "mean and standard deviation over the permutations",
        "p": "permutation of the items of b, the observed order counted",
        "orders": len(draws) + 1,
        "attainable_p": attainable_p(len(draws)),
    }
    return replace(
        affinity,
        inferred=affinity.inferred | inferred,
        methods=affinity.methods | methods,
        unpermuted=unpermuted,
        null_draws=draws,
        inference=inference,
    )


def _in_orders(metric: AbstractMetric, affinity: Affinity, orders: Sequence[np.ndarray]) -> Matrices:
    """The matrix with the items of b in each order, all by one path; the same order is compared once, and equals itself."""
    places: dict[bytes, int] = {}
    place = [places.setdefault(order.tobytes(), len(places)) for order in orders]
    different = np.stack([np.frombuffer(order, dtype=orders[0].dtype) for order in places])
    values = metric.permuted_affinity(affinity.signatures_a, affinity.signatures_b, torch.from_numpy(different))
    return bounded(metric, values)[place]


def _with_closed_form_z(affinity: Affinity) -> Affinity:
    """The z by mean and variance over all orders of the items; NaN where these are one value but for rounding."""
    if affinity.chance_variance is None:
        return affinity
    sd = np.sqrt(affinity.chance_variance)
    varies = sd > ROUNDING * np.maximum(affinity.scale, np.abs(affinity.matrix))
    z = (affinity.matrix - affinity.chance) / np.where(varies, sd, np.nan)
    methods = {"z": "closed-form mean and standard deviation over all orders of the items"}
    return replace(affinity, inferred=affinity.inferred | {"z": z}, methods=affinity.methods | methods)


def with_intervals(metric: AbstractMetric, affinity: Affinity, inference: Inference, groups: Sequence[str]) -> Affinity:
    """Add an interval for each cell, from leaving out each group of items in turn. Raises ValueError if a metric cannot.

    A mean of numbers between 0 and 1 has a binomial interval, whose units are the groups of the data where these are left out
    whole; everything else Student's. A layer with itself has the same value for any items.
    """
    if not inference.groups:
        return affinity
    left_out = _without(metric, affinity.signatures_a, affinity.signatures_b, inference.subsets(groups))
    _require_variation(affinity, left_out)
    if metric.is_share:
        units = len(set(groups)) if inference.by_group else affinity.n
        low, high = share_interval(affinity.matrix, left_out, level=inference.level, units=units)
        itself = np.array([[x is y for y in affinity.signatures_b] for x in affinity.signatures_a])
        low, high = np.where(itself, affinity.matrix, low), np.where(itself, affinity.matrix, high)
    else:
        low, high = jackknife_interval(affinity.matrix, left_out, level=inference.level, bounds=metric.about.bounds)
    kind = "effective binomial (Korn and Graubard)" if metric.is_share else "Student"
    methods = {"interval": f"{kind} interval, delete-a-group jackknife", "groups": len(left_out)}
    inferred = affinity.inferred | {"ci_low": low, "ci_high": high}
    return replace(affinity, inferred=inferred, methods=affinity.methods | methods, left_out=left_out, inference=inference)


def _require_variation(affinity: Affinity, left_out: Matrices) -> None:
    """Raises ValueError where items that are left out bring every cell to one and the same other value.

    So it is where all of the few that remain are neighbours: the jackknife would find that nothing is more certain.
    """
    slack = ROUNDING * np.maximum(affinity.scale, np.abs(affinity.matrix))
    stuck = np.ptp(left_out, axis=0) <= slack
    if stuck.all() and (np.abs(left_out[0] - affinity.matrix) > slack).any():
        raise Undefined("the values are the same whichever group of items is left out, as too few remain")


def _without(metric: AbstractMetric, a: Sequence[Any], b: Sequence[Any], subsets: Sequence[np.ndarray]) -> Matrices:
    return bounded(metric, metric.subset_affinity(a, b, [torch.from_numpy(kept) for kept in subsets]))


def clustered(metric: AbstractMetric, affinity: Affinity, inference: Inference, groups: Sequence[str]) -> str | None:
    """How much too short intervals are that take items of one group for independent, if by more than noise can make it.

    Compares the variances of leaving out whole groups of the data and of leaving out as many sets of items, over a few layers
    of both sides (their ratio is the design effect of Kish, 1965): larger than the 95 % quantile of such a ratio is reported.
    """
    if affinity.left_out is None or inference.by_group or not 1 < len(set(groups)) < affinity.n:
        return None
    whole = replace(inference, by_group=True)
    try:
        subsets = whole.subsets(groups)
    except ConfigError:  # one group is most of the items
        return None
    rows, columns = (_some(len(signatures)) for signatures in (affinity.signatures_a, affinity.signatures_b))
    a, b = [affinity.signatures_a[i] for i in rows], [affinity.signatures_b[j] for j in columns]
    by_items = affinity.left_out[:, np.array(rows)[:, None], columns]
    effect = design_effect(_without(metric, a, b, subsets), by_items)
    if not effect > stats.f.ppf(0.95, len(subsets) - 1, len(by_items) - 1):
        return None
    return (
        f"intervals take the items of one group for independent, but leaving out whole groups of the data makes them"
        f" {math.sqrt(effect):.1f} x as long ({len(set(groups))} groups, design effect {effect:.1f}): statistics.by_group=true"
    )


def _some(layers: int) -> list[int]:
    """First, middle and last."""
    return sorted({0, layers // 2, layers - 1})


def _require_same_items(layers_a: Collection[Tensor], layers_b: Collection[Tensor]) -> None:
    if not layers_a or not layers_b:
        raise ValueError("expected at least one layer on each side")
    if len(counts := {len(x) for x in [*layers_a, *layers_b]}) != 1:
        raise ValueError(f"all layers must hold the same items; got layers of {' and '.join(map(str, sorted(counts)))} items")


def _tensors(layers: Sequence[Tensor | np.ndarray], where: str) -> list[Tensor]:
    if isinstance(layers, str | Mapping | Tensor | np.ndarray) or not isinstance(layers, Iterable):
        raise ConfigError(f"{where}: expected a sequence of (n, d) arrays, one per layer; got {shown(layers)}")
    return [_tensor(x, f"{where}[{i}]") for i, x in enumerate(layers)]


def _tensor(x: Tensor | np.ndarray, where: str) -> Tensor:
    try:
        layer = x if isinstance(x, Tensor) else torch.tensor(np.ascontiguousarray(x))  # maps and views are read-only or strided
    except (TypeError, ValueError) as error:  # what torch says of text, of objects, of ragged lists
        raise ConfigError(f"{where}: expected an (n, d) array of numbers; got {shown(x)}") from error
    if layer.is_complex():
        raise ConfigError(f"{where}: expected real numbers; got {str(layer.dtype).removeprefix('torch.')}")
    return layer if layer.is_floating_point() else layer.double()  # products of integers overflow without a word
