"""What was done on purpose against the same done at random, at several places at once."""

import numpy as np
from jaxtyping import Float

from layeratlas.errors import Undefined


def against_draws(own: float, draws: Float[np.ndarray, " d"]) -> float:
    """One-sided p that one value is as large as it is among d draws of a control: (1 + draws at least as large) / (d + 1)."""
    if not len(draws):
        raise Undefined("there is no draw of a control to compare with")
    return float((1 + (draws >= own).sum()) / (len(draws) + 1))


def pooled_against_draws(
    own: Float[np.ndarray, " places"], draws: Float[np.ndarray, "places d"], reorders: int, generator: np.random.Generator
) -> float:
    """One-sided p that the mean over places is as large as it is, by a permutation test.

    Under the null hypothesis the value at each place is exchangeable with its d draws, independently from place to place: one of
    the d + 1 is chosen at each place, `reorders` times, and p = (1 + means at least as large) / (reorders + 1).
    """
    if draws.shape[1] == 0:
        raise Undefined("there is no draw of a control to compare with")
    together = np.concatenate([own[:, None], draws], axis=1)
    chosen = generator.integers(together.shape[1], size=(reorders, len(own)))
    means = np.take_along_axis(together[None], chosen[:, :, None], axis=2)[:, :, 0].mean(axis=1)
    rounding = 1e-12 * np.abs(together).max()
    return float((1 + (means >= own.mean() - rounding).sum()) / (reorders + 1))
