"""What layeratlas hears of tiny networks of some 260 text architectures is what hooks set by hand hear, one text at a time."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto import configuration_auto, modeling_auto

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint
from zoo import reference
from zoo.architectures import MIXTURES, NO_ATTENTION, NO_BFLOAT16, ROUNDED_BELOW_A_HEAD, ZOO, Architecture
from zoo.left_out import LEFT_OUT
from zoo.reference import Pooled
from zoo.refused import REFUSED

TEXT_TASKS = ["CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "TEXT_ENCODING", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"]
TEXT_TASKS += ["QUESTION_ANSWERING", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION"]
BATCH = 3  # of five texts of five lengths
SAME = 3e-6  # relative, of any vector; the largest measured in a ragged batch is 2.3e-6, alone 2.8e-7 in either dtype
ROUNDED = 2e-2  # in a ragged batch in bfloat16, whose numbers are 2^-8 apart; the largest measured is 1.9e-2
EXPERTS = {name for types in MIXTURES.values() for name in types}

# Warnings of other people's networks (what they deprecate, what they find odd in so small a config) are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def text_types() -> set[str]:
    """Every model type that transformers has for a task on text, and the text parts of others."""
    mapped = {name for task in TEXT_TASKS for name in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")}
    return mapped | {name for name in modeling_auto.MODEL_MAPPING_NAMES if name.endswith(("_text", "_text_model"))}


def checkpoint(architecture: Architecture, folder: Path, dtype: str) -> PreTrainedModel:
    """A tiny checkpoint in the folder, and its network in this dtype: as it was built, or, rounded, as its class reads it."""
    network = reference.build(architecture)
    reference.save(network, folder)
    return network if dtype == "float32" else type(network).from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def extracted(folder: Path, dtype: str, poolings: Sequence[str] = tuple(reference.POOLINGS), *, exact: bool = False) -> Pooled:
    """What layeratlas stores of the checkpoint in this folder."""
    chosen = {name: getattr(pooling, name) for name in poolings}
    extractor = Extractor(Store(folder / "store"), chosen, Batching(BATCH, 10_000), torch.device("cpu"))
    model = Checkpoint(id=str(folder), dtype=dtype)
    side = Side(model, reference.TEXTS, reference.MAX_LENGTH, reference.SPANS, exact=exact)
    return {name: dict(extractor(side, name, "all").activations.layers) for name in poolings}


def differences(found: Pooled, expected: Pooled) -> Tensor:
    """Relative difference of every vector of every layer under every pooling."""
    assert {name: list(layers) for name, layers in found.items()} == {name: list(layers) for name, layers in expected.items()}
    pairs = [(found[name][layer].double(), vectors) for name, layers in expected.items() for layer, vectors in layers.items()]
    return torch.cat([(ours - theirs).norm(dim=1) / theirs.norm(dim=1) for ours, theirs in pairs])


def test_every_text_architecture_of_transformers_is_in_the_zoo_or_left_out_for_a_reason():
    listed = {row.type for row in ZOO.values()} | set(REFUSED) | set(LEFT_OUT)
    missing, gone = sorted(text_types() - listed), sorted(listed - set(configuration_auto.CONFIG_MAPPING_NAMES))
    assert not missing, f"new in transformers: {', '.join(missing)}; list each in architectures.py, refused.py or left_out.py"
    assert not gone, f"no longer in transformers: {', '.join(gone)}; remove each from architectures.py, refused.py or left_out.py"
    assert len({row.type for row in ZOO.values()}) >= 200


def test_no_architecture_is_both_in_the_zoo_and_left_out():
    assert not set(LEFT_OUT) & ({row.type for row in ZOO.values()} | set(REFUSED))


def test_sinusoids_that_no_checkpoint_holds_are_no_missing_weights(tmp_path):
    expected = reference.pooled(checkpoint(ZOO["marian"], tmp_path / "tiny", "float32"), ZOO["marian"])
    assert differences(extracted(tmp_path / "tiny", "float32"), expected).max() < SAME


def test_attention_that_is_made_only_when_asked_for_is_heard(tmp_path):
    network = checkpoint(ZOO["mpnet"], tmp_path / "tiny", "float32")
    expected = reference.pooled_by_attention(network, ZOO["mpnet"])
    assert differences(extracted(tmp_path / "tiny", "float32", ["attention_weighted"]), expected).max() < SAME


def test_states_under_the_mask_that_a_convolution_mixes_in_are_noticed_in_bfloat16(tmp_path):
    network = checkpoint(ZOO["nystromformer"], tmp_path / "tiny", "bfloat16")
    expected = reference.pooled(network, ZOO["nystromformer"])
    assert differences(extracted(tmp_path / "tiny", "bfloat16"), expected).max() < SAME  # as each text ran alone


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_layers_in_a_ragged_batch_are_those_of_hooks_set_by_hand(name, tmp_path):
    network = checkpoint(ZOO[name], tmp_path / "tiny", "float32")
    expected = reference.pooled(network, ZOO[name])
    assert differences(extracted(tmp_path / "tiny", "float32"), expected).max() < SAME


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in NO_BFLOAT16 | ROUNDED_BELOW_A_HEAD])
def test_layers_in_bfloat16_are_those_of_hooks_set_by_hand(name, tmp_path):
    network = checkpoint(ZOO[name], tmp_path / "tiny", "bfloat16")
    expected = reference.pooled(network, ZOO[name])
    alone = differences(extracted(tmp_path / "tiny", "bfloat16", exact=True), expected)
    together = differences(extracted(tmp_path / "tiny", "bfloat16"), expected)
    assert alone.max() < SAME
    # Rounding may send a token near the border between two experts to the other one.
    assert (together < ROUNDED).double().mean() >= (0.8 if name in EXPERTS else 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in ZOO if name not in NO_ATTENTION | {"big_bird"}]
)  # it reports from its 2nd text on
def test_attention_is_what_the_network_reports(name, tmp_path):
    network = checkpoint(ZOO[name], tmp_path / "tiny", "float32")
    unfused = type(network).from_pretrained(tmp_path / "tiny", attn_implementation="eager").eval()
    expected = reference.pooled_by_attention(unfused, ZOO[name])
    assert differences(extracted(tmp_path / "tiny", "float32", ["attention_weighted"]), expected).max() < SAME


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NO_ATTENTION))
def test_a_network_without_attention_in_each_block_is_not_pooled_by_attention(name, tmp_path):
    checkpoint(ZOO[name], tmp_path / "tiny", "float32")
    with pytest.raises(ConfigError, match="attention_weighted"):
        extracted(tmp_path / "tiny", "float32", ["attention_weighted"])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NO_BFLOAT16))
def test_a_network_that_cannot_run_in_bfloat16_is_refused_in_one_line(name, tmp_path):
    checkpoint(ZOO[name], tmp_path / "tiny", "float32")
    with pytest.raises(ConfigError, match=r"^model tiny: [^\n]*BFloat16[^\n]*$"):
        extracted(tmp_path / "tiny", "bfloat16", ["mean"])


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_cannot_be_heard_is_refused_in_one_line(name, tmp_path):
    refusal = REFUSED[name]
    checkpoint(Architecture(name, refusal.sizes, refusal.head, "", ""), tmp_path / "tiny", "float32")
    with pytest.raises(ConfigError, match=rf"^model[^\n]*{refusal.words}[^\n]*$"):
        extracted(tmp_path / "tiny", "float32", ["mean"])
