"""What is proved of a model when it is loaded, and what happens to those of which it cannot be."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from conftest import TEXTS, byte_tokenizer
from torch import Tensor
from transformers import PreTrainedModel, dynamic_module_utils

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint, Needs
from layeratlas.models.certificate import rounding
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import collate

CPU = torch.device("cpu")
TEXT = "Why do rivers bend, and who asked?"
IDS = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
SIZES = IDS | {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
ENCODER = SIZES | {"max_position_embeddings": 128, "type_vocab_size": 1}
SEQ2SEQ = IDS | {"vocab_size": 260, "d_model": 32, "num_heads": 4, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 2}
BART = {
    f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()
}
RWKV = IDS | {"vocab_size": 260, "hidden_size": 32, "attention_hidden_size": 32, "context_length": 128}
VISION = {"hidden_size": 16, "intermediate_size": 16, "image_size": 28, "patch_size": 14}

Tensors = dict[str, Tensor]


def network(family: str, kind: str = "Model", **sizes: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return getattr(transformers, f"{family}{kind}")(getattr(transformers, f"{family}Config")(**sizes))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Checkpoint]:
    """The model config of a network that is saved as a checkpoint, with a tokenizer of bytes."""

    def saved(made: PreTrainedModel, dtype: str = "float32") -> Checkpoint:
        made.save_pretrained(tmp_path / "saved")
        byte_tokenizer(bos=True).save_pretrained(tmp_path / "saved")
        return Checkpoint(id=str(tmp_path / "saved"), dtype=dtype)

    return saved


@pytest.fixture
def changed(checkpoint_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Checkpoint]:
    """A tiny checkpoint whose weights or config are not what they were."""

    def change(
        weights: Callable[[Tensors], Tensors] = lambda tensors: tensors, architecture: str = "llama", **settings: Any
    ) -> Checkpoint:
        folder = shutil.copytree(checkpoint_folder(architecture), tmp_path / "changed")
        file = folder / "model.safetensors"
        safetensors.torch.save_file(weights(safetensors.torch.load_file(file)), file, metadata={"format": "pt"})
        config = json.loads((folder / "config.json").read_text()) | settings
        (folder / "config.json").write_text(json.dumps(config))
        return Checkpoint(id=str(folder), dtype="float32")

    return change


def load(checkpoint: Checkpoint, max_length: int = 256, **needs: bool) -> LanguageModel:
    return checkpoint.load(Store(Path(checkpoint.id).parent / "store"), CPU, Needs(max_length, **needs))


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def heard(model: LanguageModel, texts: list[str]) -> Tensors:
    layers: Tensors = {}
    tokens = collate(model.encoder.encode(texts), model.encoder.pad_id)
    model.forward(tokens, lambda name, hidden, *rest: layers.__setitem__(name, hidden.clone()))
    return layers


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# --- weights ----------------------------------------------------------------------------------------------------------------


def test_blocks_under_another_name_are_refused_naming_three_and_those_that_are_not_used(changed):
    expected = (
        r"^model changed: 27 of its 29 weights are not in the checkpoint:"
        r" layers\.0\.input_layernorm\.weight, layers\.0\.mlp\.down_proj\.weight, layers\.0\.mlp\.gate_proj\.weight, \.\."
        r" .*The checkpoint has 28 that are not used: lm_head\.weight, transformer\.blocks\.0\.input_layernorm\.weight, .*$"
    )
    with pytest.raises(ConfigError, match=expected):
        load(changed(renamed("model.layers", "transformer.blocks")))


@pytest.mark.parametrize(
    "gone",
    ["layers.1.mlp.up_proj", "layers.2.", "layers.0.input_layernorm", "embed_tokens", "model.norm"],
    ids=["one matrix", "a block", "the norm of a block", "the embedding", "the final norm"],
)
def test_a_checkpoint_that_lacks_what_a_layer_needs_is_refused(changed, gone):
    with pytest.raises(
        ConfigError, match=rf"^model changed: \d+ of its 29 weights are not in the checkpoint: \S*{gone.removeprefix('model.')}"
    ):
        load(changed(without(gone)))


def test_a_prefix_that_nothing_expects_is_refused(changed):
    with pytest.raises(ConfigError, match=r"^model changed: \d+ of its 29 weights are not in the checkpoint"):
        load(changed(lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()}))


def test_weights_of_another_shape_are_refused_naming_both_shapes(changed):
    expected = (
        r"^model changed: 9 of its 29 weights have another shape in the checkpoint:"
        r" layers\.0\.mlp\.down_proj\.weight is 32 x 48 and not 32 x 64, .*config\.json"
    )
    with pytest.raises(ConfigError, match=expected):
        load(changed(intermediate_size=64))


def test_a_config_with_fewer_blocks_than_the_checkpoint_is_refused(changed):
    expected = (
        r"^model changed: the checkpoint has more than the 2 blocks that its config\.json names: \S*layers\.2\.input_layernorm"
    )
    with pytest.raises(ConfigError, match=expected):
        load(changed(num_hidden_layers=2))


def test_a_config_with_more_blocks_than_the_checkpoint_is_refused(changed):
    with pytest.raises(
        ConfigError, match=r"^model changed: 9 of its 38 weights are not in the checkpoint: layers\.3\.input_layernorm"
    ):
        load(changed(num_hidden_layers=4))


def test_what_code_of_the_checkpoint_asks_to_be_ignored_is_missed_all_the_same(changed, monkeypatch):
    monkeypatch.setattr(transformers.LlamaPreTrainedModel, "_keys_to_ignore_on_load_missing", [".*"])
    with pytest.raises(ConfigError, match=r"^model changed: 9 of its 29 weights are not in the checkpoint: layers\.2\."):
        load(changed(without("layers.2.")))


def test_a_pooler_may_be_missing_and_is_named(changed, caplog):
    with caplog.at_level(logging.INFO, "layeratlas"):
        model = load(changed(architecture="bert"))
    assert model.certificate.absent == ("pooler.dense.bias", "pooler.dense.weight")
    assert "all 55 weights are the checkpoint's but pooler.dense.bias, pooler.dense.weight, which no layer needs" in caplog.text


@pytest.mark.parametrize(("architecture", "head"), [("llama", "lm_head"), ("gpt_neox", "embed_out")])
def test_the_head_may_be_missing_unless_likelihoods_are_asked_for(changed, architecture, head):
    headless = changed(without(head), architecture)
    assert load(headless).certificate.absent == ()
    with pytest.raises(ConfigError, match=r"^model changed: 1 of its \d+ weights are not in the checkpoint: lm_head\.weight"):
        load(headless, nll=True)


def test_a_head_that_is_tied_to_the_embedding_is_not_missing(changed):
    assert load(changed(without("lm_head"), tie_word_embeddings=True), nll=True).head is not None


def test_an_embedding_that_is_stored_as_the_head_it_is_tied_to_is_not_missing(changed):
    def as_head(tensors: Tensors) -> Tensors:
        return without("embed_tokens")(tensors) | {"lm_head.weight": tensors["model.embed_tokens.weight"]}

    assert load(changed(as_head, tie_word_embeddings=True), nll=True).certificate.absent == ()


def test_tensors_of_a_block_that_the_network_has_no_place_for_are_told(changed, caplog):
    def biased(tensors: Tensors) -> Tensors:
        return tensors | {"model.layers.1.self_attn.q_proj.bias": torch.ones(32)}

    with caplog.at_level(logging.WARNING, "layeratlas"):
        model = load(changed(biased))
    assert [name.removeprefix("model.") for name in model.certificate.unused] == ["layers.1.self_attn.q_proj.bias"]
    assert "1 tensors of the checkpoint's blocks have no place in the network and are not used" in caplog.text


def test_random_weights_that_were_asked_for_need_no_checkpoint(changed):
    checkpoint = changed(renamed("model.layers", "transformer.blocks"))
    model = load(Checkpoint(id=checkpoint.id, dtype="float32", random_init=0))
    assert model.certificate.weights == "random"
    assert str(model.certificate).startswith("29 random weights, as asked for; ")


def test_weights_that_are_nan_are_refused_when_the_model_is_loaded(changed):
    def spoiled(tensors: Tensors) -> Tensors:
        return tensors | {"model.layers.1.mlp.down_proj.weight": torch.full((32, 48), torch.nan)}

    with pytest.raises(
        ConfigError, match=r"^model changed: block_2 is NaN or infinite on a short text in float32, as is its weight layers\.1\.mlp"
    ):
        load(changed(spoiled))


def test_a_model_that_overflows_in_float16_is_refused_naming_layer_and_dtype(changed):
    def large(tensors: Tensors) -> Tensors:
        return tensors | {"model.layers.1.post_attention_layernorm.weight": torch.full((32,), 6e4)}

    expected = (
        r"^model changed: block_2 is NaN or infinite on a short text in float16;"
        r" its numbers end at 65504: set dtype to bfloat16 or float32$"
    )
    checkpoint = changed(large)
    with pytest.raises(ConfigError, match=expected):
        load(replace(checkpoint, dtype="float16"))
    assert load(replace(checkpoint, dtype="bfloat16")).layers == load(checkpoint).layers


def test_an_index_that_names_a_shard_that_is_not_there_is_refused_in_one_line(changed):
    checkpoint = changed()
    folder = Path(checkpoint.id)
    names = list(safetensors.torch.load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    where = {name: f"model-0000{1 + ('layers.2' in name)}-of-00002.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    with pytest.raises(ConfigError, match=r"^model \S+changed: .*$") as raised:
        load(checkpoint)
    assert "\n" not in str(raised.value)


# --- padding ----------------------------------------------------------------------------------------------------------------

MASKLESS = """
import torch
from transformers import LlamaConfig, LlamaModel

