import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
import safetensors.torch
import torch
import transformers
from conftest import ARCHITECTURES, SIZES, byte_tokenizer
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError
from huggingface_hub.utils import filter_repo_objects
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, LlamaConfig, PreTrainedModel, dynamic_module_utils

from layeratlas.errors import ConfigError
from layeratlas.models import BundledCheckpoint, Checkpoint, Needs, pick_device
from layeratlas.models.blocks import find_blocks
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.listening import Ears
from layeratlas.models.tokenization import collate
from layeratlas.models.verification import verified

CPU = torch.device("cpu")
TEXT = "Why do rivers bend, and who asked?"
FINAL_NORMS = {"llama": "norm", "gpt2": "ln_f", "gpt_neox": "final_layer_norm", "mamba": "norm_f"}
# what transformers calls hidden states, where that is not embed, all blocks but the last, and the final norm
REPORTED = {"bert": ["embed", "block_1", "block_2", "block_3"], "mamba": ["block_1", "block_2", "block_3", "final_norm"]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"

SPECIAL_IDS = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
DECODER = SPECIAL_IDS | {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
GEMMA = DECODER | {"num_hidden_layers": 3, "head_dim": 8, "sliding_window": 8}
VISION = {"hidden_size": 16, "intermediate_size": 16, "image_size": 28, "patch_size": 14}


def tiny_t5() -> PreTrainedModel:
    sizes = {"vocab_size": 260, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, **SPECIAL_IDS, decoder_start_token_id=258))


def tiny_mixtral() -> PreTrainedModel:
    experts = {"num_hidden_layers": 3, "num_local_experts": 4, "num_experts_per_tok": 2}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**experts, **DECODER))


def tiny_gemma(layer_types: list[str]) -> PreTrainedModel:
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**GEMMA, layer_types=layer_types))


