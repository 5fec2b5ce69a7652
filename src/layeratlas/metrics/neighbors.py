"""Similarities of neighbourhoods: metrics of two layers' lists of nearest items."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import About, AbstractMetric, Chance, checked
from layeratlas.metrics.mantel import Sums, permutation_moments
from layeratlas.metrics.nearest import COSINE_INVARIANCES, CosineNeighbors, Listed, Nearest, Neighbors

_ROWS = 1024
_LISTED = 100
_SLOT_ROWS = 64  # all layers' slots of a block fit into a processor's cache
_ROUNDING = 1e-12  # of an HSIC of cosines


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
        return {"neighbors": self.nearest.name, "listed": max(self.k, self.listed or self.k)}

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
        indices = places[signature.indices.long()[kept]]
        left_out = indices < 0
        if int((~left_out).sum(dim=1).min()) < self.k:
            raise ValueError(f"of {indices.shape[1]} listed neighbours of an item, fewer than k = {self.k} are in the subset")
        first = left_out.sort(dim=1, stable=True).indices[:, : self.k]
        return Listed(indices.gather(1, first), signature.similarities[kept].gather(1, first))

    def lists(self, layers: Sequence[Listed]) -> Int[Tensor, "layers n k"]:
        return torch.stack([layer.indices[:, : self.k] for layer in layers])


def renumbered(order: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Where each item stands once items are put into `order`."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places


def _slots(lists: Int[Tensor, "layers rows k"], n: int) -> Int[Tensor, "rows n"]:
    """A number from 1 for each pair (item, neighbour) that some layer lists, 0 for the others."""
    listed = torch.zeros(lists.shape[1], n, dtype=torch.int32, device=lists.device)
    listed.scatter_(1, lists.movedim(1, 0).flatten(start_dim=1).long(), 1)
    return (listed.view(-1).cumsum(dim=0, dtype=torch.int32) * listed.view(-1)).view(listed.shape)


def _members(lists: Int[Tensor, "layers rows k"], slots: Int[Tensor, "rows n"]) -> Float[Tensor, "layers slots"]:
    """1 where a layer lists the pair of a slot; pairs without a slot are left out."""
    rows = torch.arange(lists.shape[1], device=lists.device)[:, None] * slots.shape[1]
    filled = slots.view(-1)[(rows + lists).flatten(start_dim=1)]
    members = torch.zeros(len(lists), int(slots.max()) + 1, device=lists.device)
    return members.scatter_(1, filled.long(), 1)[:, 1:]


@dataclass(frozen=True)
class MutualKNN(AbstractNeighborMetric):
    """Share of k nearest neighbours that two layers have in common (Huh et al., 2024; Wolfram and Schein, 2025, eq. 1).

        M = 1 / (n k) * sum_i |N_a(i) & N_b(i)|

    Its mean over permutations of the items is k / (n - 1), whatever the layers; its variance is Mantel's for the two graphs.
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
        short vector of zeros and ones, made once for a and once per order for b, and all pairs of layers are one product.
        """
        lists_a, lists_b, n = self.lists(a), self.lists(b), self.items(a[0])
        orders = orders.to(lists_a.device)
        places = [renumbered(order).int() for order in orders]
        counts = torch.zeros(len(orders), len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _SLOT_ROWS):
            rows = slice(start, start + _SLOT_ROWS)
            slots = _slots(lists_a[:, rows], n)
            members = _members(lists_a[:, rows], slots)
            for draw, (order, place) in enumerate(zip(orders, places, strict=True)):
                counts[draw] += (members @ _members(place[lists_b[:, order[rows]].long()], slots).T).double().cpu()
        return counts / (n * self.k)

    def chance(self, a: Sequence[Listed], b: Sequence[Listed]) -> Chance:
        n = self.items(a[0])
        graphs_a, graphs_b = ([_graph_sums(lists, n) for lists in self.lists(side)] for side in (a, b))
        moments = permutation_moments(graphs_a, graphs_b, n)
        assert moments.variance is not None
        mean = torch.full((len(a), len(b)), self.k / (n - 1), dtype=torch.float64)
        return Chance(mean, moments.variance / (n * self.k) ** 2)


def _graph_sums(lists: Neighbors, n: int) -> Sums:
    """Of the directed graph that leads from each item to its k neighbours, as a matrix of zeros and ones."""
    k = lists.shape[1]
    incoming = torch.bincount(lists.flatten(), minlength=n).double()
    edges = torch.arange(n, device=lists.device)[:, None] * n + lists
    back = lists.long() * n + torch.arange(n, device=lists.device)[:, None]
    reciprocal = float(torch.isin(edges, back).sum())
    return Sums(n * k, 0.0, n * k, reciprocal, n * k**2, incoming.square().sum(), k * n * k, 0.0, 0.0, 0.0)


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
        lists_b, n = self.lists(b), self.items(a[0])
        found = torch.zeros(len(a), len(b), dtype=torch.float64)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            for i, layer in enumerate(self.lists(a)):
                member = torch.zeros(len(layer[rows]), n, dtype=torch.int16, device=layer.device).scatter_(1, layer[rows].long(), 1)
                common = torch.stack([member.gather(1, other[rows].long()).sum(dim=1) for other in lists_b])
                found[i] += (common.double() / (2 * self.k - common)).sum(dim=1).cpu()
        return found / n


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
        n, lists_a, lists_b = self.items(a[0]), self.lists(a), self.lists(b)
        items = torch.arange(n, device=lists_a.device)
        found = torch.empty(len(a), len(b), dtype=torch.float64)
        for i, layer in enumerate(lists_a):
            member = torch.zeros(n, n, dtype=torch.bool, device=layer.device).scatter_(1, layer.long(), True)
            for j, other in enumerate(lists_b):
                found[i, j] = member[other.long(), items[:, None]].any(dim=1).double().mean()
        return found


@dataclass(frozen=True)
class LCSKNN(AbstractNeighborMetric):
    """Length of the longest common subsequence of two ordered neighbour lists, over k (Huh et al., 2024, appendix A)."""

    about = About(
        name="lcs_knn",
        definition="longest common subsequence of the ordered k nearest neighbours / k, averaged over items",
        estimator="mean over items, {nearest} neighbour lists",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation: near k / (n - 1)",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k² a pair",
        source="Huh et al. 2024",
    )

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        lists_b = self.lists(b)
        longest = [self._longest(layer, lists_b).double().mean(dim=1) for layer in self.lists(a)]
        return torch.stack(longest).cpu() / self.k

    def _longest(self, layer: Neighbors, others: Int[Tensor, "layers n k"]) -> Int[Tensor, "layers n"]:
        """Row by row of the usual table: above[c] is the longest of what is read of one list and the first c of the other."""
        above = torch.zeros(*others.shape[:2], self.k + 1, dtype=torch.int16, device=others.device)
        for r in range(self.k):
            extended = above[:, :, :-1] + (others == layer[:, r, None])
            row = torch.maximum(above[:, :, 1:], extended).cummax(dim=2).values
            above = torch.nn.functional.pad(row, (1, 0))
        return above[:, :, -1]


@dataclass(frozen=True)
class RankKNN(AbstractNeighborMetric):
    """Agreement of the ranks of common neighbours (Wang et al., 2022, section 3.2).

        mean over items of  sum_{j in N_a(i) & N_b(i)} 2 / ((1 + |r_a - r_b|) (r_a + r_b)) / sum_{r=1}^{K} 1/r,

    with r_a and r_b the ranks of j and K the number of common neighbours; 0 for an item without any.
    """

    about = About(
        name="rank_knn",
        definition="agreement of the ranks of common nearest neighbours, near ranks counting most",
        estimator="mean over items, {nearest} neighbour lists",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="by permutation",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k² a pair",
        source="Wang et al. 2022",
    )

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        lists_b = self.lists(b)
        ranks = torch.arange(1, self.k + 1, dtype=torch.float64, device=lists_b.device)
        weights = 2 / ((1 + (ranks[:, None] - ranks).abs()) * (ranks[:, None] + ranks))
        largest = torch.cat([torch.ones(1, dtype=torch.float64, device=ranks.device), (1 / ranks).cumsum(0)])
        found = torch.empty(len(a), len(b), dtype=torch.float64)
        for i, layer in enumerate(self.lists(a)):
            for j, other in enumerate(lists_b):
                common = layer[:, :, None] == other[:, None, :]
                agreement = torch.einsum("nrs,rs->n", common.double(), weights)
                found[i, j] = (agreement / largest[common.sum(dim=(1, 2))]).mean()
        return found


@dataclass(frozen=True)
class CKNNA(AbstractNeighborMetric):
    """CKA restricted to common nearest neighbours (Huh et al., 2024, appendix A), with the unbiased estimator of HSIC.

        H(aK, aL) / sqrt(H(bK, bK) H(cL, cL))

    with K and L the cosine similarities of both layers, masked by a: the neighbours common to both layers, b: those of the one,
    c: those of the other layer. All entries outside the masks are 0, so the lists and their similarities are enough. Masked
    matrices are not symmetric, and neither is H of two of them, though nearly.
    """

    about = About(
        name="cknna",
        definition="debiased CKA of cosine similarities, of common nearest neighbours only",
        estimator="unbiased HSIC of masked Gram matrices",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="by permutation",
        invariances=COSINE_INVARIANCES,
        cost="n² d a layer, n k log(n k) a pair",
        source="Huh et al. 2024",
        symmetric=False,
    )

    is_share = False

    @property
    def min_n(self) -> int:
        return max(4, self.k + 1)

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        entries_a, entries_b = ([self._entries(layer) for layer in side] for side in (a, b))
        own = [torch.tensor([self._common(e, e) for e in side], dtype=torch.float64) for side in (entries_a, entries_b)]
        if min(values.min() for values in own) < _ROUNDING:
            raise ValueError("a layer's neighbours are all equally near: its CKNNA with itself is zero, so undefined")
        found = torch.tensor([[self._common(x, y) for y in entries_b] for x in entries_a], dtype=torch.float64)
        return found / torch.outer(*(values.sqrt() for values in own))

    def _entries(self, layer: Listed) -> tuple[Int[Tensor, " nk"], Float[Tensor, " nk"]]:
        """Places i n + j of the list's entries in the n x n matrix, in order, and their values."""
        n = self.items(layer)
        places = (torch.arange(n, device=layer.indices.device)[:, None] * n + layer.indices[:, : self.k]).flatten()
        order = places.argsort()
        return places[order], layer.similarities[:, : self.k].flatten()[order].double()

    def _common(self, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> float:
        n = len(x[0]) // self.k
        at = torch.searchsorted(y[0], x[0]).clamp(max=len(y[0]) - 1)
        both = y[0][at] == x[0]
        return _masked_hsic(x[0][both], x[1][both], y[1][at[both]], n)


def _masked_hsic(places: Int[Tensor, " m"], k: Float[Tensor, " m"], l: Float[Tensor, " m"], n: int) -> float:  # noqa: E741 (K, L)
    """Unbiased HSIC (Song et al., 2012, eq. 5) of two sparse matrices with entries at the same places, not on the diagonal."""
    rows, columns = places // n, places % n
    mirrored = columns * n + rows
    at = torch.searchsorted(places, mirrored).clamp(max=max(len(places) - 1, 0))
    crossed = (k * l[at])[places[at] == mirrored].sum() if len(places) else k.sum()
    column_sums = torch.zeros(n, dtype=k.dtype, device=k.device).index_add_(0, columns, k)
    row_sums = torch.zeros(n, dtype=l.dtype, device=l.device).index_add_(0, rows, l)
    parts = crossed + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (column_sums @ row_sums) / (n - 2)
    return float(parts) / (n * (n - 3))
