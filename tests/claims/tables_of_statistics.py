"""Tables of src/layeratlas/statistics/README.md, each from the values of its result file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def size(values: Values) -> str:
    """The share of runs with an alarm, by number of permutations."""
    columns = next(iter(values.values()))["shares"]
    rows = [
        [
            permutations,
            f"{of['exact']:.3f}",
            str(of["runs"]),
            f"{of['error']:.4f}",
            *(f"{of['shares'][name]:.3f}" for name in columns),
        ]
        for permutations, of in values.items()
    ]
    return markdown(["permutations", "exact", "runs", "error", *columns], rows)


def coverage(values: Values) -> str:
    """How often intervals hold the truth; an interval that a statistic does not have is an empty cell."""
    kinds = [(by, kind) for by in ("items", "clusters") for kind in ("student", "binomial")]
    rows = []
    for of in values["rows"]:
        shares = (of["held"].get(by, {}).get(kind) for by, kind in kinds)
        cells = ("" if share is None else f"{share:.3f}" for share in shares)
        rows.append([of["statistic"], str(of["items"]), f"{of['truth']:.3f}", *cells])
    head = ["statistic", "items", "truth", "Student", "binomial", "Student, by_group", "binomial, by_group"]
    said = (
        f"Share of {values['samples']:,} samples whose 95 % interval holds the truth (the mean over {values['others']:,} others);"
        f" the binomial error of .95 is {values['error']:.3f}:"
    )
    return f"{said}\n\n{markdown(head, rows)}"


def coverage_of_more(values: Values) -> str:
    """The same of more metrics, by Student's t."""
    metrics = values["metrics"]
    return markdown([name if " " in name else f"`{name}`" for name in metrics], [[f"{of['held']:.3f}" for of in metrics.values()]])


def tests_of_the_diagonal(values: Values) -> str:
    """How often each reports a diagonal, without one and with."""
    columns = [(metric, world) for metric in values["tests"] for world in ("without", "planted")]
    tests = next(iter(values["tests"].values()))
    rows = [[test, *(f"{values['tests'][metric][test][world]:.3f}" for metric, world in columns)] for test in tests]
    return markdown(["test", *(f"{metric}: {world}" for metric, world in columns)], rows)


def swap_of_pairs(values: Values) -> str:
    columns = [(name, metric) for name in ("raw contrast", "swap margin") for metric in _metrics(values)]
    rows = [[world, *(_sides(of[metric][name]) for name, metric in columns)] for world, of in values["worlds"].items()]
    head = ["world", *(f"{name}, {metric}" for name, metric in columns)]
    return f"{values['runs']} runs of 8 x 8 layers and 96 items:\n\n{markdown(head, rows)}"


def swap_of_larger_pairs(values: Values) -> str:
    columns = _metrics(values)  # with sizes
    rows = [[world, *(_sides(of[column]["swap margin"]) for column in columns)] for world, of in values["worlds"].items()]
    runs = [values["runs"][column.rpartition(", ")[0]] for column in columns]
    rows.append(["*runs of a world without, with partners*", *(f"{of['without']}, {of['with']}" for of in runs)])
    return markdown(["world", *columns], rows)


def swap_of_sweeps(values: Values) -> str:
    metrics = _metrics(values)
    tests = next(iter(values["worlds"].values()))[metrics[0]]
    rows = [
        [name, *(" / ".join(f"{of[metric][test]:.3f}" for metric in metrics) for test in tests)]
        for name, of in values["worlds"].items()
    ]
    layers = f"{values['fewest_layers']} to {values['most_layers']} layers"
    said = f"{values['sweeps']} sweeps of {values['models']} models of {layers}, 96 items; {' / '.join(metrics)}:"
    return f"{said}\n\n{markdown(['sweep', *tests], rows)}"


def _metrics(values: Values) -> list[str]:
    return [*next(iter(values["worlds"].values()))]


def _sides(of: Mapping[str, float]) -> str:
    """Above and below 0."""
    return f"{of['above']:.3f} / {of['below']:.3f}"
