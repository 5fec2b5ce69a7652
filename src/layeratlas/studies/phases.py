"""Do models place likelier texts more centrally at the same depths, and do they differ from each other?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.errors import Undefined
from layeratlas.findings import Findings
from layeratlas.runs.published import read_phases
from layeratlas.runs.reading import Run
from layeratlas.statistics.published_phases import Phases as PublishedMeans
from layeratlas.statistics.published_phases import pattern, phase_means, template_verdict
from layeratlas.statistics.within_categories import random_effects
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.families import corrected_over
from layeratlas.studies.sweep import Sweep

PHASES = ("early", "middle", "late")
_NAME = "phases"


@dataclass(frozen=True, kw_only=True)
class PhasesOverModels(AbstractStudy):
    """The phases of every model of the sweep that was asked `analysis=[phases]`, side by side, and each two of them tested.

    `phases_models` has a row per model, source and phase: `within` categories with interval and p as in the analysis, `published`
    as the published procedure has it on these very runs, and `file` for every series of the result files `published`: means of
    the file's own correlations, beside what it states (`stated`). `phases_tests`: for each two models of one condition and each
    phase, the difference of Fisher's z within categories, first minus second, over the categories that both have (random effects,
    Hartung and Knapp), corrected (Holm) over all of them. `phases_templates`: of each model with and without a chat template, the
    published verdict beside these differences.
    """

    published: Sequence[str]

    def __call__(self, sweep: Sweep) -> Findings | None:
        places = [i for i, run in enumerate(sweep.runs) if _NAME in run.result["statistics"]]
        if not places:
            return None
        asked = sweep.some(places)
        names, rows, tests = _names(asked), [], []
        for name, run, job in zip(names, asked.runs, asked.table["job"], strict=True):
            rows += [row | {"model": name, "job": job} for row in _of_run(run)]
        for place in self.published:
            rows += [row | {"file": place} for row in _of_file(place)]
        for part in asked.alike(_condition(asked.table)):
            own = dict(zip(asked.table["job"], names, strict=True))
            tests += list(_tested(part, [own[job] for job in part.table["job"]]))
        parts = {"models": pd.DataFrame(rows)}
        if tests:
            table = pd.DataFrame(tests)
            parts["tests"] = table.assign(p_holm=corrected_over(table, "p"))
        if templates := list(_templates(asked, names, parts.get("tests"))):
            parts["templates"] = pd.DataFrame(templates)
        return Findings(parts=parts, numbers=_numbers(parts), sentences=list(_sentences(parts)))


def _names(sweep: Sweep) -> list[str]:
    """What each run is called: its model, and its job where a model has several runs."""
    models = sweep.table["model_a"]
    rows = zip(models, sweep.table["job"], models.duplicated(keep=False), strict=True)
    return [f"{model} (job {job})" if again else str(model) for model, job, again in rows]


def _condition(table: pd.DataFrame) -> list[str]:
    """What tested models must share: everything but the model, the metric among it, which phases have nothing to do with."""
    options = [column for column in map(str, table.columns) if column.startswith("config.dataset")]
    return ["dataset", "n", "pooling", "language_a", *options]


def _of_run(run: Run) -> Iterator[dict[str, Any]]:
    numbers = run.result["statistics"][_NAME]
    shared = {"pairs": numbers["pairs"], "preference": numbers["preference"], "pattern": numbers["published"]["pattern"]}
    for phase in PHASES:
        within = {key: numbers["phases"][phase][key] for key in ("value", "ci_low", "ci_high", "p")}
        yield {"source": "within", "phase": phase, **within, **shared}
        yield {"source": "published", "phase": phase, "value": numbers["published"][phase], **shared}


def _of_file(place: str) -> Iterator[dict[str, Any]]:
    """Means of the file's own correlations, and what it states itself."""
    for series in read_phases(place):
        means = phase_means(series.r)
        stated = series.stated or (None, None, None)
        shared = {"model": series.called, "source": "file", "pattern": pattern(means)}
        for phase, value, of_file in zip(PHASES, means, stated, strict=True):
            yield shared | {"phase": phase, "value": value, "stated": of_file}


# --- tests --------------------------------------------------------------------------------------------------------------------


