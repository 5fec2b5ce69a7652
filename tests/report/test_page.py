"""report.html as a file: what it holds, how large it is, and that nothing in it can act. No browser."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
from pages_by_hand import HOSTILE, data_of, paged_run, unpacked

import layeratlas
from layeratlas.report.analyses import diagonal
from layeratlas.report.charts import Chart, Series
from layeratlas.report.page.packing import packed, table
from layeratlas.report.page.run_page import write_run_page
from layeratlas.report.views import View

MB = 1e6


def page_of(folder, *, texts=True) -> str:
    return write_run_page(layeratlas.read_run(folder), texts=texts).read_text(encoding="utf-8")


def test_packed_numbers_and_texts_are_read_again_as_they_were():
    content = {
        "a": np.array([0.1, np.nan, -np.inf]),
        "b": [np.arange(3, dtype="u2"), "ü</script>", None],
        "c": {"d": np.zeros(0), "e": float("nan"), "f": 7},
        "g": np.array([2**31], dtype="u4"),
    }
    again = unpacked(packed(content))
    np.testing.assert_array_equal(again["a"], content["a"])
    np.testing.assert_array_equal(again["b"][0], [0, 1, 2])
    assert again["b"][1:] == ["ü</script>", None]
    assert len(again["c"]["d"]) == 0
    assert again["c"]["e"] is None
    assert again["c"]["f"] == 7
    assert again["g"].tolist() == [2**31]


def test_an_array_that_no_page_can_read_is_refused():
    with pytest.raises(TypeError, match=r"no array of int64 and shape \(2,\)"):
        packed({"a": np.arange(2)})


def test_a_table_keeps_its_kinds_its_gaps_and_says_how_long_it_was():
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, np.nan, 1], "z": ["a", None, "\x1b"], "t": [True, False, True]})
    made = table("t", frame.assign(w=pd.array([1, None, 3], dtype="Int64")), most=2)
    assert (made["rows"], made["of"]) == (2, 3)
    assert [column["kind"] for column in made["columns"]] == ["whole", "number", "text", "truth", "whole"]
    assert made["columns"][2]["values"] == ["a", None]
    assert np.isnan(made["columns"][4]["values"][1])
    assert table("t", frame, most=9)["columns"][2]["values"][2] == "\\x1b"


def test_a_page_is_the_same_to_the_last_bit_when_written_again(tmp_path):
    folder = paged_run(tmp_path / "run")
    assert page_of(folder) == page_of(folder)


def test_a_page_may_fetch_nothing_and_runs_one_script_of_known_hash(tmp_path):
    page = page_of(paged_run(tmp_path / "run"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert len(re.findall(r"<script(?! type=\"text/plain\")", page)) == 1


@pytest.mark.parametrize("place", ["texts", "model", "language", "warning", "table"])
def test_text_from_outside_stays_text(place, tmp_path):
    evil = HOSTILE[0]
    run = paged_run(
        tmp_path / "run",
        texts=[evil] if place == "texts" else None,
        names=(evil, "bee") if place == "model" else ("ant", "bee"),
        languages=(evil, "de") if place == "language" else ("en", "de"),
    )
    said = layeratlas.read_run(run)
    if place == "warning":
        said.result["warnings"].append(evil)
        said.result["headline"]["sentence"] = evil
        said.result["provenance"]["command"].append(evil)
    if place == "table":
        said.result["statistics"]["diagonal"] = {evil: evil}
    page = write_run_page(said, texts=True).read_text(encoding="utf-8")
    assert evil not in page
    assert page.count("</script>") == 2


def test_texts_are_left_out_when_asked(tmp_path):
    folder = paged_run(tmp_path / "run", texts=["a secret sentence"])
    assert "a secret sentence" in json.dumps(data_of(page_of(folder))["items"]["texts"])
    page = page_of(folder, texts=False)
    assert data_of(page)["items"]["texts"] is None
    assert "secret" not in page
    assert "secret" not in str({key: value for key, value in data_of(page).items()})


def test_a_page_of_two_large_models_and_many_texts_is_small(tmp_path):
    words = np.random.default_rng(0).integers(0, 3000, (2048, 40))
    texts = [" ".join(f"w{word}" for word in line) for line in words]
    folder = paged_run(tmp_path / "run", rows=80, columns=80, n=2048, k=10, texts=texts)
    page = page_of(folder)
    assert len(page) < 6 * MB
    items = data_of(page)["items"]
    assert len(items["chosen"]) == len(set(items["chosen"])) == 512
    assert len(items["neighbours"]["a"]) == 80 * 512 * 10


def test_the_items_of_a_page_are_drawn_by_the_seed_and_their_lists_are_the_runs(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run", n=600, k=5, texts=[f"text {i} " + "long " * 60 for i in range(600)]))
    items = data_of(page_of(run.folder))["items"]
    chosen, lists = items["chosen"], run.neighbors()
    np.testing.assert_array_equal(chosen, np.sort(np.random.default_rng(0).choice(600, 512, replace=False)))
    for side, layers in lists.items():
        np.testing.assert_array_equal(items["neighbours"][side].reshape(len(layers), 512, 5), layers[:, chosen])
    texts = run.table("items")["text_a"]
    assert items["texts"]["a"][chosen[0]] == texts[chosen[0]]
    other = next(i for i in range(600) if i not in chosen)
    assert items["texts"]["a"][other].startswith(texts[other][:100])
    assert "characters)" in items["texts"]["a"][other]


def test_a_metric_without_lists_has_a_page_without_them(tmp_path):
    folder = paged_run(tmp_path / "run")
    run = layeratlas.read_run(folder)
    del run.result["checksums"]["neighbors.npz"]
    assert data_of(write_run_page(run, texts=True).read_text(encoding="utf-8"))["items"]["neighbours"] is None


def test_every_number_of_the_matrix_is_on_the_page_unrounded(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run"))
    values = data_of(page_of(run.folder))["matrix"]["values"]
    for name in ("affinity", "chance", "null_mean", "z", "p_value", "p_fwer", "p_fdr", "ci_low", "ci_high", "calibrated"):
        np.testing.assert_array_equal(values[name].reshape(run.affinity.shape), run.arrays[name])


def test_a_chart_that_cannot_be_made_costs_the_page_nothing_else(tmp_path, monkeypatch, undrawn):
    def broken(run):
        raise KeyError("no such column")

    folder = paged_run(tmp_path / "run")
    (folder / "figures").mkdir()
    (folder / "figures" / "depth_curves.png").write_bytes(b"a picture")
    monkeypatch.setattr(diagonal, "VIEWS", [View("depth_curves", ["diagonal"], diagonal.depth_curves_figure, broken)])
    page = page_of(folder)
    assert "the charts of depth_curves are not drawn" in undrawn.pop().getMessage()
    assert base64.b64encode(b"a picture").decode() in page
    assert "swap margin" in page


def test_a_picture_without_charts_is_on_the_page_and_one_with_charts_is_not(tmp_path, monkeypatch):
    folder = paged_run(tmp_path / "run")
    (folder / "figures").mkdir()
    (folder / "figures" / "depth_curves.png").write_bytes(b"a picture")
    chart = Chart("title", "depth", "y", [Series("s", [0.5], [None])])
    monkeypatch.setattr(diagonal, "VIEWS", [View("depth_curves", ["diagonal"], diagonal.depth_curves_figure, lambda run: [chart])])
    page = page_of(folder)
    assert base64.b64encode(b"a picture").decode() not in page
    assert data_of(page)["charts"]["depth_curves"][0]["series"][0]["y"] == [None]
