"""Combinations that are never held: any cell, and how many there are, by arithmetic."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Rows:
    """A factor of a combination: each of its items is a part of a cell.

    Under its ``name``; or merged into the cell, where the items are mappings with these ``names``.
    """

    name: str
    items: Sequence[Any]
    names: tuple[str, ...] | None = None

    def row(self, item: Any) -> Mapping[str, Any]:
        """An item as a part of a cell."""
        return {self.name: item} if self.names is None else item

    def places(self, pattern: Mapping[str, Any]) -> set[int] | None:
        """Which items match the pattern's share of this factor; None where it has no share."""
        if self.names is None:
            if self.name not in pattern:
                return None
            return set(places(self.items, pattern[self.name], operator.eq))
        share = {name: value for name, value in pattern.items() if name in self.names}
        return set(places(self.items, share)) if share else None


def matches(item: Any, pattern: Any) -> bool:
    """Whether an item is equal to a pattern; a mapping matches on the keys that it names."""
    if isinstance(pattern, Mapping) and isinstance(item, Mapping):
        return all(name in item and item[name] == value for name, value in pattern.items())
    return bool(item == pattern)


def places(items: Sequence[Any], pattern: Any, same: Callable[[Any, Any], bool] = matches) -> Iterable[int]:
    """The numbers of the items that match."""
    if isinstance(items, range) and isinstance(pattern, int):
        return [items.index(pattern)] if pattern in items else []
    return (place for place, item in enumerate(items) if same(item, pattern))


@dataclass(slots=True, eq=False)
class _Level:
    """How many cells begin with each of a factor's items.

    Below most of them is ``usual``; below those at ``places``, whose cells start at ``starts``, is
    something else.
    """

    length: int
    usual: _Level | None = None
    places: list[int] = field(default_factory=list)
    below: list[_Level] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, size: int, usual: _Level, others: Mapping[int, _Level]) -> _Level:
        """The level of a factor with ``size`` items."""
        numbers = sorted(others)
        starts: list[int] = []
        gained = 0
        for place in numbers:
            starts.append(place * usual.length + gained)
            gained += others[place].length - usual.length
        below = [others[place] for place in numbers]
        return cls(size * usual.length + gained, usual, numbers, below, starts)

    def split(self, index: int) -> tuple[int, int, _Level]:
        """The item that the cell at an index has, its index below that one, and what is there."""
        assert self.usual is not None
        first = before = 0
        if (at := bisect_right(self.starts, index) - 1) >= 0:
            before, other = self.starts[at], self.below[at]
            if index < before + other.length:
                return self.places[at], index - before, other
            first, before = self.places[at] + 1, before + other.length
        place, rest = divmod(index - before, self.usual.length)
        return first + place, rest, self.usual

    def lower(self, place: int) -> _Level:
        """What is below an item."""
        assert self.usual is not None
        at = bisect_right(self.places, place) - 1
        return self.below[at] if at >= 0 and self.places[at] == place else self.usual


_CELL, _NOTHING = _Level(1), _Level(0)


class Grid(Sequence[dict[str, Any]]):
    """All combinations of the factors' items, the last factor varying fastest, none of them held.

    Without those that match one of ``excluded``: a decision diagram over the factors counts what is
    left below each item (https://en.wikipedia.org/wiki/Binary_decision_diagram).
    """

    def __init__(self, factors: Sequence[Rows], excluded: Sequence[Mapping[str, Any]] = ()) -> None:
        self._factors = factors
        self._excluded = excluded
        self._top = _levels(factors, excluded)

    def without(self, excluded: Sequence[Mapping[str, Any]]) -> Grid:
        """The grid without what matches these, too."""
        return Grid(self._factors, [*self._excluded, *excluded])

    def __len__(self) -> int:
        return self._top.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        rest = range(len(self))[index]
        level = self._top
        cell: dict[str, Any] = {}
        for factor in self._factors:
            place, rest, level = level.split(rest)
            cell.update(factor.row(factor.items[place]))
        return cell

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._from(0, self._top, {})

    def _from(self, at: int, level: _Level, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The cells that begin with what is before a factor."""
        factor = self._factors[at]
        last = at + 1 == len(self._factors)
        for place, item in enumerate(factor.items):
            lower = level.lower(place)
            if not lower.length:
                continue
            cell = {**before, **factor.row(item)}
            if last:
                yield cell
            else:
                yield from self._from(at + 1, lower, cell)


def _levels(factors: Sequence[Rows], excluded: Sequence[Mapping[str, Any]]) -> _Level:
    found = [[factor.places(pattern) for pattern in excluded] for factor in factors]

    @cache
    def level(at: int, live: frozenset[int]) -> _Level:
        """From a factor on, where these patterns have matched so far."""
        if at == len(factors):
            return _NOTHING if live else _CELL
        shares = {pattern: found[at][pattern] for pattern in live}
        others: dict[int, set[int]] = {}
        for pattern, share in shares.items():
            for place in share or ():
                others.setdefault(place, set()).add(pattern)
        still = frozenset(pattern for pattern, share in shares.items() if share is None)
        lower = {place: level(at + 1, still | matched) for place, matched in others.items()}
        return _Level.of(len(factors[at].items), level(at + 1, still), lower)

    return level(0, frozenset(range(len(excluded))))


class Side(Sequence[dict[str, Any]]):
    """The factors' items side by side."""

    def __init__(self, factors: Sequence[Rows]) -> None:
        self._factors = factors

    def __len__(self) -> int:
        return len(self._factors[0].items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row: dict[str, Any] = {}
        for factor in self._factors:
            row.update(factor.row(factor.items[index]))
        return row


class Left(Sequence[Any]):
    """The items of a sequence without those at some places."""

    def __init__(self, items: Sequence[Any], gone: Iterable[int]) -> None:
        self._items = items
        self._level = _Level.of(len(items), _CELL, dict.fromkeys(gone, _NOTHING))

    def __len__(self) -> int:
        return self._level.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place, _, _ = self._level.split(range(len(self))[index])
        return self._items[place]


class Picked(Sequence[Any]):
    """Items of a sequence by their numbers in another one."""

    def __init__(self, items: Sequence[Any], numbers: Sequence[int]) -> None:
        self._items = items
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._items[self._numbers[index]]
