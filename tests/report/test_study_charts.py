"""The charts of a sweep's page: each study's numbers, and no others."""

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import data_of, large_sweep, with_items

from layeratlas.report.page.sweep_page import Answer, write_sweep_page
from layeratlas.report.studies import agreement, conditions, controls, depth, interventions, joint, languages, phases, variants
from layeratlas.report.views import SweepView
from layeratlas.studies import sweep_of

CI = {"ci_low": [0.0, 0.1], "ci_high": [0.2, 0.3]}
TWO = {"value": [0.1, 0.2], **CI}


def drawn(module, tables) -> list[dict]:
    """As a page gets them; the study's own view holds them."""
    (view,) = [view for view in module.VIEWS if isinstance(view, SweepView)]
    return [chart.plain() for chart in view.charts(tables)]


@pytest.mark.parametrize("module", [agreement, conditions, controls, depth, interventions, joint, languages, phases, variants])
def test_a_study_without_tables_has_no_charts(module):
    assert drawn(module, {}) == []


def test_swap_margins_stand_from_the_largest_down():
    pairs = {
        "side_a": ["x", "y"],
        "side_b": ["u", "v"],
        "margin": [0.1, 0.3],
        "margin_ci_low": [0, 0.2],
        "margin_ci_high": [0.2, 0.4],
    }
    (chart,) = drawn(depth, {"depth_pairs": pd.DataFrame({**pairs, "condition": "c"})})
    (series,) = chart["series"]
    assert (series["y"], series["labels"]) == ([0.3, 0.1], ["y · v", "x · u"])
    assert (series["low"], series["high"], series["x"]) == ([0.2, 0], [0.4, 0.2], [1, 2])


def test_each_control_is_a_series_beside_the_one_before():
    row = {"statistic": "swap_margin", "side_a": "x", "side_b": "u", "dataset": "d", "metric": "m", "ci_low": 0.0, "ci_high": 0.5}
    rows = [row | {"control": name, "difference": value} for name, value in (("cipher", 0.3), ("cipher", 0.1), ("strings", 0.2))]
    rows.append(row | {"control": "cipher", "difference": 9.0, "statistic": "other"})
    (chart,) = drawn(controls, {"controls": pd.DataFrame(rows)})
    assert [(one["name"], one["x"], one["y"]) for one in chart["series"]] == [
        ("text minus cipher", [1, 2], [0.1, 0.3]),
        ("text minus strings", [3], [0.2]),
    ]


def test_pairs_of_runs_say_what_they_differ_in():
    rows = {"off_diagonal_pearson": [0.2, 0.9], "pearson": [0.3, 0.95], "partial": [0.1, 0.5]}
    rows |= {"job_first": ["0", "1"], "job_second": ["2", "3"], "differ_in": ["seed", "language_b"]}
    (chart,) = drawn(agreement, {"agreement": pd.DataFrame(rows)})
    assert [one["y"] for one in chart["series"]] == [[0.9, 0.2], [0.95, 0.3], [0.5, 0.1]]
    assert chart["series"][0]["labels"] == ["1 and 3 (language_b)", "0 and 2 (seed)"]


def test_phases_of_models_are_apart_by_where_they_come_from():
    rows = [
        {"source": source, "model": model, "phase": phase, "value": value, "ci_low": None, "ci_high": None}
        for source, model, phase, value in [
            ("within", "m", "early", 0.1),
            ("within", "n", "late", 0.2),
            ("file", "f", "early", 0.4),
        ]
    ]
    within, file = drawn(phases, {"phases_models": pd.DataFrame(rows)})
    assert within["ticks"] == ["m", "n"]
    assert [(one["name"], one["x"], one["y"]) for one in within["series"]] == [
        ("early", [0], [0.1]),
        ("middle", [], []),
        ("late", [1], [0.2]),
    ]
    assert file["ticks"] == ["f"]


def test_effects_of_crossed_factors_are_apart_by_what_they_are_of():
    row = {"grid": 0, "design": 0, "model": "m", "metric": "k", "first": "task", "second": "language", "level": 0.95}
    rows = [
        row | {"effect": effect, "of": of, "value": value, "ci_low": 0.0, "ci_high": 1.0}
        for of, effect, value in [("as they are", "task", 0.5), ("as they are", "both", 0.1), ("depth trend removed", "task", 0.2)]
    ]
    (chart,) = drawn(conditions, {"conditions_effects": pd.DataFrame(rows)})
    assert [one["y"] for one in chart["series"]] == [[0.5, 0.1], [0.2]]
    assert chart["series"][0]["labels"] == ["task", "both"]


def test_differences_of_variants_are_curves_without_their_mean():
    row = {"condition": "c", "measure": "retrieval", "language_a": "en", "language_b": "de", "first": "base", "second": "chat"}
    rows = [row | {"layer": f"block_{i}", "depth": i / 2, "value": i, "ci_low": i - 1, "ci_high": i + 1} for i in (1, 2)]
    rows.append(row | {"layer": variants.MEAN, "depth": np.nan, "value": 9, "ci_low": 8, "ci_high": 10})
    (chart,) = drawn(variants, {"variants": pd.DataFrame(rows)})
    (series,) = chart["series"]
    assert (series["name"], series["x"], series["y"]) == ("chat less base", [0.5, 1.0], [1, 2])


