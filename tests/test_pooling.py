import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from layeratlas import pooling
from layeratlas.arrays import Tokens

# two items of two and three tokens, padded on the right with what must not be read
HIDDEN = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [99.0, 99.0]], [[1.0, 0.0], [2.0, -6.0], [6.0, 3.0]]])
MASK = torch.tensor([[True, True, False], [True, True, True]])
EXPECTED = {
    "last": [[3.0, 30.0], [6.0, 3.0]],
    "mean": [[2.0, 20.0], [3.0, -1.0]],
}


def tokens_of(mask: Tensor) -> Tokens:
    off = torch.zeros_like(mask)
    return Tokens(ids=mask.long(), mask=mask, special=off, punctuation=off, span=off)


def pooled(name: str, hidden: Tensor, mask: Tensor) -> Tensor:
    return getattr(pooling, name)(hidden, tokens_of(mask))


def test_every_pooling_has_its_example():
    assert sorted(EXPECTED) == sorted(pooling.__all__)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_pooling_of_a_padded_batch_by_hand(name):
    torch.testing.assert_close(pooled(name, HIDDEN, MASK), torch.tensor(EXPECTED[name]))


@pytest.mark.parametrize("name", EXPECTED)
def test_padding_on_the_left_gives_the_same_numbers(name):
    torch.testing.assert_close(pooled(name, HIDDEN.flip(1)[:1], MASK.flip(1)[:1]), pooled(name, HIDDEN[:, [1, 0, 2]][:1], MASK[:1]))


@pytest.mark.parametrize("name", EXPECTED)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_a_vector_does_not_depend_on_where_its_item_is_padded(name, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    items = [torch.randn(1, length, 3, generator=generator) for length in lengths]
    alone = torch.cat([pooled(name, item, torch.ones(1, item.shape[1], dtype=torch.bool)) for item in items])
    for left in (True, False):
        hidden, mask = torch.full((len(items), 6, 3), 1e4), torch.zeros(len(items), 6, dtype=torch.bool)
        for row, item in enumerate(items):
            where = slice(6 - item.shape[1], 6) if left else slice(0, item.shape[1])
            hidden[row, where], mask[row, where] = item[0], True
        torch.testing.assert_close(pooled(name, hidden, mask), alone)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf])
def test_what_is_not_finite_in_the_padding_is_not_read(name, rubbish):
    hidden = HIDDEN.clone()
    hidden[0, 2] = rubbish
    torch.testing.assert_close(pooled(name, hidden, MASK), torch.tensor(EXPECTED[name]))


@pytest.mark.parametrize("name", EXPECTED)
def test_half_precision_becomes_float32_without_overflow(name):
    hidden = torch.full((1, 50, 2), 60000.0, dtype=torch.float16)
    vectors = pooled(name, hidden, torch.ones(1, 50, dtype=torch.bool))
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, torch.full((1, 2), 60000.0))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_without_tokens_is_refused(name):
    with pytest.raises(ValueError, match="no token to pool in row 1 of the batch"):
        pooled(name, HIDDEN, torch.tensor([[True, True, False], [False, False, False]]))
