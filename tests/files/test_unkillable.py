"""No crash, race, full disk or flipped bit loses work or turns into wrong numbers, and what the store holds can be looked at."""

import errno
import hashlib
import io
import json
import logging
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import safetensors
import safetensors.torch
import torch
from conftest import TEXTS
from extracting import Job, Process, answer, digest, extractor, side

import layeratlas
from layeratlas.errors import ConfigError
from layeratlas.extraction import forward
from layeratlas.extraction.activations import Extracted, Extractor, Side
from layeratlas.extraction.catalogue import catalogue, damaged, remove
from layeratlas.extraction.shards import SHARD
from layeratlas.files import store as store_module
from layeratlas.files.store import Store, checksum, intact
from layeratlas.models import BundledCheckpoint
from layeratlas.models.base import AbstractModel

MANY = [f"Item {i}" + " again" * (i % 5) + "." for i in range(1100)]


@pytest.fixture(scope="session")
def llama(checkpoint_folder: Callable[[str], Path]) -> Path:
    return checkpoint_folder("llama")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For so small a model a second thread only waits for the first, and the processes compared with have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every object of a store of files, by its name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in Store(root).objects()}


def everything_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def whole_shards(root: Path) -> dict[str, tuple[int, int]]:
    """Vectors of the shards of which both poolings are there (tables have keys of their own): name -> inode, time of writing."""
    files = list(Store(root).objects())
    keys = [path.name.split("-")[0] for path in files]
    whole = [path for path, key in zip(files, keys, strict=True) if keys.count(key) == 2]
    return {path.relative_to(root).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in whole}


def store_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "layeratlas.files.store" and r.levelno >= logging.WARNING]


# 13: killed processes


@pytest.mark.slow
def test_an_extraction_killed_at_30_random_moments_ends_with_the_bytes_of_an_undisturbed_one(llama, tmp_path):
    undisturbed = Job(tmp_path / "undisturbed", llama, MANY)
    expected = answer(undisturbed)
    duration = time_of(replace(undisturbed, store=tmp_path / "timed"))
    expected_bytes = bytes_of(undisturbed.store)
    assert len(expected_bytes) == 15  # five shards: two poolings and a table each
    chance = random.Random(20_26)
    killed, resumed, rounds = 0, 0, 0
    while killed < 30:
        job = replace(undisturbed, store=tmp_path / f"killed-{rounds}")
        kept: dict[str, tuple[int, int]] = {}
        while killed < 30 and Process(job).go().kill_after(chance.uniform(0, duration)):
            killed += 1
            assert kept.items() <= whole_shards(job.store).items()  # what is finished is not made again
            kept = whole_shards(job.store)
        resumed += 0 < len(kept) < len(expected_bytes)
        assert answer(job).digest == expected.digest
        assert kept.items() <= whole_shards(job.store).items()
        assert bytes_of(job.store) == expected_bytes
        rounds += 1
    assert resumed > 0  # or the moments were not spread over the extraction


def time_of(job: Job) -> float:
    process = Process(job)
    start = time.monotonic()
    process.go().answer()
    return time.monotonic() - start


@pytest.mark.slow
def test_an_extraction_killed_before_any_of_its_file_operations_ends_with_the_bytes_of_an_undisturbed_one(llama, tmp_path):
    undisturbed = Job(tmp_path / "undisturbed", llama, TEXTS)
    expected = answer(undisturbed)
    expected_bytes = bytes_of(undisturbed.store)
    assert {operation.split()[0] for operation in expected.operations} >= {"os.mkdir", "open", "os.rename", "os.listdir"}
    seen = set()
    for last in range(1, len(expected.operations) + 1):
        job = replace(undisturbed, store=tmp_path / f"killed-{last}")
        assert Process(replace(job, last_operation=last)).go().end() == -signal.SIGKILL
        assert bytes_of(job.store).items() <= expected_bytes.items()
        left = tuple(re.sub(r"\.tmp-[^.]*", ".tmp", name) for name in everything_below(job.store))
        if left not in seen:  # what comes next depends on nothing but what is on the disk
            seen.add(left)
            assert answer(job).digest == expected.digest
            assert bytes_of(job.store) == expected_bytes
    assert len(seen) > 2 * len(expected_bytes)  # before, while and after each file was written


