"""What published curves of alignment say by the published rules, computed anew from `published.read_alignment_curves`."""

import numpy as np
import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.runs.published import PublishedCurves
from layeratlas.statistics.commitment import NEVER, committed_at


def commitments(curves: PublishedCurves, threshold: float = 0.85, consecutive: int = 3) -> pd.DataFrame:
    """A row per concept and language, with the layer at which each variant commits to it, -1 where it does not."""
    layers = committed_at(curves.values, threshold, consecutive)
    rows = [
        {"concept": concept, "language": language} | {variant: int(layers[v, c, i]) for v, variant in enumerate(curves.variants)}
        for c, concept in enumerate(curves.concepts)
        for i, language in enumerate(curves.languages)
    ]
    return pd.DataFrame(rows)


def failures(committed: pd.DataFrame, baseline: str, later: int = 4) -> pd.DataFrame:
    """Rows of `commitments` in which the baseline commits and `variant` does not, or more than `later` layers after it."""
    variants = [str(column) for column in committed if column not in ("concept", "language", baseline)]
    if baseline not in committed:
        raise ConfigError(f"there is no variant {baseline!r}; there are {', '.join(variants)}")
    of_baseline, parts = committed[baseline], []
    for variant in variants:
        own = committed[variant]
        failed = (of_baseline != NEVER) & ((own == NEVER) | (own > of_baseline + later))
        part = committed.loc[failed, ["concept", "language"]]
        parts.append(part.assign(variant=variant, baseline_layer=of_baseline[failed], layer=own[failed]))
    return pd.concat(parts, ignore_index=True)


def peak_table(curves: PublishedCurves) -> pd.DataFrame:
    """A row per language and variant: the mean over concepts of each one's largest and last value.

    A largest value of many layers is biased upwards, the more the noisier the curves are.
    """
    rows = []
    for i, language in enumerate(curves.languages):
        for v, variant in enumerate(curves.variants):
            values = curves.values[v, :, i]
            peak, last = float(np.mean(values.max(axis=1))), float(np.mean(values[:, -1]))
            rows.append({"language": language, "variant": variant, "peak": peak, "last": last})
    return pd.DataFrame(rows)
