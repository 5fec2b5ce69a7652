import math

import numpy as np
import pytest
import skdim
import torch
from comparing import comparison_of
from drawing import drawn_of_run, illegible
from scipy import stats
from scipy.spatial.distance import pdist

from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison, Geometry
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError
from layeratlas.metrics import CKALinear
from layeratlas.metrics import geometry as module
from layeratlas.metrics.geometry import (
    anisotropy,
    effective_rank,
    intrinsic_dimension,
    kurtosis,
    participation_ratio,
    top_dimension_share,
    uniformity,
)

MEASURES = [effective_rank, participation_ratio, intrinsic_dimension, anisotropy, kurtosis, top_dimension_share, uniformity]
each = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)


def gaussian(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def massive(n: int = 300, d: int = 20, size: float = 1000) -> torch.Tensor:
    """One dimension of about `size` in every item."""
    x = gaussian(n, d)
    x[:, 7] = size + gaussian(n, 1, seed=1)[:, 0]
    return x


# --- how many dimensions ----------------------------------------------------------------------------------------------------


def test_an_isotropic_layer_fills_all_its_dimensions():
    x = gaussian(20_000, 10)
    assert effective_rank(x) == pytest.approx(10, rel=1e-3)
    assert participation_ratio(x) == pytest.approx(10, rel=2e-3)


def test_fewer_items_than_dimensions_fill_n_minus_1_at_most():
    x = gaussian(8, 5_000)
    for measure in (effective_rank, participation_ratio):
        assert 6.9 < measure(x) <= 7 + 1e-9


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_the_ranks_are_those_of_the_singular_values(shape):
    x = (gaussian(*shape) * torch.arange(1, shape[1] + 1) + 3).numpy()
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[: min(shape[0] - 1, shape[1])]
    eigenvalues = np.linalg.eigvalsh(np.cov(x, rowvar=False))
    assert effective_rank(torch.from_numpy(x)) == pytest.approx(np.exp(stats.entropy(singular)), rel=1e-5)
    assert participation_ratio(torch.from_numpy(x)) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_planted_directions_are_counted():
    x = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).standard_normal((60, 4)))[0])
    x = (x - x.mean(dim=0)) @ gaussian(4, 30)
    for measure in (effective_rank, participation_ratio):
        assert 1 < measure(x) <= 4 + 1e-4
    line = torch.arange(10.0)[:, None] * torch.ones(1, 3)
    assert effective_rank(line) == pytest.approx(1, abs=1e-5)
    assert participation_ratio(line) == pytest.approx(1)


@pytest.mark.parametrize(("d", "width"), [(1, 3), (2, 10), (5, 100)])
def test_the_dimension_of_a_planted_manifold_is_found_in_whatever_space_it_lies(d, width):
    rng = np.random.default_rng(0)
    flat = torch.from_numpy(rng.uniform(size=(2000, d)) @ np.linalg.qr(rng.standard_normal((width, d)))[0].T)
    assert intrinsic_dimension(flat) == pytest.approx(d, rel=0.1)
    assert intrinsic_dimension(1e-4 * flat - 3) == pytest.approx(intrinsic_dimension(flat), rel=1e-6)


def test_a_curved_surface_has_two_dimensions_though_it_spans_three():
    rng = np.random.default_rng(1)
    turn, height = rng.uniform(3, 12, 3000), rng.uniform(0, 20, 3000)
    roll = torch.from_numpy(np.stack([turn * np.cos(turn), height, turn * np.sin(turn)], axis=1))
    assert intrinsic_dimension(roll) == pytest.approx(2, rel=0.1)
    assert participation_ratio(roll) > 2.5


@pytest.mark.parametrize("shape", [(30, 3), (500, 8), (101, 40)])
def test_the_intrinsic_dimension_is_that_of_scikit_dimension(shape):
    x = gaussian(*shape, seed=2)
    assert intrinsic_dimension(x) == pytest.approx(skdim.id.TwoNN().fit_transform(x.numpy()), rel=1e-9)