@pytest.mark.slow
def test_what_a_process_killed_while_writing_leaves_is_never_read_and_is_removed_on_request(llama, tmp_path, command, capfd):
    job = Job(tmp_path / "store", llama, MANY[:300])
    half = 50_000
    assert Process(replace(job, file_size=half, die_of_size=True)).go().end() == -signal.SIGXFSZ
    store = Store(job.store)
    (leftover,) = store.leftovers()
    assert leftover.stat().st_size == half
    assert list(store.objects()) == []
    assert "0 entries" in told(command, capfd, store)
    found = answer(job)
    assert found.digest == answer(replace(job, store=tmp_path / "undisturbed")).digest
    assert [operation for operation in found.operations if leftover.name in operation] == []
    assert store.leftovers() == [leftover]
    assert damaged(store) == []
    before = bytes_of(store.root)
    assert "removed 1 objects of unfinished" in told(command, capfd, store, "store.action=remove", "store.entry=unfinished")
    assert store.leftovers() == []
    assert bytes_of(store.root) == before


@pytest.mark.slow
def test_a_larger_draw_keeps_the_full_shards_of_a_smaller_one(llama, tmp_path):
    extractor(tmp_path / "store")(side(llama, MANY[:600]), "mean", "all")
    small = {name: (tmp_path / "store" / name).stat().st_mtime_ns for name in bytes_of(tmp_path / "store")}
    large = extractor(tmp_path / "store")(side(llama, MANY), "mean", "all")
    assert small == {name: (tmp_path / "store" / name).stat().st_mtime_ns for name in small}
    direct = extractor(tmp_path / "direct")(side(llama, MANY), "mean", "all")
    assert digest(large) == digest(direct)
    added = bytes_of(tmp_path / "direct").keys() - small.keys()
    assert len(added) == 3 * (5 - 600 // SHARD)
    assert {name: content for name, content in bytes_of(tmp_path / "store").items() if name in added} == {
        name: content for name, content in bytes_of(tmp_path / "direct").items() if name in added
    }


# 14: damaged files


@pytest.fixture
def bundled(llama, tmp_path, monkeypatch) -> BundledCheckpoint:
    """A model that is converted into a folder in the store, as the bundled ones are."""
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"quantised")
    sha256 = hashlib.sha256(b"quantised").hexdigest()
    monkeypatch.setattr("layeratlas.models.bundled.package_files", lambda package, below="": {weights.name: weights})
    monkeypatch.setattr("layeratlas.models.dequantise.dequantise", lambda gguf, folder: shutil.copytree(llama, folder))
    return BundledCheckpoint(id="tiny-bundled", dtype="float32", packages=["weights"], sha256=sha256, notice="made here")


@pytest.mark.slow
def test_a_flipped_or_truncated_byte_at_any_of_200_random_positions_is_found_and_repaired(bundled, tmp_path, caplog, monkeypatch):
    store = Store(tmp_path / "store")
    extract = extractor(store.root, nll=True)
    texts = Side(bundled, TEXTS, 64, label="texts en")
    expected = {pooling: digest(extract(texts, pooling, "all")) for pooling in ("last", "mean")}
    objects = list(store.objects())
    assert sorted({path.parent.name for path in objects}) == ["items", "last", "mean", "models", "nll"]
    before = {path: checksum(path) for path in objects}
    files = [file for path in objects for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()]
    assert {file.suffix for file in files} >= {".safetensors", ".parquet", ".json"}
    chance = random.Random(3)
    for _ in range(200):
        file = chance.choice(files)
        (damage,) = [path for path in objects if path == file or path in file.parents]
        spoil(file, chance)
        assert damaged(store) == [damage]
        assert catalogue(store)["bytes"].sum() > 0  # a damaged file does not keep the others from being listed
        if damage.parent.name == "models":  # it is read only when a text is missing
            shutil.rmtree(store.root / "activations")
            extract.held.drop()  # nor does a process that has the model in memory read it
        pooling = damage.parent.name if damage.parent.name in ("last", "mean") else "mean"
        caplog.clear()
        assert digest(extract(texts, pooling, "all")) == expected[pooling]
        assert store_warnings(caplog) == [
            f"store: {damage} is damaged (its bytes do not match its checksum); it will be made again"
        ]
        assert {path: checksum(path) for path in store.objects()} == before


def spoil(file: Path, chance: random.Random) -> None:
    """Flip one bit of the file, or cut it off, at a random byte."""
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    if chance.random() < 0.5:
        content[at] ^= 1 << chance.randrange(8)
    else:
        del content[at:]
    file.write_bytes(content)


