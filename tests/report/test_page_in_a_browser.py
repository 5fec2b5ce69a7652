"""report.html as people use it, in Chromium: pointed at, clicked, by keyboard alone, in both themes; it may fetch nothing."""

import io

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import HOSTILE, OUTPUTS, influence_tables, neighbors_tables, paged_run, with_tables

import layeratlas
from layeratlas.report.page.run_page import write_run_page

pytestmark = pytest.mark.browser

MATRIX = "#matrix-picture [role=application]"
SERIOUS = ("serious", "critical")


@pytest.fixture
def page_of(tmp_path):
    def call(**options):
        run = layeratlas.read_run(paged_run(tmp_path / "run", **options))
        return run, write_run_page(run, texts=True)

    return call


def told(page) -> dict[str, str]:
    """What stands beside the matrix."""
    return {cell.get_attribute("data-key"): cell.inner_text() for cell in page.locator("#matrix-readout td").all()}


def click_cell(page, run, i, j):
    """Click the middle of a cell, from where the picture's axes say that it lies."""
    rows, columns = run.affinity.shape
    box = page.locator("#matrix-picture canvas").first.bounding_box()
    cell = (box["width"] - 52 - 8) / columns
    page.locator("#matrix-picture canvas").first.click(position={"x": 52 + (j + 0.5) * cell, "y": 8 + (rows - 1 - i + 0.5) * cell})


def three(value: float) -> str:
    return f"{value:.3f}"


