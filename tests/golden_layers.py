"""Layers that other implementations have published or been run on, so that their values can be compared with ours."""

import numpy as np


def golden_layers() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layers on which several independent implementations agree: with a shared part, and independent with d >> n."""
    rng = np.random.default_rng(0)
    n = 64
    z = rng.standard_normal((n, 8))
    x = np.hstack([z, rng.standard_normal((n, 24))]) @ rng.standard_normal((32, 32))
    y = np.hstack([z, rng.standard_normal((n, 12))]) @ rng.standard_normal((20, 20))
    return {"shared": (x, y), "independent": (rng.standard_normal((n, 256)), rng.standard_normal((n, 300)))}


def published_layers() -> tuple[np.ndarray, np.ndarray]:
    """The layers of the demonstration notebook of Kornblith et al. (2019)."""
    legacy = np.random.RandomState(1337)  # the generator behind the published numbers
    x = legacy.randn(100, 10)
    return x, legacy.randn(100, 10) + x
