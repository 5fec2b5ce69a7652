"""The one place where checkpoints are read through transformers."""

import logging
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
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from layeratlas.errors import ConfigError
from layeratlas.models.blocks import find_blocks, text_tower, token_table, vocabulary
from layeratlas.models.certificate import Certificate
from layeratlas.models.editing import read_editing
from layeratlas.models.head import Head, head_of
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.listening import Ears
from layeratlas.models.positions import network_limit, tokenizer_limit, trained_positions
from layeratlas.models.settings import Needs, Settings, Size, Source
from layeratlas.models.tokenization import Encoder
from layeratlas.models.verification import verified, verify_likelihoods
from layeratlas.models.weights import (
    Weights,
    listed,
    part_of,
    passed,
    path_of,
    refuse_absent,
    require_adapter,
    require_blocks,
    unused_in,
)

logger = logging.getLogger(__name__)

_LONGEST = 200


def load_language_model(model: Settings, source: Source, device: torch.device, needs: Needs) -> LanguageModel:
    set_verbosity_error()  # what transformers warns of at loading (weights that are missing, or not wanted) is checked here
    if not sys.stderr.isatty():
        disable_progress_bar()
    encoder = load_encoder(model, source, needs)
    with _explained(model):
        network, weights = _network(model, source, device, needs)
    tower = text_tower(network.eval())
    tower.config.use_cache = False
    blocks = find_blocks(tower)
    heard = part_of(weights, network, tower)
    require_blocks(heard, tower, blocks, model.name)
    heard = replace(heard, unused=unused_in(heard, tower, blocks))
    if heard.unused:
        message = "model %s: %d tensors of the checkpoint's blocks have no place in the network and are not used (%s)"
        logger.warning(message, model.name, len(heard.unused), listed(heard.unused))
    head = head_of(network) if needs.nll else None
    encoder, certificate = _fitted(encoder, tower, blocks[0], head, needs.max_length, model.name)
    loaded = LanguageModel(model.name, tower, Ears(blocks), encoder, head, certificate=certificate)
    loaded = verified(loaded, heard, attention=needs.attention)
    loaded = replace(loaded, ears=_without(loaded.ears, model))
    if head:
        _require_head(weights, network, model.name)
        verify_likelihoods(loaded, network)
    return edited(loaded, model)


def reread(loaded: LanguageModel, model: Settings, source: Source, needs: Needs) -> LanguageModel:
    """A loaded network, verified already, that reads its texts as another side wants them read."""
    encoder = load_encoder(model, source, needs)
    encoder, reads = _fitted(encoder, loaded.network, loaded.blocks[0], loaded.head, needs.max_length, model.name)
    certificate = replace(loaded.certificate, readable=reads.readable, trained=reads.trained, max_length=reads.max_length)
    return edited(replace(loaded, encoder=encoder, certificate=certificate), model)


def edited(loaded: LanguageModel, model: Settings) -> LanguageModel:
    """With the edits that the config asks for; layers are numbered as they are heard, without skipped blocks."""
    loaded = replace(loaded, name=model.name)
    if model.edit is None:
        return replace(loaded, editing=None)
    if loaded.ears.at_inputs or loaded.ears.stream is not None:
        raise ConfigError(f"model edit: {model.name} changes its states between blocks, so what a block returns is not edited")
    width = loaded.network.config.get_text_config().hidden_size
    editing = read_editing(model.edit, model.edit_blocks, model.edit_positions, model.name, len(loaded.blocks), width)
    return replace(loaded, editing=editing)


def load_encoder(model: Settings, source: Source, needs: Needs) -> Encoder:
    """The tokenizer with all that stands around a text, without any weights."""
    with _explained(model):
        tokenizer = AutoTokenizer.from_pretrained(source.location, **_origin(model, source))
    return Encoder(
        tokenizer,
        chat_template=model.chat_template,
        generation_prompt=model.generation_prompt,
        max_length=min(needs.max_length, tokenizer_limit(tokenizer) or needs.max_length),
        prefix=model.prefix or "",
        language=needs.language,
    )


def _fitted(
    encoder: Encoder, tower: PreTrainedModel, first_block: nn.Module, head: Head | None, wanted: int, name: str
) -> tuple[Encoder, Certificate]:
    """The encoder cut to what the network reads, and, in a certificate, where that is."""
    certificate = _readable(tower, first_block, encoder.tokenizer, wanted, name)
    tables = [rows for rows in (vocabulary(tower), head.vocabulary if head else None) if rows is not None]
    return encoder.fitted(max_length=certificate.max_length, vocabulary=min(tables, default=None)), certificate


def _readable(
    tower: PreTrainedModel, first_block: nn.Module, tokenizer: PreTrainedTokenizerBase, wanted: int, name: str
) -> Certificate:
    """Where texts are cut: at the length that is wanted, or what network and tokenizer read if that is less."""
    limits = {"table of positions": network_limit(tower, first_block, wanted), "tokenizer": tokenizer_limit(tokenizer)}
    met = {what: limit for what, limit in limits.items() if limit is not None}
    what = min(met, key=lambda which: met[which], default=None)
    trained = trained_positions(tower.config)
    cut = min([wanted, *met.values()])
    if what and cut < wanted:
        message = "model %s: texts are cut at %d tokens, all that its %s reads, not at dataset.max_length=%d"
        logger.info(message, name, cut, what, wanted)
    elif trained and cut > trained:
        logger.warning("model %s: texts of more than %d tokens lie beyond the positions that it was trained with", name, trained)
    return Certificate(readable=met[what] if what else None, trained=trained, max_length=cut)


