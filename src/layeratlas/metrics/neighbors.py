"""Similarities of neighbourhoods: metrics of two layers' lists of nearest items."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics.base import About, AbstractMetric, Chance, Doubt, checked
from layeratlas.metrics.mantel import Sums, permutation_moments
from layeratlas.metrics.nearest import COSINE_INVARIANCES, CosineNeighbors, Listed, Nearest
from layeratlas.metrics.ties import Credited, common_counts, credited, meeting, shares, split, stacked

_LISTED = 100
_SLOT_ROWS = 64  # all layers' slots of a block fit into a processor's cache
_ROWS = 1024
_TOLD = 0.005  # rounding alone makes fewer items' neighbours equally near
EQUALLY_NEAR = "share of items with neighbours that are equally near, or with a copy; credit is shared among them"


@dataclass(frozen=True)
class AbstractNeighborMetric(AbstractMetric[Listed], abc.ABC):
    """A metric whose signature is the list of each item's nearest other items.

    The `k` nearest count; the signature lists `listed` of them (None: k), so that `subset` can fill up with farther ones what
    a left-out item leaves empty.
    """

    k: int
    nearest: Nearest = field(default_factory=CosineNeighbors)
    listed: int | None = None

    is_share = True
    kept_as = Listed

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k: expected at least 1 neighbour; got {self.k}")
        estimator = self.about.estimator.format(nearest=self.nearest.name)
        object.__setattr__(self, "about", replace(self.about, estimator=estimator, invariances=self.nearest.invariances))

    @property
    def min_n(self) -> int:
        return self.k + 1

    @property
    def signature_key(self) -> dict[str, Any]:
        return {"neighbors": self.nearest.name, "listed": max(self.k, self.listed or self.k), "ties": "all listed"}

    @property
    def signature_bytes(self) -> int:
        return 8 * max(self.k, self.listed or self.k)  # an index and a similarity of 4 bytes each

    def with_slack(self) -> "AbstractNeighborMetric":
        return self if self.listed else replace(self, listed=max(self.k + self.k // 2, _LISTED))

    def signature(self, x: LayerActivations) -> Listed:
        x = checked(x, self.min_n)
        return self.nearest(x, min(len(x) - 1, max(self.k, self.listed or self.k)))

    def items(self, signature: Listed) -> int:
        return len(signature.indices)

    def permuted(self, signature: Listed, order: Int[Tensor, " n"]) -> Listed:
        order = order.to(signature.indices.device)
        return Listed(renumbered(order)[signature.indices.long()[order]].int(), signature.similarities[order])

    def subset(self, signature: Listed, kept: Int[Tensor, " m"]) -> Listed:
        kept = kept.to(signature.indices.device)
        places = torch.full((self.items(signature),), -1, device=kept.device, dtype=torch.int32)
        places[kept] = torch.arange(len(kept), device=kept.device, dtype=torch.int32)
        similarities, indices = signature.similarities[kept], places[signature.indices.long()[kept]]
        left_out = (indices < 0) | similarities.isinf()
        remaining = (~left_out).sum(dim=1)
        if int(remaining.min()) < self.k:
            raise self._too_few(signature.length)
        first = left_out.sort(dim=1, stable=True).indices[:, : int(remaining.max())]
        left_out = left_out.gather(1, first)
        indices = torch.where(left_out, places[kept][:, None], indices.gather(1, first))
        similarities = similarities.gather(1, first).masked_fill(left_out, -torch.inf)
        needed = (similarities >= similarities[:, self.k - 1 : self.k]).sum(dim=1).max()
        return Listed(indices[:, :needed], similarities[:, :needed])

    def credited(self, layers: Sequence[Listed]) -> Credited:
        """All layers' k nearest neighbours of each item, equally near ones with their share of the last places."""
        return stacked([credited(layer, self.k) for layer in layers])

    def tied(self, signature: Listed) -> Bool[Tensor, " n"]:
        """Items for which equally near neighbours make a difference."""
        return split(signature, self.k)

    def diagnose(self, signature: Listed) -> Doubt | None:
        copies = signature.similarities[:, 0] == 0
        share = float((self.tied(signature) | copies).double().mean())
        return Doubt(EQUALLY_NEAR, share) if share >= _TOLD else None

    def _too_few(self, listed: int) -> Undefined:
        return Undefined(f"of {listed} listed neighbours of an item, fewer than k = {self.k} are in the subset")


