"""What is read beside a text, what is not read of it, and that a text's own words never become the model's control tokens."""

import pytest
from conftest import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_by_hand import BOS, EOS, TEMPLATE, chat, encoder, marked, read_back, sentencepiece

from layeratlas.errors import ConfigError
from layeratlas.models.tokenization import Encoder, Encoding

TRIMMING = TEMPLATE.replace("m['content']", "m['content'] | trim")
AROUND = len("[user] ") + len("\n[assistant]") + 1  # and <bos>
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1, max_size=40).filter(str.strip)


def prefixed(prefix: str, *, max_length: int = 64, template: str | None = None, bos: bool = True) -> Encoder:
    tokenizer = byte_tokenizer(bos=bos)
    tokenizer.chat_template = template
    return Encoder(tokenizer, chat_template=template is not None, max_length=max_length, prefix=prefix)


def said(e: Encoder, found: Encoding, mask: list[bool] | None = None) -> str:
    chosen = found.ids if mask is None else [i for i, m in zip(found.ids, mask, strict=True) if m]
    return read_back(e.tokenizer, chosen)


# --- the cut ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [TEMPLATE, TRIMMING])
def test_under_a_template_the_text_is_cut_and_the_template_stays_whole(template):
    e = chat(template, max_length=AROUND + 4)
    (found,) = e.encode(["abcdefgh"], [(1, 6)])
    assert found.truncated
    assert said(e, found) == "<bos>[user] abcd\n[assistant]"
    assert said(e, found, found.span) == "bcd"
    assert [i for i, special in enumerate(found.special) if not special] == list(range(8, 12))


@given(text=LETTERS, room=st.integers(4, 30))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_every_text_ends_in_the_same_template_however_long_it_is(text, room):
    e = chat(TRIMMING, max_length=AROUND + room)
    (found,) = e.encode([text])
    assert len(found.ids) <= AROUND + room
    assert said(e, found).startswith("<bos>[user] ")
    assert said(e, found).endswith("\n[assistant]")
    kept = said(e, found, [not special for special in found.special])
    assert text.strip().startswith(kept)
    assert found.truncated == (kept != text.strip())


def test_a_text_is_never_cut_within_a_character_under_a_template():
    e = chat(max_length=AROUND + 5)
    assert said(e, e.encode(["नदी"])[0]) == "<bos>[user] न\n[assistant]"


def test_a_template_that_leaves_no_room_for_a_text_is_refused_at_once():
    for room in (0, -1):
        told = rf"^dataset\.max_length: {AROUND} tokens of the chat template leave no room for the text; got {AROUND + room}$"
        with pytest.raises(ConfigError, match=told):
            chat(max_length=AROUND + room)


def test_a_template_that_leaves_no_room_for_one_character_is_refused():
    with pytest.raises(ConfigError, match=rf"^dataset\.max_length: {AROUND} tokens of the chat template leave no room"):
        chat(max_length=AROUND + 2).encode(["नदी"])


@given(text=LETTERS, max_length=st.integers(3, 20))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_without_a_template_the_cut_is_the_tokenizers_own(text, max_length):
    e = encoder(eos=True, max_length=max_length)
    own = e.tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    assert e.encode([text])[0].ids == own


# --- control tokens in texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["The tag <eos> ends a text.", "<bos>Hello", "a<pad><pad>", "<eos>"])
@pytest.mark.parametrize("bos", [True, False])
def test_the_name_of_a_control_token_stays_text(text, bos):
    e = encoder(bos=bos, eos=True)
    (found,) = e.encode([text])
    assert found.ids == [*([BOS] if bos else []), *(e.tokenizer.convert_tokens_to_ids(list(text.replace(" ", "Ġ")))), EOS]
    assert marked(found.special) == [*([0] if bos else []), len(found.ids) - 1]
    assert (found.named_controls, found.controls) == (text.count("<"), 0)


def test_a_text_without_such_a_name_counts_none():
    (found,) = encoder(eos=True).encode(["The tag <end> ends [a] text."])
    assert (found.named_controls, found.controls) == (0, 0)


