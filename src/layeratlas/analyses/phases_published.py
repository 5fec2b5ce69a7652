"""The published answer of the analysis `phases`: D'Elia's procedure, with nothing added and nothing mended."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from layeratlas.statistics import published_phases
from layeratlas.statistics.pair_asymmetry import uniformity

Values = Float[np.ndarray, " n"]

CENTROID = "centroid_asymmetry"


def correlations(
    values: Mapping[str, Mapping[str, Values]], preference: Values, depths: Mapping[str, float], resamples: int
) -> pd.DataFrame:
    """A row per sampled layer and statistic: r with its bootstrap interval, and the p that was computed and not corrected.

    `values` holds the statistics of each layer in the published order. The centroid asymmetry's resamples are those of the
    notebooks that compute nothing else, the others' those of the notebook of all five: one generator runs through layers, and
    within a layer through statistics.
    """
    layers = list(values)
    alone = published_phases.bootstrap(np.stack([values[layer][CENTROID] for layer in layers]), preference, resamples)
    every = [(layer, name) for layer in layers for name in values[layer]]
    together = published_phases.bootstrap(np.stack([values[layer][name] for layer, name in every]), preference, resamples)
    draws = {key: row for key, row in zip(every, together, strict=True) if key[1] != CENTROID}
    draws |= {(layer, CENTROID): row for layer, row in zip(layers, alone, strict=True)}
    rows = []
    for layer, name in every:
        x = values[layer][name]
        r, p = _pearson(x, preference)
        low, high = published_phases.interval(draws[layer, name])
        rows.append({"layer": layer, "depth": depths[layer], "statistic": name, "r": r, "ci_low": low, "ci_high": high, "p": p})
    return pd.DataFrame(rows).astype({"ci_low": float, "ci_high": float})


def labels(table: pd.DataFrame) -> dict[str, Any]:
    """Phases, every published label of them, the verdict on the last layer, and the statistic of the largest |r| of each layer."""
    centroid = table[table["statistic"] == CENTROID].set_index("layer")
    phases = published_phases.phase_means(centroid["r"].to_numpy())
    last = centroid.iloc[-1]
    significant = not last["ci_low"] <= 0 <= last["ci_high"]
    strongest = table.loc[table.assign(size=table["r"].abs()).groupby("layer", sort=False)["size"].idxmax()]
    return {
        "layers": centroid.index.tolist(),
        **phases._asdict(),
        "pattern": published_phases.pattern(phases),
        "pattern_of_signs": published_phases.pattern_of_signs(phases),
        "pattern_of_instruct": published_phases.pattern_of_instruct(phases),
        "final_layer": {
            "layer": centroid.index[-1],
            "r": float(last["r"]),
            "verdict": published_phases.final_layer_verdict(float(last["r"]), significant),
        },
        "best_statistic": dict(zip(strongest["layer"], strongest["statistic"], strict=True)),
    }


def uniformities(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"], groups: Sequence[str]) -> pd.DataFrame:
    """A row per category: U(a), U(b) and their difference, the uniformity asymmetry."""
    column, rows = np.asarray(groups), []
    for category in dict.fromkeys(groups):
        first, second = (uniformity(side[column == category]) for side in (a, b))
        rows.append({"category": category, "uniformity_a": first, "uniformity_b": second})
    table = pd.DataFrame(rows)
    return table.assign(uniformity_asymmetry=table["uniformity_a"] - table["uniformity_b"])


def uniformity_verdicts(table: pd.DataFrame, structural: Sequence[str], resamples: int) -> dict[str, Any]:
    """Over all categories, and over those that are not there for calibration; None where no category is left."""
    values = table.set_index("category")["uniformity_asymmetry"]
    sets = {"all": values, "without_structural": values.drop([name for name in structural if name in values])}
    return {
        name: published_phases.uniformity_verdict(chosen.tolist(), resamples)._asdict() if len(chosen) else None
        for name, chosen in sets.items()
    }


def of_categories(
    tables: Mapping[str, pd.DataFrame], preference: Values, groups: Sequence[str], depths: Mapping[str, float]
) -> pd.DataFrame:
    """A row per layer: r of the uniformity asymmetry with the mean preference over the few categories, as published, with its p."""
    means = pd.Series(preference).groupby(list(groups), sort=False).mean()
    rows = []
    for layer, table in tables.items():
        x, y = table["uniformity_asymmetry"].to_numpy(), means[table["category"]].to_numpy()
        r, p = _pearson(x, y)
        rows.append({"layer": layer, "depth": depths[layer], "statistic": "uniformity_asymmetry", "r": r, "p": p})
    return pd.DataFrame(rows)


def _pearson(x: Values, y: Values) -> tuple[float, float]:
    """R and its p; NaN for two items, which always lie on a line, and for what is constant."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    found = stats.pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)
