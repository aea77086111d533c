"""What ``exclude`` leaves out: items, or parts of their keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arcli.errors import InputError
from arcli.inputs.cells import WrittenRow, bad_cell

_PLAIN = frozenset([str, int, float, bool, type(None)])
"""Types whose values are equal where a set finds them: ``1``, ``1.0`` and true are one there, too."""


_MAPS = (dict, WrittenRow)


class Patterns:
    """Tells whether an item matches one of many patterns.

    Those that are plain values, or maps of such, are found by one look-up for each set of keys, however
    many they are; the others are compared one by one. ``looks`` is how many of both an item takes.
    """

    def __init__(self, patterns: Sequence[Any]) -> None:
        self._all = patterns
        self._values: set[Any] = set()
        self._rows: dict[frozenset[Any], tuple[list[Any], set[tuple[Any, ...]]]] = {}
        self._others: list[Any] = []
        for pattern in patterns:
            if _are_plain([pattern]):
                self._values.add(pattern)
            elif isinstance(pattern, Mapping) and _are_plain(pattern.values()):
                names, rows = self._rows.setdefault(frozenset(pattern), ([*pattern], set()))
                rows.add(tuple(pattern[name] for name in names))
            else:
                self._others.append(pattern)
        self.looks = max(1, len(self._rows) + len(self._others))

    def match(self, item: Any) -> bool:
        """Tell whether an item matches one of them."""
        kind = type(item)
        # No list is equal to a plain value, nor a map to what is none.
        if kind in _PLAIN and item in self._values:
            return True
        if kind in _MAPS and any(_is_among(item, names, rows) for names, rows in self._rows.values()):
            return True
        known = kind in _PLAIN or kind in _MAPS or kind is list
        return any(matches(item, pattern) for pattern in (self._others if known else self._all))


def _is_among(item: dict[Any, Any], names: list[Any], rows: set[tuple[Any, ...]]) -> bool:
    """Tell whether an item has one of some rows of plain values under these names."""
    try:
        row = tuple([item[name] for name in names])
    except KeyError:
        return False
    kinds = set(map(type, row))
    if kinds <= _PLAIN:
        return row in rows
    # Only classes of somebody else's may be equal to a plain value without a set's finding it.
    if list in kinds or dict in kinds:
        return False
    return any(matches(item, dict(zip(names, values, strict=True))) for values in rows)


def _are_plain(values: Iterable[Any]) -> bool:
    """Tell whether all are plain values that a set finds as ``==`` does: NaN is not equal to itself."""
    return all(type(value) in _PLAIN and value == value for value in values)


def matches(item: Any, pattern: Any) -> bool:
    """Tell whether an item is equal to a pattern; a mapping matches on the keys it names, also inside."""
    try:
        if isinstance(pattern, Mapping) and isinstance(item, Mapping):
            return all(name in item and matches(item[name], value) for name, value in pattern.items())
        return bool(item == pattern)
    except InputError:
        if bad_cell(item) is None:
            raise
        return False  # a cell that cannot be read is equal to nothing
