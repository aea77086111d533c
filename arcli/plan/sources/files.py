"""Items from files and streams, with the line of what is wrong in them."""

from __future__ import annotations

import codecs
import csv
import fnmatch
import glob
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from arcli.errors import InputError
from arcli.spec.model import CsvSource, GlobSource

LOOK = 1000
"""Rows from which the types of a table's columns are read off."""
BLOCK = 1 << 16
_BOOLEANS = {"true": True, "false": False}
_CONVERT: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "json": json.loads,
    "bool": lambda text: _BOOLEANS[text.strip().lower()],
}


def opened(path: Path) -> BinaryIO:
    """A file to read bytes from. Raises InputError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def lines_of(stream: BinaryIO, name: str) -> Iterator[str]:
    """Lines without their ends; bytes that are not UTF-8 survive as Python's surrogates."""
    try:
        for number, raw in enumerate(stream):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"{name} cannot be read any further: {error.strerror}") from None


def read_lines(path: Path) -> Iterator[str]:
    """A file's lines."""
    with opened(path) as stream:
        yield from lines_of(stream, str(path))


def read_nul(stream: BinaryIO) -> Iterator[str]:
    """What is between NUL bytes, as ``find -print0`` writes it."""
    rest = b""
    # One read at a time: what has arrived must not wait for a full block.
    while block := os.read(stream.fileno(), BLOCK):
        *parts, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(part) for part in parts)
    if rest:
        yield os.fsdecode(rest)


def read_jsonl(lines: Iterable[str], name: str) -> Iterator[Any]:
    """A value a line; empty lines are passed over. Raises InputError with the place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            column = getattr(error, "colno", 1)
            said = getattr(error, "msg", str(error))
            raise InputError(f"{name}:{number}:{column}: not JSON: {said}") from None


def read_csv(source: CsvSource, path: Path) -> Iterator[dict[str, Any]]:
    """Rows as mappings. Columns have the types that are given, or that the first rows show.

    Raises InputError for a missing header, a row of another length, a cell of another type.
    """
    with opened(path) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="")
        rows = csv.reader(text, delimiter=source.delimiter, strict=True)
        try:
            header = _header(rows, path)
            numbered = ((rows.line_num, row) for row in rows if row)
            first = list(islice(numbered, LOOK))
            types = {**_types(header, [row for _, row in first]), **_known(source, header, path)}
            keep = _where(source.where, header, path)
            for number, row in (*first, *numbered):
                item = _row(row, header, types, f"{path}:{number}")
                if keep(item, number):
                    yield item
        except csv.Error as error:
            raise InputError(f"{path}:{rows.line_num}: {error}") from None


def _header(rows: Any, path: Path) -> list[str]:
    header: list[str] = next(rows, [])
    if not header:
        raise InputError(f"{path}:1: there is no header; csv: needs names in the first line")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise InputError(f"{path}:1: the column {min(twice)!r} is there twice")
    return header


def _known(source: CsvSource, header: list[str], path: Path) -> Mapping[str, str]:
    for name in source.types:
        if name not in header:
            raise InputError(
                f"{path}:1: there is no column {name!r}; there are {', '.join(header)}"
            )
    return source.types


def _types(header: list[str], rows: list[list[str]]) -> dict[str, str]:
    """The narrowest type that all of the first rows' cells have, empty ones aside."""
    found = {}
    for place, name in enumerate(header):
        cells = [row[place] for row in rows if place < len(row) and row[place] != ""]
        fits = (kind for kind in ("int", "float", "bool") if cells and _all(cells, kind))
        found[name] = next(fits, "str")
    return found


def _all(cells: list[str], kind: str) -> bool:
    try:
        return all(_CONVERT[kind](cell) is not None and _plain(cell) for cell in cells)
    except (ValueError, KeyError):
        return False


def _plain(cell: str) -> bool:
    """Whether a number is written as one: not ``1_000``, and not ``007``, which is a code."""
    digits = cell.strip().lstrip("+-")
    leading = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return "_" not in cell and not leading


def _row(row: list[str], header: list[str], types: Mapping[str, str], place: str) -> dict[str, Any]:
    if len(row) != len(header):
        raise InputError(f"{place}: {len(row)} cells, but {len(header)} columns")
    item: dict[str, Any] = {}
    for name, cell in zip(header, row, strict=True):
        kind = types[name]
        try:
            item[name] = None if cell == "" and kind != "str" else _CONVERT[kind](cell)
        except (ValueError, KeyError):
            raise InputError(
                f"{place}: {cell!r} in the column {name!r} is not {kind}",
                hint=f"say what the column holds, such as types: {{{name}: str}}",
            ) from None
    return item


def _where(
    where: str | Mapping[str, Any] | None, header: list[str], path: Path
) -> Callable[[dict[str, Any], int], bool]:
    """Which rows are wanted: a mapping of columns to values, or an expression of the columns."""
    if where is None:
        return lambda item, number: True
    if isinstance(where, str):
        code = compile(where, "<csv.where>", "eval")

        def holds(item: dict[str, Any], number: int) -> bool:
            try:
                return bool(eval(code, {}, dict(item)))  # noqa: S307 - a spec is code
            except Exception as error:  # noqa: BLE001 - an expression of the user's
                words = f"{type(error).__name__}: {error}"
                raise InputError(f"{path}:{number}: where: {where!r} fails: {words}") from None

        return holds
    for name in where:
        if name not in header:
            raise InputError(f"{path}:1: where: there is no column {name!r}")
    wanted = {n: v if isinstance(v, list) else [v] for n, v in where.items()}
    return lambda item, number: all(item[name] in values for name, values in wanted.items())


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as mappings, a batch at a time."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            "parquet: needs the package pyarrow", hint="pip install 'arcli[parquet]'"
        ) from None
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches():
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None


def paths_of(source: GlobSource, folder: Path) -> list[str]:
    """The files that match, sorted, each once.

    Patterns are relative to the spec; the paths work from the working directory: relative to it
    where they are below it, absolute elsewhere. Names that begin with a dot have to be asked for.
    """
    here = Path.cwd()
    found: set[str] = set()
    for pattern in source.patterns:
        found.update(glob.glob(str(folder / pattern), recursive=True))  # noqa: PTH207 - for **
    kept = [path for path in found if not _excluded(path, source.exclude, folder)]
    return sorted(_from(here, path) for path in kept)


def _excluded(path: str, patterns: list[str], folder: Path) -> bool:
    inside = os.path.relpath(path, folder)
    names = (inside, os.path.basename(path))  # noqa: PTH119 - text as glob gives it
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns for name in names)


def _from(here: Path, path: str) -> str:
    whole = os.path.abspath(path)  # noqa: PTH100 - a link keeps its name
    below = os.path.relpath(whole, here)
    return whole if below.startswith(os.pardir + os.sep) or below == os.pardir else below