def tiny_multimodal_gemma() -> PreTrainedModel:
    vision = VISION | {"num_hidden_layers": 3, "num_attention_heads": 2}
    text = GEMMA | {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return transformers.Gemma3ForConditionalGeneration(config)


def tiny_mllama() -> PreTrainedModel:
    vision = VISION | {"num_hidden_layers": 2, "num_global_layers": 2, "attention_heads": 2, "vision_output_dim": 32}
    vision |= {"intermediate_layers_indices": [0], "max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]]}
    text = DECODER | {"num_hidden_layers": 5, "cross_attention_layers": [1, 3]}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    return transformers.MllamaForConditionalGeneration(transformers.MllamaConfig(text_config=text, vision_config=vision))


@pytest.fixture
def save(tmp_path: Path) -> Callable[[PreTrainedModel], Checkpoint]:
    """The model config of a network that is saved as a checkpoint in a folder of its own."""

    def saved(network: PreTrainedModel) -> Checkpoint:
        folder = tmp_path / "saved"
        network.save_pretrained(folder)
        byte_tokenizer(bos=True).save_pretrained(folder)
        return Checkpoint(id=str(folder), dtype="float32")

    return saved


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def cached(hub_cache: Path, checkpoint_folder: Callable[[str], Path]) -> str:
    """A hub id whose files are in the hub's cache on this machine."""
    repository = hub_cache / "models--acme--tiny"
    shutil.copytree(checkpoint_folder("llama"), repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return "acme/tiny"


def heard(model: LanguageModel, text: str) -> dict[str, Tensor]:
    layers: dict[str, Tensor] = {}
    tokens = collate(model.encoder.encode([text]), model.encoder.pad_id)
    model.forward(tokens, lambda name, hidden, *rest: layers.__setitem__(name, hidden.clone()))
    return layers


def reported(folder: Path | str, text: str):
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder, dtype=torch.float32)(**tokens, output_hidden_states=True)


def weights(model: LanguageModel) -> Tensor:
    return torch.cat([p.flatten() for p in model.network.parameters()])


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_and_names_its_layers(load, architecture):
    model = load(architecture)
    blocks = ["embed", "block_1", "block_2", "block_3"]
    assert model.layers == blocks + ([] if architecture == "bert" else ["final_norm"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_the_hidden_states_that_transformers_reports(load, checkpoint_folder, architecture):
    layers = heard(load(architecture), TEXT)
    expected = reported(checkpoint_folder(architecture), TEXT)
    names = REPORTED.get(architecture, ["embed", "block_1", "block_2", "final_norm"])
    for name, states in zip(names, expected.hidden_states, strict=True):
        assert_equal(layers[name], states)
    assert_equal(layers[names[-1]], expected.last_hidden_state)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "mamba"])
def test_embed_is_what_the_embedding_table_says(load, architecture):
    model = load(architecture)
    ids = torch.tensor([model.encoder.encode([TEXT])[0].ids])
    with torch.inference_mode():
        assert_equal(heard(model, TEXT)["embed"], model.network.get_input_embeddings()(ids))


@pytest.mark.parametrize("architecture", FINAL_NORMS)
def test_the_last_block_is_heard_before_the_final_norm(load, architecture):
    model = load(architecture)
    assert model.has_final_norm
    layers = heard(model, TEXT)
    with torch.inference_mode():
        normed = getattr(model.network, FINAL_NORMS[architecture])(layers["block_3"])
    assert_equal(normed, layers["final_norm"])
    assert not torch.equal(layers["block_3"], layers["final_norm"])


def test_bert_has_no_final_norm(load):
    model = load("bert")
    assert not model.has_final_norm
    assert "final_norm" not in heard(model, TEXT)


def test_listening_leaves_no_hook_behind_even_if_the_listener_raises(load):
    model = load("llama")
    tokens = collate(model.encoder.encode([TEXT]), model.encoder.pad_id)

    def hooks() -> list[tuple[int, int]]:
        return [(len(block._forward_pre_hooks), len(block._forward_hooks)) for block in model.blocks]

    before = hooks()
    with pytest.raises(ZeroDivisionError):
        model.forward(tokens, lambda *heard: 1 / 0)
    assert hooks() == before


def test_an_encoder_decoder_is_read_by_its_encoder(save, store):
    checkpoint = save(tiny_t5())
    model = checkpoint.load(store, CPU, Needs(64))
    assert model.layers == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    tokens = AutoTokenizer.from_pretrained(checkpoint.id)(TEXT, return_tensors="pt")
    encoder = transformers.T5EncoderModel.from_pretrained(checkpoint.id)
    with torch.inference_mode():
        expected = encoder(input_ids=tokens["input_ids"], output_hidden_states=True)
    layers = heard(model, TEXT)
    for name, states in zip(["embed", "block_1", "block_2"], expected.hidden_states, strict=False):
        assert_equal(layers[name], states)
    assert_equal(layers["final_norm"], expected.last_hidden_state)


def test_the_experts_of_a_mixture_are_no_layers(save, store):
    checkpoint = save(tiny_mixtral())
    model = checkpoint.load(store, CPU, Needs(64))
    assert model.layers == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    layers, expected = heard(model, TEXT), reported(checkpoint.id, TEXT)
    for name, states in zip(["embed", "block_1", "block_2", "final_norm"], expected.hidden_states, strict=True):
        assert_equal(layers[name], states)


def test_a_multimodal_model_is_read_by_its_text_decoder(save, store):
    model = save(tiny_multimodal_gemma()).load(store, CPU, Needs(64))
    assert type(model.network).__name__ == "Gemma3TextModel"
    assert model.layers == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    assert heard(model, TEXT)["block_3"].shape == (1, len(TEXT) + 1, 32)


def test_blocks_that_do_not_run_on_text_alone_are_no_layers(save, store):
    checkpoint = save(tiny_mllama())
    model = checkpoint.load(store, CPU, Needs(64))
    assert model.layers == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    assert list(heard(model, TEXT)) == model.layers
    assert [type(block).__name__ for block in model.blocks] == ["MllamaSelfAttentionDecoderLayer"] * 3


def test_ids_that_have_an_embedding_and_no_logit_are_unknown_where_likelihoods_are_asked_for(save, store):
    checkpoint = save(tiny_mllama())
    assert checkpoint.load(store, CPU, Needs(64)).encoder.vocabulary == 268
    assert checkpoint.load(store, CPU, Needs(64, nll=True)).encoder.vocabulary == 260


def test_certifying_a_network_does_not_ask_for_its_state_dict(load):
    """Some quantised modules change when they are asked."""
    model = load()
    model.network.register_state_dict_pre_hook(lambda *args: pytest.fail("the network was asked for its state dict"))
    assert verified(model).certificate == model.certificate


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("skipped", [[1], [2], [3], [1, 3]])
def test_a_skipped_block_passes_its_input_on_unchanged(load, architecture, skipped):
    whole, part = load(architecture), load(architecture, skip_blocks=skipped)
    kept = [k for k in (1, 2, 3) if k not in skipped]
    for k in skipped:
        whole.blocks[k - 1].register_forward_hook(pass_through, with_kwargs=True)
    expected, found = heard(whole, TEXT), heard(part, TEXT)
    assert [name for name in found if name.startswith("block")] == [f"block_{k}" for k in range(1, len(kept) + 1)]
    for new, old in enumerate(kept, 1):
        assert_equal(found[f"block_{new}"], expected[f"block_{old}"])


def test_skipping_a_block_leaves_the_attention_kind_of_the_others_alone(save, store):
    checkpoint = save(tiny_gemma(["full_attention", "sliding_attention", "full_attention"]))
    whole = checkpoint.load(store, CPU, Needs(64))
    part = replace(checkpoint, skip_blocks=[1]).load(store, CPU, Needs(64))
    whole.blocks[0].register_forward_hook(pass_through, with_kwargs=True)
    expected, found = heard(whole, TEXT), heard(part, TEXT)
    assert_equal(found["block_1"], expected["block_2"])
    assert_equal(found["block_2"], expected["block_3"])


def test_skipped_blocks_are_numbered_as_the_layers_are_when_some_do_not_run_on_text(save, store):
    checkpoint = save(tiny_mllama())
    whole = checkpoint.load(store, CPU, Needs(64))
    part = replace(checkpoint, skip_blocks=[2]).load(store, CPU, Needs(64))
    whole.blocks[1].register_forward_hook(pass_through, with_kwargs=True)
    expected, found = heard(whole, TEXT), heard(part, TEXT)
    assert part.layers == ["embed", "block_1", "block_2", "final_norm"]
    assert_equal(found["block_2"], expected["block_3"])


def pass_through(module: nn.Module, args: tuple, kwargs: dict, output: Tensor | tuple) -> Tensor | tuple:
    entered = args[0] if args else kwargs["hidden_states"]
    return entered if isinstance(output, Tensor) else (entered, *output[1:])


def test_skipping_a_block_that_does_not_exist_is_refused(load):
    with pytest.raises(ConfigError, match=r"skip_blocks: tiny-llama has blocks 1 to 3; got \[0, 4\]"):
        load(skip_blocks=[2, 0, 4])


def test_skipping_all_blocks_is_refused(load):
    with pytest.raises(ConfigError, match="skip_blocks: all 3 blocks of tiny-llama are skipped"):
        load(skip_blocks=[1, 2, 3])


def test_random_weights_depend_on_their_seed_and_on_nothing_else(load):
    trained, first, other = weights(load()), weights(load(random_init=1)), weights(load(random_init=2))
    torch.manual_seed(99)
    again = weights(load(random_init=1))
    assert_equal(again, first)
    assert not torch.equal(first, other)
    assert not torch.equal(first, trained)


def test_random_weights_leave_the_global_generator_untouched(load):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load(random_init=3)
    assert_equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("random_init", [None, 0])
def test_a_model_computes_in_the_dtype_of_its_config(load, random_init):
    model = load(dtype="bfloat16", random_init=random_init)
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}
    assert heard(model, TEXT)["block_2"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "changed", [{"dtype": "bfloat16"}, {"chat_template": True}, {"random_init": 0}, {"random_init": 1}, {"skip_blocks": [1]}]
)
def test_identity_changes_with_whatever_changes_activations(checkpoint, changed):
    assert checkpoint(**changed).identity() != checkpoint().identity()


@pytest.mark.parametrize("changed", [{"random_init": 1}, {"skip_blocks": [2]}])
def test_identity_tells_two_values_of_an_option_apart(checkpoint, changed):
    assert checkpoint(**changed).identity() != checkpoint(random_init=0, skip_blocks=[1]).identity()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_identity_changes_with_a_file_of_the_checkpoint(checkpoint_folder, tmp_path, file):
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "copy")
    before = Checkpoint(id=str(folder), dtype="float32").identity()
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert Checkpoint(id=str(folder), dtype="float32").identity() != before


