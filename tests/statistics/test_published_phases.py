"""The published phases: layers, labels, verdicts and intervals, against plain loops and hand-made cases."""

import numpy as np
import pytest
from scipy import stats

from layeratlas.statistics.published_phases import (
    Phases,
    bootstrap,
    final_layer_verdict,
    interval,
    pattern,
    pattern_of_instruct,
    pattern_of_signs,
    phase_means,
    sampled_layers,
    template_verdict,
    uniformity_verdict,
)

# --- layers and phases --------------------------------------------------------------------------------------------------------


def test_the_sampled_layers_are_those_of_the_notebooks():
    assert sampled_layers(33, 4) == [0, 4, 8, 12, 16, 20, 24, 28, 32]  # Apertus, Llama, Pythia
    assert sampled_layers(19, None) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]  # Gemma-2B
    assert sampled_layers(31, 4) == [0, 4, 8, 12, 16, 20, 24, 28, 30]  # the last one is always there
    assert sampled_layers(5, None) == [0, 1, 2, 3, 4]
    assert sampled_layers(7, 1) == list(range(7))


def test_thirds_are_cut_at_whole_layers_so_that_the_last_one_is_the_largest():
    np.testing.assert_allclose(phase_means(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])), (2, 5, 8.5))
    np.testing.assert_allclose(phase_means(np.array([1.0, 2, 3, 4])), (1, 2, 3.5))
    with pytest.raises(ValueError, match="thirds of three sampled layers or more; got 2"):
        phase_means(np.array([1.0, 2]))


def test_the_published_correlations_of_apertus_give_the_published_phases_and_label():
    """Results/apertus/apertus_cross_validation_20260103_010455.json of github.com/buk81/uniformity-asymmetry."""
    r = [
        0.4946722364,
        0.3096558762,
        0.3651974866,
        -0.0006057846,
        -0.3447376592,
        -0.3395100025,
        -0.3621173889,
        -0.4068651884,
        0.0049375281,
    ]
    phases = phase_means(np.array(r))
    np.testing.assert_allclose(phases, (0.3898418664, -0.2282844821, -0.2546816831), atol=1e-9)
    assert pattern(phases) == "PYTHIA_PATTERN"
    assert final_layer_verdict(r[-1], significant=False) == "no late-layer inversion"


# --- labels -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "label"),
    [
        ((0.11, 0.9, -0.11), "PYTHIA_PATTERN"),
        ((0.1, 0.0, -0.11), "LATE_INVERSION"),  # early is not above .1
        ((-0.5, 0.0, -0.2), "LATE_INVERSION"),
        ((0.14, -0.14, 0.14), "DECOUPLED"),
        ((0.14, 0.14, -0.1), "DECOUPLED"),  # late is not below -.1
        ((0.15, 0.0, 0.0), "OTHER"),  # not below .15
        ((0.0, 0.2, 0.0), "OTHER"),
        ((0.0, 0.0, 0.2), "OTHER"),
        ((0.097267, 0.212374, -0.020679), "OTHER"),  # Gemma-2B
    ],
)
def test_the_label_of_apertus_and_gemma(means, label):
    assert pattern(Phases(*means)) == label


@pytest.mark.parametrize(
    ("means", "label"),
    [
        ((0.01, 0.01, -0.01), "MATCHES PYTHIA"),
        ((0.0519, -0.162775, -0.302223), "PARTIAL MATCH"),  # Llama
        ((0.01, 0.0, -0.01), "PARTIAL MATCH"),
        ((0.0, 0.5, -0.01), "PARTIAL"),
        ((-0.1, -0.1, -0.1), "PARTIAL"),
        ((0.5, 0.5, 0.0), "DIFFERENT"),
        ((-0.5, 0.5, 0.5), "DIFFERENT"),
    ],
)
def test_the_label_of_llama_goes_by_signs(means, label):
    assert pattern_of_signs(Phases(*means)) == label


@pytest.mark.parametrize(
    ("means", "label"),
    [
        ((0.11, 0.11, -0.11), "PYTHIA_PATTERN"),
        ((0.11, 0.1, -0.11), "OTHER"),
        ((0.1, 0.11, -0.11), "OTHER"),
        ((0.11, 0.11, -0.1), "OTHER"),
        ((0.09, -0.09, 0.09), "DECOUPLED"),
        ((0.1, 0.0, 0.0), "OTHER"),
        ((0.0, 0.1, 0.0), "OTHER"),
        ((0.0, 0.0, -0.1), "OTHER"),
    ],
)
def test_the_label_of_llama_instruct(means, label):
    assert pattern_of_instruct(Phases(*means)) == label


