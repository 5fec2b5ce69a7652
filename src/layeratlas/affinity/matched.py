"""The same layer of both sides, item by item: what a metric says of it, of other pairings of its items, and of fewer items.

Only the layer with itself is compared, and one layer at a time. What is a mean over pairs of items is held as one n x n matrix of
all pairs, from which every pairing follows; other metrics compare the layer anew for each pairing.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.arrays import LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics import AbstractMetric, PairedCosine, PairedCosineCentred
from layeratlas.metrics.base import centred, checked
from layeratlas.metrics.cosines import CosinesOfVectors, HeldCosines
from layeratlas.metrics.directions import Directions, directions
from layeratlas.metrics.paired import AbstractRetrieval
from layeratlas.statistics.wrong_partners import WrongPartners

Orders = Int[np.ndarray, "_ n"]
Subsets = Sequence[Int[np.ndarray, " _"]]
Values = Float[np.ndarray, " _"]


class Matched(abc.ABC):
    """One metric of one layer on both sides."""

    scores: Float[np.ndarray, " n"] | None = None  # of each item with its own partner, where the value is their mean

    @property
    @abc.abstractmethod
    def chance(self) -> float:
        """The mean over all orders of the items."""

    @abc.abstractmethod
    def in_orders(self, orders: Orders) -> Values:
        """The value once the items of side b are put into each of the orders."""

    @abc.abstractmethod
    def without(self, subsets: Subsets) -> Values:
        """The value over each subset of the items."""

    @abc.abstractmethod
    def mismatched(self, wrong: WrongPartners) -> float:
        """The value with wrong partners, averaged over all of an item's, or over several orders that pair all items wrongly."""


class OfPairs(Matched):
    """A mean over items of a value of each pair: `pairs[i, j]` is that of item i of side a and j of b."""

    def __init__(self, pairs: Float[Tensor, "n n"]) -> None:
        self.pairs = pairs
        self.scores = pairs.diagonal().double().cpu().numpy()

    @property
    def chance(self) -> float:
        return float(self.pairs.mean(dtype=torch.float64))

    def in_orders(self, orders: Orders) -> Values:
        return paired(self.pairs, orders).mean(axis=1)

    def mismatched(self, wrong: WrongPartners) -> float:
        return float(np.nanmean(over_partners(self.pairs, wrong.pairs)))


def paired(pairs: Float[Tensor, "n n"], orders: Orders) -> Float[np.ndarray, "orders n"]:
    """The value of each item with its partner in each order."""
    order = torch.from_numpy(orders).to(pairs.device)
    return pairs[torch.arange(len(pairs), device=pairs.device), order].double().cpu().numpy()