def test_a_file_that_another_process_has_just_repaired_is_not_thrown_away(llama, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    extract = extractor(store.root)
    extract(side(llama, TEXTS), "mean", "all")
    path = next(path for path in store.objects() if path.parent.name == "mean")
    good = path.read_bytes()
    path.write_bytes(good[:-1])

    def seen_damaged_and_then_repaired(found: Path) -> bool:
        verdict = intact(found)
        if found == path and not verdict:
            temporary = path.with_name(".tmp-of-another-process")
            temporary.write_bytes(good)
            temporary.rename(path)
        return verdict

    monkeypatch.setattr(store_module, "intact", seen_damaged_and_then_repaired)
    store.open(path.relative_to(store.root).parent.as_posix(), path.name.split("-")[0])
    assert path.exists()
    assert path.read_bytes() == good


def test_a_damaged_file_that_another_process_has_just_removed_is_warned_about_once(llama, tmp_path, caplog, monkeypatch):
    store = Store(tmp_path / "store")
    extract = extractor(store.root)
    expected = digest(extract(side(llama, TEXTS), "mean", "all"))
    path = next(path for path in store.objects() if path.parent.name == "mean")
    spoil(path, random.Random(8))

    def seen_damaged_and_then_removed(found: Path) -> bool:
        verdict = intact(found)
        if not verdict:
            found.unlink()
        return verdict

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "intact", seen_damaged_and_then_removed)
        assert digest(extract(side(llama, TEXTS), "mean", "all")) == expected
    assert [warning for warning in store_warnings(caplog) if "could not remove" in warning] == []


# 15: several processes at once


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False], ids=["the same", "overlapping"])
@pytest.mark.parametrize("n", [2, 4])
def test_processes_that_extract_at_once_leave_what_each_alone_would_and_take_no_lock(llama, tmp_path, n, same):
    wanted = [
        {"texts": MANY[:600], "poolings": ("last", "mean")},
        {"texts": MANY[:800], "poolings": ("mean", "max"), "nll": True},
        {"texts": MANY[256:900], "poolings": ("last",)},
        {"texts": MANY[:300], "poolings": ("mean",), "nll": True},
    ]
    jobs = [Job(tmp_path / "together", llama, **(wanted[0] if same else wanted[i])) for i in range(n)]
    alone = [answer(replace(job, store=tmp_path / f"alone-{i}")) for i, job in enumerate(jobs)]
    expected = {name: content for i in range(n) for name, content in bytes_of(tmp_path / f"alone-{i}").items()}
    processes = [Process(job) for job in jobs]
    for process in processes:
        process.go()
    answers = [process.answer() for process in processes]
    assert [(a.digest, a.refusal, a.crash) for a in answers] == [(a.digest, "", "") for a in alone]
    assert [lock for a in answers for lock in a.locks] == []
    assert bytes_of(tmp_path / "together") == expected
    assert damaged(Store(tmp_path / "together")) == []
    assert Store(tmp_path / "together").leftovers() == []


@pytest.mark.slow
def test_processes_that_find_the_same_damage_at_once_all_repair_it(llama, tmp_path):
    job = Job(tmp_path / "store", llama, MANY[:600])
    expected = answer(job)
    undamaged = bytes_of(job.store)
    chance = random.Random(4)
    for path in Store(job.store).objects():
        spoil(path, chance)
    processes = [Process(job) for _ in range(4)]
    for process in processes:
        process.go()
    assert [(a.digest, a.refusal, a.crash) for a in (p.answer() for p in processes)] == [(expected.digest, "", "")] * 4
    assert bytes_of(job.store) == undamaged


@pytest.mark.slow
def test_processes_of_which_one_is_killed_do_not_disturb_the_others(llama, tmp_path):
    job = Job(tmp_path / "undisturbed", llama, MANY[:600])
    expected = answer(job)
    duration = time_of(replace(job, store=tmp_path / "timed"))
    chance = random.Random(5)
    killed = 0
    for trial in range(5):
        here = replace(job, store=tmp_path / f"store-{trial}")
        processes = [Process(here) for _ in range(4)]
        victim = processes.pop(chance.randrange(4))
        for process in [victim, *processes]:
            process.go()
        killed += victim.kill_after(chance.uniform(0, duration))
        assert [(a.digest, a.refusal, a.crash) for a in (p.answer() for p in processes)] == [(expected.digest, "", "")] * 3
        assert bytes_of(here.store) == bytes_of(job.store)
        assert len(Store(here.store).leftovers()) <= 1
    assert killed > 0


# 16: disks


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[..., Path]]:
    """A small file system of its own: `disk(kilobytes)`; `disk(read_only=True)` makes it one that cannot be written."""
    mounted = tmp_path / "disk"
    mounted.mkdir()

    def mount(kilobytes: int = 0, *, read_only: bool = False) -> Path:
        options = "remount,ro" if read_only else f"size={kilobytes}k"
        arguments = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mounted)]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip(f"may not mount a file system here: {done.stderr.strip()}")
        return mounted

    yield mount
    if mounted.is_mount():
        subprocess.run(["umount", str(mounted)], check=True)


