"""Signs that two sides' items are not what they are taken for. None is an error: a text may quote, or be one word long."""

import numpy as np

from layeratlas.corpora.base import PairedItems
from layeratlas.corpora.language import Language
from layeratlas.corpora.scripts import share_in_script

_RATIO = 3.0  # times as long as its language usually is of the other: hardly the same sentence
_LONG = 60  # characters that the longer text must have for a ratio of lengths to say anything


def doubts(items: PairedItems, language_a: Language, language_b: Language) -> list[str]:
    """A line for each kind of sign, with its count and an example."""
    languages = {"a": language_a, "b": language_b}
    lines = [_losses(items, languages), *(_script(items, side, language) for side, language in languages.items())]
    if items.sides["a"].texts != items.sides["b"].texts:
        lines += [_untranslated(items, languages), _lengths(items, languages)]
    return [line for line in lines if line]


def _losses(items: PairedItems, languages: dict[str, Language]) -> str | None:
    lost = {side: items.dropped[f"only_in_{side}"] for side in languages}
    losses = [f"{count} that only side {side} ({languages[side]}) has" for side, count in lost.items() if count]
    return f"alignment: items left out: {' and '.join(losses)}" if losses else None


def _untranslated(items: PairedItems, languages: dict[str, Language]) -> str | None:
    same = [i for i, (a, b) in enumerate(_pairs(items)) if a == b]
    where = " and ".join(dict.fromkeys(map(str, languages.values())))
    return _told(items, same, f"have the same text on both sides ({where})", "a")


def _lengths(items: PairedItems, languages: dict[str, Language]) -> str | None:
    ratios = np.log([len(b) / len(a) for a, b in _pairs(items)])
    usual = float(np.median(ratios))
    long = [max(map(len, pair)) >= _LONG for pair in _pairs(items)]
    odd = np.flatnonzero((np.abs(ratios - usual) > np.log(_RATIO)) & long).tolist()
    usually = f"{languages['b']} texts usually have {np.exp(usual):.2f} times the characters of {languages['a']} texts"
    return _told(items, odd, f"have lengths that do not fit ({usually})", "b")


def _script(items: PairedItems, side: str, language: Language) -> str | None:
    odd = [i for i, text in enumerate(items.sides[side].texts) if share_in_script(text, language.script) < 0.5]
    return _told(items, odd, f"of side {side} ({language}) are mostly not in the script {language.script}", side)


def _pairs(items: PairedItems) -> list[tuple[str, str]]:
    return list(zip(items.sides["a"].texts, items.sides["b"].texts, strict=True))


def _told(items: PairedItems, odd: list[int], what: str, side: str) -> str | None:
    if not odd:
        return None
    return f"alignment: {len(odd)} of {items.n} items {what}, such as {items.ids[odd[0]]}: {items.sides[side].texts[odd[0]][:60]!r}"
