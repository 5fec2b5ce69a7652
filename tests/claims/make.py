"""Write the result files that pages take their numbers from: `uv run tests/claims/make.py [NAME ...]`, all without a name."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

import layeratlas
from layeratlas import Run

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
_GERMAN = [
    *("model@model_a=gemma3-270m", "model@model_b=gemma3-270m", "dataset=parallel", "language@language_a=en"),
    *("language@language_b=de", "layers=all"),
]


def of_default(run: Run) -> dict[str, Any]:
    swap = run.result["statistics"]["diagonal"]["swap"]
    blocks = {side: len(run.result[side]["layers"]) for side in "ab"}
    margin = {key: swap["margin"][key] for key in ("value", "ci_low", "ci_high")}
    return {"n": run.result["dataset"]["n"], "blocks": blocks, "own_share": swap["own_share"], "margin": margin}


def of_alignment(run: Run) -> dict[str, Any]:
    """Of each statistic the peak that other items choose, beside chance and wrong partners, and the larger p of both nulls."""
    found: dict[str, Any] = {
        "n": run.result["dataset"]["n"],
        "permutations": run.result["provenance"]["config"]["statistics"]["permutations"],
    }
    for name, said in run.result["statistics"]["alignment"].items():
        if isinstance(said, dict) and "any_layer" in said:
            ps = [said[test]["p"] for test in ("any_layer", "any_layer_of_length") if test in said]
            found[name] = {"p": max(ps)}
            found[name] |= {
                key: said[key] for key in ("peak", "chance_at_peak", "of_length_at_peak", "rise", "fall") if key in said
            }
            if len(layers := set(said.get("peak_layers", []))) == 1:
                found[name]["peak_block"] = _number(layers.pop())
    others = {name: one["p"] for name, one in found.items() if isinstance(one, dict) and "cka" not in name}
    blocks = [layer for layer in run.result["a"]["layers"] if layer.startswith("block")]
    first = _number(run.result["statistics"]["alignment"]["retrieval_at_1"]["first_layer"])
    return found | {"smallest_p_but_cka": min(others.values()), "first_block": first, "blocks": len(blocks)}


def _number(layer: str) -> int:
    """Of a block."""
    return int(re.sub(r"\D", "", layer))


def of_subspace(run: Run) -> dict[str, Any]:
    """Means over blocks, by statistic and removal; of the probe also beside random directions of the same rank."""
    said = run.result["statistics"]["subspace"]
    probe, transfer = said["language_probe"]["removals"], said["transfer"]["a_to_b"]
    n = run.result["dataset"]["n"]
    return {
        **{"n": n, "half": n // 2, "width": run.result["a"]["width"], "chance_of_transfer": said["transfer"]["chance"]},
        "language_probe": {removal: row["value"] for removal, row in probe.items()}
        | {"random": probe["least_squares_1"]["control"]},
        "retrieval_at_1": {removal: row["value"] for removal, row in said["retrieval_at_1"]["removals"].items()},
        "transfer": {removal: row["value"] for removal, row in transfer.items()},
    }


def of_joint(folder: Path) -> dict[str, Any]:
    """Of a sweep: by model what the study `joint` left of the same layer in both languages, of axes and of rotations."""
    tables = {name: pd.read_parquet(folder / "tables" / f"{name}.parquet") for name in ("joint", "joint_axes", "joint_procrustes")}
    numbers = next(iter(json.loads((folder / "studies.json").read_text(encoding="utf-8"))["joint"]["numbers"].values()))
    found: dict[str, Any] = {"n": int(tables["joint"]["items"].iloc[0])} | {key: numbers[key] for key in ("within", "across")}
    for model, rows in tables["joint"].groupby("model"):
        of = rows.set_index("measured")
        axes = tables["joint_axes"].query("model == @model and space == 'centred' and how == 'held out' and component == 1")
        left = tables["joint_procrustes"].set_index("model").loc[model]
        found[str(model).split("-")[0].lower()] = {
            **{"reduced": of["mean"]["distance, uncentred"], "captured": of["captured"]["distance, uncentred"]},
            **{"whole": of["mean"]["distance, whole"], "low": of["mean_ci_low"]["distance, whole"]},
            **{"high": of["mean_ci_high"]["distance, whole"], "axis": float(axes["r"].iloc[0])},
            **{key: float(left[key]) for key in ("rotation_of_dimensions", "layer_space_residual")},
        }
    return found


_JOINT = [
    *("-m", "model@model_a=smollm2-135m-instruct,gemma3-270m", "model@model_b=smollm2-135m-instruct,gemma3-270m"),
    *("language@language_a=en,de", "language@language_b=en,de", "dataset=parallel", "metric=cka_linear_debiased", "analysis=[]"),
    *("study=[joint]", "hydra.sweeper.self_pairs=true"),
]
MADE: dict[str, tuple[list[str], Callable[[Any], dict[str, Any]]]] = {
    "default_run": ([], of_default),
    "alignment": ([*_GERMAN, "analysis=[alignment]"], of_alignment),
    **{
        f"alignment_of_{control}": ([*_GERMAN, "analysis=[alignment]", f"control={control}"], of_alignment)
        for control in ("other_items", "random_characters", "shuffled_words")
    },
    "subspace": ([*_GERMAN, "analysis=[subspace]"], of_subspace),
    "joint": (_JOINT, of_joint),
}


def made(name: str, folder: Path) -> dict[str, Any]:
    """The content of a result file, from its own command, run into `folder`; what is finished there is read."""
    arguments, extract = MADE[name]
    place, swept = folder / name, "-m" in arguments
    if not (place / ("studies.json" if swept else "result.json")).is_file():
        more = ["report.enabled=false", f"hydra.{'sweep' if swept else 'run'}.dir={place}"]
        subprocess.run([sys.executable, ROOT / "src" / "run.py", *arguments, *more], cwd=ROOT, check=True)
    values = extract(place if swept else layeratlas.read_run(place))
    return {"command": " ".join(["uv run src/run.py", *arguments]), "values": values}


def main(names: Sequence[str], folder: Path) -> None:
    for name in names or MADE:
        text = json.dumps(made(name, folder), indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        main(sys.argv[1:], Path(scratch))
