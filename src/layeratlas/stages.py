"""What `stage=` names: the short programs that string the parts together."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from layeratlas import pooling, results, sweeps
from layeratlas.activations import Extracted, Extractor, Side
from layeratlas.affinity import Affinity, compare, diagnoses, with_intervals, with_null
from layeratlas.analyses import AbstractAnalysis, Comparison, Findings, Headline
from layeratlas.arrays import Pooling
from layeratlas.balance import balance, imbalances
from layeratlas.batching import Batching
from layeratlas.catalogue import catalogue, damaged, remove
from layeratlas.corpora import AbstractControl, AbstractCorpus, Language, PairedItems, doubts, draw
from layeratlas.errors import ConfigError
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric
from layeratlas.models import AbstractModel, Needs, StoredActivations, pick_device
from layeratlas.normalization import DropTopDimensions
from layeratlas.selftest import drift_table
from layeratlas.signatures import Signer
from layeratlas.statistics import Inference
from layeratlas.statistics.nulls import attainable_p, survivable
from layeratlas.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """The objects that a config names, checked against each other before anything expensive starts."""

    resolved: dict[str, Any]
    corpus: AbstractCorpus
    control: AbstractControl | None
    items: PairedItems
    metric: AbstractMetric
    analyses: dict[str, AbstractAnalysis]
    pooling: str
    models: dict[str, AbstractModel | StoredActivations]
    languages: dict[str, Language]
    extractor: Extractor
    exact: bool
    signer: Signer
    inference: Inference

    @property
    def dataset(self) -> str:
        """What results call the texts."""
        return f"{self.corpus.name}+{self.control.name}" if self.control else self.corpus.name

    @property
    def in_one_space(self) -> str | None:
        """What compares vectors of both sides directly, so that they must be of one space; None if nothing does."""
        if self.metric.about.same_space:
            return f"metric {self.metric.name}"
        return next((f"analysis {name}" for name, analysis in self.analyses.items() if analysis.same_space), None)

    def side(self, name: str, model: AbstractModel) -> Side:
        drawn = self.items.sides[name]
        label = f"{self.dataset} {self.languages[name]}"
        spans = drawn.spans if any(end for _, end in drawn.spans) else None
        return Side(model, drawn.texts, self.corpus.max_length, spans, self.exact, label)


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


def everything(config: DictConfig, folder: Path) -> None:
    """Extract what the store lacks, compare all layers, analyse, and write numbers and figures into `folder`."""
    _run(config, folder, only_stored=False)


def from_store(config: DictConfig, folder: Path) -> None:
    """The same without loading any model: what the store lacks is an error."""
    _run(config, folder, only_stored=True)


def extraction(config: DictConfig, folder: Path) -> None:
    """Fill the store with both sides' activations, and compare nothing."""
    plan, notes = _plan(_b_follows_a(config)), _Notes()
    for name, model in plan.models.items():
        if isinstance(model, AbstractModel):
            with notes.timed(name):
                plan.extractor.fill(plan.side(name, model), list(plan.extractor.poolings))
    sides = {side: {"model": model.name, "language": plan.languages[side].code} for side, model in plan.models.items()}
    results.write_json(folder, results.EXTRACTED, {**sides, "n": plan.items.n, "timing": notes.timing})


def _b_follows_a(config: DictConfig) -> DictConfig:
    """Where side b's model was not chosen, it is side a's, whatever was set of that: one job then extracts one model."""
    chosen = HydraConfig.get()
    same = chosen.runtime.choices["model@model_b"] == chosen.runtime.choices["model@model_a"]
    if same and not any(override.lstrip("+~").startswith("model_b.") for override in chosen.overrides.task):
        config.model_b = config.model_a
    return config


def prefetch(config: DictConfig, folder: Path) -> None:
    """Bring the dataset and both models onto this machine, for runs without a network."""
    corpus, _, items = _texts(_b_follows_a(config))
    logger.info("prefetch %s: on this machine (%d items drawn)", corpus.name, items.n)
    for name in "ab":
        model = instantiate(config[f"model_{name}"], _convert_="all")
        if isinstance(model, AbstractModel):
            model.prefetch(_store(config))
            logger.info("prefetch %s: on this machine (%s)", model.name, model.fingerprint())
    results.write_json(folder, results.PREFETCHED, {f"model_{name}": config[f"model_{name}"].get("id") for name in "ab"})


