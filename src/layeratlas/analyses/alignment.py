"""Where do two languages, or two versions of a text, meet inside a model, and where do they part?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.affinity.curves import Curves, Pairings, curves
from layeratlas.analyses.alignment_headline import alignment_headline
from layeratlas.analyses.alignment_tables import commitment, of_commitment, of_items, of_layers
from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings, RunNeeds
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import AbstractMetric
from layeratlas.options import Seed
from layeratlas.statistics.nulls import attainable_p
from layeratlas.statistics.resampling import jackknife_groups
from layeratlas.statistics.rise_and_fall import above_layer, at_peak, at_peak_interval, peaks, signs
from layeratlas.statistics.wrong_partners import exchangeable_within, length_runs, of_group, of_length

_TESTS = ("any_layer", "any_layer_of_length", "rise", "fall", "rise_and_fall")


@dataclass(frozen=True, kw_only=True)
class Alignment(AbstractAnalysis):
    """Each layer of side a against the same layer of side b, by each of `metrics`, and what is not due to translation in it.

    Beside each value: the mean of its permutation null (`chance`); the value with wrong partners, of the same group and of the
    same length on side b; the value once a regression on token counts is taken away; the jackknife interval; p over all
    orders of the items, and over orders within items of one length, each also corrected over layers by the largest studentised
    value. Texts of one length need not be translations, and a model knows positions: only the second p speaks for content.

    Commitment is the published rule (`threshold` at `consecutive` layers in a row) on cosines as they are, and its share of items
    a row of the table like any metric. Rise and fall are measured on items that the peak was not chosen on (`folds`), between
    the first and the last block that say something. Vectors are read as extracted: `normalization=` is not applied.
    """

    metrics: Sequence[AbstractMetric]
    threshold: Annotated[float, Interval(ge=-1, le=1)]
    consecutive: Annotated[int, Interval(ge=1, le=1000)]
    folds: Annotated[int, Interval(ge=2, le=1000)]
    seed: Seed

    @property
    def needs(self) -> RunNeeds:
        return RunNeeds(one_space=True, two_texts=True)

    def __call__(self, comparison: Comparison) -> Findings:
        if comparison.a.names != comparison.b.names:
            raise Undefined("it compares the same layer on both sides, and the sides have different layers")
        pairings = self._pairings(comparison)
        measured = curves(
            comparison.a,
            comparison.b,
            [metric.with_slack() for metric in self.metrics],
            pairings,
            threshold=self.threshold,
            consecutive=self.consecutive,
            device=comparison.signer.device,
        )
        table = self._table(measured, pairings, comparison)
        numbers: dict[str, Any] = {str(name): _any_layer(rows, pairings) for name, rows in table.groupby("statistic", sort=False)}
        for metric in self.metrics:
            numbers[metric.name] |= self._rise_and_fall(table, metric, measured, pairings, comparison)
        level = comparison.inference.level
        rule = {"threshold": self.threshold, "consecutive": self.consecutive}
        committed, by_item = commitment(measured, pairings, comparison.items, rule, level)
        numbers |= {"commitment": committed, "flagged": dict(measured.flags)}
        return Findings(
            table,
            parts={"items": of_items(measured, comparison.items)},
            others={"commitment": by_item},
            numbers=numbers,
            tests=[f"{name}.{test}.p" for name, found in numbers.items() for test in _TESTS if test in found],
            headline=alignment_headline(self.metrics[0].name, numbers[self.metrics[0].name], comparison.inference),
            sentences=_sentences(committed, self.metrics, numbers, comparison.inference.alpha),
            warnings=list(_warnings(measured, pairings)),
        )

    def require(self, metric: AbstractMetric, n: int) -> None:
        if len({metric.name for metric in self.metrics}) < max(1, len(self.metrics)):
            raise ConfigError("analysis.alignment.metrics: expected one metric or more, each once")
        if few := [f"{metric.name} needs {metric.min_n}" for metric in self.metrics if metric.min_n > n]:
            raise ConfigError(f"analysis.alignment.metrics: {n} items are too few: {', '.join(few)}; raise dataset.n")
        if self.folds > n:
            raise ConfigError(f"analysis.alignment.folds: expected at most as many as there are items ({n}); got {self.folds}")

    def _pairings(self, comparison: Comparison) -> Pairings:
        """The run's own orders and subsets; none within one length where items stay together in blocks."""
        inference, groups, n = comparison.inference, comparison.groups, comparison.affinity.n
        rng = np.random.default_rng([self.seed, 4])
        lengths = None if comparison.b.lengths is None else comparison.b.lengths.double().cpu().numpy()
        null = null_of_length = np.empty((0, n), dtype=int)
        if inference.permutations:
            null = inference.orders(groups, comparison.seed)
        if lengths is not None and inference.permutations and inference.block == 1:
            runs = length_runs(lengths, rng, groups if inference.within_groups else None)
            null_of_length = np.array(exchangeable_within(n, runs).others(inference.permutations, rng)).reshape(-1, n)
        with_length = None if lengths is None else of_length(lengths, rng)
        return Pairings(null, null_of_length, inference.subsets(groups), of_group(groups, rng), with_length)

    def _table(self, measured: Curves, pairings: Pairings, comparison: Comparison) -> pd.DataFrame:
        inference, groups = comparison.inference, comparison.groups
        units = len(set(groups)) if inference.by_group else len(groups)
        rows = [of_layers(metric, measured, pairings, inference, units) for metric in self.metrics]
        return pd.concat([*rows, of_commitment(measured, pairings, inference)], ignore_index=True)

    def _rise_and_fall(
        self, table: pd.DataFrame, metric: AbstractMetric, measured: Curves, pairings: Pairings, comparison: Comparison
    ) -> dict[str, Any]:
        """Of a metric that pairs items, where two blocks or more have a value; nothing of others."""
        scores = measured.by_metric[metric.name].scores
        places = [place for place in measured.telling_blocks if scores[place] is not None]
        if len(places) < 2:
            return {}
        inference, n = comparison.inference, comparison.affinity.n
        clusters = comparison.groups if inference.by_group else None
        folds = jackknife_groups(n, self.folds, clusters)
        values = np.stack([scores[place] for place in places], axis=1)  # type: ignore[arg-type]
        chosen = table[table["statistic"] == metric.name].iloc[np.array(places)[peaks(values, folds)]]
        numbers: dict[str, Any] = {
            "first_layer": measured.layers[places[0]],
            "last_layer": measured.layers[places[-1]],
            "peak_layers": chosen["layer"].tolist(),
            "chance_at_peak": float(chosen["chance"].mean()),
            "of_length_at_peak": float(chosen["baseline_length"].mean()),
            "of_group_at_peak": float(chosen["baseline_group"].mean()),
            "peak": {"value": at_peak(values, folds)},
        }
        if not pairings.subsets:
            return numbers
        low, high = metric.about.bounds
        interval = at_peak_interval(values, folds, pairings.subsets, level=inference.level, bounds=(low, high))
        numbers["peak"] |= {"ci_low": float(interval.low), "ci_high": float(interval.high)}
        units = np.arange(n) if clusters is None else clusters
        changed = signs(units, inference.permutations, np.random.default_rng([self.seed, 5]))
        if not len(changed):
            return numbers
        for name, layer in (("rise", 0), ("fall", -1)):
            above = above_layer(
                values, layer, folds, pairings.subsets, changed, level=inference.level, bounds=(low - high, high - low)
            )
            numbers[name] = above._asdict() | {"attainable_p": attainable_p(len(changed))}
        numbers["rise_and_fall"] = {
            "p": max(numbers["rise"]["p"], numbers["fall"]["p"]),
            "attainable_p": attainable_p(len(changed)),
        }
        return numbers


