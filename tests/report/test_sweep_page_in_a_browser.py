"""The page of a sweep in Chromium: filtered, compared, coloured, by keyboard, in both themes."""

import time

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import OUTPUTS, large_sweep, with_items

from layeratlas.report.page.sweep_page import Answer, write_sweep_page
from layeratlas.studies import sweep_of

pytestmark = pytest.mark.browser

CURVES = "#curve-charts .chart:nth-child(1) .many"


@pytest.fixture
def page_of(tmp_path):
    def call(runs=12, layers=8):
        made = large_sweep(tmp_path, runs, layers)
        return made, write_sweep_page(sweep_of(made), {}, {}, tmp_path)

    return call


def three(value: float) -> str:
    return f"{value:.3f}"


def test_a_filter_leaves_the_curves_of_the_runs_that_it_leaves(opened, page_of):
    runs, file = page_of()
    with opened(file) as page:
        page.locator("#curve-charts").scroll_into_view_if_needed()
        page.wait_for_selector(CURVES)
        assert page.locator(CURVES).count() == len(runs)
        page.get_by_role("searchbox").fill("hi)")
        assert page.locator(CURVES).count() == len(runs) // 2
        assert "6 of 12 rows" in page.inner_text("#run-table")


def test_two_chosen_matrices_and_their_difference_say_the_same_cell(opened, page_of):
    runs, file = page_of()
    with opened(file) as page:
        page.get_by_label("left").select_option("3")
        page.get_by_label("right").select_option("7")
        page.focus("#pair-matrices [role=application] >> nth=0")
        for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
        left, right = (runs[run].arrays["affinity"][2, 0] for run in (3, 7))
        said = page.inner_text("#pair-readout")
        assert said.startswith("a block_3, b block_1: ")
        shown = [float(part.split()[-1]) for part in said.split(": ")[1].split("; ")]
        np.testing.assert_allclose(shown, [left, right, left - right], atol=6e-4)


def test_a_click_on_a_row_shows_its_matrix(opened, page_of):
    _, file = page_of()
    with opened(file) as page:
        page.locator("#run-table tbody tr:not([aria-hidden]) td:nth-child(2)").nth(5).click()
        assert page.get_by_label("right").input_value() == "5"


def test_each_row_shows_its_matrix_small(opened, page_of):
    runs, file = page_of()
    with opened(file) as page:
        small = page.locator("#run-table canvas.thumbnail")
        assert small.count() == len(runs)
        size = [small.nth(0).evaluate(f"one => one.{side}") for side in ("height", "width")]
        assert tuple(size) == runs[0].affinity.shape
        colours = small.nth(4).evaluate("one => Array.from(one.getContext('2d').getImageData(0, 0, one.width, one.height).data)")
        bright = np.array(colours).reshape(8, 8, 4)[::-1, :, 1]  # the green of viridis grows with the value
        order = np.argsort(runs[4].arrays["affinity"].ravel())
        assert (np.diff(bright.ravel()[order]) >= 0).all()


def test_pairs_of_texts_have_a_chart_per_model_at_a_chosen_depth(opened, tmp_path):
    rng = np.random.default_rng(0)
    names = ("cosine", "cosine_centered", "cosine_of_wrong")
    rows = [
        {"layer": f"block_{layer}", "depth": layer / 6} | {name: rng.uniform(-1, 1) for name in names}
        for layer in range(1, 7)
        for _ in range(40)
    ]
    items = pd.DataFrame(rows)
    runs = [with_items(run, items) for run in large_sweep(tmp_path, 1, 6)]
    with opened(write_sweep_page(sweep_of(runs), {}, {}, tmp_path)) as page:
        page.locator("#histograms").scroll_into_view_if_needed()
        page.wait_for_selector("#histograms rect.bar", state="attached")
        for depth, layer, kind in (("1", "block_2", 0), ("5", "block_6", 1)):
            page.locator("#histograms select").nth(0).select_option(depth)
            page.locator("#histograms select").nth(1).select_option(str(kind))
            bars = page.locator("#histograms svg[role=application] rect.bar").all()
            heights = np.array([float(bar.get_attribute("height")) for bar in bars])
            counts = np.histogram(items[items["layer"] == layer][names[kind]], np.linspace(-1, 1, 41))[0]
            np.testing.assert_allclose(heights / heights.max(), counts / counts.max(), atol=1e-6)


def test_matrices_of_other_layers_have_no_difference_and_it_is_said(opened, tmp_path):
    runs = [*large_sweep(tmp_path, 1, 5), *large_sweep(tmp_path / "b", 1, 6)]
    with opened(write_sweep_page(sweep_of(runs), {}, {}, tmp_path)) as page:
        assert page.locator("#pair-matrices canvas").count() == 4
        assert "of other layers" in page.inner_text("#pair-matrices")


