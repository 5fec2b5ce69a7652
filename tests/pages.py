"""The README.md of every folder, and the page of findings, taken apart: what they link to, name and tell to type."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(page for part in ("conf", "src", "tests") for page in (ROOT / part).rglob("README.md")),
    ROOT / "conf" / "experiment" / "FINDINGS.md",
]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str = "") -> list[str]:
    """Its fenced blocks of one language; those to be typed, and trees, have none."""
    return [block for named, block in _FENCED.findall(text_of(page)) if named == language]


def prose(page: Path) -> str:
    return _FENCED.sub("", text_of(page))


def code(page: Path) -> list[str]:
    """What stands between single backticks, on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def links(page: Path) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """What a link may name after its #, as forges make it of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[str]:
    """The lines of its blocks that begin with a program, without what follows a #."""
    for line in "".join(blocks(page)).splitlines():
        command = re.sub(r"\s+#.*", "", line)
        yield from (part.strip() for part in command.split("&&") if re.match(r"\s*(uv|pip|layeratlas)\b", part))


CONF_PAGE = ROOT / "conf" / "README.md"


def files_shown(page: Path, folder: str) -> dict[str, str]:
    """The files below a folder that a page shows, each named in its first line."""
    return dict(re.findall(rf"```\w+\n# ({folder}/\S+)\n(.*?)```", text_of(page), re.DOTALL))


def moves(page: Path) -> list[tuple[str, str]]:
    """Which of a user's own files becomes which of this repository, as a page's recipe says."""
    return re.findall(r"`(mine/\S+)`(?: of that page)?\s+becomes\s+`(\S+)`", text_of(page))


def users_own_files(page: Path = CONF_PAGE) -> dict[str, str]:
    """The files of a user's own folder that a page shows."""
    return files_shown(page, "mine")


def write_users_own_files(folder: Path, model: str, page: Path = CONF_PAGE) -> Path:
    """The example's files with this model in place of its own; returns the folder for `--config-dir`."""
    for name, content in users_own_files(page).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.replace("/a/folder/saved/with/save_pretrained", model), encoding="utf-8")
    return folder / "mine"
