"""Matched pairs over depth: what several metrics say of each layer that both sides have, one layer in memory at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from layeratlas.affinity.matched import LayerPair, Matched, over_partners, paired, ranks
from layeratlas.affinity.normalization import Lengths, length_residual
from layeratlas.arrays import Activations, LayerActivations
from layeratlas.errors import ActivationError, Undefined
from layeratlas.metrics import AbstractMetric
from layeratlas.metrics.base import require_different_items
from layeratlas.statistics.commitment import CommittedShare
from layeratlas.statistics.wrong_partners import WrongPartners

Orders = Int[np.ndarray, "_ n"]
_MOST = 0.5  # of the items: more that have one vector make a layer one that says nothing
OverLayers = Float[np.ndarray, "layers *shape"]


@dataclass(frozen=True)
class Pairings:
    """How items are paired: as they are, at random, at random within one length, with wrong partners; which are left out.

    `null` and `null_of_length` hold no orders, and `subsets` is empty, where these are not wanted or cannot be had.
    """

    null: Orders
    null_of_length: Orders
    subsets: Sequence[Int[np.ndarray, " _"]]
    of_group: WrongPartners | None
    of_length: WrongPartners | None

    @property
    def orders(self) -> Orders:
        """The items' own order, then those of both nulls."""
        own = np.arange(self.null.shape[1])[None]
        return np.concatenate([own, self.null, self.null_of_length])


@dataclass
class Curve:
    """One metric over the layers. NaN where a layer has no defined value.

    `in_orders` are values with the items in their own order, in those of the null, in those of the null of one length; `left_out`
    those over each subset; `scores` (n) those of each item, where the value is their mean.
    """

    in_orders: list[Float[np.ndarray, " orders"]] = field(default_factory=list)
    left_out: list[Float[np.ndarray, " subsets"]] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    baseline_group: list[float] = field(default_factory=list)
    baseline_length: list[float] = field(default_factory=list)
    residual: list[float] = field(default_factory=list)
    scores: list[Float[np.ndarray, " n"] | None] = field(default_factory=list)

    def add(self, matched: Matched | None, residual: Matched | None, pairings: Pairings) -> None:
        orders, subsets = pairings.orders, pairings.subsets
        self.in_orders.append(matched.in_orders(orders) if matched else np.full(len(orders), np.nan))
        self.left_out.append(matched.without(subsets) if matched and subsets else np.full(len(subsets), np.nan))
        self.chance.append(matched.chance if matched else np.nan)
        self.baseline_group.append(matched.mismatched(pairings.of_group) if matched and pairings.of_group else np.nan)
        self.baseline_length.append(matched.mismatched(pairings.of_length) if matched and pairings.of_length else np.nan)
        self.residual.append(float(residual.in_orders(orders[:1])[0]) if residual else np.nan)
        self.scores.append(matched.scores if matched else None)


@dataclass
class Commitment:
    """The published rule with the items' own partners and in the orders of both nulls, with wrong partners, and without length."""

    own: CommittedShare
    of_group: CommittedShare
    of_length: CommittedShare
    residual: CommittedShare

    def add(self, cosines: torch.Tensor, residual: Float[np.ndarray, " n"] | None, pairings: Pairings) -> None:
        self.own.add(paired(cosines, pairings.orders))
        for committed, wrong in ((self.of_group, pairings.of_group), (self.of_length, pairings.of_length)):
            if wrong:
                committed.add(paired(cosines, wrong.orders)[:, wrong.movable])
        if residual is not None:
            self.residual.add(residual[None])


@dataclass(frozen=True)
class Curves:
    """`by_metric` in the metrics' order; of each item at each layer (layers, n): cosines, their mean over wrong partners, ranks.

    `flags`: why a layer says nothing, by its name. `undefined`: the layers without a value by a metric, by its name and why.
    """

    layers: Sequence[str]
    depths: Float[np.ndarray, " layers"]
    by_metric: Mapping[str, Curve]
    commitment: Commitment
    cosine: OverLayers
    cosine_of_wrong: OverLayers
    cosine_centered: OverLayers
    rank_a_to_b: OverLayers
    rank_b_to_a: OverLayers
    flags: Mapping[str, str]
    undefined: Mapping[tuple[str, str], Sequence[str]]

    @property
    def telling_blocks(self) -> list[int]:
        """The places of blocks that are not flagged."""
        return [i for i, name in enumerate(self.layers) if np.isfinite(self.depths[i]) and name not in self.flags]


