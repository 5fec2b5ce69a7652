"""What the store holds, for people: listed, verified, removed."""

import time
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError, safe_open

from layeratlas.errors import ConfigError
from layeratlas.extraction.shards import record_of
from layeratlas.files.atomic import discard, in_use
from layeratlas.files.store import SIGNATURES, Store, intact
from layeratlas.layers import EMBED


def catalogue(store: Store) -> pd.DataFrame:
    """A row per model and content (a pooling's vectors, token tables, ..): `entry` is the name by which to remove it."""
    rows = [_row(store, path) for path in store.objects()]
    columns = ["entry", "model", "content", "texts", "items", "bytes", "days"]
    table = pd.DataFrame(rows, columns=columns)
    totals = {"texts": "max", "items": "sum", "bytes": "sum", "days": "min"}
    return table.groupby(["entry", "content", "model"], as_index=False).agg(totals)[columns]


def damaged(store: Store) -> list[Path]:
    """Objects whose bytes do not match their checksum; they are made again when they are next needed."""
    return [path for path in store.objects() if not _as_written(path)]


def _as_written(path: Path) -> bool:
    try:
        return intact(path)
    except FileNotFoundError:  # removed in the meantime
        return True
    except OSError:  # what cannot be read is as good as damaged
        return False


def remove(store: Store, entry: str) -> list[Path]:
    """Remove every object of the entries that begin with `entry` (or `unfinished`: what killed processes left)."""
    if entry == "unfinished":
        paths = [path for path in store.leftovers() if not in_use(path)]
    else:
        named = {path: path.relative_to(store.root) for path in store.objects()}
        paths = [path for path, name in named.items() if name.as_posix().startswith(entry) or name.parts[1].startswith(entry)]
    if not entry or not paths:
        known = sorted({_entry(store, path) for path in store.objects()})
        raise ConfigError(f"store.entry: nothing is called {entry!r}; entries are {', '.join(known) or 'none'}, or unfinished")
    for path in paths:
        discard(path)
    return paths


def _entry(store: Store, path: Path) -> str:
    """`activations/ID/CONTENT/KEY-..` belongs to the entry activations/ID, `models/KEY-..` to models/KEY, shortened, and all
    signatures, which are many and small, to one entry.
    """
    parts = path.relative_to(store.root).parts
    if parts[0] == SIGNATURES:
        return SIGNATURES
    return f"{parts[0]}/{parts[1][:12]}"


def _row(store: Store, path: Path) -> tuple[str, str, str, str, int, int, float]:
    days = round((time.time() - path.stat().st_mtime) / 86_400, 2)
    content = path.parent.name
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as shard:
                if content == SIGNATURES:  # of a metric and a layer: nothing in them is for people
                    return _entry(store, path), "", content, "", 0, path.stat().st_size, days
                items = shard.get_slice(EMBED).get_shape()[0]
            record = record_of(path)
            facts = record["model"], content, record["texts"]
        except (SafetensorError, ValueError, KeyError, TypeError):
            return _entry(store, path), "damaged", content, "", 0, path.stat().st_size, days
        return _entry(store, path), *facts, items, path.stat().st_size, days
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    return _entry(store, path), "", content, "", 0, size, days
