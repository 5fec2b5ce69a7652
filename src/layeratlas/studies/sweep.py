"""A sweep's finished runs and their table, as one object."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from layeratlas.runs.reading import Run
from layeratlas.studies.families import SHARED, families, shared, with_corrections
from layeratlas.studies.opened import Opener, unopened

NUMBERS = ["value", "chance", "ci_low", "ci_high", "p", "attainable_p"]
_PARTS = ("dataset", "metric")  # whose settings are told apart within those of one name


@dataclass(frozen=True)
class Sweep:
    """Row i of `table` tells of `runs[i]`; its index is 0, 1, 2, ...

    The table's columns: `sweep` and `job`; what the runs were made under (`dataset`, `n`, `pooling`, `metric`, `k`, and
    `config.*` for every other setting that varies); for both sides `model_*`, `language_*`, `field_*`, `control_*`, and
    `side_*`, a name that tells it from the other sides; `self_pair` where a side is compared with itself; the headline; and every
    number of the analyses as `<analysis>.<number>`. `tests` are the columns that hold p-values, `ordered_tests` those that were
    published with a correction over pairs in both orders. `opener` reads a run's vectors again.
    """

    runs: Sequence[Run]
    table: pd.DataFrame
    tests: Sequence[str]
    ordered_tests: Sequence[str]
    opener: Opener = unopened

    def __len__(self) -> int:
        return len(self.runs)

    def some(self, places: Sequence[int]) -> "Sweep":
        """Only these runs, in this order."""
        chosen = list(places)
        return replace(self, runs=[self.runs[i] for i in chosen], table=self.table.iloc[chosen].reset_index(drop=True))

    def alike(self, columns: Sequence[str]) -> Iterator["Sweep"]:
        """Parts of the sweep whose runs share the values of these columns."""
        if not len(self):
            return
        for _, rows in self.table.groupby(list(columns), dropna=False, sort=False):
            yield self.some(rows.index.tolist())

    def conditions(self) -> Iterator[tuple[pd.Series, "Sweep"]]:
        """What runs share that differ in their sides alone, and these runs."""
        values = shared(self.table)
        for _, rows in values.groupby(list(values), dropna=False, sort=False):
            yield rows.iloc[0], self.some(rows.index.tolist())

    def with_corrections(self) -> "Sweep":
        """With each test's p also corrected over its family."""
        return replace(self, table=with_corrections(self.table, self.tests, self.ordered_tests))


def name_of(condition: pd.Series) -> str:
    """A condition as the name of a folder: the values of what all conditions have, and `SETTING=VALUE` for what varies."""
    texts = {str(column): str(value) for column, value in condition.items() if not pd.isna(value) and value != ""}
    parts = [value if column in SHARED else f"{column.removeprefix('config.')}={value}" for column, value in texts.items()]
    return "-".join(map(file_name, parts))


def file_name(text: str) -> str:
    """The same with `_` for all that a file's name should not hold."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")


def labelled(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """A table with these values in each of its rows; models are called as `values` calls them, other columns stay what they are."""
    new = {column: values[column] for column in values.index if column not in table or column in ("model_a", "model_b")}
    return table.assign(**new)


def sweep_of(runs: Sequence[Run], family: Sequence[str] | None = None, opener: Opener = unopened) -> Sweep:
    """Finished runs, with their table: one row each. `family`: see `families.families`.

    >>> import layeratlas
    >>> from layeratlas.studies import sweep_of
    >>> sweep = sweep_of(layeratlas.read_sweep(sweep_folder))
    >>> sweep.table[["side_a", "side_b"]].values.tolist()
    [['ant', 'bee'], ['ant', 'bee']]
    """
    names, texts, varied = _model_names(runs), _texts_apart(runs), _varied(runs)
    table = pd.DataFrame([_row(run, names, texts, varied) for run in runs])
    numbers = [column for column in NUMBERS if table[column].isna().any()]
    whole = {"k": "Int64"} | ({"n": "Int64"} if table["n"].isna().any() else {})  # nobody says of an imported matrix
    table = table.astype(dict.fromkeys(numbers, float)).astype(whole).copy()  # columns lie together again
    table = table.assign(test_family=families(table, family))
    tests = ["p", *_declared(runs, "tests")]
    return Sweep(runs, table, [test for test in tests if test in table], _declared(runs, "ordered_tests"), opener)


def _declared(runs: Sequence[Run], what: str) -> list[str]:
    """The columns that the runs' analyses declare."""
    named = ((name, analysis) for run in runs for name, analysis in run.result["analyses"].items())
    return list(dict.fromkeys(f"{name}.{path}" for name, analysis in named for path in analysis[what]))


