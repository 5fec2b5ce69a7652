"""A tiny transformer in which one direction of the residual stream says which language comes next, written by one known block.

Its languages are the letters a to h and i to p. An embedding holds a constant, a feature of the letter's language, and what tells
letters apart. Block 2 copies the feature onto the planted direction, which is all that the head reads: with it the next letter is
one of 8, without it one of 16. Block 3 adds next to nothing, and blocks 1 and 4 move what nobody reads.
"""

from pathlib import Path

import numpy as np
import torch
from conftest import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

WIDTH, BLOCKS, WRITES, REDUNDANT = 32, 4, 2, 3
CONSTANT, FEATURE, PLANTED, LETTERS = 0, 1, 2, slice(3, WIDTH)  # dimensions of the residual stream
LANGUAGES = {"en": "abcdefgh", "de": "ijklmnop"}
_NEGLIGIBLE = 1e-5


def save_planted(folder: Path) -> Path:
    config = LlamaConfig(
        **{"vocab_size": 260, "hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 512, "tie_word_embeddings": False},
        **{"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258},
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        _embed(model)
        for k, block in enumerate(model.model.layers, 1):
            _quiet(block, _NEGLIGIBLE if k == REDUNDANT else 0.3)
        _write(model.model.layers[WRITES - 1])
        _read(model)
    model.save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


def _embed(model: LlamaForCausalLM) -> None:
    table = model.model.embed_tokens.weight.zero_()
    table[:, CONSTANT] = 4.0
    drawn = torch.randn(len(table), WIDTH - LETTERS.start)
    table[:, LETTERS] = 3 * drawn / drawn.norm(dim=1, keepdim=True)
    for sign, letters in zip((1.0, -1.0), LANGUAGES.values(), strict=True):
        ids = _ids(letters)
        table[ids, FEATURE] = sign
        table[ids[4:], LETTERS] = -table[ids[:4], LETTERS]  # the languages' means differ in the feature alone


def _quiet(block: torch.nn.Module, size: float) -> None:
    """What a block adds goes into the letters' dimensions alone, which the head does not read."""
    for weight in (block.self_attn.o_proj.weight, block.mlp.down_proj.weight):
        weight[: LETTERS.start] = 0
        weight[LETTERS] *= size


def _write(block: torch.nn.Module) -> None:
    """planted += c silu(constant) feature: the first hidden unit's gate is open for every letter."""
    gate, up, down = block.mlp.gate_proj.weight, block.mlp.up_proj.weight, block.mlp.down_proj.weight
    gate[0], up[0] = 0, 0
    gate[0, CONSTANT], up[0, FEATURE] = 1.0, 1.0
    down[:, 0] = 0
    down[PLANTED, 0] = 0.5


def _read(model: LlamaForCausalLM) -> None:
    head = model.lm_head.weight.zero_()
    head[:, CONSTANT] = -5.0
    for sign, letters in zip((1.0, -1.0), LANGUAGES.values(), strict=True):
        head[_ids(letters), CONSTANT] = 5.0
        head[_ids(letters), PLANTED] = 5.0 * sign


def _ids(letters: str) -> list[int]:
    """Their tokens: the byte tokenizer numbers the printable letters in their order."""
    tokenizer = byte_tokenizer(bos=True)
    return [tokenizer.convert_tokens_to_ids(letter) for letter in letters]


def items(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows of a wide file: words of 12 letters at random in both languages."""
    rng = np.random.default_rng(seed)
    words = {code: ["".join(rng.choice(list(letters), 12)) for _ in range(n)] for code, letters in LANGUAGES.items()}
    return [{"id": f"s{seed}i{i}", "en": words["en"][i], "de": words["de"][i], "group": f"g{i % 2}"} for i in range(n)]
