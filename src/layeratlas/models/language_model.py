"""A loaded network whose layers can be listened to."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError
from layeratlas.layers import FINAL_NORM, all_layers
from layeratlas.models.certificate import Certificate
from layeratlas.models.editing import Editing
from layeratlas.models.head import Head
from layeratlas.models.listening import Ears, Listener, listening
from layeratlas.models.tokenization import Encoder, Encoding


@dataclass(frozen=True)
class LanguageModel:
    """The text tower of a model, with its language-model head only where likelihoods are asked for.

    `ears` are how its blocks are heard, `editing` what is done to what they return. `has_final_norm` says whether the network's
    output differs from what its last block returns. `certificate` is what was checked and measured when it was loaded.
    """

    name: str
    network: PreTrainedModel
    ears: Ears
    encoder: Encoder
    head: Head | None = None
    editing: Editing | None = None
    has_final_norm: bool = True
    certificate: Certificate = field(default_factory=Certificate)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.ears.blocks

    @property
    def layers(self) -> list[str]:
        return all_layers(len(self.blocks), final_norm=self.has_final_norm)

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> str:
        """What it computes in, as the config names it."""
        return str(self.network.dtype).removeprefix("torch.")

    def require_known(self, texts: Sequence[str], encodings: Sequence[Encoding]) -> None:
        """Refuse ids that the weights have no row for, before a forward pass: on a GPU, looking one up ends the process."""
        rows = self.encoder.vocabulary
        if rows is None:
            return
        for text, encoding in zip(texts, encodings, strict=True):
            if (unknown := max(encoding.ids)) >= rows:
                token = self.encoder.tokenizer.convert_ids_to_tokens(unknown)
                raise ConfigError(
                    f"model {self.name}: its tokenizer makes the token {token!r} (id {unknown}) of the text {text[:60]!r}, but its"
                    f" weights have only {rows} ids; tokenizer and weights do not belong together"
                )

    @torch.inference_mode()
    def forward(self, tokens: Tokens, hear: Listener | None = None, **options: Any) -> Any:
        """One pass over a batch of tokens on the model's device; returns what the network returns.

        `hear(layer, hidden states, attention)` is called for each layer as soon as it is computed.
        """
        if hear and self.ears.attention:
            options["output_attentions"] = True  # some blocks make their weights only when asked
        inputs = {"input_ids": tokens.ids, "attention_mask": tokens.mask.long(), **options}
        with self.editing.of(self.blocks, tokens) if self.editing else nullcontext():
            if hear is None:
                return self.network(**inputs)
            with listening(self.ears, tokens, self.network, hear) as session:
                output = self.network(**inputs)
        if self.has_final_norm:
            hear(FINAL_NORM, output.last_hidden_state, session.last_attention)
        return output
