"""What a network of the zoo computes, read without layeratlas: hooks at paths written by hand, one text at a time, no padding."""

import unicodedata
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import byte_tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from zoo.architectures import HEARD_BETWEEN, Architecture, Sizes

MAX_LENGTH = 48
SPECIAL = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
NOISE = 0.1  # of every weight: freshly made norms and biases are ones and zeros, which hide what is left out

TEXTS = [
    "The committee met twice in March, and again in June, without any result that anyone could name.",
    "Why do rivers bend?",
    "A ship left the harbour before dawn (in fog).",
    "Stop!",
    "Bread rises slowly in a cold kitchen",
]
SPANS = [(4, 13), (7, 13), (7, 11), (0, 2), (14, 20)]  # characters of each text


@dataclass(frozen=True)
class Item:
    """A text as the networks read it: a token for each of its characters, as far as there is room, and <eos>."""

    ids: Tensor
    characters: str
    span: tuple[int, int]

    @property
    def content(self) -> list[int]:
        return list(range(len(self.characters)))

    @property
    def last_content(self) -> int:
        return max(i for i, c in enumerate(self.characters) if unicodedata.category(c)[0] not in "PZC")

    @property
    def spanned(self) -> list[int]:
        return [i for i in self.content if self.span[0] <= i < self.span[1]]


Pooled = dict[str, dict[str, Tensor]]  # pooling -> layer -> (n, d)
Pool = Callable[[Tensor, Item], Tensor]
POOLINGS: dict[str, Pool] = {
    "last": lambda states, item: states[-1],
    "last_content": lambda states, item: states[item.last_content],
    "first": lambda states, item: states[0],
    "mean": lambda states, item: states.mean(0),
    "mean_content": lambda states, item: states[item.content].mean(0),
    "mean_skip_first": lambda states, item: states[1:].mean(0),
    "weighted_mean": lambda states, item: sum((i + 1) * s for i, s in enumerate(states)) / sum(range(1, len(states) + 1)),
    "max": lambda states, item: states.max(0).values,
    "span": lambda states, item: states[item.spanned].mean(0),
}


def items() -> list[Item]:
    tokenizer = byte_tokenizer(bos=False, eos=True)
    vocabulary = tokenizer.get_vocab()
    letters = [[vocabulary["Ġ" if c == " " else c] for c in text[: MAX_LENGTH - 1]] for text in TEXTS]
    ids = [torch.tensor([[*row, SPECIAL["eos_token_id"]]]) for row in letters]
    return [Item(i, text[: MAX_LENGTH - 1], span) for i, text, span in zip(ids, TEXTS, SPANS, strict=True)]


def build(architecture: Architecture) -> PreTrainedModel:
    """The network with random weights, the same at every call."""
    config = AutoConfig.for_model(architecture.type, **deepcopy(_special(architecture.sizes)))  # some configs change what they get
    torch.manual_seed(0)
    network = getattr(transformers, f"AutoModel{'For' * bool(architecture.head)}{architecture.head}").from_config(config)
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.requires_grad):  # the others are sinusoids, made anew at loading
            weight += NOISE * torch.randn_like(weight)
    return network.eval()


def save(network: PreTrainedModel, folder: Path) -> None:
    network.save_pretrained(folder)
    byte_tokenizer(bos=False, eos=True).save_pretrained(folder)


def states(network: PreTrainedModel, architecture: Architecture, item: Item) -> dict[str, Tensor]:
    """The hidden states (t, d) of every layer, by name, in float64."""
    return _listen(network, architecture, item)[0]


def pooled(network: PreTrainedModel, architecture: Architecture) -> Pooled:
    heard = [(item, states(network, architecture, item)) for item in items()]
    return {
        name: {layer: torch.stack([pool(layers[layer], item) for item, layers in heard]) for layer in heard[0][1]}
        for name, pool in POOLINGS.items()
    }


def pooled_by_attention(network: PreTrainedModel, architecture: Architecture) -> Pooled:
    """Weighted by what each token receives on average over heads and queries, as the network reports it."""
    vectors: dict[str, list[Tensor]] = {}
    for item in items():
        layers, output = _listen(network, architecture, item, output_attentions=True)
        received = [block[0].double().mean(0).mean(0) for block in output.attentions]
        for name, state in layers.items():
            block = {"embed": 0, "final_norm": -1}.get(name) if "_" not in name or name == "final_norm" else int(name[6:]) - 1
            vectors.setdefault(name, []).append(received[block] @ state)
    return {"attention_weighted": {name: torch.stack(rows) for name, rows in vectors.items()}}


def _listen(network: PreTrainedModel, architecture: Architecture, item: Item, **options: bool) -> tuple[dict[str, Tensor], Any]:
    entered: list[Tensor] = []
    left: list[Tensor] = []
    normed: list[Tensor] = []

    def entering(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        entered.append((args[0] if args else kwargs["hidden_states"]).clone())

    def keep(into: list[Tensor]) -> Callable[..., None]:
        return lambda module, args, output: into.append(_first(output).clone())

    blocks = network.get_submodule(architecture.blocks)
    handles = [block.register_forward_pre_hook(entering, with_kwargs=True) for block in blocks]
    handles += [block.register_forward_hook(keep(left)) for block in blocks]
    if architecture.final_norm:
        handles += [network.get_submodule(architecture.final_norm).register_forward_hook(keep(normed))]
    with torch.inference_mode():
        output = network.get_submodule(architecture.reads)(input_ids=item.ids, **options)
    for handle in handles:
        handle.remove()
    if architecture.name in HEARD_BETWEEN:
        left = [*entered[1:], left[-1]]
    layers = {"embed": entered[0]} | {f"block_{k}": state for k, state in enumerate(left, 1)}
    layers |= {"final_norm": normed[-1]} if normed else {}
    return {name: _of_text(state)[: item.ids.shape[1]].double() for name, state in layers.items()}, output


def _of_text(state: Tensor) -> Tensor:
    """The states (t, d) of the only text, on whichever axis it is one; of parallel streams, which stand in front, the first."""
    state = state.squeeze()
    return state[0] if state.ndim == 3 else state


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _special(sizes: Sizes) -> Sizes:
    """Sizes with the tokenizer's special tokens, in nested configs too."""
    nested = {key: _special(value) for key, value in sizes.items() if key in ("text_config", "encoder", "decoder")}
    return sizes | SPECIAL | {"use_cache": False} | nested
