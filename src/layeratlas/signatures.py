"""Signatures of a side's layers: small ones are kept in the store, and read from it the next time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

from layeratlas.arrays import Activations, LayerActivations
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.metrics import AbstractMetric
from layeratlas.normalization import Lengths, none
from layeratlas.store import Store, fingerprint

_KIND = "signatures"
_FORMAT = 1


@dataclass(frozen=True)
class Signer:
    """Makes the signatures of a side's layers with one metric after one normalisation.

    `described` is what identifies the normalisation in the store. Without a store everything is computed.
    """

    metric: AbstractMetric
    device: torch.device
    normalization: Callable[[LayerActivations, Lengths], LayerActivations] = none
    described: Any = None
    store: Store | None = None

    def __call__(self, side: Activations, name: str) -> Sequence[Any]:
        return [self._of(side, layer, name) for layer in side.layers]

    def _of(self, side: Activations, layer: str, name: str) -> Any:
        if self.store is None or side.source is None or self.metric.kept_as is None:
            return self._computed(side, layer, name)
        key = fingerprint([_FORMAT, side.source, layer, self.described, self.metric.signature_key])
        if found := self.store.open(_KIND, key):
            tensors = safetensors.torch.load_file(found)
            return self.metric.kept_as(**{part: tensor.to(self.device) for part, tensor in tensors.items()})
        signature = self._computed(side, layer, name)
        with self.store.building(_KIND, key, ".safetensors") as path:
            path.write_bytes(safetensors.torch.save({part: t.contiguous().cpu() for part, t in signature._asdict().items()}))
        return signature

    def _computed(self, side: Activations, layer: str, name: str) -> Any:
        try:
            x = side.layers[layer].to(self.device)
            if not x.isfinite().all():
                raise ValueError("activations hold NaN or infinite values")
            return self.metric.signature(self.normalization(x.float() if x.dtype.itemsize < 4 else x, side.lengths))
        except ConfigError:
            raise
        except ValueError as error:
            raise ActivationError(f"metric {self.metric.name}, side {name}, {layer}: {error}") from error
