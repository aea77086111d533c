"""Parquet, for data frames; needs the ``parquet`` extra."""

from __future__ import annotations

import importlib.util
import io
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, groupby
from math import isfinite
from typing import TYPE_CHECKING, Any

from arcli.errors import OutputError, UsageError
from arcli.outputs.base import OutputContext, TargetOutput
from arcli.outputs.columns import Block, Columns
from arcli.outputs.spool import Spool
from arcli.outputs.target import Target, writing
from arcli.record import RecordBatch, dump
from arcli.suggest import how_to_add
from arcli.timing.summary import RunSummary

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 20_000
GROUP_BYTES = 16 << 20
"""Of records, at most, that wait in memory for their row group."""
TIMES = ("submitted", "started", "completed", "received")
_FIXED = {
    **dict.fromkeys(("index", "attempt", "engine_id", "slot", "chunk"), "int64"),
    **dict.fromkeys(("truncated", "exact"), "bool"),
    **dict.fromkeys(("status", "reason", "error.type", "error.message"), "string"),
    **dict.fromkeys(("job", "stdout", "stderr", "msg_id", "key", "run"), "string"),
    **dict.fromkeys(TIMES, "time"),
    "seconds": "double",
}
_UNIQUE = {"index", "key", "started", "completed", "seconds"}
"""Columns whose cells are all others, for which a dictionary is only work."""
_VARYING = object()
_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)
"""Integers that a double can hold, each of them."""


