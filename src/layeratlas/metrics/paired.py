"""Similarities of vectors of one space: is item i of the one side near item i of the other?

Both sides' layers come from one model, of two languages or two versions of a text, say. Retrieval asks whether an item's pair is
the nearest of all items of the other side, by cosine. Where m items are equally near, within rounding, each counts 1/m: what
drawing one of them would give in the mean, whatever the order of the items.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import About, AbstractMetric, AbstractVectorsMetric, AnyLayer, Chance, Signature, centred, checked
from layeratlas.metrics.cosines import Cosines, CosinesOfVectors
from layeratlas.metrics.directions import Directions, directions, unit_vectors

Credits = Any  # a sparse (n, n) tensor, which jaxtyping's shapes do not describe

_ITEMS = 256
COSINE_OF_ONE_SIDE = frozenset({"scale", "item_scale"})


class AbstractPairedMetric(AbstractMetric[Signature], abc.ABC):
    """A metric of the cosines between the items of both sides."""

    @abc.abstractmethod
    def directions(self, signature: Signature) -> Directions:
        """The items' unit vectors."""

    def units(self, a: Sequence[Signature], b: Sequence[Signature]) -> tuple[list[Directions], list[Directions]]:
        """Both sides' unit vectors, in one precision."""
        sides = [[self.directions(layer) for layer in side] for side in (a, b)]
        if len(widths := {u.deviations.shape[1] for side in sides for u in side}) > 1:
            dimensions = " and ".join(map(str, sorted(widths)))
            raise ConfigError(f"metric {self.name} compares vectors of one space; got layers of {dimensions} dimensions")
        wide = torch.promote_types(sides[0][0].deviations.dtype, sides[1][0].deviations.dtype)
        units_a, units_b = ([u._replace(deviations=u.deviations.to(wide)) for u in side] for side in sides)
        return units_a, units_b


class AbstractOfDirections(AbstractPairedMetric[Directions], abc.ABC):
    """The signature is the layer's unit vectors, about their mean."""

    def signature(self, x: LayerActivations) -> Directions:
        return directions(checked(x, self.min_n))

    def directions(self, signature: Directions) -> Directions:
        return signature

    def items(self, signature: Directions) -> int:
        return len(signature.deviations)

    def permuted(self, signature: Directions, order: Int[Tensor, " n"]) -> Directions:
        return signature._replace(deviations=signature.deviations[order.to(signature.deviations.device)])

    def subset(self, signature: Directions, kept: Int[Tensor, " m"]) -> Directions:
        return signature._replace(deviations=checked(signature.deviations[kept.to(signature.deviations.device)], self.min_n))


class _PairedCosine(AbstractPairedMetric[Signature], abc.ABC):
    def affinity(self, a: Sequence[Signature], b: Sequence[Signature]) -> AffinityMatrix:
        units_a, units_b = ([u.unit for u in side] for side in self.units(a, b))
        total = torch.zeros(len(a), len(b), dtype=torch.float64)
        for rows in torch.arange(self.items(a[0])).split(_ITEMS):
            u, v = (torch.stack([x[rows].flatten() for x in side]) for side in (units_a, units_b))
            total += (u @ v.T).double().cpu()
        return total / self.items(a[0])

    def chance(self, a: Sequence[Signature], b: Sequence[Signature]) -> Chance:
        """Exact: the inner product of both mean unit vectors, and tr(S_a S_b) / (n^2 (n - 1)) with S the scatter matrices."""
        units_a, units_b = ([u.deviations.double() + u.mean for u in side] for side in self.units(a, b))
        n, d = units_a[0].shape
        means = (torch.stack([x.mean(dim=0) for x in side]) for side in (units_a, units_b))
        units_a, units_b = ([x - x.mean(dim=0) for x in side] for side in (units_a, units_b))
        variance = torch.zeros(len(a), len(b), dtype=torch.float64)
        for part in torch.arange(d).split(_ITEMS):
            s, t = (torch.stack([(x[:, part].T @ x).flatten() for x in side]) for side in (units_a, units_b))
            variance += (s @ t.T).cpu()
        mean_a, mean_b = means
        return Chance((mean_a @ mean_b.T).cpu(), variance / (n**2 * (n - 1)))


