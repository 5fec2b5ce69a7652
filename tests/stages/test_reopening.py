"""The vectors of a finished run, read again from the store by what the run itself says."""

import json
import shutil

import numpy as np
import pytest

from layeratlas.affinity.matrix import compare
from layeratlas.errors import ConfigError
from layeratlas.files.store import Store
from layeratlas.models import Checkpoint
from layeratlas.runs.reading import read_run
from layeratlas.stages.reopening import opener_of


@pytest.fixture
def finished(command, tiny, tmp_path):
    """A run of two models in two languages, of some layers, with vectors that a normalisation changes."""
    asked = ["language@language_b=de", "layers=every_2", "normalization=zscore", "metric=cka_linear"]
    assert command(*tiny, *asked, "statistics=off", "analysis=[]", "report.enabled=false") == 0
    return read_run(tmp_path / "out")


def test_the_reopened_vectors_give_the_runs_own_matrix_and_no_model_is_loaded(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "load", lambda *_: pytest.fail("a model was loaded"))
    opened = opener_of(Store(tmp_path / "store"))(finished)
    assert opened.a.names == finished.result["a"]["layers"]
    assert opened.b.names == finished.result["b"]["layers"]
    np.testing.assert_array_equal(compare(opened.signer, opened.a, opened.b).matrix, finished.arrays["affinity"])


@pytest.mark.slow
def test_a_store_that_was_moved_is_read_where_it_lies_now(finished, tmp_path):
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    opened = opener_of(Store(tmp_path / "elsewhere"))(finished)
    np.testing.assert_array_equal(compare(opened.signer, opened.a, opened.b).matrix, finished.arrays["affinity"])


@pytest.mark.slow
def test_texts_that_have_changed_since_are_refused(finished, tmp_path, texts_file):
    rows = [json.loads(line) for line in texts_file.read_text().splitlines()]
    texts_file.write_text("\n".join(json.dumps(row | {"de": row["de"] + "!"}) for row in rows))
    with pytest.raises(ConfigError, match=r"out: dataset .* no longer gives the texts that this run compared$"):
        opener_of(Store(tmp_path / "store"))(finished)


@pytest.mark.slow
def test_vectors_that_are_gone_are_named_and_not_extracted_anew(finished, tmp_path):
    shutil.rmtree(tmp_path / "store" / "activations")
    with pytest.raises(ConfigError, match=r"40 of 40 texts of tiny-llama .* are not in store\.dir="):
        opener_of(Store(tmp_path / "store"))(finished)


@pytest.mark.slow
def test_one_side_compared_with_itself_is_opened_once(command, tiny, tmp_path, checkpoint_folder):
    same = [*tiny, f"model_b.id={checkpoint_folder('llama')}", "statistics=off", "analysis=[]", "report.enabled=false"]
    assert command(*same) == 0
    opened = opener_of(Store(tmp_path / "store"))(read_run(tmp_path / "out"))
    assert opened.b is opened.a
