"""The projector of a sweep's page in Chromium: what is shown, and that its numbers are those of the table."""

import itertools

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import HOSTILE, OUTPUTS, large_sweep

from layeratlas.report.page.sweep_page import Answer, write_sweep_page
from layeratlas.studies import sweep_of

pytestmark = pytest.mark.browser

MODELS = {"ant": 6, "bee": 4, "cat": 9}
LANGUAGES = ("en", "de", "hi")


def joint_points(models=MODELS, languages=LANGUAGES, components=4) -> pd.DataFrame:
    """Made-up coordinates of every layer, other ones in each space."""
    rng = np.random.default_rng(0)
    shares = np.array([0.4, 0.2, 0.1, 0.05])[:components]
    rows = []
    for space, (model, layers), reads in itertools.product(("uncentred", "centred"), models.items(), languages):
        for i in range(1, layers + 1):
            place = rng.normal(size=components) * np.array([3, 2, 1, 0.5])[:components] + 2 * i / layers
            rows.append(
                {"model": model, "reads": reads, "layer": f"block_{i}", "depth": i / layers, "space": space}
                | {f"component_{k + 1}": one for k, one in enumerate(place)}
                | {"captured": rng.uniform(0.5, 1)}
                | {f"share_{k + 1}": one for k, one in enumerate(shares)}
                | {"condition": "texts", "items": 90}
            )
    return pd.DataFrame(rows)


@pytest.fixture
def page_of(tmp_path):
    def call(**options):
        points = joint_points(**options)
        answers = {"joint": Answer({"joint_points": points}, {"sentences": [], "numbers": {}, "warnings": []})}
        return points, write_sweep_page(sweep_of(large_sweep(tmp_path, 2, 4)), answers, {}, tmp_path)

    return call


def seen(page):
    page.locator("#projector").scroll_into_view_if_needed()
    page.wait_for_selector("#projector canvas")


def numbers(page) -> dict[str, list[str]]:
    """The rows below the picture, by the pair of languages."""
    rows = page.locator("#projector .numbers tbody tr").all()
    return {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}


def expected(points: pd.DataFrame, axes: list[int]) -> dict[str, list[str]]:
    """By pandas: distances of the same layer of a model in two languages."""
    columns = [f"component_{k}" for k in axes]
    names = [name for name in LANGUAGES if name in set(points["reads"])]
    found = {}
    for first, second in itertools.combinations(names, 2):
        sides = [points[points["reads"] == name].set_index(["model", "layer"])[columns] for name in (first, second)]
        apart = np.sqrt(((sides[0] - sides[1]).dropna() ** 2).sum(axis=1))
        values = [apart.mean(), apart.median(), apart.min(), apart.max()]
        found[f"{first}, {second}"] = [str(len(apart)), *map(rounded, values)]
    return found


def rounded(value: float) -> str:
    """As the page writes it."""
    return f"{value:.3f}" if value < 1 else f"{float(f'{value:.4g}'):g}"


def captured(points: pd.DataFrame, axes: list[int]) -> str:
    components = [f"component_{k}" for k in range(1, 5)]
    whole = (points[components].pow(2).sum(axis=1) / points["captured"]).sum()
    return f"{100 * points[[f'component_{k}' for k in axes]].pow(2).to_numpy().sum() / whole:.1f} %"


def test_the_numbers_are_those_of_the_points_that_are_seen(opened, page_of):
    points, file = page_of()
    uncentred = points[points["space"] == "uncentred"]
    with opened(file) as page:
        seen(page)
        assert numbers(page) == expected(uncentred, [1, 2, 3])
        assert captured(uncentred, [1, 2, 3]) in page.inner_text("#projector .note >> nth=1")
        page.get_by_label("bee", exact=True).uncheck()
        assert numbers(page) == expected(uncentred[uncentred["model"] != "bee"], [1, 2, 3])
        page.get_by_label("de", exact=True).uncheck()
        left = uncentred[(uncentred["model"] != "bee") & (uncentred["reads"] != "de")]
        assert numbers(page) == expected(left, [1, 2, 3])
        assert f"{len(left)} of {len(uncentred)} points" in page.inner_text("#projector")


def test_another_space_and_other_components_have_their_own_numbers(opened, page_of):
    points, file = page_of()
    centred = points[points["space"] == "centred"]
    with opened(file) as page:
        seen(page)
        page.get_by_label("Space").select_option("1")
        assert numbers(page) == expected(centred, [1, 2, 3])
        page.get_by_label("across").select_option("3")
        assert numbers(page) == expected(centred, [4, 2, 3])
        page.get_by_label("into the picture").select_option("-1")
        assert numbers(page) == expected(centred, [4, 2])
        assert captured(centred, [4, 2]) in page.inner_text("#projector")


