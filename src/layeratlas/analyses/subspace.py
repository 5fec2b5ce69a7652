"""What of a model's vectors is a language's own, and what is left of language and content once it is taken away?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Interval

from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings, Headline, RunNeeds, Tensors
from layeratlas.analyses.edit_files import edit_files, seeded
from layeratlas.analyses.subspace_scores import LANGUAGE_PROBE, NOTHING, SAME_ITEMS, Judged, Kind, Scores, layer_scores
from layeratlas.analyses.subspace_tables import Sample, Statistic, of_pairs, of_transfer, statistics_of
from layeratlas.errors import ActivationError, ConfigError, Undefined
from layeratlas.metrics import AbstractMetric
from layeratlas.metrics.base import require_different_items
from layeratlas.metrics.paired import AbstractPairedMetric, PairedCosineCentred
from layeratlas.options import Seed
from layeratlas.statistics.cross_fitting import Graded, halves
from layeratlas.statistics.removals import AbstractRemoval, BetweenLanguages, Centring
from layeratlas.statistics.removals.base import Languages


@dataclass(frozen=True, kw_only=True)
class Subspace(AbstractAnalysis):
    """Each of `removals` at each layer: how well a linear probe tells the languages afterwards, and translations find each other.

    Erasers are fitted on one half of the items and judged on the other, both ways; probes, their standardisation included, on
    `folds` - 1 folds of that other half (`statistics.cross_fitting`). All translations of an item are in one part. Retrieval
    is among the items of one half. Beside each removal: the change from the vectors as they are, and what as many random
    directions of the same rank do (`draws` of them). Intervals are over items, for the erasers that these items gave; those of
    probes hold what folds have in common as they learn from each other's items (`statistics.cross_fitting.Graded`), for which
    each probe is fitted without each other fold too.

    A linear probe can find nothing where the languages' means are equal (Belrose et al., 2023, theorem 3.1). After removals that
    make the means of their own items equal, `language_probe`, which learns from other items, finds how far these means are from
    those of the texts in general: an eraser's error, which falls with the number of items. `language_probe_same_items` learns
    from the items that the eraser was fitted on, as is usual, and is .5 after such removals whatever that error is.

    Transfer: a linear probe for the items' group, trained on one side and tested on either, on items that no training saw;
    the mean over groups of the share of items that are right. Groups of fewer than 2 `folds` items are left out.

    `bases`: each removal as fitted on ALL items of the run is written as safetensors, to be used on other items. Vectors are
    read as extracted: `normalization=` is not applied.
    """

    removals: Sequence[AbstractRemoval]
    metrics: Sequence[AbstractPairedMetric]
    folds: Annotated[int, Interval(ge=4, le=100)]
    draws: Annotated[int, Interval(ge=5, le=1000)]
    bases: bool
    seed: Seed

    @property
    def needs(self) -> RunNeeds:
        return RunNeeds(one_space=True, two_texts=True)

    def require(self, metric: AbstractMetric, n: int) -> None:
        del metric
        kinds = [(removal.name, removal.rank_of(2)) for removal in self.removals]
        if len(set(kinds)) < max(1, len(kinds)):
            raise ConfigError("analysis.subspace.removals: expected one or more, each once")
        if any(isinstance(removal, BetweenLanguages) and removal.rank > 1 for removal in self.removals):
            raise ConfigError("analysis.subspace.removals: two languages differ in one direction; BetweenLanguages expects rank: 1")
        if n < 4 * self.folds:
            raise ConfigError(f"analysis.subspace.folds: two halves of {self.folds} folds need {4 * self.folds} items; got {n}")
        if few := [f"{m.name} needs {m.min_n}" for m in self.metrics if m.min_n > n // 2]:
            raise ConfigError(f"analysis.subspace.metrics: half of {n} items is too few: {', '.join(few)}")

    def __call__(self, comparison: Comparison) -> Findings:
        if comparison.a.names != comparison.b.names:
            raise Undefined("it compares the same layer on both sides, and the sides have different layers")
        groups, inference = comparison.groups, comparison.inference
        judged = Judged("ab", self.metrics, codes_of(groups, 2 * self.folds), halves(groups, self.folds), self.draws)
        units = len(set(groups)) if inference.by_group else len(groups)
        sample = Sample(inference.subsets(groups), units, inference.level, judged.parts)
        found: dict[str, dict[Kind, Scores]] = {}
        undefined: dict[str, str] = {}
        for place, name in enumerate(comparison.a.names):
            try:
                found[name] = layer_scores(_layer(comparison, name), self.removals, judged, seeded(self.seed, 5, place))
            except Undefined as error:
                undefined[name] = str(error)
        if not found:
            raise Undefined(f"no layer has two languages to compare: {next(iter(undefined.values()))}")
        depths = dict(zip(comparison.a.names, comparison.a.depths, strict=True))
        at = {name: {"layer": name, "depth": depths[name]} for name in found}
        table = pd.DataFrame([at[name] | row for name, own in found.items() for row in of_pairs(own, judged, sample)])
        rows = [] if judged.classes < 2 else [at[n] | row for n, own in found.items() for row in of_transfer(own, judged, sample)]
        blocks = [own for name, own in found.items() if np.isfinite(depths[name])] or list(found.values())
        numbers = _over_blocks(blocks, judged, sample)
        return Findings(
            table,
            parts={"transfer": pd.DataFrame(rows)} if rows else {},
            numbers=numbers | {"undefined": undefined},
            headline=_headline(numbers, self.removals[0], comparison),
            sentences=list(_sentences(numbers, self.removals, self.metrics, judged)),
            warnings=list(_warnings(undefined, groups, judged, 2 * self.folds)),
            tensors=self._bases(comparison, list(found)) if self.bases else {},
        )

    def _bases(self, comparison: Comparison, layers: Sequence[str]) -> dict[str, Tensors]:
        return edit_files(comparison, self.removals, layers, self.draws, self.seed, controls=False).tensors()


def _layer(comparison: Comparison, name: str) -> Languages:
    """Both languages' vectors. Raises Undefined where those of one language are all the same: nothing of an item is there."""
    sides = [side.layers[name] for side in (comparison.a, comparison.b)]
    for side, x in zip("ab", sides, strict=True):
        if not bool(x.isfinite().all()):
            raise ActivationError(f"subspace, side {side}, {name}: activations hold NaN or infinite values")
        try:
            require_different_items(x)
        except Undefined as error:
            raise Undefined(f"side {side}: {error}") from error
    return torch.stack(sides).to(comparison.signer.device, torch.float64)