class OwnConfig(LlamaConfig):
    model_type = "own_llama"

class OwnModel(LlamaModel):
    config_class = OwnConfig

    def forward(self, input_ids=None, attention_mask=None, **options):
        mask = torch.zeros(len(input_ids), 1, input_ids.shape[1], input_ids.shape[1])
        return super().forward(input_ids, attention_mask=mask, **options)
"""


@pytest.fixture
def maskless(checkpoint_folder, tmp_path, monkeypatch) -> Checkpoint:
    """A model whose own code drops the padding mask, and reads both ways."""
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "maskless")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_llama", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(MASKLESS)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Checkpoint(id=str(folder), dtype="float32", trust_remote_code=True)


def extracted(checkpoint: Checkpoint, folder: Path, batch_size: int = 8) -> Any:
    extractor = Extractor(Store(folder), {"mean": pooling.mean}, Batching(batch_size, 4096), CPU)
    return extractor(Side(checkpoint, TEXTS, 128), "mean", "all")


def test_a_model_that_ignores_the_mask_runs_each_text_alone_and_says_so(maskless, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "layeratlas.models.verification"):
        together = extracted(maskless, tmp_path / "together")
    alone = extracted(maskless, tmp_path / "alone", batch_size=1)
    for name, vectors in alone.activations.layers.items():
        assert_equal(together.activations.layers[name], vectors)
    certificate = together.record["certificate"]
    assert certificate["alone"]
    assert certificate["leak"] > 1e-2
    assert together.record["batch_size"] == 1
    assert "model maskless: padding moves its numbers beyond rounding, so each text runs alone" in caplog.text


MOBILE = ENCODER | {"embedding_size": 16, "intra_bottleneck_size": 16}


@pytest.mark.parametrize(("family", "sizes"), [("FNet", ENCODER), ("MobileBert", MOBILE)], ids=["all of them", "with the next one"])
def test_a_model_that_mixes_positions_without_a_mask_runs_each_text_alone(save, family, sizes):
    certificate = load(save(network(family, **sizes))).certificate
    assert certificate.alone
    assert certificate.leak > rounding("float32")


def test_a_model_whose_numbers_change_from_pass_to_pass_is_refused(save):
    sizes = {"attn_layers": ["local", "lsh"], "attention_head_size": 8, "feed_forward_size": 48, "num_buckets": 4}
    sizes |= {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 32], "max_position_embeddings": 256, "is_decoder": False}
    sizes |= {
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_attention_heads": 4,
        "hidden_size": 32,
        "vocab_size": 260,
    }
    expected = r"^model saved: this architecture \(ReformerModel\) is not supported: the same text gives other numbers each time$"
    with pytest.raises(ConfigError, match=expected):
        load(save(network("Reformer", **sizes)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert", "mamba"])
def test_a_model_that_honours_the_mask_shares_batches_in_every_dtype(checkpoint, architecture, dtype):
    certificate = load(checkpoint(architecture, dtype=dtype)).certificate
    assert not certificate.alone
    assert certificate.leak == 0
    assert certificate.drift <= rounding(dtype)


def test_the_probes_differ_in_length_even_where_both_are_cut(maskless):
    assert load(maskless, max_length=5).certificate.alone


def test_the_probes_are_longer_than_small_windows(save, monkeypatch):
    lengths: list[int] = []
    original = LanguageModel.forward

    def forward(self: LanguageModel, tokens: Any, *rest: Any, **options: Any) -> Any:
        lengths.append(tokens.ids.shape[1])
        return original(self, tokens, *rest, **options)

    monkeypatch.setattr(LanguageModel, "forward", forward)
    layer_types = ["sliding_attention", "full_attention", "sliding_attention"]
    sizes = SIZES | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 100, "layer_types": layer_types}
    assert not load(save(gemma(sizes))).certificate.alone
    assert max(lengths) > 100


def gemma(sizes: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**sizes, max_position_embeddings=512))


def test_states_of_padding_that_the_network_adds_itself_are_not_heard(save):
    torch.manual_seed(0)
    checkpoint = save(network("Longformer", **ENCODER | {"pad_token_id": 1, "attention_window": 16, "num_hidden_layers": 3}))
    model = load(checkpoint, max_length=64)
    expected = transformers.LongformerModel.from_pretrained(checkpoint.id)
    for text in TEXTS:
        tokens = collate(model.encoder.encode([text]), model.encoder.pad_id)
        with torch.inference_mode():
            states = expected(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True).hidden_states
        for layer, state in zip(["embed", "block_1", "block_2", "block_3"], states, strict=True):
            assert_equal(heard(model, [text])[layer], state)
    assert extracted(checkpoint, Path(checkpoint.id).parent / "store").activations.width == 32


# --- attention --------------------------------------------------------------------------------------------------------------


def test_the_position_bias_of_t5_is_not_taken_for_attention(save):
    checkpoint = save(network("T5", "ForConditionalGeneration", **SEQ2SEQ, decoder_start_token_id=258))
    model = load(checkpoint, attention=True)
    assert model.certificate.attention
    received: Tensors = {}
    tokens = collate(model.encoder.encode(TEXTS[:3]), model.encoder.pad_id)
    model.forward(tokens, lambda name, hidden, attention: received.__setitem__(name, attention))
    encoder = transformers.T5EncoderModel.from_pretrained(checkpoint.id, attn_implementation="eager")
    with torch.inference_mode():
        reported = encoder(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_attentions=True).attentions
    queries = tokens.mask.float() / tokens.mask.sum(dim=1, keepdim=True)
    for layer, weights in zip(["block_1", "block_2", "block_3"], reported, strict=True):
        torch.testing.assert_close(received[layer], torch.einsum("bq,bhqt->bt", queries, weights) / 4)
        torch.testing.assert_close(received[layer].sum(dim=1), torch.ones(3))
    assert_equal(received["embed"], received["block_1"])
    assert_equal(received["final_norm"], received["block_3"])


MIXED = {"attn_layer_offset": 1, "attn_layer_period": 2, "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 4}
DECODER = SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 512}


@pytest.mark.parametrize(
    ("family", "sizes", "reason"),
    [
        ("Jamba", DECODER | MIXED | {"use_mamba_kernels": False}, "has no attention weights in block_1"),
        ("GptOss", DECODER | {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}, "do not sum to 1"),
        (
            "Longformer",
            ENCODER | {"pad_token_id": 1, "attention_window": 16},
            "reports weights of shape|does not report|has no attention",
        ),
        ("Rwkv", RWKV | {"num_hidden_layers": 3}, "has no attention weights"),
    ],
    ids=["some blocks without", "sinks", "windows", "recurrent"],
)
def test_attention_that_is_no_distribution_over_the_tokens_cannot_be_pooled_by(save, family, sizes, reason):
    expected = rf"^pooling attention_weighted: saved .*({reason}).*; choose another pooling$"
    checkpoint = save(network(family, **sizes))
    with pytest.raises(ConfigError, match=expected):
        load(checkpoint, attention=True)
    assert load(checkpoint).certificate.attention is None


def test_skipped_blocks_leave_the_attention_of_the_others_where_it_was(checkpoint):
    whole, part = load(checkpoint("bert"), attention=True), load(checkpoint("bert", skip_blocks=[1]), attention=True)
    assert [source.module for source in part.ears.attention or ()] != []
    assert len(part.ears.attention or ()) == len(part.blocks) == len(whole.blocks) - 1


# --- positions --------------------------------------------------------------------------------------------------------------

ROPE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 260, "rotary_dim": 4} | IDS
OPT = IDS | {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "ffn_dim": 48, "num_attention_heads": 4}
TABLES = {
    "BERT": ("Bert", ENCODER, 128),
    "XLM-R, whose table begins behind the padding id": ("XLMRoberta", ENCODER | {"pad_token_id": 1}, 126),
    "OPT, whose table has two more": ("OPT", OPT | {"max_position_embeddings": 128, "word_embed_proj_dim": 32}, 128),
    "GPT-J, rotary by a table": ("GPTJ", ROPE, 128),
    "MPT, whose ALiBi has a length": (
        "Mpt",
        IDS | {"vocab_size": 260, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
        128,
    ),
    "BART, two tables": ("Bart", IDS | BART | {"vocab_size": 260, "d_model": 32, "max_position_embeddings": 128}, 128),
}


@pytest.mark.parametrize("name", TABLES)
def test_texts_are_cut_at_what_a_table_of_positions_holds(save, caplog, name):
    family, sizes, readable = TABLES[name]
    with caplog.at_level(logging.INFO, "layeratlas"):
        model = load(save(network(family, **sizes)), max_length=2048)
    assert (model.certificate.readable, model.certificate.max_length, model.encoder.max_length) == (readable,) * 3
    expected = (
        f"model saved: texts are cut at {readable} tokens, all that its table of positions reads, not at dataset.max_length=2048"
    )
    assert expected in caplog.messages
    states = heard(model, ["long " * 1000])
    assert states["block_1"].shape[1] == readable


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("Bloom", IDS | {"vocab_size": 260, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        ("Mamba", IDS | {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
        ("Rwkv", RWKV | {"num_hidden_layers": 2}),
    ],
)
def test_a_network_without_a_table_of_positions_reads_all_that_is_wanted(save, caplog, family, sizes):
    with caplog.at_level(logging.INFO, "layeratlas"):
        certificate = load(save(network(family, **sizes)), max_length=700).certificate
    assert (certificate.readable, certificate.max_length) == (None, 700)
    assert not any("table of positions" in message for message in caplog.messages)


def test_a_rotary_model_beyond_its_trained_positions_is_warned_about_and_not_cut(changed, caplog):
    with caplog.at_level(logging.WARNING, "layeratlas"):
        model = load(changed(max_position_embeddings=128), max_length=300)
    assert caplog.messages == ["model changed: texts of more than 128 tokens lie beyond the positions that it was trained with"]
    assert (model.certificate.max_length, model.certificate.trained) == (300, 128)


def limited(checkpoint: Checkpoint, tokens: int) -> Checkpoint:
    settings = Path(checkpoint.id) / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": tokens}))
    return checkpoint


def test_texts_are_cut_where_the_tokenizer_says(changed, caplog):
    with caplog.at_level(logging.INFO, "layeratlas"):
        model = load(limited(changed(), 40), max_length=64)
    assert model.certificate.max_length == model.encoder.max_length == 40
    assert (
        "model changed: texts are cut at 40 tokens, all that its tokenizer reads, not at dataset.max_length=64" in caplog.messages
    )


def test_a_shorter_cut_is_part_of_the_identity_and_one_that_changes_nothing_is_not(changed):
    free = changed()
    before = Side(free, TEXTS, 64).identity
    assert before["max_length"] == 64
    assert Side(limited(free, 80), TEXTS, 64).identity["max_length"] == 64
    assert Side(limited(free, 40), TEXTS, 64).identity["max_length"] == 40
    assert Side(limited(free, int(1e30)), TEXTS, 64).identity["max_length"] == 64


# --- ids --------------------------------------------------------------------------------------------------------------------


def test_a_padding_id_outside_the_embedding_is_harmless(changed, tmp_path):
    expected = load(changed())
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<{i}>" for i in range(4)]})
    tokenizer.pad_token = "<3>"
    tokenizer.save_pretrained(tmp_path / "changed")
    model = load(Checkpoint(id=str(tmp_path / "changed"), dtype="float32"))
    assert model.encoder.tokenizer.pad_token_id == 262
    tokens = collate(model.encoder.encode(TEXTS), model.encoder.pad_id)
    for name, states in heard(expected, TEXTS).items():
        assert_equal(heard(model, TEXTS)[name][tokens.mask], states[tokens.mask])


def test_a_token_outside_the_embedding_is_refused_and_named(changed, tmp_path):
    checkpoint = changed()
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.add_tokens(["harbour", "lamp"])
    tokenizer.add_tokens(["rivers"])
    tokenizer.save_pretrained(tmp_path / "changed")
    expected = (
        r"^model changed: its tokenizer makes the token 'rivers' \(id 261\) of the text 'Rain fell over the old harbour.*',"
        r" but its weights have only 260 ids; tokenizer and weights do not belong together$"
    )
    with pytest.raises(ConfigError, match=expected):
        load(Checkpoint(id=checkpoint.id, dtype="float32"))


@pytest.mark.parametrize("nll", [False, True])
def test_a_later_text_with_a_token_outside_the_embedding_is_refused_before_a_pass_over_it(changed, tmp_path, monkeypatch, nll):
    checkpoint = changed()
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.add_tokens(["lynx", "zebra"])
    tokenizer.save_pretrained(tmp_path / "changed")
    extractor = Extractor(Store(tmp_path / "store"), {"mean": pooling.mean}, Batching(8, 4096), CPU, nll=nll)
    ids: list[int] = []
    original = LanguageModel.forward

    def forward(self: LanguageModel, tokens: Any, *rest: Any, **options: Any) -> Any:
        ids.append(int(tokens.ids.max()))
        return original(self, tokens, *rest, **options)

    monkeypatch.setattr(LanguageModel, "forward", forward)
    expected = (
        r"^model changed: its tokenizer makes the token 'zebra' \(id 260\) of the text 'Every zebra has stripes', but .* 260 ids"
    )
    with pytest.raises(ConfigError, match=expected):
        extractor(Side(Checkpoint(id=checkpoint.id, dtype="float32"), [*TEXTS, "Every zebra has stripes"], 128), "mean", "all")
    assert max(ids) < 260


# --- architectures ----------------------------------------------------------------------------------------------------------


def test_of_several_streams_the_one_that_blocks_compute_is_heard(save):
    torch.manual_seed(0)
    sizes = SIZES | {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "sliding_window": 8, "laurel_rank": 4}
    sizes |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 260, "num_kv_shared_layers": 1, "altup_num_inputs": 3}
    sizes |= {"activation_sparsity_pattern": [0.0] * 3, "layer_types": ["sliding_attention", "full_attention", "full_attention"]}
    checkpoint = save(transformers.Gemma3nForCausalLM(transformers.Gemma3nTextConfig(**sizes)))
    model = load(checkpoint)
    assert (model.certificate.stream, model.certificate.width) == (0, 32)
    expected = transformers.Gemma3nForCausalLM.from_pretrained(checkpoint.id).model
    tokens = collate(model.encoder.encode([TEXT]), model.encoder.pad_id)
    with torch.inference_mode():
        output = expected(input_ids=tokens.ids, output_hidden_states=True)
    layers = heard(model, [TEXT])
    for name, streams in zip(["embed", "block_1", "block_2", "block_3"], output.hidden_states, strict=True):
        assert_equal(layers[name], streams[0])
    assert_equal(layers["final_norm"], output.last_hidden_state)


def test_a_text_decoder_that_brings_its_own_head_is_heard_beneath_it(save):
    text = DECODER | {"head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "num_experts_per_tok": 1}
    vision = VISION | {"num_hidden_layers": 2, "num_attention_heads": 2, "vision_output_dim": 16, "projector_input_dim": 16}
    config = transformers.Llama4Config(text_config=text, vision_config=vision | {"projector_output_dim": 16})
    torch.manual_seed(0)
    model = load(save(transformers.Llama4ForConditionalGeneration(config)))
    assert type(model.network).__name__ == "Llama4TextModel"
    assert model.layers == ["embed", "block_1", "block_2", "block_3", "final_norm"]


WHISPER = BART | {"vocab_size": 260, "d_model": 32, "num_mel_bins": 8, "max_source_positions": 32, "max_target_positions": 32} | IDS
WHISPER |= {"decoder_start_token_id": 256, "begin_suppress_tokens": None, "suppress_tokens": None}


@pytest.mark.parametrize("step", ["load", "size"])
@pytest.mark.parametrize(
    ("family", "sizes", "reason"),
    [
        ("Whisper", WHISPER, r"model: WhisperModel reads audio, not text \(input_features\)"),
        ("ViT", SIZES | {"image_size": 28, "patch_size": 14}, r"model: ViTModel reads images or audio, not text \(pixel_values\)"),
    ],
)
def test_a_model_that_does_not_read_text_is_refused_as_that(save, store, family, sizes, reason, step):
    checkpoint = save(network(family, **sizes))
    with pytest.raises(ConfigError, match=f"^{reason}; choose a text model$"):
        load(checkpoint) if step == "load" else checkpoint.size(store)


@pytest.mark.parametrize(
    ("family", "sizes", "reason"),
    [
        (
            "Nystromformer",
            ENCODER | {"num_landmarks": 8, "segment_means_seq_len": 16},
            "a forward pass over text fails with RuntimeError: ",
        ),
        ("Canine", ENCODER, r"embed has \d+ states for \d+ tokens"),
        (
            "XLNet",
            IDS | {"vocab_size": 260, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
            r"embed has 2 states for \d+ tokens",
        ),
    ],
)
def test_an_architecture_that_cannot_be_heard_is_refused_with_the_reason(save, family, sizes, reason):
    expected = rf"^model saved: this architecture \({family}Model\) is not supported: {reason}"
    with pytest.raises(ConfigError, match=expected) as raised:
        load(save(network(family, **sizes)))
    assert "\n" not in str(raised.value)


DEBERTA = ENCODER | {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
BETWEEN = {
    "a convolution": (
        "DebertaV2",
        DEBERTA | {"conv_kernel_size": 3, "conv_act": "gelu"},
        ["embed", "block_1", "block_2", "block_3"],
    ),
    "a rescaling": ("Rwkv", RWKV | {"num_hidden_layers": 8}, [f"block_{k}" for k in range(1, 9)] + ["final_norm"]),
    "a rescaling at the end": ("Rwkv", RWKV | {"num_hidden_layers": 6}, [f"block_{k}" for k in range(1, 7)] + ["final_norm"]),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_states_that_change_between_blocks_are_heard_as_they_are_reported(save, name):
    family, sizes, layers = BETWEEN[name]
    checkpoint = save(network(family, **sizes))
    model = load(checkpoint)
    assert model.certificate.heard_at == "next inputs"
    tokens = collate(model.encoder.encode([TEXT]), model.encoder.pad_id)
    expected = getattr(transformers, f"{family}Model").from_pretrained(checkpoint.id)
    with torch.inference_mode():
        states = expected(input_ids=tokens.ids, output_hidden_states=True).hidden_states
    for layer, state in zip(layers, states, strict=True):
        assert_equal(heard(model, [TEXT])[layer], state)


# --- the certificate itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
def test_every_model_that_is_loaded_is_certified_in_one_line(checkpoint, caplog, architecture):
    with caplog.at_level(logging.INFO, "layeratlas"):
        model = load(checkpoint(architecture), max_length=100)
    said = [message for message in caplog.messages if message.startswith(f"model tiny-{architecture}: all ")]
    assert said == [f"model tiny-{architecture}: {model.certificate}"]
    assert "\n" not in said[0]
    assert "3 blocks x 32 and " in said[0]
    assert said[0].endswith("texts are cut at 100 tokens")


def test_a_side_that_is_read_from_the_store_still_has_its_certificate(checkpoint, tmp_path, monkeypatch):
    first = extracted(checkpoint(), tmp_path / "store").record["certificate"]
    monkeypatch.setattr(Checkpoint, "load", lambda *args: pytest.fail("a model was loaded"))
    again = extracted(checkpoint(), tmp_path / "store").record["certificate"]
    assert again == first


def uncertified(monkeypatch: pytest.MonkeyPatch, drift: float) -> None:
    """Write what a shard says of itself as before models were certified."""
    original = Extractor._record

    def record(self: Extractor, *args: Any) -> dict[str, str]:
        said = json.loads(original(self, *args)["record"])
        del said["certificate"]
        return {"record": json.dumps(said | {"batch_drift": drift})}

    monkeypatch.setattr(Extractor, "_record", record)
    monkeypatch.setattr(Extractor, "_believed", lambda *args: True)


def test_vectors_from_before_certificates_are_read_where_they_are_right(checkpoint, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        uncertified(before, drift=3e-6)
        first = extracted(checkpoint(), tmp_path / "store")
    monkeypatch.setattr(Checkpoint, "load", lambda *args: pytest.fail("a model was loaded"))
    again = extracted(checkpoint(), tmp_path / "store")
    assert "certificate" not in again.record
    assert_equal(again.activations.layers["block_2"], first.activations.layers["block_2"])


@pytest.mark.parametrize(("name", "drift"), [("mean", 0.8), ("attention_weighted", 3e-6)])
def test_vectors_from_before_certificates_are_made_again_where_they_may_be_wrong(
    checkpoint, tmp_path, monkeypatch, caplog, name, drift
):
    def extract() -> Any:
        extractor = Extractor(Store(tmp_path / "store"), {name: getattr(pooling, name)}, Batching(8, 4096), CPU)
        return extractor(Side(checkpoint(), TEXTS, 128), name, "all")

    with monkeypatch.context() as before:
        uncertified(before, drift)
        extract()
    with caplog.at_level(logging.WARNING, "layeratlas"):
        assert extract().record["certificate"]["alone"] is False
    assert caplog.text.count("was made before models were certified, and may be wrong; it will be made again") == 1