def test_a_generation_prompt_is_a_part_of_the_identity_only_where_there_is_a_template(checkpoint):
    """What was stored with one, as all templates were, is found again."""
    assert checkpoint(generation_prompt=False).identity() == checkpoint().identity()
    assert checkpoint(chat_template=True, generation_prompt=False).identity() != checkpoint(chat_template=True).identity()
    assert "generation_prompt" not in checkpoint(chat_template=True).identity()


def test_identity_does_not_depend_on_where_a_checkpoint_lies_or_where_it_runs(checkpoint_folder, tmp_path):
    copy = shutil.copytree(checkpoint_folder("llama"), tmp_path / "copy")
    here = Checkpoint(id=str(checkpoint_folder("llama")), dtype="float32")
    assert Checkpoint(id=str(copy), dtype="float32", device_map="auto").identity() == here.identity()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"id": "acme/tiny"}, "tiny"),
        ({"id": "models/tiny/"}, "tiny"),
        ({"id": "acme/tiny", "random_init": 0}, "tiny-random0"),
        ({"id": "acme/tiny", "random_init": 7}, "tiny-random7"),
    ],
)
def test_a_model_is_named_after_the_last_part_of_its_id(options, name):
    assert Checkpoint(**options, dtype="float32").name == name


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ConfigError, match="model dtype: expected one of float32, bfloat16, float16; got float64"):
        Checkpoint(id="acme/tiny", dtype="float64")


