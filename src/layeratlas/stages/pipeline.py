"""What `stage=` names: the short programs that string the parts together."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig

from layeratlas.affinity.matrix import Affinity, clustered, compare, diagnoses, with_intervals, with_null
from layeratlas.analyses import Comparison, Findings
from layeratlas.errors import ActivationError, ConfigError, Failure, Undefined
from layeratlas.extraction import pooling, preflight
from layeratlas.extraction.activations import Extracted, Extractor, Side
from layeratlas.extraction.balance import CONTENT_IDS, shared_token_share
from layeratlas.extraction.catalogue import catalogue, damaged, remove
from layeratlas.extraction.drift import drift_table
from layeratlas.extraction.pooling import read_by
from layeratlas.metrics import AbstractNeighborMetric
from layeratlas.runs import matrices, reading, writing
from layeratlas.stages.description import described, doubtful_texts, k_of, log_summary, offers, pooled_at_one_token
from layeratlas.stages.inputs import require_same_inputs
from layeratlas.stages.keys import resolved
from layeratlas.stages.plan import Plan, planned, require_one_width, store_of, texts_of
from layeratlas.statistics.nulls import attainable_p, survivable

logger = logging.getLogger(__name__)


def everything(config: DictConfig, folder: Path) -> None:
    """Extract what the store lacks, compare all layers, analyse, and write numbers and figures into `folder`."""
    _run(config, folder, only_stored=False)


def from_store(config: DictConfig, folder: Path) -> None:
    """The same without loading any model: what the store lacks is an error."""
    _run(config, folder, only_stored=True)


def extraction(config: DictConfig, folder: Path) -> None:
    """Fill the store with both sides' activations, and compare nothing."""
    store_of(config).clean()
    plan, notes = planned(_b_follows_a(config), compares=False), _Notes()
    for offer in offers(plan):
        notes.warn(offer)
    for name in _order(plan):
        with notes.timed(name):
            plan.sides[name].fill(plan.extractor)
    sides = {side: {"model": model.name, "language": plan.languages[side].code} for side, model in plan.models.items()}
    writing.write_json(folder, writing.EXTRACTED, {**sides, "n": plan.items.n, "timing": notes.timing})


def _b_follows_a(config: DictConfig) -> DictConfig:
    """Where side b's model was not chosen, it is side a's, whatever was set of that: one job then extracts one model."""
    chosen = HydraConfig.get()
    same = chosen.runtime.choices["model@model_b"] == chosen.runtime.choices["model@model_a"]
    if same and not any(override.lstrip("+~").startswith(("model_b.", "model@model_b=")) for override in chosen.overrides.task):
        config.model_b = config.model_a
    return config


def prefetch(config: DictConfig, folder: Path) -> None:
    """Bring the dataset and both models onto this machine, for runs without a network."""
    store_of(config).clean()
    corpus, _, items = texts_of(_b_follows_a(config))
    logger.info("prefetch %s: on this machine (%d items drawn)", corpus.name, items.n)
    for name in "ab":
        model = instantiate(config[f"model_{name}"], _convert_="all")
        model.prefetch(store_of(config))
        logger.info("prefetch %s: on this machine (%s)", model.name, model.fingerprint())
    writing.write_json(folder, writing.PREFETCHED, {f"model_{name}": config[f"model_{name}"].get("id") for name in "ab"})


def inspect_store(config: DictConfig, folder: Path) -> None:
    """List what the store holds, verify it, or remove what the user names."""
    store, action = store_of(config), config.store.action
    if action == "list":
        table = catalogue(store)
        total = table["bytes"].sum() / 1e6
        logger.info("store %s: %d entries, %.1f MB\n%s", store.root, len(table), total, table.to_string(index=False))
    elif action == "verify":
        objects = damaged(store)
        logger.info("store %s: %s", store.root, "all objects are intact" if not objects else f"{len(objects)} damaged objects")
        for path in objects:
            logger.warning("damaged: %s", path)
        if objects:
            raise Failure(f"store.dir={store.root}: {len(objects)} damaged objects; they are made again when they are next needed")
    else:
        logger.info("store %s: removed %d objects of %s", store.root, len(remove(store, config.store.entry)), config.store.entry)


