"""Hearing the layers of a network while it runs, by hooks that are gone afterwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layeratlas.arrays import HiddenStates, Tokens
from layeratlas.layers import EMBED, block

Attention = Float[Tensor, "b t"]
Listener = Callable[[str, HiddenStates, Attention | None], None]


@dataclass(frozen=True)
class Source:
    """Where a block's attention weights come out: a module, and their place in what it returns."""

    module: nn.Module
    index: int


@dataclass(frozen=True)
class Ears:
    """How the blocks of a network are heard.

    A block's state is what it returns, or, `at_inputs`, what enters the next block (or, after the last one, whatever module
    runs next): networks that change states between blocks report them so. `stream` is which of several parallel residual
    streams is heard. Networks that lengthen their input to a multiple of something are heard at the tokens given.
    `attention` is where each block's attention weights come from, where these are wanted.
    """

    blocks: nn.ModuleList
    at_inputs: bool = False
    stream: int | None = None
    attention: Sequence[Source] | None = None


@contextmanager
def listening(ears: Ears, tokens: Tokens, network: nn.Module, hear: Listener) -> Iterator["Session"]:
    """`hear(layer, hidden states, attention)` is called for `embed` and each block while the network runs on these tokens."""
    session = Session(ears, tokens, hear)
    handles = [b.register_forward_pre_hook(session.entering(k), with_kwargs=True) for k, b in enumerate(ears.blocks)]
    handles += [b.register_forward_hook(session.leaving(k)) for k, b in enumerate(ears.blocks)]
    for k, source in enumerate(ears.attention or ()):
        handles.append(source.module.register_forward_hook(session.attending(k, source.index)))
    if ears.at_inputs:
        inside = {id(module) for module in ears.blocks.modules()}
        behind = [m for m in network.modules() if id(m) not in inside and not any(True for _ in m.children())]
        handles += [m.register_forward_pre_hook(session.after_blocks) for m in behind]
    try:
        yield session
        session.end()
    finally:
        for handle in handles:
            handle.remove()


class Session:
    """One forward pass. What is heard late waits in `_pending`: the name of its layer, its states, and its block's place."""

    def __init__(self, ears: Ears, tokens: Tokens, hear: Listener) -> None:
        self._ears, self._hear, self._width = ears, hear, tokens.ids.shape[1]
        self._queries = tokens.mask.float() / tokens.mask.sum(dim=1, keepdim=True)
        self._received: dict[int, Attention] = {}
        self._embedded: Tensor | None = None
        self._pending: tuple[int, Tensor] | None = None

    def entering(self, k: int) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            entered = self._states(args[0] if args else kwargs["hidden_states"])
            self._release(entered)
            if k == 0 and self._ears.attention is None:
                self._hear(EMBED, entered, None)
            elif k == 0:
                self._embedded = entered  # weighted by the attention of the first block, which is yet to run

        return hook

    def leaving(self, k: int) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if self._embedded is not None:
                self._hear(EMBED, self._embedded, self._received.get(k))
                self._embedded = None
            self._pending = k, self._states(output)
            if not self._ears.at_inputs:
                self._release(self._pending[1])

        return hook

    def attending(self, k: int, index: int) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            weights = output[index]
            received = torch.einsum("bq,bhqt->bt", self._queries.to(weights.device), weights.float()) / weights.shape[1]
            self._received[k] = received

        return hook

    def after_blocks(self, module: nn.Module, args: tuple) -> None:
        """Before any module outside the blocks: the last block's state is what the first of these gets once it has run."""
        last = len(self._ears.blocks) - 1
        if self._pending and self._pending[0] == last and args and isinstance(args[0], Tensor):
            entered = self._states(args[0])
            if entered.shape == self._pending[1].shape:
                self._release(entered)

    def end(self) -> None:
        if self._pending:
            self._release(self._pending[1])

    def _release(self, states: Tensor) -> None:
        """Hear the block that ran last, in these states."""
        if self._pending:
            k, self._pending = self._pending[0], None
            self._hear(block(k + 1), states, self._received.get(k))

    def _states(self, output: Any) -> Tensor:
        states = output if isinstance(output, Tensor) else output[0]
        if self._ears.stream is not None:
            states = states[self._ears.stream]
        return states[:, : self._width]

    @property
    def last_attention(self) -> Attention | None:
        return self._received.get(len(self._ears.blocks) - 1)