def over_partners(pairs: Float[Tensor, "n n"], wrong: Bool[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """The mean of each item's values over its partners; NaN where it has none."""
    chosen = torch.from_numpy(wrong).to(pairs)
    counts = chosen.sum(dim=1).double()
    sums = (pairs * chosen).sum(dim=1, dtype=torch.float64)
    return torch.where(counts > 0, sums / counts, torch.nan).cpu().numpy()


class _OfCosines(OfPairs):
    """The mean cosine of vectors as they are."""

    def __init__(self, cosines: HeldCosines) -> None:
        super().__init__(cosines.values.double() + 1)

    def without(self, subsets: Subsets) -> Values:
        assert self.scores is not None
        return np.array([self.scores[kept].mean() for kept in subsets])


class _OfCentredCosines(OfPairs):
    """The mean cosine once each side's mean is taken away; over fewer items, once theirs is."""

    def __init__(self, x: LayerActivations, y: LayerActivations) -> None:
        self.x, self.y = (side.double() for side in (x, y))
        u, v = (directions(side).unit for side in (self.x, self.y))
        super().__init__(u @ v.T)

    def without(self, subsets: Subsets) -> Values:
        """From products of the vectors with the subsets' means: (x - m)(y - k) = xy - xk - ym + mk."""
        means_x, means_y = (
            torch.stack([side[torch.from_numpy(kept)].mean(dim=0) for kept in subsets]) for side in (self.x, self.y)
        )
        products = (self.x * self.y).sum(dim=1, keepdim=True) - self.x @ means_y.T - self.y @ means_x.T
        products += (means_x * means_y).sum(dim=1)
        norms = [
            (side.square().sum(dim=1, keepdim=True) - 2 * side @ means.T + means.square().sum(dim=1)).sqrt()
            for side, means in ((self.x, means_x), (self.y, means_y))
        ]
        cosines = (products / (norms[0] * norms[1])).cpu().numpy()
        return np.array([cosines[kept, i].mean() for i, kept in enumerate(subsets)])


class _OfRetrieval(OfPairs):
    def __init__(self, metric: AbstractRetrieval, cosines: HeldCosines) -> None:
        super().__init__(metric.credits(cosines).to_dense())
        self.metric, self.cosines = metric, cosines

    def without(self, subsets: Subsets) -> Values:
        some = (self.cosines.some(torch.from_numpy(kept)) for kept in subsets)
        return np.array([float(self.metric.credits(cosines).to_dense().diagonal().mean()) for cosines in some])


class _OfSignatures(Matched):
    """Any other metric, from its signatures of both sides."""

    def __init__(self, metric: AbstractMetric, a: Any, b: Any) -> None:
        self.metric, self.a, self.b = metric, a, b

    @property
    def chance(self) -> float:
        return float(self.metric.chance([self.a], [self.b]).mean)

    def in_orders(self, orders: Orders) -> Values:
        return self.metric.permuted_affinity([self.a], [self.b], torch.from_numpy(orders)).cpu().numpy()[:, 0, 0]

    def without(self, subsets: Subsets) -> Values:
        return self.metric.subset_affinity([self.a], [self.b], [torch.from_numpy(kept) for kept in subsets]).cpu().numpy()[:, 0, 0]

    def mismatched(self, wrong: WrongPartners) -> float:
        """Over the items that have a wrong partner, all of which take one."""
        a, b = self.a, self.b
        places = np.full(len(wrong.pairs), -1)
        places[wrong.movable] = np.arange(len(wrong.movable))
        if len(wrong.movable) < len(wrong.pairs):
            a, b = (self.metric.subset(side, torch.from_numpy(wrong.movable)) for side in (a, b))
        orders = places[wrong.orders[:, wrong.movable]]
        return float(self.metric.permuted_affinity([a], [b], torch.from_numpy(orders)).mean())


@dataclass(frozen=True)
class LayerPair:
    """One layer's vectors of both sides, and what several metrics share of them.

    Raises ValueError for vectors without a defined similarity; cosines of vectors as they are need no more than a direction each.
    """

    x: LayerActivations
    y: LayerActivations

    @property
    def n(self) -> int:
        return len(self.x)

    @cached_property
    def units(self) -> tuple[Directions, Directions]:
        return directions(_wide(self.x)), directions(_wide(self.y))

    @cached_property
    def cosines(self) -> HeldCosines:
        return CosinesOfVectors.of(*self.units).held()

    @cached_property
    def raw(self) -> OfPairs:
        return _OfCosines(self.cosines)

    def _require_differing(self) -> None:
        """Raises ValueError where a side is one vector for all items; asked once."""
        _ = self._differing

    @cached_property
    def _differing(self) -> tuple[LayerActivations, LayerActivations]:
        """Both sides, neither of which is one vector for all items."""
        return checked(self.x, 2), checked(self.y, 2)

    @cached_property
    def centred(self) -> OfPairs:
        return _OfCentredCosines(*(centred(side) for side in self._differing))

    def of(self, metric: AbstractMetric) -> Matched:
        """Raises ConfigError for fewer items than the metric needs."""
        if self.n < metric.min_n:
            raise ConfigError(f"{metric.name} needs at least {metric.min_n} items; got {self.n}")
        if isinstance(metric, PairedCosine):
            return self.raw
        if isinstance(metric, PairedCosineCentred):
            return self.centred
        if isinstance(metric, AbstractRetrieval):
            self._require_differing()
            return _OfRetrieval(metric, self.cosines)
        return _OfSignatures(metric, metric.signature(self.x), metric.signature(self.y))


def ranks(cosines: HeldCosines) -> Float[np.ndarray, " n"]:
    """Of each item's partner among all items of the other side, 1 for the nearest; equally near ones share their places' mean."""
    parts = []
    for block, similarity, noise in cosines.row_ranges():
        own = similarity.diagonal(offset=block.start)[:, None]
        slack = torch.maximum(noise, noise.diagonal(offset=block.start)[:, None])
        nearer, as_near = similarity > own + slack, (similarity - own).abs() <= slack
        parts.append(1 + nearer.sum(dim=1) + (as_near.sum(dim=1) - 1) / 2)
    return torch.cat(parts).double().cpu().numpy()


def _wide(x: LayerActivations) -> LayerActivations:
    return x if x.dtype == torch.float64 else x.float()
