"""Blocks that are like their neighbours, against what it costs to do without them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from layeratlas.errors import Undefined
from layeratlas.statistics.matrices import pearson, spearman
from layeratlas.statistics.nulls import ROUNDING

Square = Float[np.ndarray, "layers layers"]
PerBlock = Float[np.ndarray, " blocks"]
_FEWEST_LEFT = 4  # degrees of freedom of a partial correlation: with fewer, it is next to arbitrary


def above_chance(matrix: Square, chance: Square) -> Square:
    """Affinities of a model's layers with each other as a share of the way from chance to a layer with itself.

        (S_ij - c_ij) / (s_ij - c_ij),  s_ij = (S_ii + S_jj) / 2

    1 is as alike as a layer is to itself, 0 is chance. NaN where a layer is no more like itself than chance makes it.
    """
    itself = (np.diag(matrix)[:, None] + np.diag(matrix)) / 2
    room = itself - chance
    defined = room > ROUNDING * np.abs(itself)
    return np.divide(matrix - chance, room, out=np.full_like(matrix, np.nan, dtype=float), where=defined)


def saturation(matrix: Square, chance: Square, *, room: float) -> dict[int, str]:
    """Layers at which the values of a metric tell little of likeness, with the reason.

    Values above that of a layer with itself have no bound that would mean anything; where chance alone comes within a share
    `room` of a layer with itself, all layers are as alike; and a layer that is no more like either neighbour than like the layers
    farther away (by less than `room` of the way) does not show that depth matters to the metric.
    """
    found: dict[int, str] = {}
    itself = (np.diag(matrix)[:, None] + np.diag(matrix)) / 2
    scaled = above_chance(matrix, chance)
    layers = len(matrix)
    for i in range(layers):
        others = [j for j in range(layers) if j != i]
        near = [j for j in others if abs(i - j) == 1]
        far = sorted(others, key=lambda j: abs(i - j))[len(others) // 2 :]
        if any(matrix[i, j] > itself[i, j] + ROUNDING * abs(itself[i, j]) for j in others):
            found[i] = "more alike to another layer than to itself"
        elif any(itself[i, j] - chance[i, j] < room * abs(itself[i, j]) for j in near):
            found[i] = "chance alone is nearly as alike"
        elif layers > 3 and float(np.max(scaled[i, near]) - np.median(scaled[i, far])) < room:
            found[i] = "no more alike to its neighbours than to layers far away"
    return found


def neighbours_alike(scaled: Square, threshold: float) -> list[list[int]]:
    """Runs of two or more consecutive layers of which every two are at least `threshold` alike; longest first, none twice."""
    layers = len(scaled)
    runs = []
    for start in range(layers):
        for end in range(layers, start + 1, -1):
            if bool((scaled[start:end, start:end][~np.eye(end - start, dtype=bool)] >= threshold).all()):
                runs.append(list(range(start, end)))
                break
    taken: set[int] = set()
    found = []
    for run in sorted(runs, key=len, reverse=True):
        if not taken & set(run):
            taken |= set(run)
            found.append(run)
    return sorted(found)


def most_alike_first(affinity: PerBlock) -> Int[np.ndarray, " blocks"]:
    """The order in which similarity would remove blocks: the place of each, 0 for the first; ties keep the order of depth."""
    return np.argsort(np.argsort(-affinity, kind="stable"), kind="stable")


def agreement(place: np.ndarray, cost: PerBlock) -> float:
    """Spearman's correlation of the place in an order of removal with the cost: 1 removes what costs least first."""
    return spearman(np.asarray(place, dtype=float), cost)


def beyond_depth(affinity: PerBlock, cost: PerBlock, depth: PerBlock) -> float:
    """Correlation of affinity and cost given depth and its square: of what a regression on 1, depth, depth^2 leaves of either.

    Raises Undefined where fewer than 4 degrees of freedom remain.
    """
    if len(cost) - 3 < _FEWEST_LEFT:
        raise Undefined(f"{len(cost)} blocks: depth and its square leave too little to correlate; {3 + _FEWEST_LEFT} are needed")
    design = np.stack([np.ones_like(depth), depth, depth**2], axis=1)
    return pearson(*(_left(values, design) for values in (affinity, cost)))


def _left(values: PerBlock, design: Float[np.ndarray, "blocks 3"]) -> PerBlock:
    """The residual; 0 where it is no more than rounding."""
    residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return residual if np.abs(residual).max() > ROUNDING * np.abs(values).max() else np.zeros_like(values)


def random_agreement(cost: PerBlock, draws: int, level: float, generator: np.random.Generator) -> tuple[float, float]:
    """Between which values the agreement of random orders with the cost lies in a share `level` of draws."""
    drawn = [agreement(generator.permutation(len(cost)), cost) for _ in range(draws)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summed(order: Sequence[int], cost: PerBlock) -> PerBlock:
    """What removing the first 1, 2, ... of an order would cost if single costs added up; `order` lists places of `cost`."""
    return np.cumsum(cost[np.asarray(order)])
