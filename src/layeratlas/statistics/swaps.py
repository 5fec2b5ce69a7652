"""The swap margin: are layers at equal depth each other's preferred partners, whatever the strengths of single layers?

For two depths s < t of a square matrix B of similarities, with own = {B_ss, B_tt} and crossed = {B_st, B_ts},

    m(s, t) = max(0, min own - max crossed) - max(0, min crossed - max own)

m is positive only if all four layers (s and t of either side) are more alike to the layer at their own depth, and is then what the
least decided of the four prefers it by; it is negative if all four prefer the other depth. Where similarities are a monotone
function of u_i + v_j or of u_i v_j, u and v >= 0, all rows order the columns in the same way, so that m is exactly 0: layers that
are alike to everything, and more so at some depths, have no margin. In the terms of statistics, m measures a crossover
interaction, the kind that no rescaling removes (Loftus, 1978; Gail and Simon, 1985, test the like between treatments and subsets).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layeratlas.errors import Undefined

Matrices = Float[np.ndarray, "*draws rows columns"]
Squares = Float[np.ndarray, "*draws depths depths"]
Depths = Float[np.ndarray, " _"]

_ROUNDING = 1e-6  # of the largest cell: what differs by less is a tie, or the rounding of an interpolation would decide


@dataclass(frozen=True)
class Swaps:
    """What each pair of depths s < t says, (..., S (S - 1) / 2) each.

    `margin` is m(s, t) in the metric's units; `gain` (B_ss + B_tt - B_st - B_ts) / 2, whose mean over the pairs of a square
    matrix is the mean on its diagonal minus the mean off it.
    """

    margin: np.ndarray
    gain: np.ndarray

    @property
    def swap_margin(self) -> np.ndarray:
        """Mean of m over all pairs of depths. A lower bound: noise pulls it towards 0, the more so the fewer items."""
        return np.asarray(self.margin.mean(axis=-1))

    @property
    def own_share(self) -> np.ndarray:
        """Share of the pairs in which all four layers prefer their own depth."""
        return self._share(self.margin > 0)

    @property
    def crossed_share(self) -> np.ndarray:
        """Share of the pairs in which all four layers prefer the other depth."""
        return self._share(self.margin < 0)

    @property
    def net_share(self) -> np.ndarray:
        """Net swap share, from -1 to 1: the first of these shares minus the second. Comparable across metrics."""
        return np.asarray(self.own_share - self.crossed_share)

    @property
    def kept_share(self) -> np.ndarray:
        """Sum of m over sum of the gains: what of the raw contrast survives on every scale; NaN unless the latter is positive."""
        kept, total = np.asarray(self.margin.sum(axis=-1)), np.asarray(self.gain.sum(axis=-1))
        return np.divide(kept, total, out=np.full_like(total, np.nan), where=total > 0)

    def _share(self, which: np.ndarray) -> np.ndarray:
        undefined = np.isnan(self.margin).any(axis=-1)
        return np.where(undefined, np.nan, which.mean(axis=-1))


def swaps(squares: Matrices) -> Swaps:
    """Compare all pairs of depths of matrices whose rows and columns stand for the same depths, in this order.

    Differences up to 1e-6 of a matrix's largest cell are ties. A cell that is NaN makes its pairs NaN. Raises ValueError for
    fewer than two depths.

    >>> import numpy as np
    >>> float(swaps(np.array([[0.8, 0.5], [0.4, 0.9]])).swap_margin)  # min(.8, .9) - max(.5, .4)
    0.30000000000000004
    """
    size = squares.shape[-1]
    if squares.shape[-2] != size or size < 2:
        raise Undefined(f"a swap needs the same two depths or more on both sides; got {squares.shape[-2]} x {size}")
    s, t = np.triu_indices(size, 1)
    own = squares[..., s, s], squares[..., t, t]
    crossed = squares[..., s, t], squares[..., t, s]
    tie = _ROUNDING * np.abs(squares).max(axis=(-2, -1))[..., None]
    ahead = np.minimum(*own) - np.maximum(*crossed)
    behind = np.minimum(*crossed) - np.maximum(*own)
    margin = np.where(ahead > tie, ahead, np.where(behind > tie, -behind, 0.0))
    gain = (own[0] + own[1] - crossed[0] - crossed[1]) / 2
    return Swaps(np.where(np.isnan(ahead + behind), np.nan, margin), gain)


def margin_by_depth(squares: Squares) -> Float[np.ndarray, "*draws depths"]:
    """For each depth s the mean of m(s, t) over all other depths t; the mean over depths is the swap margin."""
    size = squares.shape[-1]
    margins = swaps(squares).margin
    s, t = np.triu_indices(size, 1)
    full = np.zeros((*margins.shape[:-1], size, size))
    full[..., s, t] = full[..., t, s] = margins
    return full.sum(axis=-1) / (size - 1)


def shared_depths(depth_a: Depths, depth_b: Depths) -> Depths:
    """The depths at which two sides are compared: those of the side of fewer layers (of b, if as many) that the other reaches.

    Where all blocks are compared these are all depths of the shallower model, k / L; chosen layers may reach less far.

    >>> import numpy as np
    >>> shared_depths(np.array([0.5, 1.0]), np.array([0.25, 0.5, 0.75, 1.0])).tolist()
    [0.5, 1.0]
    """
    fewer, more = (depth_a, depth_b) if len(depth_a) < len(depth_b) else (depth_b, depth_a)
    return fewer[(fewer >= more.min() - 1e-12) & (fewer <= more.max() + 1e-12)]


def at_equal_depths(matrices: Matrices, depth_a: Depths, depth_b: Depths) -> Squares:
    """Both sides of matrices at the same depths, interpolated linearly between neighbouring layers.

    An interpolated row is the same mean of two rows in every column, so that what all rows agree on stays so.
    """
    depths = shared_depths(depth_a, depth_b)
    return _weights(depths, depth_a) @ matrices @ _weights(depths, depth_b).T


def _weights(wanted: Depths, layers: Depths) -> Float[np.ndarray, "wanted layers"]:
    """How much of each layer stands at each wanted depth."""
    return np.stack([np.interp(wanted, layers, unit) for unit in np.eye(len(layers))], axis=1)
