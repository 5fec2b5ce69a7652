"""One layer in two languages: what held-out items score before and after each removal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from layeratlas.affinity.matched import LayerPair
from layeratlas.metrics.paired import AbstractPairedMetric
from layeratlas.statistics.cross_fitting import Half, Places
from layeratlas.statistics.linear_probe import LinearProbe, fitted
from layeratlas.statistics.removals import AbstractRemoval, Eraser, random_directions
from layeratlas.statistics.removals.base import Languages

LANGUAGE_PROBE, SAME_ITEMS = "language_probe", "language_probe_same_items"
NOTHING = "none"
RANDOM = "random_directions"
SIDES = "ab"

PerItem = Float[np.ndarray, " m"]


class Kind(NamedTuple):
    """What was taken away: a removal of some rank, or one of several draws of random directions; `none` before any."""

    removal: str
    rank: int
    draw: int = 0


Transfer = tuple[str, str]  # the side that a probe was trained on, the side that it is tested on


@dataclass
class Scores:
    """Of every item (n), held out from what it is judged by; a value is the mean over items.

    `transfer` are the credits of a probe for the group (see `linear_probe`), NaN for items of groups that are left out.
    `energy`: the share of the held-out vectors' squared distance from their mean that was taken away.
    """

    n: int
    by_statistic: dict[str, PerItem] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    transfer: dict[Transfer, PerItem] = field(default_factory=dict)
    energy: float = 0.0

    def put(self, statistic: str, items: Places, scores: PerItem) -> None:
        self.by_statistic.setdefault(statistic, np.full(self.n, np.nan))[items] = scores

    def put_transfer(self, sides: Transfer, items: Places, scores: PerItem) -> None:
        self.transfer.setdefault(sides, np.full(self.n, np.nan))[items] = scores


@dataclass(frozen=True)
class Judged:
    """What a layer is asked: the metrics of pairs, and each item's group as a number, -1 for those that are left out."""

    metrics: Sequence[AbstractPairedMetric]
    groups: Int[np.ndarray, " n"]
    halves: Sequence[Half]
    draws: int

    @property
    def classes(self) -> int:
        return int(self.groups.max()) + 1


def layer_scores(
    x: Languages, removals: Sequence[AbstractRemoval], judged: Judged, generator: torch.Generator
) -> dict[Kind, Scores]:
    """Raises Undefined where a removal or a probe cannot be fitted."""
    found: dict[Kind, Scores] = {}
    for half in judged.halves:
        fit, held = x[:, half.fit], x[:, half.held]
        share = len(half.held) / x.shape[1]
        spread = (held - held.mean(dim=(0, 1))).square().sum()
        for kind, erasers in _fitted(fit, removals, judged.draws, generator):
            scores = found.setdefault(kind, Scores(x.shape[1]))
            taken = sum(eraser.removed(side).square().sum() for eraser, side in zip(erasers, held, strict=True))
            scores.energy += share * float(taken / spread)
            _judge(_erased(erasers, fit), _erased(erasers, held), half, judged, scores)
    return found


def _fitted(
    x: Languages, removals: Sequence[AbstractRemoval], draws: int, generator: torch.Generator
) -> Iterator[tuple[Kind, Sequence[Eraser]]]:
    """An eraser of nothing, those of each removal, and random ones of each rank among them."""
    yield Kind(NOTHING, 0), [_of_nothing(x)] * len(x)
    ranks = set()
    for removal in removals:
        ranks.add(rank := removal.rank_of(len(x)))
        yield Kind(removal.name, rank), removal.fit(x)
    for rank in sorted(ranks - {0}):
        for draw in range(draws):
            yield Kind(RANDOM, rank, draw + 1), [random_directions(x, rank, generator)] * len(x)


def _of_nothing(x: Languages) -> Eraser:
    zeros, none = x.new_zeros(x.shape[-1]), x.new_empty(x.shape[-1], 0)
    return Eraser(none, none, zeros, zeros)


def _erased(erasers: Sequence[Eraser], x: Languages) -> Languages:
    return torch.stack([eraser(side) for eraser, side in zip(erasers, x, strict=True)])


def _judge(fit: Languages, held: Languages, half: Half, judged: Judged, scores: Scores) -> None:
    pair = LayerPair(*held)
    share = held.shape[1] / scores.n
    for metric in judged.metrics:
        matched = pair.of(metric)
        assert matched.scores is not None
        scores.put(metric.name, half.held, matched.scores)
        scores.chance[metric.name] = scores.chance.get(metric.name, 0.0) + share * matched.chance
    scores.chance[LANGUAGE_PROBE] = scores.chance[SAME_ITEMS] = 1 / len(held)
    scores.put(SAME_ITEMS, half.held, _right(_of_language(fit), held))
    for train, test in half.folds:
        learnt, asked = (held[:, np.searchsorted(half.held, part)] for part in (train, test))
        scores.put(LANGUAGE_PROBE, test, _right(_of_language(learnt), asked))
        if judged.classes > 1:
            _of_groups(learnt, asked, judged, (train, test), scores)


def _of_language(x: Languages) -> LinearProbe:
    languages, n, d = x.shape
    return fitted(x.reshape(-1, d), torch.arange(languages).repeat_interleave(n), languages)


def _right(probe: LinearProbe, x: Languages) -> PerItem:
    """How often the probe tells the language, of each item the mean over its languages."""
    credits = [probe.credits(side, torch.full((len(side),), language)) for language, side in enumerate(x)]
    return torch.stack(credits).mean(dim=0).cpu().numpy()


def _of_groups(learnt: Languages, asked: Languages, judged: Judged, parts: tuple[Places, Places], scores: Scores) -> None:
    train, test = (judged.groups[items] for items in parts)
    kept_train, kept_test = (np.flatnonzero(labels >= 0) for labels in (train, test))
    labels = torch.from_numpy(train[kept_train]), torch.from_numpy(test[kept_test])
    for i, trained in enumerate(SIDES):
        probe = fitted(learnt[i, kept_train], labels[0], judged.classes)
        for j, tested in enumerate(SIDES):
            credits = probe.credits(asked[j, kept_test], labels[1])
            scores.put_transfer((trained, tested), parts[1][kept_test], credits.cpu().numpy())
