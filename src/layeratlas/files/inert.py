"""Text from outside made harmless where people read it: names may hold control characters."""

import unicodedata

_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they show a line in another order than it is written


def inert(text: str) -> str:
    """One line: control characters, line ends and marks that turn the direction of writing are shown as escapes."""
    return "".join(_shown(letter) if _active(letter) else letter for letter in text)


def _active(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") or letter in _DIRECTIONS


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
