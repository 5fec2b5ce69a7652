"""Layers that other implementations have published or been run on, so that their values can be compared with ours."""

import numpy as np


def shared_and_wide() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two layers of 64 items that share 8 dimensions, and two independent ones of more dimensions than items."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((64, 8))
    x = np.hstack([z, rng.standard_normal((64, 24))]) @ rng.standard_normal((32, 32))
    y = np.hstack([z, rng.standard_normal((64, 12))]) @ rng.standard_normal((20, 20))
    return {"shared": (x, y), "wide": (rng.standard_normal((64, 256)), rng.standard_normal((64, 300)))}
