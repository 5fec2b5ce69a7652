import logging
import re
import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from layeratlas import preflight
from layeratlas.errors import ConfigError
from layeratlas.models.base import Size
from layeratlas.preflight import Estimate, estimate, require

CPU = torch.device("cpu")
SIZE = Size(bytes=1_000_000, block_parameters=200_000, layers=5, width=32)
GIGABYTE = 10**9


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


def estimated(dtype: torch.dtype = torch.float32, **changed: int) -> Estimate:
    wanted = {"texts": 100, "text_bytes": 40_000, "poolings": 2, "batch_tokens": 4096} | changed
    return estimate(SIZE, **wanted, device=CPU, dtype=dtype)


def test_an_estimate_by_hand(monkeypatch):
    monkeypatch.setattr(preflight, "_flops", lambda device, dtype: 1e9)
    found = estimated()
    assert found.disk == 100 * 5 * 32 * 4 * 2  # texts x layers x width x float32 x poolings
    assert found.memory == 1_000_000 + 4096 * 32 * 16 * 4  # weights, and 16 tensors of a batch's hidden states
    assert found.seconds == pytest.approx(2 * 200_000 * 10_000 / 1e9)  # two operations per parameter and token of 4 bytes


def test_half_precision_halves_the_hidden_states_and_not_what_is_kept(monkeypatch):
    monkeypatch.setattr(preflight, "_flops", lambda device, dtype: 1e9)
    single, half = estimated(), estimated(torch.bfloat16)
    assert half.memory - SIZE.bytes == (single.memory - SIZE.bytes) / 2
    assert half.disk == single.disk


@pytest.mark.parametrize(
    ("changed", "grows"),
    [
        ({"texts": 200}, {"disk"}),
        ({"poolings": 4}, {"disk"}),
        ({"batch_tokens": 8192}, {"memory"}),
        ({"text_bytes": 80_000}, {"seconds"}),
    ],
)
def test_each_demand_costs_what_it_costs_and_nothing_else(monkeypatch, changed, grows):
    monkeypatch.setattr(preflight, "_flops", lambda device, dtype: 1e9)
    before, after = vars(estimated()), vars(estimated(**changed))
    assert {name for name in before if after[name] > before[name]} == grows
    assert all(after[name] == before[name] for name in before if name not in grows)


def test_the_speed_of_a_device_is_measured_on_it():
    rate = preflight._flops(CPU, torch.float32)
    assert 1e8 < rate < 1e15


def test_what_a_run_will_take_is_logged(machine, tmp_path, caplog):
    machine()
    with caplog.at_level(logging.INFO, "layeratlas"):
        require(Estimate(disk=128_000, memory=9_388_608, seconds=4.2), "tiny", tmp_path, CPU, spread=False)
    assert [record.getMessage() for record in caplog.records] == [
        "extract tiny: about 128 KB on disk, 9.39 MB of memory, and some 4 s of arithmetic"
    ]


def test_what_just_fits_is_not_refused(machine, tmp_path):
    machine(disk=1000, memory=2000)
    require(Estimate(disk=1000, memory=2000, seconds=1.0), "tiny", tmp_path, CPU, spread=False)


def test_what_the_disk_cannot_hold_is_refused(machine, tmp_path):
    machine(disk=1_500_000)
    expected = rf"^store\.dir={tmp_path}: tiny needs 2 GB and 1\.5 MB is free; choose another folder$"
    with pytest.raises(ConfigError, match=expected):
        require(Estimate(disk=2 * GIGABYTE, memory=0, seconds=1.0), "tiny", tmp_path, CPU, spread=False)


def test_what_memory_cannot_hold_is_refused(machine, tmp_path):
    machine(memory=GIGABYTE)
    expected = (
        r"^model tiny: needs about 3\.2 TB of memory and cpu has 1 GB free; choose a smaller dtype, quantization, or"
        r" device_map=auto$"
    )
    with pytest.raises(ConfigError, match=expected):
        require(Estimate(disk=0, memory=3_200 * GIGABYTE, seconds=1.0), "tiny", tmp_path, CPU, spread=False)


def test_a_model_that_is_spread_over_devices_is_not_held_against_the_memory_of_one(machine, tmp_path, caplog):
    machine(memory=0)
    with caplog.at_level(logging.INFO, "layeratlas"):
        require(Estimate(disk=0, memory=GIGABYTE, seconds=1.0), "tiny", tmp_path, CPU, spread=True)
    assert "1 GB of memory" in caplog.text


def test_a_spread_model_still_needs_its_disk(machine, tmp_path):
    machine(disk=0)
    with pytest.raises(ConfigError, match=r"^store\.dir="):
        require(Estimate(disk=1, memory=0, seconds=1.0), "tiny", tmp_path, CPU, spread=True)


def test_the_memory_of_a_gpu_is_the_gpus_own(machine, tmp_path, monkeypatch):
    machine(memory=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5000, 9000))
    gpu = torch.device("cuda:1")
    require(Estimate(disk=0, memory=5000, seconds=1.0), "tiny", tmp_path, gpu, spread=False)
    with pytest.raises(ConfigError, match=r"needs about 5 KB of memory and cuda:1 has 5 KB free"):
        require(Estimate(disk=0, memory=5001, seconds=1.0), "tiny", tmp_path, gpu, spread=False)


def test_the_disk_of_a_store_that_does_not_exist_yet_is_that_of_the_folder_above_it(machine, tmp_path):
    asked = machine()
    require(Estimate(disk=0, memory=0, seconds=1.0), "tiny", tmp_path / "not" / "yet", CPU, spread=False)
    assert asked == [tmp_path]
    require(Estimate(disk=0, memory=0, seconds=1.0), "tiny", Path("not/yet/there"), CPU, spread=False)
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
    assert size.width == 32
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
