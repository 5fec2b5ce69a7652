"""What about a text may be why a model does not align it: five rules, as published and as they should be.

Published with aya-cross-lingual-probe (2026): the first rule that holds, of code switching, transliteration, register, Unicode,
scarce language. Its scripts are ranges of code points and its languages are fixed; the corrected rules take scripts from Unicode's
property, the language's own script and level of resources from its file, and words from a list per language. All rules are guesses
from the text alone: none knows what a model has seen.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import regex

from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError

CODE_SWITCH = "CODE_SWITCH"
TRANSLITERATION = "TRANSLITERATION"
FORMAL_REGISTER = "FORMAL_REGISTER"
UNICODE_EDGE = "UNICODE_EDGE"
LOW_RESOURCE_VARIANT = "LOW_RESOURCE_VARIANT"
UNKNOWN = "UNKNOWN"
CATEGORIES = (CODE_SWITCH, TRANSLITERATION, FORMAL_REGISTER, UNICODE_EDGE, LOW_RESOURCE_VARIANT, UNKNOWN)

Words = Mapping[str, Sequence[str]]

# --- as published -----------------------------------------------------------------------------------------------------------------

_LATIN = range(0x250)
_BLOCKS = {
    "arabic": range(0x0600, 0x0700),
    "devanagari": range(0x0900, 0x0980),
    "bengali": range(0x0980, 0x0A00),
    "tamil": range(0x0B80, 0x0C00),
    "ethiopic": range(0x1200, 0x1380),
}
_EXPECTED = {"hi": "devanagari", "bn": "bengali", "ta": "tamil", "am": "ethiopic", "ar": "arabic"}
_SCARCE = ("yo", "am", "ta", "bn")
_FEWEST = 2  # characters of a script
_MOSTLY = 0.7
_INVISIBLE = "\u200b\u200c\u200d\ufeff"


def published_category(text: str, language: str, terms: Sequence[str]) -> str:
    """The first published rule that holds for a text in the language of this code.

    `terms` are the formal English words, any of which makes a text formal; the published list is not repeated here.
    """
    counts = _in_blocks(text)
    if sum(count >= _FEWEST for count in counts.values()) >= 2:
        return CODE_SWITCH
    if language in _EXPECTED and _published_transliteration(text, counts, _EXPECTED[language]):
        return TRANSLITERATION
    lowered = text.lower()
    if any(term.lower() in lowered for term in terms):
        return FORMAL_REGISTER
    if _two_directions(text) or (_bears_marks(text) and any(character in text for character in _INVISIBLE)):
        return UNICODE_EDGE
    return LOW_RESOURCE_VARIANT if language in _SCARCE else UNKNOWN


def _in_blocks(text: str) -> dict[str, int]:
    """Characters of each script, by ranges of code points."""
    counts = {name: sum(ord(character) in block for character in text) for name, block in _BLOCKS.items()}
    return counts | {"latin": sum(ord(character) in _LATIN and character.isalpha() for character in text)}


def _published_transliteration(text: str, counts: Mapping[str, int], expected: str) -> bool:
    letters = sum(character.isalpha() for character in text)
    return counts["latin"] > 0 and (counts[expected] == 0 or counts["latin"] / letters > _MOSTLY)


def _two_directions(text: str) -> bool:
    directions = {unicodedata.bidirectional(character) for character in text}
    return "L" in directions and bool(directions & {"R", "AL"})


def _bears_marks(text: str) -> bool:
    return any(unicodedata.category(character).startswith("M") for character in text)


# --- corrected --------------------------------------------------------------------------------------------------------------------

_SCRIPTS = {  # ISO 15924 codes that stand for several of Unicode's scripts
    "Hans": ("Han",),
    "Hant": ("Han",),
    "Jpan": ("Han", "Hiragana", "Katakana"),
    "Kore": ("Hangul", "Han"),
}
_OWN_SHARE = 0.3  # of letters: a text with less of its language's script is written in another one
_TWO = 2  # words of another script or language: one may be a name
# Characters that show nothing and are no part of any spelling: joiners are left out, which Persian and Indic spelling takes.
_HIDDEN = regex.compile(r"[\u200b\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069]")
_WORD = regex.compile(r"[\p{L}\p{M}\u200c\u200d'\u2019]*\p{L}[\p{L}\p{M}\u200c\u200d'\u2019]*")


@dataclass(frozen=True)
class WordLists:
    """Of each language by its code: common function words, and words of a formal register. Case is not told apart."""

    function_words: Words
    register: Words


def corrected_categories(text: str, language: Language, lists: WordLists) -> list[str]:
    """Every rule that holds for a text, in the published order; none holds of an empty list.

    - code switching: two words or more in another script beside the language's own, or two different function words of
      another language that the own does not have, beside one that it has;
    - transliteration: less than .3 of the letters are of the language's script, and most are Latin;
    - register: a word of the language's own list, as a whole word;
    - Unicode: letters of both directions, invisible characters that no spelling takes, or text that is not in NFC;
    - scarce: the language's file says that its resources are low.
    """
    words = [_cased(word) for word in _WORD.findall(text)]
    own, latin = _share(text, _names(language.script)), _share(text, ("Latin",))
    transliterated = language.script not in ("", "Latn") and latin > 1 - _OWN_SHARE and own < _OWN_SHARE
    holds = {
        CODE_SWITCH: not transliterated and (_other_script(words, language) or _other_language(set(words), language, lists)),
        TRANSLITERATION: transliterated,
        FORMAL_REGISTER: bool(set(words) & _folded(tuple(lists.register.get(language.code, ())))),
        UNICODE_EDGE: _two_directions(text) or bool(_HIDDEN.search(text)) or not unicodedata.is_normalized("NFC", text),
        LOW_RESOURCE_VARIANT: language.resource == "low",
    }
    return [category for category, held in holds.items() if held]


def unlisted(language: Language, lists: WordLists) -> list[str]:
    """What cannot be seen in texts of a language, as there is no list for it."""
    known = {"register": lists.register, "switching between languages of one script": lists.function_words}
    return [what for what, words in known.items() if language.code not in words]


def _cased(word: str) -> str:
    return unicodedata.normalize("NFC", word).casefold()


@cache
def _folded(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_cased, words))


def _names(script: str) -> tuple[str, ...]:
    return _SCRIPTS.get(script, (script,) if script else ())


@cache
def _letters_of(scripts: tuple[str, ...]) -> regex.Pattern:
    try:
        return regex.compile("[" + "".join(rf"\p{{Script={script}}}" for script in scripts) + r"&&\p{L}]", regex.V1)
    except regex.error as error:
        raise ConfigError(f"language: Unicode has no script {' or '.join(scripts)}; expected a code of ISO 15924") from error


def _share(text: str, scripts: tuple[str, ...]) -> float:
    """Share of the letters that are of these scripts; 0 of a text without letters, or of no script."""
    letters = len(regex.findall(r"\p{L}", text))
    return len(_letters_of(scripts).findall(text)) / letters if letters and scripts else 0.0


def _other_script(words: Sequence[str], language: Language) -> bool:
    scripts = _names(language.script)
    if not scripts:
        return False
    own = [_letters_of(scripts).search(word) is not None for word in words]
    return any(own) and own.count(False) >= _TWO


def _other_language(words: set[str], language: Language, lists: WordLists) -> bool:
    if language.code not in lists.function_words:
        return False
    own = _folded(tuple(lists.function_words[language.code]))
    others = {code: _folded(tuple(listed)) - own for code, listed in lists.function_words.items() if code != language.code}
    return bool(words & own) and any(len(words & foreign) >= _TWO for foreign in others.values())
