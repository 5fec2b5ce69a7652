"""The similarities of all layers of all sides of a condition, put together from its runs' matrices."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from layeratlas.errors import Undefined
from layeratlas.runs.reading import Run
from layeratlas.studies.sweep import Sweep

Side = tuple[str, str]  # model, and what it reads: its language, and what else sets texts apart
Pair = tuple[Side, Side]


@dataclass(frozen=True)
class JointBlocks:
    """`points` has a row per layer of each side (model, reads, layer, depth), `s` their similarities, in that order.

    `left_out` (groups, points, points) are those without each group of items, None where some run lacks them. `missing`: pairs of
    sides that no run compares; for their sake `dropped` sides have no part.
    """

    points: pd.DataFrame
    s: np.ndarray
    left_out: np.ndarray | None
    missing: Sequence[Pair]
    dropped: Sequence[Side]

    def of(self, model: str, reads: str | None = None) -> np.ndarray:
        """The places of a model's points, or of those that read one language."""
        chosen = self.points["model"] == model
        return np.flatnonzero(chosen if reads is None else chosen & (self.points["reads"] == reads))

    def paired(self, model: str, two: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
        """The places of the layers that a model has in both languages, in one order."""
        a, b = (dict(zip(self.points["layer"].iloc[places], places, strict=True)) for places in (self.of(model, r) for r in two))
        shared = [layer for layer in a if layer in b]
        return np.array([a[layer] for layer in shared], dtype=int), np.array([b[layer] for layer in shared], dtype=int)

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(self.points["model"]))

    def read_by(self, model: str) -> list[str]:
        return list(dict.fromkeys(self.points["reads"].iloc[self.of(model)]))


def joint_blocks(part: Sweep) -> JointBlocks:
    """Raises Undefined where no two sides have all their blocks."""
    blocks = {pair: run for run, pair in zip(part.runs, pairs_of(part), strict=True)}
    if not part.runs[0].result["metric"]["symmetric"]:
        raise Undefined(f"{part.table['metric'][0]} is not symmetric, so that layers are no points of one space")
    if len(set(part.table["n"])) > 1:
        raise Undefined(f"its runs compare different numbers of items: {sorted(set(part.table['n']))}")
    sides = list(dict.fromkeys(side for pair in blocks for side in pair))
    missing = [pair for pair in combinations_with_replacement(sides, 2) if pair not in blocks and pair[::-1] not in blocks]
    kept = _complete(sides, missing)
    if len(kept) < 2:
        raise Undefined(
            f"no two sides were compared with each other and each with itself; missing: {named(missing)};"
            " hydra.sweeper.self_pairs=true compares sides with themselves"
        )
    layers = {side: _layers(blocks, side) for side in kept}
    points = [
        {"model": side[0], "reads": side[1], "layer": str(layer), "depth": float(depth)}
        for side, (names, depths) in layers.items()
        for layer, depth in zip(names, depths, strict=True)
    ]
    groups = {len(run.arrays["left_out"]) if "left_out" in run.arrays else 0 for run in _used(blocks, kept)}
    count = groups.pop() if len(groups) == 1 else 0
    left_out = np.stack([_together(blocks, layers, group) for group in range(count)]) if count else None
    return JointBlocks(
        pd.DataFrame(points), _together(blocks, layers, None), left_out, missing, [s for s in sides if s not in kept]
    )


def named(pairs: Sequence[Pair], most: int = 6) -> str:
    shown = [f"{' '.join(a)} with {'itself' if a == b else ' '.join(b)}" for a, b in pairs[:most]]
    return ", ".join(shown) + (f" and {len(pairs) - most} more" if len(pairs) > most else "")


def pairs_of(part: Sweep) -> Iterator[Pair]:
    """Both sides of each run, by their model and what of their texts is not the same in all runs."""
    table = part.table
    kinds = ("language", "field", "control")
    apart = [kind for kind in kinds if len({*table[f"{kind}_a"], *table[f"{kind}_b"]}) > 1] or ["language"]
    for row in table.to_dict("records"):
        read = {side: ", ".join(row[f"{kind}_{side}"] for kind in apart if row[f"{kind}_{side}"]) for side in "ab"}
        yield (row["model_a"], read["a"]), (row["model_b"], read["b"])


def _complete(sides: Sequence[Side], missing: Sequence[Pair]) -> list[Side]:
    """The sides that are left once those that miss most blocks are dropped, one after the other."""
    kept, lacking = list(sides), list(missing)
    while lacking:
        counts = Counter(side for pair in lacking for side in set(pair))
        worst = max(reversed(kept), key=lambda side: counts[side])
        kept.remove(worst)
        lacking = [pair for pair in lacking if worst not in pair]
    return kept


def _layers(blocks: Mapping[Pair, Run], side: Side) -> tuple[np.ndarray, np.ndarray]:
    arrays = blocks[side, side].arrays
    return arrays["layers_a"], arrays["depth_a"]


def _used(blocks: Mapping[Pair, Run], kept: Sequence[Side]) -> Iterator[Run]:
    yield from (run for (a, b), run in blocks.items() if a in kept and b in kept)


def _together(blocks: Mapping[Pair, Run], layers: Mapping[Side, tuple[np.ndarray, np.ndarray]], group: int | None) -> np.ndarray:
    starts = dict(zip(layers, np.cumsum([0, *(len(names) for names, _ in layers.values())]).tolist(), strict=False))
    size = sum(len(names) for names, _ in layers.values())
    s = np.full((size, size), np.nan)
    for (a, b), run in blocks.items():
        if a not in layers or b not in layers:
            continue
        for axis, side in (("layers_a", a), ("layers_b", b)):
            if run.arrays[axis].tolist() != layers[side][0].tolist():
                raise Undefined(f"the runs of {' '.join(side)} have different layers")
        block = run.arrays["affinity"] if group is None else run.arrays["left_out"][group]
        rows, columns = (slice(starts[side], starts[side] + len(layers[side][0])) for side in (a, b))
        s[rows, columns], s[columns, rows] = block, block.T
    return (s + s.T) / 2
