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

Span = tuple[int, int]

_KEPT = ("input_ids", "special_tokens_mask", "offset_mapping")
_CHUNK = 32  # texts tokenised at once: Python's objects for their offsets take some 200 bytes a token while they last
_MARK, _BLANK = "\ue000", "  "
_DAY = date(2025, 1, 1)
# Templates that print the date would change activations by the day. transformers turns what is passed to a template into plain
# data, so a callable has to be a macro.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{c}', '{_DAY.strftime('%' + c)}')" for c in "aAbBcdDeFHIjmMpSTuUVwWxXyY")
    + " }}{%- endmacro -%}"
)


@dataclass(frozen=True)
class Encoding:
    """One item's tokens. `special`, `punctuation` and `span` are as in `Tokens`."""

    ids: list[int]
    special: list[bool]
    punctuation: list[bool]
    span: list[bool]
    truncated: bool


@dataclass(frozen=True)
class _Placed:
    """A text inside its chat template, if there is one; the character ranges of the text and of its marked span."""

    rendered: str
    text: Span
    span: Span


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and a[1] > b[0]


class Encoder:
    """Turns texts into encodings: the tokenizer's own special tokens, or the model's chat template around the text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, chat_template: bool, max_length: int) -> None:
        if chat_template and not tokenizer.chat_template:
            raise ConfigError("model chat_template=true: this model's tokenizer has no chat template; set chat_template=false")
        if not tokenizer.is_fast:
            raise ConfigError(
                f"model: {type(tokenizer).__name__} is a slow tokenizer without character offsets; a fast one is needed"
            )
        if (added := 0 if chat_template else tokenizer.num_special_tokens_to_add()) >= max_length:
            raise ConfigError(f"dataset.max_length: {added} special tokens leave no room for the text; got {max_length}")
        tokenizer.truncation_side = "right"
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self.max_length = max_length
        self._punctuation: dict[int, bool] = {}
        self._before, self._after = self._template() if chat_template else ("", "")

    @property
    def pad_id(self) -> int:
        """Any id does under the attention mask, but some networks derive positions from the padding id."""
        return int(self.tokenizer.pad_token_id or 0)  # type: ignore[arg-type]

    def encode(self, texts: Sequence[str], spans: Sequence[Span] | None = None) -> list[Encoding]:
        """Tokenise texts, each cut to `max_length` tokens on the right; `spans` are character ranges within the texts."""
        placed = [self._place(text, span) for text, span in zip(texts, spans or [(0, 0)] * len(texts), strict=True)]
        return [encoding for i in range(0, len(placed), _CHUNK) for encoding in self._encode(placed[i : i + _CHUNK])]

    def _encode(self, placed: Sequence["_Placed"]) -> list[Encoding]:
        whole = self._tokenise([p.rendered for p in placed], truncation=False)
        long = [i for i, ids in enumerate(whole["input_ids"]) if len(ids) > self.max_length]
        cut = self._tokenise([placed[i].rendered for i in long], truncation=True) if long else {}
        kept = [{key: whole[key][i] for key in _KEPT} for i in range(len(placed))]
        for position, i in enumerate(long):
            kept[i] = {key: cut[key][position] for key in _KEPT}
        return [self._encoding(*item, i in set(long)) for i, item in enumerate(zip(placed, kept, strict=True))]

    def _place(self, text: str, span: Span) -> "_Placed":
        left = text if self._before.endswith(_BLANK) or not self.chat_template else text.lstrip()
        inner = left if self._after.startswith(_BLANK) or not self.chat_template else left.rstrip()
        before, after = self._before.removesuffix(_BLANK), self._after.removeprefix(_BLANK)
        begin = len(before)
        shift = begin - (len(text) - len(left))
        return _Placed(before + inner + after, (begin, begin + len(inner)), (span[0] + shift, span[1] + shift))

    def _encoding(self, placed: "_Placed", kept: dict[str, list], truncated: bool) -> Encoding:
        ids, offsets = kept["input_ids"], kept["offset_mapping"]
        if not ids:
            raise ConfigError(f"dataset: the tokenizer makes no token of the text {placed.rendered[:40]!r}")
        self._check_bos(ids, placed.rendered)
        around = [self.chat_template and not _overlap(offset, placed.text) for offset in offsets]
        return Encoding(
            ids=ids,
            special=[bool(added) or outside for added, outside in zip(kept["special_tokens_mask"], around, strict=True)],
            punctuation=[self._is_punctuation(i) for i in ids],
            span=[_overlap(offset, placed.span) for offset in offsets],
            truncated=truncated,
        )

    def _template(self) -> tuple[str, str]:
        """What the chat template puts before and after a user's text, as on one fixed day.

        The text stands between blanks here: a side on which they are missing is one where the template strips the text.
        """
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{_BLANK}{_MARK}{_BLANK}"}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=_FIXED_DATE + str(self.tokenizer.get_chat_template()),
        )
        parts = str(rendered).split(_MARK)
        if len(parts) != 2:
            shown = "does not show the user's text" if len(parts) == 1 else "shows the user's text twice"
            raise ConfigError(f"model chat_template=true: this model's chat template {shown}")
        return parts[0], parts[1]

    def _tokenise(self, texts: list[str], *, truncation: bool) -> BatchEncoding:
        return self.tokenizer(
            texts,
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