def _any_layer(rows: pd.DataFrame, pairings: Pairings) -> dict[str, Any]:
    """Whether any layer is aligned at all: the smallest p that is corrected over layers."""
    found = {}
    orders = {"any_layer": ("p_fwer", pairings.null), "any_layer_of_length": ("p_length_fwer", pairings.null_of_length)}
    for name, (column, null) in orders.items():
        if len(null) and rows[column].notna().any():
            found[name] = {"p": float(rows[column].min()), "attainable_p": attainable_p(len(null))}
    return found


def _sentences(committed: dict[str, Any], metrics: Sequence[AbstractMetric], numbers: dict[str, Any], alpha: float) -> list[str]:
    sentences = []
    first = numbers[metrics[0].name]
    if "rise_and_fall" in first:
        ends = {part: f"{part} {_with_interval(first[part])}" for part in ("rise", "fall")}
        verdict = "rises and falls" if first["rise_and_fall"]["p"] <= alpha else "is not shown to rise and fall"
        span = f"from {first['first_layer']} to the peak and on to {first['last_layer']}"
        sentences.append(f"{metrics[0].name} {verdict} {span}: {ends['rise']}, {ends['fall']}")
    share, chance = committed["committed"], committed["chance"]
    rule = f"cosine of at least {committed['threshold']:g} at {committed['consecutive']} layers in a row"
    wrong = "" if chance is None else f"; wrong partners commit in {chance:.0%}"
    sentences.append(
        f"committed by the published rule ({rule}): {share['value']:.0%} of items"
        f" ({share['ci_low']:.0%} to {share['ci_high']:.0%}), median {committed['median_layer']}{wrong}"
    )
    return sentences


def _with_interval(end: Mapping[str, float]) -> str:
    """The interval stands beside p: where other items choose another peak, it may include 0 although p is small."""
    return f"{end['value']:z.3f} ({end['ci_low']:z.3f} to {end['ci_high']:z.3f}, p = {end['p']:.2g})"


def _warnings(measured: Curves, pairings: Pairings) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for layer, flag in measured.flags.items():
        by_reason.setdefault(flag, []).append(layer)
    for flag, layers in by_reason.items():
        yield f"alignment, {', '.join(layers)}: {flag}; cosines there are those of a token, and say nothing of what the texts mean"
    for (metric, why), layers in measured.undefined.items():
        yield f"alignment, {metric} is undefined at {', '.join(layers)}: {why}"
    if pairings.of_length is None:
        yield "alignment: the vectors come without token counts, so that nothing is said of texts' lengths"
