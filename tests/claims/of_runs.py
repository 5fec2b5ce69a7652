"""What the result files keep of a run."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from layeratlas import Run


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
                found[name]["peak_block"] = number_of(layers.pop())
    others = {name: one["p"] for name, one in found.items() if isinstance(one, dict) and "cka" not in name}
    blocks = [layer for layer in run.result["a"]["layers"] if layer.startswith("block")]
    first = number_of(run.result["statistics"]["alignment"]["retrieval_at_1"]["first_layer"])
    found["curve"] = _curve(run.table("alignment").query("statistic == 'retrieval_at_1'"))
    return found | {"smallest_p_but_cka": min(others.values()), "first_block": first, "blocks": len(blocks)}


def _curve(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By the number of each block; the other layers have no depth."""
    of_blocks = rows[rows["depth"].notna()]
    kept = of_blocks[["value", "ci_low", "ci_high", "chance"]].to_dict("records")
    return {str(number_of(layer)): row for layer, row in zip(of_blocks["layer"], kept, strict=True)}


def number_of(layer: str) -> int:
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
        **{"k": said["neighbors"]["k"], "block_a": number_of(best["layer_a"]), "block_b": number_of(best["layer_b"])},
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
        found[removal] = interval(row)
        if row["control"] is not None:
            of_random = {"value": "beyond_control", "ci_low": "beyond_control_ci_low", "ci_high": "beyond_control_ci_high"}
            found[removal] |= {"random": row["control"], "beyond_random": {key: row[of] for key, of in of_random.items()}}
    return found


def interval(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: row[key] for key in ("value", "ci_low", "ci_high")}
