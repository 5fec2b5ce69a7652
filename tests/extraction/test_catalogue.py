import os
import time
from pathlib import Path

import pytest
import torch
from conftest import TEXTS

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.catalogue import catalogue, damaged, remove
from layeratlas.files.store import Store, checksum
from layeratlas.models import Checkpoint

MANY = [f"Item {i} of {i % 7}." for i in range(300)]


@pytest.fixture(scope="module")
def filled(checkpoint_folder, tmp_path_factory) -> Path:
    """A store with two models' activations, of 300 texts in two shards and of 8, and a converted model."""
    store = Store(tmp_path_factory.mktemp("filled"))
    poolings = {"last": pooling.last, "mean": pooling.mean}
    extractor = Extractor(store, poolings, Batching(64, 4096), torch.device("cpu"))
    for architecture, texts, label in (("llama", MANY, "numbers en"), ("gpt2", TEXTS, "sentences en")):
        model = Checkpoint(id=str(checkpoint_folder(architecture)), dtype="float32")
        extractor.fill(Side(model, texts, 64, label=label), ["last", "mean"])
    with store.building("models", "0123456789abcdef0123456789abcdef") as folder:
        (folder / "deep").mkdir(parents=True)
        (folder / "config.json").write_bytes(b"x" * 100)
        (folder / "deep" / "weights").write_bytes(b"y" * 1000)
    return store.root


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Store:
    """A copy of the filled store, to damage."""
    import shutil

    return Store(shutil.copytree(filled, tmp_path / "store"))


def shards(store: Store, content: str) -> list[Path]:
    return [path for path in store.objects() if path.parent.name == content]


def entries(store: Store) -> set[str]:
    return set(catalogue(store)["entry"])


def test_there_is_a_row_for_each_model_and_content(store):
    table = catalogue(store)
    assert table.columns.tolist() == ["entry", "model", "content", "texts", "items", "bytes", "days"]
    rows = set(table[["model", "content", "texts", "items"]].itertuples(index=False, name=None))
    assert rows == {
        ("tiny-llama", "last", "numbers en", 300),
        ("tiny-llama", "mean", "numbers en", 300),
        ("tiny-gpt2", "last", "sentences en", 8),
        ("tiny-gpt2", "mean", "sentences en", 8),
        ("", "items", "", 0),
        ("", "models", "", 0),
    }
    assert len(table) == 7  # a token table of each of the two models


def test_the_contents_of_one_model_share_an_entry(store):
    table = catalogue(store)
    assert table["entry"].nunique() == 3
    for model in ("tiny-llama", "tiny-gpt2"):
        (entry,) = set(table["entry"][table["model"] == model])
        assert set(table["content"][table["entry"] == entry]) == {"last", "mean", "items"}


def test_bytes_are_those_on_the_disk(store):
    table = catalogue(store)
    for content in ("last", "mean", "items"):
        expected = sum(path.stat().st_size for path in shards(store, content))
        assert table["bytes"][table["content"] == content].sum() == expected
    assert table["bytes"][table["content"] == "models"].item() >= 1100


def test_ages_are_told_in_days_by_the_youngest_shard(store):
    for i, path in enumerate(shards(store, "last")):
        then = time.time() - 86_400 * (3 + i)
        os.utime(path, (then, then))
    days = catalogue(store).set_index(["model", "content"])["days"]
    assert days["tiny-llama", "mean"] < 0.1
    assert {round(days["tiny-llama", "last"]), round(days["tiny-gpt2", "last"])} <= {3, 4, 5}
    assert min(days["tiny-llama", "last"], days["tiny-gpt2", "last"]) == pytest.approx(3, abs=0.02)


def test_an_empty_store_and_one_that_does_not_exist_have_no_rows(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        table = catalogue(Store(tmp_path / name))
        assert table.columns.tolist() == ["entry", "model", "content", "texts", "items", "bytes", "days"]
        assert len(table) == 0
        assert damaged(Store(tmp_path / name)) == []


def test_what_is_unfinished_is_not_listed(store):
    before = len(catalogue(store))
    folder = shards(store, "last")[0].parent
    (folder / ".tmp-1-abc.safetensors").write_bytes(b"half")
    (folder / ".tmp-1-def").mkdir()
    assert len(catalogue(store)) == before


def test_files_that_are_not_the_stores_are_neither_listed_nor_damaged_nor_removed(store):
    before = len(catalogue(store))
    strays = [store.root / ".DS_Store", store.root / "models" / "read-me.txt"]
    for stray in strays:
        stray.write_bytes(b"")
    assert len(catalogue(store)) == before
    assert damaged(store) == []
    remove(store, "models")
    assert all(stray.exists() for stray in strays)


def test_a_whole_store_has_nothing_damaged(store):
    assert damaged(store) == []


@pytest.mark.parametrize("content", ["last", "items", "models"])
def test_what_is_damaged_is_found_and_left_where_it_is(store, content):
    path = shards(store, content)[0]
    file = path / "deep" / "weights" if path.is_dir() else path
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert damaged(store) == [path]
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 40])
def test_a_broken_shard_is_listed_as_damaged_beside_the_others(store, content):
    path = next(p for p in shards(store, "mean") if p.stat().st_size < 10_000)
    path.write_bytes(content)
    table = catalogue(store).set_index(["model", "content"])
    assert ("damaged", "mean") in table.index
    assert ("tiny-llama", "last") in table.index
    assert damaged(store) == [path]


