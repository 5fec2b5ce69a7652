"""Reliability, other numbers of items and of neighbours, and comparisons of whole matrices."""

import numpy as np
import pytest
import torch
from comparing import comparison_of
from drawing import drawn_of_run, illegible

from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Stability
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError
from layeratlas.metrics import CKALinear, MutualKNN
from layeratlas.runs.reading import Run
from layeratlas.statistics.matrices import correlate, items_needed, pearson, spearman_brown
from layeratlas.studies.two_runs import compare_runs

STABILITY = Stability(halvings=3, splits=4, ks=[2, 5, 30], reliability=0.9, seed=0)
CPU = torch.device("cpu")


def model(n: int, noise: float, seed: int, layers: int = 5) -> Activations:
    """Layers that drift from one signal to another, which all models share, with noise of their own."""
    start, end = (torch.randn(n, 12, generator=torch.Generator().manual_seed(i)) for i in (100, 101))
    own = torch.Generator().manual_seed(seed)
    shares = [i / (layers - 1) for i in range(layers)]
    drift = [start * (1 - t) + end * t + noise * torch.randn(n, 12, generator=own) for t in shares]
    return Activations({f"block_{i}": x for i, x in enumerate(drift, 1)}, layers)


def asked(metric, n=240, noise=0.3, analysis=STABILITY):
    signer = Signer(metric.with_slack(), CPU)
    a, b = model(n, noise, 1), model(n, noise, 2)
    return analysis(comparison_of(compare(signer, a, b), a, b, signer))


def test_a_row_for_each_number_of_items_each_half_and_each_k():
    table = asked(MutualKNN(k=5)).table
    assert table.loc[table["varied"] == "n", "n"].tolist() == [240, 120, 60, 30]
    assert table.loc[table["varied"] == "half", "n"].tolist() == [120] * 8
    assert table.loc[table["varied"] == "k", "k"].tolist() == [2, 5, 30]
    whole, same_k = table.iloc[0], table[table["k"] == 5].iloc[0]
    assert same_k["mean_affinity"] == whole["mean_affinity"]
    np.testing.assert_allclose(table.loc[table["varied"] == "k", "mean_chance"], np.array([2, 5, 30]) / 239)
    np.testing.assert_allclose(table.loc[table["varied"] == "n", "mean_chance"], 5 / (table["n"][:4] - 1))
    assert table["correlation_with_whole"].iloc[0] == pytest.approx(1)


def test_fewer_items_than_a_metric_needs_are_not_compared_and_other_metrics_have_no_k():
    table = asked(CKALinear(), n=30, analysis=Stability(halvings=9, splits=1, ks=[5], reliability=0.1, seed=0)).table
    assert table.loc[table["varied"] == "n", "n"].min() >= CKALinear().min_n
    assert "k" not in set(table["varied"])


def test_halves_that_a_metric_refuses_are_told_and_a_constant_matrix_has_no_reliability():
    with pytest.raises(ActivationError, match="metric mutual_knn, side a, block_1: needs at least 6 items; got 5"):
        asked(MutualKNN(k=5), n=10)
    one = model(40, 0.3, 1, layers=2).select(["block_1"])
    signer = Signer(MutualKNN(k=2), CPU)
    with pytest.raises(ValueError, match="that of a half of the items is constant"):
        STABILITY(comparison_of(compare(signer, one, one), one, one, signer))


def test_a_matrix_of_strong_signals_is_reliable_and_says_nothing():
    found = asked(MutualKNN(k=5), noise=0.1)
    assert found.numbers["reliability"] > 0.95
    assert found.warnings == []


def test_a_matrix_of_too_few_items_is_a_warning_that_names_how_many_would_do():
    """The number it names does reach the reliability, within the noise of its estimate."""
    few = asked(MutualKNN(k=5), n=60, noise=0.8)
    (warning,) = few.warnings
    assert "mutual_knn of 60 items has a split-half reliability of 0." in warning
    needed = int(warning.split("about ")[1].split()[0])
    assert 60 < needed < 1000
    assert asked(MutualKNN(k=5), n=needed, noise=0.8).numbers["reliability"] > 0.85


def test_where_halves_disagree_no_number_is_invented():
    noise = [Activations({"block_1": torch.randn(20, 3), "block_2": torch.randn(20, 3)}, 2) for _ in "ab"]
    signer = Signer(MutualKNN(k=2), CPU)
    found = [STABILITY._doubts(comparison_of(compare(signer, *noise), *noise, signer), r) for r in (-0.2, 0.5)]
    assert found[0] == [
        "stability: mutual_knn of 20 items has a split-half reliability of -0.20: halves of the items do not agree, and no"
        " number of items can be named"
    ]
    assert found[1][0].endswith("about 180 items would reach 0.9")


def test_stability_follows_from_the_seed():
    tables = [asked(MutualKNN(k=5), n=60).table for _ in "ab"]
    assert tables[0].equals(tables[1])


