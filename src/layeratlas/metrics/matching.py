"""Similarities of single dimensions (units): each is matched with those of the other layer that it correlates with."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import csc_array
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import About, AbstractVectorsMetric, AnyLayer, checked, of_all_pairs

AXIS_ALIGNED = frozenset({"scale", "translation", "feature_permutation", "feature_scale"})
MOST_PAIRS = 2**26  # of units: beyond, one pair of layers takes minutes and gigabytes

_FEW_COPIES = 256  # up to here, an assignment of copied units is faster than a linear program
_NEAR = 16  # candidates of each unit that the linear program begins with
_TOLERANCE = 1e-9  # on differences of correlations

Correlations = Float[np.ndarray, "d_a d_b"]


class AbstractMatchingMetric(AbstractVectorsMetric, abc.ABC):
    """The largest mean correlation of matched units; the signature holds the units, each of mean 0 and norm 1.

    Correlations keep their sign, so that a unit is no match for its negative, and `feature_scale` means positive factors. Units
    that are the same for all items correlate with nothing and are left out.
    """

    @abc.abstractmethod
    def matched(self, correlations: Correlations) -> float:
        """Mean correlation under the best matching."""

    def signature(self, x: LayerActivations) -> AnyLayer:
        x = checked(x, self.min_n)
        units = x[:, (x != x[0]).any(dim=0)].double()
        units = units - units.mean(dim=0)
        return torch.nn.functional.normalize(units / units.abs().amax(dim=0), dim=0).to(x.dtype)

    def affinity(self, a: Sequence[AnyLayer], b: Sequence[AnyLayer]) -> AffinityMatrix:
        return of_all_pairs(lambda x, y: self.matched(correlations(x, y)), a, b)


def correlations(x: Float[Tensor, "n d_a"], y: Float[Tensor, "n d_b"]) -> Correlations:
    """Of each unit of a with each of b, both of mean 0 and norm 1."""
    if (pairs := x.shape[1] * y.shape[1]) > MOST_PAIRS:
        raise ConfigError(
            f"metric: matching {x.shape[1]} units with {y.shape[1]} takes minutes and gigabytes for each pair of layers; "
            f"at most {MOST_PAIRS} pairs of units can be matched, these are {pairs}"
        )
    wide = torch.promote_types(x.dtype, y.dtype)
    return (x.to(wide).T @ y.to(wide)).double().cpu().numpy()


@dataclass(frozen=True)
class PermutationMatch(AbstractMatchingMetric):
    """Mean correlation of units matched one to one (Li et al., 2016; Khosla and Williams, 2024).

        max over matchings p of mean_i corr(x_i, y_p(i))

    over the units of the narrower layer, each with a unit of its own: those of the wider layer that are left over do not count.
    """

    about = About(
        name="permutation_match",
        definition="mean correlation of units under the best one-to-one matching",
        estimator="Pearson correlations, exact assignment",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="by permutation: above 0, the more so the wider the layers",
        invariances=AXIS_ALIGNED,
        cost="n d² + d³ a pair: 0.05 s for d = 576, 1 s for d = 2048",
        source="Li et al. 2016",
        min_n=3,
    )

    def matched(self, correlations: Correlations) -> float:
        return _assigned(correlations)


@dataclass(frozen=True)
class SoftMatch(AbstractMatchingMetric):
    """Mean correlation of units under optimal transport between them (Khosla and Williams, 2024).

        max over P of sum_ij P_ij corr(x_i, y_j),  P >= 0,  each row sums to 1 / d_a and each column to 1 / d_b,

    so that all units of both layers count, and a layer whose units are each copied equally often stays what it was. For equal
    widths, the best P is a permutation.
    """

    about = About(
        name="soft_match",
        definition="mean correlation of units under optimal transport, all units of a layer weighing the same",
        estimator="Pearson correlations, exact transport",
        bounds=(-1.0, 1.0),
        self_value=1.0,
        chance="by permutation: above 0, the more so the wider the layers",
        invariances=AXIS_ALIGNED,
        cost="n d² + d³ a pair: as permutation_match for equal widths, else 0.2 s for d = 640, 3 s for d = 2304",
        source="Khosla & Williams 2024",
        min_n=3,
    )

    def matched(self, correlations: Correlations) -> float:
        copies = math.lcm(*correlations.shape)
        return _assigned(_copied(correlations)) if copies <= max(_FEW_COPIES, *correlations.shape) else _transported(correlations)


def _assigned(correlations: Correlations) -> float:
    return float(correlations[linear_sum_assignment(correlations, maximize=True)].mean())


def _copied(correlations: Correlations) -> Float[np.ndarray, "copies copies"]:
    """Each unit so often that both layers have as many, which makes transport an assignment (Birkhoff's theorem)."""
    d_a, d_b = correlations.shape
    copies = math.lcm(d_a, d_b)
    return correlations.repeat(copies // d_a, axis=0).repeat(copies // d_b, axis=1)


def _transported(correlations: Correlations) -> float:
    """Optimal transport by a linear program over few pairs of units, to which all pairs are added that would improve it.

    A pair would if its correlation exceeds the sum of both units' prices (dual values): where none does, none of the pairs that
    were left out belongs to the optimum, which is then that over all pairs.
    """
    pairs = _nearest_pairs(correlations) | _feasible_pairs(*correlations.shape)
    while True:
        value, prices_a, prices_b = _transport_over(pairs, correlations)
        gains = np.where(pairs, 0.0, correlations - prices_a[:, None] - prices_b)
        if gains.max() <= _TOLERANCE:
            return value
        pairs |= _nearest_pairs(gains) & (gains > _TOLERANCE)


def _transport_over(
    pairs: Bool[np.ndarray, "d_a d_b"], correlations: Correlations
) -> tuple[float, Float[np.ndarray, " d_a"], Float[np.ndarray, " d_b"]]:
    """Value and dual values of the best transport that uses no other pairs; masses are whole numbers."""
    d_a, d_b = correlations.shape
    i, j = pairs.nonzero()
    sums: Any = csc_array((np.ones(2 * len(i)), (np.stack([i, d_a + j], axis=1).ravel(), np.arange(len(i)).repeat(2))))
    masses = np.repeat([d_b, d_a], [d_a, d_b]) / math.gcd(d_a, d_b)
    # presolving takes ten times as long as solving, as there is nothing to simplify in a transport
    solved = linprog(-correlations[i, j], A_eq=sums, b_eq=masses, method="highs-ds", options={"presolve": False})
    assert solved.success, solved.message
    prices = -solved.eqlin.marginals
    return float(correlations[i, j] @ solved.x / math.lcm(d_a, d_b)), prices[:d_a], prices[d_a:]


def _nearest_pairs(values: Correlations) -> Bool[np.ndarray, "d_a d_b"]:
    """The pairs of largest value of each unit of either layer."""
    nearest = np.zeros(values.shape, dtype=bool)
    for axis in (0, 1):
        near = min(_NEAR, values.shape[axis])
        np.put_along_axis(nearest, np.argpartition(-values, near - 1, axis=axis).take(range(near), axis=axis), True, axis=axis)
    return nearest


def _feasible_pairs(d_a: int, d_b: int) -> Bool[np.ndarray, "d_a d_b"]:
    """Enough pairs for some transport: both layers' units laid side by side on one line, those paired that overlap."""
    cuts = np.union1d(np.arange(d_a) * d_b, np.arange(d_b) * d_a)
    pairs = np.zeros((d_a, d_b), dtype=bool)
    pairs[cuts // d_b, cuts // d_a] = True
    return pairs
