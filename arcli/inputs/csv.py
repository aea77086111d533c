"""Rows of a CSV file: cells are the text that is written, and numbers only where nothing is lost."""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field

from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Source, SourceContext, Stream, integral, repeated
from arcli.inputs.cells import WRONG, BadCell, Kind, WrittenRow, kind_of_column
from arcli.inputs.files import UNREADABLE, FileOfRows, opened, unreadable
from arcli.paths import is_file
from arcli.record import in_python

LOOK = 1000
"""Rows from which the types of a table's columns are read off."""
BLOCK = 256
"""Rows that are made into items together."""
SHOWN = 40
"""Characters of a cell that an error shows."""
STDIN = "-"
"""The path of a table that comes on standard input."""
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_Numbered: TypeAlias = Iterator[tuple[int, list[str]]]
_Rows: TypeAlias = Callable[[Sequence[tuple[int, list[str]]]], list[dict[str, Any]] | None]

csv.field_size_limit(sys.maxsize)  # a cell may be as long as an item


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Let bytes that are no text pass as lone surrogates: they are found again in their cell."""
    # As Python's own surrogateescape, but for encodings, too, whose bytes may be below 128.
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("arcli.escaped", _escaped)


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"there is no encoding {encoding!r}; utf-8, latin-1, cp1252 are some") from None
    return encoding


def _delimits(delimiter: str) -> str:
    if delimiter in '\r\n"\0':
        raise ValueError(f"{delimiter!r} has a meaning of its own in a table")
    return delimiter


class Csv(FileOfRows):
    """Rows of a CSV file, as maps with the names in its first line; ``where`` picks rows."""

    key: ClassVar[str] = "csv"
    header: Annotated[list[str], Field(min_length=1)] | None = None
    """The names of the columns, for a file that has none."""
    types: dict[str, Literal["str", "int", "float", "bool", "json"]] = {}
    """The types of columns; the others are read off the first rows."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_delimits)] = ","
    """What stands between two cells."""
    encoding: Annotated[str, AfterValidator(_known)] = "utf-8"
    """The encoding of the file."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of a number."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path

        def rows() -> Iterator[Any]:
            with opened(path) as raw:
                words, at_once = {"texts": context.texts, "compared": context.compared}, is_file(path)
                yield from read_csv(self, raw, str(path), **words, at_once=at_once)

        return Stream(rows, unpack="kwargs", names=_names(self, path))


def _names(settings: Csv, path: Path) -> tuple[str, ...] | None:
    """Return the columns of a file; None for a pipe, which can be read only once.

    Raises InputError for a header that is none, and for ``types`` and ``where`` that do not fit it.
    """
    if not is_file(path):
        _check(settings, settings.header)
        return None if settings.header is None else tuple(settings.header)
    with opened(path) as raw:
        rows = csv.reader(_text(settings, raw), delimiter=settings.delimiter, strict=True)
        try:
            return tuple(_header(settings, rows, str(path)))
        except (csv.Error, UnicodeError, *UNREADABLE) as error:
            raise _unreadable(settings, error, f"{path}:{rows.line_num}") from None


def read_csv(
    settings: Csv, raw: BinaryIO, name: str, *, texts: bool, compared: bool = False, at_once: bool
) -> Iterator[dict[str, Any]]:
    """Yield rows as mappings.

    Columns have the types that are given, or that the first rows show; with ``texts`` every cell is
    the text that is written, with ``compared``, too, a row is a WrittenRow. ``at_once``: nobody has to
    wait for more of the stream. Raises InputError, which begins with ``name`` and a line, for a missing
    header, a row of another length, a cell of another type; a cell in another encoding is a BadCell.
    """
    text = _text(settings, raw)
    rows = csv.reader(text, delimiter=settings.delimiter, strict=True)
    # All rows pass through here, so that whatever is wrong in one is told with its line.
    try:
        header = _header(settings, rows, name)
        numbered: _Numbered = ((rows.line_num, row) for row in rows if row)
        kinds = dict.fromkeys(header, Kind("str", asked_for=False))
        typed = settings.where is not None or compared or not texts
        if typed:
            if not set(header) <= set(settings.types):
                first, numbered = _look(numbered)
                kinds = _kinds(header, first, settings.decimal)
            for column, kind in settings.types.items():
                kinds[column] = Kind(kind, asked_for=True, decimal=settings.decimal)
        condition = _condition(settings, kinds, name)
        as_made = condition is None and not (texts and typed)
        single, together = _single(settings, header, kinds, name), _together(header, kinds)
        # Rows that are there all at once are made into items many at a time; one that comes through a pipe
        # must not wait for others.
        for block in _blocks(numbered) if at_once else ([row] for row in numbered):
            items = together(block) if at_once and as_made and together is not None else None
            if items is not None:
                yield from items
                continue
            for number, row in block:
                item = single(number, row)
                if as_made:
                    yield item
                elif condition is None or condition(item, f"{name}:{number}"):
                    bad = {column: cell for column, cell in item.items() if type(cell) is BadCell}
                    written = {**dict(zip(header, row, strict=True)), **bad} if texts else item
                    yield WrittenRow(item, written) if compared else written
    except (csv.Error, UnicodeError, *UNREADABLE) as error:
        raise _unreadable(settings, error, f"{name}:{rows.line_num}") from None
    finally:
        text.detach()


def _single(
    settings: Csv, header: list[str], kinds: Mapping[str, Kind], name: str
) -> Callable[[int, list[str]], dict[str, Any]]:
    """Return what makes a row, and the number of its line, an item. That raises InputError."""
    # Only what is not text is looked at again: most of a table's time is spent here.
    converters = [kinds[column].converter() for column in header]
    typed = [
        (place, column, convert)
        for place, (column, convert) in enumerate(zip(header, converters, strict=True))
        if convert is not str
    ]

    def single(number: int, row: list[str]) -> dict[str, Any]:
        if len(row) != len(header):
            raise InputError(f"{name}:{number}: {len(row)} cells, but {len(header)} columns")
        # One look at all cells is much cheaper than one at each.
        bad: dict[str, BadCell] = {}
        if not (whole := "".join(row)).isascii() and _NOT_TEXT.search(whole):
            bad = _bad_cells(row, header, settings, f"{name}:{number}")
            row = ["" if column in bad else cell for column, cell in zip(header, row, strict=True)]
        item: dict[str, Any] = dict(zip(header, row, strict=True))
        try:
            for place, column, convert in typed:
                item[column] = convert(row[place])
        except WRONG:
            raise _wrong_cell(row, header, kinds, settings, f"{name}:{number}") from None
        return item | bad if bad else item

    return single


def _text(settings: Csv, raw: BinaryIO) -> io.TextIOWrapper:
    encoding = settings.encoding
    utf8 = encoding.lower().replace("_", "-") in {"utf-8", "utf8"}
    return io.TextIOWrapper(raw, "utf-8-sig" if utf8 else encoding, "arcli.escaped", newline="")


def _unreadable(settings: Csv, error: Exception, place: str) -> InputError:
    if isinstance(error, UnicodeError):
        return InputError(f"{place}: not {settings.encoding}: {error}", hint=_encoded(settings))
    return InputError(f"{place}: {error if isinstance(error, csv.Error) else unreadable(error)}")


def _encoded(settings: Csv) -> str:
    """Say how to tell in which encoding a table is; standard input's has no settings."""
    if settings.path == STDIN:
        return "csv: {path: /dev/stdin, encoding: latin-1} says how it is written"
    return "encoding: latin-1, cp1252, utf-16 … in csv: says how it is written"


