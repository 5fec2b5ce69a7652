"""Text from outside made harmless where people read it: names may hold control characters."""

import re

_LINE = "\t\n"  # what a text of many lines is made of
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"  # they show a line in another order than it is written
_ACTIVE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}]")


def inert(text: str) -> str:
    """One line: control characters, line ends and marks that turn the direction of writing are shown as escapes."""
    return _ACTIVE.sub(_shown, text)


def shown_text(text: str) -> str:
    """The same of a text that may have many lines: its line ends and tabs stay."""
    return _ACTIVE.sub(lambda letter: letter[0] if letter[0] in _LINE else _shown(letter), text)


def _shown(letter: re.Match[str]) -> str:
    return letter[0].encode("unicode_escape").decode()
