"""Statistics of pairs of texts, against plain loops and other libraries."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from layeratlas.statistics.pair_asymmetry import (
    PUBLISHED,
    centroid_asymmetry,
    cross_centroid,
    density_asymmetry,
    left_out_asymmetry,
    margin_asymmetry,
    uniformity,
    within_pair_similarity,
)


@pytest.fixture
def sides() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((23, 40)) + 0.5, rng.standard_normal((23, 40)) + 0.2


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def test_each_published_statistic_is_that_of_a_plain_loop(sides):
    a, b = sides
    c_a, c_b, middle = a.mean(axis=0), b.mean(axis=0), (a.mean(axis=0) + b.mean(axis=0)) / 2
    pairs = list(zip(a, b, strict=True))
    np.testing.assert_allclose(centroid_asymmetry(a, b), [cosine(x, c_a) - cosine(y, c_b) for x, y in pairs])
    np.testing.assert_allclose(cross_centroid(a, b), [cosine(x, c_b) - cosine(y, c_a) for x, y in pairs])
    np.testing.assert_allclose(within_pair_similarity(a, b), [cosine(x, y) for x, y in pairs])
    distances = [[np.linalg.norm(z - middle) for z in pair] for pair in pairs]
    np.testing.assert_allclose(margin_asymmetry(a, b), [x - y for x, y in distances])


@pytest.mark.parametrize("n", [23, 7])
def test_the_density_counts_the_text_itself_among_its_ten_neighbours(sides, n):
    z = []
    for side in (sides[0][:n], sides[1][:n]):
        found = NearestNeighbors(n_neighbors=min(10, n - 1), metric="cosine").fit(side).kneighbors(side)[0]
        density = 1 / (found.mean(axis=1) + 1e-10)
        z.append((density - density.mean()) / (density.std() + 1e-10))
    np.testing.assert_allclose(density_asymmetry(sides[0][:n], sides[1][:n]), z[0] - z[1], rtol=1e-6)


def test_exchanging_the_sides_turns_every_statistic_around_but_the_similarity_of_a_pair(sides):
    for name, statistic in PUBLISHED.items():
        sign = 1 if name == "within_pair_similarity" else -1
        np.testing.assert_allclose(statistic(*sides), sign * statistic(*sides[::-1]), err_msg=name)


def test_uniformity_is_the_mean_cosine_of_different_texts(sides):
    x = sides[0]
    expected = np.mean([cosine(x[i], x[j]) for i in range(len(x)) for j in range(i)])
    assert uniformity(x) == pytest.approx(expected)
    with pytest.raises(ValueError, match="pairs of texts; got 1"):
        uniformity(x[:1])


@pytest.mark.parametrize("width", [4, 40], ids=["fewer dimensions than texts", "more"])
def test_the_left_out_asymmetry_is_that_of_a_plain_loop_over_resamples(sides, width):
    a, b = (side[:, :width] for side in sides)
    rng = np.random.default_rng(1)
    drawn = np.concatenate([np.arange(23)[None], rng.integers(23, size=(5, 23))])
    weights = np.stack([np.bincount(row, minlength=23) for row in drawn]).astype(float)
    found = left_out_asymmetry(a, b, weights)
    for row, places in zip(found, drawn, strict=True):
        for i in range(23):
            others = places[places != i]
            expected = cosine(a[i], a[others].mean(axis=0)) - cosine(b[i], b[others].mean(axis=0))
            assert row[i] == pytest.approx(expected, abs=1e-12)


def test_a_text_in_its_own_centroid_is_nearer_to_it_than_to_the_others(sides):
    """Of noise alone, the left-out cosine is 0 on average, the published one is not."""
    a, b = np.random.default_rng(2).standard_normal((2, 20, 50))
    b[:, 1:] = 0
    kept = cosine(a[0], a.mean(axis=0))
    assert kept > cosine(a[0], a[1:].mean(axis=0)) + 0.1


def test_a_centroid_needs_another_text_and_a_direction():
    x = np.array([[1.0, 0], [0, 1], [1, 1]])
    with pytest.raises(ValueError, match="needs another text"):
        left_out_asymmetry(x, x, np.array([[3.0, 0, 0]]))
    with pytest.raises(ValueError, match="no direction"):
        left_out_asymmetry(np.array([[1.0, 0], [-1, 0], [1, 1]]), x, np.ones((1, 3)))
