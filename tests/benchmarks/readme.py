"""The tables of the statistics' README, each between two comments that name it."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "src" / "layeratlas" / "statistics" / "README.md"


def write(name: str, table: str) -> None:
    text = README.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    found = re.search(f"{begin}.*?{end}", text, re.DOTALL)
    assert found, f"the README has no place for {name}"
    README.write_text(text.replace(found[0], f"{begin}\n\n{table}\n\n{end}"), encoding="utf-8")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