def curves(
    a: Activations,
    b: Activations,
    metrics: Sequence[AbstractMetric],
    pairings: Pairings,
    *,
    threshold: float,
    consecutive: int,
    device: torch.device,
) -> Curves:
    """Every metric at every layer of both sides. Raises ActivationError for NaN, infinite and zero vectors, by layer."""
    by_metric = {metric.name: Curve() for metric in metrics}
    commitment = Commitment(*(CommittedShare(threshold, consecutive) for _ in range(4)))
    items: dict[str, list[np.ndarray]] = {
        name: [] for name in ("cosine", "cosine_of_wrong", "cosine_centered", "rank_a_to_b", "rank_b_to_a")
    }
    flags: dict[str, str] = {}
    undefined: dict[tuple[str, str], list[str]] = {}
    for name in a.names:
        x, y = (_of_layer(side, name, device, which) for side, which in ((a, "a"), (b, "b")))
        if flag := _flag(x, y):
            flags[name] = flag
        pair, residual = LayerPair(x, y), _without_length(x, y, a.lengths, b.lengths)
        try:
            cosines = pair.raw
        except Undefined as error:
            raise ActivationError(f"alignment, {name}: {error}") from error
        for metric in metrics:
            matched, why = _defined(pair, metric)
            if why and not flag:
                undefined.setdefault((metric.name, why), []).append(name)
            by_metric[metric.name].add(matched, _defined(residual, metric)[0] if residual else None, pairings)
        commitment.add(cosines.pairs, _own_cosines(residual), pairings)
        _add_items(items, pair)
    stacked = {name: np.stack(values) for name, values in items.items()}
    return Curves(a.names, np.array(a.depths), by_metric, commitment, flags=flags, undefined=undefined, **stacked)


def _of_layer(side: Activations, name: str, device: torch.device, which: str) -> LayerActivations:
    x = side.layers[name].to(device)
    if not bool(x.isfinite().all()):
        raise ActivationError(f"alignment, side {which}, {name}: activations hold NaN or infinite values")
    return x if x.dtype == torch.float64 else x.float()


def _flag(x: LayerActivations, y: LayerActivations) -> str | None:
    """On which sides most items have one vector: cosines there are those of one token, and say nothing of the items."""
    counts = {side: _of_one_vector(layer) for side, layer in (("a", x), ("b", y))}
    by_count = {count: [side for side, own in counts.items() if own == count] for count in counts.values() if count}
    parts = [f"{count} have one vector on side {' and '.join(sides)}" for count, sides in by_count.items()]
    return ", ".join(parts) or None


def _of_one_vector(x: LayerActivations) -> str | None:
    """How many items have the commonest vector, if these are most: all of them where they differ by rounding alone."""
    try:
        require_different_items(x)
    except Undefined:
        return "all items"
    generator = torch.Generator().manual_seed(0)
    marks = (x.double() * torch.randn(x.shape[1], dtype=torch.float64, generator=generator).to(x.device)).sum(dim=1)
    most = int(marks.unique(return_counts=True)[1].max())
    return f"{most} of {len(x)} items" if most > _MOST * len(x) else None


def _without_length(x: LayerActivations, y: LayerActivations, lengths_a: Lengths, lengths_b: Lengths) -> LayerPair | None:
    """Both sides less what a linear regression on the number of tokens explains, their means kept; None without such numbers."""
    if any(lengths is None or bool((lengths == lengths[0]).all()) for lengths in (lengths_a, lengths_b)):
        return None
    sides = ((x, lengths_a), (y, lengths_b))
    return LayerPair(*((length_residual(side.double(), lengths) + side.double().mean(dim=0)).to(side) for side, lengths in sides))


def _defined(pair: LayerPair, metric: AbstractMetric) -> tuple[Matched | None, str | None]:
    """None, and why, where a layer has no similarity by this metric, as where all its items have one vector."""
    try:
        return pair.of(metric), None
    except Undefined as error:
        return None, str(error)


def _own_cosines(residual: LayerPair | None) -> Float[np.ndarray, " n"] | None:
    return None if residual is None else residual.raw.scores


def _add_items(items: Mapping[str, list[np.ndarray]], pair: LayerPair) -> None:
    wrong = ~np.eye(pair.n, dtype=bool)
    there, back = (over_partners(cosines, wrong) for cosines in (pair.raw.pairs, pair.raw.pairs.T))
    centred = _centred_scores(pair)
    columns = {
        "cosine": pair.raw.scores,
        "cosine_of_wrong": (there + back) / 2,
        "cosine_centered": np.full(pair.n, np.nan) if centred is None else centred,
        "rank_a_to_b": ranks(pair.cosines),
        "rank_b_to_a": ranks(pair.cosines.transposed()),
    }
    for name, values in columns.items():
        assert values is not None
        items[name].append(values)


def _centred_scores(pair: LayerPair) -> Float[np.ndarray, " n"] | None:
    try:
        return pair.centred.scores
    except Undefined:
        return None
