"""Vectors in the columns of a table, a row per item and a column per layer: a Parquet file, or what `save_to_disk` leaves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import torch

from layeratlas.layers import is_layer

COUNTS = ("tokens", "nll", "nll_tokens")


class Columns:
    """The columns of such a table that hold lists of numbers with a fraction, all of one length, and those of single numbers.

    Texts, ids and lists of whole numbers are none of its arrays.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        self.tables = [_opened(file) for file in self.files]
        if len({tuple(table.column_names) for table in self.tables}) > 1:
            raise ValueError(f"{self.files[0].name} and another of its files have different columns")
        self.rows = sum(table.num_rows for table in self.tables)
        schema = self.tables[0].schema
        lists = [field for field in schema if _is_list(field.type) and pa.types.is_floating(field.type.value_type)]
        single = [field for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]
        self._require_numbers(schema, lists, single)
        self.types = {field.name: field.type.value_type for field in lists} | {field.name: field.type for field in single}
        self.shapes: dict[str, tuple[int, ...]] = {field.name: (self.rows, self._width(field.name)) for field in lists}
        self.shapes |= {field.name: (self.rows,) for field in single}

    def itemsize(self, name: str) -> int:
        return max(1, self.types[name].bit_width // 8)

    def read(self, name: str) -> torch.Tensor:
        parts = []
        for column in self._chunks(name):
            values = column.flatten() if _is_list(column.type) else column
            if column.null_count or values.null_count:
                raise ValueError(f"{name} has empty cells")
            parts.append(torch.from_numpy(values.to_numpy(zero_copy_only=False).copy()))
        return torch.cat(parts).reshape(self.shapes[name])

    @staticmethod
    def _require_numbers(schema: pa.Schema, lists: Sequence[pa.Field], single: Sequence[pa.Field]) -> None:
        """Raises ValueError where the column of a layer or of a count is none of the arrays, and would be passed over."""
        for field in schema:
            if is_layer(field.name) and field not in lists:
                raise ValueError(f"{field.name} holds {field.type}; expected lists of numbers with a fraction")
            if field.name in COUNTS and field not in single:
                raise ValueError(f"{field.name} holds {field.type}; expected numbers")

    def _width(self, name: str) -> int:
        match sorted({str(width) for column in self._chunks(name) for width in _lengths(column)}):
            case [width] if width.isdigit():
                return int(width)
            case widths:
                raise ValueError(f"{name} has vectors of {' and '.join(widths[:3]) or 'no'} numbers")

    def _chunks(self, name: str) -> Iterator[pa.Array]:
        for table in self.tables:
            yield from table.column(name).chunks


def table_files(path: Path) -> list[Path]:
    """The files of a table in their order; none where this is no table."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    saved = sorted(path.glob("data-*.arrow")) or sorted(path.glob("*.arrow"))
    return saved or sorted(path.glob("*.parquet"))


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _lengths(column: Any) -> list[int | None]:
    """Those that occur in a column of lists."""
    kind = column.type
    return [kind.list_size] if pa.types.is_fixed_size_list(kind) else column.value_lengths().unique().to_pylist()


def _opened(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file, memory_map=True)
    return pyarrow.ipc.open_stream(pa.memory_map(str(file))).read_all()
