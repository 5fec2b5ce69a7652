"""One forward pass per text: every layer and every wanted pooling at once.

Hidden states are pooled inside the forward hooks, on the device, so memory holds O(layers x batch x d) numbers and never
O(layers x batch x tokens x d).
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from layeratlas.arrays import HiddenStates, Pooling
from layeratlas.batching import Batching
from layeratlas.errors import ActivationError
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import Encoding, collate

Advance = Callable[[int, int], None]


def extract(
    model: LanguageModel, texts: Sequence[str], poolings: Mapping[str, Pooling], batching: Batching, advance: Advance
) -> tuple[dict[str, dict[str, Tensor]], pd.DataFrame]:
    """Pooling -> layer -> (n, d) float32 on the CPU, checked, and a row of token statistics per text.

    `advance` is told the number of texts and of tokens after each batch.
    """
    encodings = model.encoder.encode(texts)
    pooled: dict[str, dict[str, Tensor]] = {pooling: {} for pooling in poolings}
    for batch in batching.batches([len(e.ids) for e in encodings]):
        for pooling, layers in pooled_batch(model, [encodings[i] for i in batch], poolings).items():
            for layer, vectors in layers.items():
                rows = pooled[pooling].setdefault(layer, torch.empty(len(texts), vectors.shape[1]))
                rows[batch] = vectors
        advance(len(batch), sum(len(encodings[i].ids) for i in batch))
    for pooling, layers in pooled.items():
        _check(model.name, pooling, layers, texts)
    return pooled, _token_table(model, texts, encodings)


def pooled_batch(
    model: LanguageModel, encodings: Sequence[Encoding], poolings: Mapping[str, Pooling]
) -> dict[str, dict[str, Tensor]]:
    """One forward pass: pooling -> layer -> (b, d) float32 on the CPU."""
    tokens = collate(encodings, model.encoder.pad_id).to(model.device)
    heard: dict[str, dict[str, Tensor]] = {pooling: {} for pooling in poolings}

    def hear(layer: str, hidden: HiddenStates) -> None:
        for name, pool in poolings.items():
            heard[name][layer] = pool(hidden, tokens.to(hidden.device))

    model.forward(tokens, hear)
    return {name: _to_cpu(layers) for name, layers in heard.items()}


def _to_cpu(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """All layers in one copy: on a GPU, a copy per layer would wait for the device each time."""
    device = next(iter(layers.values())).device
    together = torch.cat([vectors.to(device) for vectors in layers.values()], dim=1).cpu()
    return dict(zip(layers, together.split([v.shape[1] for v in layers.values()], dim=1), strict=True))


def _check(model: str, pooling: str, layers: dict[str, Tensor], texts: Sequence[str]) -> None:
    """Refuse activations that no working network produces, naming model, layer and item."""
    before: Tensor | None = None
    for layer, vectors in layers.items():
        where = f"{model}, {layer}, pooling {pooling}"
        if (bad := ~vectors.isfinite().all(dim=1)).any():
            item = int(bad.nonzero()[0, 0])
            raise ActivationError(
                f"{where}: NaN or infinite at the text {texts[item][:60]!r} (float16 overflow? try dtype=float32)"
            )
        if (zero := (vectors == 0).all(dim=1)).any():
            raise ActivationError(f"{where}: all zero at the text {texts[int(zero.nonzero()[0, 0])][:60]!r}")
        if layer.startswith("block_") and len(set(texts)) > 1 and bool((vectors == vectors[0]).all()):
            raise ActivationError(f"{where}: the same vector for {len(texts)} texts")
        if before is not None and before.shape == vectors.shape and torch.equal(before, vectors):
            raise ActivationError(f"{where}: identical to the layer before it")
        before = vectors


def _token_table(model: LanguageModel, texts: Sequence[str], encodings: Sequence[Encoding]) -> pd.DataFrame:
    tokenizer = model.encoder.tokenizer
    return pd.DataFrame(
        {
            "tokens": [len(e.ids) for e in encodings],
            "bytes": [len(text.encode()) for text in texts],
            "truncated": [e.truncated for e in encodings],
            "last_token": [tokenizer.decode(e.ids[-1:]) for e in encodings],
        }
    )