def after_shard(monkeypatch: pytest.MonkeyPatch, number: int, happen: Callable[[], object]) -> None:
    """Let something happen between the computing and the writing of the given shard of the extraction."""
    original, seen = forward.extract, 0

    def extract(*arguments):
        nonlocal seen
        made = original(*arguments)
        seen += 1
        if seen == number:
            happen()
        return made

    monkeypatch.setattr(forward, "extract", extract)


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 100, 200, 340], ids=lambda room: f"{room} KB left")
def test_a_disk_that_fills_up_ends_in_one_line_and_the_extraction_goes_on_when_there_is_room(
    disk, llama, tmp_path, caplog, monkeypatch, room
):
    root = disk(4000)
    store, filler = Store(root / "store"), root / "filler"

    def fill() -> None:
        free = shutil.disk_usage(root).free - room * 1024
        filler.write_bytes(bytes(free))

    with monkeypatch.context() as patch:
        after_shard(patch, 2, fill)
        with pytest.raises(ConfigError, match=rf"^store\.dir={store.root}: cannot write \(.*[Nn]o space left on device.*\)$"):
            extractor(store.root)(side(llama, MANY[:600]), "mean", "all")
    assert store_warnings(caplog) == []
    assert damaged(store) == []
    assert store.leftovers() == []
    kept = bytes_of(store.root)
    assert len(kept) >= 3  # the first shard
    filler.unlink()
    again = extractor(store.root)(side(llama, MANY[:600]), "mean", "all")
    assert digest(again) == digest(extractor(tmp_path / "direct")(side(llama, MANY[:600]), "mean", "all"))
    assert kept.items() <= bytes_of(store.root).items()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(disk, llama, monkeypatch):
    root = disk(100)
    monkeypatch.setattr(AbstractModel, "load", lambda *a: pytest.fail("loaded a model"))
    with pytest.raises(ConfigError, match=rf"^store\.dir={root}/store: .* needs 1\.41 MB and 102 KB is free; choose another"):
        extractor(root / "store")(side(llama, MANY), "mean", "all")
    assert everything_below(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 60_000])
def test_a_file_larger_than_may_be_written_is_refused_in_one_line_and_leaves_nothing(llama, tmp_path, size):
    job = Job(tmp_path / "store", llama, MANY[:300], file_size=size)
    told = answer(job)
    assert (told.refusal, told.crash) == (f"store.dir={job.store}: cannot write ({os.strerror(errno.EFBIG)})", "")
    assert [path for path in job.store.rglob("*") if path.is_file()] == []


def test_an_empty_read_only_store_is_refused_in_one_line(disk, llama, caplog):
    root = disk(4000)
    disk(read_only=True)
    with pytest.raises(ConfigError, match=rf"^store\.dir={root}: cannot write \({os.strerror(errno.EROFS)}\)$"):
        extractor(root)(side(llama, TEXTS), "mean", "all")
    assert store_warnings(caplog) == []
    assert everything_below(root) == []


def test_a_read_only_store_that_lacks_texts_is_refused_in_one_line_and_keeps_what_it_has(disk, llama, caplog):
    root = disk(4000)
    extractor(root)(side(llama, TEXTS), "mean", "all")
    before = bytes_of(root)
    disk(read_only=True)
    with pytest.raises(ConfigError, match=rf"^store\.dir={root}: cannot write \({os.strerror(errno.EROFS)}\)$"):
        extractor(root)(side(llama, TEXTS[:3]), "mean", "all")
    assert store_warnings(caplog) == []
    assert bytes_of(root) == before


def test_a_read_only_store_that_holds_everything_is_read_without_complaint(disk, llama, caplog, monkeypatch):
    root = disk(4000)
    expected = extractor(root)(side(llama, MANY[:600]), "mean", "all")
    disk(read_only=True)
    monkeypatch.setattr(AbstractModel, "load", lambda *a: pytest.fail("loaded a model"))
    assert digest(extractor(root)(side(llama, MANY[:600]), "mean", "all")) == digest(expected)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_damage_in_a_read_only_store_is_refused_and_not_used(disk, llama, caplog):
    root = disk(4000)
    extractor(root)(side(llama, TEXTS), "mean", "all")
    path = next(path for path in Store(root).objects() if path.parent.name == "mean")
    spoil(path, random.Random(6))
    disk(read_only=True)
    with pytest.raises(ConfigError, match=rf"^store\.dir={root}: cannot write \({os.strerror(errno.EROFS)}\)$"):
        extractor(root)(side(llama, TEXTS), "mean", "all")
    assert any(f"{path} is damaged" in warning for warning in store_warnings(caplog))


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_store_that_is_or_lies_below_a_file_is_refused_in_one_line_by_the_command(command, tiny, tmp_path, capfd, below):
    file = tmp_path / "file"
    file.write_text("not a folder")
    root = file / below
    assert command(*tiny, f"store.dir={root}") == 2
    assert lines_of_error(capfd) == [f"layeratlas: store.dir={root}: cannot read ({os.strerror(errno.ENOTDIR)})"]
    assert file.read_text() == "not a folder"


