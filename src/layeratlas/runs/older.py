"""What result.json says today and older ones left to be guessed, filled in when such a run is read."""

from collections.abc import Iterator, Mapping
from typing import Any

from layeratlas.files.identity import placeless

_SETTINGS = ("seed", "layers", "normalization", "control", "statistics")
_NO_SETTINGS = {"dataset": {"n", "mirror", "field_a", "field_b"}, "metric": {"k"}}
_ORDERED = ("student_p", "welch_p")


def completed(result: dict[str, Any]) -> dict[str, Any]:
    """The content of a result.json with every key that a reader may ask for; what the file says stays as it is."""
    config = (result.get("provenance") or {}).get("config") or {}
    more: dict[str, Any] = {}
    if "settings" not in result:
        more["settings"] = _settings(config)
    if "control" not in result.get("dataset", {}):
        more["dataset"] = _dataset(result, config)
    for side in "ab":
        if side in result and "field" not in result[side]:
            more[side] = result[side] | _texts(result, config, side)
    if "parameters" not in result.get("metric", {}):
        more["metric"] = result.get("metric", {}) | {"parameters": _options(config.get("metric"))}
    analyses, statistics = result.get("analyses") or {}, result.get("statistics") or {}
    more["analyses"] = {
        name: (analyses.get(name) or {}) | _declared(name, analyses.get(name) or {}, statistics.get(name) or {})
        for name in dict.fromkeys((*analyses, *statistics))
    }
    return result | more


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        part: {key: value for key, value in _options(config.get(part)).items() if key not in left_out}
        for part, left_out in _NO_SETTINGS.items()
    }
    return {key: placeless(config[key]) for key in _SETTINGS if key in config} | parts


def _options(node: Mapping[str, Any] | None) -> dict[str, Any]:
    return placeless({key: value for key, value in (node or {}).items() if key != "_target_"})


def _dataset(result: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    corpus, _, control = result.get("dataset", {}).get("name", "").partition("+")
    fields = {(config.get("dataset") or {}).get(f"field_{side}") for side in "ab"}
    languages = {result.get(side, {}).get("language") for side in "ab"}
    same = len(fields) == len(languages) == 1 and len(_controlled(config)) == 2
    return result.get("dataset", {}) | {"corpus": corpus, "control": control or None, "same_texts": same}


def _controlled(config: Mapping[str, Any]) -> list[str]:
    return (config.get("control") or {}).get("sides", ["a", "b"])


def _texts(result: Mapping[str, Any], config: Mapping[str, Any], side: str) -> dict[str, Any]:
    name = result.get("dataset", {}).get("name", "").partition("+")[2]
    control = (name or "control") if config.get("control") and side in _controlled(config) else None
    return {"field": (config.get("dataset") or {}).get(f"field_{side}"), "control": control}


def _declared(name: str, analysis: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The tables and tests of an analysis that did not declare them: tests were known by their names."""
    if "tests" in analysis:
        return {}
    tests = [path for path in _paths(numbers) if _called_a_test(path)]
    return {"tables": [name], "tests": tests, "ordered_tests": [path for path in tests if path in _ORDERED]}


def _paths(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, int | float):
            yield f"{prefix}{key}"


def _called_a_test(path: str) -> bool:
    last = path.rpartition(".")[2]
    return (last == "p" or last.endswith("_p")) and not last.endswith("attainable_p")
