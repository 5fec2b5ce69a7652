"""Values of RSA: other implementations, closed forms, ties, refusals. Laws of all metrics: test_metrics.py."""

import itertools

import numpy as np
import pytest
import torch
from composing import CONF
from golden_layers import golden_layers
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_rows import related
from rsatoolbox.rdm import RDMs, compare
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

from layeratlas import affinity_matrix
from layeratlas.metrics import RSA, CKALinear, rdm, rsa
from layeratlas.metrics.rdm import CorrelationDistance, CosineDistance, EuclideanDistance, PairMatrix, SquaredEuclideanDistance
from layeratlas.metrics.rsa import Cosine, Kendall, Pearson, Spearman, WhitenedCosine, unit_ranks

RDMS = {
    "cosine": CosineDistance(),
    "correlation": CorrelationDistance(),
    "euclidean": EuclideanDistance(),
    "sqeuclidean": SquaredEuclideanDistance(),
}
COMPARISONS = {
    "spearman": Spearman(),
    "corr": Pearson(),
    "tau-b": Kendall(),
    "cosine": Cosine(),
    "cosine_cov": WhitenedCosine(),
}
INNER_PRODUCTS = [Spearman(), Pearson(), Cosine(), WhitenedCosine()]

each_rdm = pytest.mark.parametrize("rdm", RDMS)
each_comparison = pytest.mark.parametrize("comparison", COMPARISONS)
each_inner_product = pytest.mark.parametrize("comparison", INNER_PRODUCTS, ids=lambda comparison: comparison.name)
seeds = st.integers(0, 2**32 - 1)
quickly = settings(deadline=None, derandomize=True, max_examples=10)


def affinity(metric: RSA, x: np.ndarray, y: np.ndarray) -> float:
    return float(affinity_matrix(metric, [x], [y])[0, 0])


