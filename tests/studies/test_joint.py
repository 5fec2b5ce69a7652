"""Layers as points of one space: from points that are known, and from runs written by hand."""

from dataclasses import replace
from itertools import combinations_with_replacement

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn_by, illegible

from layeratlas.affinity.matrix import affinity_matrix
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import Undefined
from layeratlas.metrics import CKALinear, layer_space_residual
from layeratlas.report.views import of_study
from layeratlas.runs import reading, writing
from layeratlas.statistics.joint_space import (
    embedding,
    extended,
    held_out_correlations,
    require_inner_product,
    residuals,
)
from layeratlas.studies import Joint, sweep_of
from layeratlas.studies.joint_blocks import JointBlocks
from layeratlas.studies.joint_null import SwappedLabels, with_p
from layeratlas.studies.joint_tables import JointTables
from layeratlas.studies.opened import Opened

STUDY = Joint(dimensions=3, draws=19, seed=0)
SIDES = [(model, language) for model in ("ant", "bee", "cat") for language in ("en", "de")]
WHERE = "texts-last-cka_linear"


def stack(model, language, *, layers=6, axis=0.8, seed=0, d=20) -> np.ndarray:
    """A model's layers as unit vectors: a path of its own that its languages share, and a language's direction of all models."""
    shared = np.random.default_rng([seed, ord(model[0])]).standard_normal((2, d)) / d**0.5
    own = np.random.default_rng([seed, ord(model[0]), ord(language[0])]).standard_normal((layers, d)) * 0.1 / d**0.5
    turn = np.linspace(0, 1, layers)[:, None]
    x = 1.0 + shared[0] * (1 - turn) + shared[1] * turn + own  # all layers have much in common
    x[:, 0] += axis * d**0.5 * (1 if language == "en" else -1) * (0.5 + turn[:, 0])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def written(folder, a, b, *, metric="cka_linear", n=50, jackknife=True, matrix=None, layers=6, ids=None, **options):
    folder.mkdir(parents=True)
    v, w = (stack(*side, layers=layers, **options) for side in (a, b))
    names, depths = np.array([f"block_{k + 1}" for k in range(layers)]), np.arange(1, layers + 1) / layers
    arrays = {"affinity": v @ w.T if matrix is None else matrix, "chance": np.zeros((layers, layers))}
    if jackknife:
        arrays["left_out"] = np.stack([arrays["affinity"] * (1 + 0.001 * g) for g in range(5)])
    np.savez(folder / "affinity.npz", **arrays, layers_a=names, layers_b=names, depth_a=depths, depth_b=depths)
    sides = {
        side: {"model": model, "revision": "1", "language": language, "field": "text", "control": None, "layers": names.tolist()}
        for side, (model, language) in {"a": a, "b": b}.items()
    }
    result = {
        "metric": {"name": metric, "estimator": "biased", "k": None, "symmetric": True, "self_value": 1.0, "parameters": {}},
        "pooling": "last",
        **sides,
        "dataset": {"name": "texts", "n": n, "corpus": "texts", "control": None, "same_texts": a[1] == b[1]},
        "settings": {"seed": 0, "metric": {}},
        **{"headline": {"text": "mean affinity", "value": 0.5, "chance": 0.0}, "statistics": {}, "analyses": {}, "warnings": []},
        "timing": {},
        "provenance": {"config": {"dataset": {"n": None}, "statistics": {"level": 0.95}, "model_a": {}, "model_b": {}}},
    }
    pd.DataFrame({"id": ids or [f"t{i}" for i in range(n)]}).to_parquet(folder / "items.parquet")
    writing.write_result(folder, result, [folder / "affinity.npz", folder / "items.parquet"])
    return reading.read_run(folder)


def sweep(tmp_path, sides=SIDES, leave_out=(), **options):
    pairs = [pair for pair in combinations_with_replacement(sides, 2) if pair not in leave_out]
    return sweep_of([written(tmp_path / str(i), *pair, **options) for i, pair in enumerate(pairs)])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return STUDY(sweep(tmp_path_factory.mktemp("joint")))


def everything(sides=SIDES, **options):
    return np.concatenate([stack(*side, **options) for side in sides])


