"""What a run says of itself: `result.json`, warnings about its texts, and the lines at the end of its log."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import pandas as pd

from layeratlas.affinity.matrix import Affinity
from layeratlas.analyses import Findings, Headline
from layeratlas.corpora import doubts
from layeratlas.corpora.characters import has_content, is_visible
from layeratlas.extraction.activations import Extracted
from layeratlas.extraction.balance import Commonest, balance, commonest, imbalances
from layeratlas.files.identity import placeless
from layeratlas.files.paths import expanded
from layeratlas.files.store import checksum
from layeratlas.layers import EMBED
from layeratlas.metrics import AbstractMetric
from layeratlas.models.editing import header_of
from layeratlas.runs import reading, writing
from layeratlas.stages.inputs import INPUTS
from layeratlas.stages.plan import Plan

logger = logging.getLogger(__name__)

_MOST = 0.5  # of the texts: more that are pooled at one token are warned about


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
            "parameters": _options(plan.resolved["metric"]),
            "normalization": _normalization(plan.resolved["normalization"]),
        },
        "pooling": plan.pooling,
        **{side: _describe_side(plan, extracted[side], side) for side in "ab"},
        "dataset": {
            "name": plan.dataset,
            "corpus": plan.corpus.name,
            "control": plan.control.name if plan.control else None,
            "same_texts": plan.items.sides["a"].texts == plan.items.sides["b"].texts,
            "fingerprint": plan.items.fingerprint,
            "n": plan.items.n,
            "dropped": plan.items.dropped,
            "source": {side: plan.corpus.source(language) for side, language in plan.languages.items()},
        },
        "settings": _settings(plan),
        "balance": _balance(plan, extracted),
        "inference": affinity.methods,
        "headline": asdict(_headline(findings, affinity)),
        "statistics": {name: dict(answer.numbers) for name, answer in findings.items() if answer.numbers},
        "analyses": {name: _analysis(plan, name, answer) for name, answer in findings.items()},
        "provenance": writing.provenance(plan.resolved, str(plan.extractor.device)) | {INPUTS: plan.inputs},
    }


def _settings(plan: Plan) -> dict[str, Any]:
    """What decides the numbers of a run beside its sides, n, pooling and k: what two runs differ in that are no twins."""
    parts = {
        "dataset": {key: value for key, value in _options(plan.resolved["dataset"]).items() if key not in plan.corpus.no_settings},
        "metric": {key: value for key, value in _options(plan.resolved["metric"]).items() if key != "k"},
    }
    return {key: placeless(plan.resolved[key]) for key in ("seed", "layers", "normalization", "control", "statistics")} | parts


def _analysis(plan: Plan, name: str, answer: Findings) -> dict[str, Any]:
    """An analysis' options, and what a reader of its numbers and tables must know."""
    recorded = {
        "tables": list(answer.tables(name)),
        "tests": list(answer.tests),
        "ordered_tests": list(answer.ordered_tests),
        "sentences": list(answer.sentences),
        "views": plan.analyses[name].views,
    }
    return _options(plan.resolved["analysis"][name]) | recorded


def _options(node: dict[str, Any]) -> dict[str, Any]:
    return placeless({key: value for key, value in node.items() if key != "_target_"})


def _describe_side(plan: Plan, extracted: Extracted, side: str) -> dict[str, Any]:
    model, activations = plan.models[side], extracted.activations
    return {
        "model": model.name,
        "revision": model.fingerprint(),
        "language": plan.languages[side].code,
        "field": getattr(plan.corpus, f"field_{side}"),
        "control": plan.control.name if plan.control and side in plan.control.sides else None,
        "layers": activations.names,
        "width": activations.width,
        "dtype": model.dtype,
        "developer": getattr(model, "developer", None),
        "family": getattr(model, "family", None),
        "tokens": int(extracted.tokens["tokens"].sum()) if "tokens" in extracted.tokens else None,
        "certificate": extracted.record.get("certificate"),
        "edit": _edit(model),
        "extraction": {key: value for key, value in extracted.record.items() if key != "certificate"},
    }


