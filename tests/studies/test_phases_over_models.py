"""Phases of several models side by side, and whether they differ."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawing import drawn_by, illegible

from layeratlas.errors import ConfigError, Undefined
from layeratlas.report.views import of_study
from layeratlas.runs import reading, writing
from layeratlas.runs.reading import Run
from layeratlas.studies import PhasesOverModels, sweep_of
from layeratlas.studies.phases import difference

CATEGORIES = ("numbers", "facts", "science", "lifestyle", "business", "technology")
DEPTHS = [k / 6 for k in range(1, 7)]
STUDY = PhasesOverModels(published=[])


def written(folder, model, r, *, seed=0, chat_template=False, published=(0.4, -0.2, -0.3), categories=CATEGORIES, pairs=30) -> Run:
    """A run whose categories have correlations of about `r` (early, middle, late), and what the analysis says of itself."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, int(folder.name)])
    layers = [f"block_{k}" for k in range(1, 7)]
    rows = [
        {"layer": layer, "depth": depth, "category": category, "n": pairs, "r": np.tanh(np.arctanh(r[i // 2]) + noise)}
        for category in categories
        for noise in [0.05 * rng.standard_normal()]
        for i, (layer, depth) in enumerate(zip(layers, DEPTHS, strict=True))
    ]
    rows.append({"layer": "embed", "depth": np.nan, "category": categories[0], "n": pairs, "r": 0.9})
    pd.DataFrame(rows).to_parquet(folder / "phases_categories.parquet")
    names = np.array(layers)
    arrays = {"affinity": np.eye(6), "chance": np.zeros((6, 6)), "layers_a": names, "layers_b": names}
    np.savez(folder / "affinity.npz", **arrays, depth_a=DEPTHS, depth_b=DEPTHS)
    phases = {
        name: {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "p": 0.01, "tau": 0.0}
        for name, value in zip(("early", "middle", "late"), r, strict=True)
    }
    said = {"pairs": 180, "preference": "per_token", "phases": phases}
    said |= {"published": dict(zip(("early", "middle", "late"), published, strict=True)) | {"pattern": "PYTHIA_PATTERN"}}
    side = {"model": model, "revision": "1", "language": "en", "field": "a", "control": None, "layers": layers}
    node = {"chat_template": chat_template}
    result = {
        "metric": {"name": "cka", "estimator": "u", "k": None, "symmetric": True, "self_value": 1.0, "parameters": {}},
        "pooling": "mean_skip_first",
        "a": side,
        "b": side | {"field": "b"},
        "dataset": {"name": "statements", "n": 180, "corpus": "statements", "control": None, "same_texts": False},
        "settings": {"seed": 0, "dataset": {}, "metric": {}},
        "headline": {"text": "phases", "value": 0.5, "chance": 0.0},
        "statistics": {"phases": said},
        "analyses": {"phases": {"tables": ["phases_categories"], "tests": [], "ordered_tests": []}},
        "warnings": [],
        "timing": {},
        "provenance": {"config": {"dataset": {}, "statistics": {"level": 0.95}, "model_a": node, "model_b": node}},
    }
    writing.write_result(folder, result, [folder / "affinity.npz", folder / "phases_categories.parquet"])
    return reading.read_run(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phases")
    return [
        written(folder / "0", "ant", (0.5, 0.0, -0.4)),
        written(folder / "1", "bee", (0.5, 0.0, 0.4)),
        written(folder / "2", "bee", (0.1, 0.0, 0.4), chat_template=True, published=(0.0, 0.0, 0.0)),
    ]


def test_each_model_has_its_phases_with_intervals_and_the_published_means(runs):
    table = STUDY(sweep_of(runs)).parts["models"]
    ant = table[table["model"] == "ant"].set_index(["source", "phase"])
    assert ant.loc[("within", "early"), ["value", "ci_low", "ci_high"]].tolist() == pytest.approx([0.5, 0.4, 0.6])
    assert ant.loc[("published", "late"), "value"] == -0.3
    assert sorted(table["model"].unique()) == ["ant", "bee chat_template=false", "bee chat_template=true"]


def test_models_are_tested_phase_by_phase_and_corrected_together(runs):
    tests = STUDY(sweep_of(runs)).parts["tests"]
    assert len(tests) == 9
    late = tests.set_index(["first", "second", "phase"]).loc[("ant", "bee chat_template=false", "late")]
    assert late["value"] == pytest.approx(2 * np.arctanh(-0.4), abs=0.1)
    assert late["p_holm"] < 0.01
    assert (tests["p_holm"] >= tests["p"]).all()
    early = tests.set_index(["first", "second", "phase"]).loc[("ant", "bee chat_template=false", "early")]
    assert early["ci_low"] < 0 < early["ci_high"]


def test_a_template_has_the_published_verdict_beside_what_it_does(runs):
    (row,) = STUDY(sweep_of(runs)).parts["templates"].to_dict("records")
    assert (row["model"], row["verdict"]) == ("bee", "TEMPLATE_CHANGES_PATTERN")
    assert row["early_published"] == pytest.approx(-0.4)
    assert row["early_within"] == pytest.approx(np.arctanh(0.1) - np.arctanh(0.5), abs=0.1)


def test_published_rows_come_from_the_cited_file_and_nowhere_else(runs, tmp_path):
    r = [0.5, 0.3, 0.4, 0.0, -0.3, -0.3, -0.4, -0.4, 0.0]
    content = {"model_display": "Cat", "results": {str(4 * i): {"r": value} for i, value in enumerate(r)}}
    content |= {"phase_structure": {"early_mean": 0.4, "mid_mean": -0.2, "late_mean": 0.7}}
    (tmp_path / "cat.json").write_text(json.dumps(content), encoding="utf-8")
    table = PhasesOverModels(published=[str(tmp_path / "cat.json")])(sweep_of(runs)).parts["models"]
    cat = table[table["source"] == "file"]
    assert cat["value"].tolist() == pytest.approx([0.4, -0.2, -0.8 / 3])
    assert cat["stated"].tolist() == [0.4, -0.2, 0.7]
    assert set(cat["file"]) == {str(tmp_path / "cat.json")}
    assert "file" not in set(STUDY(sweep_of(runs)).parts["models"]["source"])
    with pytest.raises(ConfigError, match=r"no\.json: cannot be read"):
        PhasesOverModels(published=["no.json"])(sweep_of(runs))


def test_models_of_other_categories_are_not_compared(tmp_path):
    sweep = sweep_of(
        [written(tmp_path / "0", "ant", (0.5, 0, 0)), written(tmp_path / "1", "bee", (0.5, 0, 0), categories=("a", "b", "c"))]
    )
    with pytest.raises(Undefined, match=r"^ant and bee have 0 categories in common; their phases cannot be compared$"):
        STUDY(sweep)


def test_a_sweep_without_phases_is_not_asked_about_them(runs):
    other = Run(runs[0].folder, runs[0].result | {"statistics": {}, "analyses": {}}, runs[0].arrays)
    assert STUDY(sweep_of([other])) is None


@pytest.mark.pictures
def test_the_picture_has_a_row_per_model(runs):
    sweep = sweep_of(runs)
    ((place, figure),) = of_study("phases", None)[0].figures(sweep, STUDY(sweep).tables("phases"))
    assert place == "phases"
    assert next(tick.get_text() for tick in figure.axes[0].get_yticklabels()) == "ant"
    assert "differences between models certain" in figure.get_suptitle()
    assert illegible(figure) == []
    plt.close(figure)


def test_the_charts_hold_what_the_study_found(runs):
    findings = STUDY(sweep_of(runs))
    within, published = drawn_by("phases", findings)
    for chart, source in ((within, "within"), (published, "published")):
        rows = findings.tables("phases")["phases_models"]
        rows = rows[rows["source"] == source]
        for series in chart["series"]:
            assert series["y"] == rows.loc[rows["phase"] == series["name"], "value"].tolist()
            assert series["y"]


def share_rejected(worlds: int, *, shared: float, tau: float) -> float:
    """Of models without a difference: categories of 20 to 50 pairs, their noise shared by both models, effects that vary by tau."""
    rng, n = np.random.default_rng(0), np.array([30, 20, 50, 50, 50, 30])
    rejected = 0
    for _ in range(worlds):
        common = rng.standard_normal(6) * np.sqrt(shared)
        z = [(common + np.sqrt(1 - shared) * rng.standard_normal(6)) / np.sqrt(n - 3) + tau * rng.standard_normal(6) for _ in "xy"]
        rejected += difference(pd.DataFrame({"z_x": z[0], "z_y": z[1], "n_x": n, "n_y": n}), 0.95)["p"] <= 0.05
    return rejected / worlds


@pytest.mark.parametrize(("shared", "tau"), [(0.5, 0.3), *(pytest.param(s, 0.0, marks=pytest.mark.slow) for s in (0.0, 0.8))])
def test_equal_models_differ_no_more_often_than_a_test_of_5_percent_may_say(shared, tau):
    assert 0.025 <= share_rejected(400, shared=shared, tau=tau) <= 0.08