# --- the space ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centred", [False, True])
def test_coordinates_in_all_dimensions_give_back_distances_and_squares(centred):
    v = everything()
    placed = embedding(v @ v.T, 20, centred=centred)
    expected = v - v.mean(axis=0) if centred else v
    np.testing.assert_allclose(placed.coordinates @ placed.coordinates.T, expected @ expected.T, atol=1e-9)
    np.testing.assert_allclose(placed.captured, 1)
    assert placed.shares.sum() == pytest.approx(1)
    assert (np.diff(placed.shares) <= 1e-12).all()


def test_three_uncentred_dimensions_are_those_that_were_published():
    """S = V V', its three largest eigenvectors times the roots of their eigenvalues."""
    v = everything()
    u, sizes, _ = np.linalg.svd(v, full_matrices=False)
    placed = embedding(v @ v.T, 3, centred=False)
    np.testing.assert_allclose(np.abs(placed.coordinates), np.abs(u[:, :3] * sizes[:3]), atol=1e-8)
    np.testing.assert_allclose(placed.captured, np.square(u[:, :3] * sizes[:3]).sum(axis=1), atol=1e-9)


@pytest.mark.parametrize("centred", [False, True])
def test_points_that_the_axes_do_not_know_lie_where_projecting_them_puts_them(centred):
    v = everything()
    fitted, others = np.arange(12, 36), np.arange(12)
    own, extension = extended(v @ v.T, fitted, others, 2, centred=centred)
    mean = v[fitted].mean(axis=0) if centred else 0
    axes = np.linalg.svd(v[fitted] - mean, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(extension), np.abs((v[others] - mean) @ axes.T), atol=1e-8)
    np.testing.assert_allclose(own, embedding(v[fitted] @ v[fitted].T, 2, centred=centred).coordinates, atol=1e-8)


def test_an_axis_that_models_share_is_held_out_with_its_sign_and_that_of_one_model_has_a_random_sign():
    """A model's own direction of language correlates with any axis that is not orthogonal to it: the sign says something."""
    marks = np.array([1.0 if language == "en" else -1.0 for _, language in SIDES for _ in range(6)])
    fitted, others = np.arange(12, 36), np.arange(12)
    signs: dict[float, list[bool]] = {0.8: [], 0.0: []}
    for shared, found in signs.items():
        for seed in range(20):
            v = everything(axis=shared, seed=seed)
            v[:12, 1] += marks[:12] * (shared == 0)  # of this model alone
            r = held_out_correlations(v @ v.T, fitted, others, marks, 3, centred=True)[0]
            assert abs(r) > 0.5
            found.append(r > 0)
    assert sum(signs[0.8]) == 20
    assert 4 <= sum(signs[0.0]) <= 16


def test_similarities_that_are_no_inner_products_are_refused():
    s = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    with pytest.raises(Undefined, match="these similarities are no inner products"):
        require_inner_product(s)
    v = everything().astype(np.float32)
    assert require_inner_product((v @ v.T).astype(float)) > -1e-5


def test_both_procrustes_residuals_are_what_rotations_leave():
    v, w = stack("ant", "en"), stack("ant", "de")
    s = np.concatenate([v, w]) @ np.concatenate([v, w]).T
    a, b = np.arange(6), np.arange(6, 12)
    found = residuals(s, a, b)
    u, _, t = np.linalg.svd(v.T @ w)
    assert found.dimensions == pytest.approx(np.linalg.norm(v @ (u @ t) - w) / np.sqrt(12), abs=1e-6)
    u, _, t = np.linalg.svd(v @ w.T)
    assert found.layers == pytest.approx(np.linalg.norm((u @ t).T @ v - w) / np.sqrt(12), abs=1e-6)
    assert found.layers <= np.sqrt(1 - np.mean(np.diag(v @ w.T))) + 1e-9
    assert np.isnan(residuals(s, a, b[:4]).dimensions)


def test_the_layer_space_residual_is_that_of_the_metrics_own_signatures():
    generator = torch.Generator().manual_seed(0)
    sides = [[CKALinear().signature(torch.randn(30, 8, generator=generator)) for _ in range(4)] for _ in range(2)]
    both = [*sides[0], *sides[1]]
    s = CKALinear().affinity(both, both).numpy()
    assert residuals(s, np.arange(4), np.arange(4, 8)).layers == pytest.approx(layer_space_residual(*sides), abs=1e-6)


