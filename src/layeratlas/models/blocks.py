"""Where the layers of a Hugging Face network are, found by structure and not by name."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from layeratlas.errors import ConfigError

_SENSES = {"features": "audio", "values": "images or audio", "embeds": "vectors"}


def text_tower(network: PreTrainedModel) -> PreTrainedModel:
    """The part that reads text, headless: the encoder of an encoder-decoder, the text decoder of a multimodal model, else all."""
    part = network.get_encoder() if network.config.is_encoder_decoder else network.get_decoder()
    tower = part if isinstance(part, PreTrainedModel) else network
    while (inner := _without_head(tower)) is not tower:
        tower = inner
    if (read := str(tower.main_input_name)) != "input_ids":
        sense = next((sense for word, sense in _SENSES.items() if word in read), "something else")
        raise ConfigError(f"model: {type(network).__name__} reads {sense}, not text ({read}); choose a text model")
    return tower


def _without_head(tower: PreTrainedModel) -> PreTrainedModel:
    """The part of a network beneath its head, or the network itself if it has none."""
    if isinstance(tower.base_model, PreTrainedModel) and tower.base_model is not tower:
        return tower.base_model
    parts = [part for part in tower.children() if isinstance(part, PreTrainedModel)]
    return parts[0] if len(parts) == 1 and _embeds_words(parts[0]) else tower


def _embeds_words(network: PreTrainedModel) -> bool:
    return vocabulary(network) is not None


def find_blocks(tower: PreTrainedModel) -> nn.ModuleList:
    """The list of blocks: of all module lists as long as the config says, the one that holds the most parameters.

    Experts, attention heads and adapters also live in module lists, but inside one block each.
    """
    expected = getattr(tower.config.get_text_config(), "num_hidden_layers", None)
    lists = {name: m for name, m in tower.named_modules() if isinstance(m, nn.ModuleList)}
    fitting = [m for m in lists.values() if len(m) == expected]
    if not fitting:
        listed = ", ".join(f"{name} ({len(m)})" for name, m in lists.items()) or "none"
        raise ConfigError(
            f"model: {type(tower).__name__} has no list of {expected} blocks to listen to; its module lists are {listed}"
        )
    return max(fitting, key=lambda m: sum(p.numel() for p in m.parameters()))


def vocabulary(tower: PreTrainedModel) -> int | None:
    """The number of ids that the network has an embedding for, if it embeds ids by a table."""
    table = token_table(tower)
    return None if table is None else len(table)


def token_table(tower: PreTrainedModel) -> Tensor | None:
    """The embedding of each id, (vocabulary, width), if the network embeds ids by a table."""
    try:
        return getattr(tower.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):  # how transformers says that a network embeds no ids (speech, patches)
        return None
