"""Text against its control: whether two runs' depth correspondences differ, from their saved files."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from layeratlas.runs.reading import Run
from layeratlas.statistics.differences import independent_difference, paired_difference
from layeratlas.statistics.resampling import jackknife_se
from layeratlas.statistics.swaps import at_equal_depths, swaps
from layeratlas.studies.two_runs import compare_runs

A, B = (np.arange(1, layers + 1) / layers for layers in (10, 7))


def run(folder, strength, *, noise=0.02, seed=0, ids=range(100), dataset="speeches", **changed) -> Run:
    """A run whose layers prefer their own depth by `strength`, and what it is without each of 20 groups of items."""
    rng = np.random.default_rng(seed)
    matrix = 0.2 + strength * np.exp(-5 * np.abs(A[:, None] - B))
    metric = {"name": "mutual_knn", "k": 10, "estimator": "overlap", "self_value": 1.0} | changed.pop("metric", {})
    folder.mkdir(exist_ok=True)
    pd.DataFrame({"id": [str(i) for i in ids]}).to_parquet(folder / "items.parquet")
    return Run(
        folder,
        {
            "dataset": {"n": len(ids), "name": dataset},
            "metric": metric,
            "statistics": {},
            "a": {"model": "ant", "revision": "1"},
            "b": {"model": "bee", "revision": "1"},
            "provenance": {"config": {"statistics": {"level": 0.95, "by_group": False}, "model_a": {}, "model_b": {}}},
        },
        {
            "layers_a": np.array([f"block_{i}" for i in range(10)]),
            "layers_b": np.array([f"block_{i}" for i in range(7)]),
            "depth_a": A,
            "depth_b": B,
            "affinity": matrix,
            "left_out": matrix + noise * rng.standard_normal((20, 10, 7)),
        }
        | changed,
    )


def margins(read: Run, name: str) -> np.ndarray:
    return swaps(at_equal_depths(read.arrays[name], A, B)).swap_margin


def test_over_the_same_items_the_jackknife_is_that_of_the_difference(tmp_path):
    text, control = run(tmp_path / "text", 0.5, seed=1), run(tmp_path / "cipher", 0.3, seed=2, dataset="speeches+cipher")
    found = compare_runs(text, control, draws=1)
    assert found.items == "same"
    assert found.reason is None
    row = found.differences.set_index("statistic").loc["swap_margin"]
    value = float(margins(text, "affinity") - margins(control, "affinity"))
    left_out = margins(text, "left_out") - margins(control, "left_out")
    se = np.sqrt(19 / 20 * ((left_out - left_out.mean()) ** 2).sum())
    assert row["value"] == pytest.approx(value)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        (value - stats.t.ppf(0.975, 19) * se, value + stats.t.ppf(0.975, 19) * se)
    )
    assert row["p"] == pytest.approx(2 * stats.t.sf(value / se, 19))
    assert row["freedom"] == 19


def test_over_other_items_variances_add_up(tmp_path):
    text = run(tmp_path / "text", 0.5, seed=1)
    control = run(tmp_path / "random", 0.3, seed=2, noise=0.06, dataset="random_strings")
    found = compare_runs(text, control, draws=1)
    assert found.items == "other"
    row = found.differences.set_index("statistic").loc["swap_margin"]
    errors = [np.sqrt(19 / 20 * ((m - m.mean()) ** 2).sum()) for m in (margins(text, "left_out"), margins(control, "left_out"))]
    reach = (row["ci_high"] - row["ci_low"]) / 2
    assert reach == pytest.approx(stats.t.ppf(0.975, row["freedom"]) * np.hypot(*errors))
    assert 19 <= row["freedom"] < 38


def test_items_with_equal_ids_of_other_datasets_are_other_items(tmp_path):
    found = compare_runs(run(tmp_path / "a", 0.5), run(tmp_path / "b", 0.5, dataset="random_strings"), draws=1)
    assert found.items == "other"


def test_the_same_items_in_another_order_are_not_paired(tmp_path):
    found = compare_runs(run(tmp_path / "a", 0.5), run(tmp_path / "b", 0.5, ids=range(99, -1, -1)), draws=1)
    assert found.items == "other"


def test_curves_are_compared_depth_by_depth_and_corrected_over_them(tmp_path):
    found = compare_runs(run(tmp_path / "a", 0.5, seed=1), run(tmp_path / "b", 0.3, seed=2), draws=1).differences
    curve = found[found["statistic"] == "margin_at_depth"]
    np.testing.assert_allclose(curve["depth"], B)
    assert curve["value"].mean() == pytest.approx(found.loc[found["statistic"] == "swap_margin", "value"].item())
    assert (curve["p_holm"] >= curve["p"]).all()
    assert found.loc[found["statistic"] != "margin_at_depth", "p_holm"].isna().all()


def test_equal_statistics_differ_no_more_often_than_a_test_of_5_percent_may_say():
    """A thousand pairs of means of 20 groups of items, the groups of a pair drawn together or apart, of unequal noise."""
    rng, rejected = np.random.default_rng(0), {"paired": 0, "independent": 0}
    for _ in range(1000):
        groups = rng.standard_normal((2, 20)) * [[1.0], [3.0]]
        means, left_out = groups.mean(axis=1), (groups.sum(axis=1, keepdims=True) - groups) / 19
        errors = [float(jackknife_se(values)) for values in left_out]
        rejected["paired"] += paired_difference(*map(float, means), *left_out, 0.95).p <= 0.05
        rejected["independent"] += independent_difference(*map(float, means), tuple(errors), (19, 19), 0.95).p <= 0.05
    low, high = stats.binom.ppf([0.001, 0.999], 1000, 0.05)
    assert all(low <= count <= high for count in rejected.values())


def test_a_difference_that_never_varies_has_no_p(tmp_path):
    read = run(tmp_path / "a", 0.5)
    row = compare_runs(read, read, draws=1).differences.iloc[0]
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0, 0, 0)
    assert np.isnan(row["p"])


SQUARE = {
    "layers_b": np.array([f"block_{i}" for i in range(10)]),
    "depth_b": A,
    "affinity": np.eye(10) + (1 - np.eye(10)) * np.linspace(0.1, 0.5, 100).reshape(10, 10),
    "left_out": np.ones((20, 10, 10)),
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ids": range(50)}, r"the runs differ in n, on which the swap margin depends; run both with the same"),
        (
            {"metric": {"name": "cka_rbf_debiased"}},
            r"the runs differ in metric, on which the swap margin depends; run both with the same",
        ),
        (
            {"metric": {"parameters": {"bandwidth": 2.0}}},
            r"the runs differ in metric, on which the swap margin depends; run both with the same",
        ),
        (
            {"metric": {"normalization": "center"}},
            r"the runs differ in metric, on which the swap margin depends; run both with the same",
        ),
        (
            {"metric": {"k": 5, "parameters": {"k": 5}}},
            r"the runs differ in k, on which the swap margin depends; run both with the same",
        ),
    ],
)
def test_runs_whose_margins_are_of_other_scales_are_not_tested(tmp_path, changed, reason):
    found = compare_runs(run(tmp_path / "a", 0.5), run(tmp_path / "b", 0.5, **changed), draws=1)
    assert (found.differences, found.items, found.reason) == (None, None, reason)


def test_a_run_without_resampling_and_a_side_with_itself_are_not_tested(tmp_path):
    off = run(tmp_path / "off", 0.5)
    del off.arrays["left_out"]
    assert "has no matrices without groups of items; run it with statistics=quick" in compare_runs(off, off, draws=1).reason
    itself = run(tmp_path / "itself", 0.5, **SQUARE)
    assert "compares a side with itself, whose diagonal is given by construction" in compare_runs(itself, itself, draws=1).reason


def test_a_run_whose_layers_find_every_item_is_tested_where_it_knows_that_they_are_not_the_same(tmp_path):
    """Retrieval has 1 for a layer with itself, and for one where every item is nearest to its pair."""
    pair = {name: run(tmp_path / name, 0.5, **SQUARE) for name in ("text", "control")}
    for one in pair.values():
        one.result["statistics"]["diagonal"] = {"swap": {"itself": False}}
    assert compare_runs(*pair.values(), draws=1).reason is None
