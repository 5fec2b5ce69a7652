"""layeratlas compares what the layers of language models represent.

`affinity_matrix(metric, layers_a, layers_b)` compares arrays; `read_run` and `read_sweep` read what `src/run.py` wrote, and
`compare_runs` says how far two runs agree.
"""

import os

# OpenMP reads it once, when torch is imported: waiting threads sleep. By default they spin, and on a machine that has other
# work to do they spin while the thread that they wait for has no core: fifty seconds for the work of one. What is set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from layeratlas.affinity.matrix import affinity_matrix as affinity_matrix
from layeratlas.agreement import compare_runs as compare_runs
from layeratlas.runs.results import Run as Run
from layeratlas.runs.results import read_run as read_run
from layeratlas.runs.results import read_sweep as read_sweep
