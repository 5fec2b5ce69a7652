"""Layers as points of one space, for the projector of a sweep's page: what the study `joint` left in `joint_points`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.files.inert import inert

POINTS = 20_000  # of one space that a page holds
_COMPONENT, _SHARE = "component_", "share_"


def projections(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """One for each condition: its points once, and their coordinates in each space (uncentred, centred)."""
    if "joint_points" not in tables:
        return []
    grouped = tables["joint_points"].groupby("condition", sort=False)
    return [_projection(str(condition), table) for condition, table in grouped]


def _projection(condition: str, table: pd.DataFrame) -> dict[str, Any]:
    spaces = {str(name): rows.reset_index(drop=True) for name, rows in table.groupby("space", sort=False)}
    points = next(iter(spaces.values()))
    names = ["model", "reads", "layer"]
    for rows in spaces.values():
        if not rows[names].equals(points[names]):
            raise ValueError(f"joint_points of {condition}: its spaces are of other points")
    kept = _kept(len(points))
    columns = {name: _named(points[name].iloc[kept]) for name in names}
    return {
        "name": inert(condition),
        "of": len(points),
        **columns,
        "depth": points["depth"].iloc[kept].to_numpy(dtype="f4"),
        "spaces": [{"name": inert(name), **_space(rows, kept)} for name, rows in spaces.items()],
    }


def _kept(count: int) -> np.ndarray:
    """All points, or as many as a page holds, drawn at random."""
    return np.arange(count) if count <= POINTS else np.sort(np.random.default_rng(0).choice(count, POINTS, replace=False))


def _named(values: pd.Series) -> dict[str, Any]:
    """The different names, and which of them each point has."""
    places, names = pd.factorize(values)
    return {"names": [inert(str(name)) for name in names], "of": places.astype("u2")}


def _space(rows: pd.DataFrame, kept: np.ndarray) -> dict[str, Any]:
    """`coordinates` point by point; `shares` of all squares in each component; `captured` of each point's own, by all of them."""
    components = list(_numbered(rows, _COMPONENT))
    return {
        "components": len(components),
        "coordinates": rows[components].iloc[kept].to_numpy(dtype="f4").ravel(),
        "shares": [float(rows[name].iloc[0]) for name in _numbered(rows, _SHARE)],
        "captured": rows["captured"].iloc[kept].to_numpy(dtype="f4"),
    }


def _numbered(rows: pd.DataFrame, prefix: str) -> Iterator[str]:
    count = sum(str(column).startswith(prefix) for column in rows)
    return (f"{prefix}{k}" for k in range(1, count + 1))
