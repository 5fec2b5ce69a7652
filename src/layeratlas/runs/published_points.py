"""Points of a joint space that others have published inside a page: read, checked, and what they say computed anew."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.errors import ConfigError

AXES = ("pc1", "pc2", "pc3")
ALL = "all models"
_KEYS = ("model", "subset", "layer", "pair_cka", "pair_d3", *AXES)
_ROUNDED = 1e-3  # by which a stated distance may differ from that of its points


def read_points(path: str | Path) -> pd.DataFrame:
    """A row per model, language and layer of an HTML page with JSON of the id POINT_TRACES (Llama_RSA, 2025).

    Columns `model`, `language`, `layer`, `similarity` of the layer in both languages, their `distance` as stated, and three
    coordinates. A stated distance must be that of its points.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    found = re.search(r'<script[^>]*\bid="POINT_TRACES"[^>]*>(.*?)</script>', text, re.DOTALL)
    if not found:
        raise ConfigError(f"{path}: holds no points (no JSON with the id POINT_TRACES)")
    try:
        points: list[dict[str, Any]] = [point for trace in json.loads(found[1]) for point in trace["custom"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: POINT_TRACES is no list of traces with points ({str(error)[:80]})") from None
    if lacking := [key for key in _KEYS if not all(isinstance(point, dict) and key in point for point in points)]:
        raise ConfigError(f"{path}: its points lack {', '.join(lacking)}")
    table = pd.DataFrame(points)[[*_KEYS]].rename(columns={"subset": "language", "pair_cka": "similarity", "pair_d3": "distance"})
    numbers = table[["layer", "similarity", "distance", *AXES]].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(numbers.to_numpy(dtype=float)).all():
        raise ConfigError(f"{path}: its points hold what is no finite number")
    table = table.assign(**{str(name): numbers[name] for name in numbers})
    _require_sound(path, table)
    return table


def _require_sound(path: Path, table: pd.DataFrame) -> None:
    twice = table[table.duplicated(["model", "language", "layer"])]
    if len(twice):
        row = twice.iloc[0]
        raise ConfigError(f"{path}: layer {row['layer']} of {row['model']} in {row['language']} stands there more than once")
    for (model, layer), pair in table.groupby(["model", "layer"], sort=False):
        if len(pair) != 2:
            continue
        own = float(np.linalg.norm(np.diff(pair[[*AXES]].to_numpy(dtype=float), axis=0)))
        stated = float(pair["distance"].iloc[0])
        if abs(own - stated) > _ROUNDED:
            raise ConfigError(
                f"{path}: states a distance of {stated:g} for layer {layer} of {model}, and its own points lie {own:g} apart"
            )


def over_layers(points: pd.DataFrame) -> pd.DataFrame:
    """A row per model: distance of the same layer in both languages (mean, median, deviation with ddof 1, largest), similarity."""
    rows = []
    for model, own in points.groupby("model", sort=False):
        pairs = own.drop_duplicates("layer")
        distance, similarity = pairs["distance"], pairs["similarity"]
        row: dict[str, Any] = {"model": model, "layers": len(pairs), "similarity_mean": similarity.mean()}
        row |= {"similarity_median": similarity.median(), "similarity_smallest": similarity.min()}
        row |= {"distance_mean": distance.mean(), "distance_median": distance.median()}
        rows.append(row | {"distance_sd": distance.std(ddof=1), "distance_largest": distance.max()})
    return pd.DataFrame(rows)


def axis_with_language(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Pearson correlation of a coordinate with the language (first against second), of each model and of all points, as published.

    Layers of one model are no independent points, and the sign of an axis says nothing: it describes, and tests nothing.
    """
    first, second = list(dict.fromkeys(points["language"]))[:2]
    marks = points["language"].map({first: 1.0, second: -1.0})
    parts = {**{str(model): own.index for model, own in points.groupby("model", sort=False)}, ALL: points.index}
    return pd.DataFrame(
        [{"model": model, "r": float(np.corrcoef(points[axis][rows], marks[rows])[0, 1])} for model, rows in parts.items()]
    )
