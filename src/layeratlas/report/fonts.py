"""Letters that the pictures' own font lacks: names of models, datasets and languages may be in any script."""

import logging
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

logger = logging.getLogger(__name__)

# Common fonts of scripts that matplotlib's own has not, on Linux, macOS and Windows.
_SCRIPTS = (
    "Devanagari Bengali Tamil Telugu Gujarati Gurmukhi Kannada Malayalam Sinhala Thai Lao Khmer Myanmar Ethiopic Hebrew Arabic"
)
_FONTS = [
    *(f"Noto Sans CJK {place}" for place in ("JP", "SC", "TC", "KR")),
    *(f"Noto Sans {script}" for script in (*_SCRIPTS.split(), "Armenian", "Georgian")),
    *(
        "Noto Sans",
        "Noto Naskh Arabic",
        "Lohit Devanagari",
        "WenQuanYi Zen Hei",
        "Droid Sans Fallback",
        "IPAexGothic",
        "NanumGothic",
    ),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Nirmala UI", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic"),
    "Arial Unicode MS",
]


@contextmanager
def of_every_script(figure: Figure) -> Iterator[None]:
    """Give the figure's texts fonts of this machine for letters that theirs lacks; letters that no font has are one warning."""
    without: set[str] = set()
    for text in figure.findobj(Text):
        letters = {letter for letter in text.get_text() if letter.isprintable() and ord(letter) not in _letters_of(None)}  # type: ignore[attr-defined]
        if not letters:
            continue
        fonts = []
        for font in _installed():
            if has := {letter for letter in letters if ord(letter) in _letters_of(font)}:
                fonts.append(font)
                letters -= has
        text.set_fontfamily([*text.get_fontfamily(), *fonts])  # type: ignore[attr-defined]
        without |= letters
    if without:
        _say(tuple(sorted({_script_of(letter) for letter in without})))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _script_of(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return name if name == "CJK" else name.capitalize()


@cache
def _say(scripts: tuple[str, ...]) -> None:
    """Once for all pictures."""
    logger.warning("figures: no font of this machine has letters of %s; report.html shows them", ", ".join(scripts))


@cache
def _installed() -> tuple[str, ...]:
    """Those of the fonts that this machine has, also those installed since matplotlib last made its list, which it keeps."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for file in set(font_manager.findSystemFonts()) - listed:
        with suppress(OSError, RuntimeError):  # no font that matplotlib can read
            font_manager.fontManager.addfont(file)
    there = set(font_manager.get_font_names())
    return tuple(font for font in _FONTS if font in there)


@cache
def _letters_of(font: str | None) -> frozenset[int]:
    """The letters of a font, None for that of the pictures."""
    properties = font_manager.FontProperties(family=font) if font else font_manager.FontProperties()
    return frozenset(font_manager.get_font(font_manager.findfont(properties)).get_charmap())
