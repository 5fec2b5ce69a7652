"""Results that others have published as files: matrices of layers, phase structures, alignment curves. Read, checked, named.

A reader takes a path and returns arrays and labels; it reads no number that has to be trusted unseen, and refuses in one line.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from layeratlas.errors import ConfigError

FORMATS = (".npy", ".npz", ".csv", ".json")  # of files of matrices


@dataclass(frozen=True)
class PublishedMatrix:
    """Similarities of layers (rows) with layers (columns) under the names that the file gives them; `title` says what it is."""

    matrix: Float[np.ndarray, "rows columns"]
    rows: list[str]
    columns: list[str]
    title: str


@dataclass(frozen=True)
class PublishedPhases:
    """Correlations of one model's sampled hidden states, with the intervals and the phase means that the file states.

    `called` is the model, and what sets it apart within its file. `layers` are indices of hidden states, 0 the embedding output.
    `stated` holds early, middle and late where the file has them, which readers compare with what its own correlations give.
    """

    called: str
    layers: list[int]
    r: Float[np.ndarray, " layers"]
    ci_low: Float[np.ndarray, " layers"]
    ci_high: Float[np.ndarray, " layers"]
    stated: tuple[float, float, float] | None


@dataclass(frozen=True)
class PublishedCurves:
    """Cosines of translations over the hidden states, by variant of the model, concept and language: `values` in that order."""

    variants: list[str]
    concepts: list[str]
    languages: list[str]
    values: Float[np.ndarray, "variants concepts languages layers"]


def read_matrices(path: str | Path) -> list[PublishedMatrix]:
    """All matrices of an `.npz` file (one for each name), or the one of a `.npy`, a `.csv` or a `.json` with `matrix` and labels.

    A `.csv` has a row of numbers for each layer, perhaps below a row of names and behind a column of them. Layers that a file does
    not name are called by their places, from 0.
    """
    path = Path(path)
    if path.suffix == ".csv":
        return [_comma_separated(path)]
    if path.suffix == ".json":
        content = _json(path)
        matrix = _matrix(path, _key(path, content, "matrix"), "matrix")
        labels = [_labels(path, content, key, size) for key, size in zip(("y_labels", "x_labels"), matrix.shape, strict=True)]
        return [PublishedMatrix(matrix, *labels, title=str(content.get("title") or content.get("metric") or path.stem))]
    if path.suffix not in FORMATS:
        raise ConfigError(f"{path}: expected a file of matrices, {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    matrices = []
    for name, values in _arrays(path):
        matrix = _matrix(path, values, name)
        rows, columns = ([str(place) for place in range(size)] for size in matrix.shape)
        matrices.append(PublishedMatrix(matrix, rows, columns, name))
    return matrices


def read_phases(path: str | Path) -> list[PublishedPhases]:
    """Every series of correlations of one file of results on centroid asymmetry (D'Elia, 2026): with and without a template."""
    path = Path(path)
    content = _json(path)
    model = str(content.get("model_display") or content.get("model") or path.stem)
    curves = []
    for key, phases, apart in (
        ("results", "phase_structure", ""),
        ("pair_level_results", "phase_structure", ""),
        ("results_with_template", "phase_with", " chat_template=true"),
        ("results_without_template", "phase_without", " chat_template=false"),
    ):
        if key in content:
            curves.append(_series(path, content[key], content.get(phases), f"{model}{apart}"))
    if not curves:
        raise ConfigError(
            f"{path}: no results of a phase analysis; expected results, pair_level_results or results_with_template, got"
            f" {', '.join(content) or 'nothing'}"
        )
    return curves


def read_alignment_curves(path: str | Path) -> PublishedCurves:
    """Curves of cosines `{"curves": {variant: {concept: {language: [a number for each hidden state]}}}}`; none may be missing."""
    path = Path(path)
    curves = _mapping(path, _key(path, _json(path), "curves"), "curves")
    variants = list(curves)
    concepts = list(_mapping(path, curves[variants[0]], variants[0])) if variants else []
    languages = list(_mapping(path, curves[variants[0]][concepts[0]], concepts[0])) if concepts else []
    if not languages:
        raise ConfigError(f"{path}: curves holds no variant with a concept in a language")
    try:
        rows = [[[curves[v][c][language] for language in languages] for c in concepts] for v in variants]
        values = np.array(rows, dtype=float)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: curves lacks {error} for some variant, concept or language") from None
    except ValueError:
        raise ConfigError(f"{path}: curves are not of one length, or hold what is no number") from None
    if values.ndim != 4 or not np.isfinite(values).all():
        raise ConfigError(f"{path}: expected a list of finite numbers for each curve")
    return PublishedCurves(variants, concepts, languages, values)


# --- parts --------------------------------------------------------------------------------------------------------------------


def _series(path: Path, results: Any, stated: Any, called: str) -> PublishedPhases:
    layers, values = [], []
    for layer, content in _mapping(path, results, called).items():
        of_layer = _mapping(path, content, f"layer {layer}")
        centroid = of_layer.get("centroid_asymmetry", of_layer)
        if not isinstance(centroid, dict) or "r" not in centroid:
            raise ConfigError(f"{path}: layer {layer} of {called} has no r of the centroid asymmetry")
        ends = [
            next((centroid[key] for key in keys if key in centroid), np.nan)
            for keys in (("ci_lo", "ci_lower"), ("ci_hi", "ci_upper"))
        ]
        try:
            layers.append(int(layer))
            values.append([float(value) for value in (centroid["r"], *ends)])
        except (TypeError, ValueError):
            raise ConfigError(f"{path}: layer {layer} of {called} is no number, or has none") from None
    order = np.argsort(layers)
    r, low, high = np.array(values, dtype=float).reshape(-1, 3)[order].T
    if len(layers) < 3 or not np.isfinite(r).all() or (np.abs(r) > 1).any():
        raise ConfigError(f"{path}: {called} has no phases; expected correlations of three layers or more, from -1 to 1")
    return PublishedPhases(called, [layers[place] for place in order], r, low, high, _stated(stated))


def _stated(phases: Any) -> tuple[float, float, float] | None:
    if not isinstance(phases, dict):
        return None
    early, middle, late = (phases.get(name, phases.get(f"{name}_mean")) for name in ("early", "mid", "late"))
    return None if early is None or middle is None or late is None else (float(early), float(middle), float(late))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise ConfigError(f"{path}: is no JSON ({str(error).splitlines()[0]})") from None
    return _mapping(path, content, "the file")


def _mapping(path: Path, node: Any, where: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise ConfigError(f"{path}: expected a mapping in {where}; got {type(node).__name__}")
    return node


def _key(path: Path, content: Mapping[str, Any], key: str) -> Any:
    if key not in content:
        raise ConfigError(f"{path}: has no {key!r}; it has {', '.join(content) or 'nothing'}")
    return content[key]


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            yield path.stem, loaded
        else:
            with loaded:
                yield from ((name, loaded[name]) for name in loaded.files)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # what a damaged or foreign file makes NumPy and zipfile raise has no end
        raise ConfigError(f"{path}: is no file of plain NumPy arrays ({str(error).splitlines()[0][:80]})") from None


def _matrix(path: Path, values: Any, name: str) -> Float[np.ndarray, "rows columns"]:
    try:
        matrix = np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise ConfigError(f"{path}: {name} is no matrix of numbers") from None
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ConfigError(f"{path}: {name} is no matrix of layers; its shape is {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ConfigError(f"{path}: {name} holds NaN or infinite numbers")
    return matrix


def _comma_separated(path: Path) -> PublishedMatrix:
    """Numbers, perhaps below a row of names and behind a column of them; where names are numbers too, the corner is empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeError, csv.Error) as error:
        raise ConfigError(f"{path}: is no table of comma-separated values ({str(error).splitlines()[0]})") from None
    corner = bool(lines) and len(lines[0]) > 1 and not lines[0][0].strip()  # above a column of names, which may be numbers
    head = lines.pop(0) if lines and (corner or not any(map(_is_number, lines[0]))) else None
    before = corner or (bool(lines) and not any(_is_number(line[0]) for line in lines))
    names = [line.pop(0) for line in lines] if before else None
    if head and before and lines and len(head) == len(lines[0]) + 1:
        head = head[1:]
    matrix = _matrix(path, lines, path.stem)
    labels = [
        _named(path, given, key, size) for given, key, size in zip((names, head), ("rows", "columns"), matrix.shape, strict=True)
    ]
    return PublishedMatrix(matrix, *labels, title=path.stem)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _labels(path: Path, content: Mapping[str, Any], key: str, size: int) -> list[str]:
    return _named(path, content.get(key), key, size)


def _named(path: Path, labels: Any, key: str, size: int) -> list[str]:
    if labels is None:
        return [str(place) for place in range(size)]
    if not isinstance(labels, list) or len(labels) != size:
        got = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise ConfigError(f"{path}: {key} must name the {size} layers of matrix; got {got}")
    names = [str(label).strip() for label in labels]
    if twice := [name for name, count in Counter(names).items() if count > 1 or not name]:
        raise ConfigError(f"{path}: {key} names {twice[0] or 'nothing'} {'more than once' if twice[0] else 'for a layer'}")
    return names