def test_a_clicked_cell_tells_its_own_numbers(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        for i, j in [(0, 0), (4, 1), (5, 3)]:
            click_cell(page, run, i, j)
            said, cell = told(page), {name: array[i, j] for name, array in run.arrays.items() if array.ndim == 2}
            assert f"a block_{i + 1} and b block_{j + 1}" in page.inner_text("#matrix-readout h3")
            assert said["affinity"] == three(cell["affinity"])
            assert said["chance"] == three(cell["chance"])
            assert said["interval"] == f"{three(cell['ci_low'])} to {three(cell['ci_high'])}"
            assert [said[name] for name in ("p_value", "p_fwer", "p_fdr")] == [
                three(cell[name]) for name in ("p_value", "p_fwer", "p_fdr")
            ]


def test_names_of_layers_are_not_cut_off_at_the_edges_of_the_matrix(opened, page_of):
    names = ["embed", "block_1", "block_2", "final_norm"]
    _, file = page_of(rows=4, columns=4, layers={"a": names, "b": names})
    inked = """canvas => {
        const paper = canvas.getContext("2d"), ends = [0, canvas.width - 1];
        return ends.map((x) => paper.getImageData(x, 0, 1, canvas.height).data.some((value) => value !== 0));
    }"""
    with opened(file) as page:
        assert page.locator("#matrix-picture canvas").first.evaluate(inked) == [False, False]


def test_a_clicked_cell_lists_the_texts_whose_neighbourhoods_agree_most_and_least(opened, page_of):
    run, file = page_of(n=60, k=6)
    lists = run.neighbors()
    shared = np.array([len(set(a) & set(b)) for a, b in zip(lists["a"][2], lists["b"][1], strict=True)])
    with opened(file) as page:
        click_cell(page, run, 2, 1)
        said = [entry.inner_text() for entry in page.locator(".agree .shared").all()]
        ranked = np.sort(shared)
        assert said[:6] == [f"{count} of 6 shared" for count in ranked[::-1][:6]]
        assert said[6:] == [f"{count} of 6 shared" for count in ranked[:6]]
        page.locator(".agree button").nth(7).click()
        item = int(page.locator("#texts-of-cell blockquote .id").inner_text().removeprefix("item-"))
        a, b = set(lists["a"][2][item]), set(lists["b"][1][item])
        for place, expected in enumerate((a - b, a & b, b - a)):
            column = page.locator(".venn-lists > div").nth(place)
            assert {entry.inner_text() for entry in column.locator(".id").all()} == {f"item-{one}" for one in expected}
        assert page.get_by_role("img", name=f"Only in a block_3: {len(a - b)}; in both: {len(a & b)}").count() == 1


def test_the_keyboard_alone_reaches_a_cell_its_value_and_its_texts(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-roledescription')") == "heat map":
                break
        for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowRight"):
            page.keyboard.press(key)
        assert page.inner_text("#spoken") == f"a block_3, b block_2: {three(run.arrays['affinity'][2, 1])}"
        page.keyboard.press("Enter")
        assert page.locator(".agree button").count() == 12
        page.keyboard.press("ArrowDown")
        assert told(page)["affinity"] == three(run.arrays["affinity"][1, 1])


def test_at_its_edge_the_matrix_is_not_left(opened, page_of):
    _, file = page_of()
    with opened(file) as page:
        page.focus(MATRIX)
        for key in ["ArrowLeft"] * 3 + ["ArrowUp"] * 30:
            page.keyboard.press(key)
        assert "a block_6 and b block_1" in page.inner_text("#matrix-readout")


def test_cells_above_the_level_of_the_chosen_p_are_struck_and_said_to_be(opened, page_of):
    run, file = page_of()
    i, j = np.argwhere(run.arrays["p_fwer"] > 0.05)[0]
    with opened(file) as page:
        page.focus(MATRIX)
        before = page.locator("#matrix-picture canvas").first.screenshot()
        page.get_by_label("Strike out cells with").select_option("p_fwer")
        assert page.locator("#matrix-picture canvas").first.screenshot() != before
        page.keyboard.press("Tab")
        page.focus(MATRIX)
        for key in ["ArrowRight"] * (j + 1) + ["ArrowUp"] * i:
            page.keyboard.press(key)
        assert page.inner_text("#spoken").endswith(", masked")
        assert "family-wise p above 0.05" in page.inner_text("#matrix-picture")


@pytest.mark.parametrize("view", ["above", "calibrated", "z"])
def test_another_view_speaks_its_own_values(view, opened, page_of):
    run, file = page_of()
    expected = run.arrays["affinity"] - run.arrays["chance"] if view == "above" else run.arrays[view]
    with opened(file) as page:
        page.get_by_label("Show").select_option(view)
        page.focus(MATRIX)
        page.keyboard.press("ArrowRight")
        value = expected[0, 0]
        assert page.inner_text("#spoken").endswith(three(value) if abs(value) < 1 else f"{value:.4g}")


def test_the_difference_to_another_run_speaks_its_own_values_and_masks_where_neither_is_above_chance(opened, page_of, tmp_path):
    run, _ = page_of()
    other = layeratlas.read_run(paged_run(tmp_path / "other", seed=3))
    both = np.minimum(run.arrays["p_fwer"], other.arrays["p_fwer"]) > 0.05
    i, j = np.argwhere(both)[0]
    k, m = np.argwhere(~both & (run.arrays["p_fwer"] > 0.05))[0]
    with opened(write_run_page(run, texts=True, against=other)) as page:
        page.get_by_label("Show").select_option("difference")
        page.get_by_label("Strike out cells with").select_option("p_fwer")
        for row, column, masked in ((i, j, True), (k, m, False)):
            click_cell(page, run, row, column)
            page.focus(MATRIX)
            value = run.arrays["affinity"][row, column] - other.arrays["affinity"][row, column]
            said = page.inner_text("#spoken")
            assert f": {three(value)}" in said
            assert said.endswith(", masked") == masked


def test_a_kept_cell_has_its_row_and_its_column_drawn_and_they_lead_back(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        click_cell(page, run, 3, 2)
        assert page.locator("#profiles .name").all_inner_texts() == [
            "a block_4 against every layer of b",
            "b block_3 against every layer of a",
        ]
        page.mouse.move(0, 0)  # or the matrix, scrolled from under it, is left at a time of its own, which shows the kept cell
        page.focus("#profiles .chart:nth-child(1) svg[role=application]")
        page.keyboard.press("ArrowRight")
        assert f"mutual_knn {three(run.arrays['affinity'][3, 0])}" in page.inner_text("#profiles .chart:nth-child(1) .said")
        assert "a block_4 and b block_1" in page.inner_text("#matrix-readout")


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_wider_than_the_page(width, opened, page_of):
    run, file = page_of(rows=80, columns=80, n=64, k=4)
    with opened(file, width=width) as page:
        click_cell(page, run, 40, 40)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_both_themes_pass_axe(opened, page_of):
    from axe_playwright_python.sync_playwright import Axe

    run, file = page_of()
    with opened(file) as page:
        click_cell(page, run, 1, 1)
        for details in page.locator("details").all():
            details.evaluate("(one) => { one.open = true; }")
        for theme in ("light", "dark"):
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            faults = Axe().run(page).response["violations"]
            assert [(fault["id"], fault["nodes"][0]["target"]) for fault in faults if fault["impact"] in SERIOUS] == []
            page.click("#theme")


def test_a_saved_table_is_the_runs_own(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        with page.expect_download() as saving:
            page.get_by_role("button", name="affinity.csv").click()
        saved = pd.read_csv(io.BytesIO(saving.value.path().read_bytes()))
        own = run.table("affinity")
        pd.testing.assert_frame_equal(saved[own.columns.tolist()], own, check_dtype=False, check_exact=True)
        with page.expect_download() as saving:
            page.get_by_role("button", name="diagonal.csv").click()
        pd.testing.assert_frame_equal(
            pd.read_csv(io.BytesIO(saving.value.path().read_bytes())), run.table("diagonal"), check_dtype=False, check_exact=True
        )


def test_a_table_is_sorted_and_filtered(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        place = page.locator("[data-matches]")
        place.get_by_role("button", name="best_affinity", exact=True).click()
        first = place.locator("tbody tr:not([aria-hidden]) td:nth-child(2)").first
        assert first.inner_text() == run.table("diagonal").sort_values("best_affinity")["layer"].iloc[0]
        place.get_by_role("searchbox").fill("block_6")
        assert first.inner_text() == "block_6"
        assert "1 of 6 rows" in place.inner_text()


def test_hostile_texts_and_names_do_nothing(opened, page_of):
    run, file = page_of(texts=HOSTILE, names=(HOSTILE[0], HOSTILE[1]), languages=(HOSTILE[2], "de"), n=40)
    with opened(file) as page:
        click_cell(page, run, 0, 0)
        assert page.title() != "owned"
        assert HOSTILE[0] in page.inner_text("h1")
        assert "<img src=x" in page.inner_text("h1")
        assert page.locator("img, svg[onload]").count() == 0
        with page.expect_download() as saving:
            page.get_by_role("button", name="texts.csv").click()
        assert "'=HYPERLINK" in saving.value.path().read_text(encoding="utf-8")


def test_a_page_cannot_fetch_even_if_it_tried(chromium, page_of):
    _, file = page_of()
    page = chromium.new_page()
    page.goto(file.as_uri())
    tried = "fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')"
    heard = []
    page.on("console", lambda message: heard.append(message.text))
    assert page.evaluate(tried) == "refused"
    assert any("Content Security Policy" in text for text in heard)
    page.close()


def test_a_kept_cell_says_which_groups_and_texts_carry_it_and_what_tokens_account_for(opened, page_of):
    run, _ = page_of()
    tables = influence_tables(run)
    file = write_run_page(with_tables(run.folder, "influence", tables), texts=True)
    cells = tables["influence_cells"].set_index(["layer_a", "layer_b", "group"]).sort_index()
    with opened(file) as page:
        click_cell(page, run, 3, 2)
        here = cells.loc[("block_4", "block_3")]
        far = ((here["change"] - here["random"]) / here["random_sd"]).abs()
        strongest = far.idxmax()
        said = page.inner_text("#explained")
        assert f"{strongest} ({here['items'][strongest]} items)" in said
        assert f"changes it by {'+' if here['change'][strongest] > 0 else '−'}{three(abs(here['change'][strongest]))}" in said
        assert said.startswith("Leaving out" if far.max() > 3 else "No group")
        accounts = tables["influence_accounts"].set_index(["layer_a", "layer_b", "account"])["share"]
        for name in ("token count", "the token that is read"):
            assert f"{name} accounts for {round(100 * accounts[('block_4', 'block_3', name)])} %" in said
        chart = page.locator("#explained svg[role=application]")
        chart.focus()
        chart.press("ArrowRight")
        change = here["change"]["north"]
        assert f"north, 5 items: without the group {'' if change > 0 else '-'}{three(abs(change))}" in page.inner_text("#spoken")
        items = tables["influence_items"].query("layer_a == 'block_6' and layer_b == 'block_4'")
        assert "a block_6 and b block_4, the nearest cell" in said
        first = page.locator("#explained .agree > div >> nth=0").locator(".id").first.inner_text()
        assert first.startswith(items.loc[items["beyond"].idxmin(), "id"])


def test_a_page_without_the_analysis_says_how_to_ask_for_it(opened, page_of):
    run, file = page_of()
    with opened(file) as page:
        click_cell(page, run, 0, 0)
        assert "analysis=[diagonal,influence]" in page.inner_text("#explained")


def test_a_histogram_is_read_bar_by_bar(opened, page_of):
    run, _ = page_of(n=60, k=6)
    tables = neighbors_tables(run)
    file = write_run_page(with_tables(run.folder, "neighbors", tables, {"k": 6}), texts=True)
    best = tables["neighbors"].pipe(lambda table: table.loc[table["shared"].idxmax()])
    counts = tables["neighbors_counts"].pipe(
        lambda rows: rows[(rows["layer_a"] == best["layer_a"]) & (rows["layer_b"] == best["layer_b"])]
    )
    with opened(file) as page:
        place = page.locator("[data-charts=neighbors]")
        place.scroll_into_view_if_needed()
        page.wait_for_selector("[data-charts=neighbors] rect.bar", state="attached")
        chart = place.locator(".chart").nth(2)
        heights = [float(bar.get_attribute("height")) for bar in chart.locator("svg[role=application] rect.bar").all()]
        np.testing.assert_allclose(np.array(heights) / max(heights), counts["items"] / counts["items"].max(), atol=1e-6)
        chart.locator("svg[role=application]").focus()
        page.keyboard.press("Home")
        assert f"texts {counts['items'].iloc[0]}" in page.inner_text("#spoken")
        assert page.locator("img").count() == 0  # the picture that quotes texts was not drawn


def test_on_paper_everything_is_drawn_on_white_and_tables_have_their_heads(opened, page_of):
    run, _ = page_of(rows=80, columns=18, n=60, k=6)
    tables = neighbors_tables(run)
    file = write_run_page(with_tables(run.folder, "neighbors", tables, {"k": 6}), texts=True)
    with opened(file) as page:
        page.click("#theme")
        assert page.locator("[data-charts=neighbors] svg").count() == 0  # not scrolled to
        assert page.locator("[data-matches] tbody tr:not([aria-hidden])").count() < 80
        page.emulate_media(media="print")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert page.locator("[data-charts=neighbors] svg[role=application]").count() == 4
        assert page.locator("[data-matches] tbody tr:not([aria-hidden])").count() == 80
        assert page.get_by_role("columnheader", name="best_layer").is_visible()
        assert not page.get_by_role("searchbox").first.is_visible()
        assert not page.locator("#theme").is_visible()
        page.emulate_media(media="screen")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.locator("[data-matches] tbody tr:not([aria-hidden])").count() < 80
        assert len(page.pdf()) > 50_000


@pytest.mark.parametrize("width", [1280, 800])
def test_a_person_can_look_at_the_page(width, opened, page_of, tmp_path):
    run, file = page_of(rows=30, columns=18, n=100, k=10, texts=["The committee met twice.", "Snow covers the road."])
    OUTPUTS.mkdir(exist_ok=True)
    with opened(file, width=width) as page:
        page.screenshot(path=OUTPUTS / f"report-{width}-first.png")
        click_cell(page, run, 12, 8)
        page.screenshot(path=OUTPUTS / f"report-{width}.png", full_page=True)
    assert (OUTPUTS / f"report-{width}.png").stat().st_size > 50_000
