import numpy as np
import pytest
import torch
from metric_rows import affinity, related
from scipy import linalg
from scipy.spatial.distance import cdist

from layeratlas import affinity_matrix
from layeratlas.affinity.matrix import compare, diagnoses
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import DiffusionNMI, DiffusionNMIPublished
from layeratlas.metrics import diffusion as module
from layeratlas.metrics.diffusion import NEARLY_CONSTANT, NEARLY_IDENTITY, NO_GAP

PUBLISHED = DiffusionNMIPublished(sigma=8.0, alpha=0.5, dimensions=2)
NMI = DiffusionNMI(dimensions=2, bandwidth=1.0)


def ring(n: int, width: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """A closed curve: its diffusion map is a circle, whatever space it lies in."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(n) / n
    circle = np.stack([np.cos(angle), 1.3 * np.sin(angle)], axis=1)
    return circle @ np.linalg.qr(rng.standard_normal((width, 2)))[0].T + noise * rng.standard_normal((n, width))


# --- as published -----------------------------------------------------------------------------------------------------------


def published(x: np.ndarray, y: np.ndarray, sigma: float = 8, alpha: float = 0.5, d: int = 2) -> float:
    """The published formulas once more, in NumPy and with a Schur decomposition in place of the eigensolver."""

    def embedding(z: np.ndarray) -> np.ndarray:
        w = np.exp(-cdist(z, z, "sqeuclidean") / (2 * sigma**2))
        p = w / (w.sum(axis=1) + 1e-8)[:, None]
        values = np.sort(np.diag(linalg.schur(p)[0]))[::-1][1 : d + 1]
        vectors = np.stack([linalg.null_space(p - value * np.eye(len(p)), rcond=1e-9)[:, 0] for value in values], axis=1)
        return values**alpha * vectors

    def half_log_det(*parts: np.ndarray) -> float:
        covariance = np.atleast_2d(np.cov(np.hstack(parts), rowvar=False))
        return 0.5 * np.log(np.linalg.det(covariance + 1e-6 * np.eye(len(covariance))))

    a, b = embedding(x), embedding(y)
    information = half_log_det(a) + half_log_det(b) - half_log_det(a, b)
    return information / (np.sqrt(half_log_det(a) * half_log_det(b)) + 1e-8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constants", [(8.0, 0.5, 2), (3.0, 1.0, 1), (20.0, 0.0, 3)])
def test_the_published_value_is_what_its_formulas_give(seed, constants):
    x, y = related(seed, n=30)
    sigma, alpha, d = constants
    found = affinity(DiffusionNMIPublished(sigma, alpha, d), x, y)
    assert found == pytest.approx(published(x, y, sigma, alpha, d), rel=1e-6)


@pytest.mark.parametrize(("n", "ceiling"), [(40, 2.557), (20, 3.378), (57, 2.246)])
def test_two_saturated_layers_score_the_published_ceiling_which_depends_on_n(n, ceiling):
    rng = np.random.default_rng(0)
    x, y = 1e4 * rng.standard_normal((2, n, 16))  # far beyond the bandwidth: both kernels are the identity
    assert affinity(PUBLISHED, x, y) == pytest.approx(ceiling, abs=5e-4)


def test_a_layer_has_1_with_itself_and_more_with_a_saturated_neighbour_as_published():
    x, y = 1e4 * np.random.default_rng(0).standard_normal((2, 40, 16))
    matrix = affinity_matrix(PUBLISHED, [x, y], [x.copy(), y])
    np.testing.assert_array_equal(np.diag(matrix), 1)
    assert matrix[0, 1] > 2.5


def test_one_is_put_in_place_of_the_formula_for_equal_activations_only():
    x = related(0, n=30)[0]
    formula = affinity(PUBLISHED, x, x + 1e-9)
    assert affinity(PUBLISHED, x, x.copy()) == 1
    assert formula == pytest.approx(published(x, x), rel=1e-4)
    assert abs(formula - 1) > 0.1


def test_entropies_of_different_signs_are_an_error_and_not_nan():
    small, large = 60 * np.random.default_rng(0).standard_normal((30, 4)), 0.5 * np.random.default_rng(1).standard_normal((30, 4))
    expected = r"^the entropies of two layers' embeddings differ in sign, .* is undefined; alpha=-3\.0 makes one of the embeddings"
    with pytest.raises(ValueError, match=expected):
        affinity_matrix(DiffusionNMIPublished(8.0, -3.0, 2), [small], [large])


def test_a_kernel_without_enough_positive_eigenvalues_is_refused():
    x = np.repeat(np.array([[1.0, 0], [0, 1.0]]), 10, axis=0)
    expected = r"^fewer than 3 eigenvalues of its kernel are positive, .*: sigma=8\.0 is too wide, or items repeat$"
    with pytest.raises(ValueError, match=expected):
        PUBLISHED.signature(torch.from_numpy(x))


@pytest.mark.parametrize(("scale", "doubt"), [(1e4, NEARLY_IDENTITY), (1e-2, NEARLY_CONSTANT), (1, None)])
def test_a_fixed_bandwidth_that_does_not_fit_is_told(scale, doubt):
    x = scale * np.random.default_rng(0).standard_normal((40, 16))
    assert PUBLISHED.diagnose(PUBLISHED.signature(torch.from_numpy(x))) == doubt


# --- corrected --------------------------------------------------------------------------------------------------------------


def diffusion_map(x: np.ndarray, d: int, bandwidth: float = 1) -> np.ndarray:
    """By the generalised eigenproblem K v = lambda D v, whose vectors are those of the random walk D^-1 K."""
    distances = cdist(x, x)
    kernel = np.exp(-((distances / (bandwidth * np.median(distances))) ** 2) / 2)
    vectors = linalg.eigh(kernel, np.diag(kernel.sum(axis=1)))[1]
    return vectors[:, ::-1][:, 1 : d + 1]


def canonical_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Roots of the eigenvalues of Cxx^-1 Cxy Cyy^-1 Cyx."""
    d = x.shape[1]
    c = np.cov(np.hstack([x, y]), rowvar=False)
    squares = np.linalg.solve(c[:d, :d], c[:d, d:]) @ np.linalg.solve(c[d:, d:], c[d:, :d])
    return np.sqrt(np.linalg.eigvals(squares).real)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_corrected_value_follows_from_the_canonical_correlations_of_both_maps(seed, d):
    x, y = related(seed, n=61)
    rho = canonical_correlations(diffusion_map(x, d), diffusion_map(y, d))
    information = -0.5 * np.log(1 - rho**2).sum()
    assert affinity(DiffusionNMI(d, 1.0), x, y) == pytest.approx(np.sqrt(1 - np.exp(-2 * information / d)), rel=1e-8)


def test_the_bandwidth_is_a_multiple_of_the_median_distance():
    x, y = related(0, n=61)
    rho = canonical_correlations(diffusion_map(x, 1, 0.4), diffusion_map(y, 1, 0.4))
    assert affinity(DiffusionNMI(1, 0.4), x, y) == pytest.approx(rho[0], rel=1e-8)


def test_two_views_of_one_curve_share_nearly_all_of_their_maps_and_unrelated_curves_nothing():
    x, y = ring(80, 10, seed=0), ring(80, 25, seed=1)
    shuffled = y[np.random.default_rng(2).permutation(80)]
    assert affinity(NMI, x, y) > 0.97
    assert affinity(NMI, x, shuffled) < 0.35


def test_n_does_not_set_the_scale():
    values = [affinity(NMI, ring(n, 10, seed=0, noise=0.2), ring(n, 10, seed=1, noise=0.2)) for n in (40, 80, 160)]
    assert max(values) - min(values) < 0.1


def test_independent_layers_have_about_the_stated_chance():
    rng = np.random.default_rng(0)
    n, d = 60, 2
    values = [affinity(NMI, *rng.standard_normal((2, n, 5))) for _ in range(100)]
    assert np.mean(values) == pytest.approx(np.sqrt(d / (n - 1)), rel=0.2)


def test_clusters_apart_do_not_hide_what_the_maps_share():
    """The eigenvalue 1 repeats for a kernel of separate blocks, and the constant vector must still be the one that is left out."""
    clusters = np.repeat(np.arange(3), 20)
    x, y = (300 * np.eye(8)[clusters] + np.random.default_rng(seed).standard_normal((60, 8)) for seed in (0, 1))
    assert affinity(DiffusionNMI(2, 0.1), x, y) == pytest.approx(1, abs=1e-6)


def test_iteration_for_many_items_finds_what_the_whole_spectrum_gives(monkeypatch):
    x, y = ring(300, 10, seed=0), ring(300, 25, seed=1, noise=0.3)
    expected = affinity(NMI, x, y)
    monkeypatch.setattr(module, "_WHOLE_SPECTRUM", 100)
    assert affinity(NMI, x, y) == pytest.approx(expected, abs=1e-9)


def test_a_signature_is_a_small_orthonormal_basis():
    basis, rank, gap = NMI.signature(torch.from_numpy(ring(50, 100, seed=0)))
    assert basis.shape == (50, 2)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(basis.sum(dim=0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert 1 < float(rank) < 5
    assert float(gap) > 0.3


def test_the_effective_rank_is_that_of_the_kernels_spectrum():
    x = related(0, n=40)[0]
    distances = cdist(x, x)
    kernel = np.exp(-((distances / np.median(distances)) ** 2) / 2)
    spectrum = np.linalg.eigvals(kernel / kernel.sum(axis=1)[:, None]).real
    found = NMI.signature(torch.from_numpy(x))
    assert float(found.effective_rank) == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum())
    leading = np.sort(spectrum)[::-1]
    assert float(found.gap) == pytest.approx(1 - leading[3] / leading[2])


def test_a_bandwidth_below_all_distances_is_told():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 200)))
    narrow = DiffusionNMI(2, 0.1)
    assert narrow.diagnose(narrow.signature(x)) == NEARLY_IDENTITY
    assert NMI.diagnose(NMI.signature(torch.from_numpy(ring(60, 10, seed=0)))) is None