def selftest(config: DictConfig, folder: Path) -> None:
    """Measure how far batch sizes and dtypes move model a's activations, on 16 texts of the dataset."""
    plan = planned(config, compares=False)
    side = plan.sides["a"]
    if not isinstance(side, Side):
        raise ConfigError("stage=selftest: model_a is a file of vectors; there is nothing to run")
    every = {name: getattr(pooling, name) for name in pooling.__all__}
    of_any_text = {name: pool for name, pool in every.items() if not read_by(pool)}
    table = drift_table(side.model, side.texts[:16], of_any_text, side.needs(), plan.extractor.store, plan.extractor.device)
    logger.info("selftest %s, largest relative difference over layers\n%s", side.model.name, table.to_string(index=False))


@dataclass
class _Notes:
    """What a run has to say beside its numbers."""

    warnings: list[str] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        logger.warning(text)
        self.warnings.append(text)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timing[step] = round(time.perf_counter() - start, 3)


def _run(config: DictConfig, folder: Path, *, only_stored: bool) -> None:
    if reading.finished_with(folder, resolved(config)):
        require_same_inputs(folder, reading.read_run(folder).result["provenance"])
        logger.info("%s holds this run already; kept as it is", folder)
        _draw(folder, config, only_lacking=True)
        return
    writing.clean(folder)
    store_of(config).clean()
    plan, notes = planned(config), _Notes()
    for offer in offers(plan):
        notes.warn(offer)
    extractor = replace(plan.extractor, only_stored=only_stored)
    with notes.timed("extract"):
        whole = extracted_sides(plan, extractor, config.layers)
        extracted = of_layers(whole, config.layers)
        _make_way(extractor)
    with notes.timed("compare"):
        require_one_width(plan, extracted)
        affinity = _compared(plan, extracted)
    with notes.timed("infer"):
        affinity = _infer(plan, affinity, notes)
    for doubt in diagnoses(plan.metric, affinity):
        notes.warn(doubt)
    files = _write_arrays(folder, plan, extracted, affinity)
    with notes.timed("analyse"):
        findings = _analyse(plan, comparison_of(plan, whole, affinity), notes)
    for name, answer in findings.items():
        files += [writing.write_table(folder, table, content) for table, content in answer.tables(name).items()]
        files += [
            writing.write_tensors(folder, f"{name}_{key}", tensors.arrays, {**tensors.header, **_made_of(plan)})
            for key, tensors in answer.tensors.items()
        ]
    for doubt in doubtful_texts(plan, extracted):
        notes.warn(doubt)
    writing.write_result(folder, described(plan, extracted, affinity, findings) | vars(notes), files)
    _draw(folder, config)
    log_summary(reading.read_run(folder))


def _compared(plan: Plan, extracted: dict[str, Extracted]) -> Affinity:
    """The matrix; texts that are all pooled at one token have no embeddings to compare, which is a choice of the user's."""
    try:
        return compare(plan.signer, extracted["a"].activations, extracted["b"].activations)
    except ActivationError as error:
        if isinstance(error.__cause__, Undefined) and (reason := pooled_at_one_token(plan, extracted)):
            raise ConfigError(f"{error}; {reason}") from error
        raise


def extracted_sides(plan: Plan, extractor: Extractor, layers: Any) -> dict[str, Extracted]:
    """All stored layers of both sides, one model in memory at a time; a side that equals the other is read once.

    Raises ConfigError as soon as a side turns out to lack one of the `layers` that are to be compared.
    """
    extracted: dict[str, Extracted] = {}
    for name in _order(plan):
        twin = next((other for other in extracted if plan.sides[other] == plan.sides[name]), None)
        extracted[name] = extracted[twin] if twin else plan.sides[name].extracted(extractor, plan.pooling)
        extracted[name].activations.select(layers)
    return {name: extracted[name] for name in plan.models}


def of_layers(extracted: dict[str, Extracted], layers: Any) -> dict[str, Extracted]:
    """Both sides with these layers alone; a side that equals the other stays the same object."""
    chosen = {side: replace(whole, activations=whole.activations.select(layers)) for side, whole in extracted.items()}
    return {**chosen, "b": chosen["a"]} if extracted["b"] is extracted["a"] else chosen


def _order(plan: Plan) -> list[str]:
    """Both sides, first the one whose model the job before has left in memory."""
    return sorted(plan.sides, key=lambda name: not plan.sides[name].in_memory(plan.extractor))


def _make_way(extractor: Extractor) -> None:
    """A model stays for the next job of a sweep if as much memory again is free; a run by itself has no use for it any more."""
    held, device = extractor.held, extractor.device
    if HydraConfig.get().mode != RunMode.MULTIRUN or held.bytes > preflight.free_memory(device):
        held.drop()


