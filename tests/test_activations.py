from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from layeratlas import forward, pooling
from layeratlas.activations import SHARD, Extractor, Side
from layeratlas.arrays import Activations
from layeratlas.batching import Batching
from layeratlas.errors import ConfigError
from layeratlas.models import Checkpoint
from layeratlas.models.language_model import LanguageModel
from layeratlas.store import Store

MANY = [f"Item {i} of {i % 7}." for i in range(600)]


@pytest.fixture
def extractor(store: Store) -> Extractor:
    return Extractor(store, {"last": pooling.last, "mean": pooling.mean}, Batching(64, 4096), "cpu")


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is run through a network, in the order of extraction."""
    seen: list[str] = []
    original = forward.extract

    def counting(model, texts, *rest):
        seen.extend(texts)
        return original(model, texts, *rest)

    monkeypatch.setattr(forward, "extract", counting)
    return seen


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Checkpoint, "load", load)


def assert_identical(one: tuple[Activations, pd.DataFrame], other: tuple[Activations, pd.DataFrame]) -> None:
    assert one[0].names == other[0].names
    assert one[0].n_blocks == other[0].n_blocks
    for name in one[0].names:
        assert torch.equal(one[0].layers[name], other[0].layers[name])
    pd.testing.assert_frame_equal(one[1], other[1])


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_second_call_reads_the_same_bits_without_loading_a_model(extractor, checkpoint, texts, monkeypatch):
    side = Side(checkpoint(), texts, 64)
    first = extractor(side, "mean", "all")
    forbid_loading(monkeypatch)
    assert_identical(extractor(side, "mean", "all"), first)
    assert extractor(side, "last", "all")[0].names == first[0].names


def test_what_is_read_back_is_what_the_forward_pass_gave(extractor, checkpoint, store, texts):
    model = checkpoint().load(store, "cpu", 64)
    vectors, items = forward.extract(model, texts, extractor.poolings, extractor.batching, lambda n, tokens: None)
    activations, table = extractor(Side(checkpoint(), texts, 64), "last", "all")
    assert_identical((activations, table), (Activations(vectors["last"], 3), items))
    assert activations.names == model.layers


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("blocks", ["block_1", "block_2", "block_3"]), (["final_norm", "embed"], ["final_norm", "embed"]), ("block_2", ["block_2"])],
)
def test_only_the_wanted_layers_are_read(extractor, checkpoint, texts, wanted, names):
    activations, _ = extractor(Side(checkpoint(), texts, 64), "mean", wanted)
    assert activations.names == names
    assert activations.n_blocks == 3
    assert activations.n == len(texts)


def test_rows_are_in_the_order_of_the_texts(extractor, checkpoint, texts):
    forwards = extractor(Side(checkpoint(), texts, 64), "mean", "block_2")
    backwards = extractor(Side(checkpoint(), texts[::-1], 64), "mean", "block_2")
    torch.testing.assert_close(backwards[0].layers["block_2"].flip(0), forwards[0].layers["block_2"])
    assert backwards[1]["bytes"].tolist()[::-1] == forwards[1]["bytes"].tolist() == [len(text) for text in texts]


def test_the_table_of_tokens_by_hand(extractor, checkpoint):
    _, items = extractor(Side(checkpoint(), ["Hi.", "A ship left", "naïve é", "seven c"], 8), "last", "all")
    expected = pd.DataFrame(
        {
            "tokens": [4, 8, 8, 8],
            "bytes": [3, 11, 9, 7],
            "truncated": [False, True, True, False],
            "last_token": [".", " ", " ", "c"],
        }
    )
    pd.testing.assert_frame_equal(items, expected)


def test_a_larger_draw_reuses_the_full_shards_of_a_smaller_one(extractor, checkpoint, extracted):
    assert SHARD == 256
    small = extractor(Side(checkpoint(), MANY[:300], 64), "mean", "all")
    assert extracted == MANY[:300]
    extracted.clear()
    large = extractor(Side(checkpoint(), MANY, 64), "mean", "all")
    assert extracted == MANY[256:]
    assert large[0].n == len(large[1]) == 600
    for name in small[0].names:
        assert torch.equal(large[0].layers[name][:256], small[0].layers[name][:256])


def test_a_smaller_draw_of_whole_shards_needs_no_model(extractor, checkpoint, monkeypatch):
    large = extractor(Side(checkpoint(), MANY[:300], 64), "mean", "block_2")
    forbid_loading(monkeypatch)
    small = extractor(Side(checkpoint(), MANY[:256], 64), "mean", "block_2")
    assert torch.equal(small[0].layers["block_2"], large[0].layers["block_2"][:256])


@pytest.mark.parametrize("content", ["last", "mean", "items"])
def test_a_damaged_shard_is_warned_about_and_made_again_to_the_same_bytes(extractor, checkpoint, store, extracted, caplog, content):
    side = Side(checkpoint(), MANY[:300], 64)
    first = extractor(side, "mean", "all")
    before = files(store.root)
    path = extractor.fill(side)[1][content]
    damaged = path.read_bytes()
    path.write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    extracted.clear()
    assert_identical(extractor(side, "mean", "all"), first)
    assert extracted == MANY[256:300]
    assert files(store.root) == before
    assert [r.getMessage() for r in caplog.records if r.name == "layeratlas.store"] == [
        f"store: {path} is damaged (its bytes do not match its checksum); it will be made again"
    ]


def test_a_shard_that_lacks_one_pooling_is_completed(extractor, checkpoint, extracted):
    side = Side(checkpoint(), MANY[:300], 64)
    first = replace(extractor, poolings={"last": pooling.last})(side, "last", "all")
    extracted.clear()
    extractor(side, "mean", "all")
    assert extracted == MANY[:300]
    assert_identical(extractor(side, "last", "all"), first)


def test_whatever_changes_the_vectors_changes_where_they_are_stored(checkpoint, texts):
    sides = [
        Side(checkpoint(), texts, 64),
        Side(checkpoint("gpt2"), texts, 64),
        Side(checkpoint(dtype="bfloat16"), texts, 64),
        Side(checkpoint(chat_template=True), texts, 64),
        Side(checkpoint(random_init=0), texts, 64),
        Side(checkpoint(random_init=1), texts, 64),
        Side(checkpoint(skip_blocks=[1]), texts, 64),
        Side(checkpoint(), texts, 65),
        Side(checkpoint(), [*texts[:-1], texts[-1] + " "], 64),
        Side(checkpoint(), texts[::-1], 64),
        Side(checkpoint(), texts[:-1], 64),
        Side(checkpoint(), ["".join(texts)], 64),
    ]
    entries = {(side.folder(content), side.shards()[0][0]) for side in sides for content in ("last", "mean", "items")}
    assert len(entries) == 3 * len(sides)
    assert len({side.shards()[0][0] for side in sides}) == len(sides)


@pytest.mark.parametrize(
    "changed",
    [
        lambda side: replace(side, model=replace(side.model, dtype="bfloat16")),
        lambda side: replace(side, model=replace(side.model, random_init=1)),
        lambda side: replace(side, max_length=5),
        lambda side: replace(side, texts=[text.upper() for text in side.texts]),
    ],
)
def test_another_side_is_extracted_anew_to_other_vectors(extractor, checkpoint, texts, extracted, changed):
    side = Side(checkpoint(), texts, 64)
    other = changed(side)
    first = extractor(side, "mean", "block_2")[0].layers["block_2"]
    second = extractor(other, "mean", "block_2")[0].layers["block_2"]
    assert extracted == [*side.texts, *other.texts]
    assert not torch.equal(first, second)
    assert torch.equal(extractor(side, "mean", "block_2")[0].layers["block_2"], first)


def test_neither_the_batch_size_nor_the_device_map_is_part_of_the_key(extractor, checkpoint, texts, monkeypatch):
    first = extractor(Side(checkpoint(), texts, 64), "mean", "all")
    forbid_loading(monkeypatch)
    again = replace(extractor, batching=Batching(1, 9))(Side(checkpoint(device_map="auto"), texts, 64), "mean", "all")
    assert_identical(again, first)


def test_an_interrupted_extraction_keeps_its_shards_and_goes_on_to_the_same_bytes(
    extractor, checkpoint, store, tmp_path, extracted, monkeypatch
):
    side = Side(checkpoint(), MANY, 64)
    whole = replace(extractor, store=Store(tmp_path / "uninterrupted"))
    expected = whole(side, "mean", "all")
    original, passed = LanguageModel.forward, 0

    def interrupted(self, tokens, *rest, **options):
        nonlocal passed
        passed += len(tokens.ids)
        if passed > 400:
            raise KeyboardInterrupt
        return original(self, tokens, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extractor(side, "mean", "all")
    kept = files(store.root)
    assert len(kept) == 3  # two poolings and the table of the first shard, nothing temporary
    extracted.clear()
    assert_identical(extractor(side, "mean", "all"), expected)
    assert extracted == MANY[256:]
    assert kept.items() <= files(store.root).items()
    assert files(store.root) == files(whole.store.root)


def test_a_disk_that_fills_up_is_refused_and_leaves_no_half_shard(extractor, checkpoint, store, texts, monkeypatch):
    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match=rf"^store.dir={store.root}: cannot write \(No space left on device\)$"):
        extractor(Side(checkpoint(), texts, 64), "mean", "all")
    assert files(store.root) == {}


def test_entries_that_vanish_as_soon_as_they_are_written_are_refused(extractor, checkpoint, store, texts, monkeypatch):
    monkeypatch.setattr(Extractor, "_write", lambda *args: None)
    with pytest.raises(ConfigError, match=f"store.dir={store.root}: activations of tiny-llama vanished after being written"):
        extractor(Side(checkpoint(), texts, 64), "mean", "all")
