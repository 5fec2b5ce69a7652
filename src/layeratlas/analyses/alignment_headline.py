"""Where translations are nearest each other, in one sentence."""

import math
from typing import Any

from layeratlas.analyses.base import Headline
from layeratlas.statistics import Inference


def alignment_headline(name: str, found: dict[str, Any], inference: Inference) -> Headline | None:
    """The metric `name` at the peak that other items choose; p is the larger of those over all orders and within one length.

    Value and p answer two questions: p whether any layer is aligned, the value how much the chosen one is.
    """
    if "peak" not in found:
        return None
    tests = [found[test] for test in ("any_layer", "any_layer_of_length") if test in found]
    p = max((test["p"] for test in tests), default=None)
    peak = found["peak"]
    verdict = "" if p is None else f": {_verdict(p, found, inference.alpha)}"
    return Headline(
        f"{name} at its peak",
        peak["value"],
        found["chance_at_peak"],
        ci_low=peak.get("ci_low"),
        ci_high=peak.get("ci_high"),
        p=p,
        attainable_p=max((test["attainable_p"] for test in tests), default=None),
        sided="one",
        sentence=f"{name} {_at_peak(found, inference.level)}; {_beside(found)}{verdict}",
        caution="no token counts: texts of like length may look aligned" if len(tests) == 1 else "",
    )


def _at_peak(found: dict[str, Any], level: float) -> str:
    peak, layers = found["peak"], " or ".join(dict.fromkeys(found["peak_layers"]))
    interval = f" ({level:.0%} interval {peak['ci_low']:.3f} to {peak['ci_high']:.3f})" if "ci_low" in peak else ""
    return f"{peak['value']:.3f} at {layers}, chosen on other items{interval}"


def _beside(found: dict[str, Any]) -> str:
    """What the value is to be compared with, as far as there is such."""
    wrong = {f"of the same {kind}": found[f"of_{kind}_at_peak"] for kind in ("length", "group")}
    partners = [f"{which} {value:.3f}" for which, value in wrong.items() if math.isfinite(value)]
    return ", ".join([f"chance {found['chance_at_peak']:z.3f}", *(["wrong partners " + ", ".join(partners)] if partners else [])])


def _verdict(p: float, found: dict[str, Any], alpha: float) -> str:
    over = f"(p = {p:.2g} over all layers)"
    if p > alpha:
        return f"no layer is shown to be aligned {over}"
    uncertain = found["peak"].get("ci_low", math.inf) <= found["chance_at_peak"]
    return f"some layer is aligned {over}" + (", but the interval of the chosen one includes chance" if uncertain else "")