# --- the study ----------------------------------------------------------------------------------------------------------------


def test_distances_and_similarities_of_the_same_layer_are_those_of_the_points(found):
    rows = found.table[found.table["model"] == "bee"].set_index("measured")
    v, w = stack("bee", "en"), stack("bee", "de")
    apart, alike = np.linalg.norm(v - w, axis=1), (v * w).sum(axis=1)
    told = rows.loc["distance, whole"]
    assert [told[name] for name in ("mean", "median", "sd", "largest")] == pytest.approx(
        [apart.mean(), np.median(apart), apart.std(ddof=1), apart.max()]
    )
    assert rows.loc["similarity", ["mean", "smallest"]].tolist() == pytest.approx([alike.mean(), alike.min()])
    reduced = embedding(everything() @ everything().T, 3, centred=False)
    expected = np.linalg.norm(reduced.coordinates[12:18] - reduced.coordinates[18:24], axis=1)
    assert rows.loc["distance, uncentred", "mean"] == pytest.approx(expected.mean())
    assert rows.loc["distance, uncentred", "captured"] == pytest.approx(reduced.captured[12:24].mean())
    assert (rows["mean_ci_low"] <= rows["mean"]).all()
    assert (rows["mean"] <= rows["mean_ci_high"]).all()


def test_axes_are_given_as_published_per_model_and_overall_and_held_out(found):
    axes = found.parts["axes"]
    assert set(axes["how"]) == {"as published", "held out"}
    published = axes[(axes["how"] == "as published") & (axes["space"] == "uncentred")]
    assert published.groupby("model", sort=False).size().to_dict() == {"ant": 3, "bee": 3, "cat": 3, "all models": 3}
    placed = embedding(everything() @ everything().T, 3, centred=False).coordinates
    marks = np.tile(np.repeat([1.0, -1.0], 6), 3)
    expected = [abs(np.corrcoef(column, marks)[0, 1]) for column in placed.T]
    assert published[published["model"] == "all models"]["r"].tolist() == pytest.approx(expected)
    held = axes[(axes["how"] == "held out") & (axes["space"] == "centred") & (axes["component"] == 1)]
    assert (held["r"] > 0.95).all()
    assert held["r_ci_low"].notna().all()


def test_the_arithmetic_of_an_axis_and_the_missing_null_are_said(found):
    assert "layers are less alike across languages" in found.sentences[0]
    assert "is no finding by itself" in found.sentences[0]
    (warning,) = found.warnings
    assert warning.startswith(
        f"{WHERE}: correlations with language have no null, which exchanges the two languages of single items: "
    )
    assert warning.endswith("its vectors are read from the store by stage=summarize alone")
    assert "p_max" not in found.parts["axes"]
    assert found.numbers[WHERE]["across"] < found.numbers[WHERE]["within"]


# --- the null of axes -----------------------------------------------------------------------------------------------------------

TWO = [(model, language) for model in ("ant", "bee") for language in ("en", "de")]


def vectors_of(seed: int, stress: float, *, n: int = 20, layers: int = 3) -> dict:
    """Both models read what an item says, a way of its own to say it in each language, and noise; no model as another.

    The languages stress other parts of what is said, by the factor exp(stress) and exp(-stress), and lie apart. Exchanged items
    make both lie in two heaps, which is what their layers then have in common.
    """
    rng = np.random.default_rng(seed)
    says, way = rng.standard_normal((n, 4)), {language: 0.7 * rng.standard_normal((n, 4)) for language in ("en", "de")}
    stressed = np.exp(stress * np.array([1, 1, -1, -1]))
    sides = {}
    for model, width in (("ant", 6), ("bee", 8)):
        maps = [rng.standard_normal((4, width)) for _ in range(layers)]
        for language, sign in (("en", 1), ("de", -1)):
            read = (says + way[language]) * stressed**sign
            made = [read @ m + 6 * stress * sign + 0.5 * rng.standard_normal((n, width)) for m in maps]
            layers_of = {f"block_{k + 1}": torch.from_numpy(x) for k, x in enumerate(made)}
            sides[model, language] = Activations(layers_of, layers)
    return sides


