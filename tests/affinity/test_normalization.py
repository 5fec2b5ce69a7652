import numpy as np
import pytest
import torch

from layeratlas.affinity.normalization import (
    DropPrincipalComponents,
    DropTopDimensions,
    center,
    length_residual,
    none,
    unit,
    zscore,
)
from layeratlas.errors import ConfigError


@pytest.fixture
def x() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((50, 6)) * [1, 20, 1, 5, 1, 1] + [0, 3, 0, 9, 1, 0])


@pytest.fixture
def lengths() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(5, 40, size=50)).float()


def test_none_is_the_activations_themselves(x):
    assert none(x, None) is x


def test_centred_dimensions_have_mean_zero_and_keep_their_spread(x):
    centred = center(x, None)
    np.testing.assert_allclose(centred.mean(dim=0), 0, atol=1e-12)
    np.testing.assert_allclose(centred.std(dim=0), x.std(dim=0))


def test_zscored_dimensions_have_deviation_one_and_constant_ones_stay_zero(x):
    x[:, 4] = 7
    scored = zscore(x, None)
    np.testing.assert_allclose(scored.std(dim=0), [1, 1, 1, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(scored.mean(dim=0), 0, atol=1e-12)


def test_unit_items_have_norm_one_and_the_zero_vector_stays_zero(x):
    x[3] = 0
    norms = unit(x, None).norm(dim=1)
    assert norms[3] == 0
    np.testing.assert_allclose(np.delete(norms.numpy(), 3), 1)


def test_length_residuals_are_uncorrelated_with_length_and_what_numpy_regression_leaves(x, lengths):
    x = x + lengths[:, None].double() * torch.tensor([0.3, -1, 2, 0, 0, 5])
    residual = length_residual(x, lengths)
    design = np.column_stack([np.ones(50), lengths])
    expected = x.numpy() - design @ np.linalg.lstsq(design, x.numpy(), rcond=None)[0]
    np.testing.assert_allclose(residual, expected, atol=1e-9)


def test_dropped_dimensions_are_those_of_largest_variance_and_the_rest_keep_their_order(x):
    np.testing.assert_array_equal(DropTopDimensions(2)(x, None), x[:, [0, 2, 4, 5]])


def test_dropped_components_are_the_first_of_a_singular_value_decomposition(x):
    centred = x.numpy() - x.numpy().mean(axis=0)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    s[:2] = 0
    np.testing.assert_allclose(DropPrincipalComponents(2)(x, None), (u * s) @ v, atol=1e-9)


@pytest.mark.parametrize(
    ("normalize", "message"),
    [
        (lambda x: length_residual(x, None), r"^normalization=length_residual: stored vectors come without token counts; choose"),
        (lambda x: length_residual(x, torch.full((50,), 7.0)), r"^normalization=length_residual: all items have the same number"),
        (lambda x: DropTopDimensions(0), r"^normalization.dimensions: expected a positive number to drop; got 0$"),
        (lambda x: DropTopDimensions(6)(x, None), r"^normalization.dimensions: cannot drop 6 of 6 dimensions$"),
        (lambda x: DropPrincipalComponents(-1), r"^normalization.components: expected a positive number to remove; got -1$"),
        (lambda x: DropPrincipalComponents(6)(x, None), r"^normalization.components: cannot remove 6 of 6 components$"),
    ],
)
def test_what_cannot_be_done_is_refused(x, normalize, message):
    with pytest.raises(ConfigError, match=message):
        normalize(x)
