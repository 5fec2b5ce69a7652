"""The removals as files: what can be taken out of a model's residual stream later, on other items."""

from collections.abc import Sequence

import numpy as np
import torch

from layeratlas.analyses.base import Comparison, Tensors
from layeratlas.statistics.removals import AbstractRemoval, Eraser, random_directions


def bases(
    comparison: Comparison, removals: Sequence[AbstractRemoval], layers: Sequence[str], draws: int, seed: int
) -> dict[str, Tensors]:
    """By the name of the file: h - A B'(h - m) + v at each layer, as `LAYER.A`, `LAYER.B` (d, r), `LAYER.m`, `LAYER.v` (d).

    Fitted on all items of the run, whose ids the header lists: they may not be judged by it. A removal with a map for each
    language has a file for each. Random directions are those of the largest rank.
    """
    fits: dict[str, dict[str, Sequence[Eraser]]] = {}
    rank = max(removal.rank_of(2) for removal in removals)
    for place, layer in enumerate(layers):
        x = torch.stack([side.layers[layer] for side in (comparison.a, comparison.b)]).double()
        for removal in removals:
            fits.setdefault(f"{removal.name}_{removal.rank_of(2)}", {})[layer] = removal.fit(x)
        generator = seeded(seed, 6, place)
        for draw in range(draws if rank else 0):
            fits.setdefault(f"random_directions_{rank}_draw_{draw + 1}", {})[layer] = [random_directions(x, rank, generator)]
    return {
        name + suffix: Tensors(_arrays(by_layer, side), _header(comparison, name, languages))
        for name, by_layer in fits.items()
        for side, suffix, languages in _maps(comparison, by_layer)
    }


def seeded(*seed: int) -> torch.Generator:
    """A generator for what these numbers name together."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _maps(comparison: Comparison, by_layer: dict[str, Sequence[Eraser]]) -> list[tuple[int, str, list[str]]]:
    codes = [comparison.languages[side].code for side in "ab"]
    if all(len({id(eraser) for eraser in erasers}) == 1 for erasers in by_layer.values()):
        return [(0, "", codes)]
    return [(i, f"_side_{side}", [code]) for i, (side, code) in enumerate(zip("ab", codes, strict=True))]


def _arrays(by_layer: dict[str, Sequence[Eraser]], side: int) -> dict[str, np.ndarray]:
    return {
        f"{layer}.{part}": array.float().cpu().contiguous().numpy()
        for layer, erasers in by_layer.items()
        for part, array in zip("ABmv", erasers[side], strict=True)
    }


def _header(comparison: Comparison, name: str, languages: Sequence[str]) -> dict[str, object]:
    return {
        "map": "h - A B'(h - m) + v",
        "what": name,
        "applies_to": list(languages),
        "fitted_on": [comparison.languages[side].code for side in "ab"],
        "pooling": comparison.pooling,
        "ids": comparison.items["id"].tolist(),
    }
