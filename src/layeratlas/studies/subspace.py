"""What of a model's vectors is the languages' own, of all languages of a sweep together?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Interval

from layeratlas.analyses.edit_files import seeded
from layeratlas.analyses.subspace import codes_of
from layeratlas.analyses.subspace_scores import NOTHING, Judged, Kind, Scores, layer_scores
from layeratlas.analyses.subspace_tables import Sample, Statistic, of_pairs
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError, ConfigError, Undefined
from layeratlas.findings import Findings
from layeratlas.metrics.base import require_different_items
from layeratlas.metrics.paired import AbstractPairedMetric
from layeratlas.options import Seed
from layeratlas.statistics.cross_fitting import Graded, halves
from layeratlas.statistics.inference import Inference
from layeratlas.statistics.removals import AbstractRemoval
from layeratlas.statistics.removals.base import Languages, means_of, size_of, spanned
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.language_vectors import OfModel, models_in_languages
from layeratlas.studies.sweep import Sweep, labelled

_LEAST = 3  # languages: two are what the analysis `subspace` asks about
ACROSS, WITHIN = "across languages", "within a language"


@dataclass(frozen=True, kw_only=True)
class LanguageSubspaces(AbstractStudy):
    """Each of `removals` at each layer, of all languages that a sweep's runs of one model hold: the analysis `subspace` for many.

    Vectors are read from the store. The span of the means of l languages has l - 1 dimensions or fewer. Erasers are fitted on one
    half of the items and judged on the other, probes on `folds` - 1 folds of that, all translations of an item in one part, beside
    `draws` random subspaces of the same rank (see `analyses.Subspace`).

    `subspace_languages` has a row per condition, model, layer, statistic and removal: a linear probe for the language (chance
    1 / l), and each of `metrics`, the mean over all pairs of languages. `subspace_languages_transfer`: a probe for the items'
    group, trained in one language and tested in the others (`across languages`) or in itself on other items; means over
    languages. `subspace_spectrum`: how much of the held-out half's means, squares of their distances from the mean of all, the
    leading 1, 2, .. directions of the other half's hold.
    """

    removals: Sequence[AbstractRemoval]
    metrics: Sequence[AbstractPairedMetric]
    folds: Annotated[int, Interval(ge=4, le=100)]
    draws: Annotated[int, Interval(ge=5, le=1000)]
    seed: Seed

    def __post_init__(self) -> None:
        if not self.removals:
            raise ConfigError("study.subspace.removals: expected one or more")

    def __call__(self, sweep: Sweep) -> Findings | None:
        models = list(models_in_languages(sweep, _LEAST))
        if not models:
            return None
        tables: dict[str, list[pd.DataFrame]] = {}
        numbers: dict[str, Any] = {}
        sentences, warnings = [], []
        for of_model in models:
            where = f"{of_model.condition} {of_model.model}"
            try:
                found = self._of_model(of_model)
            except (Undefined, ConfigError) as error:
                warnings.append(f"{where}: {error}")
                continue
            labels = pd.concat([of_model.shared, pd.Series({"condition": of_model.condition, "model": of_model.model})])
            for name, table in found.parts.items():
                tables.setdefault(name, []).append(labelled(table, labels))
            numbers[where] = found.numbers
            sentences += [f"{where}: {sentence}" for sentence in found.sentences]
            warnings += [f"{where}: {doubt}" for doubt in found.warnings]
        if not tables:
            raise Undefined("; ".join(warnings))
        parts = {name: pd.concat(each, ignore_index=True) for name, each in tables.items()}
        return Findings(parts=parts, numbers=numbers, sentences=sentences, warnings=warnings)

    def _of_model(self, of_model: OfModel) -> Findings:
        vectors, items = of_model.vectors(), of_model.items
        judged, sample = self._judged(list(vectors), items["group"].tolist(), of_model)
        first = next(iter(vectors.values()))
        rows: dict[str, list[dict[str, Any]]] = {"languages": [], "languages_transfer": [], "spectrum": []}
        warnings = []
        for place, (layer, depth) in enumerate(zip(first.names, first.depths, strict=True)):
            try:
                x = _stacked(vectors, layer)
                scores = layer_scores(x, self.removals, judged, seeded(self.seed, 9, place))
            except Undefined as error:
                warnings.append(f"{layer}: no languages to tell apart ({error}); the layer is left out")
                continue
            at = {"layer": layer, "depth": depth, "languages": len(vectors), "items": len(items)}
            rows["languages"] += [at | row for row in of_pairs(scores, judged, sample)]
            rows["languages_transfer"] += [at | row for row in _transfer(scores, judged, sample)]
            rows["spectrum"] += [at | row for row in _spectrum(x, judged)]
        if not rows["languages"]:
            raise Undefined(f"no layer has languages to compare: {warnings[0]}")
        parts = {name: pd.DataFrame(each) for name, each in rows.items() if each}
        if "languages_transfer" not in parts:
            warnings.append(f"no transfer, as that takes two groups of {2 * self.folds} items or more each")
        means = _over_blocks(parts["languages"])
        sentences = list(_sentences(means, len(vectors), [_called(removal, len(vectors)) for removal in self.removals]))
        return Findings(
            parts=parts, numbers={"languages": list(vectors), "mean_of_blocks": means}, sentences=sentences, warnings=warnings
        )

    def _judged(self, languages: Sequence[str], groups: Sequence[str], of_model: OfModel) -> tuple[Judged, Sample]:
        judged = Judged(languages, self.metrics, codes_of(groups, 2 * self.folds), halves(groups, self.folds), self.draws)
        node = of_model.first.result["provenance"]["config"]["statistics"]
        inference = Inference(**{key: value for key, value in node.items() if key != "_target_"})
        units = len(set(groups)) if inference.by_group else len(groups)
        return judged, Sample(inference.subsets(groups), units, inference.level, judged.parts)


def _stacked(vectors: Mapping[str, Activations], layer: str) -> Languages:
    """All languages' vectors. Raises Undefined where those of one language are all the same: nothing of an item is there."""
    sides = [activations.layers[layer].double() for activations in vectors.values()]
    for language, x in zip(vectors, sides, strict=True):
        if not bool(x.isfinite().all()):
            raise ActivationError(f"subspace, {language}, {layer}: activations hold NaN or infinite values")
        try:
            require_different_items(x)
        except Undefined as error:
            raise Undefined(f"{language}: {error}") from error
    return torch.stack(sides)


