"""Which script a text is written in, and what its words are, from Unicode's character names."""

import unicodedata
from collections import Counter
from functools import cache

from layeratlas.corpora.language import Language

_CHINESE = ("CJK ", "IDEOGRAPHIC ", "BOPOMOFO ")
# ISO 15924 -> how the Unicode names of the script's letters and marks begin.
_NAMES: dict[str, tuple[str, ...]] = {
    "Arab": ("ARABIC ",),
    "Armn": ("ARMENIAN ",),
    "Beng": ("BENGALI ",),
    "Cyrl": ("CYRILLIC ",),
    "Deva": ("DEVANAGARI ",),
    "Ethi": ("ETHIOPIC ",),
    "Geor": ("GEORGIAN ",),
    "Grek": ("GREEK ",),
    "Gujr": ("GUJARATI ",),
    "Guru": ("GURMUKHI ",),
    "Hang": ("HANGUL ",),
    "Hani": _CHINESE,
    "Hans": _CHINESE,
    "Hant": _CHINESE,
    "Hebr": ("HEBREW ",),
    "Jpan": (*_CHINESE, "HIRAGANA ", "KATAKANA ", "HALFWIDTH KATAKANA "),
    "Khmr": ("KHMER ",),
    "Knda": ("KANNADA ",),
    "Kore": ("HANGUL ", "CJK "),
    "Laoo": ("LAO ",),
    "Latn": ("LATIN ", "FULLWIDTH LATIN "),
    "Mlym": ("MALAYALAM ",),
    "Mymr": ("MYANMAR ",),
    "Orya": ("ORIYA ",),
    "Sinh": ("SINHALA ",),
    "Taml": ("TAMIL ",),
    "Telu": ("TELUGU ",),
    "Thaa": ("THAANA ",),
    "Thai": ("THAI ",),
    "Tibt": ("TIBETAN ",),
}
_WITHOUT_BLANKS = {"Hani", "Hans", "Hant", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"}


@cache
def _name(character: str) -> str:
    """Empty for what belongs to no script: digits, punctuation, and accents that any script may bear."""
    name = unicodedata.name(character, "")
    return name if unicodedata.category(character)[0] in "LM" and not name.startswith("COMBINING ") else ""


def foreign(character: str, script: str) -> bool:
    """Whether a character is a letter of another script than this one; of an unknown script nothing is foreign."""
    return bool(_name(character)) and script in _NAMES and not _name(character).startswith(_NAMES[script])


def share_in_script(text: str, script: str) -> float:
    """Share of a text's letters that belong to the script; 1 if there is no letter, or the script is unknown."""
    letters = {character: count for character, count in Counter(text).items() if _name(character)}
    outside = sum(count for character, count in letters.items() if foreign(character, script))
    return 1 - outside / (sum(letters.values()) or 1)


def words(text: str, language: Language) -> list[str]:
    """The words of a text, or its characters with their accents where the script sets no blanks between words."""
    if language.script not in _WITHOUT_BLANKS:
        return text.split()
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.category(character).startswith("M"):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def joined(parts: list[str], language: Language) -> str:
    """The inverse of `words`, apart from how wide the blanks were."""
    return ("" if language.script in _WITHOUT_BLANKS else " ").join(parts)
