"""Write the result files that pages take their numbers from, and the page of findings from them (findings.py).

`uv run tests/claims/make.py [NAME ...]`, all files without a name.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
    margin["p"] = swap["margin"]["p"]
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
    found["curve"] = _curve(run.table("alignment").query("statistic == 'retrieval_at_1'"))
    return found | {"smallest_p_but_cka": min(others.values()), "first_block": first, "blocks": len(blocks)}


def _curve(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By the number of each block; the other layers have no depth."""
    of_blocks = rows[rows["depth"].notna()]
    kept = of_blocks[["value", "ci_low", "ci_high", "chance"]].to_dict("records")
    return {str(_number(layer)): row for layer, row in zip(of_blocks["layer"], kept, strict=True)}


def _number(layer: str) -> int:
    """Of a block."""
    return int(re.sub(r"\D", "", layer))


def of_neighbors(run: Run) -> dict[str, Any]:
    """What the nearest texts at the best pair of blocks have in common; what groups of items and tokens account for."""
    said = run.result["statistics"]
    best = said["neighbors"]["best"]
    shares = ("shared", "shared_chance", "small_p_share", "small_p_share_chance")
    groups = run.table("influence").set_index("group")
    largest = groups.loc[groups["swap_margin_change"].abs().idxmax()]
    change = {key: float(largest[f"swap_margin_{key}"]) for key in ("change", "random", "random_sd")}
    accounts = run.table("influence_accounts").query("account == 'the token that is read' and layer_a == 'block_1'")
    return {
        **{"k": said["neighbors"]["k"], "block_a": _number(best["layer_a"]), "block_b": _number(best["layer_b"])},
        **{key: best[key] for key in shares},
        **{"largest": change, "token_read": said["influence"]["accounts"]["the token that is read"]},
        **{
            "token_count": said["influence"]["accounts"]["token count"],
            "token_read_at_first_block": float(accounts["share"].median()),
        },
    }