class ParquetFile(TargetOutput):
    """The columns of CSV with types: bool, int64, double, string, and time stamps for times.

    A column whose values are of several kinds holds doubles where all are numbers, else text. Row
    groups are written as the records come, into a part; where a column turns up late, or a type has
    to be widened, another part begins, and at the end all parts become one file.
    """

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._columns = Columns()
        self._group: list[Block] = []
        self._rows = self._bytes = 0
        self._kinds: dict[str, str] = {}
        self._parts: list[Spool] = []
        self._writer: Any = None

    def start(self) -> None:
        """See Output. Raises UsageError where pyarrow is not installed."""
        # It is imported with the first rows: that takes as long as half of a cold start does, and is done
        # by another process where there are many of them.
        if importlib.util.find_spec("pyarrow") is None:
            raise UsageError(
                f"{self._name}: Parquet needs pyarrow, which is not installed",
                hint=f"{how_to_add('parquet')}, or write .csv or .jsonl",
            )
        super().start()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        self._bytes += len(batch.lines)
        for block in self._columns.add(batch):
            self._take(block)
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write_group()

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        _, pq = _pyarrow(self._name)
        with writing(self._name):
            for block in self._columns.rest():
                self._take(block)
            self._write_group()
            self._end_part()
            # Without a late column the one part is the file.
            if len(self._parts) == 1:
                for piece in self._parts[0].blocks():
                    self._target.write(piece)
            # Columns came later than the first part: all of it is read again, block
            # by block, with the last schema.
            else:
                schema = self._schema()
                with pq.ParquetWriter(_Writable(self._target), schema) as writer:
                    for table in self._tables(schema):
                        writer.write_table(table)
            self._target.commit()
        self._close_parts()

    def abort(self) -> None:
        """See Output."""
        self._end_part()
        self._close_parts()
        super().abort()

    def _take(self, block: Block) -> None:
        """Append a block to the row group that is being gathered."""
        self._group.append(block)
        self._rows += block.rows

    def _write_group(self) -> None:
        """Write what was gathered as a row group, in a new part where it does not fit into the last one."""
        if not self._rows:
            return
        pa, pq = _pyarrow(self._name)
        group = self._group
        self._group, self._rows, self._bytes = [], 0, 0
        before = self._writer.schema if self._writer is not None else None
        # A column's type is what all its values so far fit into.
        for block in group:
            cells = {name: [cell] for name, cell in block.same.items()}
            for name in (block.columns.keys() | cells.keys()) - _FIXED.keys():
                kind = _kind(block.columns.get(name) or cells[name])
                if kind is not None:
                    self._kinds[name] = _wider(self._kinds.get(name, kind), kind)
        schema = self._schema()
        arrays = [pa.chunked_array(_cells(group, field.name, field.type)) for field in schema]
        with writing(self._name):
            # Parquet files have one schema: a new column begins a new part.
            if before != schema:
                self._end_part()
                part = Spool(self._name)
                part.open(self._target)
                self._parts.append(part)
                repeated = [name for name in schema.names if name not in _UNIQUE]
                self._writer = pq.ParquetWriter(part.file, schema, use_dictionary=repeated)
            self._writer.write_table(pa.table(arrays, schema=schema))

    def _schema(self) -> pa.Schema:
        """The columns and types that are known so far."""
        pa, _ = _pyarrow(self._name)
        types = {
            "int53": pa.int64(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(),
            "string": pa.string(), "time": pa.timestamp("us", tz="UTC"),
        }  # fmt: skip
        kinds = {**self._kinds, **_FIXED}
        return pa.schema([(name, types[kinds.get(name, "string")]) for name in self._columns.names])

    def _end_part(self) -> None:
        if self._writer is not None:
            with writing(self._name):
                self._writer.close()
            self._parts[-1].size = self._parts[-1].file.tell()
            self._writer = None

    def _tables(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """The row groups of all parts, with the columns and types that turned up later, too."""
        pa, pq = _pyarrow(self._name)
        # A row group at a time, since a part may be larger than memory.
        for part in self._parts:
            with pq.ParquetFile(part.file) as file:
                for number in range(file.num_row_groups):
                    table = file.read_row_group(number)
                    columns = [
                        _cast(table[field.name], field.type)
                        if field.name in table.column_names
                        else pa.nulls(table.num_rows, field.type)
                        for field in schema
                    ]
                    yield pa.table(columns, schema=schema)

    def _close_parts(self) -> None:
        for part in self._parts:
            part.close()


class _Writable(io.RawIOBase):
    """A target as the file object that pyarrow asks for."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        plain = bytes(data)
        self._target.write(plain)
        self._position += len(plain)
        return len(plain)


def _pyarrow(name: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        message = f"cannot write {name}: pyarrow cannot be imported: {error}"
        raise OutputError(message, hint="once it can, `arcli show -o` writes the file") from None
    return pa, pq


def _kind(column: Sequence[Any]) -> str | None:
    """What a column's values are, None where there is none."""
    types = set(map(type, column))
    kinds = types - {type(None)}
    if not kinds:
        return None
    if kinds == {bool}:
        return "bool"
    if kinds <= {int, float}:
        # A column has a type where nothing is lost by it: a large integer beside fractions stays text.
        integers = column if types == {int} else [value for value in column if type(value) is int] or [0]
        ends = (min(integers), max(integers))
        if all(end in _EXACT for end in ends):
            return "double" if float in kinds else "int53"
        return "int64" if float not in kinds and all(end in _INT64 for end in ends) else "string"
    return "string"


def _wider(one: str, other: str) -> str:
    """The type that holds the values of both."""
    if one == other:
        return one
    if {one, other} == {"int53", "int64"}:
        return "int64"
    return "double" if {one, other} == {"int53", "double"} else "string"


def _cells(group: Sequence[Block], name: str, kind: pa.DataType) -> Iterator[pa.Array]:
    """Yield one column of consecutive blocks as Arrow has it."""
    import pyarrow as pa

    # A cell that is the same in all records of a block often is in the next one, too. A column that comes
    # late is empty before, and one that a block lacks is empty there.
    def cell_of(block: Block) -> Any:
        return _VARYING if name in block.columns else (type(cell := block.same.get(name)), cell)

    for same, blocks in groupby(group, cell_of):
        if same is _VARYING:
            yield from (_array(block.columns[name], kind) for block in blocks)
            continue
        rows = sum(block.rows for block in blocks)
        _, cell = same
        yield pa.nulls(rows, kind) if cell is None else pa.repeat(_array([cell], kind)[0], rows)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Cells as Arrow has them."""
    import pyarrow as pa

    # Mostly a column is of one kind, and no cell is missing.
    with suppress(TypeError, UnicodeEncodeError):
        return _packed(column, kind)
    # Times arrive as ISO text.
    if pa.types.is_timestamp(kind):
        return pa.array(column, pa.string()).cast(kind)
    # What is not text, in a column of mixed values, becomes JSON.
    if pa.types.is_string(kind):
        try:
            return pa.array(column, kind)
        except (TypeError, UnicodeEncodeError):  # values that are no text, lone surrogates
            return pa.array(list(map(_text, column)), kind)
    if pa.types.is_floating(kind) and int in set(map(type, column)):
        return pa.array([None if value is None else float(value) for value in column], kind)
    return pa.array(column, kind)


def _packed(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Cells of one kind as Arrow has them. Raises TypeError, UnicodeEncodeError.

    ``pa.array`` looks whether it is given what is pandas', and imports that first, where it is installed:
    that takes longer than all columns of a hundred thousand rows do (``_is_array_like``,
    https://github.com/apache/arrow/blob/main/python/pyarrow/array.pxi).
    """
    import pyarrow as pa

    rows, data = len(column), []
    if pa.types.is_timestamp(kind):
        return _packed(column, pa.string()).cast(kind)
    if pa.types.is_string(kind):
        texts = [text.encode() for text in column] if not (joined := "".join(column)).isascii() else column
        data = [array("i", accumulate(map(len, texts), initial=0)), joined.encode()]
    elif pa.types.is_boolean(kind) and rows == 1 and column[0] is not None:
        data = [bytes(column)]
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        data = [array("q" if pa.types.is_integer(kind) else "d", column)]
    else:
        raise TypeError(kind)
    return pa.Array.from_buffers(kind, rows, [None, *map(pa.py_buffer, data)])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as another type; floats that become text are spelt as they are beside text, too."""
    import pyarrow as pa

    if pa.types.is_floating(column.type) and pa.types.is_string(kind):
        return pa.chunked_array([pa.array(list(map(_text, column.to_pylist())), kind)])
    return column.cast(kind, safe=False)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    # JSON has no NaN, which would be null.
    odd = isinstance(value, float) and not isfinite(value)
    text = str(value) if odd or isinstance(value, str) else dump(value).decode()
    return text.encode("utf-8", "backslashreplace").decode()
