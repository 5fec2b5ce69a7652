import logging
import re
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling, preflight
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.preflight import Estimate, duration, estimate, operations, require, sample
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.settings import Size

CPU = torch.device("cpu")
SIZE = Size(bytes=1_000_000, block_parameters=200_000, layers=5, width=32, vocabulary=100)
GIGABYTE = 10**9
RESIDENT = 300_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with so many bytes of free disk and memory; returns the folders whose disk was asked for."""
    asked: list[Path] = []

    def having(disk: int = GIGABYTE, memory: int = GIGABYTE) -> list[Path]:
        usage, state = namedtuple("Usage", ["free"]), namedtuple("Memory", ["available"])
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: (asked.append(folder), usage(disk))[1])
        monkeypatch.setattr(psutil, "virtual_memory", lambda: state(memory))
        return asked

    return having


@pytest.fixture
def estimated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Estimate]:
    """The estimate in a process of 300 MB, for a small model and whatever else is said."""
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=RESIDENT)))
    usual = {"texts": 1000, "shard": 256, "poolings": 2, "signatures": 0, "batch_tokens": 4096, "nll": False, "held": False}
    return lambda device=CPU, dtype=torch.float32, size=SIZE, **changed: estimate(
        size, **(usual | changed), device=device, dtype=dtype
    )


def test_an_estimate_by_hand(estimated):
    found = estimated(signatures=7000)
    assert found.disk == 1000 * 5 * 32 * 4 * 2 + 5 * 7000  # texts x layers x width x float32 x poolings, and signatures
    weights, tokenizer = 1_000_000, 100 * 1100
    batch = 4096 * 32 * 16 * 4  # 16 tensors of a batch's hidden states
    written = 256 * 5 * 32 * 4 * 3  # a shard under both poolings, and one of these as it is written
    assert found.memory == RESIDENT + weights + tokenizer + batch + written
    assert found.present == RESIDENT


def test_a_model_in_memory_is_not_counted_twice(estimated):
    assert estimated().memory - estimated(held=True).memory == 1_000_000 + 100 * 1100
    gpu = torch.device("cuda", 0)
    assert estimated(gpu).memory == estimated(gpu, held=True).memory == 1_000_000 + 4096 * 32 * 16 * 4
    assert (estimated(gpu).present, estimated(gpu, held=True).present) == (0, 1_000_000)


def test_a_token_table_that_stays_in_its_file_is_memory_only_where_all_of_it_is_read(estimated):
    size = replace(SIZE, left_in_file=400_000)
    whole = estimated().memory
    assert estimated(size=size).memory == whole - 400_000
    assert estimated(size=size, nll=True).memory == whole
    gpu = torch.device("cuda", 0)
    assert estimated(gpu, size=size).memory == estimated(gpu).memory


def test_a_table_stays_in_its_file_unless_it_is_converted_or_drawn(checkpoint, store):
    assert checkpoint("llama").size(store).left_in_file == 260 * 32 * 4
    assert checkpoint("llama", dtype="bfloat16").size(store).left_in_file == 0
    assert checkpoint("llama", random_init=0).size(store).left_in_file == 0


def test_half_precision_halves_the_hidden_states_and_not_what_is_kept(estimated):
    single, half = estimated(torch.device("cuda")), estimated(torch.device("cuda"), torch.bfloat16)
    assert half.memory - SIZE.bytes == (single.memory - SIZE.bytes) / 2
    assert half.disk == single.disk


@pytest.mark.parametrize(
    ("changed", "grows"),
    [
        ({"texts": 2000}, {"disk"}),
        ({"shard": 512}, {"memory"}),
        ({"poolings": 4}, {"disk", "memory"}),
        ({"signatures": 100}, {"disk"}),
        ({"batch_tokens": 8192}, {"memory"}),
    ],
)
def test_each_demand_costs_what_it_costs_and_nothing_else(estimated, changed, grows):
    before, after = vars(estimated()), vars(estimated(**changed))
    assert {name for name in before if after[name] > before[name]} == grows
    assert all(after[name] == before[name] for name in before if name not in grows)


def test_operations_by_hand():
    # three blocks, 32 dimensions: 2 for each parameter and token, 4 for each pair of tokens, dimension and block
    assert operations(SIZE, [[7]]) == 7 * 2 * 200_000 + 4 * 3 * 32 * 7 * 7
    assert operations(SIZE, [[7, 3]]) == 2 * operations(SIZE, [[7]])  # padding is computed
    assert operations(SIZE, [[7], [3]]) == operations(SIZE, [[7]]) + operations(SIZE, [[3]])


def test_a_sample_is_of_the_middle_lengths_and_small():
    lengths = [100, 20, 30, 40, 50, 60, 70, 80, 90, 10]
    assert [lengths[i] for i in sample(lengths, Batching(16, 4096), CPU)] == [60, 70]  # a quarter of ten
    assert len(sample(list(range(1, 101)), Batching(16, 4096), CPU)) == 512 // 51
    assert len(sample(list(range(1, 101)), Batching(4, 4096), CPU)) == 4
    assert len(sample([60] * 200, Batching(64, 4096), torch.device("cuda"))) == 50
    assert sample([4000], Batching(16, 4096), CPU) == [0]


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0234, "0.023 s"), (4.21, "4.2 s"), (43.4, "43 s"), (599.0, "599 s"), (3600.0, "60 minutes")]
)
def test_a_duration_is_written_for_people(seconds, written):
    assert duration(seconds) == written


@pytest.mark.parametrize("extra", [0, 300])
def test_the_time_of_all_texts_follows_from_that_of_a_few(checkpoint, store, monkeypatch, caplog, extra):
    """A clock that ticks only in forward passes, one second for each token that a network reads."""
    now, original = [0.0], LanguageModel.forward

    def ticking(self, tokens, *rest, **options):
        now[0] += tokens.ids.numel()
        return original(self, tokens, *rest, **options)

    monkeypatch.setattr(LanguageModel, "forward", ticking)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(preflight, "operations", lambda size, batches: float(sum(len(batch) * max(batch) for batch in batches)))
    texts = [f"{i:03d} {'x' * (i % 50)}" for i in range(256 + extra)]
    extract = Extractor(store, {"last": pooling.last}, Batching(16, 4096), CPU)
    with caplog.at_level(logging.INFO, "layeratlas"):
        extract(Side(checkpoint(), texts, 64), "last", "all")
    (told,) = [re.search(r"some (\d+) minutes", record.getMessage()) for record in caplog.records if "some" in record.getMessage()]
    lengths = sorted((len(text) + 1 for text in texts), reverse=True)
    expected = sum(len(lengths[i : i + 16]) * lengths[i] for i in range(0, len(lengths), 16)) / 60
    assert int(told[1]) == pytest.approx(expected, rel=0.05)


def test_the_speed_of_a_model_in_memory_is_measured_once(checkpoint, store, texts, monkeypatch, caplog):
    asked, original = [], preflight.sample
    monkeypatch.setattr(preflight, "sample", lambda *a: asked.append(a) or original(*a))
    extract = Extractor(store, {"last": pooling.last}, Batching(16, 4096), CPU)
    with caplog.at_level(logging.INFO, "layeratlas"):
        for length in (64, 32, 16):
            extract(Side(checkpoint(), texts, length), "last", "all")
    assert len(asked) == 1
    assert sum("some" in record.getMessage() for record in caplog.records) == 3


def test_what_a_run_will_take_is_logged(machine, tmp_path, caplog):
    machine()
    with caplog.at_level(logging.INFO, "layeratlas"):
        require(Estimate(disk=128_000, memory=9_388_608), "tiny", tmp_path, CPU, spread=False)
    assert [record.getMessage() for record in caplog.records] == ["extract tiny: about 128 KB on disk and 9.39 MB of memory"]


def test_what_just_fits_is_not_refused(machine, tmp_path):
    machine(disk=1000, memory=2000)
    require(Estimate(disk=1000, memory=2000), "tiny", tmp_path, CPU, spread=False)


def test_what_is_in_use_already_is_not_asked_for_again(machine, tmp_path):
    machine(memory=2000)
    require(Estimate(disk=0, memory=5000, present=3000), "tiny", tmp_path, CPU, spread=False)
    with pytest.raises(ConfigError, match=r"needs about 2 KB of memory and cpu has 2 KB free"):
        require(Estimate(disk=0, memory=5000, present=2999), "tiny", tmp_path, CPU, spread=False)


def test_what_the_disk_cannot_hold_is_refused(machine, tmp_path):
    machine(disk=1_500_000)
    expected = rf"^store\.dir={tmp_path}: tiny needs 2 GB and 1\.5 MB is free; choose another folder$"
    with pytest.raises(ConfigError, match=expected):
        require(Estimate(disk=2 * GIGABYTE, memory=0), "tiny", tmp_path, CPU, spread=False)


def test_what_memory_cannot_hold_is_refused(machine, tmp_path):
    machine(memory=GIGABYTE)
    expected = (
        r"^model tiny: needs about 3\.2 TB of memory and cpu has 1 GB free; choose a smaller dtype, quantization, or"
        r" device_map=auto$"
    )
    with pytest.raises(ConfigError, match=expected):
        require(Estimate(disk=0, memory=3_200 * GIGABYTE), "tiny", tmp_path, CPU, spread=False)


def test_a_model_that_is_spread_over_devices_is_not_held_against_the_memory_of_one(machine, tmp_path, caplog):
    machine(memory=0)
    with caplog.at_level(logging.INFO, "layeratlas"):
        require(Estimate(disk=0, memory=GIGABYTE), "tiny", tmp_path, CPU, spread=True)
    assert "1 GB of memory" in caplog.text


def test_a_spread_model_still_needs_its_disk(machine, tmp_path):
    machine(disk=0)
    with pytest.raises(ConfigError, match=r"^store\.dir="):
        require(Estimate(disk=1, memory=0), "tiny", tmp_path, CPU, spread=True)


def test_the_memory_of_a_gpu_is_the_gpus_own(machine, tmp_path, monkeypatch):
    machine(memory=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5000, 9000))
    gpu = torch.device("cuda:1")
    require(Estimate(disk=0, memory=5000), "tiny", tmp_path, gpu, spread=False)
    with pytest.raises(ConfigError, match=r"needs about 5 KB of memory and cuda:1 has 5 KB free"):
        require(Estimate(disk=0, memory=5001), "tiny", tmp_path, gpu, spread=False)


def test_the_disk_of_a_store_that_does_not_exist_yet_is_that_of_the_folder_above_it(machine, tmp_path):
    asked = machine()
    require(Estimate(disk=0, memory=0), "tiny", tmp_path / "not" / "yet", CPU, spread=False)
    assert asked == [tmp_path]
    require(Estimate(disk=0, memory=0), "tiny", Path("not/yet/there"), CPU, spread=False)
    assert asked[1:] == [Path()]


@pytest.mark.parametrize(
    ("bytes_", "written"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (1536, "1.54 KB"), (999_000_000, "999 MB"), (5e12, "5 TB"), (5e16, "5e+04 TB")],
)
def test_bytes_are_written_for_people(bytes_, written):
    assert preflight._size(bytes_) == written


@pytest.mark.parametrize(("architecture", "layers"), [("llama", 5), ("gpt2", 5), ("gpt_neox", 5), ("bert", 5), ("mamba", 5)])
def test_a_checkpoint_is_measured_without_its_weights(checkpoint, load, store, architecture, layers):
    size = checkpoint(architecture).size(store)
    model = load(architecture)
    assert size.layers == layers
    assert (size.width, size.vocabulary) == (32, 260)
    assert size.bytes == 4 * sum(p.numel() for p in model.network.parameters())
    assert size.block_parameters == sum(p.numel() for block in model.blocks for p in block.parameters())


@pytest.mark.parametrize(
    ("options", "share"),
    [({"dtype": "bfloat16"}, 2), ({"quantization": "8bit"}, 4), ({"quantization": "4bit"}, 8), ({"random_init": 3}, 1)],
)
def test_a_smaller_number_format_is_measured_as_such(checkpoint, store, options, share):
    assert checkpoint(**options).size(store).bytes == checkpoint().size(store).bytes // share


def test_measuring_reads_the_config_and_no_weights(checkpoint_folder, tmp_path, store):
    from layeratlas.models import Checkpoint

    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "config-only", ignore=shutil.ignore_patterns("*.safetensors"))
    here = Checkpoint(id=str(checkpoint_folder("llama")), dtype="float32").size(store)
    assert Checkpoint(id=str(folder), dtype="float32").size(store) == here


def test_measuring_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, store):
    from layeratlas.models import Checkpoint

    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=rf"^model {re.escape(str(tmp_path))}/empty: .*$") as raised:
        Checkpoint(id=str(tmp_path / "empty"), dtype="float32").size(store)
    assert "\n" not in str(raised.value)