def test_edits_stand_at_their_blocks_beside_random_directions():
    row = {"model": "m", "dataset": "d", "language": "en", "control": "", "positions": "all", "ci_low": 0.0, "ci_high": 1.0}
    told = [("e", "10", None, 0.3), ("e", "2", None, 0.1), ("r", "2", "rank", 0.05), ("s", "10", "energy", 0.2)]
    rows = [
        row | {"edit": edit, "blocks": at, "is_control": bool(matched), "matched": matched, "value": value}
        for edit, at, matched, value in told
    ]
    (chart,) = drawn(interventions, {"interventions": pd.DataFrame(rows)})
    assert chart["ticks"] == ["2", "10"]
    assert [(one["name"], one["x"], one["y"]) for one in chart["series"]] == [
        ("e", [1, 0], [0.3, 0.1]),
        ("random directions, same rank", [0], [0.05]),
        ("random directions, same energy", [1], [0.2]),
    ]


def test_a_predictor_is_drawn_alone_and_beside_others():
    row = {"condition": "c", "model": "m", "statistic": "s", "predictor": "resource"}
    rows = [
        row | {"layer": "block_1", "predictors": together, "partial": r}
        for together, r in (("resource", 0.5), ("resource, script", 0.3))
    ]
    rows += [row | {"layer": languages.MEAN, "predictors": "resource", "partial": 0.9}]
    (chart,) = drawn(languages, {"languages": pd.DataFrame(rows)})
    assert [(one["name"], one["y"]) for one in chart["series"]] == [("alone", [0.5]), ("beside script", [0.3])]
    assert chart["ticks"] == ["block_1"]


def test_distances_of_languages_are_apart_by_the_space_they_are_measured_in():
    row = {"condition": "c", "first": "en", "second": "de", "mean_ci_low": 0.0, "mean_ci_high": 2.0}
    told = [("m", "distance, whole", 1.4), ("n", "distance, whole", 1.3), ("m", "distance, centred", 0.5), ("m", "similarity", 0.1)]
    rows = [row | {"model": model, "measured": measured, "mean": mean} for model, measured, mean in told]
    (chart,) = drawn(joint, {"joint": pd.DataFrame(rows)})
    assert [(one["name"], one["y"]) for one in chart["series"]] == [("distance, whole", [1.4, 1.3]), ("distance, centred", [0.5])]


def answer(table: pd.DataFrame) -> dict[str, Answer]:
    return {"controls": Answer({"controls": table}, {"sentences": [], "numbers": {}, "warnings": []})}


def test_a_study_whose_charts_cannot_be_made_shows_its_pictures(tmp_path, undrawn):
    picture = tmp_path / "figures" / "controls.png"
    picture.parent.mkdir()
    picture.write_bytes(b"a picture")
    page = write_sweep_page(
        sweep_of(large_sweep(tmp_path, 2, 3)), answer(pd.DataFrame({"x": [1]})), {"study controls": [picture]}, tmp_path
    ).read_text(encoding="utf-8")
    assert "the charts of the study controls are not drawn" in undrawn.pop().getMessage()
    assert "Pictures (1)" not in page
    assert "Figure figures/controls" in page


def test_charts_of_a_study_are_on_the_page_and_its_pictures_folded_beside_them(tmp_path):
    row = {"statistic": "swap_margin", "side_a": "x", "side_b": "u", "dataset": "d", "metric": "m", "ci_low": 0.0, "ci_high": 0.5}
    picture = tmp_path / "figures" / "controls.png"
    picture.parent.mkdir()
    picture.write_bytes(b"a picture")
    table = pd.DataFrame([row | {"control": "cipher", "difference": 0.3}])
    page = write_sweep_page(
        sweep_of(large_sweep(tmp_path, 2, 3)), answer(table), {"study controls": [picture]}, tmp_path
    ).read_text(encoding="utf-8")
    assert data_of(page)["charts"]["controls"][0]["series"][0]["y"] == [0.3]
    assert "Pictures (1)" in page


def test_pairs_of_texts_are_counted_per_run_at_depths_at_equal_distances(tmp_path):
    runs = large_sweep(tmp_path, 3, 12)
    rng = np.random.default_rng(0)
    rows = [
        {"id": i, "layer": f"block_{layer}", "depth": layer / 12} | {name: rng.uniform(-1, 1) for name in COSINES}
        for layer in range(1, 13)
        for i in range(30)
    ]
    items = pd.DataFrame(rows)
    items.loc[0, "cosine"] = 1 + 1e-7
    made = [with_items(run, items) if place else run for place, run in enumerate(runs)]
    held = data_of(write_sweep_page(sweep_of(made), {}, {}, tmp_path).read_text(encoding="utf-8"))["histograms"]
    assert held["runs"] == [1, 2]
    assert held["layers"][0] == [f"block_{i}" for i in (2, 4, 6, 8, 10, 12)]
    counts = held["counts"].reshape(2, 6, 3, 40)
    for place, name in enumerate(COSINES):
        expected = np.histogram(items[items["layer"] == "block_6"][name], np.linspace(-1, 1, 41))[0]
        np.testing.assert_array_equal(counts[1, 2, place], expected)
    assert counts.sum() == 2 * 6 * 3 * 30


COSINES = ("cosine", "cosine_centered", "cosine_of_wrong")