def measure(model: Settings, source: Source) -> Size:
    """Build the network without weights and count."""
    with _explained(model), torch.device("meta"):
        config = AutoConfig.from_pretrained(source.location, **_origin(model, source))
        in_place = _as_it_lies(model, config)  # before the network is built, which notes its own dtype in the config
        network = AutoModel.from_config(config, dtype=getattr(torch, model.dtype), trust_remote_code=model.trust_remote_code)
    blocks = find_blocks(text_tower(network))
    weights = sum(p.numel() for p in network.parameters())
    bits = {None: 8 * getattr(torch, model.dtype).itemsize, "8bit": 8, "4bit": 4}[model.quantization]
    table = token_table(text_tower(network))
    return Size(
        bytes=weights * bits // 8,
        block_parameters=sum(p.numel() for p in blocks.parameters()),
        layers=len(blocks) + 2,
        width=config.get_text_config().hidden_size,
        vocabulary=config.get_text_config().vocab_size,
        left_in_file=table.nbytes if table is not None and in_place else 0,
    )


def _as_it_lies(model: Settings, config: PreTrainedConfig) -> bool:
    """Whether the weights stay memory-mapped on a CPU: nothing converts, draws or changes them."""
    stored = config.get_text_config().dtype or config.dtype
    return stored == getattr(torch, model.dtype) and not (model.quantization or model.adapter or model.random_init is not None)


@contextmanager
def _explained(model: Settings) -> Iterator[None]:
    """What transformers says of checkpoints it cannot load, in one line; it can be thousands of words."""
    try:
        yield
    except ConfigError:  # it explains itself
        raise
    except (OSError, ValueError, ImportError, SafetensorError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        cause = " ".join(str(error).split())
        hint = "; trust_remote_code=true runs that code" if "trust_remote_code" in cause else ""
        raise ConfigError(f"model {model.id}: {textwrap.shorten(cause, _LONGEST, placeholder=' ..')}{hint}") from error


def _network(model: Settings, source: Source, device: torch.device, needs: Needs) -> tuple[PreTrainedModel, Weights]:
    """The network on its device, and what of the checkpoint has not arrived in it."""
    auto: Any = AutoModelForCausalLM if needs.nll or model.adapter else AutoModel
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype)}
    if needs.attention:
        options["attn_implementation"] = "eager"  # the fused kernels never hold attention weights
    if model.random_init is not None:
        config = AutoConfig.from_pretrained(source.location, **_origin(model, source))
        options["trust_remote_code"] = model.trust_remote_code
        return _random(auto, config, model.random_init, options).to(device), Weights(random=True)  # type: ignore[arg-type]
    if model.quantization:
        bits = BitsAndBytesConfig(load_in_8bit=model.quantization == "8bit", load_in_4bit=model.quantization == "4bit")
        options |= {"quantization_config": bits, "device_map": model.device_map or {"": device}}
    elif model.device_map:
        options["device_map"] = model.device_map
    # Safetensors or nothing: the older format is a pickle, which can run anything when it is read.
    wanted = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}  # to say which do not fit
    network, loading_info = auto.from_pretrained(source.location, **wanted, **options, **_origin(model, source))
    weights = passed(network, loading_info)
    if model.adapter:
        require_adapter(network.load_adapter(model.adapter, ignore_mismatched_sizes=True), model.adapter, model.name)
    return network if "device_map" in options else network.to(device), weights


def _require_head(weights: Weights, network: PreTrainedModel, name: str) -> None:
    path = path_of(network, network.get_output_embeddings())  # type: ignore[arg-type]
    refuse_absent(weights, [absent for absent in weights.absent if absent.startswith(path)], network, name)


def _origin(model: Settings, source: Source) -> dict[str, Any]:
    return {"revision": source.commit, "trust_remote_code": model.trust_remote_code}


def _random(auto: Any, config: PreTrainedConfig, seed: int, options: dict[str, Any]) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return auto.from_config(config, **options)


def _without(ears: Ears, model: Settings) -> Ears:
    """Short-circuit the skipped blocks; those that stay are numbered anew.

    Skipped blocks stay in their places, as networks choose attention masks and positions by a block's index.
    """
    blocks = ears.blocks
    if unknown := [k for k in model.skip_blocks if not 1 <= k <= len(blocks)]:
        raise ConfigError(f"model skip_blocks: {model.name} has blocks 1 to {len(blocks)}; got {unknown}")
    kept = [k for k in range(len(blocks)) if k + 1 not in model.skip_blocks]
    if not kept:
        raise ConfigError(f"model skip_blocks: all {len(model.skip_blocks)} blocks of {model.name} are skipped")
    for k in set(model.skip_blocks):
        blocks[k - 1].register_forward_hook(_pass_on, with_kwargs=True)
    attention = None if ears.attention is None else [ears.attention[k] for k in kept]
    return replace(ears, blocks=nn.ModuleList(blocks[k] for k in kept), attention=attention)


def _pass_on(block: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
    entered = args[0] if args else kwargs["hidden_states"]
    return entered if isinstance(output, Tensor) else (entered, *output[1:])
