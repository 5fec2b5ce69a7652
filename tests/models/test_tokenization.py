import string
import unicodedata

import pytest
import torch
from conftest import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_by_hand import BOS, EOS, PAD, TEMPLATE, chat, encoder, marked, read_back, sentencepiece
from transformers import ByT5Tokenizer

from layeratlas.corpora.characters import has_content
from layeratlas.errors import ConfigError
from layeratlas.models.tokenization import Encoder, Encoding, collate

OF_ANY_SCRIPT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1, max_size=20)


def own_text(encoder: Encoder, text: str) -> str:
    """What the tokens that are not special say."""
    (e,) = encoder.encode([text])
    return read_back(encoder.tokenizer, [i for i, special in zip(e.ids, e.special, strict=True) if not special])


def test_masks_of_a_text_by_hand():
    e = encoder(eos=True)
    (found,) = e.encode(["Hi, you."], [(4, 7)])
    assert read_back(e.tokenizer, found.ids) == "<bos>Hi, you.<eos>"
    assert len(found.ids) == 10
    assert marked(found.special) == [0, 9]
    assert marked(found.punctuation) == [3, 4, 8]
    assert marked(found.span) == [5, 6, 7]
    assert not found.truncated


def test_a_text_without_a_span_has_no_token_in_it():
    (found,) = encoder().encode(["Hi, you."])
    assert not any(found.span)


def test_each_text_has_its_own_span():
    first, second = encoder(bos=False).encode(["abc", "abc"], [(0, 1), (1, 3)])
    assert (marked(first.span), marked(second.span)) == ([0], [1, 2])


@pytest.mark.parametrize("character", string.punctuation)
def test_ascii_punctuation_is_punctuation_and_symbols_are_not(character):
    (found,) = encoder(bos=False).encode([character])
    assert found.punctuation == [character not in "$+<=>^`|~"]


@pytest.mark.parametrize("character", [*"\n\t ", *"aZ09"])
def test_blanks_count_as_punctuation_and_letters_and_digits_do_not(character):
    (found,) = encoder(bos=False).encode([character])
    assert found.punctuation == [character.isspace()]


def test_the_tokens_of_a_character_of_several_bytes_share_its_span():
    e = encoder()
    emoji, hindi = e.encode(["a😀b", "नदी!"], [(1, 2), (1, 3)])
    assert len(emoji.ids) == 1 + 1 + 4 + 1
    assert marked(emoji.span) == [2, 3, 4, 5]
    assert len(hindi.ids) == 1 + 9 + 1
    assert marked(hindi.span) == [4, 5, 6, 7, 8, 9]
    assert marked(hindi.punctuation) == [10]
    assert marked(hindi.special) == [0]


ENDINGS = {
    "English": "rivers bend.",
    "Hindi": "नदियाँ मुड़ती हैं।",
    "Bengali": "নদী বাঁকে।",
    "Arabic": "لماذا تنحني الأنهار؟",
    "Urdu": "دریا مڑتے ہیں۔",
    "Amharic": "ወንዝ ይታጠፋል።",
    "Japanese": "川は曲がる。」",
    "Chinese": "河流弯曲。",
    "Tibetan": "ཆུ་བོ་གུག།",
    "Khmer": "ទន្លេបត់។",
    "Armenian": "գետերը ծռվում են։",
    "a mark of more than two bytes, and a sign of direction": "نهر…\u200f",
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS)
def test_a_final_mark_is_punctuation_in_every_script_even_if_tokens_cover_only_parts_of_it(text):
    (found,) = encoder(bos=False, max_length=200).encode([text])
    content = next(i for i in reversed(range(len(text))) if unicodedata.category(text[i])[0] in "LM")
    end = len(text[: content + 1].encode())
    assert end < len(found.ids)
    assert found.punctuation[end - 1 :] == [False] + [True] * (len(found.ids) - end)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("❤\ufe0f", [False] * 3 + [True] * 3),
        ("\u200b", [True] * 3),
        ("\ufffd", [False] * 3),
        ("ी", [False] * 3),
        ("é", [False] * 2),
    ],
)
def test_marks_emoji_and_what_stands_for_the_unknown_are_content_and_what_has_no_width_is_not(text, expected):
    assert encoder(bos=False).encode([text])[0].punctuation == expected


@given(text=OF_ANY_SCRIPT)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_token_is_punctuation_if_its_characters_are(text):
    (found,) = encoder(max_length=200).encode([text])
    assert found.punctuation[1:] == [not has_content(c) for c in text for _ in c.encode()]


@pytest.mark.parametrize(("text", "last"), [("ab。", "▁ab"), ("ﬁ .", "i"), ("नदी।", "<0x80>"), ("a\u200b", "a"), ("ab ।", "▁ab")])
def test_punctuation_of_a_tokenizer_that_normalises_is_judged_by_the_text_itself(text, last):
    e = Encoder(sentencepiece(), chat_template=False, max_length=64)
    (found,) = e.encode([text])
    content = [i for i, special, mark in zip(found.ids, found.special, found.punctuation, strict=True) if not special and not mark]
    assert e.tokenizer.convert_ids_to_tokens(content)[-1] == last


