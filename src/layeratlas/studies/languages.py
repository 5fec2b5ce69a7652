"""Which languages does one model align with each other, and what does that go with?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.findings import Findings
from layeratlas.options import Repetitions, Seed
from layeratlas.statistics.clustering import clustered_order
from layeratlas.statistics.dyads import Regression, double_semi_partialling
from layeratlas.statistics.nulls import unrestricted
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.families import corrected_over
from layeratlas.studies.language_pairs import PREDICTORS, LanguagePairs, language_pairs
from layeratlas.studies.sweep import Sweep, labelled

Predictor = Literal["same_script", "same_family", "resource", "token_length_ratio", "shared_token_share"]

MEAN = "mean of blocks"
_LEAST = 5  # languages: the labels of four have 24 orders, and none of their p is below .04
_MANY = 12  # languages from which on more than two predictors are asked together
_FEW = 2
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Languages(AbstractStudy):
    """The alignment of every two languages at each layer, clustered, and what it goes with.

    For each condition, model and statistic of the analysis `alignment`, the alignment of pairs above chance is regressed on what
    sets them apart (see `language_pairs.LanguagePairs`), each of `predictors` a list of those that are asked together; more than
    two at once take twelve languages. p comes from `draws` orders of the languages' labels (`double_semi_partialling`). Layers
    where most items have one vector in some pair are flagged, and are no part of the mean of blocks.

    `languages` has a row per condition, model, statistic, predictors, predictor and layer, the mean of blocks among them; there,
    `p_holm` is corrected over all predictors of a statistic. `languages_pairs` has a row per pair and its predictors,
    `languages_order` one per language: its place in the tree of the mean over blocks, and its mean alignment with the others.
    """

    predictors: Sequence[Sequence[Predictor]]
    draws: Repetitions
    seed: Seed

    def __post_init__(self) -> None:
        if any(len(set(asked)) != len(asked) or not asked for asked in self.predictors):
            raise ConfigError("study.languages.predictors: expected lists of one predictor or more, each once in a list")

    def __call__(self, sweep: Sweep) -> Findings | None:
        answers = [self._answer(of_model) for of_model in language_pairs(sweep)]
        return _together(answers) if answers else None

    def _answer(self, of_model: LanguagePairs) -> Findings:
        """What is found of one model under one condition."""
        where = f"{of_model.condition} {of_model.model}"
        labels = pd.concat([of_model.shared, pd.Series({"condition": of_model.condition, "model": of_model.model})])
        parts = {"pairs": labelled(of_model.pairs, labels)}
        numbers: dict[str, Any] = {"languages": of_model.languages, "pairs": len(of_model.pairs), "missing": of_model.missing}
        if doubt := _unanswered(of_model):
            return Findings(parts=parts, numbers={where: numbers}, warnings=[f"{where}: {doubt}"])
        parts["order"] = labelled(_order(of_model), labels)
        asked, doubts = _asked(self.predictors, of_model)
        table = self._associations(of_model, asked) if asked else None
        return Findings(
            None if table is None else labelled(table, labels),
            parts,
            {where: numbers if table is None else numbers | {"mean_of_blocks": _numbers(table)}},
            sentences=[] if table is None else [f"{where}: {sentence}" for sentence in _sentences(table)],
            warnings=[f"{where}: {doubt}" for doubt in doubts],
        )

    def _associations(self, of_model: LanguagePairs, asked: Sequence[Sequence[str]]) -> pd.DataFrame:
        rng = np.random.default_rng([self.seed, 6])
        n = len(of_model.languages)
        orders = np.array(unrestricted(n).others(self.draws, rng)).reshape(-1, n)
        known = {name: of_model.matrix(of_model.pairs, name) for together in asked for name in together}
        tables = []
        for statistic in dict.fromkeys(of_model.alignment["statistic"]):
            layers, alignment = with_mean(*of_model.above_chance(statistic))
            of_statistic = []
            for together in asked:
                fit = double_semi_partialling(alignment, np.stack([known[name] for name in together]), orders)
                of_statistic.append(_rows(layers, together, fit))
            table = pd.concat(of_statistic, ignore_index=True)
            whole = table["layer"] == MEAN
            table.loc[whole, "p_holm"] = corrected_over(table[whole], "p")
            tables.append(table.assign(statistic=statistic, languages=n, pairs=n * (n - 1) // 2))
        return pd.concat(tables, ignore_index=True)


def with_mean(layers: pd.DataFrame, alignment: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The layers, and last the mean over the blocks that are flagged in no pair; NaN where there is none."""
    telling = (layers["depth"].notna() & (layers["flagged"] == 0)).to_numpy()
    mean = alignment[telling].mean(axis=0) if telling.any() else np.full(alignment.shape[1:], np.nan)
    last = pd.DataFrame({"layer": [MEAN], "depth": [np.nan], "flagged": [0]})
    return pd.concat([layers, last], ignore_index=True), np.concatenate([alignment, mean[None]])


