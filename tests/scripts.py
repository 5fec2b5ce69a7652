"""Which characters a writing system consists of, for the tests of languages and their texts."""

import unicodedata

NAMES = {
    "Latn": ("LATIN",),
    "Grek": ("GREEK",),
    "Cyrl": ("CYRILLIC",),
    "Arab": ("ARABIC",),
    "Hebr": ("HEBREW",),
    "Ethi": ("ETHIOPIC",),
    "Deva": ("DEVANAGARI",),
    "Beng": ("BENGALI",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Sinh": ("SINHALA",),
    "Hang": ("HANGUL",),
    "Hans": ("CJK UNIFIED",),
    "Jpan": ("CJK UNIFIED", "HIRAGANA", "KATAKANA"),
}


def share_of_script(text: str, script: str) -> float:
    """Share of the letters and marks of `text` that belong to `script`, where accents fit every script."""
    names = [unicodedata.name(c, "") for c in text if unicodedata.category(c)[0] in "LM"]
    written = [name for name in names if not name.startswith("COMBINING")]
    return sum(name.startswith(NAMES[script]) for name in written) / len(written)
