"""The model that was loaded last, kept in memory for the sides that are read next: one at a time."""

import gc
import logging
from dataclasses import asdict
from typing import Any

import torch

from layeratlas.files.identity import fingerprint
from layeratlas.files.store import Store
from layeratlas.models.base import AbstractModel
from layeratlas.models.settings import Needs, Size

logger = logging.getLogger(__name__)

# How texts are put to a network, and what is done while it runs: both leave it as it is.
_EDIT = "edit"
_READING = {"max_length", "language", "chat_template", "generation_prompt", "template_cut", "prefix", _EDIT}


class Held:
    """At most one model, loaded and verified once for all sides of all runs of a process that want the same.

    What tells networks apart is all that their activations depend on (the files, the dtype, what is skipped or adapted), what is
    needed of them and where they run. For a side that only reads its texts in another way, the tokenizer alone is loaded anew.
    `seconds_per_operation` is the speed that was measured of the model held, if it was.
    """

    def __init__(self) -> None:
        self._network, self._reading, self._edit = "", "", ""
        self._loaded: Any = None
        self._size: Size | None = None
        self.seconds_per_operation: float | None = None

    def drop(self) -> None:
        """Give the memory back."""
        was_loaded = self._loaded is not None
        self.__init__()
        if was_loaded:
            gc.collect()  # a network's modules refer to each other
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    @property
    def bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self._size.bytes if self._size and self._loaded is not None else 0

    def holds(self, model: AbstractModel, device: torch.device, needs: Needs) -> bool:
        return self._loaded is not None and self._network == _network_of(model, device, needs)

    def size(self, model: AbstractModel, store: Store, device: torch.device, needs: Needs) -> Size:
        """How large the model is. Another that is in memory makes way for it."""
        network = _network_of(model, device, needs)
        if self._size is None or network != self._network:
            self.drop()
            self._size, self._network = model.size(store), network
        return self._size

    def load(self, model: AbstractModel, store: Store, device: torch.device, needs: Needs) -> Any:
        """The model as a `LanguageModel`, which reads texts as these needs say until the next call."""
        self.size(model, store, device, needs)
        identity = model.identity()
        reading = fingerprint([model.id, {key: value for key, value in identity.items() if key != _EDIT}, asdict(needs)])
        edit = fingerprint([model.name, identity.get(_EDIT)])
        if self._loaded is None:
            self._loaded = model.load(store, device, needs)
        elif reading != self._reading:
            logger.info("model %s: in memory and verified already; its tokenizer is loaded anew", model.name)
            self._loaded = model.reread(self._loaded, store, needs)
        elif edit != self._edit:
            logger.info("model %s: in memory and verified already; what is done to its blocks' states is another", model.name)
            self._loaded = model.edited(self._loaded)
        else:
            logger.info("model %s: in memory and verified already", model.name)
        self._reading, self._edit = reading, edit
        return self._loaded


def _network_of(model: AbstractModel, device: torch.device, needs: Needs) -> str:
    spread = {"device": str(device), "device_map": model.device_map, "trust_remote_code": model.trust_remote_code}
    described = model.identity() | asdict(needs) | spread
    return fingerprint({key: value for key, value in described.items() if key not in _READING})


HELD = Held()  # of this process
