"""How long the published bootstrap takes, and that it equals the plain loop draw for draw.

    uv run tests/benchmarks/phases.py    230 pairs x 33 layers x 10,000 resamples (.76 s on two cores, the loop 3.0 s a layer)
Exits with 1 if it takes more than two seconds, the best of three, or if any draw differs.
"""

import sys
import time

import numpy as np
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


def main() -> int:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(PAIRS)
    x = 0.3 * y + rng.standard_normal((LAYERS, PAIRS))
    seconds, draws = [], np.empty(0)
    for _ in range(3):
        start = time.perf_counter()
        draws = bootstrap(x, y, DRAWS)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    apart = float(np.abs(loop(x[0], y, DRAWS) - draws[0]).max())
    print(
        f"{LAYERS} layers: {min(seconds):.2f} s (at most {MOST:g}); loop, one layer: {time.perf_counter() - start:.1f} s;"
        f" largest difference {apart:.1e}"
    )
    return int(min(seconds) > MOST or apart > 1e-10)


if __name__ == "__main__":
    sys.exit(main())
