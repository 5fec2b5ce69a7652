import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas.errors import ConfigError
from layeratlas.models import StoredActivations

N = 6
RNG = np.random.default_rng(0)
LAYERS = {
    name: RNG.standard_normal((N, width)).astype(np.float32)
    for name, width in [("embed", 4), ("block_1", 4), ("block_2", 4), ("final_norm", 3)]
}
ALL_ROWS = list(range(N))


def write(folder: Path, form: str, layers: dict[str, np.ndarray]) -> StoredActivations:
    """The layers as somebody else might have saved them."""
    path = folder / {"folder": "vectors"}.get(form, f"vectors.{form}")
    if form == "safetensors":
        safetensors.torch.save_file({name: torch.from_numpy(x) for name, x in layers.items()}, path)
    elif form == "npz":
        np.savez(path, **layers)
    else:
        path.mkdir()
        for name, x in layers.items():
            np.save(path / f"{name}.npy", x)
    return StoredActivations(path=str(path))


each_form = pytest.mark.parametrize("form", ["safetensors", "npz", "folder"])


@each_form
def test_vectors_are_read_from_every_format_in_the_order_of_the_layers(tmp_path, form):
    found = write(tmp_path, form, dict(reversed(LAYERS.items()))).activations(N, ALL_ROWS)
    assert found.names == ["embed", "block_1", "block_2", "final_norm"]
    assert found.n_blocks == 2
    for name, x in LAYERS.items():
        assert found.layers[name].dtype == torch.float32
        assert np.array_equal(found.layers[name].numpy(), x)


@each_form
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_vectors_of_other_number_formats_become_float32(tmp_path, form, dtype):
    layers = {name: (10 * x).astype(dtype) for name, x in LAYERS.items()}
    found = write(tmp_path, form, layers).activations(N, ALL_ROWS)
    for name, x in layers.items():
        assert found.layers[name].dtype == torch.float32
        assert np.array_equal(found.layers[name].numpy(), x.astype(np.float32))


def test_bfloat16_vectors_of_safetensors_become_float32(tmp_path):
    x = torch.from_numpy(LAYERS["block_1"]).bfloat16()
    safetensors.torch.save_file({"block_1": x}, tmp_path / "half.safetensors")
    found = StoredActivations(path=str(tmp_path / "half.safetensors")).activations(N, ALL_ROWS)
    assert torch.equal(found.layers["block_1"], x.float())


@each_form
def test_rows_are_chosen_and_ordered_as_the_dataset_draws_them(tmp_path, form):
    found = write(tmp_path, form, LAYERS).activations(N, [4, 0, 5])
    assert found.n == 3
    for name, x in LAYERS.items():
        assert np.array_equal(found.layers[name].numpy(), x[[4, 0, 5]])


def test_other_names_are_taken_for_blocks_in_their_natural_order_and_this_is_said(tmp_path, caplog):
    layers = {f"layer_{k}": np.full((N, 2), k, np.float32) for k in (10, 2, 1, 9)}
    with caplog.at_level(logging.INFO, "layeratlas"):
        found = write(tmp_path, "npz", layers).activations(N, ALL_ROWS)
    assert found.names == ["block_1", "block_2", "block_3", "block_4"]
    assert [float(x[0, 0]) for x in found.layers.values()] == [1, 2, 9, 10]
    assert [record.getMessage() for record in caplog.records] == [
        "model vectors: layer_1 .. layer_10 are taken for block_1 .. block_4"
    ]


def test_embed_and_final_norm_keep_their_names_beside_others(tmp_path):
    layers = {"embed": LAYERS["embed"], "h.0": LAYERS["block_1"], "h.1": LAYERS["block_2"], "final_norm": LAYERS["final_norm"]}
    found = write(tmp_path, "safetensors", layers).activations(N, ALL_ROWS)
    assert found.names == ["embed", "block_1", "block_2", "final_norm"]
    assert found.depths[1:3] == [0.5, 1.0]


