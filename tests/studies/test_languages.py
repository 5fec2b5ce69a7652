"""Languages against languages, from runs written by hand."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from aligned_runs import LANGUAGES, LAYERS, aligned, write_aligned
from drawing import drawn_by, illegible

from layeratlas.errors import ConfigError
from layeratlas.report.views import of_study
from layeratlas.studies import Languages, sweep_of
from layeratlas.studies.language_pairs import language_pairs
from layeratlas.studies.languages import MEAN

SIX = ["am", "ar", "de", "en", "fr", "sw"]
ALONE = [["same_script"], ["same_family"], ["resource"], ["token_length_ratio"], ["shared_token_share"]]
WHERE = "texts-4-last-mutual_knn-10 ant"
STUDY = Languages(predictors=[*ALONE, ["same_script", "resource"], ["same_script", "same_family", "resource"]], draws=99, seed=0)


def alike(a, b):
    """How alike two languages are here: by their script, and a little of each pair's own."""
    same = LANGUAGES[a][0] == LANGUAGES[b][0]
    return 0.2 + 0.4 * same + 0.01 * ((ord(a[0]) * ord(b[1])) % 7)


def sweep(tmp_path, languages, *, leave_out=(), make=write_aligned, **options):
    pairs = [pair for pair in combinations(languages, 2) if pair not in leave_out]
    layers = np.array([0.0, 0.5, 1.0, 1.0, 0.5])
    runs = [
        make(tmp_path / str(i), pair, aligned(0.1 + layers * alike(*pair), flagged=["embed"]), items=items(i), **options)
        for i, pair in enumerate(pairs)
    ]
    return sweep_of(runs)


def items(i):
    share = np.linspace(0, 0.01 * i, 4)
    return pd.DataFrame({"id": list("abcd"), "text_tokens_a": 10, "text_tokens_b": 10 + i, "shared_token_share": share})


def test_what_sets_two_languages_apart(tmp_path):
    (found,) = language_pairs(sweep(tmp_path, ["en", "sw", "hi"]))
    pairs = found.pairs.set_index(["language_a", "language_b"])
    expected = {"same_script": 1, "same_family": 0, "resource": 0, "token_length_ratio": 1, "shared_token_share": 0}
    assert pairs.loc[("en", "sw"), list(expected)].to_dict() == expected
    expected = {"same_script": 0, "same_family": 1, "resource": 2, "token_length_ratio": 10 / 11, "shared_token_share": 0.005}
    assert pairs.loc[("en", "hi"), list(expected)].to_dict() == pytest.approx(expected)
    assert pairs.loc[("hi", "sw"), "job"] == "2"


def test_what_nobody_knows_of_a_language_is_unknown_of_its_pairs(tmp_path):
    run = write_aligned(tmp_path / "0", ("en", "xx"), aligned(np.zeros(5)), items=pd.DataFrame({"id": ["a", "b"]}))
    (found,) = language_pairs(sweep_of([run]))
    unknown = ["same_script", "same_family", "resource", "token_length_ratio", "shared_token_share"]
    assert found.pairs[unknown].isna().all(axis=None)


def test_numbers_and_words_are_two_scales_of_resources(tmp_path):
    numbers = {"language_a": {"code": "en", "resource": 5}, "language_b": {"code": "de", "resource": 4}}
    mixed = {"language_a": {"code": "en", "resource": 5}, "language_b": {"code": "de", "resource": "high"}}
    strange = {"language_a": {"code": "en", "resource": "rich"}, "language_b": {"code": "de", "resource": "high"}}
    for i, (config, expected) in enumerate(((numbers, 4), (mixed, np.nan), (strange, np.nan))):
        run = write_aligned(tmp_path / str(i), ("en", "de"), aligned(np.zeros(5)), **config)
        (found,) = language_pairs(sweep_of([run]))
        assert found.pairs["resource"][0] == pytest.approx(expected, nan_ok=True)


def test_a_pair_run_in_both_orders_counts_once_and_others_are_no_pairs(tmp_path):
    runs = [
        write_aligned(tmp_path / "0", ("en", "de"), aligned(np.full(5, 0.3))),
        write_aligned(tmp_path / "1", ("de", "en"), aligned(np.full(5, 0.9))),
        write_aligned(tmp_path / "2", ("en", "en"), aligned(np.full(5, 0.9))),
        write_aligned(tmp_path / "3", ("en", "de"), aligned(np.full(5, 0.9)), other_model="bee"),
        write_aligned(tmp_path / "4", ("en", "fr"), {}),
    ]
    (found,) = language_pairs(sweep_of(runs))
    assert found.languages == ["de", "en"]
    layers, above = found.above_chance("retrieval_at_1")
    assert layers["layer"].tolist() == LAYERS
    np.testing.assert_allclose(above[:, 0, 1], 0.2)
    assert np.isnan(above[:, 0, 0]).all()


