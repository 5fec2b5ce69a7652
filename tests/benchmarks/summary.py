"""What the summary of a large sweep takes: 300 runs of 80 x 80 layers, made by hand, asked the default studies.

uv run tests/benchmarks/summary.py runs
"""

import os
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import Figures, measure
from pages_by_hand import paged_run

from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.stages import summary

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS, LAYERS = 25, 80


def runs() -> Figures:
    """Without pictures and page, and with them."""
    os.environ |= {"LAYERATLAS_STORE": "unused", "LAYERATLAS_RUN_ID": "benchmark"}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        studies = {str(name): instantiate(node, _convert_="all") for name, node in compose("config").study.items()}
    pairs = list(combinations([f"model-{i}" for i in range(MODELS)], 2))
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder)
        write_jobs(sweep, [Job(i, [], str(i)) for i in range(len(pairs))])
        for i, names in enumerate(pairs):
            paged_run(sweep / str(i), rows=LAYERS, columns=LAYERS, n=30, k=3, names=names, languages=("en", "en"), seed=i)
        with patch.object(summary, "sweep_drawn"):
            start = time.perf_counter()
            summary.summarize([sweep], sweep, studies=studies)
            seconds["without_pictures"] = time.perf_counter() - start
        start = time.perf_counter()
        summary.summarize([sweep], sweep, studies=studies)
        seconds["whole"] = time.perf_counter() - start
    ratio = seconds["whole"] / seconds["without_pictures"]
    return {"runs": len(pairs), "layers": LAYERS, "seconds": seconds, "ratios": {"of_without_pictures": ratio}}


if __name__ == "__main__":
    measure(__file__, {"runs": runs}, sys.argv[1:])