def lines_of_error(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What a person is told of a failure, after the line with which Hydra repeats the command, and without bars."""
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip() and "%|" not in line]
    return [line for line in lines if not line.startswith("Error executing job with overrides: [")]


@pytest.mark.slow
def test_a_store_that_vanishes_between_two_shards_ends_in_one_line_and_leaves_whole_files(llama, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    with monkeypatch.context() as patch:
        after_shard(patch, 2, lambda: shutil.rmtree(store.root))
        with pytest.raises(
            ConfigError, match=rf"^store\.dir={store.root}: activations of tiny-llama vanished after being written$"
        ):
            extractor(store.root)(side(llama, MANY[:600]), "mean", "all")
    assert damaged(store) == []
    assert store.leftovers() == []
    again = extractor(store.root)(side(llama, MANY[:600]), "mean", "all")
    assert digest(again) == digest(extractor(tmp_path / "direct")(side(llama, MANY[:600]), "mean", "all"))


@pytest.mark.parametrize("moment", ["_flush", "checksum"])
def test_a_store_that_vanishes_while_a_file_is_written_ends_in_one_line(llama, tmp_path, caplog, monkeypatch, moment):
    root = tmp_path / "store"
    original = getattr(store_module, moment)

    def vanishing(path: Path):
        shutil.rmtree(root)
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, moment, vanishing)
        with pytest.raises(ConfigError, match=rf"^store\.dir={root}: cannot write \({os.strerror(errno.ENOENT)}\)$"):
            extractor(root)(side(llama, TEXTS), "mean", "all")
    assert store_warnings(caplog) == []
    assert not root.exists()


def test_a_store_that_vanishes_before_it_is_read_ends_in_one_line(llama, tmp_path, monkeypatch):
    root = tmp_path / "store"
    original = Extractor.fill

    def vanishing(*arguments):
        found = original(*arguments)
        shutil.rmtree(root)
        return found

    monkeypatch.setattr(Extractor, "fill", vanishing)
    with pytest.raises(ConfigError, match=rf"^store\.dir={root}: .*vanished"):
        extractor(root)(side(llama, TEXTS), "mean", "all")


# 17: no pickle


@pytest.fixture(scope="session")
def unpickled() -> list[str]:
    """Every class that an unpickler of this process looks up, from the first use of this fixture on."""
    found: list[str] = []
    sys.addaudithook(lambda event, arguments: found.append(".".join(arguments)) if event == "pickle.find_class" else None)
    return found


@pytest.fixture
def no_pickle(unpickled, monkeypatch) -> list[str]:
    """Nothing may be pickled, nor read or written by torch's own format; returns the classes unpickled, which must stay empty."""

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("a pickle")

    for module, name in [(pickle, "dump"), (pickle, "dumps"), (pickle, "Pickler"), (torch, "save"), (torch, "load")]:
        monkeypatch.setattr(module, name, forbidden)
    unpickled.clear()
    return unpickled


def require_no_pickle(file: Path) -> None:
    """Every format that we write, read as strictly as it can be; any other file must be text or a picture."""
    content = file.read_bytes()
    assert not (content[:1] == b"\x80" and content[-1:] == b"."), file
    if file.suffix == ".npz":
        assert all(name.endswith(".npy") for name in zipfile.ZipFile(file).namelist())
        with np.load(file, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)
    elif file.suffix == ".safetensors":
        assert safetensors.torch.load(content)
    elif file.suffix == ".parquet":
        types = [field.type for field in pyarrow.parquet.read_schema(file)]
        assert not any(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind) for kind in types)
    elif file.suffix not in (".png", ".pdf"):
        content.decode("utf-8")


def test_the_watch_for_pickles_sees_one(no_pickle, tmp_path):
    with pytest.raises(AssertionError, match="a pickle"):
        pickle.dumps(Path())
    assert pickle.loads(b"cbuiltins\nlen\n.") is len
    assert no_pickle == ["builtins.len"]
    (tmp_path / "file").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(AssertionError):
        require_no_pickle(tmp_path / "file")


