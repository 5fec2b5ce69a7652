"""Names in scripts that matplotlib's own font lacks."""

import logging
import warnings

import matplotlib.pyplot as plt
import pytest
from matplotlib import font_manager

from layeratlas.report import fonts

NAMES = {"हिन्दी": "Devanagari", "日本語": "CJK", "ไทย": "Thai", "አማርኛ": "Ethiopic"}


@pytest.fixture
def figure():
    drawn, axes = plt.subplots()
    axes.set_title(f"{' '.join(NAMES)} Ω plain")
    axes.set_xlabel("plain")
    yield drawn
    plt.close(drawn)


def saved(figure, path) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with fonts.of_every_script(figure):
            figure.savefig(path)
    return [str(one.message) for one in said]


def test_letters_that_no_font_has_are_one_line_that_names_their_scripts(figure, tmp_path, monkeypatch, caplog):
    fonts._say.cache_clear()
    monkeypatch.setattr(fonts, "_installed", tuple)
    assert saved(figure, tmp_path / "x.png") == []
    assert saved(figure, tmp_path / "x.pdf") == []
    (record,) = caplog.records
    assert record.getMessage() == (
        "figures: no font of this machine has letters of CJK, Devanagari, Ethiopic, Thai; report.html shows them"
    )


def test_a_font_of_this_machine_is_taken_for_what_the_pictures_own_lacks(figure, tmp_path, monkeypatch, caplog):
    own = fonts._letters_of(None)
    monkeypatch.setattr(fonts, "_installed", lambda: ("Noto Sans Other", "Noto Sans Every"))
    every = frozenset(map(ord, "".join(NAMES)))
    monkeypatch.setattr(fonts, "_letters_of", lambda font: {None: own, "Noto Sans Every": every}.get(font, frozenset()))
    with fonts.of_every_script(figure), caplog.at_level(logging.WARNING):
        assert figure.axes[0].title.get_fontfamily()[-1] == "Noto Sans Every"
        assert "Noto Sans Every" not in figure.axes[0].xaxis.label.get_fontfamily()
    assert caplog.records == []


def test_a_font_that_was_installed_after_matplotlib_made_its_list_is_known(monkeypatch):
    manager = font_manager.fontManager
    mono = min(font.fname for font in manager.ttflist if font.fname.endswith("DejaVuSansMono.ttf"))
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.name != "DejaVu Sans Mono"])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [mono, __file__])
    monkeypatch.setattr(fonts, "_FONTS", ["DejaVu Sans Mono", "Noto Sans of nowhere"])
    fonts._installed.cache_clear()
    assert fonts._installed() == ("DejaVu Sans Mono",)
    fonts._installed.cache_clear()


def test_a_picture_of_plain_letters_is_left_as_it_is(tmp_path, caplog):
    figure, axes = plt.subplots()
    axes.set_title("SmolLM2 · Ω")
    before = axes.title.get_fontfamily()
    assert saved(figure, tmp_path / "x.png") == []
    assert axes.title.get_fontfamily() == before
    assert caplog.records == []
    plt.close(figure)
