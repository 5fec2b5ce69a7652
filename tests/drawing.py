"""What a reader of a picture sees, and the views of what an analysis or a study itself found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from pages_by_hand import paged_run, with_tables

from layeratlas.findings import Findings
from layeratlas.report.views import of_analysis, of_study

COLUMN = 8 / 2.54  # inches of a paper's column
SMALLEST = 4.2  # points that can be read on paper
_SLACK = 1.5  # pixels


def smallest_print(figure: Figure) -> float:
    """Points of the smallest words of a figure once it is as wide as a column."""
    return min(text.get_fontsize() for text in _words(figure)) * min(1.0, COLUMN / figure.get_figwidth())


def illegible(figure: Figure) -> list[str]:
    """Words that stand out over the edge of the picture, or are too small in a column."""
    figure.set_dpi(200)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    edge = figure.bbox.padded(_SLACK)
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in _words(figure)}
    outside = [said for said, box in boxes.items() if box.x0 < edge.x0 or box.x1 > edge.x1 or box.y0 < edge.y0 or box.y1 > edge.y1]
    small = smallest_print(figure)
    return outside if small > SMALLEST else [*outside, f"print of {small:.2f} points"]


def _words(figure: Figure) -> Iterator[Text]:
    """All that are drawn: not the labels of ticks outside of the axes."""
    outside = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in outside:
            yield text


def drawn_by(study: str, findings: Findings) -> list[dict[str, Any]]:
    """The charts of a study's own tables, as a page gets them."""
    return [chart.plain() for view in of_study(study, None) if view.charts for chart in view.charts(findings.tables(study))]


def drawn_of_run(folder: Path, analysis: str, findings: Findings, *, layers: tuple[int, int] = (3, 3), n: int = 40):
    """The charts and pictures of an analysis' own findings; all else of the run is made up."""
    paged_run(folder, rows=layers[0], columns=layers[1], n=n)
    items = pd.read_parquet(folder / "items.parquet").assign(id=[str(i) for i in range(n)])
    run = with_tables(folder, analysis, {"items": items, **findings.tables(analysis)}, dict(findings.numbers))
    views = of_analysis(run, analysis)
    charts = [chart.plain() for view in views if view.charts for chart in view.charts(run)]
    return charts, {view.name: view.figure(run) for view in views}
