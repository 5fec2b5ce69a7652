"""What is found in a network: its table of token embeddings, if it has one."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, PreTrainedModel, ViTConfig, ViTModel, Wav2Vec2Config, Wav2Vec2Model

from layeratlas.models.blocks import token_table, vocabulary

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, conv_dim=(16,) * 7)), id="speech"),
        pytest.param(lambda: ViTModel(ViTConfig(**SMALL)), id="patches"),
    ],
)
def test_a_network_that_embeds_no_ids_has_no_vocabulary(network):
    tower: PreTrainedModel = network()
    assert token_table(tower) is None
    assert vocabulary(tower) is None


def test_the_vocabulary_is_as_large_as_the_table_of_embeddings():
    tower = LlamaModel(LlamaConfig(**SMALL, vocab_size=37))
    table = token_table(tower)
    assert table is not None
    assert torch.equal(table, tower.embed_tokens.weight)
    assert vocabulary(tower) == 37