def test_the_verdicts_on_a_chat_template():
    pythia, decoupled, other = Phases(0.2, 0.2, -0.2), Phases(0, 0, 0), Phases(0.5, 0.5, 0.5)
    assert template_verdict(pythia, pythia) == "TEMPLATE_INVARIANT"
    assert template_verdict(other, decoupled) == template_verdict(pythia, decoupled) == "TEMPLATE_ENABLES_COUPLING"
    assert template_verdict(decoupled, other) == template_verdict(pythia, other) == "TEMPLATE_CHANGES_PATTERN"
    with_template, without = Phases(-0.474851, -0.583065, -0.59629), Phases(-0.025665, -0.276787, -0.367412)
    assert template_verdict(with_template, without) == "TEMPLATE_INVARIANT"  # as published, though early moved by .45


@pytest.mark.parametrize(
    ("r", "significant", "verdict"),
    [
        (-0.11, True, "LATE-LAYER INVERSION CONFIRMED"),
        (-0.11, False, "negative trend"),
        (-0.1, True, "negative trend"),
        (0.0, True, "no late-layer inversion"),
        (0.5, True, "no late-layer inversion"),
    ],
)
def test_the_verdict_on_the_last_layer(r, significant, verdict):
    assert final_layer_verdict(r, significant) == verdict


def test_the_verdicts_on_uniformity_over_categories():
    assert uniformity_verdict([-1.0, 1.0, -0.5, 0.55], 1000).verdict == "NEUTRAL"
    assert uniformity_verdict([-1.0, 1.0, 0.5, 0.9], 1000).verdict == "MARGINAL"
    assert uniformity_verdict([0.03, 0.05, 0.09, 0.06, 0.1], 1000).verdict == "ASYMMETRY"
    assert uniformity_verdict([-0.03, -0.05, -0.09], 1000).verdict == "ASYMMETRY"


def test_the_uniformity_interval_is_that_of_a_plain_loop():
    values = np.array([0.03, 0.05, -0.02, 0.06, 0.1])
    random = np.random.RandomState(42)
    means = [random.choice(values, size=5, replace=True).mean() for _ in range(2000)]
    found = uniformity_verdict(values.tolist(), 2000)
    np.testing.assert_allclose([found.ci_low, found.ci_high], np.percentile(means, [2.5, 97.5]), rtol=1e-12)
    assert found.cohens_d == pytest.approx(values.mean() / (values.std() + 1e-10))


# --- the bootstrap ------------------------------------------------------------------------------------------------------------


def loop(x: np.ndarray, y: np.ndarray, draws: int) -> np.ndarray:
    """The published loop over layers; NaN where it skips a resample."""
    random = np.random.RandomState(42)
    values = np.full((len(x), draws), np.nan)
    for row, layer in zip(values, x, strict=True):
        for draw in range(draws):
            chosen = random.choice(len(y), size=len(y), replace=True)
            if np.ptp(layer[chosen]) > 0 and np.ptp(y[chosen]) > 0:
                row[draw] = stats.pearsonr(layer[chosen], y[chosen])[0]
    return values


def test_the_bootstrap_equals_the_plain_loop_draw_for_draw():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(230)
    x = 1e-3 * (0.3 * y + rng.standard_normal((3, 230))) + np.array([[0], [0.5], [100]])
    expected = loop(x, y, 700)
    np.testing.assert_allclose(bootstrap(x, y, 700), expected, atol=1e-10)
    np.testing.assert_allclose(interval(bootstrap(x, y, 700))[0], np.percentile(expected, 2.5, axis=1), atol=1e-10)


def test_resamples_in_which_nothing_varies_are_skipped_as_in_the_loop():
    x, y = np.array([[0.1, 0.1, 0.1, 0.7], [1.0, 2.0, 2.5, 4.0]]), np.array([1.0, 0.2, 0.2, 0.2])
    found, expected = bootstrap(x, y, 600), loop(x, y, 600)
    assert np.isnan(expected).sum() > 100
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(interval(found)[0], np.nanpercentile(expected, 2.5, axis=1), atol=1e-9)
    assert np.isnan(interval(np.full((1, 5), np.nan))[1]).all()


def test_one_value_apart_from_all_others_keeps_its_digits():
    """Where an outlier is not drawn, what is left has a variance too small to be a difference of sums."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((1, 12)), rng.standard_normal(12)
    x[0, 3] = 1e7
    np.testing.assert_allclose(bootstrap(x, y, 300), loop(x, y, 300), atol=1e-6)
