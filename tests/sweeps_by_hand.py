"""Runs and sweeps written by hand: their files, without models."""

import numpy as np
import pandas as pd
import pytest

from layeratlas.affinity.matrix import Affinity
from layeratlas.layers import block
from layeratlas.runs import writing
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.runs.matrices import tidy, write_arrays

LAYERS = {"ant": 4, "bee": 6, "cat": 5, "dog": 30, "eel": 18}


PAIRS = [("ant", "bee"), ("ant", "cat"), ("bee", "cat")]


def banded(rows, columns):
    """Affinities that are largest at equal depths."""
    x, y = np.linspace(0, 1, rows)[:, None], np.linspace(0, 1, columns)
    return 1 - np.abs(x - y)


def write_run(folder, a, b, p=0.01, *, languages=("en", "en"), metric_name="mutual_knn", statistics=(), n=50, **config):
    folder.mkdir(parents=True)
    matrix = banded(LAYERS[a], LAYERS[b])
    names = {side: [block(k) for k in range(1, LAYERS[side] + 1)] for side in (a, b)}
    depths = {side: [k / LAYERS[side] for k in range(1, LAYERS[side] + 1)] for side in (a, b)}
    affinity = Affinity(matrix, np.full_like(matrix, 0.1), names[a], names[b], depths[a], depths[b], 50, [], [])
    files = [
        write_arrays(folder, affinity),
        writing.write_table(folder, "affinity", tidy(affinity, {"model_a": a, "model_b": b, "dataset": "texts"})),
        writing.write_table(folder, "diagonal", pd.DataFrame({"layer": names[a], "best": 1.0})),
    ]
    resolved = {"model_a": {"id": a}, "model_b": {"id": b}, "dataset": {"field_a": "text", "field_b": "text"}, "seed": 0} | config
    result = {
        "metric": {"name": metric_name, "estimator": "overlap", "k": 10, "symmetric": True},
        "pooling": "last",
        "a": {"model": a, "language": languages[0], "layers": names[a]},
        "b": {"model": b, "language": languages[1], "layers": names[b]},
        "dataset": {"name": "texts", "n": n},
        "headline": {"text": "contrast", "value": 0.5, "chance": 0.0, "ci_low": 0.4, "ci_high": 0.6, "p": p, "attainable_p": None},
        "statistics": {"diagonal": {"on_mean": 0.9, "student_p": p / 2, "cells": {"on": 3}} | dict(statistics)},
        "warnings": [],
        "timing": {"compare": 1.0},
        "provenance": {"config": resolved},
    }
    writing.write_result(folder, result, files)


@pytest.fixture
def sweep(tmp_path):
    """Three pairs under two seeds; the last job has failed, one never started, and two mirrors are not run."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    plan = [Job(i, ["stage=all", f"job={i}"], str(i)) for i in range(7)] + [Job(7, ["stage=all", "job=7"], None, "a twin", 0)]
    write_jobs(folder, plan)
    for number, (pair, seed) in enumerate([(pair, seed) for seed in (0, 1) for pair in PAIRS][:5]):
        write_run(folder / str(number), *pair, p=0.01 * (number + 1), seed=seed)
    (folder / "5").mkdir()
    (folder / "5" / "error.txt").write_text("ValueError: a cat\n\nTraceback")
    return folder
