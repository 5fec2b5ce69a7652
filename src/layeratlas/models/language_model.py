"""A loaded network whose layers can be listened to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layeratlas.arrays import HiddenStates, Tokens
from layeratlas.errors import ActivationError
from layeratlas.layers import EMBED, FINAL_NORM, all_layers, block
from layeratlas.models.tokenization import Encoder, collate

Listener = Callable[[str, HiddenStates], None]


@dataclass(frozen=True)
class LanguageModel:
    """The text tower of a model, without its language-model head.

    `has_final_norm` says whether the network's output differs from what its last block returns.
    """

    name: str
    network: PreTrainedModel
    blocks: nn.ModuleList
    encoder: Encoder
    has_final_norm: bool = True

    @property
    def layers(self) -> list[str]:
        return all_layers(len(self.blocks), final_norm=self.has_final_norm)

    @property
    def device(self) -> torch.device:
        return self.network.device

    @torch.inference_mode()
    def forward(self, tokens: Tokens, hear: Listener | None = None, **options: Any) -> Any:
        """One pass over a batch. `hear(layer, hidden states)` is called for each layer as soon as it is computed."""
        with _hooks(self.blocks, hear):
            output = self.network(input_ids=tokens.ids, attention_mask=tokens.mask.long(), **options)
        if hear and self.has_final_norm:
            hear(FINAL_NORM, output.last_hidden_state)
        return output


@contextmanager
def _hooks(blocks: nn.ModuleList, hear: Listener | None) -> Iterator[None]:
    if hear is None:
        yield
        return

    def before_first(module: nn.Module, args: tuple, kwargs: dict) -> None:
        hear(EMBED, args[0] if args else kwargs["hidden_states"])

    def after(name: str) -> Callable:
        return lambda module, args, output: hear(name, output if isinstance(output, Tensor) else output[0])

    handles = [blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)]
    handles += [b.register_forward_hook(after(block(k))) for k, b in enumerate(blocks, 1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_PROBES = ["The cat sat on the mat.", "Rain fell over the old harbour all night, and by morning the streets were rivers."]


def verified(model: LanguageModel) -> LanguageModel:
    """Check on two texts that what is heard is what the network itself reports as its hidden states.

    Each entry of `output_hidden_states` must equal, bit for bit, one of the layers heard, in their order. Returns the model
    with `has_final_norm` set by observation.
    """
    tokens = collate(model.encoder.encode(_PROBES), model.encoder.pad_id).to(model.device)
    heard: dict[str, Tensor] = {}
    output = model.forward(tokens, lambda name, hidden: heard.__setitem__(name, hidden.clone()), output_hidden_states=True)
    if missing := [name for name in model.layers if name not in heard]:
        raise ActivationError(f"{model.name}: {', '.join(missing)} did not run in a forward pass; this architecture is not supported")
    last = heard[block(len(model.blocks))]
    norm = not torch.equal(heard[FINAL_NORM].to(last.device), last)
    reported = [state.to(last.device) for state in output.hidden_states or ()]
    names = iter(model.layers)
    for i, state in enumerate(reported):
        if not any(torch.equal(heard[name].to(last.device), state) for name in names):
            raise ActivationError(f"{model.name}: hidden_states[{i}] is none of the layers heard; this architecture is not supported")
    return replace(model, has_final_norm=norm)
