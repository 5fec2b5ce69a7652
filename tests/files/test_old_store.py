"""What a store holds that was written by commit 55cb8ad: read for what is made as it was then, and for nothing else.

`store_of_55cb8ad` was written by that commit's code: a tiny Llama (`save_tiny("llama", ..)`) over `TEXTS` and `NAMED`, one batch,
at most 64 tokens, poolings last, mean and last_content, with likelihoods. Its name stands in for the files' times of change.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch

from layeratlas.corpora import Language
from layeratlas.errors import ConfigError
from layeratlas.extraction import forward, pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.files.identity import fingerprint
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint

OLD = Path(__file__).parent / "store_of_55cb8ad"
TEXTS = ["Rivers bend.", "Why?", "नदी बहती है।"]
NAMED = ["The tag <eos> ends a text.", "Rivers bend."]


@dataclass(frozen=True, kw_only=True)
class Pinned(Checkpoint):
    def fingerprint(self) -> str:
        return "tiny-llama@55cb8ad"


@pytest.fixture
def model(checkpoint_folder) -> Pinned:
    return Pinned(id=str(checkpoint_folder("llama")), dtype="float32")


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    shutil.copytree(OLD, tmp_path / "store")
    poolings = {name: getattr(pooling, name) for name in ("last", "mean", "last_content")}
    return Extractor(Store(tmp_path / "store"), poolings, Batching(8, 512), torch.device("cpu"), nll=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that go through a network."""
    seen: list[str] = []
    original = forward.extract

    def counting(loaded, texts, *rest):
        seen.extend(texts.texts)
        return original(loaded, texts, *rest)

    monkeypatch.setattr(forward, "extract", counting)
    return seen


def stored(content: str, texts: list[str]) -> list[Path]:
    """The old files of a content that hold as many items as there are texts."""
    files = sorted(OLD.glob(f"activations/*/{content}/*.safetensors"))
    return [file for file in files if len(safetensors.torch.load_file(file)["embed"]) == len(texts)]


@pytest.mark.parametrize("name", ["last", "mean"])
def test_vectors_that_are_made_as_they_were_are_read_and_only_their_tokens_are_counted_anew(extractor, model, monkeypatch, name):
    monkeypatch.setattr(Pinned, "load", lambda *args: pytest.fail("a network was loaded"))
    found = extractor(Side(model, TEXTS, 64), name, "all")
    (old,) = stored(name, TEXTS)
    for layer, vectors in safetensors.torch.load_file(old).items():
        assert torch.equal(found.activations.layers[layer], vectors)
    assert found.tokens["fertility"].tolist() == pytest.approx([len(text.encode()) / len(text) for text in TEXTS])
    again = extractor(Side(model, TEXTS, 64), name, "all")
    pd.testing.assert_frame_equal(again.tokens, found.tokens)


def test_likelihoods_are_read_and_divided_by_what_was_scored(extractor, model, run):
    found = extractor(Side(model, TEXTS, 64), "mean", "all").tokens
    old = next(t for t in map(pd.read_parquet, OLD.glob("activations/*/nll/*.parquet")) if len(t) == len(TEXTS))
    assert found["nll"].tolist() == old["nll"].tolist()
    assert found["nll_per_byte"].tolist() == pytest.approx((old["nll"] / found["scored_bytes"]).tolist())
    assert run == []


def test_vectors_that_were_pooled_by_what_tokens_decode_to_are_not_read(extractor, model, run):
    found = extractor(Side(model, TEXTS, 64), "last_content", "all").activations
    assert run == TEXTS
    (old,) = stored("last_content", TEXTS)
    hindi = safetensors.torch.load_file(old)["block_1"][2]
    assert (found.layers["block_1"][2] - hindi).norm() > 0.1 * hindi.norm()


@pytest.mark.parametrize("name", ["last", "mean", "last_content"])
def test_vectors_of_texts_that_name_a_control_token_are_not_read(extractor, model, run, name):
    extractor(Side(model, NAMED, 64), name, "all")
    assert run == NAMED


def test_what_is_missing_under_the_new_rules_is_missing_where_nothing_may_be_extracted(extractor, model):
    only = replace(extractor, only_stored=True)
    assert only(Side(model, TEXTS, 64), "mean", "all").activations.n == len(TEXTS)
    with pytest.raises(ConfigError, match=r"^3 of 3 texts of tiny-llama"):
        only(Side(model, TEXTS, 64), "last_content", "all")


def old_identity(model: Pinned) -> dict:
    """What that commit took for all that determines the vectors."""
    return {
        "checkpoint": model.fingerprint(),
        "dtype": model.dtype,
        "chat_template": model.chat_template,
        "random_init": None,
        "skip_blocks": [],
        "quantization": None,
        "adapter": None,
        "max_length": 64,
        "exact": False,
    }


def test_only_what_is_read_otherwise_has_another_identity(model):
    side = Side(model, TEXTS, 64)
    assert side.identity == old_identity(model)
    assert (OLD / side.folder("mean")).is_dir()
    assert (OLD / f"activations/{fingerprint(old_identity(model))}").is_dir()
    wrapped = replace(model, chat_template=True)
    changed = [Side(wrapped, TEXTS, 64), Side(replace(model, prefix="query: "), TEXTS, 64), replace(side, language=Language("de"))]
    assert len({fingerprint(one.identity) for one in [side, *changed]} | {fingerprint(old_identity(wrapped))}) == 5


def test_poolings_that_may_ask_what_is_punctuation_have_other_keys_and_signatures(model):
    side = Side(model, TEXTS, 64)
    keys = [shard.key for shard in side.shards]
    for name in ("first", "last", "mean", "mean_content", "mean_skip_first", "weighted_mean", "max", "span", "attention_weighted"):
        assert side.shards[0].key_of(name) == keys[0]
        assert side.source(name) == fingerprint([2, old_identity(model), name, keys])
    for name in ("last_content", "mine.own_pooling"):
        assert side.shards[0].key_of(name) != keys[0]
        assert side.source(name) != fingerprint([2, old_identity(model), name, keys])