def test_an_extraction_reads_and_writes_no_pickle(no_pickle, llama, tmp_path):
    for _ in range(2):
        extractor(tmp_path / "store", nll=True)(side(llama, MANY[:300]), "mean", "all")
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert {file.suffix for file in files} == {".safetensors", ".parquet"}
    for file in files:
        require_no_pickle(file)
    assert no_pickle == []


@pytest.mark.slow
@pytest.mark.pictures
def test_a_run_reads_and_writes_no_pickle(no_pickle, command, tiny, tmp_path):
    assert command(*tiny, "extract.nll=true") == 0
    layeratlas.read_run(tmp_path / "out")
    files = [path for folder in ("store", "out") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert {file.suffix for file in files} >= {".safetensors", ".parquet", ".npz", ".json", ".png", ".pdf", ".log"}
    for file in files:
        require_no_pickle(file)
    assert no_pickle == []


def test_a_checkpoint_whose_weights_are_a_pickle_is_refused_unread(llama, tmp_path, unpickled):
    folder = tmp_path / "pickled"
    shutil.copytree(llama, folder)
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    unpickled.clear()
    with pytest.raises(ConfigError, match=f"^model {folder}: "):
        extractor(tmp_path / "store")(side(folder, TEXTS), "mean", "all")
    assert unpickled == []


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_a_pickle_among_stored_vectors_is_refused_unread(command, tiny, tmp_path, capfd, unpickled, suffix):
    path = tmp_path / f"theirs{suffix if suffix == '.npz' else ''}"
    objects = np.array([[{"a": 1}]] * 40, dtype=object)
    if suffix == ".npz":
        np.savez(path, block_1=objects)
    else:
        path.mkdir()
        np.save(path / "block_1.npy", objects)
    unpickled.clear()
    assert command(*tiny_with(tiny, a=path)) == 2
    assert lines_of_error(capfd)[-1].startswith(f"layeratlas: model path={path}: cannot be read (Object arrays cannot be loaded")
    assert unpickled == []


def test_no_checkpoint_brings_code_unless_its_config_says_so(command, tiny, llama, tmp_path, capfd):
    folder = tmp_path / "with-code"
    shutil.copytree(llama, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "ours", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert command(*tiny, f"model_a.id={folder}") == 2
    assert "trust_remote_code" in lines_of_error(capfd)[-1]
    assert not (tmp_path / "ran").exists()


# 18: looking at the store, stages, and vectors of others


def told(command, capfd, store: Store, *arguments: str, code: int = 0) -> str:
    """What stage=store says."""
    capfd.readouterr()
    assert command("stage=store", f"store.dir={store.root}", *arguments, where=[]) == code
    return capfd.readouterr().out


def listed(text: str) -> pd.DataFrame:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["entry", "model"])
    return pd.read_fwf(io.StringIO("\n".join(lines[start:])), dtype=str, keep_default_na=False)


@pytest.fixture
def filled(command, tiny, tmp_path, capfd) -> Store:
    """A store that holds two models' activations of the same 40 texts."""
    assert command(*tiny, "stage=extract") == 0
    shutil.rmtree(tmp_path / "out")
    capfd.readouterr()
    return Store(tmp_path / "store")


def entry_of(store: Store, model: str) -> str:
    table = catalogue(store)
    (entry,) = set(table["entry"][table["model"] == model])
    return entry


def test_list_shows_model_content_items_size_and_age(command, filled, capfd):
    old = next(path for path in filled.objects() if path.parent.name == "mean")
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    text = told(command, capfd, filled)
    files = list(filled.objects())
    assert f"store {filled.root}: 8 entries, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB" in text
    table = listed(text)
    vectors = table[table["content"] != "items"]
    assert sorted(zip(vectors["model"], vectors["content"], vectors["texts"], vectors["items"], strict=True)) == [
        ("tiny-gpt2", "last", "texts en", "40"),
        ("tiny-gpt2", "last_content", "texts en", "40"),
        ("tiny-gpt2", "mean", "texts en", "40"),
        ("tiny-llama", "last", "texts en", "40"),
        ("tiny-llama", "last_content", "texts en", "40"),
        ("tiny-llama", "mean", "texts en", "40"),
    ]
    assert sorted(table["bytes"].astype(int)) == sorted(f.stat().st_size for f in files)
    aged = table[table["bytes"].astype(int) == old.stat().st_size]["days"].astype(float)
    assert 3.0 in aged.tolist()
    assert sorted(table["days"].astype(float))[:5] == [0.0] * 5


def test_list_says_that_an_empty_store_is_empty(command, tmp_path, capfd):
    assert "0 entries, 0.0 MB" in told(command, capfd, Store(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_verify_names_a_damaged_file(command, filled, capfd):
    assert "all objects are intact" in told(command, capfd, filled, "store.action=verify")
    path = sorted(filled.objects())[2]
    spoil(path, random.Random(7))
    text = told(command, capfd, filled, "store.action=verify", code=1)
    assert "1 damaged objects" in text
    assert [line.split("damaged: ")[1] for line in text.splitlines() if "damaged: " in line] == [str(path)]
    assert path.exists()  # looking repairs nothing


@pytest.mark.parametrize("part", ["record", "model", "texts", "embed"])
def test_list_survives_a_file_whose_description_is_damaged(command, filled, capfd, part):
    path = next(path for path in filled.objects() if path.parent.name == "mean")
    content = path.read_bytes()
    assert part.encode() in content
    path.write_bytes(content.replace(part.encode(), part.encode().upper(), 1))
    table = listed(told(command, capfd, filled))
    assert "damaged" in table["model"].tolist()
    assert len(table) == 8


def test_remove_removes_just_the_entry_that_is_named(command, filled, capfd):
    gone, stays = entry_of(filled, "tiny-llama"), entry_of(filled, "tiny-gpt2")
    before = bytes_of(filled.root)
    text = told(command, capfd, filled, "store.action=remove", f"store.entry={gone}")
    assert f"removed 4 objects of {gone}" in text
    after = bytes_of(filled.root)
    assert len(after) == 4
    assert after.items() <= before.items()
    assert set(catalogue(filled)["entry"]) == {stays}


def test_remove_takes_the_name_of_an_entry_as_long_as_it_is_on_disk(filled):
    path = next(path for path in filled.objects() if path.parent.name == "mean")
    whole = path.parent.parent.name
    (listed_as,) = {entry for entry in catalogue(filled)["entry"] if entry.split("/")[-1] == whole[:12]}
    assert path in remove(filled, listed_as.replace(whole[:12], whole))
    assert not path.exists()


@pytest.mark.parametrize("digits", ["123456789012", "1234567890e1", "012345678901"])
def test_an_entry_whose_name_looks_like_a_number_is_removed(command, tmp_path, capfd, digits):
    store = Store(tmp_path / "store")
    with store.building(f"activations/{digits}{'f' * 20}/items", "key", ".parquet") as path:
        path.write_bytes(b"bytes")
    (entry,) = catalogue(store)["entry"]
    assert digits in entry
    assert f"removed 1 objects of {entry}" in told(command, capfd, store, "store.action=remove", f"store.entry={entry}")
    assert list(store.objects()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["store.action=burn"], "store.action: expected 'list', 'verify' or 'remove'; got 'burn'"),
        (["store.action=remove", "store.entry=nope"], "store.entry: nothing is called 'nope'; entries are "),
        (["store.action=remove"], "store.entry: nothing is called ''; entries are "),
        (["store.action=remove", "store.entry=unfinished"], "store.entry: nothing is called 'unfinished'; entries are "),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_an_unknown_action_or_entry_ends_in_one_line_and_exit_code_2(command, filled, capfd, arguments, message):
    before = bytes_of(filled.root)
    assert command("stage=store", f"store.dir={filled.root}", *arguments, where=[]) == 2
    (line,) = lines_of_error(capfd)
    assert line.startswith(f"layeratlas: {message}")
    if "entries are" in message:
        assert all(entry_of(filled, model) in line for model in ("tiny-llama", "tiny-gpt2"))
    assert bytes_of(filled.root) == before


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["stage=store"], ["stage=store", "store.action=verify"], ["stage=selftest"]])
def test_stages_that_only_look_leave_nothing_in_the_current_folder(command, tiny, filled, tmp_path, arguments):
    before = everything_below(tmp_path)
    assert command(*tiny, *arguments, where=[]) == 0
    assert everything_below(tmp_path) == before


def test_after_extract_compare_loads_no_model_and_gives_what_one_run_gives(command, tiny, tmp_path, monkeypatch):
    assert command(*tiny, "stage=extract") == 0
    assert not (tmp_path / "out" / "result.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(AbstractModel, "load", lambda *a: pytest.fail("loaded a model"))
        assert command(*tiny, "stage=compare", where=[f"hydra.run.dir={tmp_path / 'compared'}"]) == 0
    assert command(*tiny, f"store.dir={tmp_path / 'other'}", where=[f"hydra.run.dir={tmp_path / 'whole'}"]) == 0
    compared, whole = (layeratlas.read_run(tmp_path / name).arrays for name in ("compared", "whole"))
    assert compared.keys() == whole.keys()
    for name in whole:
        np.testing.assert_array_equal(compared[name], whole[name])


def test_compare_on_an_empty_store_names_the_stage_that_fills_it(command, tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(AbstractModel, "load", lambda *a: pytest.fail("loaded a model"))
    assert command(*tiny, "stage=compare") == 2
    assert lines_of_error(capfd) == [
        f"layeratlas: 40 of 40 texts of tiny-llama (texts en) are not in store.dir={tmp_path / 'store'};"
        " run the same with stage=extract"
    ]


def test_prefetch_of_local_folders_finds_both_models_and_loads_none(command, tiny, capfd, monkeypatch):
    monkeypatch.setattr(AbstractModel, "load", lambda *a: pytest.fail("loaded a model"))
    assert command(*tiny, "stage=prefetch") == 0
    shown = capfd.readouterr().out
    assert "prefetch tiny-llama: on this machine" in shown
    assert "prefetch tiny-gpt2: on this machine" in shown


@pytest.mark.slow
def test_selftest_prints_a_row_for_each_dtype_batch_size_and_pooling(command, tiny, capfd):
    assert command(*tiny, "stage=selftest", where=[]) == 0
    lines = capfd.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:3] == ["dtype", "batch_size", "pooling"])
    assert "selftest tiny-llama" in lines[start - 1]
    table = pd.read_fwf(io.StringIO("\n".join(lines[start:])))
    poolings = {"first", "last", "last_content", "max", "mean", "mean_content", "mean_skip_first", "weighted_mean"}
    expected = {(d, n, p) for d in ("float32", "bfloat16", "float16") for n in (1, 2, 4, 16) for p in poolings}
    assert set(zip(table["dtype"], table["batch_size"], table["pooling"], strict=True)) == expected
    assert len(table) == len(expected)
    assert (table["from_batch_1"][table["batch_size"] == 1] == 0).all()
    single = table["dtype"] == "float32"
    assert (table["from_batch_1"] == table["from_float32"])[single].all()
    assert (table["from_float32"][single] < 1e-5).all()
    assert (table["from_float32"][table["dtype"] == "bfloat16"] > 1e-4).all()


def tiny_with(tiny: list[str], **paths: Path) -> list[str]:
    """The tiny run with files of vectors in place of models."""
    chosen = [argument for side in paths for argument in (f"model@model_{side}=stored", f"model_{side}.path={paths[side]}")]
    replaced = tuple(f"model{at}_{side}" for side in paths for at in ("@model", ""))
    return [*chosen, *(argument for argument in tiny if not argument.startswith(replaced))]


def save_vectors(form: str, extracted: Extracted, folder: Path) -> Path:
    arrays = {name: vectors.numpy() for name, vectors in extracted.activations.layers.items()}
    path = folder / ("theirs" if form == ".npy" else f"theirs{form}")
    if form == ".safetensors":
        safetensors.torch.save_file(dict(extracted.activations.layers), path)
    elif form == ".npz":
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, x in arrays.items():
            np.save(path / f"{name}.npy", x)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("form", "metric"), [(".safetensors", "cka_linear"), (".npz", "cka_linear"), (".npy", "mutual_knn")])
