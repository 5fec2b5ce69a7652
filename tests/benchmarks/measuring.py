"""What the benchmarks of cost do with their figures: print them, and keep them (results.py).

A measure is a function that returns its figures by name: times below `seconds` and other units, what was measured side by side or
in turns below `ratios`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import keep

Figures = dict[str, Any]
_WITHIN = 2.0  # times: what other programs and machines do to ratios and memory


def measure(script: str, measures: Mapping[str, Callable[[], Figures]], wanted: Sequence[str]) -> dict[str, Figures]:
    """The figures of those that are wanted, by name, or of all; those of `metrics.py floor` are kept as `metrics_floor.json`."""
    done = {}
    for name in wanted or measures:
        done[name] = measures[name]()
        show(done[name])
        keep(f"{Path(script).stem}_{name}", f"tests/benchmarks/{Path(script).name} {name}", rounded(done[name]), _WITHIN)
    return done


def show(figures: Figures) -> None:
    for path, value in flat(figures):
        print(f"{path}: {value:.4g}" if isinstance(value, float) else f"{path}: {value}", flush=True)


def flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def rounded(node: Any) -> Any:
    """To five digits, more than any two measurements share."""
    if isinstance(node, Mapping):
        return {key: rounded(value) for key, value in node.items()}
    return float(f"{node:.5g}") if isinstance(node, float) else node
