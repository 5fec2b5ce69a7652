"""What every model config offers: an identity without loading anything, and a network on demand."""

import abc
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from layeratlas.corpora import Language
from layeratlas.errors import ConfigError
from layeratlas.files.store import Store
from layeratlas.models.card import Card
from layeratlas.models.hub import fetch, fingerprint_of, local_folder, require_adapter
from layeratlas.options import Positive, Seed

logger = logging.getLogger(__name__)

_DTYPES = ("float32", "bfloat16", "float16")
_QUANTIZATIONS = ("8bit", "4bit")


@dataclass(frozen=True)
class Source:
    """Where Hugging Face's loaders find a checkpoint: a folder, or a hub id at a commit."""

    location: str
    commit: str | None = None


@dataclass(frozen=True)
class Size:
    """Bytes of all weights in memory, parameters of the blocks, layers (embedding and final norm included), width, vocabulary."""

    bytes: int
    block_parameters: int
    layers: int
    width: int
    vocabulary: int


@dataclass(frozen=True)
class Needs:
    """What an extraction wants of a model: where to cut its input, and what costs extra (likelihoods, attention weights).

    `language` is that of the texts, for tokenizers that mark it.
    """

    max_length: int
    nll: bool = False
    attention: bool = False
    language: Language | None = None


@dataclass(frozen=True, kw_only=True)
class AbstractModel(abc.ABC):
    """One checkpoint and how to run it.

    `dtype` is what the forward pass computes in. `chat_template` wraps each text as a user's turn. `prefix` stands before each
    text, inside the template, and is no part of it: an instruction, or the `query: ` of E5. `random_init`, if not
    null, is the seed of fresh random weights in the same architecture. `skip_blocks` lists blocks (from 1) to leave out.
    `quantization` (8bit, 4bit) needs the extra `quantized`, `adapter` (a hub id or folder of peft's) the extra `adapters`.
    `developer` and `family` (a model and what was trained on from it) say which models are not independent of each other.
    """

    id: str
    dtype: str
    chat_template: bool = False
    prefix: str | None = None
    random_init: Seed | None = None
    skip_blocks: Sequence[Positive] = ()
    quantization: str | None = None
    adapter: str | None = None
    device_map: str | None = None
    trust_remote_code: bool = False
    developer: str | None = field(default=None, compare=False)
    family: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ConfigError(f"model dtype: expected one of {', '.join(_DTYPES)}; got {self.dtype}")
        if self.quantization not in (None, *_QUANTIZATIONS):
            raise ConfigError(f"model quantization: expected null or one of {', '.join(_QUANTIZATIONS)}; got {self.quantization}")

        if not isinstance(self.prefix, str | None):
            raise ConfigError(f"model prefix: expected null or a text; got {self.prefix}")
        if self.random_init is not None and (self.quantization or self.adapter):
            raise ConfigError("model random_init: random weights take neither quantization nor an adapter; set those to null")

    @property
    def name(self) -> str:
        return self.id.rstrip("/").rsplit("/", 1)[-1] + ("" if self.random_init is None else f"-random{self.random_init}")

    @property
    def weights(self) -> tuple[str, str | None, int | None]:
        """What tells whether two models' layers are vectors of one space."""
        return self.fingerprint(), self.adapter, self.random_init

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Name of the exact bytes of the checkpoint, found as cheaply as can be."""

    def require_files(self, key: str) -> None:
        """Raises ConfigError if what the fields name is not there, before anything is read; `key` is the model's in the config."""
        if self.adapter:
            require_adapter(self.adapter, f"{key}.adapter")

    @abc.abstractmethod
    def source(self, store: Store) -> Source:
        """Make the checkpoint available on this machine."""

    @abc.abstractmethod
    def prefetch(self, store: Store) -> None:
        """Bring all files onto this machine, so that later runs need no network."""

    def prefetch_adapter(self) -> None:
        if self.adapter and local_folder(self.adapter) is None:
            fetch(self.adapter, "main")

    def card(self) -> Card:
        """What the checkpoint's own small files say of how texts are to be read; nothing where there are none."""
        return Card()

    def token_limit(self) -> int | None:
        """The longest input that the tokenizer's own files allow, known without loading it; None if they allow any."""
        return None

    def identity(self) -> dict[str, Any]:
        """All that determines this model's activations on a given text, apart from where it runs."""
        reading = ({"template_cut": "text"} if self.chat_template else {}) | ({"prefix": self.prefix} if self.prefix else {})
        return reading | {
            "checkpoint": self.fingerprint(),
            "dtype": self.dtype,
            "chat_template": self.chat_template,
            "random_init": self.random_init,
            "skip_blocks": list(self.skip_blocks),
            "quantization": self.quantization,
            "adapter": fingerprint_of(self.adapter, "main") if self.adapter else None,
        }

    def load(self, store: Store, device: torch.device, needs: Needs) -> Any:
        """Load tokenizer and network and verify the layers; returns a `LanguageModel`."""
        from layeratlas.models.loading import load_language_model  # transformers takes seconds to import

        if self.trust_remote_code:
            logger.warning("model %s: trust_remote_code is on, so code from its repository runs here", self.name)
        return load_language_model(self, self.source(store), device, needs)

    def reread(self, loaded: Any, store: Store, needs: Needs) -> Any:
        """The same `LanguageModel` with another way of reading texts: nothing is loaded or verified but a tokenizer."""
        from layeratlas.models.loading import reread

        return reread(loaded, self, self.source(store), needs)

    def encoder(self, store: Store, needs: Needs) -> Any:
        """Load the tokenizer alone; returns an `Encoder`."""
        from layeratlas.models.loading import load_encoder

        return load_encoder(self, self.source(store), needs)

    def size(self, store: Store) -> Size:
        """How large the network is, from the checkpoint's config alone."""
        from layeratlas.models.loading import measure

        return measure(self, self.source(store))


def pick_device(wanted: str) -> torch.device:
    """Resolve the config's `device=`: `auto` is the GPU if there is one."""
    gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(gpu if wanted == "auto" else wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch raises for names it does not know and devices it lacks
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: expected auto, cpu, cuda, cuda:N or mps; got {wanted} (auto is {gpu}; {reason})") from error
    return device