def _bad_cells(row: Sequence[str], header: Sequence[str], settings: Csv, place: str) -> dict[str, BadCell]:
    """Return what stands in a row for its cells that are no text in the file's encoding, by column."""
    cells: dict[str, BadCell] = {}
    for column, cell in zip(header, row, strict=True):
        if _NOT_TEXT.search(cell):
            # The bytes themselves are shown, as far as that is of use.
            shown = f"{_shown(cell)} is not {settings.encoding}"
            problem = f"{place}: {shown} (column {column!r}); {_encoded(settings)}"
            cells[column] = BadCell(shown, problem)
    return cells


def _shown(cell: str) -> str:
    return repr(cell[:SHOWN]).replace(r"\udc", r"\x") + "…" * (len(cell) > SHOWN)


def _look(numbered: _Numbered) -> tuple[list[list[str]], _Numbered]:
    """Return the first rows, as far as they are good, and all rows, up to what is wrong with them."""
    first: list[tuple[int, list[str]]] = []
    wrong: list[Exception] = []
    try:
        first.extend(islice(numbered, LOOK))
    except (csv.Error, UnicodeError, *UNREADABLE) as error:
        wrong.append(error)

    # What is wrong in the first rows is raised at its place, after the good ones before it were read.
    def rest() -> _Numbered:
        for error in wrong:
            raise error
        yield from numbered

    return [row for _, row in first], chain(first, rest())


def _header(settings: Csv, rows: Iterator[list[str]], name: str) -> list[str]:
    """Return the names of the columns: those that are given, or the first line."""
    header = settings.header
    if header is None:
        header = next(rows, [])
        for column in filter(_NOT_TEXT.search, header):
            message = f"{name}:1: {_shown(column)} is not {settings.encoding}"
            raise InputError(message, hint=_encoded(settings))
    # Names are not invented: rows of `a`, `b`, `c` would be arguments that no function has.
    if not header:
        raise InputError(
            f"{name}:1: there is no header; csv: needs names in the first line",
            hint="header: [a, b] names the columns of a file without",
        )
    twice = repeated(header)
    if twice:
        raise InputError(f"{name}:1: the column {twice[0]!r} is there twice")
    _check(settings, header)
    return header


