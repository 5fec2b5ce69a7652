"""Tiny randomly initialised models, saved as real checkpoints in the hub's format; no network, no GPU."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported: a look-up would wait for a network
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is: see layeratlas/__init__.py

import matplotlib.pyplot as plt
import pytest
import torch
import transformers
from matplotlib.figure import Figure
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from layeratlas.files.store import Store
from layeratlas.models import HELD, Checkpoint, Needs
from layeratlas.models.language_model import LanguageModel

pytest_plugins = ["running", "sweeps_by_hand", "pages_by_hand"]

SIZES = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 3}
ATTENTION = {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 512}
ARCHITECTURES: dict[str, tuple[str, dict]] = {
    "llama": ("Llama", SIZES | ATTENTION | {"num_key_value_heads": 2}),
    "gpt2": ("GPT2", {"vocab_size": 260, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}),
    "gpt_neox": ("GPTNeoX", SIZES | ATTENTION),
    "bert": ("Bert", SIZES | ATTENTION),
    "mamba": ("Mamba", SIZES | {"state_size": 8}),
}

# Tiny tensors gain nothing from threads, and lose a factor of five to them where other processes are running.
THREADS = max(1, torch.get_num_threads() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
torch.set_num_threads(1)

TEXTS = [
    "A ship left the harbour before dawn.",
    "Why do rivers bend?",
    "The committee met twice in March, and again in June, without any result that anyone could name.",
    "Bread rises slowly in a cold kitchen",
    "Stop!",
    "Seven small lamps stood on the windowsill; one of them was broken.",
    "He counted the stairs (there were forty-one) and went home.",
    "Snow covers the upper road from November until late in April.",
]


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> None:
    torch.set_num_threads(THREADS if request.node.get_closest_marker("slow") else 1)


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    """No test finds a model in memory that another has loaded."""
    yield
    HELD.drop()


@pytest.fixture(autouse=True)
def unsaved_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Laying out and saving a picture takes longer than a whole tiny run: only tests marked `pictures` and slow ones do it."""
    if not any(request.node.get_closest_marker(name) for name in ("pictures", "slow", "browser")):
        monkeypatch.setattr(Figure, "draw_without_rendering", lambda self: None)
        monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: Path(path).write_bytes(b"picture"))
    yield
    plt.close("all")  # pyplot keeps those that a test looks at


class _Kept(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def undrawn() -> Iterator[list[logging.LogRecord]]:
    """What a report could not draw, which costs a run nothing but this line. A test that expects such a line takes it off."""
    records: list[logging.LogRecord] = []
    logger, handler = logging.getLogger("layeratlas.report"), _Kept(records)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []


@pytest.fixture
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint of the named architecture, made once a session."""
    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = tmp_path_factory.mktemp(architecture) / f"tiny-{architecture}"
            save_tiny(architecture, made[architecture])
        return made[architecture]

    return folder


@pytest.fixture
def checkpoint(checkpoint_folder: Callable[[str], Path]) -> Callable[..., Checkpoint]:
    """The model config of a tiny checkpoint: `checkpoint("llama", dtype="bfloat16")`."""
    return lambda architecture="llama", **options: Checkpoint(
        id=str(checkpoint_folder(architecture)), **({"dtype": "float32"} | options)
    )


@pytest.fixture
def load(checkpoint: Callable[..., Checkpoint], store: Store) -> Callable[..., LanguageModel]:
    """A tiny model, loaded: `load("gpt2")`."""

    def loaded(architecture="llama", max_length=256, nll=False, attention=False, **options):
        return checkpoint(architecture, **options).load(store, torch.device("cpu"), Needs(max_length, nll, attention))

    return loaded


def save_tiny(architecture: str, folder: Path, seed: int = 0) -> None:
    family, sizes = ARCHITECTURES[architecture]
    config = getattr(transformers, f"{family}Config")(**sizes, bos_token_id=256, eos_token_id=257, pad_token_id=258)
    torch.manual_seed(seed)
    head = "ForMaskedLM" if architecture == "bert" else "LMHeadModel" if architecture == "gpt2" else "ForCausalLM"
    getattr(transformers, f"{family}{head}")(config).save_pretrained(folder)
    byte_tokenizer(bos=architecture != "gpt_neox", eos=architecture == "bert").save_pretrained(folder)


def byte_tokenizer(*, bos: bool, eos: bool = False) -> PreTrainedTokenizerFast:
    """One token per byte, with <bos> before and <eos> after the text if asked for."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    pattern = ("<bos> " if bos else "") + "$A" + (" <eos>" if eos else "")
    tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=[("<bos>", 256), ("<eos>", 257)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
