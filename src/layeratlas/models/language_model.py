"""A loaded network whose layers can be listened to."""

import logging
from collections.abc import Callable, Iterator, Sequence
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

logger = logging.getLogger(__name__)

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
    as observed: without blocks that do not run on text (cross-attention to images), and knowing whether it has a final norm.
    """
    tokens = collate(model.encoder.encode(_PROBES), model.encoder.pad_id).to(model.device)
    heard: dict[str, Tensor] = {}
    output = model.forward(tokens, lambda name, hidden: heard.__setitem__(name, hidden.clone()), output_hidden_states=True)
    running = [b for k, b in enumerate(model.blocks, 1) if block(k) in heard]
    if EMBED not in heard or not running:
        raise ActivationError(f"{model.name}: its blocks did not run in a forward pass; this architecture is not supported")
    if silent := len(model.blocks) - len(running):
        logger.info("model %s: %d of its blocks do not run on text alone and are no layers", model.name, silent)
    states = list(heard.values())
    _require_reported(
        [state.to(model.device) for state in output.hidden_states or ()], [s.to(model.device) for s in states], model.name
    )
    has_final_norm = not torch.equal(states[-1].to(model.device), states[-2].to(model.device))
    norm = "final norm" if has_final_norm else "no final norm"
    logger.info(
        "model %s: %d blocks x %d, %s; layers agree with its hidden states", model.name, len(running), states[-1].shape[-1], norm
    )
    return replace(model, blocks=nn.ModuleList(running), has_final_norm=has_final_norm)


def _require_reported(reported: Sequence[Tensor], heard: Sequence[Tensor], name: str) -> None:
    position = 0
    for i, state in enumerate(reported):
        matching = [j for j in range(position, len(heard)) if _equal(heard[j], state)]
        if not matching:
            raise ActivationError(f"{name}: hidden_states[{i}] is none of the layers heard; this architecture is not supported")
        position = matching[0]


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b.to(a.device))  # with device_map, layers lie on different devices