def test_a_device_is_taken_by_its_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_code_from_a_repository_is_announced_and_off_unless_asked_for(load, caplog):
    load()
    assert caplog.records == []
    load(trust_remote_code=True)
    ((name, level, text),) = caplog.record_tuples
    assert (name, level) == ("layeratlas.models.base", logging.WARNING)
    assert text == "model tiny-llama: trust_remote_code is on, so code from its repository runs here"


OWN_CODE = """
from transformers import LlamaConfig, LlamaModel

class OwnConfig(LlamaConfig):
    model_type = "own_llama"

class OwnModel(LlamaModel):
    config_class = OwnConfig
"""


@pytest.fixture
def with_own_code(checkpoint_folder, tmp_path, monkeypatch) -> Path:
    """A checkpoint whose classes come as code in its own folder."""
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_llama", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(OWN_CODE)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.mark.parametrize("step", ["load", "size"])
def test_code_that_comes_with_a_checkpoint_does_not_run_unless_asked_for(with_own_code, store, step):
    checkpoint = Checkpoint(id=str(with_own_code), dtype="float32")
    with pytest.raises(ConfigError, match=r"^model \S+own: .*trust_remote_code") as raised:
        checkpoint.size(store) if step == "size" else checkpoint.load(store, CPU, Needs(64))
    assert "\n" not in str(raised.value)
    assert not any(name.startswith("transformers_modules.own") for name in sys.modules)


@pytest.mark.parametrize("random_init", [None, 0])
def test_code_that_comes_with_a_checkpoint_runs_if_asked_for(with_own_code, store, random_init):
    checkpoint = Checkpoint(id=str(with_own_code), dtype="float32", trust_remote_code=True, random_init=random_init)
    model = checkpoint.load(store, CPU, Needs(64))
    assert type(model.network).__name__ == "OwnModel"
    assert checkpoint.size(store).layers == len(model.layers) == 5


# --- options that need more than the checkpoint -----------------------------------------------------------------------------


