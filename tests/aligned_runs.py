"""Runs of two languages that were asked for `alignment`, written by hand: their files, without models."""

import numpy as np
import pandas as pd

from layeratlas.runs import reading, writing
from layeratlas.runs.reading import Run

LANGUAGES = {
    "am": ("Ethi", "Afro-Asiatic", "low"),
    "ar": ("Arab", "Afro-Asiatic", "high"),
    "de": ("Latn", "Indo-European", "high"),
    "en": ("Latn", "Indo-European", "high"),
    "fr": ("Latn", "Indo-European", "high"),
    "hi": ("Deva", "Indo-European", "high"),
    "sw": ("Latn", "Atlantic-Congo", "low"),
    "xx": ("", "", None),
}
LAYERS = ["embed", "block_1", "block_2", "block_3", "final_norm"]
DEPTHS = np.array([np.nan, 1 / 3, 2 / 3, 1, np.nan])


def language(code):
    script, family, resource = LANGUAGES[code]
    return {"code": code, "script": script, "family": family, "resource": resource}


def aligned(values, statistic="retrieval_at_1", chance=0.1, flagged=()):
    """The rows of one statistic in alignment.parquet: a value per layer."""
    values = np.asarray(values, dtype=float)
    numbers = {"value": values, "chance": np.full(len(values), chance), "ci_low": values - 0.1, "ci_high": values + 0.1}
    numbers |= {"baseline_group": np.nan, "baseline_length": 0.05, "value_length_residual": values, "p": 0.01, "p_fwer": 0.02}
    flags = ["every vector is the same" if layer in flagged else "" for layer in LAYERS]
    return pd.DataFrame({"statistic": statistic, "layer": LAYERS, "depth": DEPTHS} | numbers | {"flag": flags})


def write_aligned(
    folder, languages, tables, *, model="ant", other_model=None, items=None, control=None, n=4, more=None, **config
) -> Run:
    """A run whose `alignment` left these tables, as it is read again from its folder."""
    folder.mkdir(parents=True)
    blocks = np.array(LAYERS[1:4])
    arrays = {"affinity": np.eye(3), "chance": np.full((3, 3), 0.1), "layers_a": blocks, "layers_b": blocks}
    np.savez(folder / "affinity.npz", **arrays, depth_a=DEPTHS[1:4], depth_b=DEPTHS[1:4])
    if items is None:
        items = pd.DataFrame(
            {"id": [f"t{i}" for i in range(n)], "text_tokens_a": 5, "text_tokens_b": 10, "shared_token_share": 0.25}
        )
    items.to_parquet(folder / "items.parquet")
    named = {"alignment": tables} if isinstance(tables, pd.DataFrame) else tables
    for name, table in named.items():
        table.to_parquet(folder / f"{name}.parquet")
    files = [folder / "affinity.npz", folder / "items.parquet", *(folder / f"{name}.parquet" for name in named)]
    sides = {
        side: {"model": name, "revision": "1", "language": code, "field": "text", "control": control, "layers": blocks.tolist()}
        for side, name, code in zip("ab", (model, other_model or model), languages, strict=True)
    }
    spoken = {f"language_{side}": language(code) for side, code in zip("ab", languages, strict=True)}
    result = {
        "metric": {"name": "mutual_knn", "estimator": "overlap", "k": 10, "symmetric": True, "self_value": 1.0, "parameters": {}},
        "pooling": "last",
        **sides,
        "dataset": {"name": "texts", "n": len(items), "corpus": "texts", "control": control, "same_texts": False},
        "settings": {"seed": 0, "layers": "all", "control": control, "dataset": {}, "metric": {}},
        "headline": {"text": "mean affinity", "value": 0.5, "chance": 0.1},
        "statistics": {"alignment": more or {}},
        "analyses": {"alignment": {"tables": list(named), "tests": [], "ordered_tests": [], "sentences": [], "views": None}},
        "warnings": [],
        "timing": {},
        "provenance": {"config": {"dataset": {}, "statistics": {"level": 0.95}, "model_a": {}, "model_b": {}} | spoken | config},
    }
    writing.write_result(folder, result, files)
    return reading.read_run(folder)
