"""Where the layers of a Hugging Face network are, found by structure and not by name."""

from torch import nn
from transformers import PreTrainedModel

from layeratlas.errors import ConfigError


def text_tower(network: PreTrainedModel) -> PreTrainedModel:
    """The part that reads text: the encoder of an encoder-decoder, the text decoder of a multimodal model, else all of it."""
    return network.get_encoder() if network.config.is_encoder_decoder else network.get_decoder()


def find_blocks(tower: PreTrainedModel) -> nn.ModuleList:
    """The list of blocks: of all module lists as long as the config says, the one that holds the most parameters.

    Experts, attention heads and adapters also live in module lists, but inside one block each.
    """
    expected = tower.config.get_text_config().num_hidden_layers
    lists = {name: m for name, m in tower.named_modules() if isinstance(m, nn.ModuleList)}
    fitting = [m for m in lists.values() if len(m) == expected]
    if not fitting:
        found = ", ".join(f"{name} ({len(m)})" for name, m in lists.items()) or "none"
        raise ConfigError(
            f"model: {type(tower).__name__} has no list of {expected} blocks to listen to; its module lists are {found}"
        )
    return max(fitting, key=lambda m: sum(p.numel() for p in m.parameters()))