def test_an_unknown_quantization_is_refused():
    with pytest.raises(ConfigError, match=r"^model quantization: expected null or one of 8bit, 4bit; got 2bit$"):
        Checkpoint(id="acme/tiny", dtype="float32", quantization="2bit")


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantization_without_its_package_is_refused_in_one_line(load, quantization):
    with pytest.raises(ConfigError, match=rf"^model \S+tiny-llama: .*{quantization[0]}-bit.* bitsandbytes") as raised:
        load(quantization=quantization)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_a_quantised_model_is_smaller_and_its_states_point_where_those_of_the_whole_one_do(store, tmp_path, quantization):
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    sizes = ARCHITECTURES["llama"][1] | {"hidden_size": 128, "intermediate_size": 256}  # 4 bits come in blocks of 64
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).save_pretrained(tmp_path)
    byte_tokenizer(bos=True).save_pretrained(tmp_path)
    whole, quantised = (Checkpoint(id=str(tmp_path), dtype="float32", quantization=chosen) for chosen in (None, quantization))
    models = [model.load(store, CPU, Needs(64)) for model in (whole, quantised)]
    assert not models[1].certificate.alone
    assert models[1].certificate.tensors == models[0].certificate.tensors
    expected, found = (heard(model, TEXT) for model in models)
    for layer in ("block_1", "block_2", "final_norm"):
        alike = torch.cosine_similarity(found[layer].float().flatten(), expected[layer].flatten(), dim=0)
        assert 0.95 < alike < 1 - 1e-6
    assert quantised.size(store).bytes < whole.size(store).bytes


