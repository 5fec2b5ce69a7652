"""JSON files that show whether a bit of them, or of the files that they vouch for, has changed since they were written."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums"
_UNKNOWN = "0" * 64


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(name: str, content: Mapping[str, Any], files: Mapping[str, str] | None = None) -> str:
    """The text of a JSON file of this name, with the checksums of other `files` and, last, its own: of its text with 0s there.

    A number that is undefined (the t of two constants, say) is null there.
    """
    unsealed = {key: value for key, value in content.items() if key != CHECKSUMS}
    node = {**unsealed, CHECKSUMS: {**(files or {}), name: _UNKNOWN}}
    text = json.dumps(_finite(node), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    own = hashlib.sha256(text.encode()).hexdigest()
    before, _, after = text.rpartition(_UNKNOWN)
    return before + own + after


def unsealed(name: str, content: bytes) -> dict[str, Any]:
    """What a sealed file says. Raises ValueError if it is no longer what was written; one without a seal is known by its keys."""
    own = re.compile(rb'(?<=\n    "' + re.escape(name.encode()) + rb'": ")[0-9a-f]{64}(?="\n  \}\n\}\n\Z)').search(content)
    if own:
        blank = content[: own.start()] + _UNKNOWN.encode() + content[own.end() :]
        if hashlib.sha256(blank).hexdigest() != own[0].decode():
            raise ValueError("its bytes are not those that were written")
    document = json.loads(content.decode())
    if not isinstance(document, dict) or (not own and CHECKSUMS in document):
        raise ValueError("its bytes are not those that were written")
    return document


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
