"""How many texts a sweep takes, and what it costs: predictions held against what happens."""

import json
import math

import pytest
from pilot_worlds import predictions
from running import command as command
from running import last_line
from running import texts_file as texts_file
from running import tiny as tiny

from layeratlas.errors import Undefined
from layeratlas.metrics import CKALinearDebiased, MutualKNN
from layeratlas.statistics.precision import OF_GROWING_LISTS, law


@pytest.mark.slow
@pytest.mark.parametrize("pilots", [20])
def test_pilots_predict_the_half_width_at_four_times_their_items_within_a_factor_of_one_and_a_half(pilots):
    factors = predictions(128, CKALinearDebiased(), CKALinearDebiased(), pilots)
    assert ((factors > 1 / 1.5) & (factors < 1.5)).all()


@pytest.mark.nightly
def test_so_do_pilots_of_a_metric_whose_number_of_neighbours_grows_with_the_items():
    """Most promise less than they keep: 1.25 times the width that comes out in the middle of twenty."""
    factors = predictions(256, MutualKNN(k=16).with_slack(), MutualKNN(k=64).with_slack(), 20)
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
