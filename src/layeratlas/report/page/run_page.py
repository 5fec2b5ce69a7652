"""The page of one run: `report.html` in its folder, made of its saved files alone."""

import base64
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from layeratlas.report.figures import name_of
from layeratlas.report.page.difference import difference_of
from layeratlas.report.page.influence import influence_of
from layeratlas.report.page.packing import packed, table
from layeratlas.report.page.rendering import PAGE, write_page
from layeratlas.report.page.texts import chosen_items, neighbours_of, texts_of
from layeratlas.report.page.wording import command_of, config_of, rows_of, setting_of, tiles_of, title_of
from layeratlas.report.views import View, of_analysis, of_run
from layeratlas.runs.reading import Run

logger = logging.getLogger(__name__)

ROWS = 5_000  # of a table that the page holds; the others are in its file
_BYTES = 1_500_000  # of pictures that the page draws no chart of; the others are in figures/
_SCRIPTS = (
    "data.js",
    "colours.js",
    "controls.js",
    "table.js",
    "chart.js",
    "matrix.js",
    "readout.js",
    "texts.js",
    "explain.js",
    "run.js",
)
_TEXTS = ("text_a", "text_b")
_OF_TEXTS = tuple(f"{which}_token_{side}" for which in ("first", "last", "last_content") for side in "ab")


def write_run_page(run: Run, *, texts: bool, against: Run | None = None) -> Path:
    """Write the page; `texts=False` leaves out what the items say, `against` is a run whose difference to this one is shown too."""
    charts = _charts(run)
    items = _items(run, texts=texts) if "items" in run.tables else None
    data = {"matrix": _matrix(run), "charts": charts, "tables": list(_tables(run)), "items": items}
    data |= {"influence": influence_of(run), "against": None if against is None else difference_of(run, against)}
    return write_page(run.folder, "run.html", _SCRIPTS, _filled(run, charts, texts=texts) | {"data": Markup(packed(data))})


def lacks_page(run: Run) -> bool:
    page = run.folder / PAGE
    return not (page.is_file() and page.stat().st_size)


def _filled(run: Run, charts: Mapping[str, Any], *, texts: bool) -> dict[str, Any]:
    """What the template says."""
    result = run.result
    config = result["provenance"]["config"]
    statistics = config.get("statistics") or {}
    headline = result["headline"]
    return {
        "title": title_of(result),
        "setting": setting_of(result, run.arrays["chance"]),
        "headline": headline,
        "sentence": _capital(headline.get("sentence") or headline["text"]),
        "caution": _capital(headline.get("caution") or ""),
        "beside": [_capital(one) for analysis in result["analyses"].values() for one in analysis.get("sentences") or []],
        "tiles": tiles_of(headline, statistics.get("level", 0.95), result["metric"]["name"]),
        "warnings": result.get("warnings") or [],
        "names": {side: name_of(result[side]) for side in "ab"},
        "has_items": "items" in run.tables,
        "analyses": [_analysis(run, name, charts, texts=texts) for name in result["analyses"]],
        "balance": _side_by_side(result.get("balance") or {}),
        "sides": _side_by_side({side: _of_side(result[side]) for side in "ab"}),
        "certificate": _side_by_side({side: result[side].get("certificate") or {} for side in "ab"}),
        "inference": list(rows_of(result.get("inference") or {})),
        "versions": list(rows_of(result["provenance"].get("versions") or {})),
        "origin": list(rows_of({key: result["provenance"].get(key) for key in ("git", "host", "device", "seed")})),
        "command": command_of(result),
        "config": config_of(result),
        "folder": run.folder.name,
    }