def test_reliability_of_the_whole_predicts_that_of_a_repetition():
    """Two noisy readings of twice the length correlate as the formula says of those of single length."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(200_000)
    single = [truth + rng.standard_normal(len(truth)) for _ in range(4)]
    half = pearson(single[0], single[1])
    assert spearman_brown(half) == pytest.approx(pearson(single[0] + single[1], single[2] + single[3]), abs=0.01)


def test_halves_that_contradict_each_other_fully_have_no_reliability():
    """Two cells can do no other than correlate by 1 or -1."""
    assert spearman_brown(-1.0) == -np.inf
    assert spearman_brown(1.0) == 1
    with pytest.raises(ValueError, match=r"^a correlation lies between -1 and 1; got 1\.2$"):
        spearman_brown(1.2)
    noise = [Activations({f"block_{i}": torch.randn(20, 3) for i in range(1, size + 1)}, size) for size in (2, 1)]
    signer = Signer(MutualKNN(k=2), CPU)
    doubts = STABILITY._doubts(comparison_of(compare(signer, *noise), *noise, signer), spearman_brown(-1.0))
    assert doubts == [
        "stability: mutual_knn of 20 items has a split-half reliability of -inf: halves of the items do not agree, and no number of"
        " items can be named"
    ]


def test_the_number_of_items_needed_solves_the_formula():
    assert items_needed(100, 0.5, spearman_brown(0.5)) == 200
    assert items_needed(100, 0.8, 0.8) == 100
    with pytest.raises(ValueError, match=r"reliabilities must lie between 0 and 1; got 0 and 0\.9"):
        items_needed(100, 0.0, 0.9)


# --- runs -------------------------------------------------------------------------------------------------------------------


def run(folder, **changed) -> Run:
    told = {"n": 100, "k": 10, "estimator": "overlap"} | changed
    metric = {"name": "mutual_knn"} | {key: told[key] for key in ("k", "estimator")}
    result = {"dataset": {"n": told["n"]}, "metric": metric, "statistics": {}}
    names = {axis: np.array([f"block_{i}" for i in range(size)]) for axis, size in (("layers_a", 12), ("layers_b", 9))}
    return Run(folder, result, names | {"affinity": smooth(0)})


def test_runs_of_other_scales_are_told_apart(tmp_path):
    assert compare_runs(run(tmp_path), run(tmp_path, n=50, k=5), draws=1).apart == ["n", "k"]
    assert compare_runs(run(tmp_path), run(tmp_path), draws=1).ceiling is None


def test_runs_of_other_layers_are_refused(tmp_path):
    other = run(tmp_path / "other")
    other.arrays["layers_b"] = other.arrays["layers_b"][:5]
    with pytest.raises(ValueError, match=r"^layers_b differ: block_5 in \S+ is nothing in \S+other$"):
        compare_runs(run(tmp_path), other)


# --- matrices ---------------------------------------------------------------------------------------------------------------


def smooth(seed: int, rows: int = 12, columns: int = 9) -> np.ndarray:
    """Alike near the diagonal, with bumps of its own."""
    near = -np.abs(np.linspace(0, 1, rows)[:, None] - np.linspace(0, 1, columns))
    return near + 0.1 * np.random.default_rng(seed).standard_normal((rows, columns))


def test_a_matrix_agrees_fully_with_itself_whatever_its_scale():
    found = correlate(smooth(0), 3 * smooth(0) + 1, draws=99, rng=np.random.default_rng(0))
    assert [found.pearson, found.spearman, found.partial] == pytest.approx([1, 1, 1])
    assert found.mantel_p == 1 / 100


def test_what_two_matrices_share_by_their_diagonals_alone_is_gone_once_depth_is_held_constant():
    found = correlate(smooth(1), smooth(2), draws=99, rng=np.random.default_rng(0))
    assert found.pearson > 0.8
    assert abs(found.partial) < 0.3


def test_partial_correlation_is_that_of_the_usual_formula():
    a, b = smooth(3).ravel(), smooth(4).ravel() + smooth(3).ravel()
    depth = np.abs(np.linspace(0, 1, 12)[:, None] - np.linspace(0, 1, 9)).ravel()
    ab, ad, bd = pearson(a, b), pearson(a, depth), pearson(b, depth)
    expected = (ab - ad * bd) / np.sqrt((1 - ad**2) * (1 - bd**2))
    found = correlate(a.reshape(12, 9), b.reshape(12, 9), draws=1, rng=np.random.default_rng(0))
    assert found.partial == pytest.approx(expected)


def test_each_layer_with_itself_does_not_count_off_the_diagonal():
    first, second = (np.random.default_rng(seed).standard_normal((8, 8)) for seed in (5, 6))
    for matrix in (first, second):
        np.fill_diagonal(matrix, 50)
    found = correlate(first, second, draws=9, rng=np.random.default_rng(0), one_model=True)
    assert found.pearson > 0.9
    off = ~np.eye(8, dtype=bool)
    assert found.off_diagonal_pearson == pytest.approx(np.corrcoef(first[off], second[off])[0, 1])


def test_mantel_p_is_uniform_for_unrelated_exchangeable_layers():
    rng = np.random.default_rng(7)
    p = [correlate(rng.standard_normal((6, 5)), rng.standard_normal((6, 5)), draws=19, rng=rng).mantel_p for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_matrices_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"cannot be compared cell by cell; got \(12, 9\) and \(9, 12\)"):
        correlate(smooth(0), smooth(0).T, draws=1, rng=np.random.default_rng(0))


@pytest.mark.pictures
@pytest.mark.parametrize("metric", [MutualKNN(k=5), CKALinear()], ids=lambda metric: metric.name)
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(metric, tmp_path):
    found = asked(metric)
    charts, drawn = drawn_of_run(tmp_path / "run", "stability", found, layers=(5, 5))
    for chart, varied in zip(charts, ("n", "k"), strict=False):
        rows = found.table[found.table["varied"] == varied].sort_values(varied)
        assert (chart["series"][0]["x"], chart["series"][0]["y"]) == (rows[varied].tolist(), rows["mean_affinity"].tolist())
    assert len(charts) == (2 if metric.name == "mutual_knn" else 1)
    assert illegible(drawn["stability"]) == []