def codes_of(groups: Sequence[str], fewest: int) -> np.ndarray:
    """A number for each group of as many items as there are parts or more; -1 for the items of all others."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    kept = counts >= fewest
    return np.where(kept, np.cumsum(kept) - 1, -1)[inverse]


def _over_blocks(blocks: Sequence[dict[Kind, Scores]], judged: Judged, sample: Sample) -> dict[str, Any]:
    """Each statistic's mean over blocks, by removal: the scores of each item are averaged over blocks first."""
    numbers: dict[str, dict[str, Any]] = {}
    for name, statistic in statistics_of(judged).items():
        by_kind = {kind: Graded.mean([own[kind].by_statistic[name] for own in blocks]) for kind in blocks[0]}
        chance = float(np.mean([own[Kind(NOTHING, 0)].chance[name] for own in blocks]))
        numbers[name] = {"chance": chance, "removals": _rows(by_kind, statistic, sample)}
    if judged.classes > 1:
        statistic = Statistic((0.0, 1.0), judged.groups)
        numbers["transfer"] = {"chance": 1 / judged.classes}
        for sides in blocks[0][Kind(NOTHING, 0)].transfer:
            by_kind = {kind: Graded.mean([own[kind].transfer[sides] for own in blocks]) for kind in blocks[0]}
            numbers["transfer"]["_to_".join(sides)] = _rows(by_kind, statistic, sample)
    return numbers


