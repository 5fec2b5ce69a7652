"""Signs that two sides' items are not what they are taken for. None is an error: a text may quote, or be one word long."""

import unicodedata

import numpy as np

from layeratlas.corpora.base import PairedItems
from layeratlas.corpora.language import Language
from layeratlas.corpora.scripts import share_in_script

_RATIO = 3.0  # times as long as its language usually is of the other: hardly the same sentence
_LONG = 60  # characters that the longer text must have for a ratio of lengths to say anything


def doubts(items: PairedItems, language_a: Language, language_b: Language, fields: tuple[str, str] = ("text", "text")) -> list[str]:
    """A line for each kind of sign, with its count and an example; `fields` are the text fields that the sides read.

    Sides of one language and one field read the same texts on purpose; in all other cases equal texts are a sign.
    """
    languages = {"a": language_a, "b": language_b}
    lines = [_losses(items, languages), *(_script(items, side, language) for side, language in languages.items())]
    if language_a.code != language_b.code or fields[0] != fields[1]:
        lines.append(_equal(items, languages, fields))
    if items.sides["a"].texts != items.sides["b"].texts:
        lines.append(_lengths(items, languages))
    return [line for line in lines if line]


def _losses(items: PairedItems, languages: dict[str, Language]) -> str | None:
    lost = {side: items.dropped[f"only_in_{side}"] for side in languages}
    losses = [f"{count} that only side {side} ({languages[side]}) has" for side, count in lost.items() if count]
    return f"alignment: items left out: {' and '.join(losses)}" if losses else None


def _equal(items: PairedItems, languages: dict[str, Language], fields: tuple[str, str]) -> str | None:
    same = [i for i, (a, b) in enumerate(_pairs(items)) if _letters(a) == _letters(b)]
    names = fields if languages["a"].code == languages["b"].code else map(str, languages.values())
    exactly = all(items.sides["a"].texts[i] == items.sides["b"].texts[i] for i in same)
    aside = "" if exactly else ", but for case, blanks and punctuation"
    return _warning(items, same, f"have the same text on both sides ({' and '.join(names)}){aside}", "a")


def _letters(text: str) -> str:
    """What copies of a text share, without case, blanks and punctuation; the text itself where nothing is left of it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "PZC") or text


def _lengths(items: PairedItems, languages: dict[str, Language]) -> str | None:
    ratios = np.log([len(b) / len(a) for a, b in _pairs(items)])
    usual = float(np.median(ratios))
    long = [max(map(len, pair)) >= _LONG for pair in _pairs(items)]
    odd = np.flatnonzero((np.abs(ratios - usual) > np.log(_RATIO)) & long).tolist()
    usually = f"{languages['b']} texts usually have {np.exp(usual):.2f} times the characters of {languages['a']} texts"
    return _warning(items, odd, f"have lengths that do not fit ({usually})", "b")


def _script(items: PairedItems, side: str, language: Language) -> str | None:
    odd = [i for i, text in enumerate(items.sides[side].texts) if share_in_script(text, language.script) < 0.5]
    return _warning(items, odd, f"of side {side} ({language}) are mostly not in the script {language.script}", side)


def _pairs(items: PairedItems) -> list[tuple[str, str]]:
    return list(zip(items.sides["a"].texts, items.sides["b"].texts, strict=True))


def _warning(items: PairedItems, odd: list[int], what: str, side: str) -> str | None:
    if not odd:
        return None
    return f"alignment: {len(odd)} of {items.n} items {what}, such as {items.ids[odd[0]]}: {items.sides[side].texts[odd[0]][:60]!r}"
