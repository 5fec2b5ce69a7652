"""How many texts a sweep takes, and what it costs: predictions held against what happens."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from comparing import DIAGONAL, comparison_of, inference
from running import command as command
from running import last_line
from running import texts_file as texts_file
from running import tiny as tiny

from layeratlas.affinity.matrix import compare, with_intervals
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison
from layeratlas.arrays import Activations
from layeratlas.errors import Undefined
from layeratlas.metrics import CKALinearDebiased, MutualKNN
from layeratlas.stages.pilot import half_widths
from layeratlas.stages.planning import law_of
from layeratlas.statistics.precision import OF_GROWING_LISTS, law

LAYERS, WIDTH = 7, 12
HEADLINE = "diagonal: swap margin"


def sampled(n: int, metric, seed: int) -> Comparison:
    """Items of one world, in which layers of two models share more the nearer their depths are."""
    from dataclasses import replace

    rng = np.random.default_rng([3, seed])
    walk = rng.standard_normal((LAYERS, n, WIDTH)).cumsum(axis=0)
    sides = []
    for _ in range(2):
        noisy = walk + 1.5 * rng.standard_normal(walk.shape)
        layers = {f"block_{i + 1}": torch.from_numpy(x.astype(np.float32)) for i, x in enumerate(noisy)}
        sides.append(Activations(layers, LAYERS))
    signer = Signer(metric, torch.device("cpu"))
    affinity = compare(signer, *sides)
    return replace(comparison_of(affinity, *sides, signer), inference=inference(permutations=0, groups=20))


def realised(comparison: Comparison) -> float:
    metric, groups = comparison.signer.metric, comparison.groups
    affinity = with_intervals(metric, comparison.affinity, comparison.inference, groups)
    headline = DIAGONAL.of_matrix(affinity, metric.name, []).headline
    assert headline is not None
    return (headline.ci_high - headline.ci_low) / 2


def held(n: int, small, large, pilots: int) -> np.ndarray:
    """What pilots of n items predict at 4 n, over the median of what happens there."""
    widths = np.median([realised(sampled(4 * n, large, 1000 + i)) for i in range(max(pilots, 5))])
    predicted = []
    for seed in range(pilots):
        rows = pd.DataFrame(half_widths({"diagonal": DIAGONAL}, sampled(n, small, seed), "blocks"))
        assert rows.groupby("n")["part"].nunique().to_dict() == {n // 4: 4, n // 2: 2, n: 1}
        assert set(rows["interval"]) == {HEADLINE}
        predicted.append(law_of(rows, small).half_width(4 * n))
    print(np.round(np.array(predicted) / widths, 2))
    return np.array(predicted) / widths


@pytest.mark.slow
@pytest.mark.parametrize("pilots", [20])
def test_pilots_predict_the_half_width_at_four_times_their_items_within_a_factor_of_one_and_a_half(pilots):
    factors = held(128, CKALinearDebiased(), CKALinearDebiased(), pilots)
    assert ((factors > 1 / 1.5) & (factors < 1.5)).all()


@pytest.mark.nightly
def test_so_do_pilots_of_a_metric_whose_number_of_neighbours_grows_with_the_items():
    """Most promise less than they keep: 1.25 times the width that comes out in the middle of twenty."""
    factors = held(256, MutualKNN(k=16).with_slack(), MutualKNN(k=64).with_slack(), 20)
    assert ((factors > 1 / 1.5) & (factors < 1.5)).all()


def test_the_law_of_a_mean_is_found_and_inverted():
    n = [100, 100, 200, 400]
    found = law(n, [3 / math.sqrt(size) for size in n])
    assert found.slope == pytest.approx(-0.5)
    assert found.half_width(1600) == pytest.approx(3 / 40)
    assert found.items(3 / 40) == 1600
    assert 0.05 < found.error < 0.16


def test_the_expected_slope_counts_for_a_little():
    """Widths that fall as 1 / n, by noise or indeed, are believed for the most part."""
    n = [64] * 4 + [128] * 2 + [256]
    assert -0.97 < law(n, [10 / size for size in n]).slope < -0.9


def test_the_slope_of_growing_lists_is_expected_to_be_steeper_and_within_its_range():
    n = [64] * 4 + [128] * 2 + [256]
    of_a_mean = [1 / math.sqrt(size) for size in n]
    assert law(n, of_a_mean, OF_GROWING_LISTS).slope < law(n, of_a_mean).slope
    beyond = [1 / size**1.5 for size in n]  # by noise: no law of such lists falls like that
    assert law(n, beyond).slope < law(n, beyond, OF_GROWING_LISTS).slope < -1


@pytest.mark.parametrize("widths", [[0.1], [0.1, 0.0], [0.1, math.nan], [0.1, -0.1]])
def test_widths_without_a_law_are_undefined(widths):
    with pytest.raises(Undefined, match="the law of precision takes two intervals or more, each of a positive width"):
        law([10, 20][: len(widths)], widths)


@pytest.mark.slow
def test_a_plan_says_how_many_texts_and_what_they_cost_from_what_the_store_holds(command, tiny, tmp_path, capfd):
    out = f"hydra.run.dir={tmp_path / 'plan'}"
    wanted = (
        "stage=plan",
        "plan.half_width=0.02",
        "plan.runs=6",
        "plan.models=4",
        "statistics.groups=8",
        "metric=cka_linear_debiased",
    )
    assert command(*tiny, *wanted, where=(out,)) == 2
    assert "stage=" in last_line(capfd)  # nothing is in the store
    assert command(*tiny, "stage=extract") == 0
    assert command(*tiny, *wanted, where=(out,)) == 0
    said = json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))
    assert (said["pilot"], said["metric"]) == (40, "cka_linear_debiased")
    cost = said["cost"]
    assert {cost["runs"], cost["models"]} == {6, 4}
    assert min(cost["disk_bytes"], cost["memory_bytes"], cost["extract_seconds"], cost["compare_seconds"]) > 0
    assert not (tmp_path / "plan" / "result.json").exists()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("plan.half_width=0", "plan.half_width: expected a number above 0"),
        ("plan.runs=0", "plan.runs: expected a number of at least 1"),
    ],
)
def test_what_cannot_be_wanted_is_refused(command, tiny, capfd, override, line):
    assert command(*tiny, "stage=plan", override) == 2
    assert line in last_line(capfd)
