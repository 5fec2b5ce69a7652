"""The depth correspondence of many pairs of models: a row per pair, and what they say together."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.findings import Findings
from layeratlas.runs.reading import Run
from layeratlas.statistics.over_models import over_models
from layeratlas.statistics.unit_square import lines, unit_square
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.sweep import Sweep, labelled, name_of

STATISTICS = {"net_share": None, "margin": "margin_se"}  # tested first: it has more power, and holds its level; standard error
UNITS = ("family", "developer")


@dataclass(frozen=True)
class Depth(AbstractStudy):
    """What the swap margins of each condition's pairs say together, over pairs of different families of models.

    `depth` has a row per condition, statistic and unit (see `over_units`), `depth_pairs` one per condition and pair with a
    margin; the numbers hold the means of the diagonal and the other diagonal of the unit square. It speaks of these models on these
    items. Conditions without two pairs that have a swap margin are only drawn.
    """

    def __call__(self, sweep: Sweep) -> Findings:
        tables: dict[str, list[pd.DataFrame]] = {"over": [], "pairs": []}
        numbers, sentences = {}, []
        for condition, part in sweep.conditions():
            pairs = margins(part.runs)
            if len(pairs) < 2:
                continue
            pairs = pairs.assign(**{side: part.table[side].iloc[pairs.index].to_numpy() for side in ("side_a", "side_b", "job")})
            over = _over(pairs, part)
            text = sentence(pairs, over, str(condition["metric"]))
            sentences.append(f"{condition['dataset']}: {text}")
            numbers[name_of(condition)] = {"pairs": len(pairs), "above_0": int((pairs["margin"] > 0).sum()), "sentence": text}
            numbers[name_of(condition)]["unit_square"] = lines(unit_square(_both_ways(part.runs, pairs.index)))._asdict()
            tables["pairs"].append(labelled(pairs.assign(condition=name_of(condition)), condition))
            if not over.empty:
                tables["over"].append(labelled(over.assign(condition=name_of(condition)), condition))
        over_all = pd.concat(tables["over"], ignore_index=True) if tables["over"] else None
        parts = {"pairs": pd.concat(tables["pairs"], ignore_index=True)} if tables["pairs"] else {}
        return Findings(over_all, parts, numbers, sentences=sentences)


def _both_ways(runs: Sequence[Run], places: Iterable[int]) -> list[np.ndarray]:
    """The blocks of each pair's matrix, in both orientations, as published."""
    found = []
    for run in (runs[place] for place in places):
        rows, columns = (np.flatnonzero(np.isfinite(run.arrays[f"depth_{side}"])) for side in "ab")
        blocks = run.arrays["affinity"][np.ix_(rows, columns)]
        found += [blocks, blocks.T]
    return found


def _over(pairs: pd.DataFrame, part: Sweep) -> pd.DataFrame:
    config = part.runs[0].result["provenance"]["config"]
    return over_units(pairs, level=(config.get("statistics") or {}).get("level", 0.95), seed=config["seed"])


def margins(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run that has a swap margin as its headline: both models, their families and developers, margin and net swap share.

    A model without a family is its own; one without a developer leaves that column empty. `certain`: the margin's interval
    excludes 0. The index is the run's place.
    """
    headlines = [run.result["headline"] for run in runs]
    places = [i for i, one in enumerate(headlines) if one["text"] == "swap margin" and one["value"] is not None]
    return pd.DataFrame([_row(runs[i]) for i in places], index=places)


def _row(run: Run) -> dict[str, Any]:
    result = run.result
    swap = result["statistics"]["diagonal"]["swap"]
    row: dict[str, Any] = {}
    for side in "ab":
        model = result[side]["model"]
        row |= {f"model_{side}": model, f"language_{side}": result[side]["language"]}
        row |= {f"family_{side}": result[side].get("family") or model, f"developer_{side}": result[side].get("developer")}
    margin = swap["margin"]
    row |= {"margin": margin["value"], "margin_ci_low": margin["ci_low"], "margin_ci_high": margin["ci_high"]}
    certain = margin["ci_low"] is not None and not margin["ci_low"] <= 0 <= margin["ci_high"]
    row |= {"margin_se": margin["se"], "certain": certain}
    return row | {"net_share": swap["net_share"]["value"], "depths": swap["depths"]}


def over_units(pairs: pd.DataFrame, *, level: float, seed: int) -> pd.DataFrame:
    """The net swap share, which is tested, and the swap margin beside it, over pairs of different families, and of developers.

    A row per statistic and unit: see `statistics.over_models`. Developers are left out where a model's is not known. It
    speaks of these models on these items, which all pairs share.
    """
    rows = []
    for unit in UNITS:
        columns = [f"{unit}_a", f"{unit}_b"]
        different = pairs[columns].notna().all(axis=None) and (pairs[columns[0]] != pairs[columns[1]]).any()
        if not different:
            continue
        frame = pairs.rename(columns=dict(zip(columns, ("unit_a", "unit_b"), strict=True)))
        for statistic, error in STATISTICS.items():
            rng = np.random.default_rng([seed, 4])
            found = asdict(over_models(frame, statistic, level=level, rng=rng, standard_error=error, certain="certain"))
            low, high = found.pop("interval") or (None, None)
            rows.append({"statistic": statistic, "unit": unit, **found, "level": level, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)


def sentence(pairs: pd.DataFrame, summary: pd.DataFrame, metric: str) -> str:
    """What many pairs show, for a person: in how many, how often, and how sure it is over models."""
    if summary.empty:
        return _described(pairs["margin"], metric)
    rows = {row["statistic"]: row for row in summary.to_dict("records") if row["unit"] == "family"}
    share, margin = rows["net_share"], rows["margin"]
    counted = (
        f"in {share['positive']} of {share['pairs']} pairs of models layers prefer their own depth more often than another;"
        f" net swap share {share['mean']:.2f}, swap margin {margin['mean']:.3f} of {metric} on average"
    )
    if pd.isna(share["ci_low"]):
        return f"{counted}; {share['units']} models are too few for an interval"
    interval = f"{share['ci_low']:.2f} to {share['ci_high']:.2f}"
    return f"{counted}; {share['level']:.0%} interval of the share over {share['units']} models {interval}"


def _described(margin: pd.Series, metric: str) -> str:
    """Of pairs of one family of models."""
    return (
        f"swap margin above 0 in {(margin > 0).sum()} of {len(margin)} pairs; {margin.mean():z.3f} of {metric} on average,"
        f" {margin.min():z.3f} to {margin.max():z.3f}; one family of models says nothing of models in general"
    )