def test_a_token_that_covers_nothing_is_judged_by_what_it_says(monkeypatch):
    e = encoder()
    original = type(e.tokenizer).__call__

    def without_offsets(self, texts, **options):
        found = original(self, texts, **options)
        found["offset_mapping"] = [[(0, 0)] * len(ids) for ids in found["input_ids"]]
        return found

    monkeypatch.setattr(type(e.tokenizer), "__call__", without_offsets)
    assert marked(e.encode(["Hi, you."])[0].punctuation) == [3, 4, 8]


@given(text=OF_ANY_SCRIPT, data=st.data())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_span_holds_the_bytes_of_its_characters_in_any_script(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    (found,) = encoder(max_length=200).encode([text], [(start, end)])
    assert len(found.ids) == 1 + len(text.encode())
    assert marked(found.special) == [0]
    first = 1 + len(text[:start].encode())
    assert marked(found.span) == list(range(first, first + len(text[start:end].encode())))


@pytest.mark.parametrize(("max_length", "expected"), [(5, "<bos>abc<eos>"), (8, "<bos>abcdef<eos>"), (3, "<bos>a<eos>")])
def test_a_long_text_is_cut_on_the_right_between_its_special_tokens(max_length, expected):
    e = encoder(eos=True, max_length=max_length)
    (found,) = e.encode(["abcdefgh"], [(0, 1)])
    assert found.truncated
    assert len(found.ids) == len(found.special) == len(found.punctuation) == len(found.span) == max_length
    assert read_back(e.tokenizer, found.ids) == expected
    assert marked(found.special) == [0, max_length - 1]
    assert marked(found.span) == [1]


def test_a_text_that_just_fits_is_not_truncated():
    (found,) = encoder(eos=True, max_length=10).encode(["abcdefgh"])
    assert not found.truncated
    assert len(found.ids) == 10


def test_a_long_text_is_cut_on_the_right_whatever_the_tokenizer_prefers():
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.truncation_side = "left"
    e = Encoder(tokenizer, chat_template=False, max_length=4)
    assert read_back(tokenizer, e.encode(["abcdefgh"])[0].ids) == "<bos>abc"


def test_a_span_beyond_the_cut_has_no_token():
    (found,) = encoder(max_length=4).encode(["abcdefgh"], [(6, 8)])
    assert not any(found.span)


def test_a_chat_template_that_writes_bos_gets_no_second_one():
    e = chat()
    (found,) = e.encode(["Hi."])
    assert read_back(e.tokenizer, found.ids) == "<bos>[user] Hi.\n[assistant]"
    assert found.ids.count(BOS) == 1


def test_a_chat_template_may_end_with_the_users_turn():
    e = Encoder(chat().tokenizer, chat_template=True, generation_prompt=False, max_length=64)
    (found,) = e.encode(["Hi."])
    assert read_back(e.tokenizer, found.ids) == "<bos>[user] Hi."
    assert own_text(e, "Hi.") == "Hi."


def test_a_chat_template_without_bos_gets_none():
    (found,) = chat("[user] {{ messages[0]['content'] }}").encode(["Hi."])
    assert BOS not in found.ids


def test_a_chat_template_that_writes_two_bos_is_refused():
    twice = r"^model chat_template=true: this model's chat template begins each text with two '<bos>'$"
    with pytest.raises(ConfigError, match=twice):
        chat("{{ bos_token }}{{ bos_token }}{{ messages[0]['content'] }}").encode(["Hello"])


@pytest.mark.parametrize("text", ["Hi.", "नदी 😀", "two\nlines", "[user] [assistant]"])
def test_the_tokens_of_a_chat_template_are_special_and_those_of_the_text_are_not(text):
    assert own_text(chat(), text) == text


@pytest.mark.parametrize("text", ["user", "u", "[", "r]"])
def test_a_text_that_the_template_also_contains_is_found_at_its_own_place(text):
    (found,) = chat().encode([text])
    before = len("[user] ") + 1  # and <bos>
    assert [i for i, special in enumerate(found.special) if not special] == list(range(before, before + len(text)))


@pytest.mark.parametrize("text", ["  Hi.", "Hi.\n", " Hi. "])
def test_a_template_that_strips_the_text_leaves_the_stripped_text(text):
    trimming = TEMPLATE.replace("m['content']", "m['content'] | trim")
    assert own_text(chat(trimming), text) == "Hi."


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [("", "  Hi. "), ("| trim", "Hi."), (".lstrip()", "Hi. "), (".rstrip()", "  Hi.")],
)
def test_what_is_read_is_what_the_template_renders(filter_, expected):
    template = TEMPLATE.replace(
        "m['content']", f"(m['content']){filter_}" if filter_.startswith(".") else f"m['content'] {filter_}"
    )
    e = chat(template)
    rendered = e.tokenizer.apply_chat_template([{"role": "user", "content": "  Hi. "}], tokenize=False, add_generation_prompt=True)
    assert f"] {expected}\n" in rendered
    assert read_back(e.tokenizer, e.encode(["  Hi. "])[0].ids) == rendered


