"""The numbers of a page, and the small result files that they came from.

A number is held in one of three ways, each an entry of `pages.toml`:

- `[[claim]]`: a text of a page with its numbers in braces, and for each of them where it comes from, `NAME: PATH` in `NAME.json`,
  `count: GLOB` in this repository, `conf: FILE: KEY` in conf/, or `code: MODULE:CONSTANT`.
- `[[table]]`: what a function makes of a result file (tables.py).
- `[definitions]`: a text whose numbers define or describe, and were not measured.

A result file is written by `uv run tests/claims/make.py NAME`, and names the command that its values come from: a run, a sweep, or
a benchmark that writes it with `keep` (tests/benchmarks/results.py). Pages listed as `whole` have no other number.
"""

import json
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
NUMBER = re.compile(r"(?<![\w.])-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?: ?%)?(?!\w)")
_BRACED = re.compile(r"\{([^}]*)\}")
# What is no measured number: what is typed, what links and pictures are called, names and versions, years of sources.
_EXEMPT = (
    re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"`[^`]*`"),
    re.compile(r"!?\[[^\]]*\]\([^)]*\)"),
    re.compile(r"Gemma[ -]3[ -]270M|SmolLM2-135M(?:-Instruct)?|SHA-256|Apache-2\.0|Python 3\.11|4-bit|Q4_\w+|UTF-8"),
    re.compile(r"\b(?:19|20)\d\d\b"),
)
# How long things take and how large files are, which only the page of tests/benchmarks must hold.
_SIZES = re.compile(r"\b\d+ (?:s|MB|GB|minutes)\b")


@dataclass(frozen=True)
class Claim:
    page: str
    text: str
    sources: list[str]

    @property
    def plain(self) -> str:
        return _BRACED.sub(r"\1", self.text)

    @property
    def numbers(self) -> list[str]:
        return _BRACED.findall(self.text)


def registry() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "pages.toml").read_text(encoding="utf-8"))


def claims() -> list[Claim]:
    return [Claim(claim["page"], claim["text"], claim["from"]) for claim in registry()["claim"]]


@cache
def flowing(page: str) -> str:
    """The page's text with each run of blanks and line ends as one blank."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def between(text: str, name: str) -> str:
    """What stands between the two comments `<!-- NAME -->` and `<!-- end of NAME -->`."""
    return _parted(text, name)[1]


def with_between(text: str, name: str, inner: str) -> str:
    before, _, after = _parted(text, name)
    return before + inner + after


def _parted(text: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    assert text.count(begin) == text.count(end) == 1, f"{name} has no one place"
    start, stop = text.index(begin) + len(begin), text.index(end)
    return text[:start], text[start:stop], text[stop:]


def value_of(source: str) -> float:
    name, _, path = source.partition(": ")
    if name == "count":
        return len([*ROOT.glob(path)])
    if name == "conf":
        file, key = path.split(": ")
        return float(OmegaConf.load(ROOT / "conf" / file)[key])
    if name == "code":
        return float(pkgutil.resolve_name(path))
    node = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["values"]
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return float(node)


def says(printed: str, value: float) -> bool:
    """Whether a number is the value, rounded to as many digits as it is printed with; one after `<` is larger than the value."""
    if printed.startswith("<"):
        return value < float(printed[1:])
    digits = printed.replace(",", "").replace("%", "").strip()
    scale = 100 if "%" in printed else 1
    decimals = len(digits.partition(".")[2])
    return abs(float(digits) - scale * value) <= 0.5 * 10**-decimals + 1e-9


def uncovered(page: str) -> Iterator[str]:
    """Each number of a page, or of PAGE#SECTION, that may have been measured and that nothing holds, with its place."""
    place, _, section = page.partition("#")
    text = (ROOT / place).read_text(encoding="utf-8")
    for table in registry()["table"]:
        if table["page"] == place:
            text = with_between(text, table["name"], "\n")
    if section:
        heading = re.search(rf"^## {re.escape(section)}\b.*$", text, re.MULTILINE)
        assert heading, f"{place} has no section {section}"
        text = text[heading.end() :].partition("\n## ")[0]
    exempt = _EXEMPT if place.startswith("tests/benchmarks/") else (*_EXEMPT, _SIZES)
    text = " ".join(_masked(text, exempt).split())
    held = [claim.plain for claim in claims() if claim.page == place] + registry()["definitions"].get(place, [])
    for one in held:
        masked = _masked(" ".join(one.split()), exempt)
        text = text.replace(masked, re.sub(r"\S", "_", masked))
    for found in NUMBER.finditer(text):
        yield f"{found[0]} in '{text[max(0, found.start() - 40) : found.end() + 40]}'"


def _masked(text: str, exempt: Iterable[re.Pattern[str]]) -> str:
    """With _ in place of what is exempt."""
    for pattern in exempt:
        text = pattern.sub(lambda found: re.sub(r"\S", "_", found[0]), text)
    return text