@dataclass(frozen=True)
class PairedCosine(_PairedCosine[Directions], AbstractOfDirections):
    """Mean cosine of the items of a pair. Its chance is high where all vectors share a direction, as they do in most layers."""

    about = About(
        name="paired_cosine",
        definition="mean cosine of paired items",
        estimator="mean over items",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="inner product of both sides' mean unit vectors",
        invariances=COSINE_OF_ONE_SIDE,
        cost="n d a pair",
        source="Reimers & Gurevych 2019",
        same_space=True,
    )


@dataclass(frozen=True)
class PairedCosineCentred(_PairedCosine[AnyLayer], AbstractVectorsMetric):
    """Mean cosine of the items of a pair, once each side's mean is taken away: what a side's items share (a language) drops out.

    The signature is the centred layer, which the mean of some of its items follows from.
    """

    about = About(
        name="paired_cosine_centered",
        definition="mean cosine of paired items, each side's mean removed",
        estimator="mean over items",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="inner product of both sides' mean unit vectors: near 0",
        invariances=frozenset({"scale", "translation"}),
        cost="n d a pair",
        source="Libovický et al. 2020",
        same_space=True,
    )

    def signature(self, x: LayerActivations) -> LayerActivations:
        x = centred(checked(x, self.min_n))
        unit_vectors(x)  # refuses an item at the mean
        return x

    def directions(self, signature: LayerActivations) -> Directions:
        return directions(signature)