def placed(sides: dict) -> tuple[JointTables, SwappedLabels]:
    """The tables of these vectors, and what exchanges their languages."""
    points = pd.DataFrame(
        [
            {"model": model, "reads": language, "layer": layer, "depth": depth}
            for (model, language), side in sides.items()
            for layer, depth in zip(side.names, side.depths, strict=True)
        ]
    )
    blocks = JointBlocks(points, np.eye(len(points)), None, [], [])
    n = next(iter(sides.values())).n
    null = SwappedLabels(blocks, sides, Signer(CKALinear(), torch.device("cpu")))
    blocks = replace(blocks, s=null.similarities(None, np.zeros(n, dtype=bool)))
    return JointTables(blocks, 2, 0.95), replace(null, blocks=blocks)


def test_exchanging_all_items_exchanges_the_two_languages_points():
    made, null = placed(vectors_of(0, 0.5))
    exchanged = null.similarities(("en", "de"), np.ones(20, dtype=bool))
    order = np.concatenate([np.arange(3) + start for start in (3, 0, 9, 6)])
    np.testing.assert_allclose(exchanged, made.blocks.s[np.ix_(order, order)], atol=1e-6)
    some = np.arange(20) < 7
    both = null.vectors["ant", "en"].layers["block_2"].clone()
    both[:7] = null.vectors["ant", "de"].layers["block_2"][:7]
    left = null.similarities(("en", "de"), some)[1, 7]
    other = null.vectors["bee", "en"].layers["block_2"].clone()
    other[:7] = null.vectors["bee", "de"].layers["block_2"][:7]
    assert left == pytest.approx(float(affinity_matrix(CKALinear(), [both], [other])[0, 0]), abs=1e-5)


def test_an_axis_of_languages_is_told_from_exchanged_ones_and_corrected_for_all_axes():
    rows = pd.DataFrame(with_p(*placed(vectors_of(1, 0.8)), draws=19, seed=0))
    held = rows[(rows["how"] == "held out") & (rows["space"] == "centred")]
    best = held.loc[held.groupby("model")["r"].idxmax()]
    assert (best["p_max"] == 0.05).all()
    assert (rows["p_max"] >= rows["p"]).all()
    assert (rows["attainable_p"] == 0.05).all()


def rejected(seed: int) -> list[bool]:
    """Of one world whose languages are exchangeable: whether any axis of each model, space and way is called one of language."""
    rows = pd.DataFrame(with_p(*placed(vectors_of(seed, 0.0)), draws=19, seed=seed))
    return (rows.groupby(["space", "model", "how"], sort=False)["p_max"].min() <= 0.05).tolist()


@pytest.mark.nightly
def test_where_languages_are_exchangeable_axes_are_called_ones_of_language_at_the_level():
    """They differ here in each item's own way to be said, and which of the two ways is called English means nothing."""
    shares = np.mean([rejected(seed) for seed in range(400)], axis=0)
    assert (shares <= 0.08).all(), shares
    assert 0.025 <= shares.mean() <= 0.06, shares


def test_the_study_reads_the_vectors_of_its_runs(tmp_path):
    sides = vectors_of(1, 0.8)
    made, _ = placed(sides)
    signer = Signer(CKALinear(), torch.device("cpu"))
    runs = []
    for i, (a, b) in enumerate(combinations_with_replacement(TWO, 2)):
        rows, columns = (made.blocks.of(*side) for side in (a, b))
        block = made.blocks.s[np.ix_(rows, columns)]
        runs.append(written(tmp_path / str(i), a, b, n=20, layers=3, matrix=block, jackknife=False))
    pairs = dict(zip((run.folder for run in runs), combinations_with_replacement(TWO, 2), strict=True))
    opened = sweep_of(runs, opener=lambda run: Opened(sides[pairs[run.folder][0]], sides[pairs[run.folder][1]], signer))
    found = STUDY(opened)
    assert found.parts["axes"]["p_max"].notna().all()
    assert "with the languages of single items exchanged, corrected for 3 axes" in found.sentences[-1]
    assert not any("no null" in warning for warning in found.warnings)
    off = sweep_of(runs, opener=lambda run: Opened(sides["ant", "en"], sides["ant", "en"], signer))
    (doubt,) = [warning for warning in STUDY(off).warnings if "no null" in warning]
    assert "the vectors in the store give other similarities than the runs have" in doubt
    assert "p_max" not in Joint(dimensions=3, draws=0, seed=0)(opened).parts["axes"]


