"""layeratlas compares what the layers of language models represent.

`affinity_matrix(metric, layers_a, layers_b)` compares arrays; `read_run` and `read_sweep` read what `layeratlas` (in a checkout
`src/run.py`) wrote, and `compare_runs` says how far two runs agree. Each is imported when it is first asked for.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# OpenMP reads it once, when torch is imported: waiting threads sleep. By default they spin, and on a machine that has other
# work to do they spin while the thread that they wait for has no core: fifty seconds for the work of one. What is set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from layeratlas.affinity.matrix import affinity_matrix as affinity_matrix
    from layeratlas.runs.reading import Run as Run
    from layeratlas.runs.reading import read_run as read_run
    from layeratlas.runs.reading import read_sweep as read_sweep
    from layeratlas.studies.two_runs import compare_runs as compare_runs

_PUBLIC = {
    "Run": "layeratlas.runs.reading",
    "affinity_matrix": "layeratlas.affinity.matrix",
    "compare_runs": "layeratlas.studies.two_runs",
    "read_run": "layeratlas.runs.reading",
    "read_sweep": "layeratlas.runs.reading",
}
__all__ = ["Run", "affinity_matrix", "compare_runs", "read_run", "read_sweep"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'layeratlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
