"""A model stays in memory for the next side that wants it: loaded and verified once, one at a time."""

import gc
import os
import weakref
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from conftest import TEXTS

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.models import Checkpoint, Held, Needs, verification
from layeratlas.models.base import AbstractModel
from layeratlas.models.language_model import LanguageModel

CPU = torch.device("cpu")


@pytest.fixture
def loaded(monkeypatch) -> list[str]:
    """The name of each model that is loaded."""
    names, original = [], AbstractModel.load
    monkeypatch.setattr(AbstractModel, "load", lambda self, *a: names.append(self.name) or original(self, *a))
    return names


@pytest.fixture
def held(store):
    """Ask one holder for a model: `held(model, max_length)`."""
    holder = Held()
    return lambda model, max_length=64, **needs: holder.load(model, store, CPU, Needs(max_length, **needs))


def test_a_model_that_is_asked_for_again_is_the_one_in_memory(held, checkpoint, loaded):
    assert held(checkpoint()) is held(checkpoint())
    assert loaded == ["tiny-llama"]


def test_other_ways_of_reading_texts_take_a_tokenizer_and_no_network(held, checkpoint, loaded):
    first, second = held(checkpoint(), 64), held(checkpoint(), 6)
    assert second.network is first.network
    assert (len(first.encoder.encode(TEXTS[:1])[0].ids), len(second.encoder.encode(TEXTS[:1])[0].ids)) == (37, 6)
    assert len(held(checkpoint(), 64).encoder.encode(TEXTS[:1])[0].ids) == 37
    assert loaded == ["tiny-llama"]


@pytest.mark.parametrize("architecture", ["llama", "bert"])
@pytest.mark.parametrize("max_length", [200, 2000])
def test_a_model_that_reads_in_another_way_is_all_that_one_loaded_for_it_is(held, checkpoint, load, architecture, max_length):
    held(checkpoint(architecture), 100)  # the probes, by which padding is judged, are shorter
    assert told(held(checkpoint(architecture), max_length)) == told(load(architecture, max_length))


def told(model: LanguageModel) -> dict[str, object]:
    """What a model and its encoder say of themselves, apart from objects that are equal to nothing but themselves."""
    public = {name: value for name, value in vars(model.encoder).items() if name != "tokenizer" and not name.startswith("_")}
    parts = vars(model) | {f"ears.{name}": value for name, value in vars(model.ears).items()}
    own = {name: value for name, value in parts.items() if name != "ears" and type(value).__eq__ is not object.__eq__}
    return own | {f"encoder.{name}": value for name, value in public.items()}


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "bfloat16"},
        {"random_init": 1},
        {"skip_blocks": [2]},
        {"device_map": "auto"},
        {"architecture": "gpt2"},
        {"nll": True},
        {"attention": True},
    ],
    ids=str,
)
def test_another_network_is_loaded_and_so_is_the_first_one_when_it_is_wanted_again(held, checkpoint, loaded, other):
    needs = {name: value for name, value in other.items() if name in ("nll", "attention")}
    options = {name: value for name, value in other.items() if name not in needs}
    first = held(checkpoint())
    assert held(checkpoint(**options), **needs).network is not first.network
    assert held(checkpoint()).network is not first.network
    assert len(loaded) == 3


def test_a_checkpoint_whose_files_have_changed_is_loaded_anew(held, checkpoint_folder, loaded, tmp_path):
    import shutil

    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "changing")
    model = Checkpoint(id=str(folder), dtype="float32")
    held(model)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    held(model)
    assert loaded == ["changing", "changing"]


@pytest.mark.slow
def test_one_model_is_in_memory_at_a_time(store, checkpoint, monkeypatch):
    holder = Held()
    before = weakref.ref(holder.load(checkpoint(), store, CPU, Needs(64)).network)
    original, alive = AbstractModel.load, []
    monkeypatch.setattr(AbstractModel, "load", lambda self, *a: alive.append(before()) or original(self, *a))
    holder.load(checkpoint("gpt2"), store, CPU, Needs(64))
    assert alive == [None]
    last = weakref.ref(holder.load(checkpoint("gpt2"), store, CPU, Needs(64)).network)
    holder.drop()
    gc.collect()
    assert last() is None


def test_a_model_that_could_not_be_loaded_is_not_in_memory(store, checkpoint, tmp_path):
    holder = Held()
    holder.load(checkpoint(), store, CPU, Needs(64))
    (tmp_path / "empty").mkdir()
    broken = Checkpoint(id=str(tmp_path / "empty"), dtype="float32")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^model \S+empty: "):
            holder.load(broken, store, CPU, Needs(64))
    assert not holder.holds(broken, CPU, Needs(64))
    assert holder.bytes == 0
    assert holder.load(checkpoint(), store, CPU, Needs(64)).name == "tiny-llama"


def test_a_sweep_of_texts_verifies_its_model_once_and_its_vectors_are_those_of_single_runs(
    checkpoint, store, tmp_path, loaded, monkeypatch
):
    verified, original = [], verification._probes
    monkeypatch.setattr(verification, "_probes", lambda *a: verified.append(a) or original(*a))
    draws = [Side(checkpoint(), [f"{text} {i}" for text in TEXTS], length) for i, length in enumerate((64, 64, 12))]
    poolings = {"last": pooling.last}
    sweep = Extractor(store, poolings, Batching(4, 4096), CPU, held=Held())
    together = [sweep(side, "last", "all").activations for side in draws]
    assert loaded == ["tiny-llama"]
    probes = len(verified)
    for i, side in enumerate(draws):
        alone = replace(sweep, store=type(store)(tmp_path / f"alone-{i}"), held=Held())(side, "last", "all").activations
        assert all(torch.equal(alone.layers[name], together[i].layers[name]) for name in alone.names)
    assert (len(loaded), len(verified)) == (4, 4 * probes)


def test_another_edit_takes_neither_a_network_nor_a_tokenizer(held, checkpoint, loaded, tmp_path, monkeypatch):
    paths = []
    for seed in (0, 1):
        basis = torch.linalg.qr(torch.randn(32, 1, generator=torch.Generator().manual_seed(seed))).Q.contiguous()
        parts = {"A": basis, "B": basis.clone(), "m": torch.zeros(32), "v": torch.zeros(32)}
        paths.append(tmp_path / f"edit{seed}.safetensors")
        safetensors.torch.save_file({f"block_1.{part}": array for part, array in parts.items()}, paths[-1])
    plain = held(checkpoint())
    monkeypatch.setattr("layeratlas.models.loading.load_encoder", None)  # a second tokenizer would fail
    models = [held(checkpoint(edit=str(path))) for path in paths]
    assert [model.name for model in models] == ["tiny-llama+edit0", "tiny-llama+edit1"]
    assert models[0].editing is not None
    assert not torch.equal(models[0].editing.edits["block_1"].A, models[1].editing.edits["block_1"].A)
    again = held(checkpoint())
    assert again.editing is None
    assert {model.network for model in [*models, again]} == {plain.network}
    assert loaded == ["tiny-llama"]
