"""Do the layers place a text the more centrally the likelier the model finds it, and does that change with depth?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from annotated_types import Interval

import layeratlas.analyses.phases_published as published
import layeratlas.analyses.phases_sound as sound
from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings, Headline, RunNeeds
from layeratlas.analyses.pair_items import PairItems
from layeratlas.errors import Undefined
from layeratlas.layers import depth, select
from layeratlas.options import Positive, Seed
from layeratlas.statistics.pair_asymmetry import PUBLISHED, left_out_asymmetry
from layeratlas.statistics.published_phases import sampled_layers

_FEWEST_NEUTRAL = 10
_PUBLISHED_POOLING = "mean_skip_first"


@dataclass(frozen=True, kw_only=True)
class Phases(AbstractAnalysis):
    """Correlation over pairs of texts between centroid asymmetry and preference, layer by layer: as published, and soundly.

        cos(a_i, centroid of a) - cos(b_i, centroid of b)   with   NLL(b_i) - NLL(a_i)

    As published (D'Elia, 2026): `resamples` of the pairs, the layers 0, `stride`, 2 `stride`, ... of the hidden states and the last
    (null: max(1, blocks // 8)), phases and labels as in `statistics.published_phases`. Soundly: each text is left out of its own
    centroid; correlations within categories (the items' groups) and given lengths; `draws` resamples and permutations within
    categories; blocks alone have phases. `preference` is the unit of the likelihoods, see `PairItems`. Pairs of the group `neutral`
    are compared with all others and are part of nothing else; `structural` groups stay out of the published second verdict on
    uniformity.
    """

    preference: Literal["total", "per_token", "per_character", "after_shared_beginning"]
    stride: Positive | None
    resamples: Annotated[int, Interval(ge=100, le=1_000_000)]
    draws: Annotated[int, Interval(ge=100, le=1_000_000)]
    neutral: str
    structural: Sequence[str]
    seed: Seed

    @property
    def needs(self) -> RunNeeds:
        return RunNeeds(one_space=True, layers="all", likelihoods=True, two_fields=True)

    def __call__(self, comparison: Comparison) -> Findings:
        pairs, asked = _Pairs.of(comparison, self), comparison.inference
        sample = pairs.sample(self.draws, np.random.default_rng([self.seed, 6]))
        read = _Read(comparison, pairs, sample, select("hidden_states", comparison.a.names), self.stride)
        depths, preference = read.depths, sample.preference
        correlations = published.correlations(read.sampled, preference, depths, self.resamples)
        table = self._table(read, sample, pairs, correlations, asked.alpha, asked.level)
        names = [name for name in read.layers if np.isfinite(depths[name])]
        blocks, at = [read.layers[name] for name in names], np.array([depths[name] for name in names])
        numbers: dict[str, Any] = {
            "preference": self.preference,
            "alpha": asked.alpha,
            "pairs": sample.categories.n,
            "categories": {n: len(m) for n, m in zip(sample.categories.names, sample.categories.members, strict=True)},
            "neutral_pairs": int(pairs.neutral.sum()),
            "published": published.labels(correlations)
            | {"uniformity": published.uniformity_verdicts(list(read.uniformity.values())[-1], self.structural, self.resamples)},
            "phases": sound.phases(blocks, at, sample.categories, asked.level),
            "change_point": sound.change(names, blocks, at, sample.categories, asked.alpha, asked.level),
            "surviving_layers": _surviving(table, self.preference, asked.alpha),
            "simpson": sound.simpson(table, self.preference),
        }
        return Findings(
            table,
            parts={
                "items": pd.concat(read.items, ignore_index=True),
                "categories": sound.categories_table(read.layers, depths, sample, asked.level).merge(
                    pd.concat([t.assign(layer=name) for name, t in read.uniformity.items()]), on=["layer", "category"], how="left"
                ),
            },
            numbers=numbers,
            tests=[*(f"phases.{name}.p" for name in numbers["phases"]), "change_point.p"],
            headline=_headline(numbers, asked.level),
            sentences=_sentences(numbers),
            warnings=pairs.doubts,
        )

    def _table(
        self, read: "_Read", sample: sound.Sample, pairs: "_Pairs", correlations: pd.DataFrame, alpha: float, level: float
    ) -> pd.DataFrame:
        """Every estimate of every layer, one below the other."""
        sampled = {name: read.uniformity[name] for name in read.sampled}
        over_categories = published.of_categories(sampled, sample.preference, pairs.groups, read.depths)
        frames = [
            correlations.assign(estimator="published", n=sample.categories.n),
            over_categories.assign(estimator="published", n=len(sample.categories.names)),
            sound.estimates(read.layers, read.depths, sample, self.preference, alpha, level),
        ]
        if pairs.neutral.sum() >= _FEWEST_NEUTRAL:
            preference = pairs.items.preferences[self.preference].to_numpy()[pairs.neutral]
            frames.append(sound.against_neutral(read.layers, read.neutral, preference, read.depths, sample, level))
        table = pd.concat(frames, ignore_index=True)
        return table.assign(
            statistic=table["statistic"].fillna(published.CENTROID), preference=table["preference"].fillna(self.preference)
        )


@dataclass(frozen=True)
class _Pairs:
    """The run's items as pairs; `neutral` marks those of the control group."""

    items: PairItems
    ids: pd.Series
    labels: np.ndarray
    neutral: np.ndarray
    preference: str
    doubts: Sequence[str]

    @classmethod
    def of(cls, comparison: Comparison, asked: Phases) -> "_Pairs":
        a, b, labels = comparison.of("a"), comparison.of("b"), comparison.items["group"].to_numpy(dtype=str)
        items = PairItems.of(a, b, comparison.items["id"])
        neutral = labels == asked.neutral
        if neutral.all():
            raise Undefined(f"phases: all pairs are of the group {asked.neutral!r}, which is the control")
        doubts = []
        if 0 < neutral.sum() < _FEWEST_NEUTRAL:
            doubts.append(f"phases: {neutral.sum()} neutral pairs are too few to compare; {_FEWEST_NEUTRAL} would do")
        if comparison.pooling not in (None, _PUBLISHED_POOLING):
            doubts.append(
                f"phases: the published numbers are of pooling={_PUBLISHED_POOLING}; what is called published here is their"
                f" procedure on vectors of pooling={comparison.pooling}"
            )
        if (unopened := a["first_token"].notna() & b["first_token"].notna()).any():
            word = f"phases: {unopened.mean():.0%} of the texts begin with a token of their own, whose likelihood is not scored"
            skips = comparison.pooling == _PUBLISHED_POOLING
            doubts.append(f"{word}, and which this pooling leaves out; pooling=mean_content reads it" if skips else word)
        return cls(items, comparison.items["id"], labels, neutral, asked.preference, doubts)

    @property
    def groups(self) -> list[str]:
        return self.labels[~self.neutral].tolist()

    def sample(self, draws: int, rng: np.random.Generator) -> sound.Sample:
        opposed = self.items.some(~self.neutral)
        values = {str(name): opposed.preferences[name].to_numpy() for name in opposed.preferences}
        preference = values.pop(self.preference)
        return sound.Sample.drawn(self.groups, preference, values, opposed.covariates, draws, rng)


class _Read:
    """Every layer, read once: what the published procedure and the sound one make of its vectors."""

    def __init__(
        self, comparison: Comparison, pairs: _Pairs, sample: sound.Sample, hidden: Sequence[str], stride: int | None
    ) -> None:
        self.layers: dict[str, sound.Layer] = {}
        self.sampled: dict[str, Mapping[str, np.ndarray]] = {}
        self.uniformity: dict[str, pd.DataFrame] = {}
        self.neutral: dict[str, np.ndarray] = {}
        self.items: list[pd.DataFrame] = []
        self.depths = {name: depth(name, comparison.a.n_blocks) for name in comparison.a.names}
        chosen = {hidden[place] for place in sampled_layers(len(hidden), stride)}
        for name in comparison.a.names:
            a, b = (side.layers[name].double().numpy() for side in (comparison.a, comparison.b))
            self._add(name, a, b, pairs, sample, name in chosen)

    def _add(self, name: str, a: np.ndarray, b: np.ndarray, pairs: _Pairs, sample: sound.Sample, sampled: bool) -> None:
        opposed = a[~pairs.neutral], b[~pairs.neutral]
        values = {statistic: of(*opposed) for statistic, of in PUBLISHED.items()}
        self.layers[name] = sound.layer_of(*opposed, sample, name)
        self.uniformity[name] = published.uniformities(*opposed, pairs.groups)
        if sampled:
            self.sampled[name] = values
        weights = (~pairs.neutral)[None].astype(float)
        left_out = left_out_asymmetry(a, b, weights)[0]
        self.neutral[name] = left_out[pairs.neutral]
        table = pd.DataFrame({"id": pairs.ids, "group": pairs.labels, "layer": name, "depth": self.depths[name]})
        for statistic, numbers in values.items():
            table.loc[~pairs.neutral, statistic] = numbers
        self.items.append(
            pd.concat([table.assign(left_out_asymmetry=left_out), pairs.items.preferences, pairs.items.lengths], axis=1)
        )


def _surviving(table: pd.DataFrame, preference: str, alpha: float) -> dict[str, list[str]]:
    """Layers where r is not 0: by the published intervals, and corrected over blocks within categories and given lengths."""
    centroid = table[(table["statistic"] == published.CENTROID) & (table["preference"] == preference)]
    apart = (centroid["ci_low"] > 0) | (centroid["ci_high"] < 0)
    chosen = {"published": apart, "within": centroid["p_fwer"] <= alpha, "partial": centroid["p_fwer"] <= alpha}
    return {name: centroid.loc[(centroid["estimator"] == name) & rows, "layer"].tolist() for name, rows in chosen.items()}


def _headline(numbers: dict[str, Any], level: float) -> Headline:
    difference = numbers["phases"]["early_minus_late"]
    value, low, high = (difference[key] for key in ("value", "ci_low", "ci_high"))
    certain = "differs from" if low > 0 or high < 0 else "does not differ surely from"
    return Headline(
        text="r of centroid asymmetry with preference within categories, early minus late (Fisher z)",
        value=value,
        chance=0.0,
        ci_low=low,
        ci_high=high,
        p=difference["p"],
        sided="two",
        sentence=(
            f"Within categories, the correlation of early blocks {certain} that of late ones: {value:+.2f}"
            f" ({level:.0%} interval {low:+.2f} to {high:+.2f})."
        ),
        caution="A correlation over pairs shows no cause, and that of these categories need not be that of others.",
    )


def _sentences(numbers: dict[str, Any]) -> list[str]:
    published, found, surviving = numbers["published"], numbers["phases"], numbers["surviving_layers"]
    sampled = f"{len(surviving['published'])} of {len(published['layers'])} sampled layers with an interval without 0"
    as_published = ", ".join(f"{name} {published[name]:+.2f}" for name in sound.PHASES)
    within = ", ".join(f"{name} {found[name]['value']:+.2f}" for name in sound.PHASES)
    lines = [
        f"as published: {as_published}, {published['pattern']}; {sampled}",
        f"within categories: {within}; {len(surviving['within'])} blocks with a corrected p of alpha or less, given lengths"
        f" {len(surviving['partial'])}",
    ]
    change = numbers["change_point"]
    if change["pattern"] == "change":
        lines.append(
            f"a change after {change['after']}, from {change['before']:+.2f} to {change['later']:+.2f} (depth"
            f" {change['depth']:.2f}, {change['depth_ci_low']:.2f} to {change['depth_ci_high']:.2f}; p {change['p']:.2g})"
        )
    else:
        shape = "a straight line is enough" if change["pattern"] == "none" else "neither a straight line nor two levels"
        lines.append(f"no change point: {shape} (p {change['p']:.2g})")
    if paradox := numbers["simpson"]:
        lines.append(
            f"Simpson's paradox at {paradox['layer']}: pooled r = {_short(paradox['pooled'])}; within categories"
            f" {_short(paradox['within'])}: the categories' means make the pooled correlation ({paradox['layers']} layers)"
        )
    return lines


def _short(r: float) -> str:
    """+.50 for 0.5."""
    return f"{r:+.2f}".replace("0.", ".", 1)
