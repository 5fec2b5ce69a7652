import logging
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import ARCHITECTURES, TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from layeratlas.arrays import Tokens
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.extraction import forward, pooling
from layeratlas.extraction.batching import Batching, longest_first
from layeratlas.extraction.forward import Texts, extract, token_table
from layeratlas.models.language_model import LanguageModel

POOLINGS = {"last": pooling.last, "mean": pooling.mean}
BY_HAND = {"last": lambda hidden: hidden[-1], "mean": lambda hidden: hidden.mean(0)}
SIXTEEN = TEXTS + [f"{text[: 7 * i]} {i}?" for i, text in enumerate(TEXTS, 1)]
PROBLEM = r"tiny-llama, block_2, pooling last: "


def ignore(texts: int, tokens: int) -> None:
    pass


def read(model: LanguageModel, texts: list[str]) -> Texts:
    return Texts(texts, model.encoder.encode(texts))


def vectors(model: LanguageModel, texts: list[str], size: int = 4, **poolings: Callable) -> dict[str, dict[str, Tensor]]:
    return extract(model, read(model, texts), poolings or POOLINGS, Batching(size, 4096), ignore).pooled


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Each row within the tolerance of its own length."""
    assert found.shape == expected.shape
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() < tolerance


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_do_not_depend_on_the_batch_size(load, architecture):
    model = load(architecture)
    alone, together = vectors(model, SIXTEEN, 1), vectors(model, SIXTEEN, 16)
    assert list(alone) == list(together) == ["last", "mean"]
    for name in POOLINGS:
        assert list(alone[name]) == list(together[name]) == model.layers
        for layer in model.layers:
            assert_close(together[name][layer], alone[name][layer])


@pytest.mark.parametrize("architecture", ["gpt2", "llama"], ids=["absolute positions", "rotary positions"])
@pytest.mark.parametrize("name", sorted(set(pooling.__all__) - {"attention_weighted", "span", "first"}))
def test_a_tokenizer_that_pads_on_the_left_gives_the_same_numbers(load, architecture, name):
    """Texts keep their positions, as batches are padded by us."""
    model = load(architecture)
    expected = vectors(model, SIXTEEN, 8, pooled=getattr(pooling, name))
    assert model.encoder.tokenizer.padding_side == "right"
    model.encoder.tokenizer.padding_side = "left"
    found = vectors(model, SIXTEEN, 8, pooled=getattr(pooling, name))
    assert all(torch.equal(found["pooled"][layer], expected["pooled"][layer]) for layer in model.layers)


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
    model = load()
    extract(model, read(model, TEXTS), POOLINGS, Batching(3, 4096), lambda n, tokens: told.append((n, tokens)))
    assert [n for n, _ in told] == [3, 3, 2]
    assert sum(tokens for _, tokens in told) == sum(len(text) + 1 for text in TEXTS)


def test_a_text_that_makes_a_layer_nan_is_named(load):
    model = load()
    spoil_embedding(model, "Z", torch.nan)
    with pytest.raises(
        ActivationError,
        match=r"^tiny-llama, embed, pooling last: NaN or infinite at the text 'A jazZ' in float32; look at the weights$",
    ):
        vectors(model, [*TEXTS, "A jazZ"])


def test_a_text_that_overflows_float16_is_a_mistake_of_the_config_and_names_the_dtype(load):
    model = load(dtype="float16")
    spoil_embedding(model, "Z", torch.inf)
    expected = (
        r"^tiny-llama, embed, pooling last: NaN or infinite at the text 'A jazZ' in float16;"
        r" its numbers end at 65504: set dtype to bfloat16 or float32$"
    )
    with pytest.raises(ConfigError, match=expected):
        vectors(model, [*TEXTS, "A jazZ"])


def test_a_text_that_makes_a_mean_infinite_is_named(load):
    model = load()
    spoil_embedding(model, "Z", torch.inf)
    with pytest.raises(ActivationError, match=r"^tiny-llama, embed, pooling mean: NaN or infinite at the text 'Zebra crossing'"):
        vectors(model, [*TEXTS, "Zebra crossing"], mean=pooling.mean)


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


def test_padding_that_is_nan_is_not_hidden_by_a_mean(load):
    model = load()
    replace_output(model, lambda hidden: torch.where((hidden == hidden[:, -1:]).all(-1, keepdim=True), torch.nan, hidden))
    with pytest.raises(ActivationError, match=r"^tiny-llama, block_2, pooling mean: NaN or infinite at the text "):
        vectors(model, ["Long enough to pad.", "Short."], mean=pooling.mean)


@pytest.mark.parametrize(
    ("name", "text"),
    [("span", "Why do rivers bend?"), ("last_content", "?! ..."), ("mean_skip_first", "a")],
)
def test_a_text_without_a_token_to_pool_is_named_before_anything_is_computed(load, monkeypatch, name, text):
    model = load("gpt_neox")  # which has no BOS
    monkeypatch.setattr(LanguageModel, "forward", lambda *args, **options: pytest.fail("a forward pass was made"))
    with pytest.raises(ConfigError, match=rf"^pooling={name}: no token to pool in the text '{re.escape(text)}'$"):
        vectors(model, [text], last=pooling.last, **{name: getattr(pooling, name)})


def test_of_several_texts_the_one_without_a_span_is_named(load):
    model = load()
    texts = Texts(["One two", "Three four"], model.encoder.encode(["One two", "Three four"], [(0, 3), (0, 0)]))
    with pytest.raises(ConfigError, match=r"^pooling=span: no token to pool in the text 'Three four'$"):
        extract(model, texts, {"span": pooling.span}, Batching(4, 4096), ignore)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
def test_a_marked_span_is_pooled_from_its_own_tokens_of_the_whole_text(load, architecture):
    model = load(architecture)
    texts = ["The old lamp broke.", "Rivers bend"]
    spans = [(4, 12), (0, 6)]
    found = extract(model, Texts(texts, model.encoder.encode(texts, spans)), {"span": pooling.span}, Batching(2, 4096), ignore)
    for row, (text, (start, end)) in enumerate(zip(texts, spans, strict=True)):
        states = states_of(model, text)
        for layer, hidden in states.items():
            assert_close(found.pooled["span"][layer][row][None], hidden[1 + start : 1 + end].mean(0)[None])


def states_of(model: LanguageModel, text: str) -> dict[str, Tensor]:
    """Hidden states of a text alone at every layer, (t, d)."""
    heard: dict[str, Tensor] = {}
    encoding = model.encoder.encode([text])[0]
    tokens = alone(encoding.ids)
    model.forward(tokens, lambda layer, hidden, attention: heard.__setitem__(layer, hidden[0].clone()))
    return heard


def alone(ids: list[int]) -> Tokens:
    mask = torch.ones(1, len(ids), dtype=torch.bool)
    return Tokens(ids=torch.tensor([ids]), mask=mask, special=~mask, punctuation=~mask, span=~mask)


def test_all_poolings_in_one_pass_are_those_of_passes_of_their_own(load):
    model = load(attention=True)
    # the first token of each text is the same one, so `first` is refused as constant
    every = {name: getattr(pooling, name) for name in pooling.__all__ if name != "first"}
    texts = Texts(TEXTS, model.encoder.encode(TEXTS, [(0, 3)] * len(TEXTS)))
    passes = 0

    def count(*args: object) -> None:
        nonlocal passes
        passes += 1

    model.network.register_forward_hook(count)
    together = extract(model, texts, every, Batching(8, 4096), ignore).pooled
    assert passes == 1
    for name, pool in every.items():
        alone = extract(model, texts, {name: pool}, Batching(8, 4096), ignore).pooled[name]
        assert list(together[name]) == list(alone) == model.layers
        assert all(torch.equal(together[name][layer], alone[layer]) for layer in alone)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "bert"])
def test_pooling_by_attention_weighs_by_what_transformers_reports(load, checkpoint_folder, architecture):
    folder = checkpoint_folder(architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = load(architecture, attention=True)
    found = vectors(model, TEXTS, 8, attention_weighted=pooling.attention_weighted)["attention_weighted"]
    weights_of = {"embed": 0, "block_1": 0, "block_2": 1, "block_3": 2, "final_norm": 2}
    for i, text in enumerate(TEXTS):
        with torch.inference_mode():
            attentions = network(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions
        for layer, hidden in states_of(model, text).items():
            received = attentions[weights_of[layer]][0].mean(dim=(0, 1))  # over heads and queries; a row of weights sums to 1
            assert_close(found[layer][i][None], (received @ hidden)[None], 1e-5)


def test_the_first_token_of_a_decoder_with_bos_is_refused_as_the_same_for_all_texts(load):
    with pytest.raises(ActivationError, match=r"^tiny-llama, block_1, pooling first: the same vector for 8 texts$"):
        vectors(load(), TEXTS, first=pooling.first)


def test_the_first_token_of_an_encoder_has_read_its_text(load):
    model = load("bert")
    found = vectors(model, TEXTS, first=pooling.first)["first"]
    for i, text in enumerate(TEXTS):
        assert_close(found["block_3"][i][None], states_of(model, text)["block_3"][:1])


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_pooling_by_attention_is_not_the_mean(load, architecture):
    kept = vectors(load(architecture, attention=True), TEXTS, mean=pooling.mean, by=pooling.attention_weighted)
    for layer in kept["mean"]:
        assert ((kept["by"][layer] - kept["mean"][layer]).norm(dim=1) > 1e-4 * kept["mean"][layer].norm(dim=1)).all()


def test_a_model_without_attention_cannot_be_pooled_by_it(load):
    expected = r"^pooling attention_weighted: tiny-mamba has no attention weights; choose another pooling$"
    with pytest.raises(ConfigError, match=expected):
        load("mamba", attention=True)


def test_the_table_of_tokens_by_hand(load):
    model = load(max_length=8)
    table = token_table(model.encoder, read(model, ["Hi.", "A ship left", "na\u00efve \u00e9", "seven c"]))
    assert table["tokens"].tolist() == [4, 8, 8, 8]
    assert table["text_tokens"].tolist() == [3, 7, 7, 7]
    assert table["bytes"].tolist() == [3, 11, 9, 7]
    assert table["characters"].tolist() == [3, 11, 7, 7]
    assert table["read_characters"].tolist() == table["scored_characters"].tolist() == [3, 7, 6, 7]
    assert table["scored_bytes"].tolist() == [3, 7, 7, 7]
    assert table["fertility"].tolist() == pytest.approx([1, 1, 7 / 6, 1])
    assert table["truncated"].tolist() == [False, True, True, False]
    assert table["first_token_id"].isna().all()
    assert table["last_token"].tolist() == [".", " ", " ", "c"]
    assert table["last_content_token"].tolist() == ["i", "p", "e", "c"]
    for place in ("last", "last_content"):
        assert model.encoder.tokenizer.decode(table[f"{place}_token_id"].tolist()) == "".join(table[f"{place}_token"])
    read_again = [model.encoder.tokenizer.convert_ids_to_tokens(ids) for ids in table["content_ids"]]
    assert [set(tokens) for tokens in read_again] == [set("Hi"), set("Aship"), {*"nave", "\u00c3", "\u00af"}, set("sevnc")]
    for count in ("unknown_tokens", "named_controls", "controls"):
        assert table[count].tolist() == [0, 0, 0, 0]


def test_a_first_token_of_the_texts_own_is_in_the_table(load):
    model = load("gpt_neox")
    table = token_table(model.encoder, read(model, ["Hi.", "..."]))
    assert table["first_token"].tolist() == ["H", "."]
    assert table["last_content_token"].tolist() == ["i", pd.NA]
    assert table["last_content_token_id"].isna().tolist() == [False, True]


def test_tokens_that_the_tokenizer_does_not_know_are_counted(load):
    model = load()
    model.encoder.tokenizer.unk_token = "<pad>"
    encoding = replace(model.encoder.encode(["abc"])[0], ids=[256, 258, 1, 258])
    assert token_table(model.encoder, Texts(["abc"], [encoding]))["unknown_tokens"].tolist() == [2]


# --- what does not fit into memory ------------------------------------------------------------------------------------------


EXHAUSTED = {
    "of a GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "of Python": lambda: MemoryError(),
    "of torch on a CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "of torch on Windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "of Apple's GPU": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, max allowed: 9 GB)."),
}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Make every forward pass of more than so many tokens, padding included, fail; returns the shapes that were tried."""
    original = LanguageModel.forward

    def limit(tokens_that_fit: int, error: Callable[[], BaseException]) -> list[tuple[int, int]]:
        tried: list[tuple[int, int]] = []

        def forward(self, tokens, *rest, **options):
            tried.append(tuple(tokens.ids.shape))
            output = original(self, tokens, *rest, **options)  # half of the layers may have been heard already
            if tokens.ids.numel() > tokens_that_fit:
                raise error()
            return output

        monkeypatch.setattr(LanguageModel, "forward", forward)
        return tried

    return limit