@pytest.mark.skipif(find_spec("peft") is not None, reason="peft is installed")
def test_an_adapter_without_its_package_is_refused_in_one_line(load, tmp_path):
    with pytest.raises(ConfigError, match=r"^model \S+tiny-llama: .*peft.*$") as raised:
        load(adapter=str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("option", [{"quantization": "8bit"}, {"adapter": "acme/adapter"}])
def test_random_weights_are_neither_quantised_nor_adapted(option):
    with pytest.raises(ConfigError, match="random_init"):
        Checkpoint(id="acme/tiny", dtype="float32", random_init=0, **option)


@pytest.fixture
def adapter(checkpoint_folder, tmp_path) -> tuple[Path, PreTrainedModel]:
    """The folder of an adapter of the tiny llama, and the adapted network as peft runs it."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4, target_modules=["q_proj", "v_proj"])
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folder("llama"), dtype=torch.float32)
    adapted = peft.get_peft_model(base, config)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", adapted.eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, at transformers
def test_an_adapted_model_is_the_one_that_peft_runs(load, adapter):
    folder, network = adapter
    model = load(adapter=str(folder))
    ids = torch.tensor([model.encoder.encode([TEXT])[0].ids])
    with torch.inference_mode():
        states = network(input_ids=ids, output_hidden_states=True).hidden_states
    layers = heard(model, TEXT)
    for name, expected in zip(["embed", "block_1", "block_2", "final_norm"], states, strict=True):
        torch.testing.assert_close(layers[name], expected)
    assert not torch.equal(layers["block_1"], heard(load(), TEXT)["block_1"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_that_is_a_pickle_is_refused(load, adapter):
    folder, _ = adapter
    torch.save(safetensors.torch.load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"^model \S+tiny-llama: .*adapter_model\.safetensors"):
        load(adapter=str(folder))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda name, tensor: {} if "layers.1.self_attn.v_proj.lora_A" in name else {name: tensor},
            r"misses 1 weights \(model\.layers\.1\.self_attn\.v_proj\.lora_A\S*\)",
        ),
        (
            lambda name, tensor: {name: tensor, name.replace("layers.2", "layers.7"): tensor.clone()},
            r"has no place in this model for 4 weights \(model\.layers\.7\.self_attn\.q_proj\.lora_A\S*, .*, \.\.\)",
        ),
        (
            lambda name, tensor: {name.replace("self_attn", "attention"): tensor},
            r"misses 12 weights .*has no place in this model for 12",
        ),
        (
            lambda name, tensor: {name: tensor.repeat(2, 1) if "q_proj.lora_B" in name else tensor},
            r"has another shape for 3 weights \(model\.layers\.0\.self_attn\.q_proj\.lora_B\S*, .*\)",
        ),
    ],
    ids=["a missing weight", "a block too many", "other names", "another width"],
)
def test_an_adapter_that_does_not_fit_the_model_is_refused_in_one_line(load, adapter, change, problem):
    folder, _ = adapter
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    changed = {name: tensor for old, whole in tensors.items() for name, tensor in change(old, whole).items()}
    safetensors.torch.save_file(changed, folder / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=rf"^model tiny-llama: adapter=\S+ {problem}.*; it belongs to another model$") as raised:
        load(adapter=str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapted_model_is_certified(load, adapter):
    folder, _ = adapter
    certificate = load(adapter=str(folder), nll=True).certificate
    assert (certificate.weights, certificate.absent, certificate.alone, certificate.leak) == ("checkpoint", (), False, 0)


def test_an_adapter_is_part_of_the_identity_by_its_bytes(checkpoint, tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"one")
    first = checkpoint(adapter=str(tmp_path)).identity()
    assert first != checkpoint().identity()
    (tmp_path / "adapter_model.safetensors").write_bytes(b"three")
    assert checkpoint(adapter=str(tmp_path)).identity() != first


def test_pickled_weights_are_refused_in_one_line_and_never_read(checkpoint_folder, tmp_path, store, monkeypatch):
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "pickled")
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("a pickle was read"))
    with pytest.raises(ConfigError, match=r"^model \S+pickled: .*model\.safetensors.*$") as raised:
        Checkpoint(id=str(folder), dtype="float32").load(store, CPU, Needs(64))
    assert "\n" not in str(raised.value)


def test_weights_are_safetensors_even_where_a_pickle_lies_beside_them(checkpoint_folder, tmp_path, store, load):
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"not to be read")
    model = Checkpoint(id=str(folder), dtype="float32").load(store, CPU, Needs(64))
    assert_equal(weights(model), weights(load()))


# --- prefetching ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is asked of the hub, instead of asking it."""
    asked: list[dict] = []

    def download(repository: str, **options) -> str:
        asked.append({"repository": repository} | options)
        return f"snapshots/{COMMIT}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_a_local_folder_needs_no_prefetching(checkpoint, store, downloads):
    checkpoint().prefetch(store)
    assert downloads == []


def test_prefetching_brings_weights_tokenizer_and_configs_but_no_pickle(store, downloads):
    Checkpoint(id="acme/tiny", revision="next", dtype="float32").prefetch(store)
    (asked,) = downloads
    assert (asked["repository"], asked["revision"]) == ("acme/tiny", "next")
    wanted = ["model-00001-of-00002.safetensors", "config.json", "tokenizer.model", "merges.txt", "chat_template.jinja", "own.py"]
    refused = ["pytorch_model.bin", "model.pt", "model.pkl", "tf_model.h5", "model.gguf", "model.onnx", "flax_model.msgpack"]
    kept = list(filter_repo_objects([*wanted, *refused], allow_patterns=asked["allow_patterns"]))
    assert kept == wanted


def test_prefetching_brings_the_adapter_too(store, downloads):
    Checkpoint(id="acme/tiny", dtype="float32", adapter="acme/adapter").prefetch(store)
    assert [asked["repository"] for asked in downloads] == ["acme/tiny", "acme/adapter"]


def test_prefetching_a_bundled_model_brings_its_adapter_too(store, downloads, monkeypatch):
    monkeypatch.setattr(BundledCheckpoint, "source", lambda self, store: None)
    options = {"packages": ["acme"], "sha256": "0", "notice": ""}
    BundledCheckpoint(id="acme", dtype="float32", adapter="acme/adapter", **options).prefetch(store)
    assert [asked["repository"] for asked in downloads] == ["acme/adapter"]


def test_the_identity_of_a_hub_model_asks_for_its_configs_alone(downloads):
    Checkpoint(id="acme/tiny", dtype="float32").identity()
    assert list(filter_repo_objects(["config.json", "model.safetensors"], allow_patterns=downloads[0]["allow_patterns"])) == [
        "config.json"
    ]


def test_what_is_in_the_hub_cache_is_prefetched_already(cached, store):
    Checkpoint(id=cached, dtype="float32").prefetch(store)


@pytest.mark.usefixtures("hub_cache")
def test_prefetching_without_a_network_is_refused(store):
    with pytest.raises(ConfigError, match=r"^model acme/tiny: not in the local hub cache, and the hub cannot be reached"):
        Checkpoint(id="acme/tiny", dtype="float32").prefetch(store)


class WithoutBlocks(PreTrainedModel):
    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.layer = nn.Linear(2, 2)


class WithAdapters(WithoutBlocks):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.adapters = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))


