"""`stage=import`: somebody's matrix as a run, many as a sweep, which everything then reads as any other."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from layeratlas.affinity.matrix import Affinity
from layeratlas.analyses import AbstractMatrixAnalysis, Findings, Headline
from layeratlas.errors import ConfigError, Undefined
from layeratlas.files.identity import comparable, fingerprint, placeless
from layeratlas.files.paths import expanded
from layeratlas.files.sealed import sha256
from layeratlas.layers import depth
from layeratlas.metrics import AbstractMetric
from layeratlas.options import require, require_options
from layeratlas.report.again import run_again
from layeratlas.runs import matrices, reading, writing
from layeratlas.runs.foreign import Axis, Facts, axis_of, said_by
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.runs.published import FORMATS, PublishedMatrix, read_matrices
from layeratlas.stages.command_line import CONF
from layeratlas.stages.keys import resolved
from layeratlas.stages.schema import built
from layeratlas.studies.opened import unopened

logger = logging.getLogger(__name__)

_ITSELF = 1e-5  # of the value of a layer with itself


@dataclass(frozen=True)
class Foreign:
    """A matrix of somebody's file, with all that is known of it. `metric` is ours where its name is."""

    path: Path
    content: PublishedMatrix
    facts: Facts
    axes: Mapping[str, Axis]
    metric: AbstractMetric | None

    @property
    def symmetric(self) -> bool | None:
        return self.metric.about.symmetric if self.metric else self.facts.symmetric

    @property
    def self_value(self) -> float | None:
        return self.metric.about.self_value if self.metric else self.facts.self_value

    @property
    def affinity(self) -> Affinity:
        cells = self.content.matrix
        chance = math.nan if self.facts.chance is None else self.facts.chance
        names = {side: axis.names for side, axis in self.axes.items()}
        depths = {side: [depth(name, axis.n_blocks) for name in axis.names] for side, axis in self.axes.items()}
        return Affinity(
            matrix=cells,
            chance=np.full_like(cells, chance),
            layers_a=names["a"],
            layers_b=names["b"],
            depth_a=depths["a"],
            depth_b=depths["b"],
            n=self.facts.n or 0,
            signatures_a=[None] * len(cells),
            signatures_b=[None] * len(cells.T),
            bounds=self.metric.about.bounds if self.metric else (-math.inf, math.inf),
            scale=abs(self.self_value or 0.0),
        )

    @property
    def same_layers(self) -> list[str]:
        """The layers that meet themselves: both sides are called the same, and the cell has the value of a layer with itself."""
        sides = [(getattr(self.facts, f"model_{side}"), getattr(self.facts, f"language_{side}")) for side in "ab"]
        if sides[0] != sides[1] or self.self_value is None:
            return []
        places = {name: j for j, name in enumerate(self.axes["b"].names)}
        at = [(name, self.content.matrix[i, places[name]]) for i, name in enumerate(self.axes["a"].names) if name in places]
        return [name for name, value in at if abs(value - self.self_value) <= _ITSELF]


def imported(config: DictConfig, folder: Path) -> None:
    """A run in `folder` of a file with one matrix; of several matrices a sweep, with its summary.

    All are read before any is written.
    """
    whole = resolved(config)
    analyses = {name: built(node, f"analysis.{name}") for name, node in whole["analysis"].items()}
    for name, analysis in analyses.items():
        if not isinstance(analysis, AbstractMatrixAnalysis):
            raise ConfigError(f"analysis={name}: needs vectors, and stage=import has matrices alone; analysis=[diagonal] does not")
    found = list(foreign_matrices(whole["matrices"]))
    if len(found) == 1 and expanded(str(whole["matrices"]["path"])).is_file():
        _write(found[0], folder, whole, analyses)
        run_again(reading.read_run(folder), page=whole["report"]["enabled"], texts=False, pictures=whole["report"]["figures"])
        return
    configs = [_config(one, whole) for one in found]
    overrides = [["stage=import", *(f"matrices.{key}={value}" for key, value in _facts_of(one).items())] for one in found]
    keys = [fingerprint(comparable(each)) for each in configs]
    write_jobs(folder, [Job(number, each, keys[number]) for number, each in enumerate(overrides)])
    for number, one in enumerate(found):
        job = folder / str(number)
        job.mkdir(exist_ok=True)
        _write(one, job, whole, analyses)
        run_again(reading.read_run(job), page=whole["report"]["enabled"], texts=False, pictures=whole["report"]["figures"])
    from layeratlas.stages.summary import summarize  # statsmodels and matplotlib take seconds to import

    studies = {name: built(node, f"study.{name}") for name, node in whole["study"].items()}
    summarize([folder], folder, studies=studies, report_missing=False, opener=unopened, page=whole["report"]["enabled"])