def test_repeated_items_count_once_for_the_intrinsic_dimension():
    x = gaussian(50, 4)
    assert intrinsic_dimension(x[torch.arange(120) % 50]) == pytest.approx(intrinsic_dimension(x))


# --- in which directions ----------------------------------------------------------------------------------------------------


def test_anisotropy_and_uniformity_are_means_over_distinct_pairs(monkeypatch):
    x = gaussian(40, 6).numpy() + 0.5
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert anisotropy(torch.from_numpy(x)) == pytest.approx(np.mean(1 - pdist(x, "cosine")))
    expected = np.log(np.mean(np.exp(-2 * pdist(unit, "sqeuclidean"))))
    assert uniformity(torch.from_numpy(x)) == pytest.approx(expected)
    monkeypatch.setattr(module, "row_ranges", lambda n, layers: (slice(start, min(start + 7, n)) for start in range(0, n, 7)))
    assert uniformity(torch.from_numpy(x)) == pytest.approx(expected)


def test_directions_of_an_isotropic_layer_have_the_values_of_the_sphere():
    x = gaussian(3000, 200)
    assert anisotropy(x) == pytest.approx(0, abs=1e-3)
    assert uniformity(x) == pytest.approx(-4 + 8 / 200, abs=0.01)  # cosines have variance 1/d: log E exp(4 cos - 4) = -4 + 8/d


def test_a_narrow_cone_is_anisotropic_and_not_uniform():
    x = gaussian(200, 50) + 30
    assert anisotropy(x) > 0.99
    assert -0.01 < uniformity(x) < 0


# --- which axes -------------------------------------------------------------------------------------------------------------


def test_gaussian_values_have_kurtosis_3_in_any_rotation():
    x = gaussian(200, 3000)
    assert kurtosis(x) == pytest.approx(3, rel=0.02)
    assert top_dimension_share(x, 30) == pytest.approx(30 / 3000, rel=0.4)


def test_kurtosis_is_the_mean_over_items_of_that_of_their_values():
    x = gaussian(30, 12) ** 3
    assert kurtosis(x) == pytest.approx(np.mean(stats.kurtosis(x.numpy(), axis=1, fisher=False)))


def test_a_massive_dimension_shows_in_the_axes_and_not_after_a_rotation():
    x = massive()
    assert kurtosis(x) == pytest.approx(20 - 2 + 1 / 19, rel=1e-2)  # of one value among d equal ones
    assert top_dimension_share(x) > 0.999
    rotated = x @ torch.linalg.qr(gaussian(20, 20, seed=3)).Q
    assert kurtosis(rotated) < 6
    assert top_dimension_share(rotated) < 0.5
    assert anisotropy(rotated) == pytest.approx(anisotropy(x))


def test_shares_of_dimensions_add_up():
    x = torch.tensor([[3.0, 0.0, 1.0], [-3.0, 2.0, 1.0]])
    assert [top_dimension_share(x, m) for m in (1, 2, 3)] == pytest.approx([18 / 24, 22 / 24, 1])


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_activations_of_low_precision_are_measured_in_double(measure, dtype):
    x = massive(size=20_000).to(dtype)
    assert measure(x) == pytest.approx(measure(x.double()), rel=1e-4)
    assert math.isfinite(measure(x))


# --- refusals ---------------------------------------------------------------------------------------------------------------


@each
def test_what_is_no_layer_is_refused(measure):
    with pytest.raises(ValueError, match=r"^activations hold NaN or infinite values$"):
        measure(torch.tensor([[1.0, 2.0], [math.nan, 0.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"^every item has the same vector"):
        measure(torch.ones(10, 4))
    with pytest.raises(ValueError, match=r"^needs at least 2 items; got 1$"):
        measure(torch.ones(1, 4))


@pytest.mark.parametrize("measure", [anisotropy, uniformity])
def test_a_zero_vector_has_no_direction(measure):
    with pytest.raises(ValueError, match=r"^item 1 is the zero vector, which has no direction$"):
        measure(torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 0.0]]))


