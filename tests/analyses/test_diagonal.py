"""What the page and the pictures show of the analysis `diagonal` (its statistics are tested in tests/statistics/)."""

import numpy as np
import pytest
import torch
from comparing import DIAGONAL, comparison_of, inference
from drawing import drawn_of_run, illegible

from layeratlas.affinity.matrix import compare, with_intervals
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.findings import Findings
from layeratlas.metrics import MutualKNN

N, BLOCKS = 60, (5, 4)


@pytest.fixture
def found() -> Findings:
    """Of two models that share a walk from layer to layer, with intervals over items."""
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((BLOCKS[0], N, 8)).cumsum(axis=0)
    sides = []
    for count in BLOCKS:
        noisy = walk[:count] + 0.3 * rng.standard_normal((count, N, 8))
        sides.append(Activations({f"block_{i + 1}": torch.from_numpy(x) for i, x in enumerate(noisy)}, count))
    signer = Signer(MutualKNN(k=5).with_slack(), torch.device("cpu"))
    over_items = inference(permutations=0)
    affinity = with_intervals(signer.metric, compare(signer, *sides), over_items, ["all"] * N)
    return DIAGONAL(comparison_of(affinity, *sides, signer))


@pytest.mark.pictures
def test_its_chart_holds_what_it_found_and_its_picture_can_be_read_in_a_column(found, tmp_path):
    (chart,), drawn = drawn_of_run(tmp_path / "run", "diagonal", found, layers=BLOCKS)
    curve = found.numbers["swap"]["by_depth"]
    (series,) = chart["series"]
    assert (series["x"], series["y"]) == (curve["depth"], curve["margin"])
    assert (series["low"], series["high"]) == (curve["ci_low"], curve["ci_high"])
    assert len(series["y"]) > 2
    assert illegible(drawn["depth_curves"]) == []