def test_curves_are_coloured_by_what_the_runs_differ_in(opened, page_of):
    _, file = page_of()
    with opened(file) as page:
        page.get_by_label("Colour by").select_option("language_b")
        page.locator("#curve-charts").scroll_into_view_if_needed()
        page.wait_for_selector(CURVES)
        assert page.locator("#curve-charts .chart:nth-child(1) .legend li").all_inner_texts() == ["de", "hi"]
        assert page.locator(f"{CURVES}.c1").count() == page.locator(f"{CURVES}.c2").count() == 6


def test_a_curve_is_read_by_the_keyboard_and_leads_to_its_matrix(opened, page_of):
    runs, file = page_of()
    with opened(file) as page:
        page.locator("#curve-charts").scroll_into_view_if_needed()
        page.wait_for_selector(CURVES)
        page.focus("#curve-charts svg[role=application] >> nth=0")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        best = runs[1].arrays["affinity"].max(axis=1)
        assert f"{three(best.min())} to {three(best.max())}" in page.inner_text("#spoken")
        page.keyboard.press("Enter")
        assert page.get_by_label("right").input_value() == "1"


def test_both_themes_pass_axe(opened, page_of):
    from axe_playwright_python.sync_playwright import Axe

    _, file = page_of()
    with opened(file) as page:
        page.locator("#curve-charts").scroll_into_view_if_needed()
        for _ in range(2):
            faults = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in ("serious", "critical")]
            assert [(fault["id"], fault["nodes"][0]["target"]) for fault in faults] == []
            page.click("#theme")


def test_three_hundred_runs_of_large_models_open_at_once_and_in_little_memory(opened, page_of):
    _, file = page_of(runs=300, layers=80)
    assert file.stat().st_size < 12e6
    start = time.perf_counter()
    with opened(file) as page:
        assert time.perf_counter() - start < 3
        assert page.evaluate("performance.memory.usedJSHeapSize") < 500e6
        page.locator("#curve-charts").scroll_into_view_if_needed()
        page.wait_for_selector(CURVES)
        assert page.locator(CURVES).count() == 300


@pytest.mark.parametrize("width", [1280, 800])
def test_a_person_can_look_at_the_page(width, opened, page_of):
    _, file = page_of(runs=24, layers=20)
    OUTPUTS.mkdir(exist_ok=True)
    with opened(file, width=width) as page:
        page.locator("#curve-charts").scroll_into_view_if_needed()
        page.wait_for_selector(CURVES)
        page.screenshot(path=OUTPUTS / f"report-sweep-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


COSTS = {"model": "ant", "dataset": "texts", "language": "en", "control": "", "metric": "rsa"}


def costs(low: float) -> pd.DataFrame:
    """Of five blocks, powers of ten of each other; `low`: lower end of the interval of the cheapest."""
    value = [0.1, 1.0, 10.0, 0.1, 0.1]
    rows = {"block": range(1, 6), "depth": 0.2, "with_input": [0.1, 0.3, 0.5, 0.7, 0.9], "value": value, "saturated": None}
    ends = {"ci_low": [low, 0.9, 9.0, 0.09, 0.09], "ci_high": [0.2, 1.1, 11.0, 0.2, 0.2]}
    return pd.DataFrame({**rows, **ends, **COSTS})


@pytest.mark.parametrize("low", [0.05, -0.5])
def test_costs_of_many_sizes_stand_at_equal_ratios_and_an_interval_that_reaches_0_at_the_foot(opened, tmp_path, low):
    agreed = {"order": ["similarity", "last_first", "similarity - last_first"], "value": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    orders = {"order": "similarity", "removed": [1, 2], "sum_of_costs": [0.1, 1.1], "measured": [0.1, None]}
    tables = {
        "redundancy": costs(low),
        "redundancy_orders": pd.DataFrame({**orders, **COSTS}),
        "redundancy_agreement": pd.DataFrame({**agreed, "random_low": -0.5, "random_high": 0.5, **COSTS}),
    }
    answer = Answer(tables, {"sentences": [], "numbers": {}, "warnings": []})
    runs = large_sweep(tmp_path, 2, 3)
    with opened(write_sweep_page(sweep_of(runs), {"redundancy": answer}, {}, tmp_path)) as page:
        page.locator("[data-charts=redundancy]").scroll_into_view_if_needed()
        page.wait_for_selector("[data-charts=redundancy] svg circle")
        chart = page.locator("[data-charts=redundancy] svg[role=application]").first
        heights = [float(circle.get_attribute("cy")) for circle in chart.locator("circle").all()]
        assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.01)
        names = chart.locator("text").all_text_contents()
        assert {"0.1", "1", "10"} <= set(names)
        assert "0" not in names
        foot = float(chart.locator("line.whisker").first.get_attribute("y1"))
        assert np.isfinite(foot)
        assert (foot > heights[0] + 20) if low > 0 else (foot == pytest.approx(212))
        chart.focus()
        page.keyboard.press("ArrowRight")
        assert f"cost 0.100 ({three(low)} to 0.200)" in page.inner_text("[data-charts=redundancy] .said >> nth=0").replace("−", "-")
