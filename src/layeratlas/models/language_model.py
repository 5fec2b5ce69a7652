"""A loaded network whose layers can be listened to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from layeratlas.arrays import HiddenStates, Tokens
from layeratlas.layers import EMBED, FINAL_NORM, all_layers, block
from layeratlas.models.head import Head
from layeratlas.models.tokenization import Encoder

Attention = Float[Tensor, "b t"]
Listener = Callable[[str, HiddenStates, Attention | None], None]


@dataclass(frozen=True)
class LanguageModel:
    """The text tower of a model, with its language-model head only where likelihoods are asked for.

    `has_final_norm` says whether the network's output differs from what its last block returns. `attention` says
    whether listeners are told the attention that tokens receive. `drift` is the largest relative difference that was found
    between a text's last hidden states alone and in a padded batch.
    """

    name: str
    network: PreTrainedModel
    blocks: nn.ModuleList
    encoder: Encoder
    head: Head | None = None
    attention: bool = False
    has_final_norm: bool = True
    drift: float = 0.0

    @property
    def layers(self) -> list[str]:
        return all_layers(len(self.blocks), final_norm=self.has_final_norm)

    @property
    def device(self) -> torch.device:
        return self.network.device

    @torch.inference_mode()
    def forward(self, tokens: Tokens, hear: Listener | None = None, **options: Any) -> Any:
        """One pass over a batch of tokens on the model's device; returns what the network returns.

        `hear(layer, hidden states, attention)` is called for each layer as soon as it is computed.
        """
        received = _Received(tokens) if self.attention else None
        with _hooks(self.blocks, hear, received) if hear else nullcontext():
            output = self.network(input_ids=tokens.ids, attention_mask=tokens.mask.long(), **options)
        if hear and self.has_final_norm:
            hear(FINAL_NORM, output.last_hidden_state, received.value if received else None)
        return output


class _Received:
    """Attention that each token receives in the block that ran last: mean over heads and real queries; (b, t), sums to 1."""

    def __init__(self, tokens: Tokens) -> None:
        self.queries = tokens.mask.float() / tokens.mask.sum(dim=1, keepdim=True)
        self.value: Attention | None = None

    def listen(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Forward hook of any submodule; only attention returns (.., weights (b, heads, t, t))."""
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, Tensor) and weights.ndim == 4 and weights.shape[-1] == self.queries.shape[1]:
            self.value = torch.einsum("bq,bhqt->bt", self.queries.to(weights.device), weights.float()) / weights.shape[1]


@contextmanager
def _hooks(blocks: nn.ModuleList, hear: Listener, received: _Received | None) -> Iterator[None]:
    embedded: list[Tensor] = []

    def before_first(module: nn.Module, args: tuple, kwargs: dict) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        if received is None:
            hear(EMBED, hidden, None)
        else:
            embedded.append(hidden)  # weighted by the attention of the first block, which is yet to run

    def after(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            while embedded and received is not None:
                hear(EMBED, embedded.pop(), received.value)
            hear(name, output if isinstance(output, Tensor) else output[0], received.value if received else None)

        return hook

    handles = [blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)]
    if received is not None:
        handles += [part.register_forward_hook(received.listen) for b in blocks for part in b.modules() if part is not b]
    handles += [b.register_forward_hook(after(block(k))) for k, b in enumerate(blocks, 1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
