"""Random subspaces of a wanted energy, and shifts: exact where they say so, within the span, and different in each draw."""

import pytest
import torch

from layeratlas.errors import Undefined
from layeratlas.statistics.removals import (
    LanguageMeans,
    LeadingComponents,
    LeastSquares,
    WithinSpan,
    energy,
    language_shift,
    random_of_energy,
    random_shift,
)

D, N = 24, 60


def languages(seed: int, *, offset: float = 2.0) -> torch.Tensor:
    """Two languages whose items differ in 12 of 24 dimensions, with variances from 9 down, and whose means differ elsewhere too."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(2, N, D, dtype=torch.float64)
    x[:, :, :12] = torch.randn(2, N, 12, dtype=torch.float64, generator=generator) * torch.linspace(3, 0.3, 12)
    x[1] += offset * torch.randn(D, dtype=torch.float64, generator=generator)
    return x


def rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, D)


@pytest.mark.parametrize("removal", [LeastSquares(), LanguageMeans()], ids=lambda removal: removal.name)
@pytest.mark.parametrize("offset", [0.3, 1.0])
def test_a_draw_holds_the_energy_of_what_it_stands_beside_on_the_items_it_was_fitted_on(removal, offset):
    x = languages(0, offset=offset)
    eraser, span = removal.fit(x)[0], WithinSpan.of(x)
    wanted = energy(eraser, rows(x))
    for seed in range(10):
        draw = random_of_energy(span, rows(x), eraser.m, wanted, torch.Generator().manual_seed(seed))
        assert energy(draw, rows(x)) == pytest.approx(wanted, rel=1e-9)
        torch.testing.assert_close(draw.b.T @ draw.b, torch.eye(draw.rank, dtype=x.dtype))
        torch.testing.assert_close(draw.a[:, :-1], draw.b[:, :-1])
        assert draw.b[12:].abs().max() < 1e-9  # no item of a language differs from another there


def test_draws_differ_and_the_same_seed_gives_the_same_bits():
    x = languages(0)
    span = WithinSpan.of(x)
    first, again, other = (
        random_of_energy(span, rows(x), rows(x).mean(0), 3.0, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    )
    assert torch.equal(first.b, again.b)
    assert float((first.b[:, 0] @ other.b[:, 0]).abs()) < 0.99


def test_no_energy_takes_no_direction_and_more_than_there_is_is_undefined():
    x = languages(0)
    span, m, generator = WithinSpan.of(x), rows(x).mean(0), torch.Generator().manual_seed(0)
    assert random_of_energy(span, rows(x), m, 0.0, generator).rank == 0
    total = float((rows(x) - m).square().sum(dim=1).mean())
    with pytest.raises(Undefined, match="the directions in which items of one language differ hold"):
        random_of_energy(span, rows(x), m, 2 * total, generator)


def test_the_span_leaves_out_what_holds_less_than_a_thousandth_of_the_variance():
    x = languages(0)
    x[:, :, 20] = 1e-4 * torch.randn(2, N, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    span = WithinSpan.of(x)
    assert span.directions[20].abs().max() < 1e-3
    assert len(span.variances) <= 12


def test_a_shift_moves_one_mean_onto_the_other_and_random_ones_are_as_long():
    x = languages(0)
    shift = language_shift(x, 0, 1)
    torch.testing.assert_close(shift(x[0]).mean(dim=0), x[1].mean(dim=0))
    assert shift.rank == 0
    draws = [random_shift(WithinSpan.of(x), float(shift.v.norm()), torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert [float(draw.v.norm()) for draw in draws] == pytest.approx([float(shift.v.norm())] * 2)
    assert energy(draws[0], rows(x)) == pytest.approx(energy(shift, rows(x)))
    assert not torch.allclose(draws[0].v, draws[1].v)


def test_the_energy_of_an_oblique_projection_is_that_of_what_it_takes_and_not_of_its_basis():
    x = languages(0)
    eraser = LeastSquares().fit(x)[0]
    moved = eraser(rows(x)) - rows(x)
    assert energy(eraser, rows(x)) == pytest.approx(float(moved.square().sum(dim=1).mean()))
    own = LeadingComponents(rank=1).fit(x)[0]
    assert energy(own, x[0]) == pytest.approx(float((x[0] @ own.b).square().mean()))
