"""Similarities of ordered neighbour lists: what stands at which rank counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix
from layeratlas.metrics.base import About
from layeratlas.metrics.nearest import COSINE_INVARIANCES, Listed, Neighbors
from layeratlas.metrics.neighbors import AbstractNeighborMetric
from layeratlas.metrics.ties import Shared, common_counts, meeting, runs

_BREAKINGS = 16


@dataclass(frozen=True)
class LCSKNN(AbstractNeighborMetric):
    """Length of the longest common subsequence of two ordered neighbour lists, over k (Huh et al., 2024, appendix A).

    Its mean over the ways to break ties has no closed form: for items with a tie it is taken over 16 random orders of equally
    near neighbours, drawn for each side and item anew, always the same ones. That is off by less than .25 / sqrt(16 n) (one
    standard error), as the length over k of one item varies by no more than .25 or so.
    """

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

    def tied(self, signature: Listed) -> Bool[Tensor, " n"]:
        return has_ties(signature, self.k)

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        lists_b, tied_b = torch.stack([layer.indices[:, : self.k] for layer in b]), [self.tied(layer) for layer in b]
        total = torch.zeros(len(a), len(b), dtype=torch.float64)
        for i, layer in enumerate(a):
            tied_a = self.tied(layer)
            lengths = self._longest(layer.indices[:, : self.k], lists_b).double()
            for j, other in enumerate(b):
                tied = tied_a | tied_b[j]
                total[i, j] = lengths[j][~tied].sum()
                if bool(tied.any()):
                    total[i, j] += self._of_tied(layer, other, tied)
        return total / (self.k * self.items(a[0]))

    def _of_tied(self, a: Listed, b: Listed, rows: Bool[Tensor, " n"]) -> float:
        """Sum over some items of the mean length over breakings of the ties."""
        broken = [_broken(layer, rows, self.k, seed) for seed, layer in enumerate((a, b))]
        lengths = self._longest(broken[0].flatten(end_dim=1), broken[1].flatten(end_dim=1)[None])
        return float(lengths.double().sum()) / _BREAKINGS

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

    with r_a and r_b the ranks of j and K the number of common neighbours; 0 for an item without any. Where items are equally near,
    its mean over all ways to break the ties, exactly.
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

    def tied(self, signature: Listed) -> Bool[Tensor, " n"]:
        return has_ties(signature, self.k)

    def affinity(self, a: Sequence[Listed], b: Sequence[Listed]) -> AffinityMatrix:
        ranks = torch.arange(1, self.k + 1, dtype=torch.float64, device=b[0].indices.device)
        weights = 2 / ((1 + (ranks[:, None] - ranks).abs()) * (ranks[:, None] + ranks))
        largest = torch.cat([torch.ones(1, dtype=torch.float64, device=ranks.device), (1 / ranks).cumsum(0)])
        ties_a, ties_b = ([self.tied(layer) for layer in side] for side in (a, b))
        scores = torch.empty(len(a), len(b), dtype=torch.float64)
        for i, layer in enumerate(a):
            for j, other in enumerate(b):
                common = layer.indices[:, : self.k, None] == other.indices[:, None, : self.k]
                agreement = torch.einsum("nrs,rs->n", common.double(), weights) / largest[common.sum(dim=(1, 2))]
                if bool((rows := ties_a[i] | ties_b[j]).any()):
                    agreement[rows] = self._of_tied(layer, other, rows, weights, largest)
                scores[i, j] = agreement.mean()
        return scores

    def _of_tied(
        self,
        a: Listed,
        b: Listed,
        rows: Bool[Tensor, " n"],
        weights: Float[Tensor, "k k"],
        largest: Float[Tensor, " counts"],
    ) -> Float[Tensor, " rows"]:
        """The expected agreement of some items' lists.

        Given that j is common, its ranks are uniform over the places of its run, whatever the number of common neighbours.
        """
        met = meeting(a, b, rows, self.k)
        boxes = torch.nn.functional.pad(weights.cumsum(0).cumsum(1), (1, 0, 1, 0))
        (r, r_end), (s, s_end) = _ranks(a, rows, met.places_a, self.k), _ranks(b, rows, None, self.k, met.places_a.shape[1])
        area = ((r_end - r) * (s_end - s)).clamp(min=1)
        mean = (boxes[r_end, s_end] - boxes[r, s_end] - boxes[r_end, s] + boxes[r, s]) / area
        shares = torch.zeros(len(mean), dtype=torch.float64, device=mean.device)
        for kind in _kinds(met.shared):
            members = (met.certain_a if kind.certain_a else met.tied_a) & (met.certain_b if kind.certain_b else met.tied_b)
            any_of_it = members.any(dim=1).nonzero()[:, 0]
            if len(any_of_it):
                others = common_counts(Shared(*(part[any_of_it] for part in kind.others)), self.k)
                divisor = others[:, :-1] @ (1 / largest[1:])
                shares[any_of_it] += kind.probability[any_of_it] * (mean * members).sum(dim=1)[any_of_it] * divisor
        return shares


class _Kind(NamedTuple):
    """A neighbour that is certain or tied in either layer: how likely it is common, and how the other neighbours then meet."""

    certain_a: bool
    certain_b: bool
    probability: Float[Tensor, " rows"]
    others: Shared


def _kinds(shared: Shared) -> list[_Kind]:
    ones, kinds = torch.ones_like(shared.certain).double(), []
    shares = {True: (ones, ones)}
    shares[False] = (shared.places_a / shared.tied_a.clamp(min=1).double(), shared.places_b / shared.tied_b.clamp(min=1).double())
    names = {(True, True): "certain", (True, False): "first", (False, True): "second", (False, False): "both"}
    for (certain_a, certain_b), name in names.items():
        others = shared._replace(**{name: getattr(shared, name) - 1})
        if not certain_a:
            others = others._replace(tied_a=shared.tied_a - 1, places_a=shared.places_a - 1)
        if not certain_b:
            others = others._replace(tied_b=shared.tied_b - 1, places_b=shared.places_b - 1)
        kinds.append(_Kind(certain_a, certain_b, shares[certain_a][0] * shares[certain_b][1], others))
    return kinds


def has_ties(layer: Listed, k: int) -> Bool[Tensor, " n"]:
    """Items with equally near neighbours among the k nearest or at the last place."""
    nearest = layer.similarities[:, : k + 1]
    return (nearest[:, 1:] == nearest[:, :-1]).any(dim=1)


def _ranks(
    layer: Listed, rows: Bool[Tensor, " n"], places: Int[Tensor, "rows width"] | None, k: int, width: int | None = None
) -> tuple[Int[Tensor, "rows width"], Int[Tensor, "rows width"]]:
    """Ranks from 0 that the neighbours at these places (all places, if None) may have: the first, and one more than the last."""
    first, last = runs(layer.similarities[rows])
    if places is None:
        first, last = first[:, :width], last[:, :width]
    else:
        first, last = (part.gather(1, places.clamp(min=0).long()) for part in (first, last))
    return first.clamp(max=k), (last + 1).clamp(max=k)


def _broken(layer: Listed, rows: Bool[Tensor, " n"], k: int, seed: int) -> Int[Tensor, "breakings rows k"]:
    """The k nearest of some items, equally near ones in random order."""
    first = runs(layer.similarities[rows]).first
    generator = torch.Generator().manual_seed(seed)
    lots = torch.rand(_BREAKINGS, *first.shape, generator=generator).to(first.device)
    order = (first + lots.double()).argsort(dim=-1)[..., :k]
    return layer.indices[rows].expand(*lots.shape).gather(-1, order)
