"""How long the published bootstrap takes, and that it equals the plain loop draw for draw.

    uv run tests/benchmarks/phases.py    230 pairs x 33 layers x 10,000 resamples

Exits with 1 if it takes more than two seconds, the best of three.
"""

import sys
import time

import numpy as np
from measuring import Figures, measure
from race import race
from scipy import stats

from layeratlas.statistics.published_phases import SEED, bootstrap

PAIRS, LAYERS, DRAWS, MOST = 230, 33, 10_000, 2.0


def loop(x: np.ndarray, y: np.ndarray, draws: int) -> np.ndarray:
    """The published loop over one layer."""
    random, values = np.random.RandomState(SEED), []
    for _ in range(draws):
        places = random.choice(len(y), size=len(y), replace=True)
        values.append(stats.pearsonr(x[places], y[places])[0])
    return np.array(values)


def resampled() -> Figures:
    """The loop is timed over one layer; `ratios` of it over all layers and ours."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal(PAIRS)
    x = 0.3 * y + rng.standard_normal((LAYERS, PAIRS))
    draws = bootstrap(x, y, DRAWS)
    seconds = race({"ours": lambda: bootstrap(x, y, DRAWS)}, 3)
    start = time.perf_counter()
    assert np.abs(loop(x[0], y, DRAWS) - draws[0]).max() <= 1e-10
    seconds["loop_over_a_layer"] = time.perf_counter() - start
    ratio = LAYERS * seconds["loop_over_a_layer"] / seconds["ours"]
    return {"pairs": PAIRS, "layers": LAYERS, "draws": DRAWS, "seconds": seconds, "ratios": {"loop_of_ours": ratio}}


if __name__ == "__main__":
    done = measure(__file__, {"resampled": resampled}, sys.argv[1:])
    sys.exit(int(done["resampled"]["seconds"]["ours"] > MOST))
