"""What is checked of every model when it is loaded, on two short texts, before hours are spent on it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel

from layeratlas.arrays import Tokens
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.layers import EMBED, all_layers, block
from layeratlas.models.attention import sources_of
from layeratlas.models.certificate import Certificate, overflow, rounding
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.listening import Ears
from layeratlas.models.tokenization import collate
from layeratlas.models.weights import Weights, refuse_absent, tensors_of

logger = logging.getLogger(__name__)

_PROBES = ["The cat sat on the mat.", "Rain fell over the old harbour all night, and by morning the streets were rivers."]
_NLL_TOLERANCE = 1e-2  # relative; slices of a bfloat16 head are rounded otherwise than the whole
_WINDOWS = ("window", "chunk", "local_attention", "block_size", "landmark")
_CHEAP = 128  # tokens
_LEAK = 64  # machine epsilons by which experts, who share batches, may move; elsewhere what lies under the mask moves nothing

Heard = dict[str, Tensor]
_ALL = Weights()


def verified(model: LanguageModel, weights: Weights = _ALL, *, attention: bool = False) -> LanguageModel:
    """Check that the model is fit to read, and that what is heard of it is what it reports of itself.

    Each entry of `output_hidden_states` must equal, bit for bit, one of the layers heard, in their order. Returns the model
    as observed: without blocks that do not run on text (cross-attention to images), knowing how its states, its final norm
    and, if asked for, its attention are heard, and certified. Raises ConfigError with the reason if it cannot be.
    """
    tokens = _probes(model, [0, 1])
    model, heard = _attuned(model, tokens)
    _require_needed(model, weights, heard, tokens)
    if attention:
        model = replace(model, ears=replace(model.ears, attention=sources_of(model, tokens)))
    certificate = _certified(model, weights, heard, tokens, attention=attention)
    logger.info("model %s: %s", model.name, certificate)
    if certificate.alone:
        logger.warning("model %s: padding moves its numbers beyond rounding, so each text runs alone (slower, exact)", model.name)
    return replace(model, certificate=certificate)


def verify_likelihoods(model: LanguageModel, network: PreTrainedModel) -> None:
    """Check that the model reads left to right, and that the sliced head gives the likelihoods of the whole network."""
    tokens = _probes(model, [1])
    hidden = model.forward(tokens).last_hidden_state
    half, ids = tokens.ids.shape[1] // 2, tokens.ids.clone()
    ids[:, half:] = ids[:, :1]
    changed = model.forward(replace(tokens, ids=ids)).last_hidden_state
    # Rounding may move a decoder by a few of the last digits (experts share batches), while what is to come moves an encoder
    # by more than half of them.
    if _relative(changed[:, :half], hidden[:, :half]) > _rounding(model):
        raise ConfigError(f"extract.nll=true: {model.name} reads both ways, so the likelihood of a text is not defined")
    assert model.head is not None
    with torch.inference_mode():
        logits = network(input_ids=tokens.ids, attention_mask=tokens.mask.long()).logits.float()
        actual, _ = model.head.nll(hidden, tokens)
    scored = ~tokens.special[0, 1:]
    expected = cross_entropy(logits[0, :-1][scored], tokens.ids[0, 1:][scored], reduction="sum")
    if _relative(actual, expected) > _NLL_TOLERANCE:
        raise ActivationError(
            f"{model.name}: likelihoods {float(actual):.4f}, by its own head {float(expected):.4f}; not supported"
        )


def _probes(model: LanguageModel, which: Sequence[int]) -> Tokens:
    """The probes as tokens, of different lengths wherever a text may have more than one; longer than small windows."""
    texts = [_PROBES[i] for i in which]
    encodings = model.encoder.encode(texts)
    longer = 1 + _window(model.network.config) // len(encodings[-1].ids)
    if longer > 1:
        texts[-1] = " ".join([texts[-1]] * (longer + 1))
        encodings[-1:] = model.encoder.encode(texts[-1:])
    model.require_known(texts, encodings)
    tokens = collate(encodings, model.encoder.pad_id).to(model.device)
    if len(which) > 1 and bool(tokens.mask.all()):  # both were cut at the same length
        tokens.mask[0, (tokens.mask.shape[1] + 1) // 2 :] = False
    return tokens


def _window(config: PreTrainedConfig) -> int:
    """The largest window, chunk or the like that the config names, of those that cost little to exceed."""
    named = {key: value for key, value in config.get_text_config().to_dict().items() if any(word in key for word in _WINDOWS)}
    sizes = [size for value in named.values() for size in (value if isinstance(value, list) else [value])]
    return max((size for size in sizes if isinstance(size, int) and size <= _CHEAP), default=0)


def _attuned(model: LanguageModel, tokens: Tokens) -> tuple[LanguageModel, Heard]:
    """The model with ears that hear what it reports, and its layers on the probes, without a final norm that is none."""
    fault = ""
    for ears in _ways_to_hear(model):
        listened = replace(model, ears=ears)
        heard, reported = _listen(listened, tokens, output_hidden_states=True)
        running = [b for k, b in enumerate(ears.blocks, 1) if block(k) in heard]
        if EMBED not in heard or not running:
            raise _unsupported(model, "its blocks did not run in a forward pass")
        _require_states(heard, tokens, model)
        if fault := _unlike(heard, reported, ears):
            continue
        if silent := len(ears.blocks) - len(running):
            logger.info("model %s: %d of its blocks do not run on text alone and are no layers", model.name, silent)
        states = list(heard.values())
        has_final_norm = not _equal(states[-1], states[-2])
        names = all_layers(len(running), final_norm=has_final_norm)
        observed = replace(listened, ears=replace(ears, blocks=nn.ModuleList(running)), has_final_norm=has_final_norm)
        return observed, dict(zip(names, states, strict=False))  # less a final norm that is none
    raise _unsupported(model, fault)


def _ways_to_hear(model: LanguageModel) -> list[Ears]:
    """As the model's own ears, then at what enters the next block."""
    stream = getattr(model.network.config.get_text_config(), "altup_active_idx", None)  # Gemma 3n: the stream that blocks compute
    own = replace(model.ears, stream=stream)
    return [own, replace(own, at_inputs=True)]


