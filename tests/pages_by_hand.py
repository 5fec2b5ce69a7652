"""A run of made-up numbers with everything that a page shows, and pages in a real browser."""

import base64
import gzip
import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from layeratlas.affinity.matrix import Affinity
from layeratlas.files.atomic import replacing
from layeratlas.layers import block
from layeratlas.runs import writing
from layeratlas.runs.matrices import tidy, write_arrays
from layeratlas.runs.older import completed
from layeratlas.runs.reading import Run, read_run

OUTPUTS = Path(__file__).parents[1] / "outputs"
HINTS = ("willReadFrequently", "GPU stall due to ReadPixels")  # Chromium's own advice on speed

HOSTILE = [
    "</script><script>document.title = 'owned'</script>",
    '<img src=x onerror="alert(1)">{{ 7 * 7 }}',
    "\"'><svg onload=alert(2)>`${1}`\u202eright to left\x1b[31m",
    '=HYPERLINK("http://127.0.0.1")',
    "שלום " + "x" * 10_000,
]


def paged_run(
    folder: Path,
    *,
    rows=6,
    columns=4,
    n=40,
    k=3,
    texts: Sequence[str] | None = None,
    names=("ant", "bee"),
    languages=("en", "de"),
    seed=0,
    layers: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """A finished run whose lists of neighbours, matrix and null belong together as little as any made-up ones."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    shape = (rows, columns)
    matrix, chance = rng.uniform(0.1, 0.6, shape), np.full(shape, k / (n - 1))
    p = rng.uniform(0, 0.3, shape)
    inferred = {
        **{"null_mean": chance, "null_sd": np.full(shape, 0.01), "z": (matrix - chance) / 0.01, "p_value": p / 2, "p_fwer": p},
        **{"p_fdr": p / 1.5, "calibrated": matrix - 0.05, "ci_low": matrix - 0.03, "ci_high": matrix + 0.03},
    }
    layers = layers or {side: [block(i) for i in range(1, size + 1)] for side, size in (("a", rows), ("b", columns))}
    depths = {side: [i / len(layers[side]) for i in range(1, len(layers[side]) + 1)] for side in "ab"}
    affinity = Affinity(matrix, chance, layers["a"], layers["b"], depths["a"], depths["b"], n, [], [], inferred)
    drawn = list(texts or ["A text."]) * n
    items = pd.DataFrame(
        {
            "id": [f"item-{i}" for i in range(n)],
            "group": [str(i % 5) for i in range(n)],
            **{f"text_{side}": [f"{text} {side} {i}" for i, text in enumerate(drawn[:n])] for side in "ab"},
            **{f"tokens_{side}": rng.integers(3, 60, n) for side in "ab"},
        }
    )
    best = matrix.argmax(axis=1)
    matches = pd.DataFrame(
        {
            **{"side": "a", "layer": layers["a"], "depth": depths["a"], "best_layer": [layers["b"][j] for j in best]},
            **{"best_depth": np.array(depths["b"])[best], "best_affinity": matrix.max(axis=1)},
            **{"monotone_layer": [layers["b"][j] for j in np.sort(best)], "monotone_depth": np.array(depths["b"])[np.sort(best)]},
        }
    )
    lists = {f"neighbors_{side}": _lists(rng, len(layers[side]), n, k) for side in "ab"}
    constants = {**{f"model_{side}": name for side, name in zip("ab", names, strict=True)}, "dataset": "texts", "n": n, "k": k}
    with replacing(folder / "neighbors.npz") as unfinished, unfinished.open("wb") as file:
        np.savez(file, **lists)
    files = [
        write_arrays(folder, affinity),
        folder / "neighbors.npz",
        writing.write_table(folder, "affinity", tidy(affinity, constants)),
        writing.write_table(folder, "items", items),
        writing.write_table(folder, "diagonal", matches),
    ]
    writing.write_result(folder, _result(layers, n, k, names, languages), files)
    return folder


def with_tables(folder: Path, analysis: str, tables: dict[str, pd.DataFrame], numbers: dict | None = None) -> Run:
    """The run once more, with tables and numbers of one more analysis."""
    run = read_run(folder)
    files = [folder / name for name in run.result["checksums"] if name != "result.json"]
    files += [writing.write_table(folder, name, table) for name, table in tables.items()]
    result = {key: value for key, value in run.result.items() if key != "checksums"}
    said = {"tables": list(tables), "tests": [], "ordered_tests": [], "sentences": [f"what {analysis} says"], "views": None}
    result["analyses"] = result["analyses"] | {analysis: said}
    result["statistics"] = result["statistics"] | {analysis: numbers or {}}
    writing.write_result(folder, result, files)
    return read_run(folder)


def influence_tables(run: Run, groups=("north", "south", "west"), seed=0) -> dict[str, pd.DataFrame]:
    """Changes of every cell without each group, single items in two cells, and what two accounts leave; all made up."""
    rng = np.random.default_rng(seed)
    cells = pd.MultiIndex.from_product([run.affinity.index, run.affinity.columns], names=["layer_a", "layer_b"]).to_frame(
        index=False
    )
    sizes = {name: 8 if i else 5 for i, name in enumerate(groups)}
    random = {size: rng.normal(0, 0.01, len(cells)) for size in set(sizes.values())}
    of_cells = [
        cells.assign(group=name, items=size, change=rng.normal(0, 0.1, len(cells)), random=random[size], random_sd=0.02, z=1.0)
        for name, size in sizes.items()
    ]
    margin = rng.normal(0, 0.02, len(groups))
    table = pd.DataFrame({"group": list(groups), "items": list(sizes.values()), "mean_change": 0.01, "mean_random": 0.0})
    table = table.assign(
        swap_margin_change=margin, swap_margin_random=0.001, swap_margin_random_sd=0.004, swap_margin_z=margin / 0.004
    )
    value = run.arrays["affinity"].ravel()
    accounts = [
        cells.assign(account=name, value=value, without=value - 0.05, control=value, share=rng.uniform(0, 0.4, len(cells)))
        for name in ("token count", "the token that is read")
    ]
    items = [
        pd.DataFrame({"layer_a": a, "layer_b": b, "item": np.arange(20), "id": [f"item-{i}" for i in range(20)]}).assign(
            change=rng.normal(0, 0.01, 20)
        )
        for a, b in ((run.affinity.index[0], run.affinity.columns[0]), (run.affinity.index[-1], run.affinity.columns[-1]))
    ]
    return {
        "influence": table,
        "influence_cells": pd.concat(of_cells, ignore_index=True),
        "influence_accounts": pd.concat(accounts, ignore_index=True),
        "influence_items": pd.concat(items, ignore_index=True).assign(beyond=lambda made: made["change"]),
    }


def neighbors_tables(run: Run) -> dict[str, pd.DataFrame]:
    """What the analysis would say of the run's own lists, for two of its cells."""
    lists = run.neighbors()
    assert lists is not None
    n, k = lists["a"].shape[1:]
    ids = run.table("items")["id"].to_numpy()
    summary, items, counts = [], [], []
    for place in range(2):
        layers = {"layer_a": run.affinity.index[place], "layer_b": run.affinity.columns[place]}
        shared = np.array([len(set(a) & set(b)) for a, b in zip(lists["a"][place], lists["b"][place], strict=True)], dtype=float)
        depths = {f"depth_{side}": run.arrays[f"depth_{side}"][place] for side in "ab"}
        numbers = {"shared": shared.mean(), "shared_chance": k * k / (n - 1), "none_share": (shared == 0).mean()}
        numbers |= {
            "none_share_chance": 0.5,
            "small_p_share": 0.2,
            "small_p_share_chance": 0.03,
            "hubness_a": 0.4,
            "hubness_b": 0.1,
        }
        summary.append(layers | depths | numbers)
        items.append(pd.DataFrame({**layers, "id": ids, "shared": shared, "p": 0.5}))
        counts.append(pd.DataFrame({**layers, "shared": range(k + 1), "items": np.bincount(shared.astype(int), minlength=k + 1)}))
    return {
        "neighbors": pd.DataFrame(summary),
        "neighbors_items": pd.concat(items, ignore_index=True),
        "neighbors_counts": pd.concat(counts, ignore_index=True).assign(chance=n / (k + 1)),
    }


def with_items(run: Run, items: pd.DataFrame) -> Run:
    """The run as if the analysis `alignment` had left this table."""

    class Asked(Run):
        tables = property(lambda self: ["alignment_items"])

        def table(self, name):
            return {"alignment_items": items}[name]

    return Asked(run.folder, run.result | {"analyses": {"alignment": run.result["analyses"]["diagonal"]}}, run.arrays)


def large_sweep(folder: Path, runs: int, layers: int) -> list[Run]:
    """Runs in memory, as many and as large as a sweep of many models: each matrix random, its p too."""
    rng = np.random.default_rng(0)
    names = np.array([block(i) for i in range(1, layers + 1)])
    depth = np.arange(1, layers + 1) / layers
    made = []
    for i in range(runs):
        matrix, sides = rng.random((layers, layers)), (f"model-{i % 20}", f"model-{i // 20}")
        layered = {f"{what}_{side}": values for what, values in (("layers", names), ("depth", depth)) for side in "ab"}
        arrays = {"affinity": matrix, "chance": np.full_like(matrix, 0.1), "p_fwer": rng.random(matrix.shape) ** 3, **layered}
        each = {side: [*names] for side in "ab"}
        result = completed(_result(each, 100, 10, sides, ("en", ("de", "hi")[i % 2])))
        result["statistics"] = {
            "diagonal": {"swap": {"by_depth": {"depth": depth.tolist(), "margin": rng.normal(size=layers).tolist()}}}
        }
        made.append(Run(folder / str(i), result, arrays))
    return made


def _lists(rng: np.random.Generator, layers: int, n: int, k: int) -> np.ndarray:
    """For each layer and item its k nearest others, none twice."""
    steps = (
        1 + rng.random((layers, n, n - 1)).argsort(axis=2)[:, :, :k]
        if n < 500
        else 1 + np.arange(k) * rng.integers(1, 50, (layers, n, 1))
    )
    return ((np.arange(n)[None, :, None] + steps) % n).astype("u2")


def _result(layers, n, k, names, languages) -> dict:
    sides = {
        side: {
            **{"model": name, "revision": "r1", "language": language, "field": "text", "control": None, "layers": layers[side]},
            **{
                "width": 8,
                "dtype": "float32",
                "tokens": 900,
                "certificate": {"weights": "checkpoint", "absent": []},
                "extraction": {},
            },
        }
        for side, name, language in zip("ab", names, languages, strict=True)
    }
    sentence = "layers at equal depth prefer each other by at least 0.025"
    headline = {
        "text": "swap margin",
        "value": 0.0366,
        "chance": 0.0,
        "ci_low": 0.0249,
        "ci_high": 0.0484,
        "p": 3e-06,
        "attainable_p": None,
    }
    margin = {key: headline[key] for key in ("value", "ci_low", "ci_high", "p")} | {"se": 0.006}
    swap = {"margin": margin, "net_share": {"value": 0.07}, "depths": len(layers["a"])}
    config = {
        **{f"model_{side}": {"id": name} for side, name in zip("ab", names, strict=True)},
        **{"dataset": {"field_a": "text", "field_b": "text"}, "seed": 0, "statistics": {"alpha": 0.05, "level": 0.95}},
    }
    return {
        "metric": {"name": "mutual_knn", "estimator": "mean overlap of neighbour lists", "k": k, "symmetric": True},
        "pooling": "last",
        **sides,
        "dataset": {"name": "texts", "corpus": "texts", "control": None, "same_texts": False, "n": n},
        "balance": {side: {"items": n, "characters": 20 * n} for side in "ab"},
        "inference": {"orders": 201, "attainable_p": 1 / 201},
        "headline": headline | {"sided": "two", "sentence": sentence, "caution": "holds for these items and models"},
        "statistics": {"diagonal": {"contrast": 0.08, "swap": swap}},
        "analyses": {
            "diagonal": {
                "tables": ["diagonal"],
                "tests": [],
                "ordered_tests": [],
                "sentences": ["on minus off the diagonal 0.081"],
                "views": None,
            }
        },
        "warnings": ["a: 3 of 40 texts are cut at 512 tokens"],
        "timing": {"compare": 0.1},
        "provenance": {"config": config, "command": ["src/run.py", "k=3"], "versions": {"python": "3.11"}, "seed": 0},
    }


def unpacked(text: str) -> dict:
    """Read as the page's script does, by the layout that packing.py states."""
    content = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", content)
    start = -(-(4 + length) // 8) * 8

    def revived(node):
        if "$array" not in node:
            return node
        kind, offset, size = node["$array"]
        return np.frombuffer(content, f"<{kind[0].lower()}{int(re.sub('[^0-9]', '', kind)) // 8}", size, start + offset)

    return json.loads(content[4 : 4 + length], object_hook=revived)


def data_of(page: str) -> dict:
    return unpacked(re.search(r'id="data">([A-Za-z0-9+/=]*)</script>', page)[1])


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    place = shutil.which("chromium") or shutil.which("google-chrome")
    assert place, "apt-get install chromium fonts-noto-core"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium) -> Iterator[Callable]:
    """`opened(file)` is the page as a person sees it; every message, error, dialog and request it makes fails the test."""

    @contextmanager
    def call(file: Path, *, width=1280, height=900):
        heard: list[str] = []
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text) if not any(hint in message.text for hint in HINTS) else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: (heard.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: heard.append(f"request {request.url}") if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=true]", state="attached", timeout=20_000)
        try:
            yield page
            assert heard == []
        finally:
            context.close()

    return call
