"""A config's objects, built and checked against each other before anything expensive starts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from layeratlas.affinity.normalization import DropTopDimensions
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import AbstractAnalysis, RunNeeds
from layeratlas.analyses.edit_files import hash_of
from layeratlas.arrays import Pooling
from layeratlas.corpora import AbstractControl, AbstractCorpus, Language, PairedItems, draw
from layeratlas.errors import ConfigError
from layeratlas.extraction.activations import Extracted, Extractor, Side
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.pooling import SPAN, name_of, read_by
from layeratlas.extraction.stored_side import StoredSide
from layeratlas.files.paths import expanded
from layeratlas.files.store import Store
from layeratlas.layers import require_names
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric
from layeratlas.models import HELD, AbstractModel, StoredActivations, pick_device
from layeratlas.models.editing import header_of
from layeratlas.stages.inputs import inputs_of
from layeratlas.stages.keys import resolved
from layeratlas.stages.schema import built, named_pooling
from layeratlas.statistics import Inference


@dataclass(frozen=True)
class Plan:
    """The objects that a config names, and what the user's own files hold."""

    resolved: dict[str, Any]
    inputs: dict[str, str]
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
        return next((f"analysis {name}" for name, analysis in self.analyses.items() if analysis.needs.one_space), None)

    @property
    def readers(self) -> dict[str, AbstractModel]:
        """The models of sides whose texts are read, and not taken from a file of vectors."""
        return {name: model for name, model in self.models.items() if isinstance(model, AbstractModel)}

    @property
    def one_model(self) -> bool:
        """Whether the texts of both sides are read by the same weights, and so by one tokenizer."""
        return len(self.readers) == 2 and len({model.weights for model in self.readers.values()}) == 1

    @cached_property
    def sides(self) -> dict[str, Side | StoredSide]:
        return {name: self._side(name, model) for name, model in self.models.items()}

    def _side(self, name: str, model: AbstractModel | StoredActivations) -> Side | StoredSide:
        drawn = self.items.sides[name]
        if isinstance(model, StoredActivations):
            return StoredSide(model, drawn.population, drawn.rows, drawn.texts)
        label = f"{self.dataset} {self.languages[name]}"
        spans = drawn.spans if any(end for _, end in drawn.spans) else None
        language = self.languages[name] if model.card().marks_languages else None
        return Side(model, drawn.texts, self.corpus.max_length, spans, self.exact, label, language)


def planned(config: DictConfig, *, compares: bool = True) -> Plan:
    """Everything that a run of this config needs. Raises ConfigError for what cannot work, before any model is loaded."""
    models = {side: _model(config, side) for side in "ab"}
    for side, model in models.items():
        model.require_files(f"model_{side}")
    metric: AbstractMetric = instantiate(config.metric, _convert_="all").with_slack()
    analyses: dict[str, AbstractAnalysis] = {name: built(node, f"analysis.{name}") for name, node in config.analysis.items()}
    device = pick_device(config.device)
    extractor = Extractor(
        store=store_of(config),
        poolings=_poolings(config),
        batching=Batching(config.extract.batch_size, config.extract.batch_tokens),
        device=device,
        nll=config.extract.nll or any(analysis.needs.likelihoods for analysis in analyses.values()),
        held=HELD,
        signature_bytes=metric.signature_bytes,
    )
    signer = Signer(
        metric,
        device,
        instantiate(config.normalization, _convert_="all"),
        OmegaConf.to_container(config.normalization, resolve=True),
        store_of(config),
    )
    corpus, control, items = texts_of(config)
    inference: Inference = instantiate(config.statistics, _convert_="all")
    if compares:
        inference.require(items.groups)
        _require_enough(metric, items.n)
        for analysis in analyses.values():
            analysis.require(metric, items.n)
    plan = Plan(
        resolved=resolved(config),
        inputs=inputs_of(resolved(config)),
        corpus=corpus,
        control=control,
        items=items,
        metric=metric,
        analyses=analyses,
        pooling=_pooling_of(config, models),
        models=models,
        languages=languages_of(config),
        extractor=extractor,
        exact=config.extract.exact,
        signer=signer,
        inference=inference,
    )
    _require_one_space(plan, config)
    _require_texts_to_replace(plan)
    _require_spans(plan)
    _require_unseen(plan)
    for name, analysis in analyses.items():
        _require_needs(plan, name, analysis.needs)
    return plan


def _poolings(config: DictConfig) -> dict[str, Pooling]:
    """By name: the run's own, and those that the same forward pass keeps for later runs."""
    kept = {name_of({"_target_": name}): named_pooling(name, "extract.poolings") for name in config.extract.poolings}
    return {name_of(config.pooling): built(config.pooling, "pooling")} | kept


def _pooling_of(config: DictConfig, models: Mapping[str, AbstractModel | StoredActivations]) -> str:
    """Vectors of files were pooled before: what they were pooled by is what the user says of it, and no default of ours."""
    pools = any(isinstance(model, AbstractModel) for model in models.values())
    return name_of(config.pooling) if pools or "pooling" in _typed() else StoredActivations.POOLING


def _require_texts_to_replace(plan: Plan) -> None:
    """Refuse a control of texts that no model reads: vectors of a file are those of the texts as they were."""
    if plan.control is None:
        return
    for side in plan.control.sides:
        if side not in plan.readers:
            raise ConfigError(
                f"control={plan.control.name} replaces the texts of side {side}, and model_{side} is a file of vectors, which it"
                " cannot change; extract vectors of the control's texts and give them under control=none"
            )


