from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling

# Two items of three and four tokens, padded on the right with what must not be read. The first token of each is special, the
# last of the first item is punctuation; marked spans are its second token, and the last two of the second item.
HIDDEN = torch.tensor(
    [
        [[1.0, 10.0], [3.0, 30.0], [5.0, -20.0], [99.0, 99.0]],
        [[1.0, 0.0], [2.0, -6.0], [6.0, 3.0], [7.0, 5.0]],
    ]
)
TOKENS = Tokens(
    ids=torch.tensor([[256, 7, 8, 258], [256, 1, 2, 3]]),
    mask=torch.tensor([[True, True, True, False], [True, True, True, True]]),
    special=torch.tensor([[True, False, False, False], [True, False, False, False]]),
    punctuation=torch.tensor([[False, False, True, False], [False, False, False, False]]),
    span=torch.tensor([[False, True, False, False], [False, False, True, True]]),
    attention=torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4]]),
)
EXPECTED = {
    "first": [[1.0, 10.0], [1.0, 0.0]],
    "last": [[5.0, -20.0], [7.0, 5.0]],
    "last_content": [[3.0, 30.0], [7.0, 5.0]],
    "mean": [[3.0, 20 / 3], [4.0, 0.5]],
    "mean_content": [[4.0, 5.0], [5.0, 2 / 3]],
    "mean_skip_first": [[4.0, 5.0], [5.0, 2 / 3]],
    "weighted_mean": [[(1 + 6 + 15) / 6, (10 + 60 - 60) / 6], [(1 + 4 + 18 + 28) / 10, (-12 + 9 + 20) / 10]],
    "max": [[5.0, 30.0], [7.0, 5.0]],
    "span": [[3.0, 30.0], [6.5, 4.0]],
    "attention_weighted": [[0.5 + 0.75 + 1.25, 5 + 7.5 - 5], [0.1 + 0.4 + 1.8 + 2.8, -1.2 + 0.9 + 2.0]],
}
# what each needs at least one of in an item, and the mask that takes it from the second one
NEEDED = {name: {"mask": True} for name in EXPECTED} | {
    "last_content": {"mask": True, "special": False, "punctuation": False},
    "mean_content": {"mask": True, "special": False},
    "span": {"mask": True, "span": True},
}
by_name = pytest.mark.parametrize("name", EXPECTED)


def pooled(name: str, hidden: Tensor, tokens: Tokens) -> Tensor:
    return getattr(pooling, name)(hidden, tokens)


def padded_left(rows: Tensor) -> Tensor:
    """The first item's padding moved from its end to its beginning; the second item has none."""
    return torch.stack([rows[0].roll(1, dims=0), rows[1]])


def all_real(length: int) -> Tokens:
    mask = torch.ones(1, length, dtype=torch.bool)
    attention = torch.full((1, length), 1 / length)
    return Tokens(ids=mask.long(), mask=mask, special=~mask, punctuation=~mask, span=mask, attention=attention)


def test_every_pooling_has_its_example():
    assert sorted(EXPECTED) == sorted(pooling.__all__)


@by_name
def test_a_pooling_of_a_padded_batch_by_hand(name):
    torch.testing.assert_close(pooled(name, HIDDEN, TOKENS), torch.tensor(EXPECTED[name]))


@by_name
def test_padding_on_the_left_gives_the_same_numbers(name):
    left = Tokens(**{field: padded_left(getattr(TOKENS, field)) for field in vars(TOKENS)})
    assert left.mask[0].tolist() == [False, True, True, True]
    torch.testing.assert_close(pooled(name, padded_left(HIDDEN), left), torch.tensor(EXPECTED[name]))


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Items' hidden states, and the masks of their tokens; each item has a token for each pooling."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    lengths = draw(st.lists(st.integers(2, 6), min_size=1, max_size=4))
    hidden = [torch.randn(length, 3, generator=generator) for length in lengths]
    masks = []
    for length in lengths:
        special, punctuation, span = torch.rand(3, length, generator=generator) < 0.4
        chosen = draw(st.integers(0, length - 1))
        special[chosen], punctuation[chosen], span[chosen] = False, False, True
        attention = torch.rand(length, generator=generator) + 0.01
        masks.append({"special": special, "punctuation": punctuation, "span": span, "attention": attention / attention.sum()})
    return hidden, masks