def _rows(by_kind: dict[Kind, Graded], statistic: Statistic, sample: Sample) -> dict[str, Any]:
    """By the removal's name and rank; of the random draws, what stands beside each removal is enough."""
    return {
        called(kind): {key: None if np.isnan(value) else value for key, value in statistic.row(kind, by_kind, sample).items()}
        for kind in by_kind
        if not kind.draw
    }


def called(kind: Kind) -> str:
    return kind.removal if kind.removal == NOTHING else f"{kind.removal}_{kind.rank}"


def _kind(removal: AbstractRemoval) -> Kind:
    return Kind(removal.name, removal.rank_of(2))


def _headline(numbers: dict[str, Any], removal: AbstractRemoval, comparison: Comparison) -> Headline:
    probe = numbers[LANGUAGE_PROBE]
    own, before = probe["removals"][called(_kind(removal))], probe["removals"][NOTHING]["value"]
    sides = "two texts" if comparison.languages["a"] == comparison.languages["b"] else "languages"
    same = numbers[SAME_ITEMS]["removals"][called(_kind(removal))]["value"]
    return Headline(
        f"{LANGUAGE_PROBE} after {removal.name}",
        own["value"],
        probe["chance"],
        own["ci_low"],
        own["ci_high"],
        sentence=f"a linear probe tells the {sides} of {before:.0%} of held-out items apart, mean over blocks, and of"
        f" {own['value']:.0%} after {removal.name} was fitted on other items (chance {probe['chance']:.0%}); of {same:.0%} if the"
        " probe knows no other items than the eraser",
        caution="means of few items are uncertain, and a probe for other items can read their error; more items leave less",
    )


def _sentences(
    numbers: dict[str, Any], removals: Sequence[AbstractRemoval], metrics: Sequence[AbstractMetric], judged: Judged
) -> Iterator[str]:
    for name in [LANGUAGE_PROBE, SAME_ITEMS, *(metric.name for metric in metrics)]:
        rows = numbers[name]["removals"]
        parts = [f"{rows[NOTHING]['value']:z.3f} as they are"]
        for removal in removals:
            row = rows[called(_kind(removal))]
            control = "" if row["control"] is None else f" (random directions {row['control']:z.3f})"
            parts.append(f"{row['value']:z.3f} without {removal.name}{control}")
        yield f"{name}, mean over blocks: {', '.join(parts)}; chance {numbers[name]['chance']:z.3f}"
    if judged.classes > 1:
        across = numbers["transfer"]["a_to_b"]
        without = ", ".join(f"{across[called(_kind(r))]['value']:.3f} without {r.name}" for r in removals)
        before, chance = across[NOTHING]["value"], numbers["transfer"]["chance"]
        yield f"probe for group, trained on side a, on side b: {before:.3f} as they are, {without}; chance {chance:.3f}"
    if any(isinstance(removal, Centring) for removal in removals) and any(isinstance(m, PairedCosineCentred) for m in metrics):
        yield "subtracting each language's mean leaves CKA and centred cosines as they are; projecting its direction out does not"


def _warnings(undefined: dict[str, str], groups: Sequence[str], judged: Judged, fewest: int) -> Iterator[str]:
    for name, reason in undefined.items():
        yield f"subspace, {name}: no languages to tell apart ({reason}); the layer is left out"
    if judged.classes < 2:
        yield f"subspace: no transfer, as that takes two groups of {fewest} items or more each"
    elif small := sorted({group for group, code in zip(groups, judged.groups, strict=True) if code < 0}):
        yield f"subspace: transfer leaves out {', '.join(small[:5])}: fewer than {fewest} items"
