import json
import logging
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError
from layeratlas.extraction import activations, forward, pooling, preflight
from layeratlas.extraction.activations import Extracted, Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.shards import SHARD, record_of
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint, Needs
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import Encoder

CPU = torch.device("cpu")
MANY = [f"Item {i} of {i % 7}." for i in range(600)]


@pytest.fixture
def extractor(store: Store) -> Extractor:
    return Extractor(store, {"last": pooling.last, "mean": pooling.mean}, Batching(64, 4096), CPU)


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is run through a network, in the order of extraction."""
    seen: list[str] = []
    original = forward.extract

    def counting(model, texts, *rest):
        seen.extend(texts.texts)
        return original(model, texts, *rest)

    monkeypatch.setattr(forward, "extract", counting)
    return seen


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Checkpoint, "load", load)


def assert_same_vectors(one: Activations, other: Activations) -> None:
    assert one.names == other.names
    assert one.n_blocks == other.n_blocks
    for name in one.names:
        assert torch.equal(one.layers[name], other.layers[name])


def assert_identical(one: Extracted, other: Extracted) -> None:
    assert_same_vectors(one.activations, other.activations)
    pd.testing.assert_frame_equal(one.tokens, other.tokens)


def block_2(extracted: Extracted) -> torch.Tensor:
    return extracted.activations.layers["block_2"]


@pytest.fixture
def shards_of_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "SHARD", 8)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_second_call_reads_the_same_bits_without_loading_a_model(extractor, checkpoint, texts, monkeypatch):
    side = Side(checkpoint(), texts, 64)
    first = extractor(side, "mean", "all")
    forbid_loading(monkeypatch)
    assert_identical(extractor(side, "mean", "all"), first)
    assert extractor(side, "last", "all").activations.names == first.activations.names


def test_what_is_read_back_is_what_the_forward_pass_gave(extractor, checkpoint, store, texts):
    model = checkpoint().load(store, CPU, Needs(64))
    read = forward.Texts(texts, model.encoder.encode(texts))
    made = forward.extract(model, read, extractor.poolings, extractor.batching, lambda n, tokens: None)
    found = extractor(Side(checkpoint(), texts, 64), "last", "all")
    assert_same_vectors(found.activations, Activations(made.pooled["last"], 3))
    pd.testing.assert_frame_equal(found.tokens, forward.token_table(model.encoder, read))
    assert found.activations.names == model.layers


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("blocks", ["block_1", "block_2", "block_3"]), (["final_norm", "embed"], ["final_norm", "embed"]), ("block_2", ["block_2"])],
)
def test_only_the_wanted_layers_are_read(extractor, checkpoint, texts, wanted, names):
    activations = extractor(Side(checkpoint(), texts, 64), "mean", wanted).activations
    assert activations.names == names
    assert activations.n_blocks == 3
    assert activations.n == len(texts)


def test_rows_are_in_the_order_of_the_texts(extractor, checkpoint, texts):
    forwards = extractor(Side(checkpoint(), texts, 64), "mean", "block_2")
    backwards = extractor(Side(checkpoint(), texts[::-1], 64), "mean", "block_2")
    torch.testing.assert_close(block_2(backwards).flip(0), block_2(forwards))
    assert backwards.tokens["bytes"].tolist()[::-1] == forwards.tokens["bytes"].tolist() == [len(text) for text in texts]


def test_a_larger_draw_reuses_the_full_shards_of_a_smaller_one(extractor, checkpoint, extracted):
    assert SHARD == 256
    small = extractor(Side(checkpoint(), MANY[:300], 64), "mean", "all")
    assert extracted == MANY[:300]
    extracted.clear()
    large = extractor(Side(checkpoint(), MANY, 64), "mean", "all")
    assert extracted == MANY[256:]
    assert large.activations.n == len(large.tokens) == 600
    for name in small.activations.names:
        assert torch.equal(large.activations.layers[name][:256], small.activations.layers[name][:256])


def test_a_smaller_draw_of_whole_shards_needs_no_model(extractor, checkpoint, monkeypatch):
    large = extractor(Side(checkpoint(), MANY[:300], 64), "mean", "block_2")
    forbid_loading(monkeypatch)
    small = extractor(Side(checkpoint(), MANY[:256], 64), "mean", "block_2")
    assert torch.equal(block_2(small), block_2(large)[:256])


@pytest.mark.parametrize("content", ["last", "mean", "items"])
def test_a_damaged_shard_is_warned_about_and_made_again_to_the_same_bytes(extractor, checkpoint, store, extracted, caplog, content):
    side = Side(checkpoint(), MANY[:300], 64)
    wanted = "mean" if content == "items" else content
    first = extractor(side, wanted, "all")
    before = files(store.root)
    path = extractor.fill(side, ["last", "mean"])[1][content]
    damaged = path.read_bytes()
    path.write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    extracted.clear()
    assert_identical(extractor(side, wanted, "all"), first)
    assert extracted == ([] if content == "items" else MANY[256:300])
    assert files(store.root) == before
    assert [r.getMessage() for r in caplog.records if r.name == "layeratlas.files.store"] == [
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
        Side(checkpoint(), texts, 64, exact=True),
        Side(checkpoint(), texts, 64, spans=[(0, 2)] * len(texts)),
        Side(checkpoint(), texts, 64, spans=[(0, 3)] * len(texts)),
        Side(checkpoint(quantization="8bit"), texts, 64),
        Side(checkpoint(quantization="4bit"), texts, 64),
    ]
    entries = {(side.folder(content), side.shards[0].key) for side in sides for content in ("last", "mean", "items", "nll")}
    assert len(entries) == 4 * len(sides)
    assert len({side.shards[0].key for side in sides}) == len(sides)


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
    first = block_2(extractor(side, "mean", "block_2"))
    second = block_2(extractor(other, "mean", "block_2"))
    assert extracted == [*side.texts, *other.texts]
    assert not torch.equal(first, second)
    assert torch.equal(block_2(extractor(side, "mean", "block_2")), first)


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
    monkeypatch.setattr(Extractor, "_extract", lambda *args: None)
    with pytest.raises(ConfigError, match=f"store.dir={store.root}: activations of tiny-llama vanished after being written"):
        extractor(Side(checkpoint(), texts, 64), "mean", "all")


# --- exact, spans, likelihoods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert", "mamba"])
def test_exact_vectors_are_bit_for_bit_those_of_each_text_alone(extractor, checkpoint, store, texts, architecture):
    exact = extractor(Side(checkpoint(architecture), texts, 64, exact=True), "mean", "all").activations
    model = checkpoint(architecture).load(store, CPU, Needs(64))
    for i, text in enumerate(texts):
        alone = forward.Texts([text], model.encoder.encode([text]))
        vectors = forward.extract(model, alone, extractor.poolings, Batching(1, 9), lambda n, tokens: None).pooled["mean"]
        for layer, found in exact.layers.items():
            assert torch.equal(found[i], vectors[layer][0]), layer


def test_exact_vectors_and_others_are_never_taken_for_each_other(extractor, checkpoint, texts, extracted):
    exact, others = Side(checkpoint(), texts, 64, exact=True), Side(checkpoint(), texts, 64)
    first = extractor(exact, "mean", "all")
    extractor(others, "mean", "all")
    assert extracted == [*texts, *texts]
    extracted.clear()
    assert_identical(extractor(exact, "mean", "all"), first)
    assert extracted == []


@pytest.mark.usefixtures("shards_of_8")
def test_a_whole_shard_of_exact_vectors_is_reused_by_a_larger_draw(extractor, checkpoint, extracted):
    extractor(Side(checkpoint(), MANY[:8], 64, exact=True), "mean", "block_2")
    extracted.clear()
    extractor(Side(checkpoint(), MANY[:9], 64, exact=True), "mean", "block_2")
    assert extracted == MANY[8:9]


def test_other_spans_of_the_same_texts_are_extracted_anew(extractor, checkpoint, extracted):
    marking = replace(extractor, poolings={"span": pooling.span})
    texts = ["The old lamp broke.", "Rivers bend south."]
    first = block_2(marking(Side(checkpoint(), texts, 64, spans=[(0, 3), (0, 6)]), "span", "all"))
    second = block_2(marking(Side(checkpoint(), texts, 64, spans=[(0, 3), (7, 11)]), "span", "all"))
    assert extracted == [*texts, *texts]
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_no_spans_and_spans_that_mark_nothing_are_the_same_side(checkpoint, texts):
    unmarked, nothing = Side(checkpoint(), texts, 64), Side(checkpoint(), texts, 64, spans=[(0, 0)] * len(texts))
    assert [shard.key for shard in unmarked.shards] == [shard.key for shard in nothing.shards]


def test_spans_follow_their_texts_into_the_shards(checkpoint):
    spans = [(0, i) for i in range(len(MANY))]
    shards = Side(checkpoint(), MANY, 64, spans=spans).shards
    assert [len(shard.texts) for shard in shards] == [256, 256, 88]
    assert [text for shard in shards for text in shard.texts] == MANY
    assert [span for shard in shards for span in shard.spans] == spans


def test_what_people_call_the_texts_changes_neither_the_key_nor_equality(checkpoint, texts):
    one, other = Side(checkpoint(), texts, 64, label="speeches en"), Side(checkpoint(), texts, 64, label="renamed")
    assert one == other
    assert one.shards[0].key == other.shards[0].key
    assert one.folder("last") == other.folder("last")


NLL_COLUMNS = ["nll", "nll_tokens", "nll_per_token", "nll_per_byte", "nll_per_character"]


def test_likelihoods_that_are_wanted_later_are_extracted_and_kept(extractor, checkpoint, texts, extracted, monkeypatch):
    side, scoring = Side(checkpoint(), texts, 64), replace(extractor, nll=True)
    without = extractor(side, "mean", "all")
    assert not set(NLL_COLUMNS) & set(without.tokens.columns)
    extracted.clear()
    scored = scoring(side, "mean", "all")
    assert extracted == texts
    assert scored.tokens.columns.tolist() == [*without.tokens.columns, *NLL_COLUMNS]
    assert_same_vectors(scored.activations, without.activations)
    forbid_loading(monkeypatch)
    assert_identical(scoring(side, "last", "all"), scoring(side, "last", "all"))
    pd.testing.assert_frame_equal(scoring(side, "mean", "all").tokens, scored.tokens)
    assert_identical(extractor(side, "mean", "all"), without)


@pytest.mark.usefixtures("shards_of_8")
def test_likelihoods_are_in_the_order_of_the_texts_across_shards(extractor, checkpoint):
    scoring = replace(extractor, nll=True)
    texts = [text * (1 + i % 3) for i, text in enumerate(MANY[95:115])]
    tokens = scoring(Side(checkpoint(), texts, 64), "mean", "block_2").tokens
    assert tokens["nll_tokens"].tolist() == [len(text) for text in texts]
    for i in (0, 7, 8, 19):
        one = scoring(Side(checkpoint(), texts[i : i + 1], 64), "mean", "block_2").tokens
        assert tokens["nll"][i] == pytest.approx(one["nll"][0], rel=1e-5)


# --- only what is stored ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "missing"), [(0, 300), (256, 44)])
def test_what_the_store_lacks_is_an_error_where_nothing_may_be_extracted(
    extractor, checkpoint, store, extracted, monkeypatch, stored, missing
):
    if stored:
        extractor(Side(checkpoint(), MANY[:stored], 64), "mean", "all")
    forbid_loading(monkeypatch)
    side = Side(checkpoint(), MANY[:300], 64, label="speeches en")
    expected = (
        rf"^{missing} of 300 texts of tiny-llama \(speeches en\) are not in store\.dir={store.root};"
        r" run the same with stage=extract$"
    )
    with pytest.raises(ConfigError, match=expected):
        replace(extractor, only_stored=True)(side, "mean", "all")


def test_what_the_store_holds_is_read_where_nothing_may_be_extracted(extractor, checkpoint, texts, monkeypatch):
    side = Side(checkpoint(), texts, 64)
    first = extractor(side, "mean", "all")
    forbid_loading(monkeypatch)
    assert_identical(replace(extractor, only_stored=True)(side, "mean", "all"), first)


def test_a_pooling_or_likelihoods_that_were_not_kept_are_missing_where_nothing_may_be_extracted(extractor, checkpoint, texts):
    side = Side(checkpoint(), texts, 64)
    extractor(side, "mean", "all")
    stored = replace(extractor, only_stored=True)
    with pytest.raises(ConfigError, match=r"^8 of 8 texts of tiny-llama"):
        stored(side, "max", "all")
    with pytest.raises(ConfigError, match=r"^8 of 8 texts of tiny-llama"):
        replace(stored, nll=True)(side, "mean", "all")


# --- the record, and how the work is done -----------------------------------------------------------------------------------


def test_a_shard_says_how_it_was_made(extractor, checkpoint, store, texts):
    side = Side(checkpoint(), texts, 64, label="speeches en")
    record = extractor(side, "mean", "all").record
    assert record == {
        "model": "tiny-llama",
        "texts": "speeches en",
        "identity": side.identity,
        "device": "cpu",
        "batch_size": 64,
        "batch_tokens": 4096,
        "batch_drift": checkpoint().load(store, CPU, Needs(64)).certificate.drift,
        "certificate": json.loads(json.dumps(asdict(checkpoint().load(store, CPU, Needs(64)).certificate))),
    }
    assert 0 <= record["batch_drift"] < 1e-5
    assert record_of(extractor.fill(side, ["last"])[0]["last"]) == record


def test_an_exact_shard_says_that_its_batches_held_one_text(extractor, checkpoint, texts):
    record = extractor(Side(checkpoint(), texts, 64, exact=True), "mean", "all").record
    assert (record["batch_size"], record["identity"]["exact"]) == (1, True)


@pytest.mark.usefixtures("shards_of_8")
def test_a_budget_that_memory_lowered_is_remembered_by_the_extractor_and_recorded(extractor, checkpoint, monkeypatch, caplog):
    original, tried = LanguageModel.forward, []

    def forward_of_80_tokens(self, tokens, *rest, **options):
        tried.append(tokens.ids.numel())
        if rest and tokens.ids.numel() > 80:  # a listener: not one of the checks at loading
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, tokens, *rest, **options)

    side = Side(checkpoint(), MANY[:32], 64)
    expected = replace(extractor, store=Store(extractor.store.root / "other"), batching=Batching(64, 4096))(side, "mean", "all")
    monkeypatch.setattr(LanguageModel, "forward", forward_of_80_tokens)
    monkeypatch.setattr("layeratlas.models.loading.verified", lambda model, *rest, **options: model)
    found = extractor(side, "mean", "all")
    assert [n for n in tried if n > 80] == tried[:1] == [8 * 13]
    assert extractor.batching.tokens == 8 * 13 // 2
    for name, vectors in expected.activations.layers.items():
        torch.testing.assert_close(found.activations.layers[name], vectors, rtol=1e-5, atol=1e-6)
    assert found.record["batch_tokens"] == 52
    assert sum("do not fit into memory" in record.getMessage() for record in caplog.records) == 1
    tried.clear()
    assert extractor(Side(checkpoint(), MANY[32:48], 64), "mean", "block_2").record["batch_tokens"] == 52
    assert max(tried) <= 52


@pytest.mark.usefixtures("shards_of_8")
def test_the_next_texts_are_tokenised_while_the_network_computes(extractor, checkpoint, monkeypatch):
    """The network waits, before each shard but the last, until the texts of the next one are tokenised."""
    texts, threads = MANY[:20], {}
    tokenised = {text: threading.Event() for text in texts}
    encode, run = Encoder.encode, forward.extract

    def encoding(self, given, spans=None):
        encodings = encode(self, given, spans)
        if given[0] in tokenised:
            threads[given[0]] = threading.get_ident()
            tokenised[given[0]].set()
        return encodings

    def computing(model, given, *rest):
        following = texts.index(given.texts[0]) + 8
        if following < len(texts):
            assert tokenised[texts[following]].wait(timeout=20), "the next shard is not tokenised meanwhile"
        return run(model, given, *rest)

    monkeypatch.setattr(Encoder, "encode", encoding)
    monkeypatch.setattr(forward, "extract", computing)
    extractor(Side(checkpoint(), texts, 64), "mean", "block_2")
    assert list(threads) == [texts[0], texts[8], texts[16]]
    assert threading.get_ident() not in threads.values()


@pytest.mark.usefixtures("shards_of_8")
def test_a_text_that_cannot_be_tokenised_is_refused_from_the_other_thread(extractor, checkpoint, store):
    with pytest.raises(ConfigError, match=r"^dataset: the tokenizer makes no token of the text ''$"):
        extractor(Side(checkpoint(), [*MANY[:16], ""], 64), "mean", "block_2")
    assert len(files(store.root)) == 6  # two poolings and a table of each of the shards before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_only_what_is_missing_is_logged_and_checked_before_the_model_is_loaded(extractor, checkpoint, store, monkeypatch, caplog):
    extractor(Side(checkpoint(), MANY[:256], 64), "mean", "block_2")
    asked = []
    monkeypatch.setattr(preflight, "require", lambda expected, *rest, **options: asked.append((expected, rest, options)))
    monkeypatch.setattr(Checkpoint, "load", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with caplog.at_level(logging.INFO, "layeratlas"), pytest.raises(KeyboardInterrupt):
        extractor(Side(checkpoint(device_map="auto"), MANY[:300], 64), "mean", "block_2")
    ((expected, rest, options),) = asked
    assert rest == ("tiny-llama", store.root, CPU)
    assert options == {"spread": True}
    assert expected.disk == 44 * 5 * 32 * 4 * 2  # texts x layers x width x float32 x poolings
    assert "extract tiny-llama: 44 of 300 texts are not in the store" in caplog.text


def test_a_folder_that_holds_no_checkpoint_is_one_clear_line(extractor, tmp_path, texts):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"^model \S+empty: .*$") as raised:
        extractor(Side(Checkpoint(id=str(tmp_path / "empty"), dtype="float32"), texts, 64), "mean", "all")
    assert "\n" not in str(raised.value)