def test_names_that_are_right_already_are_not_talked_about(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "layeratlas"):
        write(tmp_path, "npz", {f"block_{k}": np.ones((N, 2), np.float32) for k in range(1, 12)}).activations(N, ALL_ROWS)
    assert caplog.records == []


def test_blocks_with_a_gap_are_numbered_anew_and_this_is_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "layeratlas"):
        found = write(tmp_path, "npz", {f"block_{k}": LAYERS["block_1"] for k in (4, 8, 12)}).activations(N, ALL_ROWS)
    assert found.names == ["block_1", "block_2", "block_3"]
    assert "block_4 .. block_12 are taken for block_1 .. block_3" in caplog.text


@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True), data=st.data())
@settings(deadline=None, derandomize=True, max_examples=25)
def test_numbered_layers_come_in_the_order_of_their_numbers(tmp_path_factory, numbers, data):
    shuffled = data.draw(st.permutations(numbers))
    layers = {f"h{k}.out": np.full((2, 1), k + 1, np.float64) for k in shuffled}
    found = write(tmp_path_factory.mktemp("stored"), "npz", layers).activations(2, [0, 1])
    assert [float(x[0, 0]) - 1 for x in found.layers.values()] == sorted(numbers)


def test_a_file_is_named_by_its_stem_and_known_by_its_bytes(tmp_path):
    stored = write(tmp_path, "npz", LAYERS)
    assert (stored.name, stored.dtype) == ("vectors", "stored")
    before = stored.fingerprint()
    assert before.startswith("sha256:")
    np.savez(stored.path, **(LAYERS | {"embed": LAYERS["embed"] + 1}))
    assert stored.fingerprint() != before


@each_form
@pytest.mark.parametrize("items", [N - 1, N + 1])
def test_a_file_with_another_number_of_rows_than_the_dataset_has_items_is_refused(tmp_path, form, items):
    stored = write(tmp_path, form, LAYERS)
    expected = (
        rf"^model path={stored.path}: embed has shape \({N}, 4\); expected \({items}, d\), a row for each item of the dataset"
        r" in its own order$"
    )
    with pytest.raises(ConfigError, match=expected):
        stored.activations(items, [0])


def test_a_single_layer_with_another_number_of_rows_is_named(tmp_path):
    stored = write(tmp_path, "npz", LAYERS | {"block_2": LAYERS["block_2"][:-1]})
    with pytest.raises(ConfigError, match=rf"block_2 has shape \({N - 1}, 4\); expected \({N}, d\)"):
        stored.activations(N, ALL_ROWS)


@pytest.mark.parametrize("shape", [(N,), (N, 2, 2), ()])
def test_what_is_no_matrix_is_refused(tmp_path, shape):
    stored = write(tmp_path, "npz", {"block_1": np.ones(shape, np.float32)})
    with pytest.raises(ConfigError, match=r"block_1 has shape \(.*\); expected \(6, d\)"):
        stored.activations(N, ALL_ROWS)


class Bomb:
    """Unpickling this would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_pickled_objects_are_refused_and_never_run(tmp_path, form):
    bombs = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    stored = write(tmp_path, form, {"block_1": bombs})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: cannot be read \(.*allow_pickle=False.*\)$"):
        stored.activations(1, [0])
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_bare_pickle_under_another_name_is_refused_and_never_run(tmp_path, suffix):
    path = tmp_path / f"vectors.{suffix}"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ConfigError, match=rf"^model path={path}: cannot be read \(.*\)$"):
        StoredActivations(path=str(path)).activations(1, [0])
    assert not (tmp_path / "exploded").exists()


@each_form
@pytest.mark.parametrize("keep", [0, 1, 40, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, form, keep):
    stored = write(tmp_path, form, LAYERS)
    path = Path(stored.path) / "block_2.npy" if form == "folder" else Path(stored.path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: cannot be read \(.*\)$"):
        stored.activations(N, ALL_ROWS)


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_a_flipped_byte_anywhere_is_refused_in_one_line_or_leaves_whole_arrays(tmp_path, form):
    """NumPy's formats have checksums only inside a zip file, so a value may change, but nothing else may happen."""
    stored = write(tmp_path, form, {"block_1": LAYERS["block_1"]})
    path = Path(stored.path) / "block_1.npy" if form == "folder" else Path(stored.path)
    content, refused = path.read_bytes(), []
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            assert stored.activations(N, ALL_ROWS).layers["block_1"].shape[0] == N
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not [message for message in refused if "\n" in message]