def test_alignment_goes_with_what_was_planted(tmp_path):
    found = STUDY(sweep(tmp_path, SIX))
    table = found.table[(found.table["layer"] == MEAN) & (found.table["predictors"] == found.table["predictor"])]
    rows = table.set_index("predictor")
    assert rows["partial"].abs().idxmax() == "same_script"
    assert rows.loc["same_script", "partial"] > 0.95
    assert rows.loc["same_script", "p"] == rows.loc["same_script", "attainable_p"]
    assert rows.loc["same_script", "attainable_p"] > 0.03  # 48 of 720 orders leave the scripts as they are
    assert (rows["p_holm"] >= rows["p"]).all()
    together = found.table[found.table["predictors"] == "same_script, resource"]
    assert (together["inflation"] > 1).all()
    of_embed = found.table[found.table["layer"] == "embed"]
    assert of_embed["p"].isna().all()
    assert (of_embed["flagged"] == 15).all()
    order = found.parts["order"]["language"].tolist()
    latin = sorted(order.index(code) for code in ("de", "en", "fr", "sw"))
    assert latin[-1] - latin[0] == 3
    assert found.warnings == [
        f"{WHERE}: 3 predictors at once take 12 languages, and there are 6: same_script, same_family, resource"
    ]
    assert found.sentences[0].startswith(
        f"{WHERE}: retrieval_at_1 of 15 pairs of 6 languages, mean of blocks, correlates with same_script 0.9"
    )
    numbers = found.numbers[WHERE]
    assert (numbers["languages"], numbers["pairs"], numbers["missing"]) == (SIX, 15, [])
    assert len(numbers["mean_of_blocks"]) == 7


def test_three_predictors_are_asked_together_from_twelve_languages_on(tmp_path, monkeypatch):
    monkeypatch.setattr("layeratlas.studies.languages._MANY", 6)
    found = STUDY(sweep(tmp_path, SIX))
    assert "same_script, same_family, resource" in set(found.table["predictors"])
    assert found.warnings == []


def test_the_mean_of_blocks_leaves_out_what_says_nothing_in_any_pair(tmp_path):
    runs = [
        write_aligned(tmp_path / str(i), pair, aligned([0, 0.2, 0.4, 0.9, 0.9], flagged=["block_3"] if i == 1 else []))
        for i, pair in enumerate(combinations(["de", "en", "fr"], 2))
    ]
    found = Languages(predictors=ALONE, draws=9, seed=0)(sweep_of(runs))
    np.testing.assert_allclose(found.parts["order"]["above_chance"], 0.2)
    assert found.warnings == [f"{WHERE}: what alignment goes with takes 5 languages or more, and there are 3"]


def test_missing_pairs_are_named_and_nothing_is_said_of_all(tmp_path):
    found = STUDY(sweep(tmp_path, SIX, leave_out=[("am", "ar"), ("de", "fr"), ("am", "en"), ("fr", "sw")]))
    assert found.table is None
    assert found.warnings == [
        f"{WHERE}: 4 pairs of 6 languages were not run (am-ar, am-en, de-fr and 1 more); nothing is said of all"
    ]
    assert len(found.parts["pairs"]) == 11


def test_two_languages_are_no_matrix(tmp_path):
    found = STUDY(sweep(tmp_path, ["de", "en"]))
    assert found.warnings == [f"{WHERE}: two languages are one pair, and a matrix takes three languages"]


def test_a_sweep_without_alignment_is_not_asked(tmp_path):
    assert STUDY(sweep_of([write_aligned(tmp_path / "0", ("de", "en"), {})])) is None


@pytest.mark.slow
def test_predictors_that_are_unknown_or_the_same_everywhere_are_named(tmp_path):
    runs = [
        write_aligned(tmp_path / str(i), pair, aligned(0.1 * i + np.zeros(5)), items=pd.DataFrame({"id": ["a"]}))
        for i, pair in enumerate(combinations(SIX[:5], 2))
    ]
    found = Languages(predictors=[["same_script"], ["token_length_ratio"]], draws=9, seed=0)(sweep_of(runs))
    assert set(found.table["predictors"]) == {"same_script"}
    assert found.warnings == [
        "texts-1-last-mutual_knn-10 ant: token_length_ratio is not known of 10 of 10 pairs, and is not asked about"
    ]


@pytest.mark.slow
def test_models_and_controls_are_told_apart(tmp_path):
    first = sweep(tmp_path / "x", SIX)
    second = sweep(tmp_path / "y", SIX, model="bee")
    found = STUDY(sweep_of([*first.runs, *second.runs]))
    assert list(found.numbers) == [WHERE, "texts-4-last-mutual_knn-10 bee"]
    assert set(found.table["model"]) == {"ant", "bee"}


@pytest.mark.parametrize("predictors", [[[]], [["same_script", "same_script"]]])
def test_predictors_that_make_no_question_are_refused(predictors):
    with pytest.raises(
        ConfigError, match=r"study.languages.predictors: expected lists of one predictor or more, each once in a list"
    ):
        Languages(predictors=predictors, draws=9, seed=0)


@pytest.mark.slow
def test_the_languages_of_each_model_are_drawn(tmp_path):
    whole = sweep(tmp_path, SIX)
    (view,) = of_study("languages", None)
    findings = STUDY(whole)
    charts = drawn_by("languages", findings)
    layers = findings.table[findings.table["layer"] != MEAN]
    assert sum(len(one["y"]) for chart in charts for one in chart["series"]) == len(layers)
    np.testing.assert_array_equal(charts[0]["series"][0]["y"], layers["partial"][: len(charts[0]["ticks"])])
    drawn = dict(view.figures(whole, findings.tables("languages")))
    place = "texts-4-last-mutual_knn-10/languages-ant"
    assert list(drawn) == [f"{place}-curves", f"{place}-matrices", f"{place}-predictors"]
    assert [len(figure.axes) for figure in drawn.values()] == [5, 6, 5]
    assert [illegible(figure) for figure in drawn.values()] == [[]] * 3
    plt.close("all")


def test_some_pairs_are_drawn_as_curves_alone(tmp_path):
    some = sweep(tmp_path, SIX, leave_out=[("am", "ar")])
    (view,) = of_study("languages", None)
    assert [place.rpartition("-")[2] for place, _ in view.figures(some, {})] == ["curves"]
    plt.close("all")
