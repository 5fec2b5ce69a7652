"""What the runs of one model say of pairs of languages, and what else sets the languages of a pair apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from layeratlas.runs.reading import Run
from layeratlas.studies.sweep import Sweep, name_of

PREDICTORS = ("same_script", "same_family", "resource", "token_length_ratio", "shared_token_share")
ALIGNMENT = "alignment"
_LEVELS = {"low": 0, "mid": 1, "high": 2}


@dataclass(frozen=True)
class LanguagePairs:
    """Pairs of languages of one model under one condition, each pair once.

    `pairs` has a row per pair, `language_a` and `language_b` in alphabetical order, with the run's `job` and `n`:

    - `same_script`, `same_family`: 1 or 0.
    - `resource`: the lower level of the two, 0 (low) to 2 (high), or the numbers that conf/language holds.
    - `token_length_ratio`: tokens of the language with fewer over tokens of the other, of all items, above 0 to 1.
    - `shared_token_share`: the mean over items of the share of content tokens that both texts have, 0 to 1.

    NaN where the language's file or the run does not tell. `alignment` are the rows that the analysis left, with both languages.
    """

    condition: str
    shared: pd.Series
    model: str
    pairs: pd.DataFrame
    alignment: pd.DataFrame

    @cached_property
    def languages(self) -> list[str]:
        return sorted({*self.pairs["language_a"], *self.pairs["language_b"]})

    @property
    def missing(self) -> list[str]:
        """The pairs that were not run, as `de-fr`."""
        absent = np.argwhere(np.triu(np.isnan(self.matrix(self.pairs.assign(run=1.0), "run")), 1))
        return [f"{self.languages[i]}-{self.languages[j]}" for i, j in absent]

    def matrix(self, rows: pd.DataFrame, column: str) -> Float[np.ndarray, "n n"]:
        """One number of each pair of languages, symmetric; NaN on the diagonal and for pairs without one."""
        place = {language: i for i, language in enumerate(self.languages)}
        found = np.full((len(place), len(place)), np.nan)
        a, b = rows["language_a"].map(place), rows["language_b"].map(place)
        found[a, b] = found[b, a] = rows[column].astype(float)
        return found

    def above_chance(self, statistic: str) -> tuple[pd.DataFrame, Float[np.ndarray, "layers n n"]]:
        """The layers, with `depth` and in how many pairs they are `flagged`, and at each the alignment of all pairs above chance.

        Where a statistic has no known chance, it is the value itself.
        """
        rows = self.alignment[self.alignment["statistic"] == statistic]
        rows = rows.assign(above=rows["value"] - rows["chance"].fillna(0.0), flagged=rows["flag"] != "")
        by_layer = rows.groupby("layer", sort=False)
        layers = by_layer.agg({"depth": "first", "flagged": "sum"}).reset_index()
        return layers, np.stack([self.matrix(part, "above") for _, part in by_layer])


def language_pairs(sweep: Sweep) -> Iterator[LanguagePairs]:
    """Of each condition and model of the sweep, the runs of two languages that were asked for `alignment`."""
    for shared, part in sweep.conditions():
        table = part.table
        of_two = (table["model_a"] == table["model_b"]) & (table["language_a"] != table["language_b"])
        alike = of_two & (table["field_a"] == table["field_b"])
        for model, rows in table[alike].groupby("model_a", sort=False):
            places = [i for i in rows.index if ALIGNMENT in part.runs[i].tables]
            if found := _each_once({i: _pair(part.runs[i]) for i in places}):
                pairs = pd.DataFrame([pair | {"job": table["job"][i], "n": table["n"][i]} for i, pair in found.items()])
                alignment = [_of_pair(part.runs[i].table(ALIGNMENT), pair) for i, pair in found.items()]
                yield LanguagePairs(name_of(shared), shared, str(model), pairs, pd.concat(alignment, ignore_index=True))


def _each_once(pairs: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """A pair of languages that was run in both orders counts by the first."""
    first: dict[tuple[str, str], int] = {}
    for place, pair in pairs.items():
        first.setdefault((pair["language_a"], pair["language_b"]), place)
    return {place: pairs[place] for place in first.values()}


def _of_pair(table: pd.DataFrame, pair: Mapping[str, Any]) -> pd.DataFrame:
    return table.assign(language_a=pair["language_a"], language_b=pair["language_b"])


def _pair(run: Run) -> dict[str, Any]:
    config = run.result["provenance"]["config"]
    a, b = sorted((config["language_a"], config["language_b"]), key=lambda language: language["code"])
    items = run.table("items")
    return {
        "language_a": a["code"],
        "language_b": b["code"],
        "same_script": _same(a, b, "script"),
        "same_family": _same(a, b, "family"),
        "resource": _lower_level(a.get("resource"), b.get("resource")),
        "token_length_ratio": _length_ratio(items),
        "shared_token_share": float(items["shared_token_share"].mean()) if "shared_token_share" in items else np.nan,
    }


def _same(a: Mapping[str, Any], b: Mapping[str, Any], what: str) -> float:
    return float(a[what] == b[what]) if a.get(what) and b.get(what) else np.nan


def _lower_level(a: str | int | None, b: str | int | None) -> float:
    """Words and numbers are two scales, which nothing compares."""
    if isinstance(a, str) and isinstance(b, str):
        return float(min(_LEVELS[a], _LEVELS[b])) if {a, b} <= set(_LEVELS) else np.nan
    return float(min(a, b)) if isinstance(a, int) and isinstance(b, int) else np.nan


def _length_ratio(items: pd.DataFrame) -> float:
    if "text_tokens_a" not in items:
        return np.nan
    counts = [int(items[f"text_tokens_{side}"].sum()) for side in "ab"]
    return min(counts) / max(counts)
