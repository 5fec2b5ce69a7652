"""Controls, the signs of misaligned sides, the balance of sides, and which script a text is in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas.corpora import (
    AbstractControl,
    AbstractCorpus,
    Cipher,
    Language,
    OtherItems,
    PairedItems,
    RandomCharacters,
    ReversedWords,
    SharedWords,
    ShuffledWords,
    doubts,
    draw,
)
from layeratlas.corpora.scripts import foreign, joined, share_in_script, words
from layeratlas.errors import ConfigError
from layeratlas.extraction.balance import balance, commonest, imbalances

EN, DE = Language("en", script="Latn"), Language("de", script="Latn")
HI, ZH, TH = Language("hi", script="Deva"), Language("zh", script="Hans"), Language("th", script="Thai")
CONTROLS = (RandomCharacters, ShuffledWords, ReversedWords, Cipher, OtherItems, SharedWords)
SENTENCES = {
    "en": [
        "The old lamp broke.",
        "Rivers bend slowly.",
        "Seven ships left the harbour.",
        "The old river broke its bank.",
        "Bread rises.",
    ],
    "de": [
        "Die alte Lampe ging kaputt.",
        "Flüsse biegen sich.",
        "Sieben Schiffe liefen aus.",
        "Der alte Fluss trat über.",
        "Brot geht.",
    ],
    "hi": ["पुराना दीपक टूट गया।", "नदियाँ मुड़ती हैं।", "सात जहाज़ निकले।", "पुरानी नदी बह गई।", "रोटी फूलती है।"],
    "zh": ["旧灯坏了。", "河流弯曲。", "七艘船离港。", "旧河决堤了。", "面包发酵。"],
}


@dataclass(frozen=True, kw_only=True)
class Sentences(AbstractCorpus):
    texts: dict[str, Sequence[str]]

    @property
    def name(self) -> str:
        return "sentences"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        return pd.DataFrame(
            [(f"s{i}", text, f"g{i % 2}") for i, text in enumerate(self.texts[language.code])], columns=["id", "text", "group"]
        )


def sentences(texts: dict[str, Sequence[str]] = SENTENCES, **options) -> Sentences:
    return Sentences(**({"n": None, "max_length": 64, "texts": texts} | options))


def controlled(control: AbstractControl, a: Language = EN, b: Language = HI, seed: int = 0, **options) -> PairedItems:
    return draw(sentences(**options), a, b, seed, control)


def texts(items: PairedItems, side: str) -> dict[str, str]:
    return dict(zip(items.ids, items.sides[side].texts, strict=True))


# --- every control ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_changes_the_texts_of_its_sides_and_no_others_nor_which_items_are_drawn(control):
    plain, only_b = draw(sentences(), EN, HI, 0), controlled(control(["b"]))
    assert (only_b.ids, only_b.groups, only_b.sides["a"]) == (plain.ids, plain.groups, plain.sides["a"])
    assert only_b.sides["b"].texts != plain.sides["b"].texts
    assert only_b.sides["b"].rows == plain.sides["b"].rows
    assert only_b.fingerprint != plain.fingerprint


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("language", [EN, HI, ZH], ids=str)
def test_a_control_leaves_no_empty_text_and_gives_both_sides_of_one_language_the_same(control, language):
    items = controlled(control(["a", "b"]), language, language)
    assert items.sides["a"].texts == items.sides["b"].texts
    assert all(text.strip() for text in items.sides["a"].texts)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_smaller_draw_is_still_the_beginning_of_a_larger_one(control):
    small, large = controlled(control(["a", "b"]), n=2), controlled(control(["a", "b"]), n=5)
    for side in "ab":
        assert large.sides[side].texts[:2] == small.sides[side].texts


@pytest.mark.parametrize("control", [RandomCharacters, ShuffledWords, Cipher])
def test_what_is_random_follows_from_the_seed(control):
    assert controlled(control(["b"]), seed=3).sides["b"].texts == controlled(control(["b"]), seed=3).sides["b"].texts
    assert texts(controlled(control(["b"]), seed=3), "b") != texts(controlled(control(["b"]), seed=4), "b")


@pytest.mark.parametrize("sides", [[], ["c"], ["a", "x"]])
def test_a_side_that_there_is_not_is_refused(sides):
    with pytest.raises(ConfigError, match=r"^control\.sides: expected \[a\], \[b\] or \[a,b\]; got "):
        Cipher(sides)


# --- each control -----------------------------------------------------------------------------------------------------------


def test_random_characters_have_the_lengths_of_the_texts_and_the_script_of_their_language():
    mixed = {**SENTENCES, "hi": [f"{text} IBM" for text in SENTENCES["hi"]]}
    items, plain = controlled(RandomCharacters(["b"]), texts=mixed), draw(sentences(mixed), EN, HI, 0)
    assert [*map(len, items.sides["b"].texts)] == [*map(len, plain.sides["b"].texts)]
    assert not any(foreign(character, "Deva") for text in items.sides["b"].texts for character in text)
    assert any(foreign(character, "Deva") for text in plain.sides["b"].texts for character in text)


@pytest.mark.parametrize("language", [EN, HI, ZH], ids=str)
@pytest.mark.parametrize("control", [ShuffledWords, ReversedWords])
def test_shuffled_and_reversed_texts_have_the_same_words(control, language):
    plain, items = draw(sentences(), language, language, 0), controlled(control(["a"]), language, language)
    for before, after in zip(plain.sides["a"].texts, items.sides["a"].texts, strict=True):
        assert Counter(words(before, language)) == Counter(words(after, language))


@pytest.mark.parametrize("control", [RandomCharacters, ShuffledWords])
def test_what_is_random_in_a_text_is_not_the_same_in_its_translation(control):
    """Strings that are drawn alike correspond place by place, and a model finds them aligned."""
    letters = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    pairs = {"en": [letters] * 5, "de": [letters[::-1]] * 5}  # as many words, of the same characters
    items = controlled(control(["a", "b"]), EN, DE, texts=pairs)
    places = {side: [text.split() if control is ShuffledWords else text for text in items.sides[side].texts] for side in "ab"}
    if control is ShuffledWords:  # where each word of the one stood is where its partner of the other stood
        places["b"] = [[chr(ord("a") + ord("z") - ord(word)) for word in text] for text in places["b"]]
    equal = [x == y for one, other in zip(places["a"], places["b"], strict=True) for x, y in zip(one, other, strict=True)]
    assert sum(equal) < 0.2 * len(equal)  # by chance: 1 in 26


def test_words_are_reversed_whole():
    assert texts(controlled(ReversedWords(["a"])), "a")["s1"] == "slowly. bend Rivers"
    assert texts(controlled(ReversedWords(["a"]), ZH), "a")["s1"] == "。曲弯流河"


def test_a_cipher_is_one_permutation_of_a_languages_characters():
    plain, items = draw(sentences(), EN, DE, 0), controlled(Cipher(["a", "b"]), EN, DE)
    for side in "ab":
        before, after = ("".join(x.sides[side].texts) for x in (plain, items))
        assert len(set(zip(before, after, strict=True))) == len(set(before)) == len(set(after))
        assert set(before) == set(after)


def test_other_items_exchange_texts_with_neighbours_in_length():
    lengths = [5, 90, 6, 91, 40, 41]
    items = controlled(OtherItems(["b"]), texts={"en": ["x"] * 6, "hi": [chr(97 + i) * n for i, n in enumerate(lengths)]})
    assert {i: len(text) for i, text in texts(items, "b").items()} == {"s0": 6, "s1": 91, "s2": 5, "s3": 90, "s4": 41, "s5": 40}


@settings(deadline=None, derandomize=True, max_examples=25)
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=40), seed=st.integers(0, 99))
def test_no_item_keeps_its_own_text(lengths, seed):
    population = {"en": [f"{i:03}" + "x" * n for i, n in enumerate(lengths)]}
    for control in (OtherItems(["b"]), SharedWords(["b"])):
        items = controlled(control, EN, EN, seed, texts=population)
        assert all(a != b for a, b in zip(items.sides["a"].texts, items.sides["b"].texts, strict=True))


def test_an_item_is_matched_with_the_one_that_shares_most_words_whatever_is_drawn():
    items = controlled(SharedWords(["b"]), EN, EN, n=5)
    assert texts(items, "b")["s0"] == "The old river broke its bank."
    assert texts(items, "b")["s3"] == "The old lamp broke."
    assert texts(controlled(SharedWords(["b"]), ZH, ZH), "b")["s0"] == "旧河决堤了。"


@pytest.mark.parametrize("control", [OtherItems, SharedWords])
def test_one_item_has_no_other(control):
    with pytest.raises(ConfigError, match="needs two items or more; got 1"):
        controlled(control(["b"]), EN, EN, texts={"en": ["alone"]})


# --- scripts ----------------------------------------------------------------------------------------------------------------


def test_a_text_is_in_the_script_of_most_of_its_letters():
    assert share_in_script("नदियाँ मुड़ती हैं, 24!", "Deva") == 1
    assert share_in_script("नदी river", "Deva") == pytest.approx(3 / 8)
    assert share_in_script("河流 カナ ひら", "Jpan") == 1
    assert share_in_script("ወንዝ።", "Ethi") == share_in_script("강", "Hang") == share_in_script("ırmak é", "Latn") == 1
    assert share_in_script("12 + 3", "Latn") == share_in_script("anything", "Zzzz") == share_in_script("", "Deva") == 1


def test_every_language_file_names_a_script_that_is_known():
    from pathlib import Path

    from omegaconf import OmegaConf

    for file in (Path(__file__).parents[2] / "conf" / "language").glob("*.yaml"):
        node = OmegaConf.load(file)
        assert share_in_script(node.native_name, node.script) == 1, file.name
        assert share_in_script("ѭ" if node.script != "Cyrl" else "x", node.script) == 0, file.name


def test_words_are_what_blanks_part_or_else_characters_with_their_accents():
    assert words("Rivers  bend.", EN) == ["Rivers", "bend."]
    assert words("河流。", ZH) == ["河", "流", "。"]
    assert words("น้ำ", TH)[0] == "น้"
    assert joined(words("น้ำไหล", TH), TH) == "น้ำไหล"


# --- alignment --------------------------------------------------------------------------------------------------------------


def told(texts_a: Sequence[str], texts_b: Sequence[str], b: Language = DE, a: Language = EN) -> list[str]:
    return doubts(draw(sentences({a.code: texts_a, b.code: texts_b}), a, b, 0), a, b)


def test_nothing_is_said_of_sides_that_fit():
    assert told(SENTENCES["en"], SENTENCES["hi"], HI) == []
    assert doubts(draw(sentences(), EN, EN, 0), EN, EN) == []


def test_items_that_only_one_side_has_are_told():
    assert told(["A lamp.", "A river."], ["Eine Lampe."]) == ["alignment: items left out: 1 that only side a (en) has"]


def test_the_same_text_in_two_languages_is_told_with_an_example():
    told_of = told(SENTENCES["en"], [*SENTENCES["de"][:4], SENTENCES["en"][4]])
    assert told_of == ["alignment: 1 of 5 items have the same text on both sides (en and de), such as s4: 'Bread rises.'"]


def test_a_translation_that_is_a_copy_is_told_whatever_share_of_it_is_one():
    (line,) = told(SENTENCES["en"], SENTENCES["en"])
    assert line.startswith("alignment: 5 of 5 items have the same text on both sides (en and de), such as s")
    three = [*SENTENCES["en"][:3], *SENTENCES["de"][3:]]
    assert told(SENTENCES["en"], three)[0].startswith("alignment: 3 of 5 items have the same text on both sides (en and de), such")


def test_copies_with_other_case_blanks_or_punctuation_are_told_as_such():
    shouted = [f" {text.upper()}!" for text in SENTENCES["en"]]
    (line,) = told(SENTENCES["en"], shouted)
    assert line.startswith(
        "alignment: 5 of 5 items have the same text on both sides (en and de), but for case, blanks and punctuation"
    )


def test_two_fields_with_equal_texts_are_told_and_one_field_read_twice_is_not():
    items = draw(sentences(), EN, EN, 0)
    (line,) = doubts(items, EN, EN, ("text", "opposite"))
    assert line.startswith("alignment: 5 of 5 items have the same text on both sides (text and opposite), such as s")
    assert doubts(items, EN, EN, ("text", "text")) == []


@pytest.mark.parametrize("text", ["!!!", "😀 😀", "1 + 1"])
def test_texts_without_letters_are_equal_only_if_they_are_the_same(text):
    assert len(told([text], [text])) == 1
    assert not [line for line in told([text], ["???"]) if "same text" in line]


def test_a_length_that_does_not_fit_the_language_is_told():
    long = ["word " * 20] * 5
    told_of = told([f"{text}{i}" for i, text in enumerate(long)], [f"Wort {text}{i}" for i, text in enumerate(long[:4])] + ["Wort"])
    assert len(told_of) == 1
    assert told_of[0].startswith(
        "alignment: 1 of 5 items have lengths that do not fit (de texts usually have 1.05 times the characters"
    )
    assert told_of[0].endswith("such as s4: 'Wort'")
    assert told(["Stop!", "Go on, please."], ["Halt!", "Weiter."]) == []  # of short texts the ratio says nothing


def test_a_script_that_does_not_fit_the_language_is_told():
    romanised = [*SENTENCES["hi"][:4], "Roti phoolti hai."]
    assert told(SENTENCES["en"], romanised, HI) == [
        "alignment: 1 of 5 items of side b (hi) are mostly not in the script Deva, such as s4: 'Roti phoolti hai.'"
    ]


# --- balance ----------------------------------------------------------------------------------------------------------------


def tokens(
    counts: Sequence[int], characters: Sequence[int], last: Sequence[str], truncated: Sequence[bool], ids: Sequence[int] = (7, 7)
) -> pd.DataFrame:
    """Texts after a BOS; `ids` are those of their last tokens, and what they pool with `last_content` is always the token 3."""
    return pd.DataFrame(
        {
            "tokens": [count + 1 for count in counts],
            "text_tokens": counts,
            "read_characters": characters,
            "truncated": truncated,
            "last_token": last,
            "last_token_id": pd.array(ids, dtype="Int64"),
            "last_content_token": ["x"] * len(counts),
            "last_content_token_id": pd.array([3] * len(counts), dtype="Int64"),
            "first_token": [None] * len(counts),
            "first_token_id": pd.array([None] * len(counts), dtype="Int64"),
        }
    )


def test_a_side_is_counted():
    side = balance(["ab", "cdef"], tokens([1, 2], [2, 4], [".", "."], [False, True]), "last")
    assert side == {
        "items": 2,
        "characters": 6,
        "tokens": 5,
        "fertility": 0.5,
        "truncated": 0.5,
        "commonest_last_token": ".",
        "same_last_token": 1.0,
    }
    assert balance(["ab"], pd.DataFrame(index=range(1)), "last") == {"items": 1, "characters": 2}


def test_tokens_are_told_apart_by_their_ids_and_not_by_what_they_decode_to():
    parts = tokens([1, 2, 3], [2, 4, 4], ["\ufffd"] * 3, [False] * 3, ids=[120, 131, 120])
    side = balance(["ab", "cdef", "ghij"], parts, "last")
    assert (side["commonest_last_token"], side["same_last_token"]) == ("\ufffd", pytest.approx(2 / 3))
    assert str(commonest(parts, "last")) == "120"
    assert str(commonest(tokens([1], [2], ["."], [False], ids=[7]), "last")) == "'.' (7)"


def test_the_token_that_is_pooled_is_counted_for_each_pooling_that_reads_one():
    table = tokens([1, 2], [2, 4], [".", "b"], [False] * 2, ids=[7, 8])
    side = balance(["ab", "cdef"], table, "last_content")
    assert (side["same_last_token"], side["same_pooled_token"], side["commonest_pooled_token"]) == (0.5, 1.0, "x")
    assert commonest(table, "mean") is commonest(table, "first") is None


def test_sides_that_differ_in_tokens_truncation_or_last_token_are_told():
    a = balance(["ab", "cdef"], tokens([1, 2], [2, 4], [".", "."], [False, False]), "last")
    b = balance(["ab", "cdef"], tokens([3, 5], [2, 4], ["b", "f"], [False, True], ids=[8, 9]), "last")
    assert imbalances(a, a) == []
    assert imbalances(a, b) == [
        "balance: side a has 5 tokens, side b 10",
        "balance: side a has 0.5 tokens per character, side b 1.33333",
        "balance: 0% of the texts of side a are cut, 50% of side b",
        "balance: 100% of the texts of side a end in the same token, 50% of side b",
    ]
    assert imbalances(a, {"items": 2, "characters": 20}) == ["balance: side a has 6 characters, side b 20"]


# --- final punctuation and strata -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "text", "stripped"),
    [
        (EN, "Rivers bend.", "Rivers bend"),
        (EN, "Really?! ", "Really"),
        (EN, 'He said "no."', 'He said "no."'),
        (EN, "3.5", "3.5"),
        (EN, "...", "..."),
        (HI, "नदियाँ मुड़ती हैं।", "नदियाँ मुड़ती हैं"),
        (ZH, "河流弯曲。", "河流弯曲"),
        (Language("am"), "ወንዝ ይታጠፋል።", "ወንዝ ይታጠፋል"),
        (Language("ur"), "دریا مڑتے ہیں۔", "دریا مڑتے ہیں"),
        (Language("xx", sentence_final=["$", "#"]), "Money $#.", "Money"),
    ],
)
def test_the_marks_that_end_a_sentence_are_stripped_in_every_language(language, text, stripped):
    corpus = sentences({language.code: [text]}, final_punctuation="strip")
    assert draw(corpus, language, language, 0).sides["a"].texts == [stripped]
    assert draw(replace(corpus, final_punctuation="keep"), language, language, 0).sides["a"].texts == [text]


def test_a_span_ends_with_the_text():
    @dataclass(frozen=True, kw_only=True)
    class Spanned(Sentences):
        def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
            return super().population(language, field, seed).assign(span_start=[4, 0], span_end=[10, 3])

    items = draw(Spanned(n=None, max_length=9, texts={"en": ["The lamp.", "Bread rises."]}, final_punctuation="strip"), EN, EN, 0)
    assert dict(zip(items.ids, items.sides["a"].spans, strict=True)) == {"s0": (4, 8), "s1": (0, 3)}


def test_another_policy_for_final_punctuation_is_refused():
    with pytest.raises(ConfigError, match=r"^dataset\.final_punctuation: expected keep or strip; got drop$"):
        sentences(final_punctuation="drop")


@pytest.mark.parametrize("n", [2, 5, 8, 12])
def test_a_stratified_draw_takes_from_each_group_in_turn_and_grows_at_its_end(n):
    population = {"en": [f"text {i}" for i in range(12)]}
    items = draw(sentences(population, n=n, stratify=True), EN, EN, 0)
    counts = Counter(items.groups)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert draw(sentences(population, stratify=True), EN, EN, 0).ids[:n] == items.ids


def test_a_group_that_runs_out_leaves_the_draw_to_the_others():
    @dataclass(frozen=True, kw_only=True)
    class Uneven(Sentences):
        def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
            return super().population(language, field, seed).assign(group=["rare", *["common"] * 7])

    items = draw(Uneven(n=6, max_length=9, texts={"en": [f"text {i}" for i in range(8)]}, stratify=True), EN, EN, 0)
    assert Counter(items.groups) == {"common": 5, "rare": 1}
    assert "rare" in items.groups[:2]
