"""What is checked of every model when it is loaded, on two short texts, before hours are spent on it."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from layeratlas.arrays import Tokens
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.layers import EMBED, block
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import collate

logger = logging.getLogger(__name__)

_PROBES = ["The cat sat on the mat.", "Rain fell over the old harbour all night, and by morning the streets were rivers."]
_NLL_TOLERANCE = 1e-2  # relative; slices of a bfloat16 head are rounded otherwise than the whole


def verified(model: LanguageModel) -> LanguageModel:
    """Check that what is heard is what the network itself reports as its hidden states.

    Each entry of `output_hidden_states` must equal, bit for bit, one of the layers heard, in their order. Returns the model
    as observed: without blocks that do not run on text (cross-attention to images), knowing whether it has a final norm, and
    how far padding moves its numbers.
    """
    tokens = _probes(model, [0, 1])
    heard: dict[str, Tensor] = {}
    attended: set[str] = set()

    def hear(name: str, hidden: Tensor, attention: Tensor | None) -> None:
        heard[name] = hidden.clone()
        attended.update([] if attention is None else [name])

    output = model.forward(tokens, hear, output_hidden_states=True)
    running = [b for k, b in enumerate(model.blocks, 1) if block(k) in heard]
    if EMBED not in heard or not running:
        raise ActivationError(f"{model.name}: its blocks did not run in a forward pass; this architecture is not supported")
    if silent := len(model.blocks) - len(running):
        logger.info("model %s: %d of its blocks do not run on text alone and are no layers", model.name, silent)
    if model.attention and len(attended) < len(heard):
        raise ConfigError(f"pooling attention_weighted: {model.name} has no attention weights; choose another pooling")
    states = list(heard.values())
    _require_reported(output.hidden_states or (), states, model.name)
    has_final_norm = not _equal(states[-1], states[-2])
    drift = _drift(model, tokens, output.last_hidden_state)
    logger.info(
        "model %s: %d blocks x %d, %s; layers agree with its own hidden states; padding moves them by %.1g, relative",
        *(model.name, len(running), states[-1].shape[-1], "final norm" if has_final_norm else "no final norm", drift),
    )
    return replace(model, blocks=nn.ModuleList(running), has_final_norm=has_final_norm, drift=drift)


def verify_likelihoods(model: LanguageModel, network: PreTrainedModel) -> None:
    """Check that the model reads left to right, and that the sliced head gives the likelihoods of the whole network."""
    tokens = _probes(model, [1])
    hidden = model.forward(tokens).last_hidden_state
    half, ids = tokens.ids.shape[1] // 2, tokens.ids.clone()
    ids[:, half:] = ids[:, :1]
    changed = model.forward(replace(tokens, ids=ids)).last_hidden_state
    # Half the digits: rounding may move a decoder by a few of the last (experts share batches), while what is to come
    # moves an encoder by more than half.
    if _relative(changed[:, :half], hidden[:, :half]) > torch.finfo(model.network.dtype).eps ** 0.5:
        raise ConfigError(f"extract.nll=true: {model.name} reads both ways, so the likelihood of a text is not defined")
    assert model.head is not None
    with torch.inference_mode():
        logits = network(input_ids=tokens.ids, attention_mask=tokens.mask.long()).logits.float()
        found, _ = model.head.nll(hidden, tokens)
    scored = ~tokens.special[0, 1:]
    expected = cross_entropy(logits[0, :-1][scored], tokens.ids[0, 1:][scored], reduction="sum")
    if _relative(found, expected) > _NLL_TOLERANCE:
        raise ActivationError(f"{model.name}: likelihoods {float(found):.4f}, by its own head {float(expected):.4f}; not supported")


def _probes(model: LanguageModel, which: Sequence[int]) -> Tokens:
    encodings = model.encoder.encode([_PROBES[i] for i in which])
    return collate(encodings, model.encoder.pad_id).to(model.device)


def _drift(model: LanguageModel, tokens: Tokens, together: Tensor) -> float:
    """Largest relative difference between a text's last hidden states in the padded batch and alone."""
    lengths = [int(n) for n in tokens.mask.sum(dim=1)]
    alone = [model.forward(_probes(model, [i])).last_hidden_state[0] for i in range(len(lengths))]
    return max(_relative(together[i, :n], alone[i]) for i, n in enumerate(lengths))


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def _require_reported(reported: Sequence[Tensor], heard: Sequence[Tensor], name: str) -> None:
    position = 0
    for i, state in enumerate(reported):
        matching = [j for j in range(position, len(heard)) if _equal(heard[j], state)]
        if not matching:
            raise ActivationError(f"{name}: hidden_states[{i}] is none of the layers heard; this architecture is not supported")
        position = matching[0]


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b.to(a.device))  # with device_map, layers lie on different devices