def test_a_network_without_a_list_of_the_right_length_is_refused(load):
    network = load("llama").network
    network.config.num_hidden_layers = 7
    with pytest.raises(ConfigError, match=r"LlamaModel has no list of 7 blocks to listen to; its module lists are layers \(3\)"):
        find_blocks(network)


def test_a_network_without_any_list_is_refused():
    network = WithoutBlocks(LlamaConfig(**SIZES))
    with pytest.raises(ConfigError, match="WithoutBlocks has no list of 3 blocks to listen to; its module lists are none"):
        find_blocks(network)


def test_of_two_lists_of_the_right_length_the_larger_one_holds_the_blocks():
    network = WithAdapters(LlamaConfig(**SIZES))
    assert find_blocks(network) is network.blocks


def test_blocks_that_never_run_are_refused(load):
    model = replace(load("llama"), ears=Ears(nn.ModuleList([nn.Identity()])))
    with pytest.raises(ConfigError, match=r"^model tiny-llama: .* \(LlamaModel\) is not supported: its blocks did not run"):
        verified(model)


def test_layers_that_are_not_the_reported_hidden_states_are_refused(load):
    model = load("llama")
    with pytest.raises(ConfigError, match=r"^model tiny-llama: .* not supported: hidden_states\[0\] is none of the layers heard$"):
        verified(replace(model, ears=Ears(model.blocks[1:])))


def test_a_folder_without_a_checkpoint_is_refused_in_one_line(tmp_path, store):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"^model \S+empty: .*$") as raised:
        Checkpoint(id=str(tmp_path / "empty"), dtype="float32").load(store, CPU, Needs(64))
    assert "\n" not in str(raised.value)


def test_broken_weights_are_refused_in_one_line(checkpoint_folder, tmp_path, store):
    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "broken")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"^model \S+broken: .*$"):
        Checkpoint(id=str(folder), dtype="float32").load(store, CPU, Needs(64))


@pytest.mark.usefixtures("hub_cache")
def test_a_model_that_is_not_on_this_machine_is_refused_without_a_network():
    with pytest.raises(ConfigError, match=r"^model acme/tiny: not in the local hub cache, and the hub cannot be reached"):
        Checkpoint(id="acme/tiny", dtype="float32").fingerprint()


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("malformed", ["acme/tiny/extra", "./missing", "acme//tiny", "two words"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(malformed):
    with pytest.raises(ConfigError, match=f"^model id '{malformed}': no such folder, and not a hub id of the form owner/name"):
        Checkpoint(id=malformed, dtype="float32").fingerprint()


def test_a_model_in_the_hub_cache_loads_and_is_known_by_its_commit(cached, load, store):
    checkpoint = Checkpoint(id=cached, dtype="float32")
    assert checkpoint.fingerprint() == f"acme/tiny@{COMMIT}"
    model = checkpoint.load(store, CPU, Needs(256))
    assert model.name == "tiny"
    assert_equal(heard(model, TEXT)["block_3"], heard(load("llama"), TEXT)["block_3"])


def test_a_commit_is_its_own_revision(cached):
    assert Checkpoint(id=cached, revision=COMMIT, dtype="float32").fingerprint() == f"acme/tiny@{COMMIT}"


def test_a_branch_that_is_not_in_the_hub_cache_is_refused(cached):
    with pytest.raises(ConfigError, match="model acme/tiny: not in the local hub cache"):
        Checkpoint(id=cached, revision="next", dtype="float32").fingerprint()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (GatedRepoError, "^model acme/tiny: access is restricted; accept its licence on its hub page and set HF_TOKEN"),
        (RevisionNotFoundError, "^model acme/tiny at revision next: first line$"),
    ],
)
def test_a_refusal_of_the_hub_is_passed_on_in_one_line(monkeypatch, answer, message):
    def refuse(*args, **options):
        raise answer("first line\nsecond line", response=httpx2.Response(403, request=httpx2.Request("GET", "https://hub.example")))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ConfigError, match=message):
        Checkpoint(id="acme/tiny", revision="next", dtype="float32").fingerprint()
