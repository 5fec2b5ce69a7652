"""What a run says of itself: `result.json`, warnings about its texts, and the lines at the end of its log."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd

from layeratlas import results
from layeratlas.activations import Extracted
from layeratlas.affinity import Affinity
from layeratlas.analyses import Findings, Headline
from layeratlas.balance import balance, imbalances
from layeratlas.corpora import doubts
from layeratlas.metrics import AbstractMetric
from layeratlas.plan import Plan

logger = logging.getLogger(__name__)


def described(plan: Plan, extracted: dict[str, Extracted], affinity: Affinity, findings: dict[str, Findings]) -> dict[str, Any]:
    """What goes into result.json, apart from warnings and timing."""
    metric = plan.metric
    return {
        "metric": {
            "name": metric.name,
            "estimator": metric.about.estimator,
            "k": k_of(metric),
            "range": list(metric.about.bounds),
            "min_n": metric.min_n,
            "self_value": metric.about.self_value,
            "symmetric": metric.about.symmetric,
            "normalization": _normalization(plan.resolved["normalization"]),
        },
        "pooling": plan.pooling,
        **{side: _describe_side(plan, extracted[side], side) for side in "ab"},
        "dataset": {
            "name": plan.dataset,
            "fingerprint": plan.items.fingerprint,
            "n": plan.items.n,
            "dropped": plan.items.dropped,
            "source": {side: plan.corpus.source(language) for side, language in plan.languages.items()},
        },
        "balance": _balance(plan, extracted),
        "inference": affinity.methods,
        "headline": asdict(_headline(findings, affinity)),
        "statistics": {key: value for found in findings.values() for key, value in found.statistics.items()},
        "analyses": {name: found.summary for name, found in findings.items()},
        "provenance": results.provenance(plan.resolved, str(plan.extractor.device)),
    }


def _describe_side(plan: Plan, extracted: Extracted, side: str) -> dict[str, Any]:
    model, activations = plan.models[side], extracted.activations
    return {
        "model": model.name,
        "revision": model.fingerprint(),
        "language": plan.languages[side].code,
        "layers": activations.names,
        "width": activations.width,
        "dtype": model.dtype,
        "developer": getattr(model, "developer", None),
        "family": getattr(model, "family", None),
        "tokens": None if extracted.tokens.empty else int(extracted.tokens["tokens"].sum()),
        "extraction": extracted.record,
    }


def _headline(findings: dict[str, Findings], affinity: Affinity) -> Headline:
    """The first analysis' headline, or the mean affinity if no analysis has one."""
    told = [found.headline for found in findings.values() if found.headline]
    if told:
        return told[0]
    mean, chance = float(affinity.matrix.mean()), float(affinity.chance.mean())
    return Headline("mean affinity", mean, chance, sentence=f"mean affinity {mean:.3f}, chance {chance:z.3f}")


def k_of(metric: AbstractMetric) -> int | None:
    """The number of neighbours, where the metric has one."""
    return getattr(metric, "k", None)


def _normalization(node: dict[str, Any]) -> str:
    """The name of a normalization and its options, as in `DropTopDimensions(dimensions=1)`."""
    options = ", ".join(f"{key}={value}" for key, value in node.items() if not key.startswith("_"))
    return node["_target_"].rsplit(".", 1)[-1] + (f"({options})" if options else "")


def doubtful_texts(plan: Plan, extracted: dict[str, Extracted]) -> Iterator[str]:
    """What about the texts may decide the result instead of their meaning, one line each."""
    yield from doubts(plan.items, plan.languages["a"], plan.languages["b"])
    yield from imbalances(*_balance(plan, extracted).values())
    for side in "ab":
        tokens, texts = extracted[side].tokens, pd.Series(plan.items.sides[side].texts)
        if tokens.empty:  # stored vectors come without tokens
            continue
        where = f"{plan.models[side].name}, {plan.languages[side]}"
        if (cut := int(tokens["truncated"].sum())) > 0:
            yield f"{where}: {cut} of {len(tokens)} texts are cut at {plan.corpus.max_length} tokens"
        if (repeated := int(texts.duplicated().sum())) > 0:
            yield f"{where}: {repeated} of {len(texts)} texts repeat another one"
        commonest = tokens["last_token"].value_counts()
        if plan.pooling == "last" and commonest.iloc[0] > len(tokens) / 2:
            yield (
                f"{where}: {commonest.iloc[0]} of {len(tokens)} texts end in the token {commonest.index[0]!r}, so with"
                " pooling=last early layers compare that token in its contexts"
            )


def _balance(plan: Plan, extracted: dict[str, Extracted]) -> dict[str, dict[str, Any]]:
    return {side: balance(plan.items.sides[side].texts, extracted[side].tokens) for side in "ab"}


def log_summary(run: results.Run) -> None:
    """What a person wants to know of a finished run."""
    result, chance = run.result, run.arrays["chance"]
    metric, dataset, headline = result["metric"], result["dataset"], result["headline"]
    a, b = (
        f"{side['model']} ({side['language']}, {len(side['layers'])} layers x {side['width']})"
        for side in (result["a"], result["b"])
    )
    k = f", k = {metric['k']}" if metric["k"] is not None else ""
    logger.info("models    %s against %s", a, b)
    logger.info("items     n = %d of %s, pooling %s", dataset["n"], dataset["name"], result["pooling"])
    logger.info("metric    %s%s: mean %.4f, chance %.4f", metric["name"], k, run.arrays["affinity"].mean(), chance.mean())
    logger.info("headline  %s", headline["sentence"])
    if diagonal := result["statistics"].get("diagonal"):
        logger.info("beside    %s", _beside(diagonal, result["provenance"]["config"]["statistics"]["level"]))
    if headline["caution"]:
        logger.info("caution   %s", headline["caution"])
    logger.info("files     %s", run.folder)


def _beside(diagonal: dict[str, Any], level: float) -> str:
    """The raw contrast and the item-permutation p, each labelled with what it also holds."""
    raw, kept = diagonal["generalised"], diagonal["swap"]["kept_share"]
    said = f"on minus off the diagonal {raw['value']:z.3f}, layers' strengths included"
    if raw["ci_low"] is not None:
        said += f" ({level:.0%} interval {raw['ci_low']:z.3f} to {raw['ci_high']:z.3f})"
    if kept is not None:
        said += f", {kept:.0%} of the gain kept by the swap margin"
    if raw["p"] is not None:
        said += f"; p of any correspondence {raw['p']:.2g} (smallest attainable {raw['attainable_p']:.2g})"
    return said
