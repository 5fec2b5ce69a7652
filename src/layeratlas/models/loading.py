"""The one place where checkpoints are read through transformers."""

import sys

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from layeratlas.errors import ConfigError
from layeratlas.models.base import AbstractModel, Source
from layeratlas.models.blocks import find_blocks, text_tower
from layeratlas.models.language_model import LanguageModel, verified
from layeratlas.models.tokenization import Encoder


def load_language_model(model: AbstractModel, source: Source, device: torch.device, max_length: int) -> LanguageModel:
    if not sys.stderr.isatty():
        disable_progress_bar()
    options = {"revision": source.commit, "trust_remote_code": model.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.location, **options)
        build = _pretrained if model.random_init is None else _random
        network = build(model, source.location, options)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"model {model.id}: {' '.join(str(error).split())}") from error
    if model.device_map is None or model.random_init is not None:
        network = network.to(device)  # type: ignore[arg-type]
    tower = text_tower(network.eval())
    tower.config.use_cache = False
    encoder = Encoder(tokenizer, chat_template=model.chat_template, max_length=max_length)
    return verified(LanguageModel(model.name, tower, _without(find_blocks(tower), model), encoder))


def _pretrained(model: AbstractModel, location: str, options: dict) -> PreTrainedModel:
    dtype = getattr(torch, model.dtype)
    return AutoModel.from_pretrained(location, dtype=dtype, device_map=model.device_map, **options)


def _random(model: AbstractModel, location: str, options: dict) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(location, **options)
    with torch.random.fork_rng():
        torch.manual_seed(model.random_init or 0)
        return AutoModel.from_config(config, dtype=getattr(torch, model.dtype))


def _without(blocks: nn.ModuleList, model: AbstractModel) -> nn.ModuleList:
    """Remove the skipped blocks from the network; those that stay are numbered anew."""
    if unknown := [k for k in model.skip_blocks if not 1 <= k <= len(blocks)]:
        raise ConfigError(f"model skip_blocks: {model.name} has blocks 1 to {len(blocks)}; got {unknown}")
    for k in sorted(set(model.skip_blocks), reverse=True):
        del blocks[k - 1]
    if not len(blocks):
        raise ConfigError(f"model skip_blocks: all {len(model.skip_blocks)} blocks of {model.name} are skipped")
    return blocks
