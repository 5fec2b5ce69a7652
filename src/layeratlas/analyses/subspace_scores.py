"""One layer in several languages: what held-out items score before and after each removal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from layeratlas.affinity.matched import LayerPair
from layeratlas.metrics.paired import AbstractPairedMetric
from layeratlas.statistics.cross_fitting import Grade, Graded, Half, Places, grade_folds, parts_of
from layeratlas.statistics.linear_probe import LinearProbe, fitted
from layeratlas.statistics.removals import AbstractRemoval, Eraser, random_directions
from layeratlas.statistics.removals.base import Languages

LANGUAGE_PROBE, SAME_ITEMS = "language_probe", "language_probe_same_items"
NOTHING = "none"
RANDOM = "random_directions"

PerItem = Float[np.ndarray, " m"]


class Kind(NamedTuple):
    """What was taken away: a removal of some rank, or one of several draws of random directions; `none` before any."""

    removal: str
    rank: int
    draw: int = 0


Transfer = tuple[str, str]  # the language that a probe was trained on, the language that it is tested on


@dataclass
class Scores:
    """Of every item (n), held out from what it is judged by; a value is the mean over items.

    `of_groups` are the credits, in each language, of a probe for the group that was trained in this one (see `linear_probe`);
    NaN for items of groups that are left out.
    `energy`: the share of the held-out vectors' squared distance from their mean that was taken away.
    """

    n: int
    parts: int
    by_statistic: dict[str, Graded] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    of_groups: dict[str, Graded] = field(default_factory=dict)
    energy: float = 0.0

    def put(self, statistic: str, items: Places, scores: PerItem) -> None:
        """Scores of items that no other item's score has a part in, but for what all are judged by."""
        self.by_statistic.setdefault(statistic, Graded.empty(0, self.n)).scores[items] = scores

    def of_probe(self, statistic: str) -> Graded:
        return self.by_statistic.setdefault(statistic, Graded.empty(self.parts, self.n))

    @property
    def transfer(self) -> dict[Transfer, Graded]:
        languages = list(self.of_groups)
        return {(trained, tested): self.of_groups[trained].of(j) for trained in languages for j, tested in enumerate(languages)}


@dataclass(frozen=True)
class Judged:
    """What a layer is asked: the metrics of pairs, and each item's group as a number, -1 for those that are left out.

    `languages` are what each of a layer's languages is called.
    """

    languages: Sequence[str]
    metrics: Sequence[AbstractPairedMetric]
    groups: Int[np.ndarray, " n"]
    halves: Sequence[Half]
    draws: int

    @property
    def classes(self) -> int:
        return int(self.groups.max()) + 1

    @cached_property
    def parts(self) -> Int[np.ndarray, " n"]:
        return parts_of(self.halves, len(self.groups))


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
            scores = found.setdefault(kind, Scores(x.shape[1], int(judged.parts.max()) + 1))
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
    share = held.shape[1] / scores.n
    pairs = [LayerPair(one, other) for one, other in combinations(held, 2)]
    for metric in judged.metrics:
        matched = [pair.of(metric) for pair in pairs]
        of_pairs = [one.scores for one in matched if one.scores is not None]
        assert len(of_pairs) == len(pairs)  # every metric of pairs has one for each
        scores.put(metric.name, half.held, np.mean(of_pairs, axis=0))
        chance = float(np.mean([one.chance for one in matched]))
        scores.chance[metric.name] = scores.chance.get(metric.name, 0.0) + share * chance
    scores.chance[LANGUAGE_PROBE] = scores.chance[SAME_ITEMS] = 1 / len(held)
    scores.put(SAME_ITEMS, half.held, _right(_of_language(fit), held))
    at = np.empty(scores.n, dtype=int)
    at[half.held] = np.arange(len(half.held))

    def learn_language(train: Places) -> Grade:
        probe = _of_language(held[:, at[train]])
        return lambda test: _right(probe, held[:, at[test]])

    grade_folds(half, learn_language, scores.of_probe(LANGUAGE_PROBE))
    if judged.classes > 1:
        for own, language in zip(held, judged.languages, strict=True):
            empty = Graded.empty(scores.parts, len(held), scores.n)
            grade_folds(half, _groups_of(own, held, at, judged), scores.of_groups.setdefault(language, empty))


def _of_language(x: Languages) -> LinearProbe:
    languages, n, d = x.shape
    return fitted(x.reshape(-1, d), torch.arange(languages).repeat_interleave(n), languages)


def _right(probe: LinearProbe, x: Languages) -> PerItem:
    """How often the probe tells the language, of each item the mean over its languages."""
    credits = [probe.credits(side, torch.full((len(side),), language)) for language, side in enumerate(x)]
    return torch.stack(credits).mean(dim=0).cpu().numpy()


def _groups_of(own: Float[torch.Tensor, "m d"], held: Languages, at: Places, judged: Judged) -> Callable[[Places], Grade]:
    """Learns items' groups in one language, and grades them in all."""

    def learn(train: Places) -> Grade:
        known = train[judged.groups[train] >= 0]
        probe = fitted(own[at[known]], torch.from_numpy(judged.groups[known]), judged.classes)

        def grade(test: Places) -> Float[np.ndarray, "languages _"]:
            asked = judged.groups[test] >= 0
            labels, found = torch.from_numpy(judged.groups[test[asked]]), np.full((len(held), len(test)), np.nan)
            for i, side in enumerate(held):
                found[i, asked] = probe.credits(side[at[test[asked]]], labels).cpu().numpy()
            return found

        return grade

    return learn
