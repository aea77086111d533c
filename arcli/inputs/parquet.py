"""Rows of a Parquet file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Source, SourceContext, Stream, repeated
from arcli.inputs.cells import BadCell
from arcli.inputs.files import FileOfRows
from arcli.paths import is_file
from arcli.suggest import how_to_add

UNHELD = (ValueError, OverflowError)
"""What pyarrow raises for values that Python's types cannot hold."""


class Parquet(FileOfRows):
    """Rows of a Parquet file, as maps; ``where`` picks rows."""

    key: ClassVar[str] = "parquet"

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        yield from super().check(folder)
        if importlib.util.find_spec("pyarrow") is None:
            yield InputError("parquet needs pyarrow", hint=how_to_add("pyarrow"))

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path
        names, rows = parquet_shape(self, path)
        length = rows if self.where is None else None
        return Stream(lambda: read_parquet(self, path), length, unpack="kwargs", names=names)


def parquet_shape(source: Parquet, path: Path) -> tuple[tuple[str, ...] | None, int | None]:
    """Return a Parquet file's columns and the number of its rows, None where it is not there yet.

    Raises InputError for a file that is none, and for a ``where`` that does not fit it.
    """
    if not is_file(path):
        where.check(source.where, None)
        return None, None
    with _parquet(path) as table:
        names = tuple(table.schema_arrow.names)
        # A row has one value of a name: the other one would be lost.
        twice = repeated(names)
        if twice:
            raise InputError(f"{path}: the column {twice[0]!r} is there twice")
        where.check(source.where, names)
        return names, table.metadata.num_rows


def read_parquet(source: Parquet, path: Path) -> Iterator[dict[str, Any]]:
    """Yield rows as mappings, a batch at a time."""
    condition = where.condition(source.where)
    number = 0
    with _parquet(path) as table:
        for batch in table.iter_batches():
            for row in _rows(batch, path, number):
                number += 1
                if condition(row, f"{path}: row {number}"):
                    yield row


def _rows(batch: Any, path: Path, before: int) -> list[dict[str, Any]]:
    """Return the rows of a batch, which so many stand before in the file."""
    columns = {
        name: _cells(column, name, f"{path}: row", before + 1)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return [{name: cells[row] for name, cells in columns.items()} for row in range(batch.num_rows)]


def _cells(column: Any, name: str, place: str, first: int) -> list[Any]:
    """Return a column's values; a BadCell for each that Python cannot hold."""
    try:
        values: list[Any] = _exact(column).to_pylist()
        return values
    except UNHELD:
        return [_cell(cell, name, f"{place} {number}") for number, cell in enumerate(column, first)]


def _cell(cell: Any, name: str, place: str) -> Any:
    try:
        return _exact(cell).as_py()
    except UNHELD as error:
        shown = f"{cell.type} that Python cannot hold"
        return BadCell(shown, f"{place}: {shown}: {error} (column {name!r})")


def _exact(cells: Any) -> Any:
    """Return cells whose values are all of the file's; raises where some would be cut to microseconds."""
    return cells.cast("time64[us]") if str(cells.type) == "time64[ns]" else cells


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("parquet: needs the package pyarrow", hint=how_to_add("pyarrow")) from None
    try:
        with pq.ParquetFile(path) as table:
            yield table
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None