def _of_side(side: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a side, but for what stands elsewhere on the page."""
    return {key: value for key, value in side.items() if key not in ("certificate", "layers")}


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _side_by_side(node: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of both sides: what it is, of a, of b."""
    a, b = (dict(rows_of(node.get(side) or {})) for side in "ab")
    return [(key, a.get(key, "–"), b.get(key, "–")) for key in dict.fromkeys([*a, *b]) if key]


def _analysis(run: Run, name: str, charts: Mapping[str, Any], *, texts: bool) -> dict[str, Any]:
    """An analysis' section: what it says, its charts or pictures, its tables and its numbers."""
    analysis = run.result["analyses"][name]
    return {
        "name": name,
        "sentences": [_capital(one) for one in analysis.get("sentences") or []],
        "views": [_view(run, view, charts) for view in of_analysis(run, name) if texts or not view.texts],
        "tables": [one for one in analysis["tables"] if one in run.tables],
        "numbers": list(rows_of(run.result["statistics"].get(name) or {})),
    }


def _view(run: Run, view: View, charts: Mapping[str, Any]) -> dict[str, Any]:
    """Its charts, or without any the picture of it."""
    file = run.folder / "figures" / f"{view.name}.png"
    shown = not charts.get(view.name) and file.is_file() and 0 < file.stat().st_size <= _BYTES
    picture = base64.b64encode(file.read_bytes()).decode() if shown else None
    return {"name": view.name, "charts": bool(charts.get(view.name)), "picture": picture}


def _charts(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Those of each view; one that cannot be made is logged, and its picture is shown instead."""
    made = {}
    for view in of_run(run):
        try:
            made[view.name] = [chart.plain() for chart in view.charts(run)] if view.charts else []
        except Exception:
            logger.exception("report: the charts of %s are not drawn; its picture is shown", view.name)
    return made


def _items(run: Run, *, texts: bool) -> dict[str, Any]:
    lists = run.neighbors()
    chosen = chosen_items(run, lists)
    return {
        "n": run.result["dataset"]["n"],
        "chosen": chosen.astype("i4"),
        "texts": texts_of(run, chosen) if texts else None,
        "neighbours": neighbours_of(lists, chosen) if lists else None,
    }


def _matrix(run: Run) -> dict[str, Any]:
    """Each array of the matrix's shape row by row, the layers' names and depths, and the match of each layer."""
    arrays, result = run.arrays, run.result
    shape = arrays["affinity"].shape
    statistics = result["provenance"]["config"].get("statistics") or {}
    return {
        "names": {side: name_of(result[side]) for side in "ab"},
        "metric": result["metric"]["name"],
        "layers": {side: arrays[f"layers_{side}"].tolist() for side in "ab"},
        "depth": {side: arrays[f"depth_{side}"].astype("f8") for side in "ab"},
        "values": {
            name: array.astype("f8").ravel() for name, array in arrays.items() if array.shape == shape and not np.isnan(array).all()
        },
        "alpha": statistics.get("alpha", 0.05),
        "level": statistics.get("level", 0.95),
        "constants": _constants(run),
        "monotone": _monotone(run),
    }


def _constants(run: Run) -> dict[str, Any]:
    result = run.result
    return {
        **{f"model_{side}": result[side]["model"] for side in "ab"},
        **{f"language_{side}": result[side]["language"] for side in "ab"},
        "dataset": result["dataset"]["name"],
        "n": result["dataset"]["n"],
        "pooling": result.get("pooling"),
        "metric": result["metric"]["name"],
        "k": result["metric"].get("k"),
    }


def _monotone(run: Run) -> list[int | None] | None:
    """For each layer of a the column of its match if depth never runs backwards, where that was computed."""
    if "diagonal" not in run.tables or "monotone_layer" not in (rows := run.table("diagonal")):
        return None
    matches = rows[rows["side"] == "a"].set_index("layer")["monotone_layer"]
    places = {layer: j for j, layer in enumerate(run.arrays["layers_b"].tolist())}
    return [places.get(matches.get(layer)) for layer in run.arrays["layers_a"].tolist()]


def _tables(run: Run) -> Iterator[dict[str, Any]]:
    """Every table but that of the matrix, whose arrays the page has, and the texts, which stand apart."""
    for name in run.tables:
        if name == "items":
            yield table(name, run.table(name).drop(columns=[*_TEXTS, *_OF_TEXTS], errors="ignore"), ROWS)
        elif name != "affinity":
            yield table(name, run.table(name), ROWS)