def _listen(model: LanguageModel, tokens: Tokens, **options: bool) -> tuple[Heard, Sequence[Any]]:
    """The layers heard in one pass, final norm included, and the hidden states that the network reports if asked to."""
    heard: Heard = {}
    try:
        output = model.forward(tokens, hear=lambda name, hidden, attention: heard.__setitem__(name, hidden.clone()), **options)
        return heard, getattr(output, "hidden_states", None) or ()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ConfigError(f"model {model.name}: two short texts do not fit into memory with it; choose a smaller dtype") from error
    except (ConfigError, ActivationError):
        raise
    except Exception as error:  # what strange architectures raise when they are given text has no end
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise _unsupported(model, f"a forward pass over text fails with {type(error).__name__}: {reason}") from error


def _require_states(heard: Heard, tokens: Tokens, model: LanguageModel) -> None:
    """Each layer has one vector for each token, and no number in it is NaN or infinite."""
    for name, states in heard.items():
        if states.ndim != 3:
            raise _unsupported(model, f"{name} has several parallel streams, of shape {tuple(states.shape)}")
        if states.shape[:2] != tokens.ids.shape:
            raise _unsupported(model, f"{name} has {states.shape[1]} states for {tokens.ids.shape[1]} tokens")
        if not bool(states[tokens.mask.to(states.device)].isfinite().all()):
            raise _not_finite(model, name)


def _not_finite(model: LanguageModel, layer: str) -> ConfigError:
    weights = ((name, weight) for name, weight in model.network.named_parameters() if not weight.is_meta)
    spoilt = next((name for name, weight in weights if not bool(weight.isfinite().all())), None)
    of_weights = f", as is its weight {spoilt}" if spoilt else ""
    fault = f"model {model.name}: {layer} is NaN or infinite on a short text in {model.dtype}{of_weights}"
    return ConfigError(f"{fault}; {overflow(model.dtype)}")


def _unlike(heard: Heard, reported: Sequence[Any], ears: Ears) -> str:
    """Which reported hidden state is none of the layers heard, or nothing."""
    states, position = list(heard.values()), 0
    for i, output in enumerate(reported):
        state = output if isinstance(output, Tensor) else output[0]
        if ears.stream is not None and state.ndim > 3:
            state = state[ears.stream]
        state = state[:, : states[0].shape[1]]
        matching = [j for j in range(position, len(states)) if _equal(states[j], state)]
        if not matching:
            return f"hidden_states[{i}] is none of the layers heard"
        position = matching[0]
    return ""


