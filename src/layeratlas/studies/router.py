"""Which of several models to send a text to, with the evidence for it, and 'no evidence' where there is none."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from layeratlas.studies.variant_runs import MEAN

NO_EVIDENCE = "no evidence"
MEASURE = "retrieved"
_UNIT = "mean of depths, paired over items"


def router(
    differences: pd.DataFrame, failures: pd.DataFrame | None, labelled: pd.DataFrame | None, *, alpha: float
) -> dict[str, Any]:
    """A recommendation per condition and pair of languages, and a case per failed or labelled text.

    A model is recommended where it is above every other in the corrected test; where some are below others and no single one is
    above all, those that nothing is above are named as candidates, and nothing tells them apart. A case has the fields of the
    published file (`test_id`, `input`, `language_ground_truth`, `expected_variant`, `failure_category`,
    `routing_recommendation`, `p1_test_assertion`) and the evidence of its language.
    """
    means = differences[differences["layer"] == MEAN] if len(differences) else differences
    of_measure = means[means["measure"] == MEASURE] if len(means) else means
    recommendations = [
        _recommendation(condition, a, b, rows, alpha)
        for (condition, a, b), rows in (
            of_measure.groupby(["condition", "language_a", "language_b"], sort=False) if len(of_measure) else ()
        )
    ]
    cases = [_case(row, recommendations) for table in (failures, labelled) if table is not None for row in table.to_dict("records")]
    return {"measure": f"{MEASURE}, {_UNIT}", "alpha": alpha, "recommendations": recommendations, "cases": cases}


def _recommendation(condition: Any, a: Any, b: Any, rows: pd.DataFrame, alpha: float) -> dict[str, Any]:
    evidence = [_evidence(row) for row in rows.to_dict("records")]
    models = list(dict.fromkeys([*rows["first"], *rows["second"]]))
    beaten: dict[str, set[str]] = {model: set() for model in models}
    for row in evidence:
        if row["p_holm"] is not None and row["p_holm"] <= alpha and row["difference"]:
            higher, lower = (row["second"], row["first"]) if row["difference"] > 0 else (row["first"], row["second"])
            beaten[lower].add(higher)
    best = [model for model in models if all(model in beaten[other] for other in models if other != model)]
    candidates = [model for model in models if not beaten[model]]
    entry = {"condition": condition, "language_a": a, "language_b": b, "evidence": evidence}
    if best:
        return entry | {"model": best[0], "candidates": best, "says": f"{best[0]}: above every other model"}
    if len(candidates) < len(models) and candidates:
        return entry | {"model": NO_EVIDENCE, "candidates": candidates, "says": f"{NO_EVIDENCE} between {', '.join(candidates)}"}
    return entry | {"model": NO_EVIDENCE, "candidates": models, "says": f"{NO_EVIDENCE} that one model is above another"}


def _evidence(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The numbers of one test, those that are undefined as None."""
    named = {"first": row["first"], "second": row["second"], "items": int(row["items"]), "units": int(row["units"])}
    numbers = {"difference": "value", "ci_low": "ci_low", "ci_high": "ci_high", "p": "p", "p_holm": "p_holm"}
    return named | {name: None if pd.isna(row[column]) else float(row[column]) for name, column in numbers.items()}


def _case(row: Mapping[Any, Any], recommendations: list[dict[str, Any]]) -> dict[str, Any]:
    of_language = [
        found
        for found in recommendations
        if found["language_b"] == row["language"] and row.get("condition") in (None, found["condition"])
    ]
    models = list(dict.fromkeys(found["model"] for found in of_language))
    agreed = models[0] if len(models) == 1 else NO_EVIDENCE
    says = "; ".join(found["says"] for found in of_language) or f"{NO_EVIDENCE}: no run of this language"
    category = row.get("corrected")
    return {
        "test_id": f"{row['language']}-{row['id']}" + (f"-{row['variant']}" if "variant" in row else ""),
        "input": row.get("text"),
        "language_ground_truth": row["language"],
        "expected_variant": agreed,
        "failure_category": NO_EVIDENCE if category is None or pd.isna(category) else category,
        "routing_recommendation": says,
        "p1_test_assertion": NO_EVIDENCE if agreed == NO_EVIDENCE else f"route(input) == {agreed!r}",
        "label": row.get("label"),
        "evidence": [evidence for found in of_language for evidence in found["evidence"]],
    }
