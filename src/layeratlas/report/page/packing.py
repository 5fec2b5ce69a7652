"""What a page's scripts read, as one text: JSON that says where its arrays lie, and the arrays' bytes, compressed.

Layout, before gzip and base64: the length of the JSON (uint32, little-endian), the JSON in UTF-8, zeros up to a multiple of 8,
then the arrays, each beginning at a multiple of 8. In the JSON an array is `{"$array": [type, offset, length]}`.
"""

import base64
import gzip
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.files.inert import inert

_KINDS = {"f8": "Float64", "f4": "Float32", "i4": "Int32", "u4": "Uint32", "u2": "Uint16", "u1": "Uint8"}
_ALIGNED = 8
_EXACT = 2**53  # integers up to here are floats


def packed(content: Mapping[str, Any]) -> str:
    """Nested dicts and lists of texts, numbers and one-dimensional arrays; NaN outside of an array becomes null."""
    arrays: list[bytes] = []
    plain = json.dumps(_plain(content, arrays), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    head = struct.pack("<I", len(plain)) + plain
    return base64.b64encode(gzip.compress(_padded(head) + b"".join(arrays), 6, mtime=0)).decode("ascii")


def _plain(value: Any, arrays: list[bytes]) -> Any:
    if isinstance(value, np.ndarray):
        kind = value.dtype.str[1:]
        if kind not in _KINDS or value.ndim != 1:
            raise TypeError(f"a page holds no array of {value.dtype} and shape {value.shape}")
        offset = sum(map(len, arrays))
        arrays.append(_padded(value.astype(f"<{kind}").tobytes()))
        return {"$array": [_KINDS[kind], offset, len(value)]}
    if isinstance(value, Mapping):
        return {key: _plain(inner, arrays) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, arrays) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGNED)


def table(name: str, content: pd.DataFrame, most: int) -> dict[str, Any]:
    """A table column by column, its first `most` rows; how many there are stands beside them. Texts are made inert."""
    shown = content.head(most)
    columns = [{"name": inert(str(column)), **_column(shown[column])} for column in shown.columns]
    return {"name": name, "rows": len(shown), "of": len(content), "columns": columns}


def _column(values: pd.Series) -> dict[str, Any]:
    if pd.api.types.is_bool_dtype(values) and not values.isna().any():
        return {"kind": "truth", "values": values.to_numpy(dtype="u1")}
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype="f8", na_value=np.nan)
        whole = pd.api.types.is_integer_dtype(values) and not (np.abs(numbers) > _EXACT).any()
        return {"kind": "whole" if whole else "number", "values": numbers}
    return {"kind": "text", "values": [None if _missing(value) else inert(_text(value)) for value in values]}


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return value if isinstance(value, str) else str(value)
