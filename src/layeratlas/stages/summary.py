"""A sweep's runs side by side, or those of several sweeps: tables, corrected tests and pictures, from saved files alone.

Whatever is there is summarised, however much is missing, and doing it again gives the same files.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.findings import Findings
from layeratlas.report.page.sweep_page import Answer
from layeratlas.report.sweep_again import STUDIES, sweep_drawn
from layeratlas.runs import reading, writing
from layeratlas.runs.reading import RESULT, Run
from layeratlas.runs.states import JobState, count, listing, states_of
from layeratlas.studies import AbstractStudy, Sweep, sweep_of
from layeratlas.studies.families import conditions, headline, hopeless
from layeratlas.studies.opened import Opener, unopened
from layeratlas.studies.sweep import labelled

logger = logging.getLogger(__name__)

AFFINITY = "affinity"
_SHOWN = 40


def summarize(
    folders: Sequence[Path],
    into: Path,
    *,
    studies: Mapping[str, AbstractStudy],
    family: Sequence[str] | None = None,
    report_missing: bool = True,
    opener: Opener = unopened,
    page: bool = True,
) -> pd.DataFrame:
    """Write the summary of all jobs below these sweep folders; returns its table, one row per finished run.

    `studies` are what is asked of all runs together, by name. `family`: the columns within which p-values are corrected, for wider
    families than those of `families.conditions`. `report_missing`: say which jobs are not done, and why. `opener` reads the
    runs' vectors for studies that ask for them. `page`: write report.html.
    """
    sweeps = [(folder, states_of(folder)) for folder in folders]
    runs = [run for folder, states in sweeps for run in _runs(folder, states)]
    into.mkdir(parents=True, exist_ok=True)
    writing.clean(into)
    writing.write_csv(into, "jobs", _jobs(sweeps))
    for folder, states in sweeps if report_missing else []:
        _say_what_is_missing(folder, states)
    if not runs:
        logger.warning("summary: no job has finished with a result, so there is nothing to summarise yet")
        return pd.DataFrame()
    sweep = sweep_of(runs, family, opener).with_corrections()
    for doubt in hopeless(sweep.table, sweep.tests):
        logger.warning(doubt)
    writing.write_table(into, "summary", sweep.table)
    writing.write_csv(into, "summary", sweep.table)
    writing.write_csv(into, "headline", headline(sweep.table))
    joined = dict(_joined(sweep))
    for name, table in joined.items():
        writing.write_table(into / "tables", name, table)
    _log(headline(sweep.table))
    answers = _asked(sweep, studies, into, joined)
    records = {name: _record(name, studies[name].views, findings) for name, findings in answers.items()}
    writing.write_json(into, STUDIES, records)
    sweep_drawn(
        sweep, {name: Answer(f.tables(name), records[name], studies[name].views) for name, f in answers.items()}, into, page=page
    )
    logger.info("summary   %s", into)
    return sweep.table


def _log(headlines: pd.DataFrame) -> None:
    """The first rows of the headlines, family by family."""
    logger.info("summary of %d runs", len(headlines))
    if headlines["value"].isna().all():
        logger.info("none of them has a headline; the last lines of each say why")
        return
    for family, rows in headlines.head(_SHOWN).groupby("test_family", sort=False):
        logger.info("tests     %s\n%s", family, rows.drop(columns="test_family").to_string(index=False))


def _runs(folder: Path, states: Sequence[JobState]) -> Iterator[Run]:
    for state in states:
        job = folder / str(state.job.number)
        if state.state == "done" and (job / RESULT).is_file():
            yield reading.read_run(job)


def _jobs(sweeps: Sequence[tuple[Path, Sequence[JobState]]]) -> pd.DataFrame:
    rows = [
        {"sweep": str(folder), "job": s.job.number, "state": s.state, "detail": s.detail, "overrides": " ".join(s.job.overrides)}
        for folder, states in sweeps
        for s in states
    ]
    return pd.DataFrame(rows)


def _say_what_is_missing(folder: Path, states: Sequence[JobState]) -> None:
    lacking = [state for state in states if state.state not in ("done", "skipped")]
    logger.info("sweep %s: %s", folder, count(states))
    if lacking:
        logger.warning("not in the summary, as it is not done:\n%s", listing(states, lacking))


def _joined(sweep: Sweep) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each table of results that the runs left, all runs' one below the other, with what distinguishes the runs."""
    table = sweep.table
    labels = table[["sweep", "job", *conditions(table), "language_a", "language_b", "model_a", "model_b"]]
    held = [
        [AFFINITY, *chain.from_iterable(analysis["tables"] for analysis in run.result["analyses"].values())] for run in sweep.runs
    ]
    for name in sorted(set().union(*held)):
        holders = [i for i, run in enumerate(sweep.runs) if name in held[i] and name in run.tables]
        if holders:
            yield name, pd.concat([labelled(sweep.runs[i].table(name), labels.iloc[i]) for i in holders], ignore_index=True)


def _asked(sweep: Sweep, studies: Mapping[str, AbstractStudy], into: Path, known: Collection[str]) -> dict[str, Findings]:
    """What each study finds, its tables written; one that fails is logged and costs no other. `known`: names of other tables."""
    answers: dict[str, Findings] = {}
    for name, study in studies.items():
        try:
            if (findings := study(sweep)) is None:
                continue
            if taken := set(findings.tables(name)) & set(known):
                raise ValueError(f"its table {', '.join(sorted(taken))} has the name of a table of the runs")
        except Exception as error:
            if isinstance(error, ConfigError | ValueError):
                logger.warning("study %s was not made: %s", name, error)
            else:
                logger.exception("study %s was not made; everything else is complete", name)
            continue
        for table, content in findings.tables(name).items():
            writing.write_table(into / "tables", table, content)
        for document, content in findings.documents.items():
            writing.write_json(into, f"{document}.json", content)
        for sentence in findings.sentences:
            logger.info("%-9s %s", name, sentence)
        for warning in findings.warnings:
            logger.warning("study %s: %s", name, warning)
        answers[name] = findings
    return answers


def _record(name: str, views: str | None, findings: Findings) -> dict[str, Any]:
    """A study's part of studies.json."""
    headline = {} if findings.headline is None else {"headline": asdict(findings.headline)}
    lists = {"sentences": list(findings.sentences), "tests": list(findings.tests), "warnings": list(findings.warnings)}
    return {"numbers": dict(findings.numbers), **headline, **lists, "tables": list(findings.tables(name)), "views": views}
