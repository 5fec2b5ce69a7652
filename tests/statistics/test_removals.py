"""What is taken away of a language, by each definition, against the papers' algorithms and outside implementations."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from layeratlas.errors import Undefined
from layeratlas.statistics.cross_fitting import halves
from layeratlas.statistics.linear_probe import fitted
from layeratlas.statistics.removals import (
    BetweenLanguages,
    Centring,
    LanguageMeans,
    LeadingComponents,
    LeastSquares,
    random_directions,
)
from layeratlas.statistics.removals.least_squares import oblique
from layeratlas.statistics.shrinkage import Shrunk, products_of

REMOVALS = [LanguageMeans(), BetweenLanguages(rank=1), LeadingComponents(rank=2), LeastSquares(), Centring()]
EQUAL_MEANS = (LanguageMeans, LeastSquares, Centring)


def world(languages=2, n=30, d=12, seed=0, offset=2.0, directions=None):
    """Concepts that all languages share, and an offset of each, of `directions` dimensions."""
    rng = np.random.default_rng(seed)
    offsets = offset * rng.standard_normal((languages, directions or d)) @ rng.standard_normal((directions or d, d)) / d**0.5
    concepts = rng.standard_normal((n, d)) @ np.diag(np.linspace(0.2, 3, d))
    x = concepts + offsets[:, None] + 0.5 * rng.standard_normal((languages, n, d)) + 5
    return torch.from_numpy(x), torch.from_numpy(offsets)


def erased(removal, x):
    return torch.stack([eraser(side) for eraser, side in zip(removal.fit(x), x, strict=True)])


# --- definitions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_a_rotation_of_all_vectors_rotates_what_is_left(removal):
    x, _ = world(3)
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    torch.testing.assert_close(erased(removal, x @ rotation), erased(removal, x) @ rotation)


@pytest.mark.parametrize("removal", [r for r in REMOVALS if isinstance(r, EQUAL_MEANS)], ids=lambda removal: removal.name)
@pytest.mark.parametrize("n", [30, 5])  # fewer items than dimensions
def test_the_languages_have_one_mean_afterwards_which_is_the_mean_of_their_means(removal, n):
    x, _ = world(4, n=n)
    means = erased(removal, x).mean(dim=1)
    torch.testing.assert_close(means, x.mean(dim=(0, 1)).expand(4, -1))


def test_means_of_languages_span_one_direction_less_than_there_are_languages_and_no_more_than_planted():
    x, offsets = world(6, n=400, directions=2)
    (eraser, *_) = LanguageMeans().fit(x)
    assert eraser.rank == 5
    leading = BetweenLanguages(rank=2).fit(x)[0].a
    planted = torch.linalg.svd(offsets - offsets.mean(dim=0)).Vh[:2].T
    assert torch.linalg.svdvals(leading.T @ planted).min() > 0.99


def test_the_direction_of_two_languages_is_found_and_an_equal_one_is_none():
    x, offsets = world(n=400)
    axis = (offsets[0] - offsets[1]) / (offsets[0] - offsets[1]).norm()
    for removal in (LanguageMeans(), BetweenLanguages(rank=1)):
        assert abs(float(removal.fit(x)[0].a[:, 0] @ axis)) > 0.99
    same = x[:1].expand(2, -1, -1)
    assert [eraser.rank for removal in (LanguageMeans(), LeastSquares()) for eraser in removal.fit(same)] == [0] * 4
    torch.testing.assert_close(erased(LeastSquares(), same), same)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_subspace_between_languages_is_that_of_the_published_algorithm(rank):
    """Algorithm 1 of Xie et al. (2022), its five lines in NumPy: columns are languages."""
    x, _ = world(4)
    means = x.mean(dim=1).numpy().T
    centre = means.mean(axis=1, keepdims=True)
    u, s, vh = np.linalg.svd(means - centre, full_matrices=False)
    approximated = centre + u[:, :rank] * s[:rank] @ vh[:rank]
    solution = np.linalg.pinv(approximated.T) @ np.ones(4)
    mu = solution / np.linalg.norm(solution) ** 2
    basis = np.linalg.svd(approximated - mu[:, None], full_matrices=False)[0][:, :rank]
    expected = x.numpy() - x.numpy() @ basis @ basis.T
    np.testing.assert_allclose(erased(BetweenLanguages(rank=rank), x).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(BetweenLanguages(rank=rank).fit(x)[0].m, mu, atol=1e-9)


def test_leading_components_are_each_languages_own_and_not_centred():
    x, _ = world()
    for language, left in zip(x.numpy(), erased(LeadingComponents(rank=2), x).numpy(), strict=True):
        components = np.linalg.eigh(language.T @ language)[1][:, -2:]
        np.testing.assert_allclose(left, language - language @ components @ components.T, atol=1e-9)


def test_least_squares_erasure_is_that_of_the_authors_own_package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from concept_erasure import LeaceFitter

    x, _ = world(3, n=60)
    rows, labels = x.reshape(-1, 12), torch.arange(3).repeat_interleave(60)
    one_hot = torch.nn.functional.one_hot(labels).double()
    options = {"shrinkage": False, "constrain_cov_trace": False, "svd_tol": 1e-6}
    theirs = LeaceFitter.fit(rows, one_hot, **options).eraser(rows)
    means = x.mean(dim=1)
    for deviations in ((x - means[:, None]).reshape(-1, 12), rows - rows.mean(dim=0)):  # within languages, and of all
        products = products_of(deviations)
        plain = Shrunk(deviations, products, 0.0, 0.0)
        basis = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False).Vh[:2].T
        torch.testing.assert_close(oblique(basis, plain, means.mean(dim=0))(rows), theirs)


def test_no_projection_that_makes_means_equal_moves_items_less_than_least_squares():
    x, _ = world(n=2000)
    moved = [(erased(removal, x) - x).square().sum() for removal in (LeastSquares(), LanguageMeans())]
    assert moved[0] < moved[1]


def test_a_translation_leaves_differences_of_items_as_they_are_and_a_projection_does_not():
    x, _ = world()
    centred = x - x.mean(dim=1, keepdim=True)
    for removal in (Centring(), LanguageMeans()):
        left = erased(removal, x)
        same = torch.allclose(left - left.mean(dim=1, keepdim=True), centred)
        assert same == isinstance(removal, Centring)


def test_random_directions_lie_among_those_in_which_items_of_a_language_differ():
    x, _ = world(n=5, d=40)
    eraser = random_directions(x, 3, torch.Generator().manual_seed(0))
    within = (x - x.mean(dim=1, keepdim=True)).reshape(-1, 40)
    torch.testing.assert_close(eraser.a.T @ eraser.a, torch.eye(3, dtype=torch.float64))
    inside = torch.linalg.lstsq(within.T, eraser.a).solution
    torch.testing.assert_close(within.T @ inside, eraser.a)
    energy = eraser.removed(x).square().sum() / (x - x.mean(dim=(0, 1))).square().sum()
    assert energy > 3 / 40  # more than directions at random of all 40


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda x: BetweenLanguages(rank=2).fit(x), "between_languages: 2 languages differ in at most 1 directions; got rank=2"),
        (lambda x: LeadingComponents(rank=13).fit(x), "leading_components: 30 items of 12 dimensions have at most 12 components"),
        (lambda x: random_directions(x, 13, torch.Generator()), "random directions: items differ in at most 12; got rank=13"),
        (lambda x: LeastSquares().fit(torch.stack([x[0] * 0, x[0] * 0 + 1])), "no item differs from its mean"),
    ],
)
def test_a_subspace_that_there_is_not_is_refused(fit, message):
    with pytest.raises(Undefined, match=message):
        fit(world()[0])


# --- covariance and probe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(20, 50), (50, 20), (30, 30), (3, 40)])
def test_the_shrunk_covariance_is_scikit_learns(n, d):
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((n, d)) @ np.diag(np.linspace(0.1, 2, d)))
    z = z - z.mean(dim=0)
    covariance, intensity = ledoit_wolf(z.numpy(), assume_centered=True)
    shrunk = Shrunk.of(z)
    assert shrunk.intensity == pytest.approx(intensity)
    v = torch.eye(d, dtype=torch.float64)[:, :3]
    np.testing.assert_allclose(shrunk.solve(v), np.linalg.solve(covariance, v.numpy()), rtol=1e-7, atol=1e-9)


def test_a_singular_covariance_is_refused():
    z = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Undefined, match="the covariance of 3 deviations in 10 dimensions is singular"):
        Shrunk(z, products_of(z), 0.0, 0.0).solve(torch.ones(10, 1, dtype=torch.float64))


def test_the_probe_is_discriminant_analysis_with_that_covariance_and_as_good_as_logistic_regression():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    x = rng.standard_normal((180, 40)) * np.linspace(0.1, 50, 40) + np.eye(3, 40)[labels] * np.linspace(0.1, 50, 40) * 1.5
    train, test = np.arange(0, 180, 2), np.arange(1, 180, 2)
    probe = fitted(torch.from_numpy(x[train]), torch.from_numpy(labels[train]), 3)
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    z = (x - mean) / deviation
    means = np.stack([z[train][labels[train] == c].mean(axis=0) for c in range(3)])
    covariance, _ = ledoit_wolf(z[train] - means[labels[train]], assume_centered=True)
    weights = np.linalg.solve(covariance, means.T)
    expected = z[test] @ weights - (means.T * weights).sum(axis=0) / 2
    np.testing.assert_allclose(probe.scores(torch.from_numpy(x[test])), expected, atol=1e-9)
    right = float(probe.credits(torch.from_numpy(x[test]), torch.from_numpy(labels[test])).mean())
    assert right >= LogisticRegression(max_iter=2000).fit(z[train], labels[train]).score(z[test], labels[test]) - 0.05


def test_classes_that_tie_share_the_credit_and_dimensions_without_variance_count_for_nothing():
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    x[:, 0] = 7 + 1e-15 * labels  # the noise of arithmetic tells the labels, and nothing else does
    for label in (0, 1):
        x[labels == label, 1:] -= x[labels == label, 1:].mean(dim=0)
    probe = fitted(x, labels, 2)
    assert probe.credits(x, labels).tolist() == [0.5] * 40


# --- held-out items -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 41, 100])
def test_no_item_is_judged_by_what_it_was_fitted_on_and_each_is_judged_once(n):
    groups = [f"g{i % 3}" for i in range(n)]
    parts = halves(groups, 5)
    judged = []
    for half in parts:
        assert sorted([*half.fit, *half.held]) == list(range(n))
        for train, test in half.folds:
            assert set(train) | set(test) == set(half.held)
            assert not set(train) & set(test)
            judged += test.tolist()
    assert sorted(judged) == list(range(n))
    assert abs(len(parts[0].held) - len(parts[1].held)) <= 1


def test_each_part_has_its_share_of_every_group():
    groups = np.array([f"g{i // 10}" for i in range(40)])
    for half in halves(groups.tolist(), 5):
        for _, test in half.folds:
            assert np.unique(groups[test], return_counts=True)[1].tolist() == [1] * 4


def test_too_few_items_for_the_folds_are_refused():
    with pytest.raises(Undefined, match="two halves of 5 folds need 20 items; got 19"):
        halves(["g"] * 19, 5)


def _held_out_accuracy(x, folds):
    """A probe for the language, fitted on all folds but one and judged on it."""
    n = x.shape[1]
    right = []
    for test in np.array_split(np.arange(n), folds):
        train = np.setdiff1d(np.arange(n), test)
        labels = torch.arange(2).repeat_interleave(len(train))
        probe = fitted(x[:, train].reshape(-1, x.shape[-1]), labels, 2)
        right += [probe.credits(side[test], torch.full((len(test),), i)).mean() for i, side in enumerate(x)]
    return float(np.mean(right))


@pytest.mark.parametrize("removal", [LanguageMeans(), LeastSquares(), Centring()], ids=lambda removal: removal.name)
def test_an_eraser_that_knew_the_judged_items_makes_a_probe_worse_than_chance_and_ours_does_not(removal):
    accuracies = []
    for seed in range(4):
        x, _ = world(n=40, d=100, seed=seed)
        accuracies.append(_held_out_accuracy(erased(removal, x), 5))
        for half in halves(["g"] * 40, 5):
            erasers = removal.fit(x[:, half.fit])
            held = torch.stack([eraser(side) for eraser, side in zip(erasers, x[:, half.held], strict=True)])
            assert _held_out_accuracy(held, 5) >= 0.5
    assert max(accuracies) < 0.35
