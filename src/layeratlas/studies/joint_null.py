"""What correlations with language come out as where the two languages of each item are exchanged at random."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool

from layeratlas.affinity.halves import in_memory
from layeratlas.affinity.matrix import bounded
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import Undefined
from layeratlas.statistics.nulls import ROUNDING
from layeratlas.studies.joint_blocks import JointBlocks, Side, pairs_of
from layeratlas.studies.joint_tables import JointTables, Two
from layeratlas.studies.sweep import Sweep

_ROUNDING = 1e-4  # of a similarity: that of the runs and that of the same vectors, computed by another path
_ROW = ["space", "model", "how"]

Swap = Bool[np.ndarray, " n"]  # the items whose two languages are exchanged


@dataclass(frozen=True)
class SwappedLabels:
    """All sides' vectors, and the similarities of their layers once the two languages of some items are exchanged.

    The same items' in all models and layers, so that only what tells the languages apart is lost: if the languages of an item are
    exchangeable, all exchanges are equally likely. Raises Undefined where sides hold other items.
    """

    blocks: JointBlocks
    vectors: Mapping[Side, Activations]
    signer: Signer

    @classmethod
    def of(cls, blocks: JointBlocks, part: Sweep) -> "SwappedLabels":
        """Read through the sweep's opener, each side from its comparison with itself; ConfigError where it is not in the store."""
        runs = {pair: run for pair, run in zip(pairs_of(part), part.runs, strict=True)}
        sides = list(dict.fromkeys(zip(blocks.points["model"], blocks.points["reads"], strict=True)))
        ids = [runs[side, side].table("items")["id"].tolist() for side in sides]
        if any(own != ids[0] for own in ids):
            raise Undefined("its runs hold different items, or in another order")
        opened = {side: part.opener(runs[side, side]) for side in sides}
        made = cls(blocks, {side: in_memory(opened[side].a) for side in sides}, opened[sides[0]].signer)
        off = float(np.abs(made.similarities(None, np.zeros(len(ids[0]), dtype=bool)) - blocks.s).max())
        if off > _ROUNDING:
            raise Undefined(f"the vectors in the store give other similarities than the runs have (by up to {off:.2g})")
        return made

    @property
    def n(self) -> int:
        return next(iter(self.vectors.values())).n

    def similarities(self, two: Two | None, swap: Swap) -> np.ndarray:
        """Of all points, in the order of the blocks."""
        signatures = {side: self.signer(self._exchanged(side, two, torch.from_numpy(swap)), "a") for side in self.vectors}
        starts = dict(zip(signatures, np.cumsum([0, *(len(own) for own in signatures.values())]).tolist(), strict=False))
        size = sum(len(own) for own in signatures.values())
        s, metric = np.empty((size, size)), self.signer.metric
        for a, b in combinations_with_replacement(signatures, 2):
            block = bounded(metric, metric.affinity(signatures[a], signatures[b]))
            rows, columns = (slice(starts[side], starts[side] + len(signatures[side])) for side in (a, b))
            s[rows, columns], s[columns, rows] = block, block.T
        return (s + s.T) / 2

    def _exchanged(self, side: Side, two: Two | None, swap: torch.Tensor) -> Activations:
        """A side with the items of the other language in some places; sides of neither language stay as they are."""
        own, (model, reads) = self.vectors[side], side
        if two is None or reads not in two or not bool(swap.any()):
            return replace(own, source=None)
        other = self.vectors.get((model, two[1 - two.index(reads)]))
        if other is None:
            return replace(own, source=None)
        layers = {name: torch.where(swap[:, None], other.layers[name], x) for name, x in own.layers.items()}
        lengths = own.lengths
        if lengths is not None and other.lengths is not None:
            lengths = torch.where(swap, other.lengths, lengths)
        return Activations(layers, own.n_blocks, lengths)


def with_p(made: JointTables, null: SwappedLabels, *, draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of `made.axes`, each with `p`, that its correlation is as large where languages are exchanged at random.

    `p_max` is the same of the largest correlation over the components of one model, space and way to find them, which corrects
    for all of them. One-sided: of the size as published, of the signed correlation where it is held out. `draws` exchanges; the
    observed labels count as one more, so that the smallest p is 1 / (draws + 1), `attainable_p`.
    """
    for two in made.languages:
        rng = np.random.default_rng([seed, 11])
        observed = list(made.axes_of(two))
        if not observed:
            continue
        swaps = [np.zeros(null.n, dtype=bool), *(rng.random(null.n) < 0.5 for _ in range(draws))]
        found = np.array([_correlations(made, null.similarities(two, swap), two) for swap in swaps])
        yield from _tested(observed, found)


def _correlations(made: JointTables, s: np.ndarray, two: Two) -> list[float]:
    return [row["r"] for row in replace(made, blocks=replace(made.blocks, s=s, left_out=None)).axes_of(two)]


def _tested(observed: Sequence[dict[str, Any]], found: np.ndarray) -> Iterator[dict[str, Any]]:
    """`found` (1 + draws, rows) are the correlations, the first those of the labels as they are."""
    draws = np.where(np.isnan(found), -np.inf, found)
    largest = np.empty_like(draws)
    for _, places in pd.DataFrame(observed).groupby(_ROW, sort=False).groups.items():
        largest[:, places] = draws[:, places].max(axis=1, keepdims=True)
    for i, row in enumerate(observed):
        tested = {"p": _share(draws[:, i], draws[0, i]), "p_max": _share(largest[:, i], draws[0, i])}
        known = np.isfinite(draws[0, i])
        yield row | (tested if known else dict.fromkeys(tested, np.nan)) | {"attainable_p": 1 / len(draws)}


def _share(values: np.ndarray, observed: float) -> float:
    return float(np.mean(values >= observed - ROUNDING))