def _require_spans(plan: Plan) -> None:
    """Refuse texts without a marked span where a pooling reads one."""
    reading = [name for name, pool in plan.extractor.poolings.items() if SPAN in read_by(pool)]
    if not reading:
        return
    for side in plan.readers:
        drawn = plan.items.sides[side]
        unmarked = [text for text, (_, end) in zip(drawn.texts, drawn.spans, strict=True) if not end]
        if unmarked and plan.control and side in plan.control.sides:
            raise ConfigError(f"pooling={reading[0]}: the texts of control={plan.control.name} have no marked spans")
        if unmarked:
            raise ConfigError(
                f"pooling={reading[0]}: {len(unmarked)} of {plan.items.n} texts of side {side} have no marked span, such as"
                f" {unmarked[0][:60]!r}; dataset=concepts marks one in each text, a file of your own does in a column"
                f" {plan.languages[side].code}_span"
            )


def _require_unseen(plan: Plan) -> None:
    """Refuse texts that an edit was fitted on: what is judged on them is judged by its own fit."""
    for side, model in plan.readers.items():
        if not model.edit:
            continue
        header, drawn = header_of(model.edit), plan.items
        ids = set(header.get("ids", ())) if header.get("dataset") == plan.dataset else set()
        texts = set(header.get("texts", ()))
        seen = [i for i, text in zip(drawn.ids, drawn.sides[side].texts, strict=True) if i in ids or hash_of(text) in texts]
        if seen:
            raise ConfigError(
                f"model_{side}.edit={model.edit}: was fitted on {len(seen)} of the {drawn.n} items of this run, such as"
                f" {seen[0]!r}; an edit is judged on other items than it was fitted on: choose them by dataset.groups"
                " or dataset.path"
            )


def _require_needs(plan: Plan, name: str, needs: RunNeeds) -> None:
    """Refuse a run that can never have what an analysis needs, with what to type instead."""
    fields = [plan.corpus.field_a, plan.corpus.field_b]
    if needs.two_fields and fields[0] == fields[1]:
        raise ConfigError(
            f"analysis {name} compares two text fields of a dataset: dataset.field_a and dataset.field_b are both {fields[0]!r};"
            " dataset=statements has two"
        )
    if needs.two_texts and fields[0] == fields[1] and plan.languages["a"] == plan.languages["b"]:
        raise ConfigError(
            f"analysis {name} compares two languages or two text fields: both sides read {fields[0]!r} in"
            f" {plan.languages['a'].code}; give side b another, e.g. language@language_b=de"
        )
    stored = {side: model for side, model in plan.models.items() if isinstance(model, StoredActivations)}
    silent = [side for side, model in stored.items() if not model.has_likelihoods]
    if needs.likelihoods and silent:
        raise ConfigError(
            f"analysis {name} needs likelihoods: model_{silent[0]} is a file of vectors, which has none (an array nll with a number"
            " for each text)"
        )
    if needs.layers is not None:
        require_names(needs.layers)


def _require_enough(metric: AbstractMetric, n: int) -> None:
    if n < metric.min_n:
        reason = " (k + 1)" if isinstance(metric, AbstractNeighborMetric) else ""
        raise ConfigError(f"dataset.n: {metric.name} needs at least {metric.min_n} items{reason}; got {n}")


def texts_of(config: DictConfig) -> tuple[AbstractCorpus, AbstractControl | None, PairedItems]:
    """The dataset, what is done to it, and the items drawn for both sides."""
    corpus: AbstractCorpus = instantiate(config.dataset, _convert_="all")
    control: AbstractControl | None = instantiate(config.control, _convert_="all")
    languages = languages_of(config)
    return corpus, control, draw(corpus, languages["a"], languages["b"], config.seed, control)


def languages_of(config: DictConfig) -> dict[str, Language]:
    return {side: Language(**OmegaConf.to_container(config[f"language_{side}"], resolve=True)) for side in "ab"}  # type: ignore[arg-type]


def _model(config: DictConfig, side: str) -> AbstractModel | StoredActivations:
    """A side's model; what its file says of developer and family does not hold for another id given in its place."""
    model = instantiate(config[f"model_{side}"], _convert_="all")
    given = _typed()
    if isinstance(model, AbstractModel) and f"model_{side}.id" in given:
        unknown = [key for key in ("developer", "family") if f"model_{side}.{key}" not in given]
        return replace(model, **dict.fromkeys(unknown))
    return model


def _typed() -> set[str]:
    """The keys that the user gave."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return {override.lstrip("+").split("=")[0] for override in overrides}


def store_of(config: DictConfig) -> Store:
    return Store(expanded(config.store.dir))


def _require_one_space(plan: Plan, config: DictConfig) -> None:
    """Refuse different models, or dimensions left out layer by layer, where vectors of both sides are compared directly."""
    if not plan.in_one_space:
        return
    if isinstance(plan.signer.normalization, DropTopDimensions):
        raise ConfigError(
            f"{plan.in_one_space} compares vectors of one space: normalization may not drop dimensions; choose another"
        )
    if len({model.weights for model in plan.readers.values()}) > 1:
        typed = _same_model(config)
        raise ConfigError(f"{plan.in_one_space} compares vectors of one space: give both sides the same model, e.g. {typed}")


def require_one_width(plan: Plan, extracted: dict[str, Extracted]) -> None:
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
    return shlex.join(f"model_b.{key}={'null' if a is None else a}" for key, (a, b) in fields.items() if a != b)