def _transfer(scores: Mapping[Kind, Scores], judged: Judged, sample: Sample) -> Iterator[dict[str, Any]]:
    """A row per removal: a probe for the group in other languages than it was trained in, and in its own; means over languages."""
    if judged.classes < 2:
        return
    statistic = Statistic((0.0, 1.0), judged.groups)
    for tested, own in ((ACROSS, False), (WITHIN, True)):
        by_kind = {
            kind: Graded.mean([graded for (one, other), graded in of_kind.transfer.items() if (one == other) == own])
            for kind, of_kind in scores.items()
        }
        for kind in scores:
            yield {"tested": tested, **kind._asdict(), "chance": 1 / judged.classes} | statistic.row(kind, by_kind, sample)


def _spectrum(x: Languages, judged: Judged) -> Iterator[dict[str, Any]]:
    """How much of one half's differences of means the leading directions of the other's hold, the mean of both ways."""
    held = np.zeros(len(x) - 1)
    for half in judged.halves:
        fit, other = (means_of(x[:, items]) for items in (half.fit, half.held))
        basis = spanned(fit - fit.mean(dim=0), size_of(x))
        squares = ((other - other.mean(dim=0)) @ basis).square().sum(dim=0).cumsum(dim=0)
        total = float((other - other.mean(dim=0)).square().sum())
        of_ranks = (squares / total).cpu().numpy() if total > 0 else np.zeros(basis.shape[1])
        held += np.concatenate([of_ranks, np.full(len(held) - len(of_ranks), of_ranks[-1] if len(of_ranks) else 0.0)]) / 2
    yield from ({"rank": rank, "held": float(share)} for rank, share in enumerate(held, start=1))


def _over_blocks(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each statistic and removal the mean over blocks."""
    blocks = table[table["depth"].notna() & (table["draw"] == 0)]
    blocks = blocks if len(blocks) else table[table["draw"] == 0]
    columns = ["value", "change", "control", "beyond_control", "chance", "energy"]
    means = blocks.groupby(["statistic", "removal", "rank"], sort=False)[columns].mean().reset_index()
    return means.astype(object).where(means.notna(), None).to_dict("records")  # type: ignore[return-value]


def _called(removal: AbstractRemoval, languages: int) -> tuple[str, int]:
    return removal.name, removal.rank_of(languages)


def _sentences(means: Sequence[Mapping[str, Any]], languages: int, removals: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Each statistic before and after each removal."""
    for statistic in dict.fromkeys(row["statistic"] for row in means):
        rows = {(row["removal"], row["rank"]): row for row in means if row["statistic"] == statistic}
        parts = [f"{rows[NOTHING, 0]['value']:z.3f} as they are"]
        for kind in removals:
            control = "" if rows[kind]["control"] is None else f" (random directions {rows[kind]['control']:z.3f})"
            parts.append(f"{rows[kind]['value']:z.3f} without {kind[0]}, rank {kind[1]}{control}")
        yield f"{languages} languages, {statistic}, mean over blocks: {', '.join(parts)}; chance {rows[NOTHING, 0]['chance']:z.3f}"