@pytest.mark.parametrize("kind", EXHAUSTED)
def test_batches_that_do_not_fit_into_memory_are_halved_and_give_the_same_vectors(load, sizes, caplog, kind):
    model = load()
    expected = vectors(model, SIXTEEN, 16)
    tried = sizes(200, EXHAUSTED[kind])
    batching, told = Batching(16, 4096), []
    with caplog.at_level(logging.WARNING, "layeratlas"):
        found = extract(model, read(model, SIXTEEN), POOLINGS, batching, lambda n, tokens: told.append(n)).pooled
    for name in POOLINGS:
        for layer in model.layers:
            assert_close(found[name][layer], expected[name][layer], 1e-5)
    assert sum(told) == 16
    longest = max(len(text) + 1 for text in SIXTEEN)
    assert tried[:4] == [(16, longest), (8, longest), (4, longest), (2, longest)]
    assert sum(n * width > 200 for n, width in tried) == 3
    assert batching.tokens == 4 * longest // 2
    assert [record.getMessage() for record in caplog.records] == [
        f"extract: {n} texts of {longest} tokens do not fit into memory; going on with {n * longest // 2} tokens"
        for n in (16, 8, 4)
    ]


def test_a_lowered_budget_is_remembered_for_the_next_texts(load, sizes):
    model, batching = load(), Batching(16, 4096)
    tried = sizes(200, EXHAUSTED["of a GPU"])
    extract(model, read(model, SIXTEEN), POOLINGS, batching, ignore)
    tried.clear()
    extract(model, read(model, SIXTEEN), POOLINGS, batching, ignore)
    assert all(n * width <= 200 for n, width in tried)
    assert sum(n for n, _ in tried) == 16


