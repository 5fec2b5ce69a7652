import errno
import hashlib
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas.errors import ConfigError
from layeratlas.files.atomic import discard
from layeratlas.files.identity import fingerprint
from layeratlas.files.processes import myself
from layeratlas.files.store import Store, checksum, intact

DESCRIPTION = {"b": [True, None, "é"], "a": {"y": 1, "x": 0.5}}
CANONICAL = '{"a":{"x":0.5,"y":1},"b":[true,null,"é"]}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)
DAMAGES = {
    "flipped": lambda content, at: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
    "truncated": lambda content, at: content[:at],
    "longer": lambda content, at: content[:at] + b"\0" + content[at:],
}


def put(store: Store, content: bytes | dict[str, bytes], key: str = "key", suffix: str = ".bin") -> Path:
    """Store a file, or a folder of files, and return where it lies."""
    with store.building("kind", key, suffix) as path:
        for name, part in content.items() if isinstance(content, dict) else [("", content)]:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(part)
    stored = store.open("kind", key)
    assert stored is not None
    return stored


def listing(store: Store) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


def test_a_fingerprint_is_the_hash_of_the_sorted_json():
    assert fingerprint(DESCRIPTION) == hashlib.sha256(CANONICAL.encode()).hexdigest()[:32]


@given(entries=st.dictionaries(st.text("abcdef", max_size=3), JSON, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_the_order_of_keys_does_not_matter(entries):
    assert fingerprint(dict(reversed(entries.items()))) == fingerprint(entries)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        (1, "1"),
        (None, "null"),
        (True, 1),
        (["ab"], ["a", "b"]),
        ({}, []),
        ("e\u0301", "\u00e9"),
        ({"a": 1}, {"a": 2}),
    ],
)
def test_different_descriptions_have_different_fingerprints(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_what_was_stored_is_what_is_opened(store):
    assert put(store, b"bytes").read_bytes() == b"bytes"
    folder = put(store, {"one": b"1", "deep/two": b"22"}, key="folder", suffix="")
    assert (folder / "one").read_bytes() == b"1"
    assert (folder / "deep" / "two").read_bytes() == b"22"


def test_a_file_keeps_its_suffix_and_is_named_by_key_and_checksum(store):
    digest = hashlib.sha256(b"bytes").hexdigest()[:32]
    assert put(store, b"bytes", suffix=".safetensors").name == f"key-{digest}.safetensors"


def test_what_was_never_stored_is_absent(store):
    assert store.open("kind", "key") is None
    assert not store.has("kind", "key")


def test_a_key_of_one_kind_is_absent_from_another(store):
    put(store, b"bytes")
    assert store.has("kind", "key")
    assert not store.has("other", "key")
    assert not store.has("kind", "ke")


def half_write(store: Store, suffix: str, interruption: BaseException) -> None:
    with store.building("kind", "key", suffix) as path:
        if not suffix:
            path.mkdir()
        (path if suffix else path / "one").write_bytes(b"half")
        raise interruption


@pytest.mark.parametrize("suffix", [".bin", ""])
@pytest.mark.parametrize("interruption", [RuntimeError("x"), KeyboardInterrupt("x"), OSError("x")])
def test_an_interrupted_writer_leaves_nothing_behind(store, suffix, interruption):
    with pytest.raises(type(interruption), match="x"):
        half_write(store, suffix, interruption)
    assert store.open("kind", "key") is None
    assert list((store.root / "kind").iterdir()) == []


def test_nothing_is_visible_while_it_is_being_written(store):
    with store.building("kind", "key") as path:
        path.write_bytes(b"half")
        assert not store.has("kind", "key")
        assert store.open("kind", "key") is None
    assert store.has("kind", "key")


def test_nothing_temporary_remains_after_writing(store):
    put(store, b"bytes")
    put(store, {"one": b"1"}, key="folder", suffix="")
    assert [name for name in os.listdir(store.root / "kind") if not name.startswith(("key-", "folder-"))] == []


@given(content=st.binary(min_size=1, max_size=60), data=st.data(), damage=st.sampled_from(sorted(DAMAGES)))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_a_damaged_file_is_never_returned(tmp_path_factory, content, data, damage):
    store = Store(tmp_path_factory.mktemp("store"))
    path = put(store, content)
    path.write_bytes(DAMAGES[damage](content, data.draw(st.integers(0, len(content) - 1))))
    assert store.open("kind", "key") is None
    assert not path.exists()


@given(
    parts=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=3),
    data=st.data(),
    damage=st.sampled_from(sorted(DAMAGES)),
)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_a_folder_with_a_damaged_file_is_never_returned(tmp_path_factory, parts, data, damage):
    store = Store(tmp_path_factory.mktemp("store"))
    contents = {f"part/{i}": part for i, part in enumerate(parts)}
    folder = put(store, contents, suffix="")
    name = data.draw(st.sampled_from(sorted(contents)))
    (folder / name).write_bytes(DAMAGES[damage](contents[name], data.draw(st.integers(0, len(contents[name]) - 1))))
    assert store.open("kind", "key") is None
    assert not folder.exists()


CHANGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda folder: (folder / "one").unlink(),
    "added": lambda folder: (folder / "three").write_bytes(b""),
    "renamed": lambda folder: (folder / "one").rename(folder / "uno"),
    "swapped": lambda folder: ((folder / "one").write_bytes(b"22"), (folder / "two").write_bytes(b"1")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_whose_files_are_others_is_never_returned(store, change):
    folder = put(store, {"one": b"1", "two": b"22"}, suffix="")
    CHANGES[change](folder)
    assert store.open("kind", "key") is None


def test_damage_is_warned_about_by_name_and_can_be_made_good(store, caplog):
    path = put(store, {"one": b"1"}, suffix="")
    (path / "one").write_bytes(b"2")
    assert store.open("kind", "key") is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"store: {path} is damaged (its bytes do not match its checksum); it will be made again"
    assert put(store, {"one": b"1"}, suffix="") == path


def test_an_undamaged_object_is_opened_without_a_warning(store, caplog):
    put(store, b"bytes")
    assert caplog.records == []


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_two_writers_of_the_same_bytes_leave_one_object(store, suffix):
    content = b"bytes" if suffix else {"one": b"1"}
    assert put(store, content, suffix=suffix) == put(store, content, suffix=suffix)
    assert len(list((store.root / "kind").iterdir())) == 1


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_two_writers_of_different_bytes_leave_a_valid_object(store, suffix):
    with store.building("kind", "key", suffix) as first, store.building("kind", "key", suffix) as second:
        assert first != second
        for path, content in ((first, b"first"), (second, b"second")):
            if not suffix:
                path.mkdir()
            (path if suffix else path / "one").write_bytes(content)
    opened = store.open("kind", "key")
    assert opened is not None
    assert (opened if suffix else opened / "one").read_bytes() in (b"first", b"second")
    assert store.open("kind", "key") == opened


def test_if_the_one_of_two_objects_is_damaged_the_other_is_returned(store):
    put(store, b"first")
    put(store, b"second")
    first, second = sorted((store.root / "kind").iterdir())
    first.write_bytes(b"damaged")
    assert store.open("kind", "key") == second
    assert not first.exists()


def test_a_folder_that_another_process_finishes_at_the_last_moment_is_kept(store, monkeypatch):
    original = Path.rename

    def overtaken(path: Path, target: Path) -> Path:
        shutil.copytree(path, target)
        return original(path, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    folder = put(store, {"one": b"1"}, suffix="")
    assert (folder / "one").read_bytes() == b"1"
    assert list((store.root / "kind").iterdir()) == [folder]


def test_many_writers_at_once_leave_one_valid_object(store):
    barrier = threading.Barrier(4)

    def write() -> None:
        barrier.wait()
        for _ in range(10):
            with store.building("kind", "key", "") as path:
                path.mkdir()
                (path / "one").write_bytes(b"1" * 1000)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    opened = store.open("kind", "key")
    assert opened is not None
    assert list((store.root / "kind").iterdir()) == [opened]


def test_an_object_that_another_process_removes_meanwhile_is_absent(store, monkeypatch):
    path = put(store, b"bytes")

    def removed_before_reading(path: Path) -> str:
        path.unlink()
        return checksum(path)

    monkeypatch.setattr("layeratlas.files.store.checksum", removed_before_reading)
    assert store.open("kind", "key") is None
    assert not path.exists()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_root_that_is_or_lies_below_a_file_is_refused_in_one_line(tmp_path, caplog, below):
    (tmp_path / "file").write_bytes(b"")
    store = Store(tmp_path / "file" / below)
    with (
        pytest.raises(ConfigError, match=rf"^store.dir={store.root}: cannot write \(Not a directory\)$"),
        store.building("kind", "key"),
    ):
        pass
    with pytest.raises(ConfigError, match=rf"^store.dir={store.root}: cannot read \(Not a directory\)$"):
        store.open("kind", "key")
    assert caplog.records == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_root_that_cannot_be_written_is_refused(store, monkeypatch, code):
    def refuse(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(ConfigError, match=rf"^store.dir={store.root}: cannot write \({os.strerror(code)}\)$"),
        store.building("kind", "key"),
    ):
        pass


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_a_full_disk_is_refused_in_one_line_and_leaves_nothing(store, suffix):
    with pytest.raises(ConfigError, match=rf"^store.dir={store.root}: cannot write \(No space left on device\)$"):
        half_write(store, suffix, OSError(errno.ENOSPC, "No space left on device"))
    assert list((store.root / "kind").iterdir()) == []


def test_a_disk_that_is_found_full_on_flushing_leaves_nothing(store, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ConfigError, match=r"cannot write \(No space left on device\)"):
        put(store, b"bytes")
    assert listing(store) == []


def test_an_error_that_is_not_the_disks_passes_through(store):
    with pytest.raises(OSError, match="no such model"), store.building("kind", "key"):
        raise OSError("no such model")


def test_a_temporary_file_that_cannot_be_removed_is_warned_about(store, monkeypatch, caplog):
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(RuntimeError, match="x"):
        half_write(store, ".bin", RuntimeError("x"))
    (left,) = store.leftovers()
    assert [record.getMessage() for record in caplog.records] == [f"could not remove {left} (Permission denied)"]


# --- looking at all of it ---------------------------------------------------------------------------------------------------


def test_an_object_is_intact_until_a_byte_of_it_changes(store):
    file, folder = put(store, b"bytes"), put(store, {"one": b"1", "deep/two": b"22"}, key="folder", suffix="")
    assert intact(file)
    assert intact(folder)
    file.write_bytes(b"bytez")
    (folder / "deep" / "two").write_bytes(b"23")
    assert not intact(file)
    assert not intact(folder)


@given(content=st.binary(max_size=60), suffix=st.sampled_from([".bin", ".safetensors", ".parquet"]))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_whatever_was_stored_is_intact(tmp_path_factory, content, suffix):
    assert intact(put(Store(tmp_path_factory.mktemp("store")), content, suffix=suffix))


def test_discarding_removes_files_and_folders_and_does_not_mind_what_is_gone(tmp_path, caplog):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_bytes(b"1")
    (tmp_path / "file").write_bytes(b"1")
    for name in ("folder", "file", "missing", "missing/below"):
        discard(tmp_path / name)
    (tmp_path / "other").write_bytes(b"1")
    discard(tmp_path / "other" / "below")
    assert os.listdir(tmp_path) == ["other"]
    assert caplog.records == []


def test_every_object_of_every_kind_is_found_once_and_in_order(store):
    paths = [
        put(store, b"1"),
        put(store, b"2", key="other"),
        put(store, {"inside-of-it": b"3", "deep-er/file-name": b"4"}, key="folder", suffix=""),
    ]
    with store.building("deep/er/kind", "key", ".bin") as path:
        path.write_bytes(b"5")
    found = list(store.objects())
    assert set(found) == {*paths, store.open("deep/er/kind", "key")}
    assert len(found) == 4
    assert [path.name.split("-")[0] for path in found if path.parent.parent == store.root] == ["folder", "key", "other"]


def test_what_is_unfinished_is_left_over_and_no_object(store):
    path = put(store, b"1")
    half = path.parent / ".tmp-1-abc.bin"
    half.write_bytes(b"half")
    folder = path.parent / ".tmp-1-def"
    (folder / "with-dash").mkdir(parents=True)
    (folder / "with-dash" / "file-name").write_bytes(b"half")
    assert list(store.objects()) == [path]
    assert store.leftovers() == [half, folder]


def test_files_that_are_not_the_stores_are_no_objects(store):
    path = put(store, b"1")
    for stray in (store.root / ".DS_Store", store.root / "read-me.txt", path.parent / "notes.txt", path.parent / "no-checksum.bin"):
        stray.write_bytes(b"")
    assert list(store.objects()) == [path]


def test_a_store_that_does_not_exist_holds_nothing(store):
    assert list(store.objects()) == []
    assert store.leftovers() == []


# --- what is neither a file nor a folder -------------------------------------------------------------------------------------


def odd(path: Path, kind: str) -> None:
    """A thing that cannot be read as a file can: opening a pipe would wait for a writer that never comes."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(path.parent)  # a socket's path may not be long
            listening.bind(path.name)
    else:
        path.symlink_to(path if kind == "link to itself" else "nowhere")


each_oddity = pytest.mark.parametrize("kind", ["pipe", "socket", "dangling link", "link to itself"])


@each_oddity
def test_an_oddity_in_the_place_of_an_object_is_named_skipped_and_replaced(store, caplog, monkeypatch, kind):
    monkeypatch.chdir(store.root.parent)
    path = put(store, b"1")
    path.unlink()
    odd(path, kind)
    assert list(store.objects()) == []
    assert store.open("kind", "key") is None
    assert not store.has("kind", "key")
    assert {record.getMessage() for record in caplog.records} == {f"store: {path} is neither a file nor a folder; skipped"}
    assert put(store, b"1") == path
    assert path.read_bytes() == b"1"


@each_oddity
def test_an_oddity_inside_a_folder_in_place_of_a_file_is_damage(store, monkeypatch, kind):
    monkeypatch.chdir(store.root.parent)
    folder = put(store, {"one": b"1", "two": b"2"}, suffix="")
    (folder / "one").unlink()
    odd(folder / "one", kind)
    assert not intact(folder)
    assert store.open("kind", "key") is None
    assert not folder.exists()


@each_oddity
def test_an_oddity_that_a_killed_process_left_is_removed(store, monkeypatch, kind):
    monkeypatch.chdir(store.root.parent)
    put(store, b"1")
    path = store.root / "kind" / f".tmp-{replace(myself(), started=1)}-abcd.bin"
    odd(path, kind)
    store.clean()
    assert store.leftovers() == []


def test_a_link_to_a_file_elsewhere_is_an_object_like_any_other(store, tmp_path):
    path = put(store, b"1")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.open("kind", "key") == path
    assert list(store.objects()) == [path]


def test_an_object_that_cannot_be_read_is_named_and_made_again(store, caplog, monkeypatch):
    path = put(store, b"1")

    def refuse(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("layeratlas.files.store.checksum", refuse)
        assert store.open("kind", "key") is None
    assert [record.getMessage() for record in caplog.records] == [f"store: {path} cannot be read (Input/output error); skipped"]
    assert put(store, b"1") == path
