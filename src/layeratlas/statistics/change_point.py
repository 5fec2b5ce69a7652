"""Does a curve over depth jump between two layers, rather than follow a straight line?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from layeratlas.errors import Undefined
from layeratlas.statistics.nulls import add_one_p, attainable_p

FEWEST = 5  # layers: two on either side of the jump, and one more, or a straight line and a jump fit anything
_SIDE = 2

Curves = Float[np.ndarray, "draws layers"]


@dataclass(frozen=True)
class ChangePoint:
    """Where the curve changes, if it does.

    `p`: two-sided, of the test that a straight line is all there is. `pattern`: `none` where p is larger than alpha; `change` where
    it is not, and two levels are nearer to the curve than a parabola, which has as many parameters; else `curve`.
    `after` is the last layer before the best change of level, `before` and `later` are the means on either side, and `drawn` says
    where resamples of the items put the change; they mean something where the pattern is `change`.
    """

    p: float
    attainable_p: float
    pattern: str
    after: int
    before: float
    later: float
    drawn: Int[np.ndarray, " draws"]


def change_point(
    curve: Float[np.ndarray, " layers"], resampled: Curves, positions: Float[np.ndarray, " layers"], alpha: float
) -> ChangePoint:
    """Test whether a jump adds to a straight line over the positions, and look where two levels fit best.

        T = max over c of SSE(line) - SSE(line and a jump after layer c)

    with two layers or more on either side of c. Had the curve been a straight line, T would be that of the deviations of the
    resampled curves from their mean, which vary together as layers do that share items: p is the rank of T among these.
    Raises ValueError for fewer than five layers.
    """
    if len(curve) < FEWEST:
        raise Undefined(f"a change over depth is looked for in {FEWEST} layers or more; got {len(curve)}")
    parabola = np.stack([np.ones_like(positions), positions, positions**2], axis=1)
    line = parabola[:, :2]
    steps = np.arange(_SIDE - 1, len(curve) - _SIDE)
    p = float(add_one_p(_gain(curve[None], line, steps)[0], _gain(resampled - resampled.mean(axis=0), line, steps)))
    levels, bend = _two_levels(curve[None], steps)[0], float((_off(parabola, curve[None]) ** 2).sum())
    after = int(steps[levels.argmin()])
    return ChangePoint(
        p=p,
        attainable_p=attainable_p(len(resampled)),
        pattern="none" if p > alpha else "change" if levels.min() < bend else "curve",
        after=after,
        before=float(curve[: after + 1].mean()),
        later=float(curve[after + 1 :].mean()),
        drawn=steps[_two_levels(resampled, steps).argmin(axis=1)],
    )


def _off(design: Float[np.ndarray, "layers _"], curves: Curves) -> Curves:
    """What the best combination of the design's columns leaves of each curve."""
    return curves - curves @ np.linalg.pinv(design).T @ design.T


def _gain(curves: Curves, line: Float[np.ndarray, "layers 2"], steps: Int[np.ndarray, " steps"]) -> Float[np.ndarray, " draws"]:
    """How much of the squares about the straight line the best jump takes away."""
    jumps = _off(line, (np.arange(len(line)) > steps[:, None]).astype(float))
    along = _off(line, curves) @ jumps.T
    return (along**2 / (jumps**2).sum(axis=1)).max(axis=1)


def _two_levels(curves: Curves, steps: Int[np.ndarray, " steps"]) -> Float[np.ndarray, "draws steps"]:
    """Sum of squares about the means before and after each step."""
    sums = []
    for step in steps:
        parts = curves[:, : step + 1], curves[:, step + 1 :]
        sums.append(sum(((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for part in parts))
    return np.stack(sums, axis=1)