class AbstractRetrieval(AbstractOfDirections, abc.ABC):
    """Which items would be found, had they been each other's pair: M[i, j], from 0 to 1, for item i of a and j of b.

    The affinity is the mean of M[i, i]. Under permutations p of the items, the sum of M[i, p(i)] has the mean sum(M) / n and the
    variance |H M H|^2 / (n - 1), H = 1 - 11'/n (Hoeffding, 1951). M is sparse: few items are nearest to an item.
    """

    is_share = True

    @abc.abstractmethod
    def credits(self, cosines: Cosines) -> Credits:
        """M from the cosines of all items of a with all of b."""

    def affinity(self, a: Sequence[Directions], b: Sequence[Directions]) -> AffinityMatrix:
        return self.permuted_affinity(a, b, torch.arange(self.items(a[0]))[None])[0]

    def permuted_affinity(
        self, a: Sequence[Directions], b: Sequence[Directions], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        units_a, units_b = self.units(a, b)
        affinities = torch.empty(len(orders), len(a), len(b), dtype=torch.float64)
        for i, u in enumerate(units_a):
            for j, v in enumerate(units_b):
                credit = self.credits(CosinesOfVectors.of(u, v))
                (rows, columns), weights = credit.indices(), credit.values()
                paired = orders.to(rows.device)[:, rows] == columns
                affinities[:, i, j] = (paired * weights).sum(dim=1).cpu() / self.items(u)
        return affinities

    def chance(self, a: Sequence[Directions], b: Sequence[Directions]) -> Chance:
        units_a, units_b = self.units(a, b)
        moments = [[_moments(self.credits(CosinesOfVectors.of(u, v))) for v in units_b] for u in units_a]
        mean, variance = torch.tensor(moments, dtype=torch.float64).movedim(2, 0)
        return Chance(mean, variance)


def _moments(credit: Credits) -> tuple[float, float]:
    n, total = len(credit), float(credit.values().sum())
    margins = sum(float(torch.sparse.sum(credit, dim=side).values().square().sum()) for side in (0, 1))
    scatter = float(credit.values().square().sum()) - margins / n + (total / n) ** 2
    return total / n**2, max(scatter, 0) / (n**2 * (n - 1))  # rounding can take it below 0


def nearest(cosines: Cosines, handicap: Float[Tensor, " n"] | None = None) -> Credits:
    """1/m for each item's m equally near items of the other side; `handicap` is taken off the latter's similarities."""
    parts = []
    for of_rows, similarity, noise in cosines.row_ranges():
        similarity = similarity if handicap is None else similarity - handicap
        best, place = similarity.max(dim=1, keepdim=True)
        near = similarity >= best - torch.maximum(noise, noise.gather(1, place))
        rows, columns = near.nonzero(as_tuple=True)
        parts.append((rows + of_rows.start, columns, 1 / near.sum(dim=1).double()[rows]))
    rows, columns, weights = (torch.cat(part) for part in zip(*parts, strict=True))
    return _sparse(torch.stack([rows, columns]), weights, cosines.n)


def _sparse(indices: Int[Tensor, "2 m"], values: Float[Tensor, " m"], n: int) -> Credits:
    return torch.sparse_coo_tensor(indices, values, (n, n), check_invariants=False).coalesce()


@dataclass(frozen=True)
class RetrievalAt1(AbstractRetrieval):
    """Share of items whose pair is the nearest of all items of the other side, averaged over both directions.

    A layer with itself has 1 only if no two of its items point in the same direction.
    """

    about = About(
        name="retrieval_at_1",
        definition="share of items whose pair is the nearest item of the other side, mean of both directions",
        estimator="mean over items, cosine; ties share",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="1 / n",
        invariances=COSINE_OF_ONE_SIDE,
        cost="n² d a pair",
        source="Artetxe & Schwenk 2019",
        same_space=True,
    )

    def credits(self, cosines: Cosines) -> Credits:
        return ((nearest(cosines) + nearest(cosines.transposed()).T) / 2).coalesce()


@dataclass(frozen=True)
class RetrievalAt1Mutual(AbstractRetrieval):
    """Share of pairs whose items are each the nearest of the other: in both directions, where `RetrievalAt1` counts each."""

    about = About(
        name="retrieval_at_1_mutual",
        definition="share of pairs that are mutual nearest neighbours across the sides",
        estimator="mean over items, cosine; ties share",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="number of mutual nearest neighbours / n²",
        invariances=COSINE_OF_ONE_SIDE,
        cost="n² d a pair",
        source="Artetxe & Schwenk 2019",
        same_space=True,
    )

    def credits(self, cosines: Cosines) -> Credits:
        return (nearest(cosines) * nearest(cosines.transposed()).T).coalesce()


@dataclass(frozen=True)
class MEXA(AbstractRetrieval):
    """Share of items whose similarity to their pair exceeds all others of its row and of its column (Kargaran et al., 2024).

    `RetrievalAt1Mutual` where nothing ties; a tie counts as not found.
    """

    about = About(
        name="mexa",
        definition="share of pairs more similar than either item is to any other item of the other side",
        estimator="mean over items, cosine; a tie is a miss",
        bounds=(0.0, 1.0),
        self_value=1.0,
        chance="number of such neighbours / n²",
        invariances=COSINE_OF_ONE_SIDE,
        cost="n² d a pair",
        source="Kargaran et al. 2024",
        same_space=True,
    )

    def credits(self, cosines: Cosines) -> Credits:
        both = (nearest(cosines) * nearest(cosines.transposed()).T).coalesce()
        untied = both.values() == 1
        return _sparse(both.indices()[:, untied], both.values()[untied], cosines.n)


@dataclass(frozen=True)
class CSLS(AbstractRetrieval):
    """Retrieval at 1, both directions averaged, by similarities that are scaled locally (Conneau et al., 2018, section 2.3).

        CSLS(x, y) = 2 cos(x, y) - r_b(x) - r_a(y)

    with r_b(x) the mean cosine of x to its k nearest items of side b. It takes away the advantage of hubs, which are near to
    everything. A layer with itself can fall below 1: an item's outlying neighbour can count as nearer than the item.
    """

    k: int

    about = About(
        name="csls",
        definition="share of items whose pair is the nearest by cosine minus the mean cosine to k neighbours, both directions",
        estimator="mean over items; ties share",
        bounds=(0.0, 1.0),
        self_value=None,
        chance="1 / n",
        invariances=COSINE_OF_ONE_SIDE,
        cost="2 n² d a pair",
        source="Conneau et al. 2018",
        same_space=True,
    )

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k: expected at least 1 neighbour; got {self.k}")

    @property
    def min_n(self) -> int:
        return max(2, self.k)

    def credits(self, cosines: Cosines) -> Credits:
        back = cosines.transposed()
        density_a, density_b = self._density(cosines), self._density(back)
        return ((nearest(cosines, density_b / 2) + nearest(back, density_a / 2).T) / 2).coalesce()

    def _density(self, cosines: Cosines) -> Float[Tensor, " n"]:
        """Mean cosine of each item to its k nearest of the other side, less 1."""
        return torch.cat([similarity.topk(self.k, dim=1).values.mean(dim=1) for _, similarity, _ in cosines.row_ranges()])