def status(config: DictConfig, folder: Path) -> None:
    """List the jobs of a sweep: done, running, failed with the first line of the error, missing, skipped with the reason."""
    for sweep in _sweeps(config):
        found = sweeps.states(sweep)
        logger.info("sweep %s: %s\n%s", sweep, sweeps.count(found), sweeps.listing(found, found))
        if waiting := sweeps.queued(sweep):
            logger.info("SLURM jobs of this sweep that wait or run: %s", " ".join(waiting))


def summarize(config: DictConfig, folder: Path) -> None:
    """Write one sweep's tables and figures, or those of several sweeps together."""
    from layeratlas.summary import summarize  # statsmodels and seaborn take seconds to import

    found = _sweeps(config)
    if len(found) > 1 and config.summary_dir is None:
        raise ConfigError("summary_dir: has no value; several sweeps are summarised in a folder of their own")
    summarize(found, Path(config.summary_dir or found[0]))


def inspect_store(config: DictConfig, folder: Path) -> None:
    """List what the store holds, verify it, or remove what the user names."""
    store, action = _store(config), config.store.action
    if action == "list":
        table = catalogue(store)
        total = table["bytes"].sum() / 1e6
        logger.info("store %s: %d entries, %.1f MB\n%s", store.root, len(table), total, table.to_string(index=False))
    elif action == "verify":
        found = damaged(store)
        logger.info("store %s: %s", store.root, "all objects are intact" if not found else f"{len(found)} damaged objects")
        for path in found:
            logger.warning("damaged: %s", path)
    elif action == "remove":
        logger.info("store %s: removed %d objects of %s", store.root, len(remove(store, config.store.entry)), config.store.entry)
    else:
        raise ConfigError(f"store.action: expected list, verify or remove; got {action}")


def selftest(config: DictConfig, folder: Path) -> None:
    """Measure how far batch sizes and dtypes move model a's activations, on 16 texts of the dataset."""
    plan = _plan(config)
    model = plan.models["a"]
    if not isinstance(model, AbstractModel):
        raise ConfigError("stage=selftest: model_a is a file of vectors; there is nothing to run")
    side = plan.side("a", model)
    unmarked = {name: getattr(pooling, name) for name in pooling.__all__ if name not in ("span", "attention_weighted")}
    table = drift_table(model, side.texts[:16], unmarked, Needs(side.max_length), plan.extractor.store, plan.extractor.device)
    logger.info("selftest %s, largest relative difference over layers\n%s", model.name, table.to_string(index=False))


def _run(config: DictConfig, folder: Path, *, only_stored: bool) -> None:
    resolved = _resolved(config)
    if results.finished_with(folder, resolved):
        logger.info("%s holds this run already; kept as it is", folder)
        return
    plan, notes = _plan(config), _Notes()
    extractor = replace(plan.extractor, only_stored=only_stored)
    with notes.timed("extract"):
        extracted = _extract(plan, extractor, config.layers)
    with notes.timed("compare"):
        _require_one_width(plan, extracted)
        affinity = compare(plan.signer, extracted["a"].activations, extracted["b"].activations)
    with notes.timed("infer"):
        affinity = _infer(plan, affinity, notes)
    for doubt in diagnoses(plan.metric, affinity):
        notes.warn(doubt)
    _write_arrays(folder, plan, extracted, affinity)
    with notes.timed("analyse"):
        findings = _analyse(plan, Comparison(affinity, extracted["a"].activations, extracted["b"].activations), notes)
    for name, found in findings.items():
        results.write_table(folder, name, found.table)
    _warn_about_texts(plan, extracted, notes)
    results.write_result(folder, _result(plan, extracted, affinity, findings, notes))
    _draw(folder)
    _summarise(results.read_run(folder))


