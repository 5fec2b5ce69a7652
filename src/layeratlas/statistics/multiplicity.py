"""Many tests at once."""

import numpy as np
from jaxtyping import Float

PValues = Float[np.ndarray, " tests"]
METHODS = {"bonferroni": "bonferroni", "holm": "holm", "bh": "fdr_bh"}


def corrected(p: PValues, method: str) -> PValues:
    """p-values corrected for their number: `bonferroni`, `holm` (family-wise), `bh` (false discovery rate); NaN is no test.

    >>> import numpy as np
    >>> corrected(np.array([0.01, 0.04, np.nan]), "holm").round(3).tolist()
    [0.02, 0.04, nan]
    """
    from statsmodels.stats.multitest import multipletests  # takes a second to import

    result, tested = np.full(len(p), np.nan), np.isfinite(p)
    if tested.any():
        result[tested] = multipletests(p[tested], method=METHODS[method])[1]
    return result


def bonferroni_ordered(p: PValues) -> PValues:
    """Bonferroni over ordered pairs: each test counts in both orders (the .0004 of Wolfram and Schein, 2025)."""
    return corrected(np.repeat(p, 2), "bonferroni")[::2]
