"""Edits of a model's residual stream as files: what is a language's own, random controls of it, shifts between languages."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from layeratlas.analyses.base import Comparison, Tensors
from layeratlas.errors import Undefined
from layeratlas.statistics.removals import (
    AbstractRemoval,
    Eraser,
    WithinSpan,
    energy,
    language_shift,
    random_directions,
    random_of_energy,
    random_shift,
)
from layeratlas.statistics.removals.base import Languages

_HASH_DIGITS = 16
Sides = tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """One file: an edit of each layer, for texts of the languages of these `sides`.

    `control_of` names the file that random draws stand beside (None: any of their rank), `matched` what both have in common.
    """

    sides: Sides
    rank: int
    matched: str | None = None
    control_of: str | None = None
    erasers: dict[str, Eraser] = field(default_factory=dict)
    energies: dict[str, float] = field(default_factory=dict)


@dataclass
class EditFiles:
    """What was made, by the names of the files; and what could not be made, with the layers and why."""

    comparison: Comparison
    made: dict[str, Made] = field(default_factory=dict)
    undefined: dict[str, dict[str, str]] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensors]:
        """H - A B'(h - m) + v at each layer, as `LAYER.A`, `LAYER.B` (d, r), `LAYER.m`, `LAYER.v` (d)."""
        return {name: Tensors(_arrays(made.erasers), self._header(name, made)) for name, made in self.made.items()}

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per file and layer: how far the edit moves the items that it was fitted on, E|A B'(h - m) - v|^2."""
        depths = dict(zip(self.comparison.a.names, self.comparison.a.depths, strict=True))
        for name, made in self.made.items():
            labels = {
                "edit": name,
                "applies_to": ",".join(self._languages(made)),
                "matched": made.matched,
                "control_of": made.control_of,
            }
            for layer, held in made.energies.items():
                yield labels | {"layer": layer, "depth": depths[layer], "rank": made.erasers[layer].rank, "energy": held}

    def put(self, name: str, layer: str, eraser: Eraser, x: Languages, made: Made) -> None:
        kept = self.made.setdefault(name, made)
        kept.erasers[layer] = eraser
        kept.energies[layer] = energy(eraser, _rows_of(x, made.sides))

    def _languages(self, made: Made) -> list[str]:
        return [self.comparison.languages["ab"[side]].code for side in made.sides]

    def _header(self, name: str, made: Made) -> dict[str, object]:
        items = self.comparison.items
        return {
            "map": "h - A B'(h - m) + v",
            "what": name,
            "rank": made.rank,
            "matched": made.matched,
            "control_of": made.control_of,
            "energy": made.energies,
            "applies_to": self._languages(made),
            "fitted_on": [self.comparison.languages[side].code for side in "ab"],
            "pooling": self.comparison.pooling,
            "ids": items["id"].tolist(),
            "texts": sorted({hash_of(text) for side in "ab" for text in items[f"text_{side}"]}),
        }


def hash_of(text: str) -> str:
    """What a file of edits says of a text that it was fitted on."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def edit_files(
    comparison: Comparison, removals: Sequence[AbstractRemoval], layers: Sequence[str], draws: int, seed: int, *, controls: bool
) -> EditFiles:
    """Every removal as fitted on ALL items of the run, whose ids and texts the header lists: they may not be judged by it.

    `random_directions_RANK_draw_N`: of the same rank as a removal. With `controls` also `random_energy_of_NAME_draw_N`, which hold
    as much energy as the file NAME, and `shift_X_to_Y` with `random_shift_X_to_Y_draw_N` of the same length. A removal with a map
    for each language has a file for each. A file lacks the layers at which what it holds cannot be made.
    """
    files = EditFiles(comparison)
    ranks = sorted({removal.rank_of(2) for removal in removals} - {0})
    for place, layer in enumerate(layers):
        x = torch.stack([side.layers[layer] for side in (comparison.a, comparison.b)]).double().cpu()
        for removal in removals:
            _put_removal(files, removal, layer, x)
        generator = seeded(seed, 6, place)
        for rank in ranks:
            for draw in range(1, draws + 1):
                random = random_directions(x, rank, generator)
                files.put(f"random_directions_{rank}_draw_{draw}", layer, random, x, Made((0, 1), rank, "rank"))
        if controls:
            _put_shifts(files, layer, x, draws, seeded(seed, 8, place))
            _put_energies(files, layer, x, draws, seeded(seed, 7, place))
    return files


def seeded(*seed: int) -> torch.Generator:
    """A generator for what these numbers name together."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _put_removal(files: EditFiles, removal: AbstractRemoval, layer: str, x: Languages) -> None:
    rank = removal.rank_of(2)
    name, erasers = f"{removal.name}_{rank}", removal.fit(x)
    if erasers[0] is erasers[1]:
        files.put(name, layer, erasers[0], x, Made((0, 1), rank))
        return
    for side, eraser in enumerate(erasers):
        files.put(f"{name}_side_{'ab'[side]}", layer, eraser, x, Made((side,), rank))


def _put_shifts(files: EditFiles, layer: str, x: Languages, draws: int, generator: torch.Generator) -> None:
    span = WithinSpan.of(x)
    for source, target in ((0, 1), (1, 0)):
        between = "_to_".join(files.comparison.languages["ab"[side]].code for side in (source, target))
        shift = language_shift(x, source, target)
        files.put(f"shift_{between}", layer, shift, x, Made((source,), 0))
        for draw in range(1, draws + 1):
            random = random_shift(span, float(shift.v.norm()), generator)
            made = Made((source,), 0, "length", f"shift_{between}")
            files.put(f"random_shift_{between}_draw_{draw}", layer, random, x, made)


def _put_energies(files: EditFiles, layer: str, x: Languages, draws: int, generator: torch.Generator) -> None:
    """Draws beside each file that removes something; one that no random subspace can match has none."""
    span = WithinSpan.of(x)
    for name in [name for name, made in files.made.items() if made.rank and not made.matched]:
        own = files.made[name]
        rows = _rows_of(x, own.sides)
        for draw in range(1, draws + 1):
            control = f"random_energy_of_{name}_draw_{draw}"
            try:
                random = random_of_energy(span, rows, own.erasers[layer].m, own.energies[layer], generator)
            except Undefined as error:
                files.undefined.setdefault(control, {})[layer] = str(error)
                continue
            files.put(control, layer, random, x, Made(own.sides, own.rank, "energy", name))


def _rows_of(x: Languages, sides: Sides) -> torch.Tensor:
    return x[list(sides)].reshape(-1, x.shape[-1])


def _arrays(erasers: Mapping[str, Eraser]) -> dict[str, np.ndarray]:
    return {
        f"{layer}.{part}": array.float().contiguous().numpy()
        for layer, eraser in erasers.items()
        for part, array in zip("ABmv", eraser, strict=True)
    }