def test_a_flipped_byte_anywhere_in_the_header_does_not_break_the_list(store):
    path = next(p for p in shards(store, "mean") if p.stat().st_size < 10_000)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in range(0, header, 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert len(catalogue(store)) == 7
        assert damaged(store) == [path]


def test_a_damaged_shard_beside_whole_ones_of_its_entry_is_not_hidden(store):
    path = next(p for p in shards(store, "mean") if p.stat().st_size > 50_000)
    path.write_bytes(b"")
    assert "damaged" in set(catalogue(store)["model"])


@pytest.mark.parametrize("shorter", [0, 4])
def test_an_entry_is_removed_whole_by_its_name_or_the_beginning_of_it(store, shorter):
    table = catalogue(store)
    entry = table["entry"][table["model"] == "tiny-llama"].iloc[0]
    assert entry.startswith("activations/")
    of_it = [path for path in store.objects() if path.relative_to(store.root).as_posix().startswith(entry)]
    assert len(of_it) == 6  # two poolings and a table, of two shards
    assert remove(store, entry[: len(entry) - shorter]) == of_it
    assert entries(store) == set(table["entry"]) - {entry}
    assert not any(path.exists() for path in of_it)
    assert damaged(store) == []


def test_a_converted_model_is_removed_by_its_name(store):
    assert "models/0123456789ab" in entries(store)
    (removed,) = remove(store, "models/0123456789ab")
    assert removed.parent.name == "models"
    assert not removed.exists()
    assert len(catalogue(store)) == 6


def test_what_was_removed_is_made_again_when_it_is_needed(store, checkpoint):
    side = Side(checkpoint("gpt2"), TEXTS, 64)
    extractor = Extractor(store, {"last": pooling.last}, Batching(64, 4096), torch.device("cpu"))
    before = dict(extractor(side, "last", "all").activations.layers)
    entry = next(iter(set(catalogue(store).query("model == 'tiny-gpt2'")["entry"])))
    remove(store, entry)
    after = extractor(side, "last", "all").activations
    assert all(torch.equal(after.layers[name], before[name]) for name in before)


def test_what_killed_processes_left_is_removed_and_nothing_else(store):
    before = {path: checksum(path) for path in store.objects()}
    folder = shards(store, "last")[0].parent
    (folder / ".tmp-1-abc.safetensors").write_bytes(b"half")
    (store.root / "models" / ".tmp-1-def" / "deep").mkdir(parents=True)
    (store.root / "models" / ".tmp-1-def" / "deep" / "half").write_bytes(b"half")
    assert remove(store, "unfinished") == sorted([folder / ".tmp-1-abc.safetensors", store.root / "models" / ".tmp-1-def"])
    assert store.leftovers() == []
    assert {path: checksum(path) for path in store.objects()} == before


def test_an_entry_that_is_not_there_is_refused_with_those_that_are(store):
    expected = rf"^store\.entry: nothing is called 'nope'; entries are {', '.join(sorted(entries(store)))}, or unfinished$"
    with pytest.raises(ConfigError, match=expected):
        remove(store, "nope")


@pytest.mark.parametrize("entry", ["", "unfinished"])
def test_nothing_is_removed_by_an_empty_name_or_where_nothing_is_unfinished(store, entry):
    with pytest.raises(ConfigError, match=rf"^store\.entry: nothing is called '{entry}'; entries are "):
        remove(store, entry)
    assert len(catalogue(store)) == 7


def test_in_an_empty_store_no_entry_is_known(tmp_path):
    with pytest.raises(ConfigError, match=r"^store\.entry: nothing is called 'nope'; entries are none, or unfinished$"):
        remove(Store(tmp_path), "nope")


def test_a_pipe_and_a_dangling_link_are_named_and_skipped_by_list_verify_and_remove(store, caplog):
    before = catalogue(store)
    pipe, link = (store.root / "models" / f"key-{digit * 32}" for digit in "01")
    os.mkfifo(pipe)
    link.symlink_to("nowhere")
    for look in (catalogue, damaged):
        caplog.clear()
        assert len(look(store)) == (len(before) if look is catalogue else 0)
        assert [record.getMessage() for record in caplog.records] == [
            f"store: {path} is neither a file nor a folder; skipped" for path in (pipe, link)
        ]
    assert len(remove(store, "models")) == 1


def test_what_cannot_be_read_counts_as_damaged(store, monkeypatch):
    path = shards(store, "last")[0]

    def unreadable(found):
        if found == path:
            raise PermissionError(13, "Permission denied")
        return True

    monkeypatch.setattr("layeratlas.extraction.catalogue.intact", unreadable)
    assert damaged(store) == [path]