def of_subspace(run: Run) -> dict[str, Any]:
    """Means over blocks, by statistic and removal, and how far each lies beyond random directions of the same rank."""
    said = run.result["statistics"]["subspace"]
    n = run.result["dataset"]["n"]
    return {
        **{"n": n, "half": n // 2, "width": run.result["a"]["width"]},
        **{f"chance_of_{name}": said[name]["chance"] for name in ("language_probe", "retrieval_at_1", "transfer")},
        "language_probe": _removals(said["language_probe"]["removals"]),
        "retrieval_at_1": _removals(said["retrieval_at_1"]["removals"]),
        "transfer": _removals(said["transfer"]["a_to_b"]),
    }


def _removals(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for removal, row in rows.items():
        found[removal] = _interval(row)
        if row["control"] is not None:
            of_random = {"value": "beyond_control", "ci_low": "beyond_control_ci_low", "ci_high": "beyond_control_ci_high"}
            found[removal] |= {"random": row["control"], "beyond_random": {key: row[of] for key, of in of_random.items()}}
    return found


def _interval(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: row[key] for key in ("value", "ci_low", "ci_high")}


def of_subspace_of_ten(folder: Path) -> dict[str, Any]:
    """Of a sweep over languages: means over blocks by statistic and removal; what the first direction holds at each block."""
    (said,) = json.loads((folder / "studies.json").read_text(encoding="utf-8"))["subspace"]["numbers"].values()
    spectrum = pd.read_parquet(folder / "tables" / "subspace_spectrum.parquet").query("rank == 1")
    n, languages = int(spectrum["items"].iloc[0]), len(said["languages"])
    found: dict[str, Any] = {"n": n, "half": n // 2, "pairs": languages * (languages - 1) // 2}
    for row in said["mean_of_blocks"]:
        kept = {key: row[key] for key in ("value", "control") if row[key] is not None}
        found.setdefault(row["statistic"], {"chance": row["chance"]})[row["removal"]] = kept
    held = zip(spectrum["layer"], spectrum["held"], strict=True)
    return found | {"first_direction": {str(_number(layer)): float(share) for layer, share in held}}


def of_joint(folder: Path) -> dict[str, Any]:
    """Of a sweep: by model what the study `joint` left of the same layer in both languages, of axes and of rotations."""
    tables = {name: pd.read_parquet(folder / "tables" / f"{name}.parquet") for name in ("joint", "joint_axes", "joint_procrustes")}
    numbers = next(iter(json.loads((folder / "studies.json").read_text(encoding="utf-8"))["joint"]["numbers"].values()))
    found: dict[str, Any] = {"n": int(tables["joint"]["items"].iloc[0])} | {key: numbers[key] for key in ("within", "across")}
    found["exchanges"] = layeratlas.read_sweep(folder)[0].result["provenance"]["config"]["study"]["joint"]["draws"]
    for model, rows in tables["joint"].groupby("model"):
        of = rows.set_index("measured")
        held_out = tables["joint_axes"].query("model == @model and how == 'held out'").set_index(["space", "component"])
        axes = {f"{space}_{k}": {"r": float(row["r"]), "p": float(row["p_max"])} for (space, k), row in held_out.iterrows()}
        left = tables["joint_procrustes"].set_index("model").loc[model]
        found[str(model).split("-")[0].lower()] = {
            **{"reduced": of["mean"]["distance, uncentred"], "captured": of["captured"]["distance, uncentred"]},
            **{"whole": of["mean"]["distance, whole"], "low": of["mean_ci_low"]["distance, whole"]},
            **{"high": of["mean_ci_high"]["distance, whole"], "axes": axes},
            **{key: float(left[key]) for key in ("rotation_of_dimensions", "layer_space_residual")},
        }
    return found


def of_controls(folder: Path) -> dict[str, Any]:
    """Of a sweep over controls: each one's swap margin, and that of the texts minus its own; no p is corrected."""
    runs = layeratlas.read_sweep(folder)
    margins: dict[str, Any] = {}
    for run in runs:
        margin = run.result["statistics"]["diagonal"]["swap"]["margin"]
        margins[run.result["dataset"]["control"] or "none"] = _interval(margin) | {"p": margin["p"]}
    table = pd.read_parquet(folder / "tables" / "controls.parquet").query("statistic == 'swap_margin' and depth.isna()")
    table = table.rename(columns={"difference": "value"}).set_index("control")
    differences = table[["value", "ci_low", "ci_high", "p"]].to_dict("index")
    return {"n": runs[0].result["dataset"]["n"], "margins": margins, "differences": differences}


def of_exam(folder: Path) -> dict[str, Any]:
    """Of the sweep of tasks and languages: the size of both factors where it can be estimated, with depth trend and without.

    `correlations`, of matrices as they are: of medicine in English with the other tasks, and of its three other languages.
    """
    effects = json.loads((folder / "studies.json").read_text(encoding="utf-8"))["conditions"]["numbers"].get("effects", {})
    runs = layeratlas.read_sweep(folder)
    found: dict[str, Any] = {"n": runs[0].result["dataset"]["n"]}
    found["largest_affinity"] = max(float(run.affinity.to_numpy().max()) for run in runs)
    for said, of in effects.items():
        name = "without_trend" if "trend removed" in said else "as_they_are"
        found[name] = {factor.replace(" - ", "_minus_"): numbers for factor, numbers in of.items()}
    pairs = pd.read_parquet(folder / "tables" / "conditions.parquet").astype({"job_first": str, "job_second": str})
    medicine = pairs[pairs["job_first"].isin(["0", "1", "2", "3"])]
    tasks = medicine[(medicine["job_first"] == "0") & (medicine["differ_in"] == "config.dataset.groups")]
    languages = medicine[(medicine["job_first"] != "0") & (medicine["differ_in"] == "language_a, language_b")]
    found["correlations"] = {re.sub(r"\W", "", row["second"]): float(row["pearson"]) for _, row in tasks.iterrows()}
    for _, row in languages.iterrows():
        found["correlations"][f"{row['first'][:2]}_{row['second'][:2]}"] = float(row["pearson"])
    return found


def of_redundancy(folder: Path) -> dict[str, Any]:
    """Of the sweep that skips each block: agreement of each order with the cost, and what the blocks cost, in nats a token."""
    tables = {name: pd.read_parquet(folder / "tables" / f"{name}.parquet") for name in ("redundancy", "redundancy_agreement")}
    kept = ["value", "ci_low", "ci_high", "random_low", "random_high"]
    agreement = tables["redundancy_agreement"].set_index("order")[kept].to_dict("index")
    blocks = tables["redundancy"].set_index("block")[["with_input", "value", "ci_low", "ci_high"]]
    return {
        **{"n": layeratlas.read_sweep(folder)[0].result["dataset"]["n"], "number_of_blocks": len(blocks)},
        **{"cheapest": str(blocks["value"].idxmin()), "dearest": str(blocks["value"].idxmax())},
        "most_alike": str(blocks["with_input"].idxmax()),
        "agreement": {
            order.replace(" - ", "_minus_"): {key: value for key, value in row.items() if pd.notna(value)}
            for order, row in agreement.items()
        },
        "blocks": {str(block): row for block, row in blocks.to_dict("index").items()},
    }


def of_interventions(folder: Path) -> dict[str, Any]:
    """Of the sweep that erases a language's direction: costs in nats a token, beside the dearest of the random directions.

    `rank` and `energy` name the two kinds of random directions: of the edit's rank, and of the edit's energy. `downstream`: how
    far retrieval of translations changes at each later block, beside the largest fall with a random direction of the rank.
    """
    costs, pooled, thirds = (
        pd.read_parquet(folder / "tables" / f"interventions{part}.parquet") for part in ("", "_pooled", "_depths")
    )
    found: dict[str, Any] = {key: int(pooled[key].iloc[0]) for key in ("places", "draws")}
    found |= {"n": int(costs["items"].iloc[0]), "attainable_p": float(costs["attainable_p"].min())}
    for language, rows in costs.groupby("language"):
        of = pooled[pooled["language"] == language].set_index("against")
        against = {
            kind: {"value": of["of_draws"][name], "p": of["p"][name]} for kind, name in (("rank", "size"), ("energy", "energy"))
        }
        found[str(language)] = {"value": of["value"]["size"], **against, "thirds": {}, "blocks": {}}
        for _, third in thirds[thirds["language"] == language].iterrows():
            of_random = {"rank": third["of_draws"], "energy": third["energy_of_draws"]}
            found[str(language)]["thirds"][third["third"].split()[0]] = _interval(third) | of_random
        for block, at in rows.groupby("blocks"):
            dearest = at[at["is_control"]].groupby("matched")["value"].max()
            own = at[~at["is_control"]].iloc[0]
            found[str(language)]["blocks"][str(block)] = _interval(own) | {kind: float(dearest[kind]) for kind in against}
    later = pd.read_parquet(folder / "tables" / "interventions_downstream.parquet")
    later = later[later["matched"].isna() & (later["statistic"] == "retrieval_at_1")]
    found["downstream"] = {
        str(block): {
            row["layer"].removeprefix("block_"): {"fall": -row["change"], "largest_fall_of_draws": -row["draws_low"]}
            for _, row in rows.iterrows()
        }
        for block, rows in later.groupby("blocks")
    }
    return found


_TEN = [
    *("-m", "model_b=${model_a}", "model@model_a=gemma3-270m", "dataset=concepts", "language@language_a=en"),
    *("language@language_b=hi,bn,sw,am,fr,es,ar,yo,ta", "layers=every_4", "analysis=[]", "study=[subspace]"),
]
_JOINT = [
    *("-m", "model@model_a=smollm2-135m-instruct,gemma3-270m", "model@model_b=smollm2-135m-instruct,gemma3-270m"),
    *("language@language_a=en,de", "language@language_b=en,de", "dataset=parallel", "metric=cka_linear_debiased", "analysis=[]"),
    *("study=[joint]", "hydra.sweeper.self_pairs=true"),
]
MADE: dict[str, tuple[list[str], Callable[[Any], dict[str, Any]]]] = {
    "default_run": ([], of_default),
    "neighbors": (["analysis=[diagonal,neighbors,influence]"], of_neighbors),
    "alignment": ([*_GERMAN, "analysis=[alignment]"], of_alignment),
    **{
        f"alignment_of_{control}": ([*_GERMAN, "analysis=[alignment]", f"control={control}"], of_alignment)
        for control in ("other_items", "random_characters", "shuffled_words")
    },
    "subspace": ([*_GERMAN, "analysis=[subspace]"], of_subspace),
    "subspace_of_ten": (_TEN, of_subspace_of_ten),
    "joint": (_JOINT, of_joint),
    "controls": (["-m", "experiment=text_against_controls"], of_controls),
    "exam": (["-m", "experiment=tasks_and_languages_bundled", "metric=cka_linear_debiased"], of_exam),
    "exam_as_published": (["-m", "experiment=tasks_and_languages_bundled", "metric=diffusion_nmi_published"], of_exam),
    "redundancy": (["-m", "experiment=redundancy_bundled"], of_redundancy),
    "interventions": (["-m", "experiment=interventions_bundled"], of_interventions),
}
# What has to be run before.
BEFORE = {"interventions": ["experiment=edits_bundled"]}


def made(name: str, folder: Path) -> dict[str, Any]:
    """The content of a result file, from its own command, run into `folder`; what is finished there is read."""
    arguments, extract = MADE[name]
    place, swept = folder / name, "-m" in arguments
    if not (place / ("studies.json" if swept else "result.json")).is_file():
        if name in BEFORE:
            _run(*BEFORE[name])
        _run(*arguments, f"hydra.{'sweep' if swept else 'run'}.dir={place}")
    values = extract(place if swept else layeratlas.read_run(place))
    return {"command": " ".join(["uv run src/run.py", *arguments]), "values": values}


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, ROOT / "src" / "run.py", *arguments, "report.enabled=false"], cwd=ROOT, check=True)


def main(names: Sequence[str], folder: Path) -> None:
    for name in names or MADE:
        text = json.dumps(made(name, folder), indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, FOLDER / "findings.py"], cwd=ROOT, check=True)


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        main(sys.argv[1:], Path(scratch))