def test_too_few_distinct_items_have_no_dimension():
    with pytest.raises(ValueError, match=r"^needs at least 5 distinct items; got 4$"):
        intrinsic_dimension(torch.eye(4)[torch.arange(20) % 4])


def test_a_grid_has_no_dimension():
    x = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), dim=-1).reshape(16, 2)
    with pytest.raises(
        ValueError, match=r"^each item has two equally near neighbours, as on a grid, so that the dimension is undefined$"
    ):
        intrinsic_dimension(x)


def test_an_item_of_one_value_has_no_kurtosis():
    with pytest.raises(ValueError, match=r"^item 1 has the same value in every dimension: no kurtosis$"):
        kurtosis(torch.tensor([[1.0, 2.0], [3.0, 3.0]]))


@pytest.mark.parametrize("largest", [0, 5])
def test_only_as_many_top_dimensions_as_there_are(largest):
    with pytest.raises(ConfigError, match=rf"^top dimensions: expected 1 to 4, the width of the layer; got {largest}$"):
        top_dimension_share(gaussian(5, 4), largest)


# --- the analysis -----------------------------------------------------------------------------------------------------------


def comparison(a: Activations, b: Activations) -> Comparison:
    signer = Signer(CKALinear(), torch.device("cpu"))
    return comparison_of(compare(signer, a, b), a, b, signer)


@pytest.fixture
def a() -> Activations:
    return Activations({"embed": gaussian(30, 6), "block_1": gaussian(30, 6, 1), "block_2": massive(30, 8)}, 2)


def test_the_analysis_has_a_row_for_each_layer_of_each_side(a):
    b = Activations({"block_1": gaussian(30, 4, 5)}, 1)
    found = Geometry(top_dimensions=2)(comparison(a, b))
    table = found.table
    assert list(zip(table["side"], table["layer"], strict=True)) == [
        ("a", "embed"),
        ("a", "block_1"),
        ("a", "block_2"),
        ("b", "block_1"),
    ]
    assert table["depth"].tolist() == pytest.approx([math.nan, 0.5, 1, 1], nan_ok=True)
    assert list(table.columns) == ["side", "layer", "depth", *(measure.__name__ for measure in MEASURES)]
    assert table.loc[2, "effective_rank"] == effective_rank(a.layers["block_2"])
    assert table.loc[3, "top_dimension_share"] == top_dimension_share(b.layers["block_1"], 2)


def test_a_side_that_is_the_other_is_measured_once(a, monkeypatch):
    calls = []
    original = module.kurtosis
    monkeypatch.setattr(module, "kurtosis", lambda x: calls.append(x) or original(x))
    table = Geometry(top_dimensions=1)(comparison(a, a)).table
    assert len(calls) == 3
    assert table["side"].tolist() == ["a"] * 3 + ["b"] * 3


def test_a_layer_that_cannot_be_measured_is_named(a):
    with pytest.raises(ValueError, match=r"^side a, embed: top dimensions: expected 1 to 6, the width of the layer; got 7$"):
        Geometry(top_dimensions=7)(comparison(a, a))


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(a, tmp_path):
    found = Geometry(top_dimensions=2)(comparison(a, Activations({"block_1": gaussian(30, 4, 5)}, 1)))
    charts, drawn = drawn_of_run(tmp_path / "run", "geometry", found)
    assert [chart["title"] for chart in charts] == [measure.__name__.replace("_", " ") for measure in MEASURES]
    for chart, measure in zip(charts, MEASURES, strict=True):
        assert [y for one in chart["series"] for y in one["y"]] == found.table[measure.__name__].tolist()
    assert illegible(drawn["geometry"]) == []