def _tested(part: Sweep, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row per two models and phase. Raises Undefined where models have fewer than two categories in common."""
    found = [_by_category(run) for run in part.runs]
    level = part.runs[0].result["provenance"]["config"]["statistics"]["level"] if part.runs else 0.95
    for i, j in combinations(range(len(part)), 2):
        if part.runs[i].result["statistics"][_NAME]["preference"] != part.runs[j].result["statistics"][_NAME]["preference"]:
            continue
        for phase in PHASES:
            both = found[i][found[i]["phase"] == phase].merge(found[j][found[j]["phase"] == phase], on="category")
            if len(both) < 2:
                raise Undefined(f"{names[i]} and {names[j]} have {len(both)} categories in common; their phases cannot be compared")
            yield {"first": names[i], "second": names[j], "phase": phase, **difference(both, level)}


def _by_category(run: Run) -> pd.DataFrame:
    """Mean Fisher z of each category over the blocks of each third of depth, with the number of pairs."""
    table = run.table(f"{_NAME}_categories").dropna(subset=["depth"])
    thirds = np.minimum(np.ceil(table["depth"] * 3 - 1e-9).astype(int), 3) - 1
    table = table.assign(z=np.arctanh(table["r"]), phase=[PHASES[third] for third in thirds])
    return table.groupby(["category", "phase"], as_index=False).agg(z=("z", "mean"), n=("n", "first"))


def difference(both: pd.DataFrame, level: float) -> dict[str, Any]:
    """Of `z_x` less `z_y` over categories of `n_x` and `n_y` pairs, with interval, p and how many categories there are.

    Variances are taken for those of independent correlations, 1 / (n_x - 3) + 1 / (n_y - 3): models that read the same pairs vary
    less, which moves weights alone, as Hartung and Knapp's interval has its length from the categories themselves.
    """
    variances = (1 / (both["n_x"] - 3) + 1 / (both["n_y"] - 3)).to_numpy(dtype=float)
    pooled = random_effects((both["z_x"] - both["z_y"]).to_numpy(dtype=float), variances, level)
    ends = {"value": pooled.mean, "ci_low": pooled.ci_low, "ci_high": pooled.ci_high}
    return ends | {"p": None if np.isnan(pooled.p) else pooled.p, "categories": len(both)}


def _templates(sweep: Sweep, names: Sequence[str], tests: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Each model with a chat template against the same model without."""
    with_template = [bool(run.result["provenance"]["config"]["model_a"].get("chat_template")) for run in sweep.runs]
    for i, j in combinations(range(len(sweep)), 2):
        if sweep.runs[i].result["a"]["model"] != sweep.runs[j].result["a"]["model"] or with_template[i] == with_template[j]:
            continue
        templated, plain = (i, j) if with_template[i] else (j, i)
        means = [_published_means(sweep.runs[place]) for place in (templated, plain)]
        row = {"model": sweep.runs[i].result["a"]["model"], "with": names[templated], "without": names[plain]}
        row |= {"verdict": template_verdict(*means)}
        row |= {f"{phase}_published": means[0][k] - means[1][k] for k, phase in enumerate(PHASES)}
        yield row | ({} if tests is None else dict(_of_pair(tests, names[templated], names[plain])))


def _published_means(run: Run) -> PublishedMeans:
    published = run.result["statistics"][_NAME]["published"]
    return PublishedMeans(*(published[phase] for phase in PHASES))


def _of_pair(tests: pd.DataFrame, one: str, other: str) -> Iterator[tuple[str, float]]:
    for row in tests.to_dict("records"):
        if {row["first"], row["second"]} == {one, other}:
            yield f"{row['phase']}_within", row["value"] if row["first"] == one else -row["value"]
            yield f"{row['phase']}_p_holm", row["p_holm"]


# --- in words -----------------------------------------------------------------------------------------------------------------


def _numbers(parts: dict[str, pd.DataFrame]) -> dict[str, Any]:
    rows = parts["models"]
    numbers: dict[str, Any] = {"models": int(rows.loc[rows["source"] == "within", "model"].nunique())}
    if "tests" in parts:
        numbers |= {"tests": len(parts["tests"]), "different": int((parts["tests"]["p_holm"] <= 0.05).sum())}
    return numbers


def _sentences(parts: dict[str, pd.DataFrame]) -> Iterator[str]:
    within = parts["models"][parts["models"]["source"] == "within"]
    for model, rows in within.groupby("model", sort=False):
        ends = [f"{row.phase} {row.value:+.2f} ({row.ci_low:+.2f} to {row.ci_high:+.2f})" for row in rows.itertuples()]
        yield f"{model}, within categories: {', '.join(ends)}; published label {rows['pattern'].iloc[0]}"
    if "tests" in parts:
        tests = parts["tests"]
        certain = tests[tests["p_holm"] <= 0.05]
        named = "; ".join(f"{r.first} and {r.second}, {r.phase}: {r.value:+.2f}" for r in certain.itertuples())
        these = f": {named}" if named else ""
        yield f"{len(certain)} of {len(tests)} differences of phases between models are certain (Holm){these}"
    for row in parts["templates"].to_dict("records") if "templates" in parts else []:
        shift = ", ".join(f"{phase} {row[f'{phase}_published']:+.2f}" for phase in PHASES)
        yield f"{row['model']} with a chat template: published verdict {row['verdict']}, though its means move by {shift}"