def _edit(model: Any) -> dict[str, Any] | None:
    """What was done to the model's residual stream, by the file's own header; None for a model as it is."""
    if getattr(model, "edit", None) is None:
        return None
    header = header_of(model.edit)
    return {
        "what": header.get("what", PurePath(model.edit).stem),
        "sha256": checksum(expanded(model.edit)),
        "blocks": model.edit_blocks,
        "positions": model.edit_positions,
        **{key: header.get(key) for key in ("rank", "matched", "control_of", "applies_to", "model", "dataset")},
        "fitted_on_items": len(header["ids"]) if "ids" in header else None,
    }


def _headline(findings: dict[str, Findings], affinity: Affinity) -> Headline:
    """The first analysis' headline, or the mean affinity if no analysis has one."""
    headlines = [answer.headline for answer in findings.values() if answer.headline]
    if headlines:
        return headlines[0]
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
    fields = plan.corpus.field_a, plan.corpus.field_b
    yield from doubts(plan.items, plan.languages["a"], plan.languages["b"], fields)
    yield from _one_sided(plan)
    yield from imbalances(*_balance(plan, extracted).values())
    for side in "ab":
        tokens, texts = extracted[side].tokens, pd.Series(plan.items.sides[side].texts)
        if "truncated" not in tokens:  # stored vectors come without tokens, or with their number alone
            continue
        where = f"{plan.models[side].name}, {plan.languages[side]}"
        yield from _certified(extracted[side], where)
        if (cut := int(tokens["truncated"].sum())) > 0:
            yield f"{where}: {cut} of {len(tokens)} texts are cut at {_cut(extracted[side]) or plan.corpus.max_length} tokens"
        if (repeated := int(texts.duplicated().sum())) > 0:
            yield f"{where}: {repeated} of {len(texts)} texts repeat another one"
        if (named := int((tokens["named_controls"] > 0).sum())) > 0:
            yield _controls(where, named, int((tokens["controls"] > 0).sum()), len(tokens))
        token = commonest(tokens, plan.pooling)
        if token and token.share > _MOST:
            yield _same_token(where, plan, token, tokens)


def _controls(where: str, named: int, read: int, n: int) -> str:
    as_text = "they are read as text"
    read_so = f"{as_text}, but for {read} texts whose tokenizer knows them by no other token" if read else as_text
    return f"{where}: {named} of {n} texts hold names of the model's control tokens, such as that of its end of text; {read_so}"


def _same_token(where: str, plan: Plan, token: Commonest, tokens: pd.DataFrame) -> str:
    """That most texts are pooled at one token, and what to type instead."""
    content = commonest(tokens, "last_content")
    remedies = ["pooling=mean_content"]
    if plan.pooling == "last" and content and content.share <= _MOST:
        mark = is_visible(token.text) and not has_content(token.text)
        strip = ["dataset.final_punctuation=strip"] if mark and plan.corpus.final_punctuation == "keep" else []
        remedies = ["pooling=last_content", *strip]
    return (
        f"{where}: {round(token.share * len(tokens))} of {len(tokens)} texts are pooled at the token {token}, so with"
        f" pooling={plan.pooling} early layers compare that token in its contexts; {' or '.join(remedies)} reads another"
    )


def pooled_at_one_token(plan: Plan, extracted: dict[str, Extracted]) -> str | None:
    """Why embeddings of a side are one vector, and what to type instead; None where its texts are read at several tokens."""
    for side in "ab":
        token = commonest(extracted[side].tokens, plan.pooling)
        if token and token.share == 1 and EMBED in extracted[side].activations.names:
            return (
                f"all texts of side {side} are pooled at the token {token}: layers=blocks leaves {EMBED} out,"
                " pooling=mean_content reads more of each text"
            )
    return None