def placed(hidden: list[Tensor], masks: list[dict[str, Tensor]], width: int, *, left: bool) -> tuple[Tensor, Tokens]:
    """Items side by side in a batch, with large numbers and marked tokens in the padding."""
    states, mask = torch.full((len(hidden), width, 3), 1e4), torch.zeros(len(hidden), width, dtype=torch.bool)
    marks = {name: torch.ones_like(mask) for name in ("special", "punctuation", "span")} | {"attention": torch.ones(mask.shape)}
    for row, (item, marked) in enumerate(zip(hidden, masks, strict=True)):
        where = slice(width - len(item), width) if left else slice(0, len(item))
        states[row, where], mask[row, where] = item, True
        for name, values in marked.items():
            marks[name][row, where] = values
    return states, Tokens(ids=mask.long(), mask=mask, **marks)


@by_name
@given(batch=batches())
@settings(deadline=None, derandomize=True, max_examples=25)
def test_a_vector_does_not_depend_on_where_its_item_is_padded_or_on_what_the_padding_holds(name, batch):
    hidden, masks = batch
    alone = [pooled(name, *placed([h], [m], len(h), left=False)) for h, m in zip(hidden, masks, strict=True)]
    for left in (True, False):
        torch.testing.assert_close(pooled(name, *placed(hidden, masks, 7, left=left)), torch.cat(alone))


@by_name
def test_half_precision_becomes_float32_without_overflow(name):
    vectors = pooled(name, torch.full((1, 50, 2), 60000.0, dtype=torch.float16), all_real(50))
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, torch.full((1, 2), 60000.0))


@by_name
def test_an_item_of_one_token_is_that_token_unless_the_first_one_is_skipped(name):
    vectors = pooled(name, torch.tensor([[[2.0, -3.0]]]), all_real(1))
    if name == "mean_skip_first":
        assert not vectors.isfinite().any()
    else:
        assert vectors.tolist() == [[2.0, -3.0]]


@pytest.mark.parametrize(("name", "mark"), [(name, mark) for name, marks in NEEDED.items() for mark in marks])
def test_a_row_without_a_token_to_pool_is_not_finite_and_leaves_the_others_alone(name, mark):
    values = getattr(TOKENS, mark).clone()
    values[1] = not NEEDED[name][mark]
    vectors = pooled(name, HIDDEN, replace(TOKENS, **{mark: values}))
    assert not vectors[1].isfinite().any()
    torch.testing.assert_close(vectors[0], torch.tensor(EXPECTED[name][0]))


def test_what_is_not_finite_among_the_real_tokens_stays_so():
    hidden = HIDDEN.clone()
    hidden[1] = torch.nan
    for name in EXPECTED:
        assert pooled(name, hidden, TOKENS)[1].isnan().all(), name


@pytest.mark.parametrize("name", ["first", "last", "last_content", "max"])
@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf])
def test_a_pooling_that_chooses_among_tokens_does_not_read_the_padding(name, rubbish):
    hidden = HIDDEN.clone()
    hidden[0, 3] = rubbish
    torch.testing.assert_close(pooled(name, hidden, TOKENS), torch.tensor(EXPECTED[name]))


def test_attention_need_not_sum_to_one():
    scaled = replace(TOKENS, attention=7 * TOKENS.attention)
    torch.testing.assert_close(pooled("attention_weighted", HIDDEN, scaled), torch.tensor(EXPECTED["attention_weighted"]))


def test_pooling_by_attention_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="this model has no attention weights to pool by"):
        pooled("attention_weighted", HIDDEN, replace(TOKENS, attention=None))


# --- poolings of a config ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ({"_target_": "layeratlas.extraction.pooling.mean", "_partial_": True}, "mean"),
        ({"_target_": "mine.pool", "_partial_": True}, "mine.pool"),
        ({"_target_": "mine.Top", "share": 0.5, "k": 3}, "mine.Top(k=3,share=0.5)"),
        ({"_target_": "mine.Top", "k": 3, "share": 0.5}, "mine.Top(k=3,share=0.5)"),
        ({"_target_": "mine.Top", "of": "a/b c"}, "mine.Top(of=%22a%2Fb%20c%22)"),
    ],
)
def test_a_pooling_is_called_by_all_that_tells_it_from_others(node, name):
    assert pooling.name_of(node) == name


def test_what_a_pooling_reads_is_said_by_itself_also_with_options():
    @pooling.reads("attention", "span")
    def mine(hidden, tokens, k):
        return hidden[:, k]

    assert pooling.read_by(partial(mine, k=3)) == {"attention", "span"}
    assert {name: pooling.read_by(getattr(pooling, name)) for name in pooling.__all__ if name[0] in "ams"} == {
        "attention_weighted": {"attention"},
        "max": set(),
        "mean": set(),
        "mean_content": set(),
        "mean_skip_first": set(),
        "span": {"span"},
    }


def test_what_cannot_be_called_with_states_and_tokens_is_refused():
    with pytest.raises(ConfigError, match=r"^pooling: expected a function of hidden states and tokens "):
        pooling.require_pooling(lambda hidden: hidden, "pooling")
