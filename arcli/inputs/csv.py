"""Rows of a CSV file, with the types that its cells show."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, TypeAlias

from pydantic import Field

from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.inputs.files import missing, opened

LOOK = 1000
"""Rows from which the types of a table's columns are read off."""
_INT = re.compile(r"\s*[+-]?(0|[1-9][0-9]*)\s*", re.ASCII)
_FLOAT = re.compile(r"\s*[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
_Numbered: TypeAlias = Iterator[tuple[int, list[str]]]
_BOOLEANS = {"true": True, "false": False}

csv.field_size_limit(sys.maxsize)  # a cell may be as long as an item


def _float(text: str) -> float:
    """Return a number, and not infinity in place of one that is too large."""
    number = float(text)
    if math.isinf(number) and not _NOT_FINITE.fullmatch(text):
        raise ValueError("too large")
    return number


_CONVERT: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": _float,
    "json": json.loads,
    "bool": lambda text: _BOOLEANS[text.strip().lower()],
}
_WRONG = (ValueError, KeyError, RecursionError)


class Csv(Input):
    """Rows of a CSV file, as maps with the names in its first line; ``where`` picks rows."""

    key: ClassVar[str] = "csv"
    short: ClassVar[str] = "path"
    path: str
    where: str | dict[str, Any] | None = None
    header: Annotated[list[str], Field(min_length=1)] | None = None
    types: dict[str, Literal["str", "int", "float", "bool", "json"]] = {}
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        yield from missing(self.path, folder)

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path

        def rows() -> Iterator[Any]:
            with opened(path) as raw:
                yield from read_csv(self, raw, str(path))

        return Stream(rows, unpack="kwargs", names=csv_names(self, path))


def csv_names(source: Csv, path: Path) -> tuple[str, ...] | None:
    """Return the columns of a CSV file; None for a pipe, which can be read only once.

    Raises InputError for a header that is none, and for ``types`` and ``where`` that do not fit it.
    """
    if not path.is_file():
        names = source.header
        _check(source, names)
        return None if names is None else tuple(names)
    with opened(path) as raw, _text(raw) as text:
        rows = csv.reader(text, delimiter=source.delimiter, strict=True)
        try:
            return tuple(_header(source, rows, str(path)))
        except csv.Error as error:
            raise InputError(f"{path}:{rows.line_num}: {error}") from None


def read_csv(source: Csv, raw: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield rows as mappings. Columns have the types that are given, or that the first rows show.

    Raises InputError for a missing header, a row of another length, a cell of another type.
    """
    text = _text(raw)
    rows = csv.reader(text, delimiter=source.delimiter, strict=True)
    try:
        header = _header(source, rows, name)
        numbered: _Numbered = ((rows.line_num, row) for row in rows if row)
        types: Mapping[str, str] = source.types
        if not set(header) <= set(types):
            first, numbered = _look(numbered)
            types = {**_types(header, first), **types}
        condition = where.condition(_as_cells(source.where, types, name))
        for number, row in numbered:
            place = f"{name}:{number}"
            item = _row(row, header, types, place)
            if condition(item, place):
                yield item
    except csv.Error as error:
        raise InputError(f"{name}:{rows.line_num}: {error}") from None
    finally:
        text.detach()


def _text(raw: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="")


def _look(numbered: _Numbered) -> tuple[list[list[str]], _Numbered]:
    """Return the first rows, as far as they are good, and all rows, up to what is wrong with them."""
    first: list[tuple[int, list[str]]] = []
    wrong: list[csv.Error] = []
    try:
        first.extend(islice(numbered, LOOK))
    except csv.Error as error:
        wrong.append(error)

    def rest() -> _Numbered:
        for error in wrong:
            raise error
        yield from numbered

    return [row for _, row in first], chain(first, rest())


def _header(source: Csv, rows: Iterator[list[str]], name: str) -> list[str]:
    """Return the names of the columns: those that are given, or the first line."""
    header = source.header
    if header is None:
        header = next(rows, [])
    if not header:
        raise InputError(
            f"{name}:1: there is no header; csv: needs names in the first line",
            hint="header: [a, b] names the columns of a file without",
        )
    twice = sorted(column for column in header if header.count(column) > 1)
    if twice:
        raise InputError(f"{name}:1: the column {twice[0]!r} is there twice")
    _check(source, header)
    return header


def _check(source: Csv, header: Sequence[str] | None) -> None:
    if header is not None:
        where.require(source.types, header, "types")
    where.check(source.where, header)


def _types(header: list[str], rows: list[list[str]]) -> dict[str, str]:
    """Return the narrowest type that all of the first rows' cells have, empty ones aside."""
    guessed = {}
    for place, name in enumerate(header):
        cells = [row[place] for row in rows if place < len(row) and row[place] != ""]
        guessed[name] = next((kind for kind, fits in _KINDS.items() if cells and fits(cells)), "str")
    return guessed


def _ints(cells: list[str]) -> bool:
    return all(_INT.fullmatch(cell) for cell in cells) and _reads(cells, "int")


def _floats(cells: list[str]) -> bool:
    """Numbers as they are written: not ``1_000``, and not ``007``, which is a code.

    NaN and infinity are, among others.
    """
    numbers = [cell for cell in cells if not _NOT_FINITE.fullmatch(cell)]
    plain = all(_FLOAT.fullmatch(cell) for cell in numbers)
    return bool(numbers) and plain and _reads(numbers, "float")


def _booleans(cells: list[str]) -> bool:
    return _reads(cells, "bool")


_KINDS = {"int": _ints, "float": _floats, "bool": _booleans}


def _reads(cells: list[str], kind: str) -> bool:
    try:
        for cell in cells:
            _CONVERT[kind](cell)
    except _WRONG:
        return False
    return True


def _row(row: list[str], header: list[str], types: Mapping[str, str], place: str) -> dict[str, Any]:
    if len(row) != len(header):
        raise InputError(f"{place}: {len(row)} cells, but {len(header)} columns")
    item: dict[str, Any] = {}
    for name, cell in zip(header, row, strict=True):
        kind = types[name]
        try:
            item[name] = None if cell == "" and kind != "str" else _CONVERT[kind](cell)
        except _WRONG:
            raise InputError(
                f"{place}: {cell!r} in the column {name!r} is not {kind}",
                hint=f"say what the column holds, such as types: {{{name}: str}}",
            ) from None
    return item


def _as_cells(wanted: where.Where, types: Mapping[str, str], name: str) -> where.Where:
    """Return what is asked for as the cells of its columns would be read; null is an empty cell."""
    if not isinstance(wanted, Mapping):
        return wanted

    def cell(column: str, value: Any) -> Any:
        kind = types[column]
        if value is None:
            return "" if kind == "str" else None
        if kind == "json":
            return value
        try:
            return _CONVERT[kind](str(value).lower() if isinstance(value, bool) else str(value))
        except _WRONG:
            raise InputError(
                f"{name}: where: {value!r} is not {kind}, as the column {column!r} is"
            ) from None

    return {
        column: [cell(column, part) for part in (value if isinstance(value, list) else [value])]
        for column, value in wanted.items()
    }
