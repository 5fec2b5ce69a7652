import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from conftest import TEXTS, byte_tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from layeratlas.arrays import Tokens
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.extraction import pooling
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.forward import ForwardPass, Texts, extract
from layeratlas.models import Checkpoint, Needs
from layeratlas.models import head as head_module
from layeratlas.models.head import Head, head_of
from layeratlas.models.language_model import LanguageModel

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
}
# architectures that do something to their logits, with so large an effect that leaving it out would show
ADJUSTED: dict[str, Callable[[], PreTrainedModel]] = {
    "a soft cap": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.5, initializer_range=0.4)
    ),
    "a factor": lambda: transformers.CohereForCausalLM(transformers.CohereConfig(**SIZES, logit_scale=7.0)),
    "a divisor": lambda: transformers.GraniteForCausalLM(transformers.GraniteConfig(**SIZES, logits_scaling=0.1)),
}


def scored(model: LanguageModel, texts: list[str], size: int = 8) -> ForwardPass:
    read = Texts(texts, model.encoder.encode(texts))
    return extract(model, read, {"last": pooling.last}, Batching(size, 4096), lambda n, tokens: None)


def own_loss(network: PreTrainedModel, model: LanguageModel, text: str) -> tuple[float, int]:
    """Summed loss of a text alone by the network's own reckoning, without special tokens as targets, and their number."""
    encoding = model.encoder.encode([text])[0]
    ids = torch.tensor([encoding.ids])
    labels = ids.masked_fill(torch.tensor([encoding.special]), -100)
    with torch.inference_mode():
        mean = network(input_ids=ids, labels=labels).loss
    n = int((labels[0, 1:] != -100).sum())
    return float(mean) * n, n


def assert_own_losses(found: ForwardPass, folder: str, model: LanguageModel, texts: list[str]) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert found.nll is not None
    for text, row in zip(texts, found.nll.itertuples(), strict=True):
        total, n = own_loss(network, model, text)
        assert row.nll_tokens == n
        assert row.nll == pytest.approx(total, rel=1e-5)
        assert row.nll_per_token == pytest.approx(total / n, rel=1e-5)
        assert row.nll_per_byte == pytest.approx(total / n, rel=1e-5)  # a token is a byte
        assert row.nll_per_character == pytest.approx(total / (n - len(text.encode()) + len(text)), rel=1e-5)


@pytest.fixture
def adjusted(tmp_path: Path) -> Callable[[str], Checkpoint]:
    def saved(kind: str) -> Checkpoint:
        torch.manual_seed(1)
        ADJUSTED[kind]().save_pretrained(tmp_path / "saved")
        byte_tokenizer(bos=True).save_pretrained(tmp_path / "saved")
        return Checkpoint(id=str(tmp_path / "saved"), dtype="float32")

    return saved


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "mamba"])
def test_likelihoods_are_the_networks_own_loss_on_each_text_alone(load, checkpoint_folder, architecture):
    model = load(architecture, nll=True)
    texts = [*TEXTS, "naïve é, नदी"]
    assert_own_losses(scored(model, texts), str(checkpoint_folder(architecture)), model, texts)


@pytest.mark.parametrize("kind", ADJUSTED)
def test_what_an_architecture_does_to_its_logits_is_done(adjusted, store, kind):
    checkpoint = adjusted(kind)
    model = checkpoint.load(store, CPU, Needs(64, nll=True))
    found = scored(model, TEXTS)
    texts_that_fit = [text for text in TEXTS if len(text) < 64]
    assert len(texts_that_fit) == 6
    kept = replace(found, nll=found.nll[[len(text) < 64 for text in TEXTS]])
    assert_own_losses(kept, checkpoint.id, model, texts_that_fit)
    plain = replace(model, head=replace(model.head, adjust=lambda logits: logits))
    assert ((scored(plain, TEXTS).nll["nll"] / found.nll["nll"] - 1).abs() > 0.01).all()


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_likelihoods_do_not_depend_on_the_batch_size(load, architecture):
    model = load(architecture, nll=True)
    alone, together = scored(model, TEXTS, 1).nll, scored(model, TEXTS, 8).nll
    assert together["nll"].tolist() == pytest.approx(alone["nll"].tolist(), rel=1e-5)
    assert together["nll_tokens"].tolist() == alone["nll_tokens"].tolist()


