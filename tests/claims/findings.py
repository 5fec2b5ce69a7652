"""Write the page of findings and its pictures from the result files of this folder: `uv run tests/claims/findings.py`.

The template holds the words and no number. Each conclusion names the condition under which it may be drawn, and no page is written
when the result files no longer meet it.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PAGE = ROOT / "conf" / "experiment" / "FINDINGS.md"
TEMPLATE = "findings.md.jinja"
_MARGINS = ("none", "shuffled_words", "cipher", "random_characters", "other_items")
_CURVES = {
    "alignment": ("translations", "#0072b2"),
    "alignment_of_shuffled_words": ("their words shuffled", "#56b4e9"),
    "alignment_of_random_characters": ("random characters", "#e69f00"),
    "alignment_of_other_items": ("wrong partners", "#777777"),
}
Results = Mapping[str, dict[str, Any]]


class Outdated(Exception):
    """A conclusion of the page does not follow from the result files any more."""


def results() -> Results:
    """By name, each result file."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.json")}


def page(found: Results) -> str:
    made = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    made.filters |= {"number": number, "percent": percent, "interval": interval, "p": p_value}
    made.globals |= {"as_long_as": as_long_as, "row": partial(row, found)}
    given = {name: one["values"] | {"command": one["command"]} for name, one in found.items()}
    return made.get_template(TEMPLATE).render(given)


def row(found: Results, what: str, source: str, null: str = "", p: float | None = None, decimals: int = 3) -> str:
    """A value with its interval as a line of a table, and where it comes from as `NAME: PATH` in NAME.json."""
    of = looked_up(found, source)
    cells = [what, number(of["value"], decimals), interval(of, decimals), null, "" if p is None else p_value(p), f"`{source}`"]
    return f"| {' | '.join(cells)} |"


def looked_up(found: Results, source: str) -> Any:
    name, _, path = source.partition(": ")
    node: Any = found[name]["values"]
    for key in path.split("."):
        node = node[key]
    return node


def number(value: float, decimals: int = 3) -> str:
    """Without the 0 before the point, and -0 as 0."""
    text = f"{value:z.{decimals}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def percent(share: float) -> str:
    return f"{100 * share:z.0f} %"


def interval(of: Mapping[str, float], decimals: int = 3) -> str:
    return f"{number(of['ci_low'], decimals)} to {number(of['ci_high'], decimals)}"


def p_value(p: float) -> str:
    return "< .001" if p < 0.001 else number(p)


def as_long_as(condition: bool, conclusion: str) -> str:
    if not condition:
        raise Outdated(f"the results no longer say so: {conclusion}")
    return conclusion


def margins(found: Results) -> Figure:
    """The swap margin of the texts and of each control, with intervals."""
    rows = found["controls"]["values"]["margins"]
    figure, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
    for place, name in enumerate(_MARGINS):
        row = rows[name]
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color="#0072b2" if name == "none" else "#777777", linewidth=2)
        axes.plot(row["value"], place, "o", color="#0072b2" if name == "none" else "#777777")
    axes.set_yticks(range(len(_MARGINS)), ["texts", *(name.replace("_", " ") for name in _MARGINS[1:])])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("swap margin of mutual_knn, k = 10, with 95 % interval over items\n(0: layers at equal depth are no partners)")
    return figure


def curves(found: Results) -> Figure:
    """How often the translation is the nearest text, by block, of translations and of each control."""
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for name, (label, color) in _CURVES.items():
        rows = found[name]["values"]["curve"]
        blocks = [int(block) for block in rows]
        axes.plot(blocks, [row["value"] for row in rows.values()], color=color, label=label, linewidth=2)
        if name == "alignment":
            low, high = ([row[end] for row in rows.values()] for end in ("ci_low", "ci_high"))
            axes.fill_between(blocks, low, high, color=color, alpha=0.2, linewidth=0)
            axes.plot(blocks, [row["chance"] for row in rows.values()], color="black", linestyle=":", label="chance")
    axes.set(xlabel="block of Gemma-3-270M", ylabel="retrieval at 1 (band: 95 %)", xlim=(1, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    return figure


def costs(found: Results) -> Figure:
    """What skipping each block costs, against its affinity with its input."""
    rows = found["redundancy"]["values"]["blocks"]
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    places = [row["with_input"] for row in rows.values()]
    for block, row in rows.items():
        crowded = any(0 < place - row["with_input"] < 0.02 for place in places)
        axes.plot([row["with_input"]] * 2, [row["ci_low"], row["ci_high"]], color="#0072b2", linewidth=2)
        axes.plot(row["with_input"], row["value"], "o", color="#0072b2", markersize=4)
        at, offset, align = (row["with_input"], row["value"]), (-4 if crowded else 4, 3), "right" if crowded else "left"
        axes.annotate(block, at, offset, textcoords="offset points", fontsize="small", horizontalalignment=align)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.1)
    axes.set_xlabel("affinity of a block with its input (0: chance, 1: the same)")
    axes.set_ylabel("cost of skipping it, nats a\ntoken (bar: 95 % interval)")
    return figure


PICTURES = {
    "findings_controls": (margins, ("controls",)),
    "findings_languages": (curves, tuple(_CURVES)),
    "findings_redundancy": (costs, ("redundancy",)),
}


def drawn_from(found: Results, names: tuple[str, ...]) -> str:
    """What a picture carries to say which results it shows."""
    return hashlib.sha256(json.dumps([found[name]["values"] for name in names]).encode()).hexdigest()


def main() -> None:
    found = results()
    PAGE.write_text(page(found), encoding="utf-8")
    for name, (draw, of) in PICTURES.items():
        figure = draw(found)
        figure.savefig(ROOT / ".github" / f"{name}.png", dpi=110, metadata={"Description": drawn_from(found, of)})
        plt.close(figure)


if __name__ == "__main__":
    main()
