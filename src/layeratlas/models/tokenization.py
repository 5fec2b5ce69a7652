"""Texts to token ids, with what a pooling or a reader of the results needs to know about each token."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from layeratlas.arrays import Tokens
from layeratlas.corpora import Language
from layeratlas.corpora.characters import has_content
from layeratlas.errors import ConfigError
from layeratlas.models.chat_template import BLANK, around_the_text
from layeratlas.models.extents import NOTHING, Extent, by_character, extent
from layeratlas.models.source_language import marks_languages, set_language

Span = tuple[int, int]

_CHUNK = 32  # texts tokenised at once: Python's objects for their offsets take some 200 bytes a token while they last


@dataclass(frozen=True)
class Encoding:
    """One item's tokens. `special`, `punctuation` and `span` are as in `Tokens`.

    `read` is what of the text its tokens cover, `scored` what those cover that have a token before them. `named_controls` counts
    the names of control tokens that stand in the text, `controls` those of them that the tokenizer reads as control tokens.
    """

    ids: list[int]
    special: list[bool]
    punctuation: list[bool]
    span: list[bool]
    truncated: bool
    read: Extent = NOTHING
    scored: Extent = NOTHING
    named_controls: int = 0
    controls: int = 0


@dataclass(frozen=True)
class _Placed:
    """A text between what its chat template and prefix put around it.

    `text` is the character range of the text, `user` that of prefix and text, `span` that of the text's marked words.
    """

    rendered: str
    user: Span
    text: Span
    span: Span


@dataclass(frozen=True)
class _Reading:
    """What the tokenizer makes of a string: ids, which of them it added, and the characters that each covers."""

    ids: list[int]
    added: list[bool]
    offsets: list[Span]

    def part(self, kept: Sequence[int]) -> "_Reading":
        return _Reading([self.ids[i] for i in kept], [self.added[i] for i in kept], [self.offsets[i] for i in kept])


class Encoder:
    """Turns texts into encodings: the tokenizer's own special tokens, or the model's chat template around the text.

    `prefix` stands before each text and, like a template, is no part of it. `language` is passed to a tokenizer that marks texts
    with their language.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat_template: bool,
        max_length: int,
        prefix: str = "",
        generation_prompt: bool = True,
        language: Language | None = None,
    ) -> None:
        if not tokenizer.is_fast:
            raise ConfigError(
                f"model: {type(tokenizer).__name__} is a slow tokenizer without character offsets; a fast one is needed"
            )
        if marks_languages(tokenizer):
            set_language(tokenizer, _given(language, tokenizer))
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self.max_length = max_length
        self.vocabulary: int | None = None
        self._prefix = prefix
        self._before, self._after = around_the_text(tokenizer, generation_prompt=generation_prompt) if chat_template else ("", "")
        self._surrounded = chat_template or bool(prefix)
        self._controls = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._shows_content: dict[int, bool] = {}
        self._require_room()

    def fitted(self, *, max_length: int, vocabulary: int | None) -> "Encoder":
        """The same for a network that reads so many tokens and whose weights have a row for so many ids (None: for any)."""
        fitted = copy(self)
        fitted.max_length, fitted.vocabulary = max_length, vocabulary
        fitted._require_room()
        return fitted

    def _require_room(self) -> None:
        if (around := len(self._whole([self._place("", (0, 0)).rendered])[0].ids)) >= self.max_length:
            raise self._no_room(around)

    @property
    def pad_id(self) -> int:
        """Any id that has an embedding does under the attention mask, but some networks derive positions from the padding id."""
        own = int(self.tokenizer.pad_token_id or 0)  # type: ignore[arg-type]
        return own if self.vocabulary is None or own < self.vocabulary else 0

    def encode(self, texts: Sequence[str], spans: Sequence[Span] | None = None) -> list[Encoding]:
        """Tokenise texts, each cut on the right to `max_length` tokens in all; `spans` are character ranges within the texts."""
        placed = [self._place(text, span) for text, span in zip(texts, spans or [(0, 0)] * len(texts), strict=True)]
        return [encoding for i in range(0, len(placed), _CHUNK) for encoding in self._encode(placed[i : i + _CHUNK])]

    def _encode(self, placed: Sequence[_Placed]) -> list[Encoding]:
        return [self._encoding(p, reading) for p, reading in zip(placed, self._whole([p.rendered for p in placed]), strict=True)]

    def _place(self, text: str, span: Span) -> _Placed:
        whole = self._prefix + text
        left = whole if self._before.endswith(BLANK) or not self.chat_template else whole.lstrip()
        inner = left.rstrip() if self._strips_right else left
        before, after = self._before.removesuffix(BLANK), self._after.removeprefix(BLANK)
        begin, end = len(before), len(before) + len(inner)
        shift = begin + len(self._prefix) - (len(whole) - len(left))
        return _Placed(before + inner + after, (begin, end), (max(begin, shift), end), (span[0] + shift, span[1] + shift))

    @property
    def _strips_right(self) -> bool:
        return self.chat_template and not self._after.startswith(BLANK)

    def _encoding(self, p: _Placed, reading: _Reading) -> Encoding:
        if named := self._count_controls(p, reading):
            reading = self._literal(p, reading)
        if not (covers := self._covers(p, reading)):
            raise ConfigError(f"dataset: the tokenizer makes no token of the text {p.rendered[slice(*p.text)][:40]!r}")
        truncated = len(reading.ids) > self.max_length
        if truncated and self.chat_template:
            p, reading = self._cut_text(p, reading, literal=named > 0)
            covers = self._covers(p, reading)
        elif truncated:
            reading = reading.part(self._first_tokens(self._own(p, reading)))
        self._require_one_bos(reading.ids)
        own, text = self._own(p, reading), p.rendered[slice(*p.text)]
        return Encoding(
            ids=reading.ids,
            special=[not is_own for is_own in own],
            punctuation=[
                self._is_punctuation(p, i, offset)
                for i, offset in zip(reading.ids, by_character(p.rendered, reading.offsets), strict=True)
            ],
            span=[_overlap(offset, p.span) for offset in reading.offsets],
            truncated=truncated,
            read=extent(text, covers, 0, sum(own)),
            scored=extent(text, covers, int(own[0]), sum(own)),
            named_controls=named,
            controls=self._count_controls(p, reading) if named else 0,
        )

    def _covers(self, p: _Placed, reading: _Reading) -> list[Span]:
        """The characters of the text that each of its own tokens covers."""
        clipped = [_clipped(offset, p.text) for offset, own in zip(reading.offsets, self._own(p, reading), strict=True) if own]
        return [(start - p.text[0], end - p.text[0]) for start, end in clipped]

    def _own(self, p: _Placed, reading: _Reading) -> list[bool]:
        """Which tokens are the text's own: neither added by the tokenizer nor of the template or the prefix."""
        return [
            not added and (not self._surrounded or _overlap(offset, p.text))
            for added, offset in zip(reading.added, reading.offsets, strict=True)
        ]

    def _is_punctuation(self, p: _Placed, token: int, offset: Span) -> bool:
        """By the characters that a token covers: one that covers a part of a character says nothing when decoded by itself."""
        start, end = _clipped(offset, p.text)
        if start < end:
            return not has_content(p.rendered, start, end)
        if token not in self._shows_content:
            self._shows_content[token] = has_content(str(self.tokenizer.decode([token])))
        return not self._shows_content[token]

    # --- the cut ------------------------------------------------------------------------------------------------------------

    def _first_tokens(self, own: Sequence[bool]) -> list[int]:
        """Places of all tokens around the text and of as many of its own, from the left, as there is room for."""
        room = self._room(own)
        ours = [i for i, is_own in enumerate(own) if is_own][:room]
        return sorted([*ours, *(i for i, is_own in enumerate(own) if not is_own)])

    def _cut_text(self, p: _Placed, reading: _Reading, *, literal: bool) -> tuple[_Placed, _Reading]:
        """Cut the text before its template is put around it, so that the template stays whole."""
        own = self._own(p, reading)
        ends = [offset[1] for offset, is_own in zip(reading.offsets, own, strict=True) if is_own]
        for kept in range(self._room(own), 0, -1):
            shorter = self._up_to(p, ends[kept - 1])
            (cut,) = self._whole([shorter.rendered])
            cut = self._literal(shorter, cut) if literal else cut
            if len(cut.ids) <= self.max_length and any(self._own(shorter, cut)):
                return shorter, cut
        raise self._no_room(len(own) - sum(own))

    def _up_to(self, p: _Placed, end: int) -> _Placed:
        kept = p.rendered[: min(end, p.text[1])]
        kept = kept.rstrip() if self._strips_right else kept
        user, text, span = ((start, min(end, len(kept))) for start, end in (p.user, p.text, p.span))
        return _Placed(kept + p.rendered[p.text[1] :], user, text, span)

    def _room(self, own: Sequence[bool]) -> int:
        around = len(own) - sum(own)
        if around >= self.max_length:
            raise self._no_room(around)
        return self.max_length - around

    def _no_room(self, around: int) -> ConfigError:
        of = [name for name, is_there in (("chat template", self.chat_template), ("prefix", self._prefix)) if is_there]
        tokens = f"tokens of the {' and the '.join(of)}" if of else "special tokens"
        return ConfigError(f"dataset.max_length: {around} {tokens} leave no room for the text; got {self.max_length}")

    # --- control tokens -----------------------------------------------------------------------------------------------------

    def _count_controls(self, p: _Placed, reading: _Reading) -> int:
        """How many of the text's own tokens are control tokens; an unknown word is none, unless it is that token's name."""
        unknown = self.tokenizer.unk_token_id
        return sum(
            token in self._controls
            and not added
            and (not self._surrounded or _overlap(offset, p.user))
            and (token != unknown or p.rendered[slice(*offset)].strip() == self.tokenizer.unk_token)
            for token, added, offset in zip(reading.ids, reading.added, reading.offsets, strict=True)
        )

    def _literal(self, p: _Placed, reading: _Reading) -> _Reading:
        """The same with what looks like a control token in the user's text taken for text; the template keeps its own."""
        if not self.chat_template:
            return self._whole([p.rendered], literal=True)[0]
        left = [i for i, (_, end) in enumerate(reading.offsets) if reading.ids[i] in self._controls and end <= p.user[0]]
        right = [i for i, (start, _) in enumerate(reading.offsets) if reading.ids[i] in self._controls and start >= p.user[1]]
        first = left[-1] + 1 if left else 0
        last = right[0] if right else len(reading.ids)
        start = reading.offsets[first - 1][1] if left else 0
        end = reading.offsets[last][0] if right else len(p.rendered)
        (middle,) = self._whole([p.rendered[start:end]], literal=True)
        moved = [(begin + start, stop + start) for begin, stop in middle.offsets]
        before, after = reading.part(range(first)), reading.part(range(last, len(reading.ids)))
        return _Reading(
            [*before.ids, *middle.ids, *after.ids],
            [*before.added, *middle.added, *after.added],
            [*before.offsets, *moved, *after.offsets],
        )

    def _whole(self, texts: list[str], *, literal: bool = False) -> list[_Reading]:
        encoded = self.tokenizer(
            texts,
            add_special_tokens=not self.chat_template,  # a template brings its own
            split_special_tokens=literal,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            verbose=False,
        )
        columns = encoded["input_ids"], encoded["special_tokens_mask"], encoded["offset_mapping"]
        return [_Reading(list(ids), [bool(m) for m in mask], list(o)) for ids, mask, o in zip(*columns, strict=True)]  # type: ignore[arg-type]

    def _require_one_bos(self, ids: list[int]) -> None:
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            by = "chat_template=true: this model's chat template" if self.chat_template else "this model's tokenizer"
            raise ConfigError(f"model {by} begins each text with two {self.tokenizer.bos_token!r}")


def _given(language: Language | None, tokenizer: PreTrainedTokenizerBase) -> Language:
    if language is None:
        raise ConfigError(
            f"model: {type(tokenizer).__name__} marks each text with its language, which the checkpoint's tokenizer_config.json"
            ' does not say; give it a "src_lang"'
        )
    return language


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and a[1] > b[0]


def _clipped(offset: Span, to: Span) -> Span:
    """A token's characters; of one that reaches from the text into what surrounds it, those of the text."""
    return (max(offset[0], to[0]), min(offset[1], to[1])) if _overlap(offset, to) else offset


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