def test_asking_for_likelihoods_does_not_change_the_vectors(load):
    with_head, without = scored(load(nll=True), TEXTS), scored(load(), TEXTS)
    assert without.nll is None
    for layer, vectors in without.pooled["last"].items():
        assert torch.equal(with_head.pooled["last"][layer], vectors)


def test_a_uniform_head_is_as_surprised_by_every_token(load):
    model = load(nll=True)
    uniform = replace(model, head=replace(model.head, adjust=lambda logits: logits * 0))
    table = scored(uniform, TEXTS).nll
    assert table["nll_per_token"].tolist() == pytest.approx([math.log(260)] * len(TEXTS), rel=1e-5)


def test_the_first_token_of_a_text_is_scored_where_a_bos_stands_before_it(load):
    with_bos, without = load("llama", nll=True), load("gpt_neox", nll=True)
    assert scored(with_bos, ["abc", "a"]).nll["nll_tokens"].tolist() == [3, 1]
    assert scored(without, ["abc", "ab"]).nll["nll_tokens"].tolist() == [2, 1]


def test_a_text_of_one_token_without_a_bos_has_none_to_score(load):
    with pytest.raises(ActivationError, match=r"^extract\.nll=true: the text 'a' has no token to score$"):
        scored(load("gpt_neox", nll=True), ["abc", "a"])


def test_special_tokens_are_context_and_no_target(load):
    model = load(nll=True)
    hidden, tokens = hidden_states(b=1, t=4)
    tokens = replace(tokens, special=torch.tensor([[True, False, True, False]]))
    total, n = model.head.nll(hidden, tokens)
    logits = model.head.adjust(model.head.project(hidden))[0]
    by_hand = -logits.log_softmax(-1)[[0, 2], tokens.ids[0, [1, 3]]].sum()
    assert n.tolist() == [2]
    torch.testing.assert_close(total[0], by_hand.detach())


def test_the_words_of_a_chat_template_are_no_target(checkpoint_folder, tmp_path, store):
    import shutil

    folder = shutil.copytree(checkpoint_folder("llama"), tmp_path / "chat")
    (folder / "chat_template.jinja").write_text("{{ bos_token }}[user] {{ messages[0]['content'] }}\n[assistant]")
    model = Checkpoint(id=str(folder), dtype="float32", chat_template=True).load(store, CPU, Needs(64, nll=True))
    assert scored(model, ["abc", "four words in here"]).nll["nll_tokens"].tolist() == [3, 18]


# --- slices -----------------------------------------------------------------------------------------------------------------


def hidden_states(b: int, t: int, d: int = 32, vocabulary: int = 260) -> tuple[Tensor, Tokens]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(b, t, dtype=torch.bool)
    ids = torch.randint(0, vocabulary, (b, t), generator=generator)
    return torch.randn(b, t, d, generator=generator), Tokens(ids=ids, mask=mask, special=~mask, punctuation=~mask, span=~mask)


@pytest.mark.parametrize("logits", [1, 260, 261, 1000, 12_345])
def test_slices_of_any_size_give_the_same_likelihoods(load, monkeypatch, logits):
    model = load(nll=True)
    whole = scored(model, TEXTS).nll
    monkeypatch.setattr(head_module, "_LOGITS", logits)
    sliced = scored(model, TEXTS).nll
    assert sliced["nll"].tolist() == pytest.approx(whole["nll"].tolist(), rel=1e-5)


