"""Which of several models builds more alignment, where, and for which items not?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.corpora import Language
from layeratlas.corpora.failure_taxonomy import WordLists
from layeratlas.errors import ConfigError
from layeratlas.findings import Findings
from layeratlas.options import Fraction, Natural, Repetitions, Seed
from layeratlas.statistics.commitment import NEVER
from layeratlas.statistics.paired_items import PairedDifferences, at_depths, paired_over_items
from layeratlas.statistics.rise_and_fall import signs
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.families import corrected_over
from layeratlas.studies.router import router
from layeratlas.studies.sweep import Sweep, labelled
from layeratlas.studies.text_categories import confusion, labelled_texts, of_texts
from layeratlas.studies.variant_runs import (
    ALIGNMENT,
    COMMITMENT,
    MEAN,
    ItemCurves,
    SameTexts,
    curves_of,
    same_texts,
    shared_depths_of,
)


@dataclass(frozen=True, kw_only=True)
class Variants(AbstractStudy):
    """Models, or revisions of one, on the same texts: their commitment item by item, and their alignment at the same depths.

    `variants` has a row per condition, pair of languages, measure (see `variant_runs.ItemCurves`), two models and depth, the mean
    of depths among them: the second model less the first, paired over items. Models of other depths are read between their layers.
    p comes from changed signs of items, `p_fwer` is over depths, `p_holm` over all pairs of languages and of models, of the means.
    `variants_commitment` has a row per item, pair of languages and model. `variants_failures` are items by the published rule:
    the `baseline` commits and a variant does not, or more than `later` layers after it; for models of the same layers alone.
    `variants_taxonomy` says of each text of side b what may make it hard (see `corpora.failure_taxonomy`), with `terms` for the
    published rule; of the file `labels` too, against whose labels `variants_confusion` counts. The router file gives for each
    pair of languages the model to take, with its evidence, or none.
    """

    baseline: str | None
    later: Natural
    draws: Repetitions
    alpha: Fraction
    level: Annotated[float, Interval(gt=0, lt=1)]
    terms: Sequence[str]
    function_words: Mapping[str, Sequence[str]]
    register: Mapping[str, Sequence[str]]
    labels: str | None
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        groups = list(same_texts(sweep))
        if not groups:
            return None
        self._require_baseline(groups)
        languages, lists = dict(_languages(groups)), WordLists(self.function_words, self.register)
        warnings: list[str] = []
        table = self._differences(groups, warnings)
        taxonomy = of_texts(_texts(groups), languages, self.terms, lists)
        parts = {"commitment": _commitments(groups), "taxonomy": taxonomy}
        failures = pd.DataFrame(row for group in groups for row in self._failures(group, warnings))
        if len(failures):
            parts["failures"] = failures.merge(taxonomy, on=["id", "language"], how="left")
        if self.labels:
            parts["labelled"] = of_texts(labelled_texts(self.labels), languages, self.terms, lists)
            parts["confusion"] = confusion(parts["labelled"])
        return Findings(
            table if len(table) else None,
            parts,
            _numbers(table, failures),
            sentences=_sentences(table, self.alpha),
            warnings=list(dict.fromkeys(warnings)),
            documents={"router": router(table, parts.get("failures"), parts.get("labelled"), alpha=self.alpha)},
        )

    def _require_baseline(self, groups: Sequence[SameTexts]) -> None:
        for group in groups:
            if self.baseline is not None and self.baseline not in group.runs:
                there = ", ".join(group.runs)
                raise ConfigError(f"study.variants.baseline: no run of {self.baseline!r} in {group.languages}; there are {there}")

    def _differences(self, groups: Sequence[SameTexts], warnings: list[str]) -> pd.DataFrame:
        tables = []
        for group in groups:
            curves = {model: curves_of(run) for model, run in group.runs.items()}
            for first, second in combinations(self._ordered(group), 2):
                where = f"{group.condition} {group.languages}, {first} and {second}"
                if curves[first].ids != curves[second].ids:
                    warnings.append(f"{where}: they read other items, or in another order, and are not compared")
                    continue
                if not len(depths := shared_depths_of(curves[first], curves[second])):
                    warnings.append(f"{where}: no depth at which both say something")
                    continue
                table = self._compared(curves[first], curves[second], depths, _by_group(group.runs[first]))
                labels = {"language_a": group.language_a, "language_b": group.language_b, "first": first, "second": second}
                tables.append(labelled(table.assign(**labels, condition=group.condition), group.shared))
        if not tables:
            return pd.DataFrame()
        table = pd.concat(tables, ignore_index=True)
        whole = table["layer"] == MEAN
        table.loc[whole, "p_holm"] = corrected_over(table[whole], "p", ["condition", "measure"])
        return table

    def _ordered(self, group: SameTexts) -> list[str]:
        """The models, the baseline first."""
        return sorted(group.runs, key=lambda model: model != (self.baseline or next(iter(group.runs))))

    def _compared(self, first: ItemCurves, second: ItemCurves, depths: np.ndarray, by_group: bool) -> pd.DataFrame:
        units = first.groups if by_group else first.ids
        changed = signs(units, self.draws, np.random.default_rng([self.seed, 7]))
        rows = []
        for measure in first.measures:
            x, y = (at_depths(curves.measures[measure], curves.depths, depths) for curves in (first, second))
            of_depths = paired_over_items(y - x, units, changed, level=self.level)
            of_mean = paired_over_items((y - x).mean(axis=1, keepdims=True), units, changed, level=self.level)
            values = {"value_first": x.mean(axis=0), "value_second": y.mean(axis=0)}
            rows.append(_table(measure, "", depths, of_depths, values))
            means = {name: np.array([value.mean()]) for name, value in values.items()}
            rows.append(_table(measure, MEAN, np.array([np.nan]), of_mean, means))
        return pd.concat(rows, ignore_index=True).assign(items=len(first.ids), units=len(set(units)))

    def _failures(self, group: SameTexts, warnings: list[str]) -> Iterator[dict[str, Any]]:
        """Items that the baseline commits and a variant does not, or later than the published rule allows."""
        first, *others = self._ordered(group)
        base = group.runs[first].table(COMMITMENT).set_index("id")["place"]
        layers = _layers(group, first)
        for model in others:
            if _layers(group, model) != layers:
                warnings.append(f"{group.languages}, {first} and {model}: the published rule counts layers, and theirs differ")
                continue
            own = group.runs[model].table(COMMITMENT).set_index("id")["place"]
            for item in base.index.intersection(own.index):
                if reason := failure(int(base[item]), int(own[item]), self.later):
                    labels = {"condition": group.condition, "language_a": group.language_a, "language": group.language_b}
                    places = {"baseline_place": int(base[item]), "variant_place": int(own[item])}
                    yield labels | {"id": item, "baseline": first, "variant": model} | places | {"reason": reason}


def failure(base: int, variant: int, later: int) -> str | None:
    """By the published rule, from the places of the layers at which an item commits (or NEVER); None where it does not fail."""
    if base == NEVER:
        return None
    if variant == NEVER:
        return "never"
    return "later" if variant > base + later else None


def _table(
    measure: str, layer: str, depths: np.ndarray, found: PairedDifferences, values: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    return pd.DataFrame({"measure": measure, "layer": layer, "depth": depths, **values, **found._asdict()})


def _layers(group: SameTexts, model: str) -> list[str]:
    return group.runs[model].table(ALIGNMENT)["layer"].drop_duplicates().tolist()


def _by_group(run: Any) -> bool:
    return bool((run.result["provenance"]["config"].get("statistics") or {}).get("by_group", False))


def _languages(groups: Sequence[SameTexts]) -> Iterator[tuple[str, Language]]:
    for group in groups:
        config = next(iter(group.runs.values())).result["provenance"]["config"]
        for side in "ab":
            node = config[f"language_{side}"]
            yield node["code"], Language(**node)


def _texts(groups: Sequence[SameTexts]) -> pd.DataFrame:
    """Each text of a side b once, under its language."""
    tables = []
    for group in groups:
        items = next(iter(group.runs.values())).table("items")
        if "text_b" in items:
            tables.append(pd.DataFrame({"id": items["id"], "language": group.language_b, "text": items["text_b"]}))
    columns = ["id", "language", "text"]
    return pd.concat(tables, ignore_index=True).drop_duplicates(columns) if tables else pd.DataFrame(columns=columns)


def _commitments(groups: Sequence[SameTexts]) -> pd.DataFrame:
    """A row per item, pair of languages and model."""
    tables = [
        labelled(run.table(COMMITMENT).assign(model=model, language_a=group.language_a, language_b=group.language_b), group.shared)
        for group in groups
        for model, run in group.runs.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _numbers(table: pd.DataFrame, failures: pd.DataFrame) -> dict[str, Any]:
    means = table[table["layer"] == MEAN] if len(table) else table
    columns = ["condition", "language_a", "language_b", "measure", "first", "second", "value", "ci_low", "ci_high", "p", "p_holm"]
    rows = means[columns].astype(object).where(means[columns].notna(), None).to_dict("records") if len(means) else []
    return {"mean_of_depths": rows, "failures": len(failures)}


def _sentences(table: pd.DataFrame, alpha: float) -> list[str]:
    """For each two models, in how many pairs of languages one builds more alignment."""
    if table.empty:
        return []
    sentences = []
    means = table[(table["layer"] == MEAN) & (table["measure"] == table["measure"].iloc[0])]
    for (condition, first, second), rows in means.groupby(["condition", "first", "second"], sort=False):
        certain = rows["p_holm"] <= alpha
        more, less = int((certain & (rows["value"] > 0)).sum()), int((certain & (rows["value"] < 0)).sum())
        where = f"{condition}: {rows['measure'].iloc[0]}, mean of depths"
        counted = f"{second} above {first} in {more} of {len(rows)} pairs of languages, below it in {less}"
        sentences.append(f"{where}: {counted} (corrected p <= {alpha:g}); {rows['value'].mean():z.3f} on average")
    return sentences
