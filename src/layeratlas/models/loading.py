"""The one place where checkpoints are read through transformers."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from layeratlas.errors import ConfigError
from layeratlas.models.base import AbstractModel, Needs, Size, Source
from layeratlas.models.blocks import find_blocks, text_tower
from layeratlas.models.head import head_of
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import Encoder
from layeratlas.models.verification import verified, verify_likelihoods

_LONGEST = 200


def load_language_model(model: AbstractModel, source: Source, device: torch.device, needs: Needs) -> LanguageModel:
    set_verbosity_error()  # what transformers warns of at loading (weights of a head that is not wanted) is checked here anyway
    if not sys.stderr.isatty():
        disable_progress_bar()
    encoder = load_encoder(model, source, needs)
    with _explained(model):
        network = _network(model, source, device, needs)
    tower = text_tower(network.eval())
    tower.config.use_cache = False
    loaded = LanguageModel(
        name=model.name,
        network=tower,
        blocks=find_blocks(tower),
        encoder=encoder,
        attention=needs.attention,
    )
    loaded = verified(loaded)
    loaded = replace(loaded, blocks=_without(loaded.blocks, model))
    if needs.nll:
        loaded = replace(loaded, head=head_of(network))
        verify_likelihoods(loaded, network)
    return loaded


def reread(loaded: LanguageModel, model: AbstractModel, source: Source, needs: Needs) -> LanguageModel:
    """A loaded network, verified already, that reads its texts as another side wants them read."""
    return replace(loaded, name=model.name, encoder=load_encoder(model, source, needs))


def load_encoder(model: AbstractModel, source: Source, needs: Needs) -> Encoder:
    """The tokenizer with all that stands around a text, without any weights."""
    with _explained(model):
        tokenizer = AutoTokenizer.from_pretrained(source.location, **_origin(model, source))
    return Encoder(
        tokenizer,
        chat_template=model.chat_template,
        max_length=needs.max_length,
        prefix=model.prefix or "",
        language=needs.language,
    )


def measure(model: AbstractModel, source: Source) -> Size:
    """Build the network without weights and count."""
    with _explained(model), torch.device("meta"):
        config = AutoConfig.from_pretrained(source.location, **_origin(model, source))
        network = AutoModel.from_config(config, dtype=getattr(torch, model.dtype), trust_remote_code=model.trust_remote_code)
    blocks = find_blocks(text_tower(network))
    weights = sum(p.numel() for p in network.parameters())
    bits = {None: 8 * getattr(torch, model.dtype).itemsize, "8bit": 8, "4bit": 4}[model.quantization]
    return Size(
        bytes=weights * bits // 8,
        block_parameters=sum(p.numel() for p in blocks.parameters()),
        layers=len(blocks) + 2,
        width=config.get_text_config().hidden_size,
        vocabulary=config.get_text_config().vocab_size,
    )


@contextmanager
def _explained(model: AbstractModel) -> Iterator[None]:
    """What transformers says of checkpoints it cannot load, in one line; it can be thousands of words."""
    try:
        yield
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        told = " ".join(str(error).split())
        hint = "; trust_remote_code=true runs that code" if "trust_remote_code" in told else ""
        raise ConfigError(f"model {model.id}: {textwrap.shorten(told, _LONGEST, placeholder=' ..')}{hint}") from error


def _network(model: AbstractModel, source: Source, device: torch.device, needs: Needs) -> PreTrainedModel:
    auto = AutoModelForCausalLM if needs.nll or model.adapter else AutoModel
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype)}
    if needs.attention:
        options["attn_implementation"] = "eager"  # the fused kernels never hold attention weights
    if model.random_init is not None:
        config = AutoConfig.from_pretrained(source.location, **_origin(model, source))
        options["trust_remote_code"] = model.trust_remote_code
        return _random(auto, config, model.random_init, options).to(device)  # type: ignore[arg-type]
    if model.quantization:
        bits = BitsAndBytesConfig(load_in_8bit=model.quantization == "8bit", load_in_4bit=model.quantization == "4bit")
        options |= {"quantization_config": bits, "device_map": model.device_map or {"": device}}
    elif model.device_map:
        options["device_map"] = model.device_map
    # Safetensors or nothing: the older format is a pickle, which can run anything when it is read.
    network = auto.from_pretrained(source.location, use_safetensors=True, **options, **_origin(model, source))
    if model.adapter:
        network.load_adapter(model.adapter)
    return network if "device_map" in options else network.to(device)  # type: ignore[arg-type]


def _origin(model: AbstractModel, source: Source) -> dict[str, Any]:
    return {"revision": source.commit, "trust_remote_code": model.trust_remote_code}


def _random(auto: Any, config: PreTrainedConfig, seed: int, options: dict[str, Any]) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return auto.from_config(config, **options)


def _without(blocks: nn.ModuleList, model: AbstractModel) -> nn.ModuleList:
    """Short-circuit the skipped blocks; those that stay are numbered anew.

    Skipped blocks stay in their places, as networks choose attention masks and positions by a block's index.
    """
    if unknown := [k for k in model.skip_blocks if not 1 <= k <= len(blocks)]:
        raise ConfigError(f"model skip_blocks: {model.name} has blocks 1 to {len(blocks)}; got {unknown}")
    kept = [block for k, block in enumerate(blocks, 1) if k not in model.skip_blocks]
    if not kept:
        raise ConfigError(f"model skip_blocks: all {len(model.skip_blocks)} blocks of {model.name} are skipped")
    for k in set(model.skip_blocks):
        blocks[k - 1].register_forward_hook(_pass_on, with_kwargs=True)
    return nn.ModuleList(kept)


def _pass_on(block: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
    entered = args[0] if args else kwargs["hidden_states"]
    return entered if isinstance(output, Tensor) else (entered, *output[1:])