def test_arrays_of_text_are_refused(tmp_path):
    stored = write(tmp_path, "npz", {"block_1": np.array([["a", "b"]] * N)})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: cannot be read \(.*\)$"):
        stored.activations(N, ALL_ROWS)


@pytest.mark.parametrize("name", ["vectors.pt", "vectors.pkl", "vectors.npy", "vectors"])
def test_a_file_of_another_format_is_refused_with_those_that_are_known(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    expected = (
        rf"^model path={tmp_path / name}: expected a \.safetensors, \.npz or \.parquet file, a folder of \.npy files or of a data"
    )
    expected += r" set$"
    with pytest.raises(ConfigError, match=expected):
        StoredActivations(path=str(tmp_path / name)).activations(1, [0])


@pytest.mark.parametrize("name", ["nowhere.npz", "nowhere"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    stored = StoredActivations(path=str(tmp_path / name))
    for ask in (stored.fingerprint, lambda: stored.activations(1, [0])):
        with pytest.raises(ConfigError, match=rf"^model path={tmp_path / name}: no such file or folder$"):
            ask()


@each_form
def test_a_file_without_arrays_is_refused(tmp_path, form):
    stored = write(tmp_path, form, {})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: holds no arrays$"):
        stored.activations(N, ALL_ROWS)


@each_form
def test_one_layer_is_read_at_a_time_and_those_not_chosen_never(tmp_path, form, monkeypatch):
    from layeratlas.models import stored as module

    stored = write(tmp_path, form, LAYERS)
    kind = {"safetensors": module.Safetensors, "npz": module.NumpyArchive, "folder": module.NumpyFiles}[form]
    read, reads = kind.read, []
    monkeypatch.setattr(kind, "read", lambda self, name: reads.append(name) or read(self, name))
    found = stored.activations(N, ALL_ROWS)
    chosen = found.select("every_2")
    assert (found.names, chosen.names, found.n_blocks) == (list(LAYERS), ["block_2"], 2)
    assert not {"block_1", "final_norm"} & set(reads)  # the tests' type checks look at the first layer of each mapping
    reads.clear()
    assert np.array_equal(chosen.layers["block_2"].numpy(), LAYERS["block_2"])
    assert reads == ["block_2"]
    with pytest.raises(KeyError):
        chosen.layers["block_1"]


@each_form
@pytest.mark.parametrize(("dtype", "itemsize"), [(np.float16, 2), (np.float64, 8)])
def test_the_memory_that_reading_takes_is_told_from_the_headers(tmp_path, form, dtype, itemsize):
    stored = write(tmp_path, form, {name: x.astype(dtype) for name, x in LAYERS.items()})
    assert stored.memory(3) == N * 4 * itemsize + 3 * 4 * 8


def test_vectors_that_do_not_fit_into_memory_are_refused_before_they_are_read(monkeypatch):
    import psutil

    from layeratlas.extraction import preflight

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("memory", (), {"available": 10**6}))
    preflight.require_memory(10**6, "model path=x", torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"^model path=x: needs about 2 MB of memory and cpu has 1 MB free$"):
        preflight.require_memory(2 * 10**6, "model path=x", torch.device("cpu"))


def test_a_pipe_in_place_of_vectors_is_no_file(tmp_path):
    import os

    os.mkfifo(tmp_path / "vectors.npz")
    with pytest.raises(ConfigError, match="no such file or folder"):
        StoredActivations(path=str(tmp_path / "vectors.npz")).activations(N, ALL_ROWS)


# ---------------------------------------------------------------- tables, and what comes along with vectors


def table_of(folder: Path, form: str, columns: dict) -> StoredActivations:
    """A data set of Hugging Face with a column per layer, as `save_to_disk`, `to_parquet` or shards of a hub would leave it."""
    import datasets

    found = datasets.Dataset.from_dict(columns)
    if form == "saved":
        found.save_to_disk(folder / "set", num_shards=2)
        return StoredActivations(path=str(folder / "set"))
    if form == "shards":
        (folder / "set").mkdir()
        found.select(range(2)).to_parquet(folder / "set" / "train-00000-of-00002.parquet")
        found.select(range(2, len(found))).to_parquet(folder / "set" / "train-00001-of-00002.parquet")
        return StoredActivations(path=str(folder / "set"))
    found.to_parquet(folder / "set.parquet")
    return StoredActivations(path=str(folder / "set.parquet"))


COLUMNS = {
    "text": [f"text {i}" for i in range(N)],
    "at_max_length": [False] * N,
    "index": list(range(N)),
    **{name: list(x) for name, x in LAYERS.items()},
}
COUNTED = {"tokens": [3, 4, 5, 6, 7, 8], "nll": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]}
each_table = pytest.mark.parametrize("form", ["saved", "shards", "parquet"])


@each_table
def test_a_data_set_with_a_column_per_layer_is_read_as_vectors(tmp_path, form):
    stored = table_of(tmp_path, form, COLUMNS)
    found = stored.activations(N, [4, 0, 5])
    assert found.names == ["embed", "block_1", "block_2", "final_norm"]
    for name, x in LAYERS.items():
        assert np.array_equal(found.layers[name].numpy(), x[[4, 0, 5]])
    assert (found.lengths, stored.has_likelihoods) == (None, False)
    assert stored.fingerprint() == stored.fingerprint()


@each_table
def test_numbers_of_tokens_and_likelihoods_come_along_with_a_data_set(tmp_path, form):
    stored = table_of(tmp_path, form, COLUMNS | COUNTED)
    assert stored.has_likelihoods
    assert stored.counts(N, [4, 0]).to_dict("list") == {"tokens": [7, 3], "nll": [5.5, 1.5]}
    found = stored.activations(N, [4, 0])
    assert (found.names, found.lengths.tolist()) == (["embed", "block_1", "block_2", "final_norm"], [7, 3])


@each_form
def test_numbers_of_tokens_and_likelihoods_come_along_with_arrays(tmp_path, form):
    stored = write(tmp_path, form, LAYERS | {name: np.array(values) for name, values in COUNTED.items()})
    assert stored.counts(N, [1]).to_dict("list") == {"tokens": [4], "nll": [2.5]}
    assert stored.activations(N, [1]).names == ["embed", "block_1", "block_2", "final_norm"]


@pytest.mark.parametrize(
    ("beside", "line"),
    [
        ({"tokens": [3, 4, 5, 6, 7, 0]}, r"tokens is 0 at row 5; expected a whole number from 1 on$"),
        ({"tokens": [3, 4, -5, 6, 7, 8]}, r"tokens is -5 at row 2; expected a whole number from 1 on$"),
        ({"tokens": [3, 4, 5, 6, 7, 1.5]}, r"tokens is 1.5 at row 5; expected a whole number from 1 on$"),
        ({"tokens": [3, np.nan, 5, 6, 7, 8]}, r"tokens is nan at row 1; expected a whole number from 1 on$"),
        ({"tokens": [3, np.inf, 5, 6, 7, 8]}, r"tokens is inf at row 1; expected a whole number from 1 on$"),
        ({"tokens": [3, 4, 5, 6, 7, 1e30]}, r"tokens is 1e\+30 at row 5; expected a whole number from 1 on$"),
        ({"tokens": [3, 4]}, r"tokens has shape \(2,\); expected \(6,\), a number for each item$"),
        ({"tokens": [[3]] * N}, r"tokens has shape \(6, 1\); expected \(6,\), a number for each item$"),
        ({"tokens": [3] * N, "nll": [1, 2, 3, 4, 5, np.nan]}, r"nll is nan at row 5; expected a number from 0 on$"),
        ({"tokens": [3] * N, "nll": [1, 2, 3, 4, 5, -np.inf]}, r"nll is -inf at row 5; expected a number from 0 on$"),
        ({"tokens": [3] * N, "nll": [1, 2, -3, 4, 5, 6]}, r"nll is -3 at row 2; expected a number from 0 on$"),
        ({"tokens": [3] * N, "nll": [1] * N, "nll_tokens": [3, 4, 3, 3, 3, 3]}, r"nll_tokens is larger than tokens for a text$"),
        ({"nll": [1, 2, 3, 4, 5, 6]}, r"nll is a sum over tokens, and no array tokens says how many there are$"),
        ({"tokens": [3] * N, "nll_tokens": [2] * N}, r"nll_tokens says over how many tokens nll is, and there is no array nll$"),
    ],
)
def test_counts_that_cannot_be_are_refused_in_one_line(tmp_path, beside, line):
    stored = write(tmp_path, "npz", LAYERS | {name: np.array(values, dtype=float) for name, values in beside.items()})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: {line}"):
        stored.activations(N, ALL_ROWS)


def spoilt(row: int, value: float, dtype: type = np.float32) -> np.ndarray:
    x = LAYERS["block_2"].astype(dtype)
    x[row, 1] = value
    return x


@each_form
@pytest.mark.parametrize(
    ("x", "line"),
    [
        (spoilt(4, np.nan), "block_2 has NaN or an infinite value at row 4"),
        (spoilt(0, np.inf), "block_2 has NaN or an infinite value at row 0"),
        (spoilt(5, -np.inf, np.float16), "block_2 has NaN or an infinite value at row 5"),
        (spoilt(3, 1e300, np.float64), "block_2 has values that are too large for float32"),
        (np.zeros((N, 4), np.float32), "block_2 is 0 everywhere"),
        (np.full((N, 4), -0.0), "block_2 is 0 everywhere"),
        (np.zeros((N, 4), np.int64), "block_2 is 0 everywhere"),
    ],
)
def test_a_layer_that_no_network_leaves_is_refused_by_name_when_it_is_read(tmp_path, form, x, line):
    stored = write(tmp_path, form, LAYERS | {"block_2": x})
    layers = stored.activations(N, ALL_ROWS).layers
    assert layers["block_1"].shape == (N, 4)
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: {line}$"):
        layers["block_2"]


def test_rows_of_a_spoilt_layer_are_those_of_the_file_and_only_the_chosen_ones_count(tmp_path):
    stored = write(tmp_path, "npz", {"h1": LAYERS["block_1"], "h2": spoilt(4, np.nan)})
    assert bool(stored.activations(N, [5, 0]).layers["block_2"].isfinite().all())
    with pytest.raises(ConfigError, match=r"block_2 \(array h2\) has NaN or an infinite value at row 4$"):
        stored.activations(N, [5, 4]).layers["block_2"]


@each_form
@pytest.mark.parametrize("dtype", [np.bool_, np.complex64])
def test_layers_of_what_is_no_real_number_are_refused(tmp_path, form, dtype):
    stored = write(tmp_path, form, LAYERS | {"block_2": LAYERS["block_2"].astype(dtype)})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: cannot be read \(.*expected numbers; got .*\)$"):
        stored.activations(N, ALL_ROWS)


@each_form
def test_a_layer_without_dimensions_is_refused(tmp_path, form):
    stored = write(tmp_path, form, LAYERS | {"block_2": np.ones((N, 0), np.float32)})
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: block_2 has shape \(6, 0\); expected \(6, d\)"):
        stored.activations(N, ALL_ROWS)


@pytest.mark.parametrize(
    ("column", "line"),
    [
        ({"block_2": [1.0] * N}, "block_2 holds double; expected lists of numbers with a fraction"),
        ({"block_2": ["x"] * N}, "block_2 holds string; expected lists of numbers with a fraction"),
        ({"block_2": [[[1.0], [2.0]]] * N}, "block_2 holds list<.*>; expected lists of numbers with a fraction"),
        ({"tokens": ["3"] * N}, "tokens holds string; expected numbers"),
        ({"tokens": [True] * N}, "tokens holds bool; expected numbers"),
    ],
)
def test_a_column_that_is_named_as_a_layer_or_a_count_and_is_none_is_not_passed_over(tmp_path, column, line):
    stored = table_of(tmp_path, "parquet", COLUMNS | column)
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: cannot be read \({line}\)$"):
        stored.activations(N, ALL_ROWS)


def test_a_column_of_vectors_of_two_lengths_or_with_empty_cells_is_refused(tmp_path):
    ragged = table_of(tmp_path, "parquet", COLUMNS | {"block_2": [[1.0] * (2 + i % 2) for i in range(N)]})
    with pytest.raises(ConfigError, match=rf"^model path={ragged.path}: cannot be read \(block_2 has vectors of"):
        ragged.activations(N, ALL_ROWS)
    empty = table_of(tmp_path, "parquet", COLUMNS | {"block_2": [None, *([[1.0, 2.0]] * (N - 1))]})
    with pytest.raises(ConfigError, match=rf"^model path={empty.path}: cannot be read \(block_2 has vectors of"):
        empty.activations(N, ALL_ROWS)
    hole = table_of(tmp_path, "parquet", COLUMNS | {"block_2": [[None, 1.0], *([[1.0, 2.0]] * (N - 1))]})
    with pytest.raises(ConfigError, match=rf"^model path={hole.path}: cannot be read \(block_2 has empty cells\)$"):
        hole.activations(N, ALL_ROWS).layers["block_2"]


@each_table
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5])
def test_a_truncated_table_is_refused_in_one_line(tmp_path, form, keep):
    stored = table_of(tmp_path, form, COLUMNS)
    path = Path(stored.path)
    path = path if path.is_file() else sorted([*path.glob("*.arrow"), *path.glob("*.parquet")])[0]
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ConfigError, match=rf"^model path={stored.path}: (cannot be read \(.*\)|embed has shape .*)$"):
        stored.activations(N, ALL_ROWS)


