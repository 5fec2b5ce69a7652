"""A sweep's runs side by side, or those of several sweeps: tables, corrected tests and pictures, from saved files alone.

Whatever is there is summarised, however much is missing, and doing it again gives the same files.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layeratlas import depth
from layeratlas.families import conditions, families, headline, hopeless, shared, with_corrections
from layeratlas.figures import unwritten
from layeratlas.runs import results, sweeps
from layeratlas.runs.results import RESULT, Run
from layeratlas.sweep_figures import Condition, PairMatrix, draw_condition

logger = logging.getLogger(__name__)

_NUMBERS = ["value", "chance", "ci_low", "ci_high", "p", "attainable_p"]
_ELSEWHERE = {"store", "device", "stage", "analysis", "extract", "k", "pooling"}
_COLUMNS = {"dataset": {"n", "mirror", "field_a", "field_b"}, "metric": {"k"}}  # have a column of their own, or change nothing
_NO_TABLES = {"items"}  # the same texts in every run
_SHOWN = 40
_NAMED = 8  # languages in a title


def summarize(
    folders: Sequence[Path], into: Path, *, family: Sequence[str] | None = None, report_missing: bool = True
) -> pd.DataFrame:
    """Write the summary of all jobs below these sweep folders; returns its table, one row per finished run.

    `family`: the columns within which p-values are corrected, for wider families than those of `families.conditions`.
    `report_missing`: say which jobs are not done, and why.
    """
    found = [(folder, sweeps.states(folder)) for folder in folders]
    runs = [run for folder, states in found for run in _runs(folder, states)]
    into.mkdir(parents=True, exist_ok=True)
    results.clean(into)
    results.write_csv(into, "jobs", _jobs(found))
    for folder, states in found if report_missing else []:
        _say_what_is_missing(folder, states)
    if not runs:
        logger.warning("summary: no job has finished with a result, so there is nothing to summarise yet")
        return pd.DataFrame()
    table = _table(runs)
    table = with_corrections(table.assign(test_family=families(table, family)))
    for doubt in hopeless(table):
        logger.warning(doubt)
    results.write_table(into, "summary", table)
    results.write_csv(into, "summary", table)
    results.write_csv(into, "headline", headline(table))
    for name, joined in _joined(runs, table):
        results.write_table(into / "tables", name, joined)
    if parts := list(_depth(runs, table)):
        results.write_table(into / "tables", "depth", pd.concat(parts, ignore_index=True))
    _log(headline(table))
    _draw(runs, table, into / "figures")
    logger.info("summary   %s", into)
    return table


def _log(told: pd.DataFrame) -> None:
    """The first rows of the headlines, family by family."""
    logger.info("summary of %d runs", len(told))
    for family, rows in told.head(_SHOWN).groupby("test_family", sort=False):
        logger.info("tests     %s\n%s", family, rows.drop(columns="test_family").to_string(index=False))


def _alike(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """The rows of each condition, and what they share."""
    values = shared(table)
    for _, rows in values.groupby(list(values), dropna=False, sort=False):
        yield rows.iloc[0], table.loc[rows.index]


def _depth(runs: Sequence[Run], table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What the swap margins of each condition's pairs say together, if there are several; logs it in a sentence."""
    for condition, rows in _alike(table):
        pairs, over_models = _margins([runs[i] for i in rows.index], rows)
        if len(pairs) > 1:
            logger.info("depth     %s: %s", condition["dataset"], depth.sentence(pairs, over_models, str(condition["metric"])))
        if not over_models.empty:
            yield _with(condition, over_models)