def _resolved(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def _sweeps(config: DictConfig) -> list[Path]:
    return [Path(sweep) for sweep in ([config.sweep_dir] if isinstance(config.sweep_dir, str) else config.sweep_dir)]


def _store(config: DictConfig) -> Store:
    return Store(Path(config.store.dir).expanduser())


def _languages(config: DictConfig) -> dict[str, Language]:
    return {side: Language(**OmegaConf.to_container(config[f"language_{side}"], resolve=True)) for side in "ab"}  # type: ignore[arg-type]


def _texts(config: DictConfig) -> tuple[AbstractCorpus, AbstractControl | None, PairedItems]:
    corpus: AbstractCorpus = instantiate(config.dataset, _convert_="all")
    control: AbstractControl | None = instantiate(config.control, _convert_="all")
    languages = _languages(config)
    return corpus, control, draw(corpus, languages["a"], languages["b"], config.seed, control)


def _plan(config: DictConfig) -> _Plan:
    metric: AbstractMetric = instantiate(config.metric, _convert_="all").with_slack()
    poolings = {_short(name): _pooling(name) for name in [config.pooling._target_, *config.extract.poolings]}
    corpus, control, items = _texts(config)
    if items.n < metric.min_n:
        needed = f"{metric.name} needs at least {metric.min_n} items"
        reason = " (k + 1)" if isinstance(metric, AbstractNeighborMetric) else ""
        raise ConfigError(f"dataset.n: {needed}{reason}; got {items.n}")
    plan = _Plan(
        resolved=_resolved(config),
        corpus=corpus,
        control=control,
        items=items,
        metric=metric,
        analyses={name: instantiate(node, _convert_="all") for name, node in config.analysis.items()},
        pooling=_short(config.pooling._target_),
        models={side: instantiate(config[f"model_{side}"], _convert_="all") for side in "ab"},
        languages=_languages(config),
        extractor=Extractor(
            store=_store(config),
            poolings=poolings,
            batching=Batching(config.extract.batch_size, config.extract.batch_tokens),
            device=pick_device(config.device),
            nll=config.extract.nll,
        ),
        exact=config.extract.exact,
        signer=Signer(
            metric,
            pick_device(config.device),
            instantiate(config.normalization, _convert_="all"),
            OmegaConf.to_container(config.normalization, resolve=True),
            _store(config),
        ),
        inference=instantiate(config.statistics, _convert_="all"),
    )
    _require_one_space(plan, config)
    return plan


def _require_one_space(plan: _Plan, config: DictConfig) -> None:
    """Refuse different models, or dimensions left out layer by layer, where vectors of both sides are compared directly."""
    a, b = plan.models.values()
    if not plan.in_one_space:
        return
    if isinstance(plan.signer.normalization, DropTopDimensions):
        raise ConfigError(
            f"{plan.in_one_space} compares vectors of one space: normalization may not drop dimensions; choose another"
        )
    if isinstance(a, AbstractModel) and isinstance(b, AbstractModel) and a.weights != b.weights:
        typed = _same_model(config)
        raise ConfigError(f"{plan.in_one_space} compares vectors of one space: give both sides the same model, e.g. {typed}")


def _require_one_width(plan: _Plan, extracted: dict[str, Extracted]) -> None:
    """For vectors that somebody else extracted, nothing but their width tells of their space."""
    widths = sorted({side.activations.width for side in extracted.values()})
    if plan.in_one_space and len(widths) > 1:
        raise ConfigError(
            f"{plan.in_one_space} compares vectors of one space; got layers of {widths[0]} and {widths[1]} dimensions"
        )


def _same_model(config: DictConfig) -> str:
    """What to type to make model b that of side a."""
    chosen = HydraConfig.get().runtime.choices
    if chosen["model@model_a"] != chosen["model@model_b"]:
        return f"model@model_b={chosen['model@model_a']}"
    fields = {key: (config.model_a.get(key), config.model_b.get(key)) for key in ("id", "revision", "adapter", "random_init")}
    return " ".join(f"model_b.{key}={'null' if a is None else a}" for key, (a, b) in fields.items() if a != b)


def _pooling(name: str) -> Pooling:
    """A pooling by its dotted path, or by its bare name if it is one of ours."""
    if "." in name and not name.startswith("layeratlas.pooling."):
        return get_method(name)
    if _short(name) not in pooling.__all__:
        raise ConfigError(f"pooling: there is no {name!r}; available are {', '.join(pooling.__all__)}")
    return getattr(pooling, _short(name))


def _short(name: str) -> str:
    return name.removeprefix("layeratlas.pooling.")


def _extract(plan: _Plan, extractor: Extractor, layers: Any) -> dict[str, Extracted]:
    """Both sides' activations, one model in memory at a time; a side that equals the other is read once."""
    extracted: dict[str, Extracted] = {}
    sides: list[tuple[Side, Extracted]] = []
    for name, model in plan.models.items():
        drawn = plan.items.sides[name]
        if isinstance(model, StoredActivations):
            activations = model.activations(drawn.population, drawn.rows).select(layers)
            extracted[name] = Extracted(activations, pd.DataFrame(index=range(plan.items.n)), {"path": model.path})
        else:
            extracted[name] = _once(sides, plan.side(name, model), lambda side: extractor(side, plan.pooling, layers))
    return extracted


def _once(done: list[tuple[Side, Extracted]], side: Side, extract: Callable[[Side], Extracted]) -> Extracted:
    for before, extracted in done:
        if before == side:
            return extracted
    done.append((side, extract(side)))
    return done[-1][1]


def _write_arrays(folder: Path, plan: _Plan, extracted: dict[str, Extracted], affinity: Affinity) -> None:
    constants = {
        **{f"model_{side}": plan.models[side].name for side in "ab"},
        **{f"language_{side}": plan.languages[side].code for side in "ab"},
        "dataset": plan.dataset,
        "n": plan.items.n,
        "pooling": plan.pooling,
        "metric": plan.metric.name,
        "k": _k(plan.metric),
    }
    items = [plan.items.table, *(extracted[side].tokens.add_suffix(f"_{side}") for side in "ab")]
    results.write_arrays(folder, affinity)
    results.write_table(folder, "affinity", results.tidy(affinity, constants))
    results.write_table(folder, "items", pd.concat(items, axis=1))
    if isinstance(plan.metric, AbstractNeighborMetric):
        results.write_neighbors(folder, affinity, plan.metric.k)


def _infer(plan: _Plan, affinity: Affinity, notes: _Notes) -> Affinity:
    """Null and intervals of every cell; an interval that cannot be had is a warning and does not cost the null."""
    metric, inference, groups = plan.metric, plan.inference, plan.items.groups
    affinity = with_null(metric, affinity, inference, groups, plan.resolved["seed"])
    if inference.permutations and not survivable(affinity.matrix.size, inference.permutations, inference.alpha):
        logger.info(
            "null      the smallest p of %d permutations is %.2g: too large for a Bonferroni correction over %d layer pairs;"
            " p_fwer and p_fdr do not need one",
            *(inference.permutations, attainable_p(inference.permutations), affinity.matrix.size),
        )
    try:
        return with_intervals(metric, affinity, inference, groups)
    except ConfigError:
        raise
    except ValueError as error:
        notes.warn(f"no intervals: {error}; statistics.groups=0 does without, more groups or metric.listed=N may do with")
        return affinity


def _analyse(plan: _Plan, comparison: Comparison, notes: _Notes) -> dict[str, Findings]:
    """Every analysis that can be made of this run; one that cannot is a warning and does not cost the others."""
    findings = {}
    for name, analysis in plan.analyses.items():
        try:
            findings[name] = analysis(comparison)
        except ValueError as error:
            notes.warn(f"analysis {name} was not made: {error}")
    return findings


def _warn_about_texts(plan: _Plan, extracted: dict[str, Extracted], notes: _Notes) -> None:
    for doubt in doubts(plan.items, plan.languages["a"], plan.languages["b"]):
        notes.warn(doubt)
    for imbalance in imbalances(*_balance(plan, extracted).values()):
        notes.warn(imbalance)
    for side in "ab":
        tokens, texts = extracted[side].tokens, pd.Series(plan.items.sides[side].texts)
        if tokens.empty:  # stored vectors come without tokens
            continue
        where = f"{plan.models[side].name}, {plan.languages[side]}"
        if (cut := int(tokens["truncated"].sum())) > 0:
            notes.warn(f"{where}: {cut} of {len(tokens)} texts are cut at {plan.corpus.max_length} tokens")
        if (repeated := int(texts.duplicated().sum())) > 0:
            notes.warn(f"{where}: {repeated} of {len(texts)} texts repeat another one")
        commonest = tokens["last_token"].value_counts()
        if plan.pooling == "last" and commonest.iloc[0] > len(tokens) / 2:
            notes.warn(
                f"{where}: {commonest.iloc[0]} of {len(tokens)} texts end in the token {commonest.index[0]!r}, so with"
                " pooling=last early layers compare that token in its contexts"
            )


def _balance(plan: _Plan, extracted: dict[str, Extracted]) -> dict[str, dict[str, Any]]:
    return {side: balance(plan.items.sides[side].texts, extracted[side].tokens) for side in "ab"}


def _result(
    plan: _Plan, extracted: dict[str, Extracted], affinity: Affinity, findings: dict[str, Findings], notes: _Notes
) -> dict[str, Any]:
    metric = plan.metric
    return {
        "metric": {
            "name": metric.name,
            "estimator": metric.about.estimator,
            "k": _k(metric),
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
        "headline": asdict(_headline(findings, affinity)),
        "statistics": {key: value for found in findings.values() for key, value in found.statistics.items()},
        "analyses": {name: found.summary for name, found in findings.items()},
        "warnings": notes.warnings,
        "timing": notes.timing,
        "provenance": results.provenance(plan.resolved, str(plan.extractor.device)),
    }


def _describe_side(plan: _Plan, extracted: Extracted, side: str) -> dict[str, Any]:
    model, activations = plan.models[side], extracted.activations
    return {
        "model": model.name,
        "revision": model.fingerprint(),
        "language": plan.languages[side].code,
        "layers": activations.names,
        "width": activations.width,
        "dtype": model.dtype,
        "tokens": None if extracted.tokens.empty else int(extracted.tokens["tokens"].sum()),
        "extraction": extracted.record,
    }


def _headline(findings: dict[str, Findings], affinity: Affinity) -> Headline:
    """The first analysis' headline, or the mean affinity if no analysis has one."""
    told = [found.headline for found in findings.values() if found.headline]
    return told[0] if told else Headline("mean affinity", float(affinity.matrix.mean()), float(affinity.chance.mean()))


def _k(metric: AbstractMetric) -> int | None:
    return getattr(metric, "k", None)


def _normalization(node: dict[str, Any]) -> str:
    """The name of a normalization and its options, as in `DropTopDimensions(dimensions=1)`."""
    options = ", ".join(f"{key}={value}" for key, value in node.items() if not key.startswith("_"))
    return node["_target_"].rsplit(".", 1)[-1] + (f"({options})" if options else "")


def _draw(folder: Path) -> None:
    """Draw what is saved. A plot that fails is logged and costs no numbers."""
    from layeratlas.figures import draw_affinity  # seaborn takes a second to import, and a failure here must not come earlier

    try:
        draw_affinity(results.read_run(folder))
    except Exception:
        logger.exception("figures: not drawn; the numbers in %s are complete", folder)


def _spoken(headline: dict[str, Any], level: float) -> str:
    """Value, chance, interval, p and the smallest p that could have been."""
    said = f"{headline['text']}: {headline['value']:.4f}, chance {headline['chance']:.4f}"
    if headline["ci_low"] is not None:
        said += f", {level:.0%} interval {headline['ci_low']:.4f} to {headline['ci_high']:.4f}"
    if headline["p"] is not None:
        said += f", permutation p = {headline['p']:.2g} (smallest attainable {headline['attainable_p']:.2g})"
    return said


def _summarise(run: results.Run) -> None:
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
    if diagonal := result["statistics"].get("diagonal"):
        means = (diagonal[key] for key in ("on_mean", "off_mean", "chance_on", "chance_off"))
        logger.info("diagonal  on %.4f, off %.4f (chance %.4f, %.4f)", *means)
    logger.info("headline  %s", _spoken(headline, result["provenance"]["config"]["statistics"]["level"]))
    logger.info("files     %s", run.folder)
