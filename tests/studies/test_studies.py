"""Studies of sweeps written by hand: texts against their controls, and how far all runs agree."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawing import drawn_by, illegible

from layeratlas.report.views import of_study
from layeratlas.runs import reading, writing
from layeratlas.runs.reading import Run
from layeratlas.studies import Agreements, Controls, sweep_of
from layeratlas.studies.two_runs import compare_runs

A, B = (np.arange(1, layers + 1) / layers for layers in (10, 7))
CONTROLS = Controls(datasets=["random_strings"])
AGREEMENTS = Agreements(draws=9, most=300, seed=0)


def written(folder, strength: float, *, corpus="speeches", control=None, languages=("en", "en"), seed=0, n=100) -> Run:
    """A run whose layers prefer their own depth by `strength`, as it is read again from its folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, int(folder.name)])
    matrix = 0.2 + strength * np.exp(-5 * np.abs(A[:, None] - B))
    arrays = {
        "affinity": matrix + 0.001 * rng.standard_normal((10, 7)),
        "chance": np.full((10, 7), 0.1),
        "left_out": matrix + 0.001 * rng.standard_normal((20, 10, 7)),
        **{"layers_a": np.array([f"block_{i}" for i in range(1, 11)]), "layers_b": np.array([f"block_{i}" for i in range(1, 8)])},
        **{"depth_a": A, "depth_b": B},
    }
    np.savez(folder / "affinity.npz", **arrays)
    pd.DataFrame({"id": [f"{corpus}{i}" for i in range(n)]}).to_parquet(folder / "items.parquet")
    settings = {"seed": seed, "layers": "blocks", "control": control, "dataset": {"path": corpus}, "metric": {}}
    named = {"a": ("ant", languages[0]), "b": ("bee", languages[1])}
    sides = {
        side: {"model": model, "revision": "1", "language": language, "field": "text", "control": control}
        | {"layers": [str(layer) for layer in arrays[f"layers_{side}"]]}
        for side, (model, language) in named.items()
    }
    result = {
        "metric": {"name": "mutual_knn", "estimator": "overlap", "k": 10, "symmetric": True, "self_value": 1.0, "parameters": {}},
        "pooling": "last",
        **sides,
        "dataset": {"name": f"{corpus}+{control}" if control else corpus, "n": n, "corpus": corpus, "control": control}
        | {"same_texts": languages[0] == languages[1]},
        "settings": settings,
        "headline": {"text": "mean affinity", "value": 0.5, "chance": 0.1},
        "statistics": {},
        "analyses": {},
        "warnings": [],
        "timing": {},
        "provenance": {"config": {"dataset": {}, "statistics": {"level": 0.95, "by_group": False}, "model_a": {}, "model_b": {}}},
    }
    writing.write_result(folder, result, [folder / "affinity.npz", folder / "items.parquet"])
    return reading.read_run(folder)


@pytest.mark.slow
def test_each_control_is_paired_with_the_texts_that_it_differs_from_in_nothing_else(tmp_path):
    runs = [
        written(tmp_path / "0", 0.5),
        written(tmp_path / "1", 0.5, languages=("en", "de")),
        written(tmp_path / "2", 0.1, control="cipher"),
        written(tmp_path / "3", 0.5, control="cipher", languages=("en", "de")),
        written(tmp_path / "4", 0.1, corpus="random_strings"),
        written(tmp_path / "5", 0.1, control="cipher", seed=1),
    ]
    found = CONTROLS(sweep_of(runs))
    assert found is not None
    margin = found.table[found.table["statistic"] == "swap_margin"].set_index(["control", "job_text"])
    assert margin["job_control"].to_dict() == {("cipher", "0"): "2", ("cipher", "1"): "3", ("random_strings", "0"): "4"}
    expected = compare_runs(runs[0], runs[2], draws=0).differences.iloc[0]
    assert margin.loc[("cipher", "0"), "difference"] == pytest.approx(expected["value"])
    assert margin.loc[("cipher", "0"), "p_holm_pairs"] == pytest.approx(min(1.0, 2 * expected["p"]))
    assert (margin["items"].tolist(), found.numbers["cipher"]["text_above"]) == (["same", "same", "other"], 1)
    assert found.warnings == ["job 5 (cipher): no run of the sweep differs from it in the control alone"]
    assert found.table.loc[found.table["statistic"] == "margin_at_depth", "p_holm_pairs"].isna().all()


def test_a_sweep_without_controls_is_not_asked_about_them(tmp_path):
    assert CONTROLS(sweep_of([written(tmp_path / "0", 0.5), written(tmp_path / "1", 0.5, seed=1)])) is None


def test_other_numbers_of_items_are_named_and_not_tested(tmp_path):
    found = CONTROLS(sweep_of([written(tmp_path / "0", 0.5), written(tmp_path / "1", 0.1, control="cipher", n=50)]))
    assert found.table is None
    assert found.warnings == [
        "jobs 0 and 1 (cipher): the runs differ in n, on which the swap margin depends; run both with the same"
    ]


@pytest.mark.slow
def test_every_two_runs_of_the_same_models_are_compared_and_corrected_together(tmp_path):
    runs = [written(tmp_path / str(i), 0.5, languages=("en", code)) for i, code in enumerate(("de", "fr", "hi"))]
    found = AGREEMENTS(sweep_of(runs))
    table = found.table
    assert table[["job_first", "job_second"]].to_numpy().tolist() == [["0", "1"], ["0", "2"], ["1", "2"]]
    assert table["differ_in"].tolist() == ["language_b"] * 3
    assert table["second"].tolist() == ["fr", "hi", "hi"]
    expected = compare_runs(runs[0], runs[1], draws=9, seed=0)
    assert table["off_diagonal_pearson"][0] == pytest.approx(expected.correlation.off_diagonal_pearson)
    assert (table["mantel_p_holm"] >= table["mantel_p"]).all()
    assert table["mantel_p_holm"].min() == pytest.approx(3 * table["mantel_p"].min())
    assert len(found.parts["depths"]) == 3 * len(expected.differences)


def test_more_pairs_than_asked_for_are_said_and_not_compared(tmp_path):
    runs = [written(tmp_path / str(i), 0.5, seed=i) for i in range(3)]
    found = Agreements(draws=9, most=2, seed=0)(sweep_of(runs))
    assert (found.table, found.numbers) == (None, {"pairs": 3, "compared": 0})
    assert found.warnings == ["3 pairs of runs of the same models are not compared; study.agreement.most=3 does it"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "study", "axes", "column"),
    [("controls", CONTROLS, 1, "difference"), ("agreement", AGREEMENTS, 2, "off_diagonal_pearson")],
)
def test_a_study_is_drawn_from_its_tables(tmp_path, name, study, axes, column):
    sweep = sweep_of([written(tmp_path / "0", 0.5), written(tmp_path / "1", 0.1, control="cipher")])
    (view,) = of_study(name, None)
    findings = study(sweep)
    ((place, figure),) = view.figures(sweep, findings.tables(name))
    assert (place, len(figure.axes)) == (name, axes)
    assert illegible(figure) == []
    (chart,) = drawn_by(name, findings)
    rows = findings.table[findings.table["statistic"] == "swap_margin"] if name == "controls" else findings.table
    assert chart["series"][0]["y"] == rows[column].tolist()
    plt.close(figure)
    assert list(view.figures(sweep, {})) == []
