import pytest
import torch
from conftest import ARCHITECTURES, TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from layeratlas import pooling
from layeratlas.batching import Batching
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.forward import extract
from layeratlas.models.language_model import LanguageModel

POOLINGS = {"last": pooling.last, "mean": pooling.mean}
BY_HAND = {"last": lambda hidden: hidden[-1], "mean": lambda hidden: hidden.mean(0)}
SIXTEEN = TEXTS + [f"{text[: 7 * i]} {i}?" for i, text in enumerate(TEXTS, 1)]
PROBLEM = r"tiny-llama, block_2, pooling last: "


def vectors(model: LanguageModel, texts: list[str], size: int = 4) -> dict[str, dict[str, Tensor]]:
    return extract(model, texts, POOLINGS, Batching(size, 4096), lambda n, tokens: None)[0]


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Each row within 1e-4 of its own length."""
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert found.shape == expected.shape
    assert error.max() < 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_do_not_depend_on_the_batch_size(load, architecture):
    model = load(architecture)
    alone, together = vectors(model, SIXTEEN, 1), vectors(model, SIXTEEN, 16)
    assert list(alone) == list(together) == ["last", "mean"]
    for name in POOLINGS:
        assert list(alone[name]) == list(together[name]) == model.layers
        for layer in model.layers:
            assert_close(together[name][layer], alone[name][layer])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_are_those_of_each_text_alone_pooled_by_hand(load, checkpoint_folder, architecture):
    folder = checkpoint_folder(architecture)
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
    found = vectors(load(architecture), TEXTS)
    for i, text in enumerate(TEXTS):
        with torch.inference_mode():
            output = network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        # mamba's hidden states begin after its first block
        expected = {"block_2": output.hidden_states[1 if architecture == "mamba" else 2][0]}
        expected["block_3" if architecture == "bert" else "final_norm"] = output.last_hidden_state[0]
        for name, pool in BY_HAND.items():
            for layer, hidden in expected.items():
                assert_close(found[name][layer][i : i + 1], pool(hidden)[None])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_vectors_are_kept_in_float32_whatever_the_network_computes_in(load, dtype):
    kept = vectors(load(dtype=dtype), TEXTS)
    assert {v.dtype for layers in kept.values() for v in layers.values()} == {torch.float32}


def test_progress_is_told_in_texts_and_tokens(load):
    told: list[tuple[int, int]] = []
    items = extract(load(), TEXTS, POOLINGS, Batching(3, 4096), lambda n, tokens: told.append((n, tokens)))[1]
    assert [n for n, _ in told] == [3, 3, 2]
    assert sum(tokens for _, tokens in told) == items["tokens"].sum() == sum(len(text) + 1 for text in TEXTS)


def test_a_text_that_makes_a_layer_nan_is_named(load):
    model = load()
    spoil_embedding(model, "Z", torch.nan)
    with pytest.raises(
        ActivationError, match=r"^tiny-llama, embed, pooling last: NaN or infinite at the text 'A jazZ'.*dtype=float32"
    ):
        vectors(model, [*TEXTS, "A jazZ"])


def test_a_text_that_makes_a_mean_infinite_is_named(load):
    model = load()
    spoil_embedding(model, "Z", torch.inf)
    with pytest.raises(ActivationError, match=r"^tiny-llama, embed, pooling mean: NaN or infinite at the text 'Zebra crossing'"):
        extract(model, [*TEXTS, "Zebra crossing"], {"mean": pooling.mean}, Batching(4, 4096), lambda n, tokens: None)


def test_a_block_that_is_nan_is_named(load):
    model = load()
    replace_output(model, lambda hidden: hidden * torch.nan)
    with pytest.raises(ActivationError, match=PROBLEM + "NaN or infinite at the text 'A ship left the harbour before dawn.'"):
        vectors(model, TEXTS)


def test_a_text_that_makes_a_layer_zero_is_named(load):
    model = load()
    spoil_embedding(model, "Z", 0.0)
    with pytest.raises(ActivationError, match=r"^tiny-llama, embed, pooling last: all zero at the text 'A jazZ'$"):
        vectors(model, [*TEXTS, "A jazZ"])


def test_a_long_text_is_named_by_its_beginning(load):
    model = load()
    replace_output(model, torch.zeros_like)
    with pytest.raises(ActivationError, match=PROBLEM + f"all zero at the text '{'x' * 60}'$"):
        vectors(model, ["x" * 100, "y"])


def test_a_block_that_gives_every_text_the_same_vector_is_named(load):
    model = load()
    replace_output(model, torch.ones_like)
    with pytest.raises(ActivationError, match=PROBLEM + "the same vector for 8 texts$"):
        vectors(model, TEXTS)


def test_equal_texts_may_have_equal_vectors(load):
    kept = vectors(load(), ["again", "again"])["last"]["block_2"]
    assert_close(kept[:1], kept[1:])


def test_texts_that_end_in_the_same_token_may_share_their_embedding(load):
    kept = vectors(load(), ["One.", "Two."])["last"]
    assert torch.equal(kept["embed"][0], kept["embed"][1])
    assert not torch.equal(kept["block_1"][0], kept["block_1"][1])


def test_a_block_that_changes_nothing_is_named(load):
    model = load()
    block = model.blocks[1]
    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
    with pytest.raises(ActivationError, match=PROBLEM + "identical to the layer before it$"):
        vectors(model, TEXTS)


def spoil_embedding(model: LanguageModel, letter: str, value: float) -> None:
    with torch.no_grad():
        model.network.get_input_embeddings().weight[model.encoder.tokenizer.convert_tokens_to_ids(letter)] = value


def replace_output(model: LanguageModel, change) -> None:
    model.blocks[1].register_forward_hook(lambda module, args, output: change(output))


BATCHING = {
    "lengths": st.lists(st.integers(1, 40), max_size=30),
    "size": st.integers(1, 6),
    "tokens": st.integers(1, 100),
}


@given(**BATCHING)
@settings(deadline=None, derandomize=True)
def test_every_text_is_in_one_batch(lengths, size, tokens):
    batches = list(Batching(size, tokens).batches(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batches)


@given(**BATCHING)
@settings(deadline=None, derandomize=True)
def test_a_batch_keeps_its_limits_unless_a_text_alone_exceeds_them(lengths, size, tokens):
    for batch in Batching(size, tokens).batches(lengths):
        assert len(batch) <= size
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens


@given(**BATCHING)
@settings(deadline=None, derandomize=True)
def test_longer_texts_come_first_and_equal_ones_in_their_order(lengths, size, tokens):
    order = [i for batch in Batching(size, tokens).batches(lengths) for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


@given(**BATCHING)
@settings(deadline=None, derandomize=True)
def test_no_batch_had_room_for_the_next_text(lengths, size, tokens):
    batches = list(Batching(size, tokens).batches(lengths))
    for batch in batches[:-1]:
        assert len(batch) == size or (len(batch) + 1) * lengths[batch[0]] > tokens


@pytest.mark.parametrize(("size", "tokens"), [(0, 5), (5, 0), (-1, 5), (5, -1)])
def test_a_batch_of_nothing_is_refused(size, tokens):
    with pytest.raises(ConfigError, match=f"batch_size and batch_tokens must be positive; got {size} and {tokens}"):
        Batching(size, tokens)