def _margins(runs: Sequence[Run], rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The swap margins of one condition's pairs, and over models; the latter empty where there are too few of these."""
    pairs, config = depth.margins(runs), runs[0].result["provenance"]["config"]
    pairs = pairs.assign(**{side: rows[side].iloc[pairs.index].to_numpy() for side in ("side_a", "side_b")})
    if len(pairs) < 2:
        return pairs, pd.DataFrame()
    level = (config.get("statistics") or {}).get("level", 0.95)
    return pairs, depth.over_units(pairs, level=level, seed=config["seed"])


def _runs(folder: Path, states: Sequence[sweeps.JobState]) -> Iterator[Run]:
    for state in states:
        job = folder / str(state.job.number)
        if state.state == "done" and (job / RESULT).is_file():
            yield results.read_run(job)


def _jobs(found: Sequence[tuple[Path, Sequence[sweeps.JobState]]]) -> pd.DataFrame:
    rows = [
        {"sweep": str(folder), "job": s.job.number, "state": s.state, "detail": s.detail, "overrides": " ".join(s.job.overrides)}
        for folder, states in found
        for s in states
    ]
    return pd.DataFrame(rows)


def _say_what_is_missing(folder: Path, states: Sequence[sweeps.JobState]) -> None:
    lacking = [state for state in states if state.state not in ("done", "skipped")]
    logger.info("sweep %s: %s", folder, sweeps.count(states))
    if lacking:
        logger.warning("not in the summary, as it is not done:\n%s", sweeps.listing(states, lacking))


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: its condition, its sides, its headline, and every number of its statistics."""
    names, texts = _model_names(runs), _texts_apart(runs)
    varied = _varied(runs)
    rows = []
    for run in runs:
        models = {side: names[_identity(run, side)] for side in "ab"}
        result = run.result
        rows.append(
            {
                "sweep": run.folder.parent.name,
                "job": run.folder.name,
                "dataset": result["dataset"]["name"],
                "n": result["dataset"]["n"],
                "all_items": run.result["provenance"]["config"]["dataset"].get("n", result["dataset"]["n"]) is None,
                **{f"language_{side}": result[side]["language"] for side in "ab"},
                **{f"field_{side}": _texts(run, side)["field"] for side in "ab"},
                "pooling": result["pooling"],
                "metric": result["metric"]["name"],
                "k": result["metric"]["k"],
                **{f"config.{key}": _text(_option(run, key)) for key in varied},
                **{f"model_{side}": models[side] for side in "ab"},
                **{f"side_{side}": _called(models[side], _texts(run, side), texts) for side in "ab"},
                "self_pair": _identity(run, "a") == _identity(run, "b") and _same_texts(run),
                **{f"layers_{side}": len(result[side]["layers"]) for side in "ab"},
                "mean_affinity": float(run.arrays["affinity"].mean()),
                "mean_chance": float(run.arrays["chance"].mean()),
                "headline": result["headline"]["text"],
                **{key: result["headline"].get(key) for key in _NUMBERS},
                "sided": result["headline"].get("sided"),
                **dict(_flat(result["statistics"])),
                "warnings": len(result["warnings"]),
                "seconds": sum(result["timing"].values()),
            }
        )
    table = pd.DataFrame(rows)
    numbers = [column for column in _NUMBERS if table[column].isna().any()]
    return table.astype(dict.fromkeys(numbers, float)).astype({"k": "Int64"})


def _identity(run: Run, side: str) -> str:
    config = run.result["provenance"]["config"].get(f"model_{side}", {})
    return json.dumps([run.result[side]["model"], config], sort_keys=True)


def _model_names(runs: Sequence[Run]) -> dict[str, str]:
    """How to call each model: by its name, and by what sets it apart where several have the same one (revision, template)."""
    known = {_identity(run, side): (run, side) for run in runs for side in "ab"}
    named = {identity: run.result[side]["model"] for identity, (run, side) in known.items()}
    configs = {identity: run.result["provenance"]["config"].get(f"model_{side}", {}) for identity, (run, side) in known.items()}
    names = {}
    for identity, name in named.items():
        same = [configs[other] for other in named if named[other] == name]
        apart = [key for key in configs[identity] if len({_text(config.get(key)) for config in same}) > 1]
        names[identity] = " ".join([name, *(f"{key}={_text(configs[identity][key])}" for key in apart)])
    return names


def _texts(run: Run, side: str) -> dict[str, str]:
    """What one side reads: language, field, and the control where only this side has one."""
    config, name = run.result["provenance"]["config"], run.result["dataset"]["name"]
    alone = (config.get("control") or {}).get("sides", ["a", "b"]) == [side]
    return {
        "language": run.result[side]["language"],
        "field": config["dataset"].get(f"field_{side}") or "",
        "control": name.partition("+")[2] or "control" if alone else "",
    }


def _texts_apart(runs: Sequence[Run]) -> list[str]:
    """Which of these set the sides of a sweep apart."""
    read = [_texts(run, side) for run in runs for side in "ab"]
    return [key for key in read[0] if len({each[key] for each in read}) > 1]


def _called(model: str, texts: Mapping[str, str], apart: Sequence[str]) -> str:
    """A side by its model and, in brackets, what sets its texts apart: `gpt2 (de)`."""
    said = [texts[key] for key in apart if texts[key]]
    return f"{model} ({', '.join(said)})" if said else model


def _varied(runs: Sequence[Run]) -> list[str]:
    """Keys of the configs that vary between runs and that no column of the table stands for: seed, layers, dataset.groups.

    An option of a dataset or a metric counts if it varies between runs of the same one.
    """
    configs = [run.result["provenance"]["config"] for run in runs]
    keys = {key for config in configs for key in config if key not in {*_ELSEWHERE, *_COLUMNS} and not key.endswith(("_a", "_b"))}
    varied = {key for key in keys if len({_text(config.get(key)) for config in configs}) > 1}
    for part, told in _COLUMNS.items():
        of_name: dict[str, list[Mapping[str, Any]]] = {}
        for run in runs:
            of_name.setdefault(run.result[part]["name"], []).append(run.result["provenance"]["config"].get(part) or {})
        for same in of_name.values():
            options = {option for config in same for option in config} - told
            varied |= {f"{part}.{option}" for option in options if len({_text(config.get(option)) for config in same}) > 1}
    return sorted(varied)


def _option(run: Run, key: str) -> Any:
    node = run.result["provenance"]["config"]
    for part in key.split("."):
        node = (node or {}).get(part)
    return node


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, int | float | str):
            yield f"{prefix}{key}", value


def _joined(runs: Sequence[Run], table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each table that the runs left, all runs' one below the other, with what tells the runs apart."""
    told = table[["sweep", "job", *conditions(table), "language_a", "language_b", "model_a", "model_b"]]
    for name in sorted({table for run in runs for table in run.tables} - _NO_TABLES):
        holders = [i for i, run in enumerate(runs) if name in run.tables]
        yield name, pd.concat([_with(told.iloc[i], runs[i].table(name)) for i in holders], ignore_index=True)


def _with(told: pd.Series, part: pd.DataFrame) -> pd.DataFrame:
    for column in told.index:
        if column not in part or column in ("model_a", "model_b"):  # models are called as in the summary
            part[column] = told[column]
    return part


def _draw(runs: Sequence[Run], table: pd.DataFrame, folder: Path) -> None:
    """A folder of pictures per condition. One that cannot be drawn is logged and costs nothing else."""
    for condition, rows in _alike(table):
        name = re.sub(r"[^\w.=-]+", "_", "-".join(str(value) for value in condition if not pd.isna(value)))
        try:
            alike = [runs[i] for i in rows.index]
            draw_condition(_condition(alike, rows), *_margins(alike, rows), folder / name)
        except OSError as error:
            logger.warning("%s; the tables are complete", unwritten(folder, error))
            return  # nothing else can be written there
        except Exception:
            logger.exception("figures: %s is not drawn; the tables are complete", name)


def _condition(runs: Sequence[Run], rows: pd.DataFrame) -> Condition:
    metric, first = runs[0].result["metric"], rows.iloc[0]
    k = "" if metric["k"] is None else f", k = {metric['k']}"
    n = " to ".join(dict.fromkeys(str(n) for n in (rows["n"].min(), rows["n"].max())))
    chance = " to ".join(dict.fromkeys(f"{chance:.3g}" for chance in (rows["mean_chance"].min(), rows["mean_chance"].max())))
    texts = f"{first['dataset']}, {_languages(rows)}, n = {n}, pooling {first['pooling']}, chance {chance}"
    one_kind = not set(rows["side_a"]).isdisjoint(rows["side_b"])
    return Condition(
        title=f"{first['metric']} ({metric['estimator']}{k})\n{texts}",
        metric=str(first["metric"]),
        headline=" and ".join(sorted(set(rows["headline"]))),
        pairs=[_pair(run, row, one_kind=one_kind) for run, (_, row) in zip(runs, rows.iterrows(), strict=True)],
    )


def _languages(rows: pd.DataFrame) -> str:
    sides = [sorted(set(rows[f"language_{side}"])) for side in "ab"]
    both = sorted({*sides[0], *sides[1]})
    if len(sides[0]) == len(sides[1]) == 1:
        return " against ".join(dict.fromkeys((*sides[0], *sides[1])))
    return ", ".join(both) if len(both) <= _NAMED else f"{len(both)} languages"


def _pair(run: Run, row: pd.Series, *, one_kind: bool) -> PairMatrix:
    """`one_kind`: some side is a row of one pair and a column of another, so that rows and columns mean the same."""
    depths = {side: run.arrays[f"depth_{side}"] for side in "ab"}
    blocks = {side: np.flatnonzero(np.isfinite(depths[side])) for side in "ab"}
    swap = (run.result["statistics"].get("diagonal") or {}).get("swap") or {}
    return PairMatrix(
        a=row["side_a"],
        b=row["side_b"],
        matrix=run.arrays["affinity"][np.ix_(blocks["a"], blocks["b"])],
        depth_a=depths["a"][blocks["a"]],
        depth_b=depths["b"][blocks["b"]],
        mirror=run.result["metric"]["symmetric"] and (one_kind or _same_texts(run)),
        itself=row["self_pair"],
        value=row["value"],
        preference=swap.get("by_depth"),
    )


def _same_texts(run: Run) -> bool:
    """Whether both sides read the same texts: one language, one field, and no control on one side alone."""
    result, config = run.result, run.result["provenance"]["config"]
    fields = [config["dataset"].get(f"field_{side}") for side in "ab"]
    controlled = (config.get("control") or {}).get("sides", ["a", "b"])
    return result["a"]["language"] == result["b"]["language"] and fields[0] == fields[1] and len(controlled) == 2
