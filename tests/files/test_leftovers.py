"""What killed processes leave unfinished goes at the next start, and what living ones write stays."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from layeratlas.extraction.catalogue import remove
from layeratlas.files.atomic import abandoned, in_use, remove_abandoned, replacing, temporary
from layeratlas.files.processes import Owner, ended, myself
from layeratlas.files.store import Store


def dead() -> Owner:
    """A process that has ended: its id is free."""
    child = subprocess.Popen(["true"])
    child.wait()
    return replace(myself(), pid=child.pid)


def named(folder: Path, owner: Owner, ending: str = "-abcd.bin") -> Path:
    path = folder / f".tmp-{owner}{ending}"
    path.write_bytes(b"half")
    return path


def aged(path: Path, days: float) -> Path:
    then = time.time() - days * 86_400
    for inside in [*path.rglob("*"), path]:
        os.utime(inside, (then, then))
    return path


def test_this_process_runs_and_one_that_was_waited_for_has_ended():
    assert ended(myself()) is False
    assert ended(dead()) is True


def test_a_process_id_that_is_in_use_again_is_another_process():
    assert ended(replace(myself(), started=myself().started - 600)) is True


def test_a_process_that_began_a_tick_earlier_by_rounding_is_the_same():
    assert ended(replace(myself(), started=myself().started - 1)) is False


def test_a_dead_child_that_nobody_waited_for_has_ended():
    child = subprocess.Popen(["true"])
    began = round(10 * (psutil.Process(child.pid).create_time() - psutil.boot_time()))
    for _ in range(100):
        if psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.02)
    assert ended(Owner(myself().machine, child.pid, began)) is True
    child.wait()


def test_nobody_knows_of_processes_of_another_machine():
    assert ended(replace(myself(), machine="01234567")) is None


def test_a_temporary_file_of_this_process_is_in_use(tmp_path):
    path = temporary(tmp_path, ".bin")
    path.write_bytes(b"half")
    assert in_use(aged(path, days=30))
    assert not abandoned(path)


def test_files_of_the_dead_are_abandoned_and_those_of_strangers_after_a_day(tmp_path):
    strangers = [named(tmp_path, replace(myself(), machine="01234567")), tmp_path / ".tmp-77-cafe.bin", tmp_path / ".tmp-"]
    for path in strangers:
        path.write_bytes(b"half")
        assert not abandoned(path)
        assert abandoned(aged(path, days=1.5))
    assert abandoned(named(tmp_path, dead()))
    assert abandoned(named(tmp_path, replace(myself(), started=1)))


def test_a_strangers_folder_into_which_something_was_written_today_is_no_leftover(tmp_path):
    folder = tmp_path / ".tmp-77-cafe"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(b"half")
    aged(folder, days=3)
    assert abandoned(folder)
    (folder / "deep" / "file").write_bytes(b"more")
    assert not abandoned(folder)


def test_only_temporary_names_are_ever_removed(tmp_path):
    kept = [tmp_path / "affinity.npz", tmp_path / "tmp-1.txt", temporary(tmp_path, ".bin")]
    for path in kept:
        path.write_bytes(b"1")
        aged(path, days=100)
    gone = [named(tmp_path, dead()), named(tmp_path, dead(), "-folder")]
    gone[1].unlink()
    gone[1].mkdir()
    dangling = tmp_path / f".tmp-{dead()}-link"
    dangling.symlink_to(tmp_path / "nowhere")
    assert sorted(remove_abandoned(tmp_path.iterdir())) == sorted([*gone, dangling])
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_link_to_a_folder_is_removed_and_the_folder_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"1")
    link = tmp_path / f".tmp-{dead()}-link"
    link.symlink_to(tmp_path / "real")
    remove_abandoned([link])
    assert not link.is_symlink()
    assert (tmp_path / "real" / "file").exists()


@pytest.mark.parametrize("failure", [None, RuntimeError])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, failure):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as unfinished:
            assert unfinished.suffix == ".txt"
            unfinished.write_text("new")
            assert path.read_text() == "old"
            if failure:
                raise failure("x")

    if failure:
        with pytest.raises(failure):
            write()
    else:
        write()
    assert path.read_text() == ("old" if failure else "new")
    assert list(tmp_path.iterdir()) == [path]


def left_in(store: Store) -> Path:
    """What a process leaves in a store that is killed while it converts a model."""
    child = os.fork()
    if not child:
        with store.unfinished("models") as scratch:
            scratch.mkdir()
            (scratch / "model.gguf").write_bytes(bytes(1000))
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = store.leftovers()
    return left


@pytest.mark.slow
def test_a_run_removes_what_a_killed_process_left_in_the_store_and_keeps_what_a_living_one_writes(command, tiny, tmp_path):
    store = Store(tmp_path / "store")
    left = left_in(store)
    with store.unfinished("activations/x/mean", ".safetensors") as living:
        living.write_bytes(b"half")
        store.clean()
        assert not left.exists()
        assert living.exists()
    left = left_in(store)
    assert command(*tiny, "analysis=[]", "statistics=off") == 0
    assert not left.exists()


def test_removing_what_is_unfinished_by_name_spares_the_living(store):
    left = left_in(store)
    with store.unfinished("activations/x/mean", ".safetensors") as living:
        living.write_bytes(b"half")
        assert remove(store, "unfinished") == [left]
        assert living.exists()


def test_a_conversion_writes_nothing_outside_the_store(store, tmp_path, monkeypatch):
    import hashlib

    from layeratlas.models import BundledCheckpoint

    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"quantised")
    monkeypatch.setattr("layeratlas.models.bundled.package_files", lambda package, below="": {weights.name: weights})
    seen = []

    def dequantise(gguf: Path, folder: Path) -> None:
        seen.append((gguf, gguf.read_bytes()))
        folder.mkdir()
        (folder / "weights").write_bytes(b"whole")

    monkeypatch.setattr("layeratlas.models.dequantise.dequantise", dequantise)
    sha256 = hashlib.sha256(b"quantised").hexdigest()
    model = BundledCheckpoint(id="tiny", dtype="float32", packages=["weights"], sha256=sha256, notice="made here")
    folder = Path(model.source(store).location)
    ((gguf, content),) = seen
    assert content == b"quantised"
    assert store.root in gguf.parents
    assert [path for path in store.root.rglob("*") if path.is_file()] == [folder / "weights"]