@pytest.mark.parametrize("logits", [1, 260, 1000, 12_345])
def test_no_more_logits_than_allowed_are_ever_alive(load, monkeypatch, logits):
    made: list[int] = []
    model = load(nll=True)
    project = model.head.project

    def counting(states: Tensor) -> Tensor:
        made.append(project(states).numel())
        return project(states)

    monkeypatch.setattr(head_module, "_LOGITS", logits)
    scored(replace(model, head=replace(model.head, project=counting)), TEXTS)
    tokens = sum(len(text) for text in TEXTS)
    assert max(made) <= max(logits, 260)
    assert sum(made) == 260 * tokens
    assert len(made) == math.ceil(tokens / max(1, logits // 260))


def peak_bytes(work: Callable[[], object]) -> int:
    """Largest number of bytes that torch held at once during the work, beyond those it held before."""
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("vocabulary", [2_000, 20_000])
def test_peak_memory_does_not_grow_with_vocabulary_times_tokens(monkeypatch, vocabulary):
    monkeypatch.setattr(head_module, "_LOGITS", 100_000)
    head = Head(nn.Linear(8, vocabulary), vocabulary, lambda logits: logits)
    few, many = (hidden_states(2, t, 8, vocabulary) for t in (100, 1000))
    head.nll(*few)
    peaks = [peak_bytes(lambda given=given: head.nll(*given)) for given in (few, many)]
    logits = 4 * 100_000
    assert logits <= peaks[0] < 4 * logits
    assert peaks[1] - peaks[0] < 4 * 2 * 900 * (
        8 + 8
    )  # the states and targets themselves; the logits of 1800 more are 14 MB or more


# --- refusals ---------------------------------------------------------------------------------------------------------------


def test_an_encoder_that_reads_both_ways_has_no_likelihoods(load):
    expected = r"^extract\.nll=true: tiny-bert reads both ways, so the likelihood of a text is not defined$"
    with pytest.raises(ConfigError, match=expected):
        load("bert", nll=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_encoder_is_told_apart_from_rounding_in_every_number_format(tmp_path, store, dtype):
    """Weights as large as this make a token depend on those after it as much as in a trained encoder."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, initializer_range=0.2)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    byte_tokenizer(bos=True, eos=True).save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"^extract\.nll=true: bert reads both ways"):
        Checkpoint(id=str(tmp_path / "bert"), dtype=dtype).load(store, CPU, Needs(64, nll=True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mamba"])
def test_a_decoder_in_half_precision_is_not_taken_for_an_encoder(load, architecture, dtype):
    table = scored(load(architecture, nll=True, dtype=dtype), TEXTS).nll
    single = scored(load(architecture, nll=True), TEXTS).nll
    assert table["nll"].tolist() == pytest.approx(single["nll"].tolist(), rel=1e-2)


def test_an_encoder_decoder_has_no_likelihoods(tmp_path, store):
    sizes = {"vocab_size": 260, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, pad_token_id=258)).save_pretrained(tmp_path / "t5")
    byte_tokenizer(bos=True).save_pretrained(tmp_path / "t5")
    with pytest.raises(ConfigError, match=r"^(model \S+t5|extract\.nll=true): .*T5") as raised:
        Checkpoint(id=str(tmp_path / "t5"), dtype="float32").load(store, CPU, Needs(64, nll=True))
    assert len(str(raised.value)) < 300


def test_a_network_without_a_head_is_refused(load):
    with pytest.raises(ConfigError, match=r"^extract\.nll=true: LlamaModel has no language-model head$"):
        head_of(load().network)


def test_a_head_that_does_not_give_the_networks_own_likelihoods_is_refused(load, monkeypatch):
    monkeypatch.setattr(head_module, "_adjustment", lambda config: lambda logits: 30 * logits)
    expected = r"^tiny-llama: likelihoods \d+\.\d{4}, by its own head \d+\.\d{4}; not supported$"
    with pytest.raises(ActivationError, match=expected):
        load(nll=True)


@pytest.mark.parametrize(("architecture", "unscored"), [("llama", 0), ("gpt_neox", 1)])
def test_a_likelihood_is_divided_by_the_bytes_and_characters_that_were_scored(load, architecture, unscored):
    """Without a BOS the first byte has no likelihood; of a text that was cut, what was cut off has none."""
    model = load(architecture, nll=True, max_length=12)
    texts = ["Stop!", "A ship left the harbour before dawn.", "नदी", "नदियाँ मुड़ती हैं।"]
    table = scored(model, texts).nll
    assert table is not None
    read = 12 if unscored else 11
    n_bytes = [5 - unscored, read - unscored, 9 - unscored, read - unscored]
    # A character of three bytes counts for each of them by a third.
    characters = [5 - unscored, read - unscored, 3 - unscored / 3, read / 3 - unscored / 3]
    assert (table["nll"] / table["nll_per_byte"]).tolist() == pytest.approx(n_bytes)
    assert (table["nll"] / table["nll_per_character"]).tolist() == pytest.approx(characters)
    assert table["nll_tokens"].tolist() == n_bytes
