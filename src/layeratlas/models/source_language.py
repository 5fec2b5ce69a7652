"""Tokenizers that mark each text with the language it is written in: NLLB, mBART, mBART-50, M2M-100, SeamlessM4T and their kin.

Left alone, they mark every text with the language that they were saved with, English as a rule.
"""

import re
import textwrap

from transformers import PreTrainedTokenizerBase

from layeratlas.corpora import Language
from layeratlas.errors import ConfigError

_CODE = re.compile(r"(__)?[a-z]{2,3}(_[A-Za-z]{2,4})?(__)?")  # eng_Latn, en_XX, __eng__, __en__
_LONGEST = 200


def marks_languages(tokenizer: PreTrainedTokenizerBase) -> bool:
    return hasattr(tokenizer, "src_lang")


def set_language(tokenizer: PreTrainedTokenizerBase, language: Language) -> None:
    """Have a tokenizer that marks languages mark the texts from now on with this one; refuse a language that it lacks."""
    available = _codes(tokenizer)
    if (code := _code_of(language, set(available))) is None:
        listed = textwrap.shorten(", ".join(available) or "none", _LONGEST, placeholder=" ..")
        raise ConfigError(
            f"language: {type(tokenizer).__name__} marks each text with its language and has none for {language}"
            f" ({', '.join(language.codes)}); it has {listed}"
        )
    tokenizer.src_lang = code  # type: ignore[attr-defined]


def _codes(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The codes of a tokenizer's languages, as its `src_lang` wants them."""
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sorted({token.removeprefix("__").removesuffix("__") for token in special if _CODE.fullmatch(token)})


def _code_of(language: Language, available: set[str]) -> str | None:
    """The code by which a tokenizer knows a language: one of its own codes, or one with a country, such as en_XX for en."""
    exact = [code for code in language.codes if code in available]
    with_country = [known for code in language.codes for known in sorted(available) if re.fullmatch(f"{code}_[A-Z]{{2}}", known)]
    return next(iter(exact + with_country), None)