def _together(answers: Sequence[Findings]) -> Findings:
    """The answers for all models and conditions as one."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for answer in answers:
        for name, table in answer.tables("").items():
            tables.setdefault(name.removeprefix("_"), []).append(table)
    joined = {name: pd.concat(each, ignore_index=True) for name, each in tables.items()}
    return Findings(
        joined.pop("", None),
        joined,
        {where: number for answer in answers for where, number in answer.numbers.items()},
        sentences=[sentence for answer in answers for sentence in answer.sentences],
        warnings=[warning for answer in answers for warning in answer.warnings],
    )


def _unanswered(of_model: LanguagePairs) -> str | None:
    """Why nothing can be said of all pairs together."""
    n, missing = len(of_model.languages), of_model.missing
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return f"{len(missing)} pairs of {n} languages were not run ({', '.join(missing[:_NAMED])}{more}); nothing is said of all"
    return None if n > 2 else "two languages are one pair, and a matrix takes three languages"


def _asked(predictors: Sequence[Sequence[str]], of_model: LanguagePairs) -> tuple[list[Sequence[str]], list[str]]:
    """The predictors that can be asked together, and why others cannot."""
    n = len(of_model.languages)
    if n < _LEAST:
        return [], [f"what alignment goes with takes {_LEAST} languages or more, and there are {n}"]
    unusable = {name: why for name in PREDICTORS if (why := _unusable(of_model.pairs[name]))}
    asked, doubts = [], []
    for name, why in unusable.items():
        if any(name in together for together in predictors):
            doubts.append(f"{name} {why}, and is not asked about")
    for together in predictors:
        if len(together) > _FEW and n < _MANY:
            doubts.append(f"{len(together)} predictors at once take {_MANY} languages, and there are {n}: {', '.join(together)}")
        elif not unusable.keys() & set(together):
            asked.append(together)
    return asked, doubts


def _unusable(values: pd.Series) -> str | None:
    if values.isna().any():
        return f"is not known of {values.isna().sum()} of {len(values)} pairs"
    return "is the same for all pairs" if values.nunique() == 1 else None


def _order(of_model: LanguagePairs) -> pd.DataFrame:
    """Of each statistic that all pairs have, the languages in the order of the tree of the mean over blocks."""
    tables = []
    for statistic in dict.fromkeys(of_model.alignment["statistic"]):
        mean = with_mean(*of_model.above_chance(statistic))[1][-1]
        if np.isnan(mean[np.triu_indices(len(mean), 1)]).any():
            continue
        order = clustered_order(mean)
        languages = [of_model.languages[i] for i in order]
        rows = {"statistic": statistic, "place": range(len(order)), "language": languages}
        tables.append(pd.DataFrame(rows | {"above_chance": np.nanmean(mean, axis=1)[order]}))
    columns = ["statistic", "place", "language", "above_chance"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _rows(layers: pd.DataFrame, together: Sequence[str], fit: Regression) -> pd.DataFrame:
    """A row per predictor and layer."""
    tables = []
    for i, name in enumerate(together):
        of_layers = {"slope": fit.slope[i], "partial": fit.partial[i], "p": fit.p[i], "p_fwer": fit.p_fwer[i], "r2": fit.r2}
        of_all = {"attainable_p": fit.attainable_p[i], "inflation": fit.inflation[i]}
        named = {"predictors": ", ".join(together), "predictor": name}
        tables.append(layers.assign(**named, **of_layers, **of_all))
    return pd.concat(tables, ignore_index=True)


def _numbers(table: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["statistic", "predictors", "predictor", "slope", "partial", "r2", "inflation", "p", "attainable_p", "p_holm"]
    rows = table.loc[table["layer"] == MEAN, columns]
    return rows.astype(object).where(rows.notna() & ~rows.isin([np.inf]), None).to_dict("records")  # type: ignore[return-value]


def _sentences(table: pd.DataFrame) -> list[str]:
    """What the first statistic goes with, each predictor alone, over the mean of blocks."""
    first = table["statistic"].iloc[0]
    rows = table[(table["statistic"] == first) & (table["layer"] == MEAN) & (table["predictors"] == table["predictor"])]
    correlations = [
        f"{row.predictor} {row.partial:z.2f} (p = {row.p:.2g}, corrected {row.p_holm:.2g})"
        for row in rows.dropna(subset=["p"]).itertuples()
    ]
    if not correlations:
        return []
    n, pairs = table["languages"].iloc[0], table["pairs"].iloc[0]
    return [f"{first} of {pairs} pairs of {n} languages, mean of blocks, correlates with {', '.join(correlations)}"]