def test_likelihoods_that_come_along_are_given_per_token_byte_and_character_of_the_texts(tmp_path):
    from layeratlas.analyses.pair_items import PairItems
    from layeratlas.extraction.activations import Extractor
    from layeratlas.extraction.balance import balance
    from layeratlas.extraction.batching import Batching
    from layeratlas.extraction.stored_side import StoredSide
    from layeratlas.files.store import Store

    stored = write(tmp_path, "npz", LAYERS | {name: np.array(values) for name, values in COUNTED.items()})
    extractor = Extractor(Store(tmp_path), {}, Batching(1, 1), torch.device("cpu"))
    texts = ["naïve", "an ant sat"]
    found = StoredSide(stored, N, [2, 0], texts).extracted(extractor, "last")
    assert found.tokens.to_dict("list") == {
        **{"tokens": [5, 3], "characters": [5, 10], "bytes": [6, 10], "nll": [3.5, 1.5], "nll_tokens": [5, 3]},
        **{"nll_per_token": [0.7, 0.5], "nll_per_byte": [3.5 / 6, 0.15], "nll_per_character": [0.7, 0.15]},
    }
    assert balance(texts, found.tokens, "last") == {"items": 2, "characters": 15, "tokens": 8}
    side = found.tokens.assign(text=texts)
    items = PairItems.of(side, side.iloc[::-1].reset_index(drop=True), found.tokens.index.to_series())
    assert items.lengths["tokens_difference"].tolist() == [-2, 2]