@pytest.mark.parametrize("prefix", ["", "query: "])
def test_the_templates_own_control_tokens_stay_such_where_the_text_names_them(prefix):
    e = prefixed(prefix, template="<bos>[user] {{ messages[0]['content'] }}<eos>\n<bos>assistant")
    (found,) = e.encode(["An <eos> and a <bos>."], [(3, 8)])
    assert said(e, found) == f"<bos>[user] {prefix}An <eos> and a <bos>.<eos>\n<bos>assistant"
    assert (found.ids.count(BOS), found.ids.count(EOS)) == (2, 1)
    assert said(e, found, [not special for special in found.special]) == "An <eos> and a <bos>."
    assert said(e, found, found.span) == "<eos>"
    assert (found.named_controls, found.controls) == (2, 0)


def test_a_cut_text_under_a_template_keeps_its_names_as_text():
    e = prefixed("", template="<bos>[user] {{ messages[0]['content'] }}<eos>", max_length=20)
    (found,) = e.encode(["An <eos> and a <bos>."])
    assert said(e, found) == "<bos>[user] An <eos> an<eos>"
    assert (found.ids.count(BOS), found.ids.count(EOS)) == (1, 1)


def test_a_control_token_that_cannot_be_read_otherwise_is_counted():
    """A unigram model has `</s>` among its pieces, and finds it in the text by itself."""
    (found,) = Encoder(sentencepiece(), chat_template=False, max_length=64).encode(["ab </s> a"])
    assert found.ids.count(2) == found.controls == found.named_controls == 1


def test_an_unknown_word_names_no_control_token_but_its_name_does():
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.unk_token = "<pad>"
    (unknown,) = Encoder(tokenizer, chat_template=False, max_length=64).encode(["a<pad>"])
    assert (unknown.named_controls, said(Encoder(tokenizer, chat_template=False, max_length=64), unknown)) == (1, "<bos>a<pad>")


# --- the prefix -------------------------------------------------------------------------------------------------------------


def test_a_prefix_is_read_before_the_text_and_is_no_part_of_it():
    e = prefixed("query: ")
    (found,) = e.encode(["Hi, you."], [(4, 7)])
    assert said(e, found) == "<bos>query: Hi, you."
    assert said(e, found, [not special for special in found.special]) == "Hi, you."
    assert said(e, found, found.span) == "you"
    assert not found.truncated
    assert found.read == found.scored == (8, 8)


def test_a_prefix_stands_inside_the_chat_template():
    e = prefixed("query: ", template=TRIMMING)
    (found,) = e.encode([" Hi. "], [(1, 3)])
    assert said(e, found) == "<bos>[user] query:  Hi.\n[assistant]"
    assert said(e, found, found.span) == "Hi"
    assert said(e, found, [not special for special in found.special]) == " Hi."


def test_a_long_text_is_cut_and_its_prefix_is_not():
    e = prefixed("query: ", max_length=11)
    (found,) = e.encode(["abcdefgh"])
    assert said(e, found) == "<bos>query: abc"
    assert found.read == (3, 3)


def test_a_prefix_that_leaves_no_room_for_a_text_is_refused():
    with pytest.raises(ConfigError, match=r"^dataset\.max_length: 8 tokens of the prefix leave no room for the text; got 8$"):
        prefixed("query: ", max_length=8)
    told = r"^dataset\.max_length: 27 tokens of the chat template and the prefix leave no room for the text; got 20$"
    with pytest.raises(ConfigError, match=told):
        prefixed("query: ", max_length=20, template=TEMPLATE)


def test_a_token_that_reaches_from_the_prefix_into_the_text_is_the_texts():
    e = Encoder(sentencepiece(), chat_template=False, max_length=64, prefix="a ")
    (found,) = e.encode(["ab。"])
    own = [i for i, special in zip(found.ids, found.special, strict=True) if not special]
    assert e.tokenizer.convert_ids_to_tokens(own)[0] == "▁ab"
    assert found.read.characters == 3


# --- how much is read and scored --------------------------------------------------------------------------------------------


@given(text=LETTERS, bos=st.booleans(), max_length=st.integers(3, 40))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_bytes_that_are_read_and_scored_are_the_tokens_of_a_byte_tokenizer(text, bos, max_length):
    (found,) = encoder(bos=bos, max_length=max_length).encode([text])
    own = found.special.count(False)
    assert found.read.bytes == pytest.approx(own)
    assert found.scored.bytes == pytest.approx(own if bos else own - 1)
    assert 0 <= found.scored.characters <= found.read.characters <= len(text)
    if bos and not found.truncated:
        assert found.scored.characters == len(text)
