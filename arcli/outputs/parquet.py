"""Parquet, for data frames; needs the ``parquet`` extra."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from arcli.errors import UsageError
from arcli.installation import how_to_add
from arcli.outputs.base import OutputContext
from arcli.outputs.flat import Columns
from arcli.outputs.spool import Spool, spool_folder
from arcli.outputs.target import Target, writing
from arcli.record import RecordBatch, decode, dump
from arcli.timing.summary import RunSummary

GROUP_ROWS = 10_000
GROUP_BYTES = 16 << 20
_INT64 = range(-(2**63), 2**63)


class ParquetFile:
    """The rows of CSV with types: a column is bool, int64, double or string.

    A column whose values are of several kinds holds doubles where all are numbers, else text.
    """

    def __init__(self, context: OutputContext) -> None:
        self._target = context.target
        self._name = context.name
        self._spool = Spool(context.name)
        self._columns = Columns()
        self._kinds: dict[str, set[str]] = {}

    def start(self) -> None:
        """See Output. Raises UsageError where pyarrow is not installed."""
        _pyarrow(self._name)
        self._target.open()
        self._spool.open(spool_folder(self._target))

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        for line in batch.lines.splitlines():
            record = decode(line)
            self._columns.learn(record)
            for name, value in self._columns.row(record).items():
                if value is not None:
                    self._kinds.setdefault(name, set()).add(_kind(value))
        self._spool.add(batch)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        pa, pq = _pyarrow(self._name)
        types = {name: _common(self._kinds.get(name, set())) for name in self._columns.names}
        schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in types.items()])
        with writing(self._name):
            with pq.ParquetWriter(_Writable(self._target), schema) as writer:
                for rows in self._groups(types):
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            self._target.commit()
        self._spool.close()

    def abort(self) -> None:
        """See Output."""
        self._spool.close()
        self._target.discard()

    def _groups(self, types: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Yield rows in groups that memory can hold."""
        rows: list[dict[str, Any]] = []
        size = 0
        for line in self._spool.lines():
            row = self._columns.row(decode(line))
            rows.append({name: _as(kind, row.get(name)) for name, kind in types.items()})
            size += len(line)
            if len(rows) == GROUP_ROWS or size >= GROUP_BYTES:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows


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
    except ImportError:
        raise UsageError(
            f"{name}: Parquet needs pyarrow, which is not installed",
            hint=f"{how_to_add('pyarrow')}, or write .csv or .jsonl",
        ) from None
    return pa, pq


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool_"
    if isinstance(value, int):
        return "int64" if value in _INT64 else "string"
    return "float64" if isinstance(value, float) else "string"


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float64" if kinds == {"int64", "float64"} else "string"


def _as(kind: str, value: Any) -> Any:
    if value is None or kind in {"bool_", "int64"}:
        return value
    if kind == "float64":
        return float(value)
    text = value if isinstance(value, str) else dump(value).decode()
    return text.encode("utf-8", "backslashreplace").decode()
