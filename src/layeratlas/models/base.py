"""What every model config offers: an identity without loading anything, and a network on demand."""

import abc
import logging
from dataclasses import dataclass
from typing import Any

import torch

from layeratlas.errors import ConfigError
from layeratlas.files.paths import expanded
from layeratlas.files.store import Store, checksum
from layeratlas.models.card import Card
from layeratlas.models.editing import require_edit
from layeratlas.models.hub import fetch, fingerprint_of, local_folder, require_adapter
from layeratlas.models.settings import Needs, Settings, Size, Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AbstractModel(Settings, abc.ABC):
    """One checkpoint: its settings, what identifies it, and its network on demand."""

    @property
    def weights(self) -> tuple[str, str | None, int | None]:
        """What decides whether two models' layers are vectors of one space."""
        return self.fingerprint(), self.adapter, self.random_init

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Name of the exact bytes of the checkpoint, made as cheaply as can be."""

    def require_files(self, key: str) -> None:
        """Raises ConfigError if what the fields name is not there, before anything is read; `key` is the model's in the config."""
        if self.adapter:
            require_adapter(self.adapter, f"{key}.adapter")
        if self.edit:
            require_edit(self.edit, f"{key}.edit")

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
        if self.chat_template and not self.generation_prompt:
            reading |= {"generation_prompt": False}
        if self.edit:
            blocks = None if self.edit_blocks is None else sorted(set(self.edit_blocks))
            reading |= {"edit": [checksum(expanded(self.edit)), blocks, self.edit_positions]}
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

    def edited(self, loaded: Any) -> Any:
        """The same `LanguageModel` with this model's edit in place of another, or with none."""
        from layeratlas.models.loading import edited

        return edited(loaded, self)

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