def test_vectors_of_others_give_the_matrix_of_the_model_that_made_them(command, tiny, texts_file, llama, tmp_path, form, metric):
    texts = [json.loads(line)["en"] for line in texts_file.read_text(encoding="utf-8").splitlines()]
    alone = replace(side(llama, texts), max_length=512, exact=True)  # one text at a time: no batch moves the last digits
    path = save_vectors(form, extractor(tmp_path / "theirs-store")(alone, "last", "all"), tmp_path)
    options = ["layers=all", "dataset.n=25", "extract.exact=true", f"metric={metric}"]
    assert command(*tiny, *options) == 0
    assert command(*tiny_with(tiny, a=path), *options, where=[f"hydra.run.dir={tmp_path / 'theirs-run'}"]) == 0
    of_model, of_vectors = layeratlas.read_run(tmp_path / "out"), layeratlas.read_run(tmp_path / "theirs-run")
    assert of_vectors.affinity.shape == (5, 5)
    assert list(of_vectors.affinity.index) == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    for name in ("affinity", "chance", "depth_a", "layers_a"):
        np.testing.assert_array_equal(of_vectors.arrays[name], of_model.arrays[name])
    assert of_vectors.result["dataset"] == of_model.result["dataset"]
    assert of_vectors.result["a"]["model"] == "theirs"
    assert {"affinity.parquet", "items.parquet", "diagonal.parquet", "figures", "result.json"} <= {
        path.name for path in of_vectors.folder.iterdir()
    }
