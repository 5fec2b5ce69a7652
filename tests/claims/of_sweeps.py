"""What the result files keep of a sweep, from the tables and numbers of its studies."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from claims.of_runs import interval, number_of

import layeratlas


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
    return found | {"first_direction": {str(number_of(layer)): float(share) for layer, share in held}}


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
        margins[run.result["dataset"]["control"] or "none"] = interval(margin) | {"p": margin["p"]}
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
            found[str(language)]["thirds"][third["third"].split()[0]] = interval(third) | of_random
        for block, at in rows.groupby("blocks"):
            dearest = at[at["is_control"]].groupby("matched")["value"].max()
            own = at[~at["is_control"]].iloc[0]
            found[str(language)]["blocks"][str(block)] = interval(own) | {kind: float(dearest[kind]) for kind in against}
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