def _require_needed(model: LanguageModel, weights: Weights, heard: Heard, tokens: Tokens) -> None:
    """Refuse absent weights outside the blocks if a layer changes with them; a pooler, say, moves none."""
    tensors = tensors_of(model.network)
    absent = [name for name in sorted(weights.absent) if name in tensors and tensors[name].is_floating_point()]
    if not absent:
        return
    with torch.no_grad():
        for name in absent:
            tensors[name].fill_(torch.nan)
        without, _ = _listen(model, tokens)
        for name in absent:
            tensors[name].zero_()
    if any(not torch.equal(without[name], states) for name, states in heard.items()):
        refuse_absent(weights, absent, model.network, model.name)


def _certified(model: LanguageModel, weights: Weights, heard: Heard, tokens: Tokens, *, attention: bool) -> Certificate:
    drift_tolerance = _rounding(model)
    leak_tolerance = min((_LEAK if _has_experts(model) else 1) * _epsilon(model), drift_tolerance)
    leak, drift = _leak(model, heard, tokens), _drift(model, heard, tokens)
    alone = not (leak <= leak_tolerance and drift <= drift_tolerance)  # NaN is beyond any
    if alone and _unrest(model, tokens) > drift_tolerance:
        raise _unsupported(model, "the same text gives other numbers each time")
    return replace(
        model.certificate,
        weights="random" if weights.random else "checkpoint",
        tensors=len(tensors_of(model.network)),
        absent=tuple(sorted(weights.absent)),
        unused=tuple(weights.unused),
        blocks=len(model.blocks),
        width=heard[EMBED].shape[-1],
        final_norm=model.has_final_norm,
        heard_at="next inputs" if model.ears.at_inputs else "block outputs",
        stream=model.ears.stream,
        leak=leak,
        leak_tolerance=leak_tolerance,
        drift=drift,
        drift_tolerance=drift_tolerance,
        alone=alone,
        attention=True if attention else None,
    )


def _has_experts(model: LanguageModel) -> bool:
    return any("expert" in name for name, _ in model.network.named_modules())


def _leak(model: LanguageModel, heard: Heard, tokens: Tokens) -> float:
    """How far other ids under the mask move the states of real tokens."""
    other = tokens.ids.masked_fill(~tokens.mask, 0).amax(dim=1, keepdim=True)  # a word of the text itself
    others = torch.where(tokens.mask, tokens.ids, other)
    changed, _ = _listen(model, replace(tokens, ids=others))
    return _largest([_farthest(changed[name], states, tokens.mask) for name, states in heard.items()])


def _drift(model: LanguageModel, heard: Heard, tokens: Tokens) -> float:
    """How far a text's states in the padded batch are from those that it has alone."""
    differences = []
    for i, n in enumerate(tokens.mask.sum(dim=1).tolist()):
        one = tokens.only(i, n)
        alone, _ = _listen(model, one)
        differences += [_farthest(states[i : i + 1, :n], alone[name], one.mask) for name, states in heard.items()]
    return _largest(differences)


def _unrest(model: LanguageModel, tokens: Tokens) -> float:
    """How far the states of the longest text, alone, are from those of the same text in another pass."""
    one = tokens.only(int(tokens.mask.sum(dim=1).argmax()), tokens.mask.shape[1])
    (first, _), (second, _) = _listen(model, one), _listen(model, one)
    return _largest([_farthest(second[name], states, one.mask) for name, states in first.items()])


def _farthest(actual: Tensor, expected: Tensor, mask: Tensor) -> Tensor:
    """The largest difference of a real token's states, relative to its own length."""
    real = mask.to(actual.device)
    difference = (actual[real].float() - expected[real].float()).norm(dim=1)
    return torch.where(difference == 0, 0.0, difference / expected[real].float().norm(dim=1)).max().cpu()


def _largest(values: Sequence[Tensor]) -> float:
    return float(torch.stack(list(values)).max())  # NaN if one is


def _relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual.float() - expected.float()).norm() / expected.float().norm())


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b.to(a.device))  # with device_map, layers lie on different devices


def _epsilon(model: LanguageModel) -> float:
    return torch.finfo(model.network.dtype).eps


def _rounding(model: LanguageModel) -> float:
    return rounding(model.dtype)


def _unsupported(model: LanguageModel, reason: str) -> ConfigError:
    return ConfigError(f"model {model.name}: this architecture ({type(model.network).__name__}) is not supported: {reason}")