# --- reading ------------------------------------------------------------------------------------------------------------------


def foreign_matrices(node: dict[str, Any]) -> Iterator[Foreign]:
    """Every matrix that the config names, in the order of the files' names. Raises ConfigError for the first that cannot be."""
    options = {key: value for key, value in node.items() if key not in ("path", "names")}
    require(str | list[str], node["path"], "matrices.path")
    require(str | list[str] | None, node["names"], "matrices.names")
    require_options(Facts, options, "matrices")
    options |= {key: float(options[key]) for key in ("chance", "self_value") if options[key] is not None}
    patterns = [node["names"]] if isinstance(node["names"], str) else node["names"] or []
    for path, below in _files([node["path"]] if isinstance(node["path"], str) else node["path"]):
        held = read_matrices(path)
        for content in held:
            names = [content.title, f"{below}/{content.title}"] if path.suffix == ".npz" else [below]
            facts = Facts(**options).with_names(said_by(names, patterns) if patterns else {}, str(path))
            yield _whole(path, content, facts)


def _files(paths: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Each file, with its path below the folder that was given, without suffix."""
    for given in paths:
        path = expanded(given)
        if path.is_file():
            yield path, path.stem
            continue
        if not path.is_dir():
            raise ConfigError(f"matrices.path={given}: no such file or folder")
        files = sorted(file for file in path.rglob("*") if file.suffix in FORMATS and file.is_file())
        if not files:
            raise ConfigError(f"matrices.path={given}: holds no file of matrices ({', '.join(FORMATS)})")
        for file in files:
            yield file, file.relative_to(path).with_suffix("").as_posix()


def _whole(path: Path, content: PublishedMatrix, facts: Facts) -> Foreign:
    """With the model of b, where nobody names it, that of a."""
    if facts.model_a is None or facts.metric is None:
        key = "model_a" if facts.model_a is None else "metric"
        raise ConfigError(
            f"matrices.{key}: has no value for {path}; give one as matrices.{key}=..., or as {{{key}}} in matrices.names"
        )
    facts = replace(facts, model_b=facts.model_b or facts.model_a)
    metric = _metric(facts)
    if metric:
        _require_bounds(path, content, metric)
    labels = {"a": content.rows, "b": content.columns}
    blocks = {side: getattr(facts, f"blocks_{side}") for side in "ab"}
    axes = {side: axis_of(labels[side], facts.layers, blocks[side], side, path) for side in "ab"}
    return Foreign(path, content, facts, axes, metric)


def _metric(facts: Facts) -> AbstractMetric | None:
    """Our metric of this name, for its range and the value of a layer with itself."""
    file = CONF / "metric" / f"{facts.metric}.yaml"
    if not file.is_file():
        return None
    if facts.symmetric is not None or facts.self_value is not None:
        raise ConfigError(f"matrices: symmetric and self_value are known of metric {facts.metric}; leave them out")
    node = OmegaConf.create({"metric": OmegaConf.load(file), "k": {"k": facts.k or 10}})
    return instantiate(node.metric, _convert_="all")


def _require_bounds(path: Path, content: PublishedMatrix, metric: AbstractMetric) -> None:
    low, high = metric.about.bounds
    slack = _ITSELF * max(abs(bound) if math.isfinite(bound) else 0.0 for bound in (low, high))
    beyond = content.matrix[(content.matrix < low - slack) | (content.matrix > high + slack)]
    if beyond.size:
        raise ConfigError(
            f"{path}: {metric.name} has values from {low:g} to {high:g}, and this matrix holds {beyond[0]:g}; matrices.metric may"
            " be any other name"
        )


# --- writing ------------------------------------------------------------------------------------------------------------------


def _write(one: Foreign, folder: Path, whole: dict[str, Any], analyses: Mapping[str, AbstractMatrixAnalysis]) -> None:
    config = _config(one, whole)
    if reading.finished_with(folder, config):
        logger.info("%s holds this matrix already; kept as it is", folder)
        return
    writing.clean(folder)
    affinity, facts, warnings = one.affinity, one.facts, list(_doubts(one))
    constants = {**{f"{what}_{side}": getattr(facts, f"{what}_{side}") for what in ("model", "language") for side in "ab"}}
    constants |= {key: getattr(facts, key) for key in ("dataset", "n", "pooling", "metric", "k")}
    files = [
        matrices.write_arrays(folder, affinity),
        writing.write_table(folder, "affinity", matrices.tidy(affinity, constants)),
    ]
    findings: dict[str, Findings] = {}
    for name, analysis in analyses.items():
        try:
            findings[name] = analysis.of_matrix(affinity, str(facts.metric), one.same_layers)
        except Undefined as error:
            warnings.append(f"analysis {name} was not made: {error}")
            continue
        warnings += findings[name].warnings
        files += [writing.write_table(folder, table, content) for table, content in findings[name].tables(name).items()]
    for warning in warnings:
        logger.warning("%s: %s", one.path, warning)
    result = _result(one, config, analyses, findings) | {"warnings": warnings, "timing": {}}
    writing.write_result(folder, result, files)
    logger.info("import    %s: %s; %s", one.path, folder, result["headline"]["sentence"])


def _facts_of(one: Foreign) -> dict[str, Any]:
    """What is known of a matrix, as one would type it."""
    known = {key: value for key, value in asdict(one.facts).items() if value is not None and key != "settings"}
    return {"path": one.path, "array": one.content.title, **known, **(one.facts.settings or {})}


def _config(one: Foreign, whole: Mapping[str, Any]) -> dict[str, Any]:
    """What makes this run another one: the file's bytes, and what is said of them."""
    return {
        "seed": whole["seed"],
        "matrices": asdict(one.facts) | {"path": str(one.path), "array": one.content.title, "sha256": sha256(one.path)},
        "analysis": whole["analysis"],
        **{f"model_{side}": {"id": getattr(one.facts, f"model_{side}")} for side in "ab"},
        "dataset": {},
        "statistics": {"permutations": 0, "groups": 0, "by_group": False}
        | {key: whole["statistics"][key] for key in ("level", "alpha")},
    }


def _doubts(one: Foreign) -> Iterator[str]:
    """What a reader of the numbers must know."""
    for side, axis in one.axes.items():
        if axis.names != axis.labels:
            taken = f"layers {axis.labels[0]} .. {axis.labels[-1]} of side {side} are taken for {axis.names[0]} .. {axis.names[-1]}"
            yield f"{taken} (matrices.layers={one.facts.layers})"
    if one.facts.chance is None:
        yield "chance is not known (matrices.chance=NUMBER): values say nothing without it"
    if one.facts.n is None:
        yield "the number of texts is not known (matrices.n=NUMBER)"


def _result(
    one: Foreign, config: dict[str, Any], analyses: Mapping[str, AbstractMatrixAnalysis], findings: Mapping[str, Findings]
) -> dict[str, Any]:
    facts, about = one.facts, one.metric.about if one.metric else None
    same = facts.language_a == facts.language_b
    return {
        "metric": {
            "name": facts.metric,
            "estimator": about.estimator if about else None,
            "k": facts.k,
            "range": list(about.bounds) if about else None,
            "min_n": one.metric.min_n if one.metric else None,
            "self_value": one.self_value,
            "symmetric": one.symmetric,
            "parameters": {},
            "normalization": None,
        },
        "pooling": facts.pooling,
        **{side: _side(one, side) for side in "ab"},
        "dataset": {
            **{"name": facts.dataset, "corpus": facts.dataset, "control": None, "same_texts": same, "fingerprint": None},
            **{"n": facts.n, "dropped": None, "source": None},
        },
        "settings": dict(facts.settings or {}),
        "balance": {},
        "inference": {},
        "headline": asdict(_headline(findings, one)),
        "statistics": {name: dict(found.numbers) for name, found in findings.items() if found.numbers},
        "analyses": {name: _asked(name, config["analysis"][name], analyses[name], found) for name, found in findings.items()},
        "imported": {"path": str(one.path), "array": one.content.title, "sha256": config["matrices"]["sha256"]}
        | {f"labels_{side}": axis.labels for side, axis in one.axes.items()},
        "provenance": writing.provenance(config, "cpu"),
    }


def _asked(name: str, node: Mapping[str, Any], analysis: AbstractMatrixAnalysis, found: Findings) -> dict[str, Any]:
    options = placeless({key: value for key, value in node.items() if key != "_target_"})
    tests = {"tests": list(found.tests), "ordered_tests": list(found.ordered_tests)}
    return options | tests | {"tables": list(found.tables(name)), "sentences": list(found.sentences), "views": analysis.views}


def _side(one: Foreign, side: str) -> dict[str, Any]:
    unknown = ("revision", "field", "control", "width", "dtype", "developer", "family", "tokens", "certificate")
    known = {"model": getattr(one.facts, f"model_{side}"), "language": getattr(one.facts, f"language_{side}")}
    return known | {"layers": one.axes[side].names} | dict.fromkeys(unknown) | {"extraction": {}}


def _headline(findings: Mapping[str, Findings], one: Foreign) -> Headline:
    headlines = [found.headline for found in findings.values() if found.headline]
    if headlines:
        return headlines[0]
    mean = float(one.content.matrix.mean())
    return Headline("mean affinity", mean, one.facts.chance, sentence=f"mean affinity {mean:.3f}")