def _write_arrays(folder: Path, plan: Plan, extracted: dict[str, Extracted], affinity: Affinity) -> list[Path]:
    constants = {
        **{f"model_{side}": plan.models[side].name for side in "ab"},
        **{f"language_{side}": plan.languages[side].code for side in "ab"},
        "dataset": plan.dataset,
        "n": plan.items.n,
        "pooling": plan.pooling,
        "metric": plan.metric.name,
        "k": k_of(plan.metric),
    }
    files = [
        matrices.write_arrays(folder, affinity),
        writing.write_table(folder, "affinity", matrices.tidy(affinity, constants)),
        writing.write_table(folder, "items", _items(plan, extracted)),
    ]
    if isinstance(plan.metric, AbstractNeighborMetric):
        files.append(matrices.write_neighbors(folder, affinity, plan.metric.k))
    return files


def _items(plan: Plan, extracted: dict[str, Extracted]) -> pd.DataFrame:
    """A row per item: id, group, both sides' texts, what was counted of their tokens, and the share that both have of one model."""
    tokens = {side: extracted[side].tokens for side in "ab"}
    counted = [table.drop(columns=CONTENT_IDS, errors="ignore").add_suffix(f"_{side}") for side, table in tokens.items()]
    items = pd.concat([plan.items.table, *counted], axis=1)
    if plan.one_model and not any(table.empty for table in tokens.values()):
        items["shared_token_share"] = shared_token_share(*(table[CONTENT_IDS] for table in tokens.values()))
    return items


def _made_of(plan: Plan) -> dict[str, Any]:
    """Where an analysis' arrays come from."""
    model = plan.models["a"]
    return {"model": model.name, "revision": model.fingerprint(), "dataset": plan.dataset, "n": plan.items.n}


def comparison_of(plan: Plan, whole: dict[str, Extracted], affinity: Affinity) -> Comparison:
    """What analyses are given, with all stored layers."""
    return Comparison(
        affinity,
        whole["a"].activations,
        whole["b"].activations,
        plan.signer,
        items=_items(plan, whole),
        languages=plan.languages,
        inference=plan.inference,
        seed=plan.resolved["seed"],
        pooling=plan.pooling,
    )


def _infer(plan: Plan, affinity: Affinity, notes: _Notes) -> Affinity:
    """Null and intervals of every cell; an interval that cannot be had is a warning and does not cost the null."""
    metric, inference, groups = plan.metric, plan.inference, plan.items.groups
    for doubt in inference.doubts(groups):
        notes.warn(doubt)
    affinity = with_null(metric, affinity, inference, groups, plan.resolved["seed"])
    drawn = 0 if affinity.null_draws is None else len(affinity.null_draws)
    if drawn and not survivable(affinity.matrix.size, drawn, inference.alpha):
        logger.info(
            "null      the smallest p of %d permutations is %.2g: too large for a Bonferroni correction over %d layer pairs;"
            " p_fwer and p_fdr do not need one",
            *(drawn, attainable_p(drawn), affinity.matrix.size),
        )
    try:
        affinity = with_intervals(metric, affinity, inference, groups)
        if doubt := clustered(metric, affinity, inference, groups):
            notes.warn(doubt)
        return affinity
    except Undefined as error:
        notes.warn(f"no intervals: {error}; statistics.groups=0 does without, more groups or metric.listed=N may do with")
        return affinity


def _analyse(plan: Plan, comparison: Comparison, notes: _Notes) -> dict[str, Findings]:
    """Every analysis that can be made of this run; one that cannot is a warning and does not cost the others."""
    findings = {}
    for name, analysis in plan.analyses.items():
        try:
            findings[name] = analysis(comparison.reading(analysis.needs.layers or plan.resolved["layers"]))
        except (Undefined, ConfigError, ActivationError) as error:
            notes.warn(f"analysis {name} was not made: {error}")
        else:
            for warning in findings[name].warnings:
                notes.warn(warning)
    return findings


def _draw(folder: Path, config: DictConfig, *, only_lacking: bool = False) -> None:
    from layeratlas.report.again import run_again  # matplotlib takes a second to import

    report = config.report
    if report.enabled or report.figures:
        run_again(
            reading.read_run(folder), page=report.enabled, texts=report.texts, pictures=report.figures, only_lacking=only_lacking
        )
