"""Figures and page of a sweep, drawn after its summary or again: they read saved files and change no number."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from layeratlas.errors import ConfigError, Damaged
from layeratlas.files.sealed import unsealed
from layeratlas.report.figures import save, unwritten
from layeratlas.report.page.rendering import PAGE
from layeratlas.report.page.sweep_page import Answer, write_sweep_page
from layeratlas.report.sweep_figures import condition_of, draw_condition
from layeratlas.report.views import of_study
from layeratlas.runs.jobs import JOBS
from layeratlas.runs.reading import RESULT, Run, read_run
from layeratlas.studies import Sweep, sweep_of
from layeratlas.studies.sweep import name_of

logger = logging.getLogger(__name__)

STUDIES = "studies.json"


def sweep_drawn(sweep: Sweep, answers: Mapping[str, Answer], into: Path, *, page: bool) -> None:
    """A folder of pictures per condition, the studies' own, and last the page; what cannot be drawn is logged."""
    pictures: dict[str, list[Path]] = {}
    for title, drawing in _drawings(sweep, answers, into / "figures"):
        try:
            pictures[title] = drawing()
        except OSError as error:
            logger.warning("%s; the tables are complete", unwritten(into / "figures", error))
            break  # nothing else can be written there
        except Exception:
            logger.exception("figures: %s is not drawn; the tables are complete", title)
    if page:
        try:
            logger.info("report    %s opens in a browser", write_sweep_page(sweep, answers, pictures, into))
        except Exception as error:
            if isinstance(error, OSError | ConfigError):
                logger.warning("%s; the tables are complete", error)
            else:
                logger.exception("report: %s is not written; the tables in %s are complete", PAGE, into)


def _drawings(sweep: Sweep, answers: Mapping[str, Answer], folder: Path) -> Iterator[tuple[str, Callable[[], list[Path]]]]:
    for condition, part in sweep.conditions():
        name = name_of(condition)
        yield name, partial(_draw_condition, part, folder / name)
    for name, answer in answers.items():
        yield f"study {name}", partial(_draw_study, sweep, name, answer, folder)


def _draw_condition(part: Sweep, folder: Path) -> list[Path]:
    draw_condition(condition_of(part), folder)
    names = ("pairs", "pairs_unit_square", "mean_unit_square", "headline")
    return [file for name in names if (file := folder / f"{name}.png").is_file()]


def _draw_study(sweep: Sweep, name: str, answer: Answer, folder: Path) -> list[Path]:
    drawn = []
    for view in of_study(name, answer.views):
        for place, figure in view.figures(sweep, answer.tables):
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            save(figure, path.parent, path.name)
            drawn.append(path.with_name(f"{path.name}.png"))
    return drawn


def sweep_again(folder: Path, family: Sequence[str] | None, *, page: bool) -> None:
    """The same of a summary's folder, from its files: the runs that it tells of, the studies' tables, and what they said."""
    if not (folder / STUDIES).is_file():
        raise ConfigError(f"{folder}: no summary here (no {STUDIES}); stage=summarize sweep_dir={folder} makes one")
    try:
        record = unsealed(STUDIES, (folder / STUDIES).read_bytes())
    except (ValueError, json.JSONDecodeError) as error:
        raise Damaged(f"{folder / STUDIES} is damaged ({error}); stage=summarize sweep_dir={folder} makes it again") from error
    sweep = sweep_of(_runs(folder), family).with_corrections()
    answered = {name: one for name, one in record.items() if isinstance(one, Mapping) and "sentences" in one}
    sweep_drawn(sweep, {name: _answer(folder, name, one) for name, one in answered.items()}, folder, page=page)


def _answer(folder: Path, name: str, record: Mapping[str, Any]) -> Answer:
    """`tables` are named in what a study says since there are pages; before, a table was known by the study's name."""
    files = sorted((folder / "tables").glob("*.parquet"))
    named = record.get("tables") or [file.stem for file in files if file.stem == name or file.stem.startswith(f"{name}_")]
    return Answer({table: pd.read_parquet(folder / "tables" / f"{table}.parquet") for table in named}, record, record.get("views"))


def _runs(folder: Path) -> list[Run]:
    """The runs of the summary, as its jobs.csv lists them; those of a sweep's own folder lie there, wherever it was moved to."""
    jobs = pd.read_csv(folder / "jobs.csv")
    own = (folder / JOBS).is_file() and jobs["sweep"].nunique() == 1
    folders = [(folder if own else Path(sweep)) / str(job) for sweep, job in zip(jobs["sweep"], jobs["job"], strict=True)]
    found = [job for job in folders if (job / RESULT).is_file()]
    if not found:
        raise ConfigError(f"{folder}: none of the runs that jobs.csv lists is where it says, such as {folders[0]}")
    return [read_run(job) for job in found]