def test_dimensions_that_break_off_between_equal_eigenvalues_are_told():
    angle = 2 * np.pi * np.arange(60) / 60
    circle = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    one, two = DiffusionNMI(1, 1.0), DiffusionNMI(2, 1.0)
    assert one.diagnose(one.signature(circle)) == NO_GAP
    assert two.diagnose(two.signature(circle)) is None


def test_layers_with_the_same_trouble_are_named_in_one_line():
    rng = np.random.default_rng(0)
    wide = {f"block_{k}": torch.from_numpy(1e4 * rng.standard_normal((40, 8))) for k in (1, 2)}
    a = Activations({"embed": torch.from_numpy(3 * rng.standard_normal((40, 16))), **wide}, 2)
    found = compare(Signer(PUBLISHED, torch.device("cpu")), a, a)
    assert diagnoses(PUBLISHED, found) == [f"metric diffusion_nmi_published, side a, block_1, block_2: {NEARLY_IDENTITY.trouble}"]
    b = Activations({"block_1": wide["block_1"]}, 1)
    both = diagnoses(PUBLISHED, compare(Signer(PUBLISHED, torch.device("cpu")), a, b))
    assert [line.split(":")[0] for line in both] == [
        "metric diffusion_nmi_published, side a, block_1, block_2",
        "metric diffusion_nmi_published, side b, block_1",
    ]


