"""Which characters show something, and which say something, by their Unicode categories."""

import regex

# Of the letters, marks, symbols and unassigned code points, these show nothing: the default ignorable ones (zero-width joiners,
# variation selectors, fillers) and the blank pattern of Braille.
_BLANK = r"[\p{Default_Ignorable_Code_Point}\u2800]"
# Unassigned code points (Cn) are shown: newer emoji are such to an older table.
_VISIBLE = regex.compile(rf"[[\p{{L}}\p{{M}}\p{{N}}\p{{S}}\p{{P}}\p{{Co}}\p{{Cn}}]--{_BLANK}]", regex.V1)
_CONTENT = regex.compile(rf"[[\p{{L}}\p{{M}}\p{{N}}\p{{S}}\p{{Co}}\p{{Cn}}]--{_BLANK}]", regex.V1)


def is_visible(text: str) -> bool:
    """Whether a text shows anything: not only blanks, control characters and characters of no width."""
    return _VISIBLE.search(text) is not None


def has_content(text: str, start: int = 0, end: int | None = None) -> bool:
    """Whether `text[start:end]` holds a letter, a mark, a digit or a symbol: more than punctuation and what shows nothing."""
    return _CONTENT.search(text, start, len(text) if end is None else end) is not None
