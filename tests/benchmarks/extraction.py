"""How fast extraction is, as ratios measured side by side in one process.

    uv run tests/benchmarks/extraction.py hooks        against the bare forward pass on the same batches
    uv run tests/benchmarks/extraction.py one_by_one   against a causal LM, one text at a time, all hidden states returned
    uv run tests/benchmarks/extraction.py likelihood   with likelihoods, against one pass per layer and per statement
    uv run tests/benchmarks/extraction.py edited       with the residual stream edited, against the model as it is

Contestants take turns; the best of several rounds counts, as other programs can only make a round slower.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import platformdirs
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import Figures, measure
from omegaconf import OmegaConf
from race import race
from transformers import AutoModelForCausalLM, AutoTokenizer

from layeratlas.corpora import Language, Speeches, draw
from layeratlas.extraction import forward, pooling
from layeratlas.extraction.activations import Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.forward import Texts, extract, extract_batch, unchecked
from layeratlas.files.store import Store
from layeratlas.models import BundledCheckpoint, Needs
from layeratlas.models.editing import Edit, Editing
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.settings import Size
from layeratlas.models.tokenization import Encoding, collate

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = {"smollm2": "smollm2-135m-instruct", "gemma": "gemma3-270m"}
POOLINGS = {"last": pooling.last, "mean": pooling.mean}
BATCHING = Batching(16, 4096)
CPU = torch.device("cpu")
STORE = Store(Path(os.environ.get("LAYERATLAS_STORE", platformdirs.user_cache_dir("layeratlas"))))


def bundled(name: str) -> BundledCheckpoint:
    os.environ.setdefault("LAYERATLAS_STORE", str(STORE.root))
    os.environ.setdefault("LAYERATLAS_RUN_ID", "benchmark")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("config", [f"model@model_a={name}"]).model_a, _convert_="all")


def speeches(n: int, **words: int) -> list[str]:
    corpus = Speeches(n=n, max_length=512, since=1946, **({"min_words": 20, "max_words": 120} | words))
    english = Language(**OmegaConf.load(CONF / "language" / "en.yaml"))  # type: ignore[arg-type]
    return draw(corpus, english, english, 0).sides["a"].texts


def hooks() -> Figures:
    """Batch by batch in turns, best of several; what is done once per shard, without the forward pass, is added to ours."""
    figures = {"ratios": {}, "poolings": {}, "once_per_shard": {}, "seconds": {}}
    for short, name in MODELS.items():
        texts = speeches(256)  # a shard: what shares batches by length
        config = bundled(name)
        model = config.load(STORE, CPU, Needs(512))
        encoded = Texts(texts, model.encoder.encode(texts))
        bare = ours = pooling_only = 0.0
        for batch in BATCHING.batches(encoded.lengths):
            encodings, spent = [encoded.encodings[i] for i in batch], []
            timed_poolings = {key: timed(pool, spent) for key, pool in POOLINGS.items()}
            best = race({"bare": partial(bare_pass, model, encodings), "ours": partial(our_pass, model, encodings)}, 2)
            extract_batch(model, encodings, timed_poolings)
            bare, ours, pooling_only = bare + best["bare"], ours + best["ours"], pooling_only + sum(spent)
        once = once_per_shard(config, model, texts, encoded)
        figures["ratios"][short] = (ours + once) / bare
        figures["poolings"][short], figures["once_per_shard"][short] = pooling_only / ours, once / ours
        figures["seconds"][short] = {"bare": bare, "with_poolings": ours, "once_per_shard": once}
    return figures


def bare_pass(model: LanguageModel, encodings: list[Encoding]) -> None:
    model.forward(collate(encodings, model.encoder.pad_id))


def our_pass(model: LanguageModel, encodings: list[Encoding]) -> None:
    extract_batch(model, encodings, POOLINGS)


def once_per_shard(config: BundledCheckpoint, model: LanguageModel, texts: list[str], encoded: Texts) -> float:
    """Seconds of a whole extraction whose batches take no time."""
    made = extract(model, encoded, POOLINGS, BATCHING, lambda n, tokens: None)
    side = Side(Loaded(config, model), texts, 512)
    _ = side.identity, side.model.size(STORE)  # of the model's files, read when it is loaded
    forward.unchecked = lambda *arguments: made

    def fill() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            Extractor(Store(Path(scratch)), POOLINGS, BATCHING, CPU).fill(side, list(POOLINGS))

    try:
        return race({"once": fill}, 5)["once"]
    finally:
        forward.unchecked = unchecked


def one_by_one() -> Figures:
    seconds, ratios = {}, {}
    for short, name in MODELS.items():
        texts = speeches(256)  # a shard: what shares batches by length
        config = bundled(name)
        model = config.load(STORE, CPU, Needs(512))
        location = config.source(STORE).location
        causal = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(location)

        @torch.inference_mode()
        def theirs(text: str, causal=causal, tokenizer=tokenizer) -> None:
            states = causal(**tokenizer(text, return_tensors="pt"), output_hidden_states=True, use_cache=False).hidden_states
            torch.stack([state[0, -1] for state in states])

        encoded = Texts(texts, model.encoder.encode(texts))
        batches = [[encoded.encodings[i] for i in batch] for batch in BATCHING.batches(encoded.lengths)]
        one = sum(race({"text": partial(theirs, text)}, 2)["text"] for text in texts)
        ours = sum(race({"batch": partial(our_pass, model, batch)}, 2)["batch"] for batch in batches)
        seconds[short], ratios[short] = {"one_by_one": one, "ours": ours}, one / ours
    return {"seconds": seconds, "ratios": ratios}


def likelihood() -> Figures:
    """Statements of some 15 words; every fourth layer and the likelihood, as study 002 took them."""
    statements = speeches(32, min_words=10, max_words=20)
    config = bundled(MODELS["smollm2"])
    model = config.load(STORE, CPU, Needs(512, nll=True))
    location = config.source(STORE).location
    causal = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(location)
    layers = [*range(0, causal.config.num_hidden_layers, 4), causal.config.num_hidden_layers]

    @torch.inference_mode()
    def theirs() -> None:
        for text in statements:
            inputs = tokenizer(text, return_tensors="pt")
            for layer in layers:
                causal(**inputs, output_hidden_states=True, use_cache=False).hidden_states[layer][0, 1:].mean(0)
            causal(**inputs, labels=inputs["input_ids"], use_cache=False)

    def ours() -> None:
        extract(model, Texts(statements, model.encoder.encode(statements)), POOLINGS, BATCHING, lambda n, tokens: None)

    best = race({"theirs": theirs, "ours": ours}, 3)
    return {"layers": len(layers), "seconds": best, "ratios": {"smollm2": best["theirs"] / best["ours"]}}


def edited() -> Figures:
    """Batch by batch in turns: the model as it is, one block edited, and every block, of rank 1 at all tokens."""
    ratios = {}
    for short, name in MODELS.items():
        texts = speeches(64)
        config = bundled(name)
        plain = config.load(STORE, CPU, Needs(512))
        encoded = Texts(texts, plain.encoder.encode(texts))
        width, layers = plain.network.config.get_text_config().hidden_size, [layer for layer in plain.layers if "block" in layer]
        basis = torch.linalg.qr(torch.randn(width, 1, generator=torch.Generator().manual_seed(0))).Q
        edit = Edit(basis, basis, torch.zeros(width), torch.zeros(width))
        models = {"as_it_is": plain}
        for what, chosen in {"one_block": layers[len(layers) // 2 :][:1], "every_block": layers}.items():
            models[what] = replace(plain, editing=Editing(dict.fromkeys(chosen, edit), "all"))
        seconds = dict.fromkeys(models, 0.0)
        for batch in BATCHING.batches(encoded.lengths):
            encodings = [encoded.encodings[i] for i in batch]
            best = race({what: partial(our_pass, model, encodings) for what, model in models.items()}, 5)
            seconds = {what: seconds[what] + best[what] for what in models}
        ratios[short] = {what: seconds[what] / seconds["as_it_is"] for what in ("one_block", "every_block")}
    return {"ratios": ratios}


class Loaded:
    """A model config whose network is in memory already and whose files lie in the usual store: neither is counted."""

    def __init__(self, config: BundledCheckpoint, model: LanguageModel) -> None:
        self.config, self.model = config, model

    def load(self, *arguments: object) -> LanguageModel:
        return self.model

    @cached_property
    def _size(self) -> Size:
        return self.config.size(STORE)

    def size(self, scratch: Store) -> Size:
        return self._size

    def __getattr__(self, name: str) -> object:
        return getattr(self.config, name)


def timed(pool: Callable, spent: list[float]) -> Callable:
    def pooled(*arguments: object) -> object:
        start = time.perf_counter()
        result = pool(*arguments)
        spent.append(time.perf_counter() - start)
        return result

    return pooled


if __name__ == "__main__":
    measure(__file__, {run.__name__: run for run in (hooks, one_by_one, likelihood, edited)}, sys.argv[1:])