def integers(seed: int, n: int = 20, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Layers of small whole numbers, many of whose distances are equal."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (n, d)).astype(float), rng.integers(0, 3, (n, d)).astype(float)


def pair_matrix(seed: int, n: int, dtype: torch.dtype = torch.float64) -> PairMatrix:
    pairs = torch.from_numpy(np.random.default_rng(seed).random(n * (n - 1) // 2)).to(dtype)
    return PairMatrix(pairs, pairs.new_zeros(n))


# --- values of other implementations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rdm", "comparison", "shared", "wide"),
    [
        ("sqeuclidean", "spearman", 0.199126948586782, -0.007624452756556),
        ("euclidean", "spearman", 0.199126948586782, -0.007624452756556),
        ("correlation", "spearman", 0.163835560034402, -0.021832121637006),
        ("cosine", "spearman", 0.167836215633967, -0.021425008132750),
        ("sqeuclidean", "tau-b", 0.134077750206782, -0.005148883374690),
        ("sqeuclidean", "corr", 0.206909445370339, -0.009706349928690),
        ("sqeuclidean", "cosine_cov", 0.301932954799472, 0.805182551805239),
    ],
)
def test_values_are_those_that_several_implementations_agree_on(rdm, comparison, shared, wide):
    metric, layers = RSA(RDMS[rdm], COMPARISONS[comparison]), golden_layers()
    assert affinity(metric, *layers["shared"]) == pytest.approx(shared, abs=1e-12)
    assert affinity(metric, *layers["independent"]) == pytest.approx(wide, abs=1e-12)


@each_comparison
@each_rdm
@quickly
@given(seed=seeds)
def test_every_combination_has_rsatoolboxs_value(rdm, comparison, seed):
    x, y = related(seed, n=30)
    expected = compare(RDMs(pdist(x, rdm)[None]), RDMs(pdist(y, rdm)[None]), method=comparison).item()
    assert affinity(RSA(RDMS[rdm], COMPARISONS[comparison]), x, y) == pytest.approx(expected, abs=1e-9)


@each_rdm
def test_an_rdm_is_scipys_upper_triangle_up_to_a_factor(rdm):
    x, _ = related(0)
    found, expected = RDMS[rdm](torch.from_numpy(x)).numpy(), pdist(x, rdm)
    factor = 1.0 if rdm in ("cosine", "correlation") else expected[0] / found[0]
    np.testing.assert_allclose(factor * found, expected, rtol=1e-11)


@quickly
@given(seed=seeds)
def test_equal_dissimilarities_are_ties_in_spearman_and_kendall(seed):
    x, y = integers(seed)
    upper = [pdist(layer, "sqeuclidean") for layer in (x, y)]
    matrices = [Spearman().prepared(PairMatrix(torch.from_numpy(u), torch.zeros(20, dtype=torch.float64))) for u in upper]
    assert Spearman().similarity(matrices[:1], matrices[1:]).item() == pytest.approx(spearmanr(*upper).statistic, abs=1e-12)
    assert Kendall().similarity(matrices[:1], matrices[1:]).item() == pytest.approx(kendalltau(*upper).statistic, abs=1e-12)


@quickly
@given(seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_ranks_are_scipys_for_numbers_of_either_sign_and_both_zeros(seed, dtype):
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.integers(-4, 5, 200) * rng.choice([0.5, 1e-30, 1e30, -0.0], 200)).to(dtype)
    ranks = rankdata(values.numpy()) - 100.5
    np.testing.assert_allclose(
        unit_ranks(values).numpy(), ranks / np.linalg.norm(ranks), rtol=1e-6 if dtype == torch.float32 else 1e-12
    )


@quickly
@given(seed=seeds)
def test_the_whitened_cosine_of_squared_distances_is_biased_linear_cka_and_the_rv_coefficient(seed):
    x, y = related(seed)
    metric, cka = RSA(SquaredEuclideanDistance(), WhitenedCosine()), CKALinear()
    k, l = ((c @ c.T).ravel() for c in (x - x.mean(axis=0), y - y.mean(axis=0)))  # noqa: E741 (K and L)
    rv = k @ l / np.sqrt((k @ k) * (l @ l))
    assert affinity(metric, x, y) == pytest.approx(rv, abs=1e-12)
    assert affinity(metric, x, y) == pytest.approx(affinity_matrix(cka, [x], [y]).item(), abs=1e-12)
    chances = [m.chance(*([m.signature(torch.from_numpy(layer))] for layer in (x, y))) for m in (metric, cka)]
    for ours, theirs in zip(*chances, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)


# --- chance -------------------------------------------------------------------------------------------------------------------


@each_comparison
@each_rdm
def test_chance_is_the_exact_mean_and_variance_over_all_permutations(rdm, comparison):
    metric, (x, y) = RSA(RDMS[rdm], COMPARISONS[comparison]), related(1, n=6)
    a, b = ([metric.signature(torch.from_numpy(layer))] for layer in (x, y))
    orders = torch.tensor(list(itertools.permutations(range(6))))
    values, chance = metric.permuted_affinity(a, b, orders), metric.chance(a, b)
    assert chance.mean.item() == pytest.approx(values.mean().item(), abs=1e-12)
    if comparison == "tau-b":
        assert chance.variance is None
    else:
        assert chance.variance.item() == pytest.approx(values.var(correction=0).item(), abs=1e-12)


# --- parts of an RDM ----------------------------------------------------------------------------------------------------------


@each_comparison
@quickly
@given(seed=seeds)
def test_a_prepared_matrix_knows_each_of_its_parts(comparison, seed):
    matrix, comparison = pair_matrix(seed, 12), COMPARISONS[comparison]
    items = torch.from_numpy(np.random.default_rng(seed).permutation(12)[:7])
    expected = comparison.prepared(matrix.of(items))
    found = comparison.prepared(comparison.prepared(matrix).of(items))
    torch.testing.assert_close(found.pairs, expected.pairs)
    torch.testing.assert_close(found.own, expected.own)


@quickly
@given(seed=seeds)
def test_a_part_of_an_rdm_is_ranked_anew_with_its_ties(seed):
    x, y = integers(seed)
    kept, metric = torch.arange(3, 17), RSA(SquaredEuclideanDistance(), Spearman())
    a, b = (
        metric.comparison.prepared(PairMatrix(torch.from_numpy(pdist(layer, "sqeuclidean")), torch.zeros(20, dtype=torch.float64)))
        for layer in (x, y)
    )
    expected = spearmanr(pdist(x[3:17], "sqeuclidean"), pdist(y[3:17], "sqeuclidean")).statistic
    assert metric.subset_affinity([a], [b], [kept]).item() == pytest.approx(expected, abs=1e-12)


def test_a_pair_matrix_is_re_indexed_summed_and_written_out_as_the_square_that_it_stands_for():
    matrix = WhitenedCosine().prepared(pair_matrix(3, 9))
    square = torch.zeros(9, 9, dtype=torch.float64)
    for place, (i, j) in enumerate(itertools.combinations(range(9), 2)):
        square[i, j] = square[j, i] = matrix.pairs[place]
    torch.testing.assert_close(matrix.row_sums(), square.sum(dim=1))
    square += matrix.own.diag()
    torch.testing.assert_close(matrix.whole(), square)
    torch.testing.assert_close(square.sum(dim=1), torch.zeros(9, dtype=torch.float64))
    order = torch.tensor([4, 0, 8, 2])
    torch.testing.assert_close(matrix.of(order).whole(), square[order][:, order])


@each_inner_product
@pytest.mark.parametrize("whole", [True, False], ids=["whole matrices", "one layer at a time"])
def test_nothing_depends_on_the_size_of_blocks(comparison, whole, monkeypatch):
    metric, orders = RSA(EuclideanDistance(), comparison), torch.stack([torch.randperm(40) for _ in range(3)])
    layers = [torch.from_numpy(layer) for seed in range(2) for layer in related(seed, n=40)]

    def all_of_it() -> list[torch.Tensor]:
        a, b = ([metric.signature(x) for x in side] for side in (layers[:3], layers[3:]))
        chance = metric.chance(a, b)
        assert chance.variance is not None
        return [metric.affinity(a, b), metric.permuted_affinity(a, b, orders), chance.mean, chance.variance]

    expected = all_of_it()
    monkeypatch.setattr(rdm, "_ROWS", 7)
    for module in (rdm, rsa):
        monkeypatch.setattr(module, "PAIRS_AT_ONCE", 90)
    monkeypatch.setattr(rsa, "_WHOLE_NUMBERS", 2**29 if whole else 0)
    for found, before in zip(all_of_it(), expected, strict=True):
        torch.testing.assert_close(found, before, rtol=1e-12, atol=1e-14)


# --- precision ----------------------------------------------------------------------------------------------------------------


@each_rdm
@each_comparison
def test_float32_suffices_where_one_dimension_dwarfs_all_others(rdm, comparison):
    """Cosines of such items differ in the fifth digit only, as those of large language models do."""
    x, y = (layer + np.eye(layer.shape[1])[0] * 2000 for layer in related(0, n=80))
    metric = RSA(RDMS[rdm], COMPARISONS[comparison])
    rounded = [layer.astype(np.float32) for layer in (x, y)]
    expected = affinity(metric, *(layer.astype(np.float64) for layer in rounded))
    assert affinity(metric, *rounded) == pytest.approx(expected, abs=2e-5)


@each_comparison
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_changes_a_value_little(comparison, dtype):
    x, y = related(0)
    metric = RSA(CosineDistance(), COMPARISONS[comparison])
    half = [torch.from_numpy(layer).to(dtype) for layer in (x, y)]
    assert affinity_matrix(metric, half[:1], half[1:]).item() == pytest.approx(affinity(metric, x, y), abs=0.01)


# --- names and configs --------------------------------------------------------------------------------------------------------


@each_comparison
@each_rdm
def test_a_combination_is_named_after_both_and_keeps_the_invariances_of_its_rdm(rdm, comparison):
    metric = RSA(RDMS[rdm], COMPARISONS[comparison])
    assert metric.name == f"rsa_{RDMS[rdm].name}_{COMPARISONS[comparison].name}"
    assert metric.about.invariances == RDMS[rdm].invariances
    assert metric == RSA(RDMS[rdm], COMPARISONS[comparison])


def test_either_part_can_be_exchanged_on_the_command_line(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")
    overrides = ["metric=rsa_cosine_spearman", "metric.comparison._target_=layeratlas.metrics.rsa.Pearson"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        metric = instantiate(compose("config", overrides).metric, _convert_="all")
    assert metric == RSA(CosineDistance(), Pearson())
    x, y = related(0)
    assert affinity(metric, x, y) == pytest.approx(pearsonr(pdist(x, "cosine"), pdist(y, "cosine")).statistic, abs=1e-12)


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "metric").glob("rsa_*.yaml"))])
def test_a_config_is_called_what_its_metric_is_called(name, monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert instantiate(compose("config", [f"metric={name}"]).metric, _convert_="all").name == name


# --- refusals -----------------------------------------------------------------------------------------------------------------


@each_rdm
@pytest.mark.parametrize("comparison", [Spearman(), Pearson(), Kendall()], ids=lambda comparison: comparison.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_rdm_is_refused_where_it_has_no_correlation(rdm, comparison, dtype):
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((9, 9)))[0] if rdm != "correlation" else np.eye(9)
    with pytest.raises(ValueError, match=r"^all pairs of items are equally far apart: the RDM is constant, its correlation undef"):
        RSA(RDMS[rdm], comparison).signature(torch.from_numpy(turned.astype(dtype)))


@each_rdm
@pytest.mark.parametrize("comparison", [Cosine(), WhitenedCosine()], ids=lambda comparison: comparison.name)
def test_a_constant_rdm_has_a_cosine(rdm, comparison):
    metric, equal = RSA(RDMS[rdm], comparison), np.eye(9)
    assert affinity(metric, equal, equal) == pytest.approx(1, abs=1e-12)
    assert 0 < affinity(metric, equal, related(0, n=9)[0]) < 1


def test_a_zero_vector_has_no_cosine_distance():
    x, _ = related(0)
    x[17] = 0
    with pytest.raises(ValueError, match=r"^item 17 is the zero vector, which has no direction$"):
        RSA(CosineDistance(), Spearman()).signature(torch.from_numpy(x))


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4])
def test_an_item_with_equal_dimensions_has_no_correlation_distance(value):
    x, _ = related(0)
    x[17] = value
    with pytest.raises(ValueError, match=r"^item 17 has the same value in each dimension, so no correlation with any other item$"):
        RSA(CorrelationDistance(), Spearman()).signature(torch.from_numpy(x))


@pytest.mark.parametrize("rdm", ["cosine", "correlation"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_items_that_differ_in_length_alone_have_no_directions_to_compare(rdm, dtype):
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, (20, 1)) * rng.standard_normal(7)
    with pytest.raises(ValueError, match=r"^all items point in the same direction, so that there is nothing to compare$"):
        RSA(RDMS[rdm], Cosine()).signature(torch.from_numpy(x.astype(dtype)))