def _one_sided(plan: Plan) -> Iterator[str]:
    """What stands around the texts of one side only."""
    wrapped = {side: model for side, model in plan.readers.items() if model.chat_template}
    others = {side: model for side, model in plan.readers.items() if not model.chat_template}
    for side, model in wrapped.items():
        for other, plain in others.items():
            yield (
                f"model_{side} ({model.name}) reads its texts inside a chat template and model_{other} ({plain.name}) does not:"
                f" set chat_template of both to the same, or take the template for a part of what differs"
            )


def offers(plan: Plan) -> Iterator[str]:
    """What the models' own files say of how texts are to be read, where they are read otherwise; what to type."""
    for side, model in plan.readers.items():
        card = model.card()
        if card.prompts and not model.prefix:
            first = card.prompts.get(card.default or "") or next(iter(card.prompts.values()))
            listed = ", ".join(f"{prompt!r} ({name})" for name, prompt in card.prompts.items())
            yield (
                f"model_{side} ({model.name}): its own files put a prompt before each text, {listed}; none is read here:"
                f" \"model_{side}.prefix='{first}'\" reads one"
            )
        if card.pooling and card.pooling != plan.pooling:
            yield f"model_{side} ({model.name}): its own files pool by pooling={card.pooling}; here it is pooling={plan.pooling}"
        if model.edit:
            yield from _foreign(f"model_{side}.edit={model.edit}", header_of(model.edit), model, plan.languages[side].code)


def _foreign(where: str, header: Mapping[str, Any], model: Any, language: str) -> Iterator[str]:
    """That an edit was made for another model or another language: it is done all the same."""
    fitted = header.get("revision")
    if fitted is not None and fitted != model.fingerprint():
        yield f"{where}: was fitted on {header.get('model')} at {fitted}, and this is {model.fingerprint()}"
    if language not in header.get("applies_to", [language]):
        yield f"{where}: is made for texts in {', '.join(header['applies_to'])}, and these are in {language}"


def _cut(extracted: Extracted) -> int | None:
    """Where the model's input was cut, if its certificate says so."""
    return (extracted.record.get("certificate") or {}).get("max_length")


def _certified(extracted: Extracted, where: str) -> Iterator[str]:
    """What a reader of the numbers must know of how the model was loaded."""
    certificate = extracted.record.get("certificate")
    if certificate is None:
        yield f"{where}: these activations were stored before models were certified at loading (stage=store store.action=remove)"
        return
    if certificate["alone"]:
        yield f"{where}: padding moves this model's numbers by {certificate['drift']:.2g}, so each text ran alone"
    longer = int((extracted.tokens["tokens"] > (certificate["trained"] or certificate["max_length"])).sum())
    if longer:
        yield f"{where}: {longer} of {len(extracted.tokens)} texts exceed its {certificate['trained']} trained positions"
    if unused := certificate["unused"]:
        yield f"{where}: {len(unused)} tensors of the checkpoint's blocks have no place in the network ({', '.join(unused[:3])})"


def _balance(plan: Plan, extracted: dict[str, Extracted]) -> dict[str, dict[str, Any]]:
    return {side: balance(plan.items.sides[side].texts, extracted[side].tokens, plan.pooling) for side in "ab"}


def log_summary(run: reading.Run) -> None:
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
    for analysis in result["analyses"].values():
        for sentence in analysis.get("sentences", []):
            logger.info("beside    %s", sentence)
    if headline["caution"]:
        logger.info("caution   %s", headline["caution"])
    if asked := unasked(result):
        logger.info("ask       %s", asked)
    logger.info("files     %s", run.folder)


def unasked(result: Mapping[str, Any]) -> str | None:
    """What to type for a question that a run of one model in two languages could answer and did not."""
    a, b, analyses = result["a"], result["b"], result["analyses"]
    if (a["model"], a["revision"]) != (b["model"], b["revision"]) or a["language"] == b["language"] or "alignment" in analyses:
        return None
    return f"analysis=[{','.join([*analyses, 'alignment'])}] shows where {a['language']} and {b['language']} meet, layer by layer"