@given(text=OF_ANY_SCRIPT.filter(str.strip), trimmed=st.booleans())
@settings(deadline=None, derandomize=True, max_examples=40)
def test_a_template_rendered_once_gives_the_ids_of_rendering_each_text(text, trimmed):
    e = chat(TEMPLATE.replace("m['content']", "m['content'].strip()") if trimmed else TEMPLATE)
    own = e.tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
    assert e.encode([text])[0].ids == e.tokenizer(own, add_special_tokens=False)["input_ids"]


def test_a_template_is_rendered_once_and_not_for_each_text(monkeypatch):
    e = chat()
    monkeypatch.setattr(type(e.tokenizer), "apply_chat_template", lambda *args, **options: pytest.fail("rendered again"))
    assert own_text(e, "Hi.") == "Hi."


def test_a_template_that_hides_the_text_is_refused():
    with pytest.raises(ConfigError, match=r"^model chat_template=true: this model's chat template does not show the user's text$"):
        chat("[user] {{ messages[0]['content'] | length }}")


def test_a_template_that_shows_the_text_twice_is_refused():
    with pytest.raises(ConfigError, match=r"^model chat_template=true: this model's chat template shows the user's text twice$"):
        chat("{{ messages[0]['content'] }} {{ messages[0]['content'] }}")


def test_a_span_moves_with_the_text_into_the_template():
    e = chat()
    (found,) = e.encode(["one two"], [(4, 7)])
    assert read_back(e.tokenizer, [found.ids[i] for i in marked(found.span)]) == "two"


def test_a_span_keeps_its_characters_where_the_template_strips_the_text():
    e = chat(TEMPLATE.replace("m['content']", "m['content'] | trim"))
    (found,) = e.encode(["  one two"], [(6, 9)])
    assert read_back(e.tokenizer, [found.ids[i] for i in marked(found.span)]) == "two"


def test_a_template_that_prints_the_date_prints_the_same_every_day():
    e = chat("{{ strftime_now('%d %b %Y') }}: {{ messages[0]['content'] }}")
    assert read_back(e.tokenizer, e.encode(["Hi."])[0].ids) == "01 Jan 2025: Hi."


def test_a_model_without_chat_template_is_refused_if_one_is_wanted():
    with pytest.raises(ConfigError, match="chat_template=true: this model's tokenizer has no chat template"):
        Encoder(byte_tokenizer(bos=True), chat_template=True, max_length=8)


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ConfigError, match="ByT5Tokenizer is a slow tokenizer without character offsets"):
        Encoder(ByT5Tokenizer(), chat_template=False, max_length=8)


def test_a_text_without_tokens_is_refused():
    with pytest.raises(ConfigError, match="the tokenizer makes no token of the text ''"):
        encoder(bos=False).encode(["fine", ""])


def test_a_maximal_length_that_only_holds_special_tokens_is_refused():
    for max_length in (1, 2):
        with pytest.raises(
            ConfigError, match=rf"^dataset\.max_length: 2 special tokens leave no room for the text; got {max_length}$"
        ):
            encoder(eos=True, max_length=max_length)


def test_the_padding_id_is_the_tokenizers_own_or_zero():
    e = encoder()
    assert e.pad_id == PAD
    e.tokenizer.pad_token = None
    assert e.pad_id == 0


def test_collating_pads_on_the_right_with_every_mask_off():
    short = Encoding(ids=[BOS, 7], special=[True, False], punctuation=[False, True], span=[False, True], truncated=False)
    long = Encoding(ids=[1, 2, EOS], special=[False, False, True], punctuation=[True] * 3, span=[True] * 3, truncated=True)
    tokens = collate([short, long], pad_id=PAD)
    assert tokens.ids.tolist() == [[BOS, 7, PAD], [1, 2, EOS]]
    assert tokens.mask.tolist() == [[True, True, False], [True, True, True]]
    assert tokens.special.tolist() == [[True, False, False], [False, False, True]]
    assert tokens.punctuation.tolist() == [[False, True, False], [True, True, True]]
    assert tokens.span.tolist() == [[False, True, False], [True, True, True]]


@given(texts=st.lists(OF_ANY_SCRIPT, min_size=1, max_size=4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_a_collated_row_without_its_padding_is_the_encoding(texts):
    encodings = encoder(eos=True).encode(texts)
    tokens = collate(encodings, PAD)
    for row, e in enumerate(encodings):
        kept = tokens.mask[row]
        assert tokens.ids[row][kept].tolist() == e.ids
        assert tokens.special[row][kept].tolist() == e.special
        assert tokens.punctuation[row][kept].tolist() == e.punctuation
        assert kept.tolist() == sorted(kept.tolist(), reverse=True)
        assert (tokens.ids[row][~kept] == PAD).all()


def test_tokens_on_their_device_already_are_not_copied():
    tokens = collate(encoder().encode(["abc"]), PAD)
    assert tokens.to(torch.device("cpu")) is tokens
    assert tokens.to(torch.device("meta")).mask.device.type == "meta"
