"""Figures and page of what is finished, drawn after it or again: they read saved files and change no number."""

import logging

from layeratlas.errors import ConfigError
from layeratlas.report import figures
from layeratlas.report.page.difference import require_comparable
from layeratlas.report.page.rendering import PAGE
from layeratlas.report.page.run_page import lacks_page, write_run_page
from layeratlas.runs.reading import Run

logger = logging.getLogger(__name__)


def run_again(
    run: Run, *, page: bool, texts: bool, pictures: bool = True, against: Run | None = None, only_lacking: bool = False
) -> None:
    """The pictures of a run, and last its page, each if asked for; `only_lacking` leaves alone what is there already.

    What cannot be drawn or written is logged: the numbers are complete without. Raises ConfigError for a run `against` which the
    page is to show the difference and cannot.
    """
    if against is not None:
        require_comparable(run, against)
    views = []
    if pictures:
        views = figures.lacking(run, texts=texts) if only_lacking else figures.possible(run, texts=texts)
    figures.draw(run, views)
    if page and (views or lacks_page(run) or not only_lacking):
        try:
            logger.info("report    %s opens in a browser", write_run_page(run, texts=texts, against=against))
        except Exception as error:
            if isinstance(error, OSError | ConfigError):
                logger.warning("%s; the numbers are complete, and the same command writes it", error)
            else:
                logger.exception("report: %s is not written; the numbers in %s are complete", PAGE, run.folder)