def _row(run: Run, names: Mapping[str, str], texts: Sequence[str], varied: Sequence[str]) -> dict[str, Any]:
    """A run's condition, its sides, its headline, and every number of its analyses."""
    models = {side: names[_identity(run, side)] for side in "ab"}
    result = run.result
    return {
        "sweep": run.folder.parent.name,
        "job": run.folder.name,
        "dataset": result["dataset"]["name"] or "",
        "n": result["dataset"]["n"],
        "all_items": result["provenance"]["config"]["dataset"].get("n", result["dataset"]["n"]) is None,
        **{f"language_{side}": result[side]["language"] or "" for side in "ab"},
        **{f"field_{side}": _texts(run, side)["field"] for side in "ab"},
        **{f"control_{side}": result[side]["control"] or "" for side in "ab"},
        "pooling": result["pooling"] or "",
        "metric": result["metric"]["name"],
        "k": result["metric"]["k"],
        **{f"config.{key}": text_of(_setting(run, key)) for key in varied},
        **{f"model_{side}": models[side] for side in "ab"},
        **{f"side_{side}": _called(models[side], _texts(run, side), texts) for side in "ab"},
        "self_pair": _identity(run, "a") == _identity(run, "b") and result["dataset"]["same_texts"],
        **{f"layers_{side}": len(result[side]["layers"]) for side in "ab"},
        "mean_affinity": float(run.arrays["affinity"].mean()),
        "mean_chance": float(run.arrays["chance"].mean()),
        "headline": result["headline"]["text"],
        **{key: result["headline"].get(key) for key in NUMBERS},
        "sided": result["headline"].get("sided"),
        **dict(_flat(result["statistics"])),
        "warnings": len(result["warnings"]),
        "seconds": sum(result["timing"].values()),
    }


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
        apart = [key for key in configs[identity] if len({text_of(config.get(key)) for config in same}) > 1]
        names[identity] = " ".join([name, *(f"{key}={text_of(configs[identity][key])}" for key in apart)])
    return names


def _texts(run: Run, side: str) -> dict[str, str]:
    """What one side reads: language, field, and the control where only this side has one."""
    own, other = run.result[side], run.result["b" if side == "a" else "a"]
    alone = own["control"] if own["control"] and not other["control"] else ""
    return {"language": own["language"] or "", "field": own["field"] or "", "control": alone}


def _texts_apart(runs: Sequence[Run]) -> list[str]:
    """Which of these set the sides of a sweep apart."""
    read = [_texts(run, side) for run in runs for side in "ab"]
    return [key for key in read[0] if len({each[key] for each in read}) > 1]


def _called(model: str, texts: Mapping[str, str], apart: Sequence[str]) -> str:
    """A side by its model and, in brackets, what sets its texts apart: `gpt2 (de)`."""
    parts = [texts[key] for key in apart if texts[key]]
    return f"{model} ({', '.join(parts)})" if parts else model


def _varied(runs: Sequence[Run]) -> list[str]:
    """The settings that vary between runs: seed, layers, dataset.groups.

    An option of a dataset or a metric counts if it varies between runs of the same one.
    """
    settings = [run.result["settings"] for run in runs]
    keys = {key for each in settings for key in each if key not in _PARTS}
    varied = {key for key in keys if len({text_of(each.get(key)) for each in settings}) > 1}
    for part in _PARTS:
        of_name: dict[str, list[Mapping[str, Any]]] = {}
        for run in runs:
            of_name.setdefault(run.result[part]["name"], []).append(run.result["settings"].get(part) or {})
        for same in of_name.values():
            options = {option for each in same for option in each}
            varied |= {f"{part}.{option}" for option in options if len({text_of(each.get(option)) for each in same}) > 1}
    return sorted(varied)


def _setting(run: Run, key: str) -> Any:
    node = run.result["settings"]
    for part in key.split("."):
        node = (node or {}).get(part)
    return node


def text_of(value: Any) -> str:
    """A setting in one line: JSON, but for text itself, `none`, and what is made of a class: `random_characters(sides=[a, b])`."""
    if value is None:
        return "none"
    if isinstance(value, Mapping) and "_target_" in value:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(value["_target_"]).rpartition(".")[2]).lower()
        options = ", ".join(f"{key}={text_of(option)}" for key, option in sorted(value.items()) if key != "_target_")
        return f"{name}({options})".replace('"', "") if options else name
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, int | float | str):
            yield f"{prefix}{key}", value
