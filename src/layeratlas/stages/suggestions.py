"""What somebody probably meant by a key, or by a file of a group, that does not exist."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from layeratlas.options import meant

_TEXTS = (".jsonl", ".json", ".csv", ".parquet", ".txt")
_VECTORS = (".safetensors", ".npz")
_SHORT = 3  # fewer letters begin too many names


def for_key(typed: str, known: Sequence[str]) -> str:
    """The keys that `typed` resembles, as `; did you mean ..?`; nothing if none does.

    What was typed without a dot is first compared with groups and other keys without one. Of a group that both sides have, each
    side's is named; of the last part of a longer key (`n`), the whole key.
    """
    name, at, below = typed.partition("@")
    if at and "." in below:  # model@model_a.id
        return _these([below]) if below in known else meant(below, known)
    if "." in typed:
        return meant(typed, known)
    if whole := [key for key in known if key.endswith(f".{typed}")]:
        return _these(whole) if len(whole) <= 2 else ""
    groups = list(dict.fromkeys(key.partition("@")[0] for key in known if "." not in key))
    beginning = [group for group in groups if len(name) >= _SHORT and group.startswith(name)]
    close = [name] if name in groups else difflib.get_close_matches(name, groups, n=1) or beginning[:1]
    return _these([key for key in known if key.partition("@")[0] in close]) if close else meant(typed, known)


def for_file(key: str, group: str, typed: str, known: Sequence[str], folder: Path) -> str:
    """What was meant by a name that no file of the group (in `folder`) has, or where what was typed belongs instead."""
    suffix, place = Path(typed).suffix.lower(), key.rpartition("@")[2] if "@" in key else key
    if group in ("model", "language") and (same := _of_that_name(folder, typed)):
        return f"; did you mean {same!r}?"
    if group == "model" and suffix in _VECTORS:
        return f"; vectors of a file are given as {key}=stored {place}.path={typed}"
    if group == "model" and ("/" in typed or Path(typed).is_dir()):
        return f"; a model of a folder or a hub is given as {key}=gpt2 {place}.id={typed}"
    if group == "dataset" and suffix in _TEXTS:
        return f"; texts of a file are given as {key}=local {place}.path={typed}"
    if group == "language" and not meant(typed, known):
        return (
            f"; a language of your own is a file {group}/{typed}.yaml in a folder given with --config-dir (conf/dataset/README.md)"
        )
    return meant(typed, known)


def _of_that_name(folder: Path, typed: str) -> str | None:
    """The file whose `id` (of a model) or `name` (of a language) is what was typed."""
    line = re.compile(rf"^(?:id|name): *['\"]?{re.escape(typed)}['\"]?\s*(?:#.*)?$", re.MULTILINE | re.IGNORECASE)
    return next((file.stem for file in sorted(folder.glob("*.yaml")) if line.search(file.read_text(encoding="utf-8"))), None)


def _these(keys: Sequence[str]) -> str:
    names = sorted(set(keys))
    return f"; did you mean {' or '.join(names) if len(names) > 1 else repr(names[0])}?"