def test_the_scrubber_leaves_of_each_model_the_layer_nearest_to_a_depth(opened, page_of):
    points, file = page_of()
    uncentred = points[points["space"] == "uncentred"]
    with opened(file) as page:
        seen(page)
        page.get_by_role("slider", name="Depth").fill("10")
        nearest = uncentred.loc[uncentred["depth"].sub(0.5).abs().groupby([uncentred["model"], uncentred["reads"]]).idxmin()]
        assert numbers(page) == expected(nearest, [1, 2, 3])
        assert f"{len(MODELS) * len(LANGUAGES)} of" in page.inner_text("#projector")


def test_a_point_is_reached_by_keys_and_tells_how_far_its_partners_are(opened, page_of):
    points, file = page_of()
    with opened(file) as page:
        seen(page)
        page.focus("#projector [role=application]")
        before = page.locator("#projector .space canvas").screenshot()
        page.keyboard.press("n")
        said = page.inner_text("#projector .said")
        assert page.inner_text("#spoken") == said
        assert said.startswith("ant, en, block_1, depth 0.17.")
        rows = points[(points["space"] == "uncentred") & (points["model"] == "ant") & (points["layer"] == "block_1")]
        place = rows.set_index("reads")[["component_1", "component_2", "component_3"]]
        for language in ("de", "hi"):
            apart = np.linalg.norm(place.loc[language] - place.loc["en"])
            assert f"{language}: {rounded(apart)}" in said
        after = page.locator("#projector .space canvas").screenshot()
        assert after != before  # a ring, and lines to its partners
        page.keyboard.press("ArrowLeft")
        turned = page.locator("#projector .space canvas").screenshot()
        assert turned != after
        page.keyboard.press("Home")
        assert page.locator("#projector .space canvas").screenshot() == after


def test_links_and_lines_can_be_taken_away_and_the_theme_changes_the_picture(opened, page_of):
    _, file = page_of()
    with opened(file) as page:
        seen(page)
        picture = page.locator("#projector .space canvas")
        seen_so_far = {picture.screenshot()}
        for name in ("pair links", "depth lines"):
            page.get_by_label(name).uncheck()
            assert picture.screenshot() not in seen_so_far
            seen_so_far.add(picture.screenshot())
        page.click("#theme")
        assert picture.screenshot() not in seen_so_far
        page.locator("#projector").get_by_label("Colour by").select_option("depth")
        assert picture.screenshot() not in seen_so_far


def test_the_pointer_finds_a_point_and_leaves_it(opened, page_of):
    _, file = page_of(models={"ant": 1}, languages=("en",))
    with opened(file) as page:
        seen(page)
        box = page.locator("#projector .space canvas").bounding_box()
        found = False
        for x, y in itertools.product(np.linspace(0.05, 0.95, 40), np.linspace(0.05, 0.95, 40)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if page.inner_text("#projector .said").startswith("ant, en"):
                found = True
                break
        assert found
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 60)
        assert page.inner_text("#projector .said") is not None


def test_names_from_outside_stay_text_and_the_projector_passes_axe(opened, page_of):
    from axe_playwright_python.sync_playwright import Axe

    _, file = page_of(models={HOSTILE[0]: 3, "bee": 2}, languages=("en", "de"))
    with opened(file) as page:
        seen(page)
        assert page.title() != "owned"
        assert HOSTILE[0] in page.inner_text("#projector")
        for _ in range(2):
            faults = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in ("serious", "critical")]
            assert [(fault["id"], fault["nodes"][0]["target"]) for fault in faults] == []
            page.click("#theme")


def test_thousands_of_points_are_turned_at_once(opened, page_of):
    models = {f"model-{i}": 40 for i in range(40)}
    _, file = page_of(models=models)
    with opened(file) as page:
        seen(page)
        page.focus("#projector [role=application]")
        turned = (
            "for (let i = 0; i < 10; i++) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
        )
        assert page.evaluate(f"(() => {{ const start = performance.now(); {turned}; return performance.now() - start; }})()") < 3000


@pytest.mark.parametrize("width", [1280, 800])
def test_a_person_can_look_at_the_projector(width, opened, page_of):
    _, file = page_of(models={"ant": 30, "bee": 18, "cat": 24}, languages=("en", "de"))
    OUTPUTS.mkdir(exist_ok=True)
    with opened(file, width=width) as page:
        seen(page)
        page.locator("#space").screenshot(path=OUTPUTS / f"report-projector-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
