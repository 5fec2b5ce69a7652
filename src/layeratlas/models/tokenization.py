"""Texts to token ids, with what a pooling or a reader of the results needs to know about each token."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError

_TEMPLATE_DAY = date(2025, 1, 1)


@dataclass(frozen=True)
class Encoding:
    """One item's tokens. `special`, `punctuation` and `span` are as in `Tokens`."""

    ids: list[int]
    special: list[bool]
    punctuation: list[bool]
    span: list[bool]
    truncated: bool


class Encoder:
    """Turns texts into encodings: the tokenizer's own special tokens, or the model's chat template around the text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, chat_template: bool, max_length: int) -> None:
        if chat_template and not tokenizer.chat_template:
            raise ConfigError("model chat_template=true: this model's tokenizer has no chat template; set chat_template=false")
        if not tokenizer.is_fast:
            raise ConfigError(
                f"model: {type(tokenizer).__name__} is a slow tokenizer without character offsets; a fast one is needed"
            )
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self.max_length = max_length
        self._punctuation: dict[int, bool] = {}

    @property
    def pad_id(self) -> int:
        """Any id does under the attention mask, but some networks derive positions from the padding id."""
        return int(self.tokenizer.pad_token_id or 0)  # type: ignore[arg-type]

    def encode(self, texts: Sequence[str], spans: Sequence[tuple[int, int]] | None = None) -> list[Encoding]:
        """Tokenise each text, cut to `max_length` tokens on the right; `spans` are character ranges within the texts."""
        return [self._encode(text, span) for text, span in zip(texts, spans or [(0, 0)] * len(texts), strict=True)]

    def _encode(self, text: str, span: tuple[int, int]) -> Encoding:
        rendered = self._rendered(text)
        shift = rendered.find(text) if self.chat_template else 0
        whole = self._tokenise(rendered, truncation=False)
        truncated = len(whole["input_ids"]) > self.max_length
        kept = self._tokenise(rendered, truncation=True) if truncated else whole
        ids, offsets = kept["input_ids"], kept["offset_mapping"]
        if not ids:
            raise ConfigError(f"dataset: the tokenizer makes no token of the text {text[:40]!r}")
        self._check_bos(ids, text)
        outside = [end <= shift or start >= shift + len(text) for start, end in offsets]
        return Encoding(
            ids=ids,
            special=[bool(s) or o for s, o in zip(kept["special_tokens_mask"], outside, strict=True)],
            punctuation=[self._is_punctuation(i) for i in ids],
            span=[start < shift + span[1] and end > shift + span[0] for start, end in offsets],
            truncated=truncated,
        )

    def _rendered(self, text: str) -> str:
        if not self.chat_template:
            return text
        message = [{"role": "user", "content": text}]
        return str(
            self.tokenizer.apply_chat_template(
                message,
                tokenize=False,
                add_generation_prompt=True,
                strftime_now=_TEMPLATE_DAY.strftime,  # templates that print the date would change activations by the day
            )
        )

    def _tokenise(self, text: str, *, truncation: bool) -> BatchEncoding:
        return self.tokenizer(
            text,
            add_special_tokens=not self.chat_template,  # a template brings its own
            truncation=truncation,
            max_length=self.max_length if truncation else None,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            verbose=False,
        )

    def _check_bos(self, ids: list[int], text: str) -> None:
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            raise ConfigError(
                f"dataset: the text {text[:40]!r} begins with {self.tokenizer.bos_token!r}, which the tokenizer adds itself"
            )

    def _is_punctuation(self, token: int) -> bool:
        if token not in self._punctuation:
            text = self.tokenizer.decode([token])
            self._punctuation[token] = all(unicodedata.category(c)[0] in "PZC" for c in text)
        return self._punctuation[token]


def collate(encodings: Sequence[Encoding], pad_id: int) -> Tokens:
    """Pad on the right, so that every real token has the position that it has alone."""
    width = max(len(e.ids) for e in encodings)

    def padded(rows: list[list], fill: int | bool) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows])

    return Tokens(
        ids=padded([e.ids for e in encodings], pad_id),
        mask=padded([[True] * len(e.ids) for e in encodings], False),
        special=padded([e.special for e in encodings], False),
        punctuation=padded([e.punctuation for e in encodings], False),
        span=padded([e.span for e in encodings], False),
    )
