import pandas as pd
import pytest
import torch
from conftest import TEXTS

from layeratlas.extraction import pooling
from layeratlas.extraction.drift import BATCH_SIZES, DTYPES, drift_table
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint, Needs

POOLINGS = {name: getattr(pooling, name) for name in pooling.__all__ if name not in ("span", "attention_weighted", "first")}


@pytest.fixture(scope="module")
def table(checkpoint_folder, tmp_path_factory) -> pd.DataFrame:
    model = Checkpoint(id=str(checkpoint_folder("llama")), dtype="float32")
    return drift_table(model, TEXTS, POOLINGS, Needs(128), Store(tmp_path_factory.mktemp("store")), torch.device("cpu"))


def test_there_is_a_row_for_each_number_format_batch_size_and_pooling(table):
    assert table.columns.tolist() == ["dtype", "batch_size", "pooling", "from_batch_1", "from_float32"]
    rows = list(table[["dtype", "batch_size", "pooling"]].itertuples(index=False, name=None))
    assert rows == [(dtype, size, name) for dtype in DTYPES for size in BATCH_SIZES for name in POOLINGS]
    assert (BATCH_SIZES, DTYPES) == ((1, 2, 4, 16), ("float32", "bfloat16", "float16"))


def test_drift_is_measured_from_batches_of_one_text_and_from_float32(table):
    alone = table["batch_size"] == 1
    single = table["dtype"] == "float32"
    assert (table["from_batch_1"][alone] == 0).all()
    assert (table["from_float32"][alone & single] == 0).all()
    assert table["from_batch_1"][single].equals(table["from_float32"][single])
    assert (table["from_float32"][~single] > 0).all()


def test_batches_move_float32_by_its_last_digits_and_bfloat16_by_more_than_float16(table):
    worst = table.groupby("dtype")["from_float32"].max()
    assert worst["float32"] < 1e-5 < worst["float16"] < worst["bfloat16"] < 0.1
    assert table.groupby("dtype")["from_batch_1"].max()["float32"] < 1e-5


def test_every_pooling_of_an_unmarked_text_can_be_tested_whatever_the_model(checkpoint, store):
    """`first` is the same for all texts of a decoder with BOS: of no use, but no reason to test nothing."""
    poolings = {"first": pooling.first, "last": pooling.last}
    table = drift_table(checkpoint(), TEXTS[:3], poolings, Needs(128), store, torch.device("cpu"))
    assert set(table["pooling"]) == {"first", "last"}


def test_the_models_own_number_format_does_not_matter(checkpoint, store):
    tables = [
        drift_table(checkpoint(dtype=dtype), TEXTS[:3], {"mean": pooling.mean}, Needs(128), store, torch.device("cpu"))
        for dtype in ("float32", "bfloat16")
    ]
    pd.testing.assert_frame_equal(*tables)