def test_items_that_repeat_leave_a_kernel_of_too_few_dimensions():
    x = np.repeat(np.eye(3), 10, axis=0)
    with pytest.raises(ValueError, match=r"^its kernel has fewer than 4 dimensions beside the constant one: items repeat$"):
        DiffusionNMI(4, 1.0).signature(torch.from_numpy(x))


def test_a_median_distance_of_zero_is_no_bandwidth():
    x = np.zeros((20, 3))
    x[0] = 1
    with pytest.raises(ValueError, match=r"^more than half of all pairs of items are equal"):
        NMI.signature(torch.from_numpy(x))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: DiffusionNMI(0, 1.0), "metric.dimensions: expected at least 1 dimension of the diffusion map; got 0"),
        (lambda: DiffusionNMI(2, 0.0), "metric.bandwidth: expected a positive multiple of the median distance; got 0.0"),
        (
            lambda: DiffusionNMIPublished(8.0, 0.5, 0),
            "metric.dimensions: expected at least 1 dimension of the diffusion map; got 0",
        ),
        (lambda: DiffusionNMIPublished(-1.0, 0.5, 2), "metric.sigma: expected a positive bandwidth; got -1.0"),
    ],
)
def test_constants_that_make_no_sense_are_refused(made, message):
    with pytest.raises(ConfigError) as refused:
        made()
    assert str(refused.value) == message


def test_a_saturated_kernel_whose_eigenvectors_the_solver_does_not_find_has_no_published_similarity(monkeypatch):
    def lost(_):
        raise torch.linalg.LinAlgError("The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eig", lost)
    metric = DiffusionNMIPublished(sigma=8.0, alpha=0.5, dimensions=2)
    with pytest.raises(Undefined, match=r"^the eigenvectors of its kernel are not found, as sigma=8\.0 saturates it$"):
        metric.signature(torch.randn(10, 4, generator=torch.Generator().manual_seed(0)))
