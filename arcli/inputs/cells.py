"""What a cell of text is: a value of a type that was asked for, or one that it can be for certain.

A type that nobody asked for is given only where every cell is what its value is written as: ``3.10``,
``007``, ``+1`` and ``1e3`` stay text, since they may be a version, a code, a phone number and a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from arcli.engine.parse import NOT_FINITE, float_value, json_value
from arcli.errors import InputError

WRONG = (ValueError, KeyError, RecursionError)
"""What a converter raises for a cell that is not of its type."""
_COMMA = str.maketrans(",.", ".,")
"""Reads numbers with a comma; a point is no part of such a number, and a comma none of Python's."""
_BOOLEANS = {"true": True, "false": False}


def _int(cell: str) -> int:
    if "_" in cell:
        raise ValueError("digits are not grouped by _ in a table")
    return int(cell)


def _exact_int(cell: str) -> int:
    number = int(cell)
    if str(number) != cell:
        raise ValueError("its value is written in another way")
    return number


def _exact_number(cell: str) -> int | float:
    number = float(cell)
    if repr(number) == cell:
        return number
    return _exact_int(cell)


_ASKED_FOR: dict[str, Callable[[str], Any]] = {
    "int": _int,
    "float": float_value,
    "json": json_value,
    "bool": lambda cell: _BOOLEANS[cell.strip().lower()],
}
_READ_OFF: dict[str, Callable[[str], Any]] = {
    "int": _exact_int,
    "float": _exact_number,
    "bool": {"true": True, "false": False}.__getitem__,
    "Bool": {"True": True, "False": False}.__getitem__,
}


class BadCell:
    """Stands in a row for a cell that is no text in its file's encoding, or that Python cannot hold.

    ``problem`` says where it is, and what to do. Nobody knows what is in it: comparing it raises
    InputError with that, and so does sending it, which makes it an error of each item that has it.
    """

    def __init__(self, shown: str, problem: str) -> None:
        self._shown = shown
        self._problem = problem

    def __repr__(self) -> str:
        return f"<{self._shown}>"

    def refuse(self, *operands: object) -> NoReturn:
        """Raise InputError."""
        raise InputError(self._problem)

    __eq__ = __hash__ = __bool__ = __reduce__ = refuse


class WrittenRow(dict[str, Any]):
    """A row of values that also has its cells as they are ``written``: what compares it sees its values."""

    def __init__(self, values: Mapping[str, Any], written: dict[str, Any]) -> None:
        super().__init__(values)
        self.written = written


def as_written(item: Any) -> Any:
    """Return an item with the text of cells in the place of values, where it is a row or has some."""
    if type(item) is WrittenRow:
        return item.written
    if type(item) is dict:
        return {name: part.written if type(part) is WrittenRow else part for name, part in item.items()}
    return item


def bad_cell(item: Any) -> BadCell | None:
    """Return the first part of an item, a row or what is made of rows, that could not be read."""
    if isinstance(item, Mapping):
        item = list(item.values())
    if isinstance(item, list):
        return next((found for part in item if (found := bad_cell(part)) is not None), None)
    return item if isinstance(item, BadCell) else None


class Kind(Struct, frozen=True):
    """The type of a column: asked for, or read off its cells. ``decimal`` begins a fraction."""

    name: str
    asked_for: bool
    decimal: str = "."

    def converter(self) -> Callable[[str], Any]:
        """Return what reads a cell, an empty one as None; it raises one of ``WRONG``."""
        # An empty cell is no value of any type but text, where it is the empty one.
        if self.name == "str":
            return str
        convert = (_ASKED_FOR if self.asked_for else _READ_OFF)[self.name]
        if self.decimal == "," and self.name == "float":
            return lambda cell: convert(cell.translate(_COMMA)) if cell else None
        return lambda cell: convert(cell) if cell else None

    def __str__(self) -> str:
        return self.name.lower()


def kind_of_column(cells: list[str], decimal: str) -> Kind:
    """Return the narrowest type from which the text of every cell comes back as it was, else str."""
    # From the narrowest to the widest, so that the first one that all cells fit is the type.
    for name in _READ_OFF:
        kind = Kind(name, asked_for=False, decimal=decimal)
        convert = kind.converter()
        try:
            for cell in cells:
                convert(cell)
        except WRONG:
            continue
        # A column of nothing but names of numbers, such as inf, is one of names.
        if cells and not all(NOT_FINITE.fullmatch(cell) for cell in cells):
            return kind
    return Kind("str", asked_for=False)