def test_a_single_text_that_does_not_fit_into_memory_is_one_clear_line(load, sizes):
    model = load()
    sizes(20, EXHAUSTED["of a GPU"])
    longest = max(len(text) + 1 for text in TEXTS)
    expected = rf"^dataset.max_length: one text of {longest} tokens does not fit into memory; lower it, or choose a smaller dtype$"
    with pytest.raises(ConfigError, match=expected):
        vectors(model, TEXTS, 8)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ActivationError("x"), KeyError("x")])
def test_another_error_of_a_forward_pass_passes_through_at_once(load, sizes, error):
    model, batching = load(), Batching(8, 4096)

    def given() -> BaseException:
        return error

    tried = sizes(20, given)
    with pytest.raises(type(error)) as raised:
        extract(model, read(model, TEXTS), POOLINGS, batching, ignore)
    assert raised.value is error
    assert len(tried) == 1
    assert batching == Batching(8, 4096)


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


@given(**BATCHING, data=st.data())
@settings(deadline=None, derandomize=True)
def test_a_batch_that_is_taken_back_is_given_again_in_parts(lengths, size, tokens, data):
    batching = Batching(size, tokens)
    order = rest = longest_first(lengths)
    kept: list[int] = []
    while rest:
        batch = batching.next_batch(rest, lengths)
        if len(batch) > 1 and data.draw(st.booleans()):
            batching.halve(len(batch), lengths[batch[0]])
            assert batching.next_batch(rest, lengths) == batch[: len(batch) // 2]
            continue
        kept.extend(batch)
        rest = rest[len(batch) :]
    assert kept == order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


@given(n=st.integers(1, 50), longest=st.integers(1, 50))
@settings(deadline=None, derandomize=True)
def test_after_halving_at_most_half_as_many_of_such_texts_share_a_batch(n, longest):
    batching = Batching(50, 4096)
    batching.halve(n, longest)
    largest = max(len(batch) for batch in batching.batches([longest] * n))
    assert largest == max(1, n // 2)


def test_memory_is_given_back_once_more_is_kept_than_the_first_batch_left(monkeypatch):
    trimmed = []
    freed = forward._FreedMemory()
    monkeypatch.setattr(freed, "_library", SimpleNamespace(malloc_trim=trimmed.append))
    for resident, times in ((500e6, 0), (300e6, 0), (302e6, 0), (310e6, 1), (300e6, 1)):
        monkeypatch.setattr(freed, "_process", SimpleNamespace(memory_info=lambda r=resident: SimpleNamespace(rss=r)))
        freed.after_batch()
        assert len(trimmed) == times
