"""What sweeps over languages of one model left: the figures of the page on studies."""

from pathlib import Path
from typing import Any

import pandas as pd
from claims.of_runs import number_of
from statsmodels.stats.multitest import multipletests

import layeratlas
from layeratlas.studies.languages import MEAN

RETRIEVAL = "retrieval_at_1"
NEAR = {"western": ("en", "fr", "es", "ar"), "indian": ("hi", "bn", "ta")}
MEET_AT = "block_12"
WITHOUT_MEANING = ("other_items", "random_characters")
CONTROLS = (*WITHOUT_MEANING, "shuffled_words")


def of_languages(folder: Path) -> dict[str, Any]:
    """Of all pairs: how alike two groups of languages are at one block, which pairs are aligned, and what that goes with."""
    runs = layeratlas.read_sweep(folder)
    alignment = _retrieval(folder)
    ps = [max(_both(run, RETRIEVAL)) for run in runs]
    found: dict[str, Any] = {"n": runs[0].result["dataset"]["n"], "pairs": len(runs)}
    found["languages"] = len({*alignment["language_a"], *alignment["language_b"]})
    found["aligned"] = int(multipletests(ps, alpha=0.05, method="holm")[0].sum())
    at = alignment[alignment["layer"] == MEET_AT]
    for group, languages in NEAR.items():
        above = at[at["language_a"].isin(languages) & at["language_b"].isin(languages)]["above"]
        found[group] = {"block": number_of(MEET_AT), "least": above.min(), "most": above.max()}
    rows = pd.read_parquet(folder / "tables" / "languages.parquet").query("statistic == @RETRIEVAL")
    found["predictors"] = {str(asked).replace(", ", "_beside_"): {} for asked in rows["predictors"].unique()}
    for (asked, predictor), of in rows.groupby(["predictors", "predictor"]):
        mean = of[of["layer"] == MEAN].iloc[0]
        blocks = of[of["depth"].notna()]
        most = blocks.loc[blocks["partial"].idxmax()]
        found["predictors"][str(asked).replace(", ", "_beside_")][predictor] = {
            **{key: float(mean[key]) for key in ("partial", "p", "p_holm", "inflation")},
            **{"most": float(most["partial"]), "block_of_most": number_of(most["layer"])},
        }
    return found


def of_controls(folder: Path) -> dict[str, Any]:
    """By control, over its runs: the range of the peak of retrieval, and the smallest larger p of both nulls.

    `without_meaning`, over the controls that leave none: the same p of all statistics but retrieval.
    """
    runs = layeratlas.read_sweep(folder)
    by_control = {control: [run for run in runs if run.result["dataset"]["control"] == control] for control in CONTROLS}
    without = [run for control in WITHOUT_MEANING for run in by_control[control]]
    statistics = _tested(runs[0])
    others = [max(_both(run, statistic)) for run in without for statistic in statistics if statistic != RETRIEVAL]
    told = {"runs": len(without), "statistics": len(statistics), "smallest_p_of_others": min(others)}
    return {control: _of_control(of) for control, of in by_control.items()} | {"without_meaning": told}


def _of_control(runs: list[layeratlas.Run]) -> dict[str, Any]:
    said = [run.result["statistics"]["alignment"][RETRIEVAL] for run in runs]
    peaks = [one["peak"]["value"] for one in said]
    chance = sum(one["chance_at_peak"] for one in said) / len(said)
    smallest = min(max(_both(run, RETRIEVAL)) for run in runs)
    return {"least_peak": min(peaks), "largest_peak": max(peaks), "chance": chance, "smallest_p": smallest}


def _tested(run: layeratlas.Run) -> list[str]:
    said = run.result["statistics"]["alignment"]
    return [name for name, one in said.items() if isinstance(one, dict) and "any_layer" in one]


def _retrieval(folder: Path) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "tables" / "alignment.parquet").query("statistic == @RETRIEVAL")
    return rows.assign(above=rows["value"] - rows["chance"])


def _both(run: layeratlas.Run, statistic: str) -> list[float]:
    """p of any layer under both nulls: items in any order, and items of the same length."""
    said = run.result["statistics"]["alignment"][statistic]
    return [said[null]["p"] for null in ("any_layer", "any_layer_of_length") if null in said]
