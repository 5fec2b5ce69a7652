"""What a run's page says in words: titles, numbers, nested settings as rows."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.report.figures import name_of, spread_of


def title_of(result: Mapping[str, Any]) -> str:
    a, b = name_of(result["a"]), name_of(result["b"])
    return f"{a} against {b}" if a != b else f"{a} against itself"


def setting_of(result: Mapping[str, Any], chance: np.ndarray) -> str:
    """What was compared, on which texts, by which metric."""
    metric, dataset = result["metric"], result["dataset"]
    k = "" if metric.get("k") is None else f" with k = {metric['k']}"
    estimator = f" ({metric['estimator']})" if metric["estimator"] else ""
    layers = f"{len(result['a']['layers'])} layers (rows) against {len(result['b']['layers'])} (columns)"
    n = "an unknown number of" if dataset["n"] is None else f"{dataset['n']:,}"
    texts = f"{n} texts of {dataset['name'] or 'an unknown dataset'}, pooling {result.get('pooling') or 'unknown'}"
    return (
        f"{layers} over {texts}. Metric {metric['name']}{k}{estimator}: larger is more alike; texts paired at random give"
        f" {spread_of(chance, number)} (chance)."
    )


def tiles_of(headline: Mapping[str, Any], level: float, metric: str) -> list[dict[str, str]]:
    """The headline's numbers, each with what it is."""
    low, high, p = headline.get("ci_low"), headline.get("ci_high"), headline.get("p")
    sided = {"two": "two-sided", "one": "for larger values"}.get(headline.get("sided") or "", "")
    smallest = "" if headline.get("attainable_p") is None else f"smallest attainable {p_value(headline['attainable_p'])}"
    return [
        {"label": headline["text"], "value": number(headline["value"]), "note": f"in units of {metric}"},
        {"label": "chance", "value": number(headline["chance"]), "note": "expected where nothing corresponds"},
        {
            "label": f"{level:.0%} interval",
            "value": "not computed" if low is None or high is None else f"{number(low)} to {number(high)}",
            "note": "over items: what other texts of this kind would give",
        },
        {"label": "p", "value": "not computed" if p is None else p_value(p), "note": "; ".join(filter(None, (sided, smallest)))},
    ]


def in_short(runs: pd.DataFrame, alpha: float) -> list[str]:
    """What the headlines of a sweep's runs come to, a sentence for each statistic, where no study says more."""
    lines = []
    for text, rows in runs[runs["value"].notna()].groupby("headline", sort=False):
        low, high = rows["value"].min(), rows["value"].max()
        tested = rows.get("p_holm", pd.Series(dtype=float)).dropna()
        values = number(low) if len(rows) == 1 else f"{number(low)} to {number(high)}"
        small = f"; p_holm is at most {alpha:g} in {(tested <= alpha).sum()} of {len(tested)}"
        lines.append(f"{text} of {len(rows)} run{'s' if len(rows) > 1 else ''}: {values}{small if len(tested) else ''}")
    return lines


def number(value: Any) -> str:
    """Three significant digits at least, and no more decimals than a reader compares."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 5e-4 or abs(value) >= 1e6:
        return "0" if abs(value) < 1e-12 else f"{value:.2e}"
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def command_of(result: Mapping[str, Any]) -> str:
    return shlex.join(str(word) for word in result.get("provenance", {}).get("command") or [])


def config_of(result: Mapping[str, Any]) -> str:
    return json.dumps(result["provenance"]["config"], indent=2, ensure_ascii=False)


def rows_of(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings and numbers, one row each: its dotted name and its value."""
    if isinstance(node, Mapping) and (node or not prefix):
        for key, value in node.items():
            yield from rows_of(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        yield prefix, _listed(node)
    elif isinstance(node, float):
        yield prefix, f"{node:.6g}"
    else:
        yield prefix, "–" if node is None or node == {} else str(node)


_LISTED = 12


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values[:_LISTED])
    rest = f", … ({len(values)} in result.json)" if len(values) > _LISTED else ""
    return (shown + rest) or "none"
