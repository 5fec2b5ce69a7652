"""Tokenizers that mark each text with its language are told which it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerBase

from layeratlas.corpora import Language
from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.models import Checkpoint
from layeratlas.models.card import read_card
from layeratlas.models.tokenization import Encoder

CONF = Path(__file__).parents[2] / "conf" / "language"
PIECES = ["▁", *"abcdefghijklmnopqrstuvwxyz."]
UNIGRAM = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")] + [(piece, -2.0) for piece in PIECES]
MBART_CODES = transformers.models.mbart.tokenization_mbart.FAIRSEQ_LANGUAGE_CODES
NLLB_VOCABULARY = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *PIECES])}
SEAMLESS_CODES = [f"__{code}__" for code in ("eng", "deu", "cmn", "cmn_Hant", "tgl", "zlm", "hin", "arb")]
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "mbart": lambda: transformers.MBartTokenizer(vocab=[*UNIGRAM, *((code, 0.0) for code in MBART_CODES), ("<mask>", 0.0)]),
    "mbart50": lambda: transformers.MBart50Tokenizer(vocab=UNIGRAM),
    "nllb": lambda: transformers.NllbTokenizer(vocab=dict(NLLB_VOCABULARY)),
    "nllb-legacy": lambda: transformers.NllbTokenizer(vocab=dict(NLLB_VOCABULARY), legacy_behaviour=True),
    "seamless": lambda: transformers.SeamlessM4TTokenizer(
        vocab=dict(NLLB_VOCABULARY), merges=[], additional_special_tokens=SEAMLESS_CODES
    ),
}
# language file -> the token that marks it; None where the tokenizer lacks the language
MARKS: dict[str, dict[str, str | None]] = {
    "mbart": {"en": "en_XX", "de": "de_DE", "zh": "zh_CN", "ar": "ar_AR", "yo": None, "fil": None},
    "mbart50": {"en": "en_XX", "he": "he_IL", "fil": "tl_XX", "zh": "zh_CN", "yo": None},
    "nllb": {"en": "eng_Latn", "zh": "zho_Hans", "yo": "yor_Latn", "mg": "plt_Latn", "fil": "tgl_Latn", "he": "heb_Hebr"},
    "nllb-legacy": {"en": "eng_Latn", "am": "amh_Ethi"},
    "seamless": {"en": "__eng__", "zh": "__cmn__", "fil": "__tgl__", "ms": "__zlm__", "ar": "__arb__", "yo": None},
}
CASES = [(kind, code, mark) for kind, marks in MARKS.items() for code, mark in marks.items()]
PLACES = {"mbart": -1, "mbart50": 0, "nllb": 0, "nllb-legacy": -1, "seamless": 0}


def language(code: str) -> Language:
    return Language(**OmegaConf.to_container(OmegaConf.load(CONF / f"{code}.yaml")))  # type: ignore[arg-type]


def encoder(kind: str, code: str) -> Encoder:
    return Encoder(TOKENIZERS[kind](), chat_template=False, max_length=32, language=language(code))


@pytest.mark.parametrize(("kind", "code", "mark"), [case for case in CASES if case[2]])
def test_a_text_is_marked_with_the_language_of_its_side(kind, code, mark):
    e = encoder(kind, code)
    (found,) = e.encode(["a lamp."])
    tokens = e.tokenizer.convert_ids_to_tokens(found.ids)
    assert tokens[PLACES[kind]] == mark
    assert found.special[PLACES[kind]]
    assert "".join(t for t, special in zip(tokens, found.special, strict=True) if not special) == "▁a▁lamp."


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, code, mark in CASES if mark is None])
def test_a_language_that_the_tokenizer_lacks_is_refused_with_those_that_it_has(kind, code):
    name = type(TOKENIZERS[kind]()).__name__
    with pytest.raises(
        ConfigError, match=rf"^language: {name} marks each text with its language and has none for {code} \(.*\);"
    ) as told:
        encoder(kind, code)
    assert len(str(told.value)) < 400
    assert "\n" not in str(told.value)


def test_a_script_that_the_tokenizer_lacks_is_not_replaced_by_another():
    with pytest.raises(ConfigError, match=r"^language: NllbTokenizer marks each text .* none for sr \(srp_Latn, sr, srp\)"):
        Encoder(TOKENIZERS["nllb"](), chat_template=False, max_length=32, language=Language("sr", flores="srp_Latn"))


def test_a_tokenizer_that_marks_languages_is_never_left_to_its_own():
    with pytest.raises(ConfigError, match=r'^model: MBartTokenizer marks each text with its language, .* give it a "src_lang"$'):
        Encoder(TOKENIZERS["mbart"](), chat_template=False, max_length=32)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_that_a_tokenizer_marks_languages_is_known_from_its_files_alone(tmp_path, kind):
    TOKENIZERS[kind]().save_pretrained(tmp_path)
    assert read_card(tmp_path).marks_languages


def test_a_checkpoint_whose_files_name_no_tokenizer_is_known_by_its_architecture(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "m2m_100"}')
    assert read_card(tmp_path).marks_languages
    (tmp_path / "config.json").write_text('{"model_type": "bart"}')
    assert not read_card(tmp_path).marks_languages


@pytest.fixture
def mbart(tmp_path: Path) -> Checkpoint:
    tokenizer = TOKENIZERS["mbart"]()
    tokenizer.src_lang = "en_XX"
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    torch.manual_seed(0)
    transformers.MBartModel(transformers.MBartConfig(**sizes, **heads, pad_token_id=1)).save_pretrained(tmp_path / "mbart")
    tokenizer.save_pretrained(tmp_path / "mbart")
    return Checkpoint(id=str(tmp_path / "mbart"), dtype="float32")


def test_the_language_decides_the_vectors_and_their_key(mbart, store):
    extractor = Extractor(store, {"mean": pooling.mean}, Batching(8, 512), torch.device("cpu"))
    side = Side(mbart, ["a lamp.", "the harbour."], 32, language=language("en"))
    other = replace(side, language=language("de"))
    english, german = (extractor(s, "mean", "all").activations.layers["block_2"] for s in (side, other))
    assert not torch.allclose(english, german)
    assert side.folder("mean") != other.folder("mean")
    assert torch.equal(extractor(side, "mean", "all").activations.layers["block_2"], english)
