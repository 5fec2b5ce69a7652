"""Signatures of a side's layers: small ones are kept in the store, and read from it the next time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from layeratlas.affinity.normalization import Lengths, none
from layeratlas.arrays import Activations, LayerActivations
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.files.identity import fingerprint, placeless
from layeratlas.files.store import SIGNATURES, Store
from layeratlas.metrics import AbstractMetric
from layeratlas.metrics.base import require_different_items

logger = logging.getLogger(__name__)

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
        if self.store is None or side.source is None or self.metric.kept_as is None:
            return [self._computed(side, layer, name) for layer in side.layers]
        signatures, unkept = [], None
        for layer in side.layers:
            key = fingerprint([_FORMAT, side.source, layer, placeless(self.described), self.metric.signature_key])
            if kept := self.store.open(SIGNATURES, key):
                signatures.append(self._read(kept))
                continue
            signatures.append(self._computed(side, layer, name))
            unkept = unkept or _kept(self.store, key, signatures[-1])
        if unkept:
            logger.warning("side %s: %s; signatures are not kept, and are computed again the next time", name, unkept)
        return signatures

    def _read(self, kept: Path) -> Any:
        tensors = safetensors.torch.load_file(kept)
        return self.metric.kept_as(**{part: tensor.to(self.device) for part, tensor in tensors.items()})  # type: ignore[misc]

    def _computed(self, side: Activations, layer: str, name: str) -> Any:
        try:
            x = side.layers[layer].to(self.device)
            if not x.isfinite().all():
                raise ValueError("activations hold NaN or infinite values")
            require_different_items(x)  # before a normalisation divides by what noise there is
            return self.metric.signature(self.normalization(x.float() if x.dtype.itemsize < 4 else x, side.lengths))
        except ConfigError:
            raise
        except ValueError as error:
            if side.file:
                raise ConfigError(f"{side.file}: {layer} (side {name}, metric {self.metric.name}): {error}") from error
            raise ActivationError(f"metric {self.metric.name}, side {name}, {layer}: {error}") from error


def _kept(store: Store, key: str, signature: Any) -> ConfigError | None:
    """Keep a signature; returns why it cannot be kept, which costs nothing but time."""
    try:
        with store.building(SIGNATURES, key, ".safetensors") as path:
            path.write_bytes(safetensors.torch.save({part: t.contiguous().cpu() for part, t in signature._asdict().items()}))
    except ConfigError as error:
        return error
    return None