def _check(settings: Csv, header: Sequence[str] | None) -> None:
    if header is not None:
        where.require(settings.types, header, "types")
    where.check(settings.where, header)


def _kinds(header: list[str], rows: list[list[str]], decimal: str) -> dict[str, Kind]:
    """Return the narrowest type that all of the first rows' cells have, empty ones aside."""
    columns = {
        name: [row[place] for row in rows if place < len(row) and row[place] != ""]
        for place, name in enumerate(header)
    }
    # A cell that is no text says nothing of the others.
    for name, cells in columns.items():
        if not "".join(cells).isascii():
            columns[name] = [cell for cell in cells if not _NOT_TEXT.search(cell)]
    return {name: kind_of_column(cells, decimal) for name, cells in columns.items()}


def _blocks(numbered: _Numbered) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield rows in blocks. What is wrong with the file is raised after the rows that stand before it."""
    wrong: list[Exception] = []
    while not wrong:
        block: list[tuple[int, list[str]]] = []
        try:
            block.extend(islice(numbered, BLOCK))
        except (csv.Error, UnicodeError, *UNREADABLE) as error:
            wrong.append(error)
        if not block:
            break
        yield block
    for reason in wrong:
        raise reason


def _together(header: list[str], kinds: Mapping[str, Kind]) -> _Rows | None:
    """Return what makes many rows mappings of values, by the column; None for types that need more.

    It gives None in their place where one of the cells is to be looked at by itself.
    """
    if not all(kind.name == "str" or kind in _BY_COLUMN for kind in kinds.values()):
        return None
    typed = [
        (place, *_BY_COLUMN[kinds[name]]) for place, name in enumerate(header) if kinds[name] in _BY_COLUMN
    ]

    def made(block: Sequence[tuple[int, list[str]]]) -> list[dict[str, Any]] | None:
        rows = [row for _, row in block]
        if set(map(len, rows)) != {len(header)} or not "".join(chain.from_iterable(rows)).isascii():
            return None
        columns: list[Sequence[Any]] = [*zip(*rows, strict=True)]
        for place, convert, written in typed:
            cells = columns[place]
            try:
                columns[place] = values = [*map(convert, cells)]
            except ValueError:
                return None
            if in_python(values) != ",".join(cells) and [*map(written, values)] != [*cells]:
                return None
        return [dict(zip(header, row, strict=True)) for row in zip(*columns, strict=True)]

    return made


_BY_COLUMN: dict[Kind, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    Kind("int", asked_for=False): (int, str),
    Kind("float", asked_for=False): (float, repr),
}
"""Types whose cells are most often what their value is written as: what reads one, and what writes it."""


def _wrong_cell(
    row: list[str], header: list[str], kinds: Mapping[str, Kind], settings: Csv, place: str
) -> InputError:
    """Return the error for the first cell of a row that its column's type does not fit."""
    for name, cell in zip(header, row, strict=True):
        try:
            kinds[name].converter()(cell)
        except WRONG:
            break
    message = f"{place}: {cell!r} in the column {name!r} is not {kinds[name]}"
    if name not in settings.types:
        message += f", as the first {LOOK:,} rows are"
    return InputError(message, hint=f"say what the column holds, such as types: {{{name}: str}}")


def _condition(settings: Csv, kinds: Mapping[str, Kind], name: str) -> where.Condition | None:
    """Return what picks rows; values in ``where`` are read as the cells of their columns are."""
    if not isinstance(settings.where, Mapping):
        return where.condition(settings.where) if settings.where is not None else None

    # `x: 1` finds `1` and `1.0` in a column of numbers, and what is written `1` in one of text.
    def cell(column: str, value: Any) -> Any:
        kind = kinds[column]
        if value is None:
            return "" if kind.name == "str" else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # A number of the spec is one already, with a point wherever the file has a comma.
        if kind.name == "json" or (kind.name == "float" and number):
            return value
        text = str(integral(value) if kind.name == "int" else value)
        try:
            reader = Kind(str(kind), asked_for=True, decimal=settings.decimal)
            return reader.converter()(text.lower() if isinstance(value, bool) else text)
        except WRONG:
            message = f"{name}: where: {value!r} is not {kind}, as the column {column!r} is"
            raise InputError(message) from None

    cells = {
        column: [cell(column, part) for part in (value if isinstance(value, list) else [value])]
        for column, value in settings.where.items()
    }
    return where.condition(cells)
