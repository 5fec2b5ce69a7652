"""What may make a text hard: each published rule, and each corrected one where the published one is wrong."""

import pytest
from composing import composed

from layeratlas.corpora import Language
from layeratlas.corpora.failure_taxonomy import (
    CODE_SWITCH,
    FORMAL_REGISTER,
    LOW_RESOURCE_VARIANT,
    TRANSLITERATION,
    UNICODE_EDGE,
    UNKNOWN,
    WordLists,
    corrected_categories,
    published_category,
    unlisted,
)
from layeratlas.errors import ConfigError

TERMS = ["hereby", "renal"]
PUBLISHED = [
    ("बच्चे को fever है", "hi", CODE_SWITCH),  # two scripts of two characters or more
    ("बच्चे को बुखार है a", "hi", UNKNOWN),  # one Latin letter is no script
    ("bachche ko bukhar hai", "hi", TRANSLITERATION),  # Latin, and the expected script is absent
    ("bukhaar hai ब", "hi", TRANSLITERATION),  # more than .7 of the letters are Latin
    ("bachche ko bukhar hai", "ur", UNKNOWN),  # only five languages are known to it
    ("The patient is hereby informed", "en", FORMAL_REGISTER),
    ("The adrenals are small", "en", FORMAL_REGISTER),  # a part of a word does
    ("مرحبا A", "fa", UNICODE_EDGE),  # both directions; one Latin letter is no second script
    ("क\u094d\u200dष", "hi", UNICODE_EDGE),  # a combining mark and a joiner
    ("a\u200bb", "en", UNKNOWN),  # an invisible character without a mark
    ("Ara mi ya", "yo", LOW_RESOURCE_VARIANT),
    ("The child sleeps", "en", UNKNOWN),
    ("", "en", UNKNOWN),
]


@pytest.mark.parametrize(("text", "language", "category"), PUBLISHED)
def test_the_published_rules_by_hand(text, language, category):
    assert published_category(text, language, TERMS) == category


def test_the_first_published_rule_that_holds_counts():
    assert published_category("hereby बच्चे", "hi", TERMS) == CODE_SWITCH
    assert published_category("hereby", "hi", TERMS) == TRANSLITERATION
    assert published_category("hereby", "yo", TERMS) == FORMAL_REGISTER


LISTS = WordLists(
    function_words={"en": ["the", "and", "is"], "fr": ["le", "les", "est"], "sw": ["na", "ni", "les"]},
    register={"en": ["hereby", "renal"], "de": ["Hypertonie"]},
)
HINDI = Language("hi", script="Deva", resource="high")
ENGLISH = Language("en", script="Latn", resource="high")
GERMAN = Language("de", script="Latn", resource="high")
JAPANESE = Language("ja", script="Jpan", resource="high")
PERSIAN = Language("fa", script="Arab", resource="high")
SWAHILI = Language("sw", script="Latn", resource="low")
SERBIAN = Language("sr", script="Cyrl", resource="high")
UNSAID = Language("xx")
CORRECTED = [
    ("बच्चे को high fever है", HINDI, [CODE_SWITCH]),
    ("बच्चे को Pune ले गए", HINDI, []),  # one word may be a name
    ("bachche ko bukhar hai", HINDI, [TRANSLITERATION]),
    ("beograd je lep grad", SERBIAN, [TRANSLITERATION]),  # of any language
    ("bukhaar hai bahut tez ब", HINDI, [TRANSLITERATION]),
    ("the child is very malade et il est chez les", ENGLISH, [CODE_SWITCH]),  # Latin to Latin
    ("the child likes les croissants", ENGLISH, []),  # one word of another language is none
    ("le chien est grand", ENGLISH, []),  # nothing of the own language: another language, not switching
    ("The patient is hereby informed", ENGLISH, [FORMAL_REGISTER]),
    ("The adrenals are small", ENGLISH, []),  # whole words alone
    ("Die HYPERTONIE ist hoch", GERMAN, [FORMAL_REGISTER]),
    ("東京へ行きました", JAPANESE, []),  # three scripts that are one
    ("東京の very big タワー", JAPANESE, [CODE_SWITCH]),
    ("می\u200cروم", PERSIAN, []),  # Persian is spelt with this one
    ("سلام A", PERSIAN, [UNICODE_EDGE]),
    ("a\u200bb", ENGLISH, [UNICODE_EDGE]),
    ("cafe\u0301", ENGLISH, [UNICODE_EDGE]),  # not in NFC
    ("habari ya leo", SWAHILI, [LOW_RESOURCE_VARIANT]),
    ("बच्चे को high fever है", UNSAID, []),  # nothing is known of its script
    ("12 + 5", HINDI, []),
]


@pytest.mark.parametrize(("text", "language", "categories"), CORRECTED)
def test_the_corrected_rules_by_hand(text, language, categories):
    assert corrected_categories(text, language, LISTS) == categories


def test_several_rules_may_hold():
    assert corrected_categories("hereby a\u200bb", ENGLISH, LISTS) == [FORMAL_REGISTER, UNICODE_EDGE]


def test_what_no_list_tells_is_said():
    assert unlisted(ENGLISH, LISTS) == []
    assert unlisted(GERMAN, LISTS) == ["switching between languages of one script"]
    assert unlisted(HINDI, LISTS) == ["register", "switching between languages of one script"]


def test_a_script_that_unicode_does_not_know_is_a_mistake_in_the_languages_file():
    with pytest.raises(ConfigError, match=r"language: Unicode has no script Qqqq; expected a code of ISO 15924"):
        corrected_categories("a b", Language("qq", script="Qqqq"), LISTS)


@pytest.mark.slow
def test_the_scripts_of_all_languages_are_known_to_unicode(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")
    for code in ("hi", "zh", "ja", "ko", "am", "he", "el", "si", "te", "ta", "bn", "ar", "ru"):
        language = composed(f"language@language_a={code}").language_a
        own = language.native_name
        assert CODE_SWITCH not in corrected_categories(own, Language(code, script=language.script), LISTS)
        assert TRANSLITERATION not in corrected_categories(own, Language(code, script=language.script), LISTS)
