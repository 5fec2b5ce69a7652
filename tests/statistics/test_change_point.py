"""A change over depth against a straight line: planted changes, and worlds that have none."""

import numpy as np
import pytest
from phase_worlds import LABELS, world

from layeratlas.statistics.change_point import ChangePoint, change_point
from layeratlas.statistics.within_categories import Categories, category_correlations

CATEGORIES, LAYERS = Categories.of(LABELS), 12
DEPTHS = np.arange(1, LAYERS + 1) / LAYERS
STEP = np.r_[np.full(5, 0.35), np.full(7, -0.25)]


def of_world(within: np.ndarray, seed: int, draws: int = 200) -> ChangePoint:
    rng = np.random.default_rng([3, seed])
    sample = world(within, rng)
    weights = np.concatenate([np.ones((1, 180)), CATEGORIES.resamples(draws, rng)])
    z = [np.arctanh(category_correlations(np.tile(x, (draws + 1, 1)), sample.y, weights, CATEGORIES.indicators)) for x in sample.x]
    curves = np.stack(z, axis=1).mean(axis=2)
    return change_point(curves[0], curves[1:], DEPTHS, 0.05)


def test_a_planted_change_is_found_where_it_is():
    found = [of_world(STEP, seed) for seed in range(20)]
    assert sum(one.pattern == "change" for one in found) >= 17
    held = [np.quantile(one.drawn, 0.025) <= 4 <= np.quantile(one.drawn, 0.975) for one in found]
    assert sum(held) >= 17
    assert np.mean([one.before for one in found]) == pytest.approx(np.arctanh(0.35), abs=0.05)
    assert np.mean([one.later for one in found]) == pytest.approx(np.arctanh(-0.25), abs=0.05)


def test_none_is_an_answer_however_steep_the_line():
    for within in (np.zeros(LAYERS), np.linspace(0.5, -0.5, LAYERS)):
        assert sum(of_world(within, seed).pattern == "none" for seed in range(20)) >= 17


def test_a_bend_is_no_change_of_level():
    curve = 4 * (DEPTHS - 0.5) ** 2
    noise = 0.01 * np.random.default_rng(0).standard_normal((99, LAYERS))
    found = change_point(curve, curve + noise, DEPTHS, 0.05)
    assert (found.p, found.pattern, found.attainable_p) == (0.01, "curve", 0.01)


def test_p_and_place_are_those_of_least_squares_by_hand():
    rng = np.random.default_rng(0)
    curves = rng.standard_normal((40, LAYERS)).cumsum(axis=1)
    found = change_point(curves[0], curves[1:], DEPTHS, 0.05)

    def squares(curve: np.ndarray, *columns: np.ndarray) -> float:
        return float(np.linalg.lstsq(np.stack(columns, axis=1), curve, rcond=None)[1][0])

    one, jumps = np.ones(LAYERS), [(np.arange(LAYERS) > c).astype(float) for c in range(1, LAYERS - 2)]

    def gain(curve: np.ndarray) -> float:
        return squares(curve, one, DEPTHS) - min(squares(curve, one, DEPTHS, jump) for jump in jumps)

    deviations = curves[1:] - curves[1:].mean(axis=0)
    assert found.p == (1 + sum(gain(curve) >= gain(curves[0]) for curve in deviations)) / 40
    assert found.after == 1 + int(np.argmin([squares(curves[0], one, jump) for jump in jumps]))
    assert found.drawn[5] == 1 + int(np.argmin([squares(curves[6], one, jump) for jump in jumps]))


def test_fewer_than_five_layers_have_no_change():
    with pytest.raises(ValueError, match="5 layers or more; got 4"):
        change_point(np.zeros(4), np.zeros((9, 4)), DEPTHS[:4], 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("within", [np.zeros(LAYERS), np.linspace(0.4, -0.4, LAYERS)], ids=["flat", "steep"])
def test_straight_lines_are_rejected_as_often_as_the_level_says(within):
    size = np.mean([of_world(within, 1000 + seed).p <= 0.05 for seed in range(600)])
    assert 0.025 <= size <= 0.08, size