def test_both_residuals_of_procrustes_stand_under_their_own_names(found):
    rows = found.parts["procrustes"].set_index("model")
    v, w = stack("ant", "en"), stack("ant", "de")
    s = np.concatenate([v, w]) @ np.concatenate([v, w]).T
    expected = residuals(s, np.arange(6), np.arange(6, 12))
    assert rows.loc["ant", "rotation_of_dimensions"] == pytest.approx(expected.dimensions)
    assert rows.loc["ant", "layer_space_residual"] == pytest.approx(expected.layers)


def test_missing_blocks_are_named_and_the_side_that_misses_them_has_no_part(tmp_path):
    lost = [(SIDES[0], SIDES[5]), (SIDES[3], SIDES[5])]
    found = STUDY(sweep(tmp_path, leave_out=lost))
    assert found.warnings[0] == f"{WHERE}: no run compares ant en with cat de, bee de with cat de; left out for it: cat de"
    assert set(found.table["model"]) == {"ant", "bee"}
    assert len(found.parts["points"]) == 2 * 5 * 6


def test_without_self_pairs_the_way_to_get_them_is_told(tmp_path):
    itself = [(side, side) for side in SIDES]
    with pytest.raises(Undefined, match=r"ant en with itself.*hydra.sweeper.self_pairs=true"):
        STUDY(sweep(tmp_path, leave_out=itself))


def test_one_model_holds_nothing_out_and_says_so(tmp_path):
    found = STUDY(sweep(tmp_path, SIDES[:2], jackknife=False))
    assert set(found.parts["axes"]["how"]) == {"as published"}
    assert any("one model" in warning for warning in found.warnings)
    assert any("no intervals" in warning for warning in found.warnings)
    assert found.table["mean_ci_low"].isna().all()


def test_models_in_one_language_are_placed_and_nothing_is_said_of_languages(tmp_path):
    found = STUDY(sweep(tmp_path, SIDES[::2]))
    assert found.table is None
    assert len(found.parts["points"]) == 2 * 3 * 6
    assert "no model has two languages" in found.sentences[-1]


def test_runs_of_other_items_are_not_put_together(tmp_path):
    runs = [written(tmp_path / str(i), *pair, n=50 + i) for i, pair in enumerate(combinations_with_replacement(SIDES[:2], 2))]
    with pytest.raises(Undefined, match=r"its runs compare different numbers of items: \[50, 51, 52\]"):
        STUDY(sweep_of(runs))


def test_a_metric_that_is_no_inner_product_is_refused(tmp_path):
    bad = np.where(np.eye(6) > 0, 1.0, np.sign(np.subtract.outer(np.arange(6), np.arange(6)) % 2 - 0.5))
    runs = [written(tmp_path / str(i), *pair, matrix=bad) for i, pair in enumerate(combinations_with_replacement(SIDES[:2], 2))]
    with pytest.raises(Undefined, match="no inner products"):
        STUDY(sweep_of(runs))


@pytest.mark.pictures
def test_the_projection_is_drawn_from_the_points(found, tmp_path):
    (view,) = of_study("joint", None)
    ((place, figure),) = view.figures(sweep(tmp_path, SIDES[:2]), found.tables("joint"))
    assert place == f"{WHERE}/joint"
    assert [axes.get_xlabel()[:11] for axes in figure.axes] == [f"component {k}" for k in (1, 1, 1, 1, 2, 2)]
    assert "n = 50" in figure.get_suptitle()
    assert "hold" in figure.axes[1].get_title()
    assert illegible(figure) == []
    (chart,) = drawn_by("joint", found)
    distances = found.table[found.table["measured"] != "similarity"]
    assert sorted(y for one in chart["series"] for y in one["y"]) == sorted(distances["mean"])
    plt.close(figure)
    assert list(view.figures(sweep(tmp_path / "again", SIDES[:2]), {"other": pd.DataFrame()})) == []