def renumbered(order: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Where each item stands once items are put into `order`."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places


def _cut(layers: Sequence[Listed], rows: slice, width: int) -> Listed:
    """The beginnings of some rows of all layers' lists."""
    cut = [Listed(layer.indices[rows, :width], layer.similarities[rows, :width]) for layer in layers]
    if len({part.indices.shape[1] for part in cut}) == 1:
        return Listed(*(torch.stack(parts) for parts in zip(*cut, strict=True)))
    own = torch.arange(len(layers[0].indices), device=layers[0].indices.device, dtype=torch.int32)[rows, None]
    indices = own.expand(len(cut), len(own), width).clone()
    similarities = torch.full(indices.shape, -torch.inf, device=own.device, dtype=layers[0].similarities.dtype)
    for i, part in enumerate(cut):
        indices[i, :, : part.indices.shape[1]] = part.indices
        similarities[i, :, : part.indices.shape[1]] = part.similarities
    return Listed(indices, similarities)


def _slots(lists: Int[Tensor, "layers rows width"], n: int) -> Int[Tensor, "rows n"]:
    """A number from 1 for each pair (item, neighbour) that some layer lists, 0 for the others."""
    listed = torch.zeros(lists.shape[1], n, dtype=torch.int32, device=lists.device)
    listed.scatter_(1, lists.movedim(1, 0).flatten(start_dim=1).long(), 1)
    return (listed.view(-1).cumsum(dim=0, dtype=torch.int32) * listed.view(-1)).view(listed.shape)


def _members(
    lists: Int[Tensor, "layers rows width"], credits: Float[Tensor, "*draws layers rows width"], slots: Int[Tensor, "rows n"]
) -> Float[Tensor, "*draws layers slots"]:
    """By how much a layer lists the pair of a slot; pairs without a slot are left out."""
    rows = torch.arange(lists.shape[1], device=lists.device)[:, None] * slots.shape[1]
    filled = slots.view(-1)[(rows + lists).flatten(start_dim=1)].long()
    credits = credits.flatten(start_dim=-2)
    members = torch.zeros(*credits.shape[:-1], int(slots.max()) + 1, device=lists.device)
    return members.scatter_(-1, filled.expand(credits.shape), credits)[..., 1:]


@dataclass(frozen=True)
class MutualKNN(AbstractNeighborMetric):
    """Share of k nearest neighbours that two layers have in common (Huh et al., 2024; Wolfram and Schein, 2025, eq. 1).

        M = 1 / (n k) * sum_i |N_a(i) & N_b(i)|

    Its mean over permutations of the items is k / (n - 1), whatever the layers; its variance is Mantel's for the two graphs.

    >>> import numpy as np
    >>> from layeratlas import affinity_matrix
    >>> x = np.random.default_rng(0).standard_normal((30, 4))
    >>> affinity_matrix(MutualKNN(k=3), [x], [2 * x]).tolist()
    [[1.0]]
    """

    about = About(
        name="mutual_knn",
        definition="share of common k nearest neighbours",
        estimator="mean overlap of {nearest} neighbour lists",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="k / (n - 1)",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k a pair",
        source="Huh et al. 2024",
    )

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        return self.permuted_affinity(a, b, torch.arange(self.items(a[0]))[None])[0]

    def permuted_affinity(
        self, a: Sequence[Listed], b: Sequence[Listed], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """By blocks of items: pairs (item, neighbour) that occur in some layer of a get a slot each, so that every layer is a
        short vector of credits, made once for a and once per order for b, and all pairs of layers are one product.
        """
        (lists_a, credits_a), (lists_b, credits_b), n = self.credited(a), self.credited(b), self.items(a[0])
        orders = orders.to(lists_a.device)
        places = [renumbered(order).int() for order in orders]
        counts = torch.zeros(len(orders), len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _SLOT_ROWS):
            rows = slice(start, start + _SLOT_ROWS)
            slots = _slots(lists_a[:, rows], n)
            members = _members(lists_a[:, rows], credits_a[:, rows], slots)
            for draw, (order, place) in enumerate(zip(orders, places, strict=True)):
                taken = order[rows]
                others = _members(place[lists_b[:, taken].long()], credits_b[:, taken], slots)
                counts[draw] += (members @ others.T).double().cpu()
        return counts / (n * self.k)

    def subset_affinity(
        self, a: Sequence[Listed], b: Sequence[Listed], subsets: Sequence[Int[Tensor, " _"]]
    ) -> Float[Tensor, "subsets layers_a layers_b"]:
        """All subsets at once: they differ in the credits of the same slots alone."""
        n, device = self.items(a[0]), a[0].indices.device
        kept = torch.zeros(len(subsets), n, dtype=torch.bool, device=device)
        for items, subset in zip(kept, subsets, strict=True):
            items[subset.to(device)] = True
        counts = torch.zeros(len(subsets), len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _SLOT_ROWS):
            rows = slice(start, start + _SLOT_ROWS)
            (lists_a, credits_a), (lists_b, credits_b) = (self._over_subsets(side, rows, kept) for side in (a, b))
            slots = _slots(lists_a, n)
            members = _members(lists_a, credits_a, slots)
            counts += (members @ _members(lists_b, credits_b, slots).mT).double().cpu()
        return counts / (kept.sum(dim=1).double().cpu() * self.k)[:, None, None]

    def _over_subsets(self, layers: Sequence[Listed], rows: slice, kept: Bool[Tensor, "subsets n"]) -> Credited:
        """Some items' neighbours with their credits in each subset, reading no farther into the lists than any subset needs."""
        longest = max(layer.indices.shape[1] for layer in layers)
        width = min(longest, 2 * self.k)
        while True:
            listed = _cut(layers, rows, width)
            present = kept[:, listed.indices.long()] & listed.similarities.isfinite()
            counts = present.sum(dim=-1)
            short = (counts < self.k) & kept[:, None, rows]
            if width < longest:
                last = listed.similarities[..., -1:]
                goes_on = last[..., 0] == _cut(layers, rows, width + 1).similarities[..., -1]
                short |= goes_on & ((present & (listed.similarities > last)).sum(dim=-1) < self.k) & kept[:, None, rows]
            if not bool(short.any()):
                break
            if width == longest:
                raise self._too_few(min(layer.length for layer in layers))
            width = min(longest, 2 * width)
        credits = shares(listed.similarities, present, self.k) * kept[:, None, rows, None]
        return Credited(listed.indices, credits)

    def chance(self, a: Sequence[Listed], b: Sequence[Listed]) -> Chance:
        n = self.items(a[0])
        graphs_a, graphs_b = ([_graph_sums(credited(layer, self.k), self.k) for layer in side] for side in (a, b))
        moments = permutation_moments(graphs_a, graphs_b, n)
        assert moments.variance is not None
        mean = torch.full((len(a), len(b)), self.k / (n - 1), dtype=torch.float64)
        return Chance(mean, moments.variance / (n * self.k) ** 2)


def _graph_sums(layer: Credited, k: int) -> Sums:
    """Of the directed graph that leads from each item to its k neighbours, as a matrix of credits."""
    (n, _), credits = layer.indices.shape, layer.credits.double().flatten()
    items, neighbors = torch.arange(n, device=credits.device)[:, None], layer.indices.long()
    incoming = torch.bincount(neighbors.flatten(), credits, minlength=n)
    edges, order = (items * n + neighbors).flatten().sort()
    back = (neighbors * n + items).flatten()
    at = torch.searchsorted(edges, back).clamp(max=len(edges) - 1)
    reciprocal = credits @ torch.where(edges[at] == back, credits[order[at]], 0.0)
    return Sums(n * k, 0.0, credits @ credits, reciprocal, n * k**2, incoming.square().sum(), k * n * k, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class JaccardKNN(AbstractNeighborMetric):
    """Mean Jaccard index of the k nearest neighbours: common ones over all of both lists."""

    about = About(
        name="jaccard_knn",
        definition="common k nearest neighbours over all that either layer lists, averaged over items",
        estimator="mean Jaccard index of {nearest} neighbour lists",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: near k / (2 n)",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k a pair",
        source="Wang et al. 2022",
    )

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        lists_b, n = torch.stack([layer.indices[:, : self.k] for layer in b]), self.items(a[0])
        split_b = torch.stack([split(layer, self.k) for layer in b])
        total = torch.zeros(len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            for i, layer in enumerate(a):
                near = layer.indices[rows, : self.k].long()
                member = torch.zeros(len(near), n, dtype=torch.int16, device=near.device).scatter_(1, near, 1)
                common = torch.stack([member.gather(1, other[rows].long()).sum(dim=1) for other in lists_b])
                untied = ~(split(layer, self.k)[rows] | split_b[:, rows])
                total[i] += (untied * common.double() / (2 * self.k - common)).sum(dim=1).cpu()
        for i, layer in enumerate(a):
            for j, other in enumerate(b):
                total[i, j] += self._of_tied(layer, other)
        return total / n

    def _of_tied(self, a: Listed, b: Listed) -> float:
        """The sum of the expected index over items with a tie at the last place of either list."""
        rows = split(a, self.k) | split(b, self.k)
        if not bool(rows.any()):
            return 0.0
        numbers = torch.arange(self.k + 1, dtype=torch.float64, device=rows.device)
        counts = common_counts(meeting(a, b, rows, self.k).shared, self.k)
        return float((counts @ (numbers / (2 * self.k - numbers))).sum())


@dataclass(frozen=True)
class CycleKNN(AbstractNeighborMetric):
    """Share of items that are among the a-neighbours of one of their b-neighbours (Huh et al., 2024, appendix A).

    There and back again: i -> j in layer b, j -> i in layer a. Not symmetric, and high by chance where k^2 approaches n.
    """

    about = About(
        name="cycle_knn",
        definition="share of items that return to themselves by a step to a neighbour in b and one in a",
        estimator="mean over items, {nearest} neighbour lists",
        bounds=(0.0, 1.0),
        self_value=None,
        chance="by permutation: near 1 - (1 - k / (n - 1))^k",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k a pair",
        source="Huh et al. 2024",
        symmetric=False,
    )

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        n, lists_b = self.items(a[0]), [credited(layer, self.k) for layer in b]
        items = torch.arange(n, device=a[0].indices.device)
        scores = torch.empty(len(a), len(b), dtype=torch.float64)
        for i, layer in enumerate(a):
            back = credited(layer, self.k)
            whole = bool((back.credits == 1).all())
            member = torch.zeros(n, n, dtype=torch.bool if whole else torch.float32, device=items.device)
            member.scatter_(1, back.indices.long(), back.credits.to(member.dtype))
            for j, there in enumerate(lists_b):
                returns = member[there.indices.long(), items[:, None]]
                if whole and there.credits.shape[1] == self.k:
                    scores[i, j] = returns.any(dim=1).double().mean()
                else:
                    scores[i, j] = 1 - self._never(returns.double(), there.credits.double()).mean()
        return scores

    def _never(self, returns: Float[Tensor, "n width"], credits: Float[Tensor, "n width"]) -> Float[Tensor, " n"]:
        """The probability that no neighbour of b leads back, given the probability that each is one, and that it does.

        Of the tied ones, r of m are drawn: the mean over draws of a product is e_r(1 - returns) / e_r(1), e_r the r-th elementary
        symmetric polynomial.
        """
        certain, tied = credits == 1, (credits > 0) & (credits < 1)
        never = torch.where(certain, 1 - returns, 1.0).prod(dim=1)
        rows = tied.any(dim=1)
        if not bool(rows.any()):
            return never
        left = self.k - certain[rows].sum(dim=1, keepdim=True)
        sums = torch.zeros(2, len(left), self.k + 1, dtype=torch.float64, device=returns.device)
        sums[..., 0] = 1
        for column in tied.any(dim=0).nonzero()[:, 0]:
            staying = torch.stack([1 - returns[rows, column], torch.ones_like(returns[rows, column])])
            sums[..., 1:] += sums[..., :-1].clone() * (staying * tied[rows, column])[..., None]
        drawn = sums.gather(2, left.expand(2, -1, 1))[..., 0]
        never[rows] *= drawn[0] / drawn[1]
        return never
