"""The result file of a benchmark in tests/claims/, which pages take their numbers from (tests/claims/registry.py)."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def keep(name: str, command: str, values: Mapping[str, Any], within: float | None = None) -> None:
    """Write `tests/claims/NAME.json`; `command` is what follows `uv run`, and makes this file and no other.

    `within` is for what differs from one machine and one time to the next: the machine is then named, and when the file is made
    anew each number may be this many times larger or smaller; those below a key `seconds` are of this machine and not compared.
    Where the environment variable CLAIMS_FOLDER names another folder, file and picture are written there.
    """
    measured = {} if within is None else {"machine": machine(), "within": within}
    text = json.dumps({"command": f"uv run {command}", **measured, "values": values}, indent=1) + "\n"
    Path(os.environ.get("CLAIMS_FOLDER", ROOT / "tests" / "claims"), f"{name}.json").write_text(text, encoding="utf-8")


def picture(name: str) -> Path:
    """Where a picture of pages is saved."""
    return Path(os.environ.get("CLAIMS_FOLDER", ROOT / ".github"), name)


def machine() -> str:
    """Processor and cores in words."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return f"{os.cpu_count()} cores of {model[1] if model else 'an unknown processor'}"
