"""Sequences that are never held: any cell of a grid, and any place of a permutation, by arithmetic."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from arcli.errors import InputError
from arcli.inputs.base import Lazy

T = TypeVar("T")
MOST_LOOKED_AT = 200_000
"""Items that all patterns together are compared with beforehand, or match, at most."""


class Rows(Struct, frozen=True):
    """A factor of a combination: each of its items is a part of a cell.

    Under its ``name``; or merged into the cell, where the items are mappings with these ``names``.
    """

    name: str
    items: Sequence[Any]
    names: tuple[str, ...] | None = None

    def row(self, item: Any) -> Mapping[str, Any]:
        """Return an item as a part of a cell."""
        return {self.name: item} if self.names is None else item

    def concerns(self, pattern: Mapping[str, Any]) -> bool:
        """Tell whether a pattern says anything of this factor."""
        return any(name in pattern for name in self.names or (self.name,))

    def places(self, pattern: Mapping[str, Any], most: int) -> Sequence[int] | None:
        """Return which items match the pattern's share of this factor; None: more than ``most``."""
        # A pattern that says nothing of this factor matches all of its items.
        share = {name: value for name, value in pattern.items() if name in (self.names or (self.name,))}
        if not share:
            return range(len(self.items))
        return places(self.items, share[self.name] if self.names is None else share, most)


def matches(item: Any, pattern: Any) -> bool:
    """Tell whether an item is equal to a pattern; a mapping matches on the keys it names, also inside."""
    try:
        if isinstance(pattern, Mapping) and isinstance(item, Mapping):
            return all(name in item and matches(item[name], value) for name, value in pattern.items())
        return bool(item == pattern)
    except InputError:  # a cell that cannot be read is equal to nothing
        return False


def places(items: Sequence[Any], pattern: Any, most: int) -> Sequence[int] | None:
    """Return the numbers of the items that match; None where more than ``most`` must be looked at."""
    if isinstance(items, range):
        # A range finds integers by arithmetic, and anything else by a walk.
        whole = isinstance(pattern, int | float) and pattern == pattern // 1
        return [items.index(int(pattern))] if whole and int(pattern) in items else []
    if len(items) > most:
        return None
    return [place for place, item in enumerate(items) if matches(item, pattern)]


class Grid(Lazy[dict[str, Any]]):
    """All combinations of the factors' items, the last factor varying fastest, none of them held."""

    def __init__(self, factors: Sequence[Rows]) -> None:
        self._factors = factors
        sizes = [len(factor.items) for factor in factors]
        self._strides = [prod(sizes[place + 1 :]) for place in range(len(sizes))]
        super().__init__(prod(sizes), self._cell)

    def _cell(self, index: int) -> dict[str, Any]:
        cell: dict[str, Any] = {}
        for factor, stride in zip(self._factors, self._strides, strict=True):
            place, index = divmod(index, stride)
            cell.update(factor.row(factor.items[place]))
        return cell

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._cells({}, *self._factors) if self._length else iter(())

    def _cells(self, before: dict[str, Any], factor: Rows, *others: Rows) -> Iterator[dict[str, Any]]:
        """Yield the cells that begin with ``before``; itertools.product would hold every factor."""
        for item in factor.items:
            cell = {**before, **factor.row(item)}
            if others:
                yield from self._cells(cell, *others)
            else:
                yield cell

    def without(self, pattern: Mapping[str, Any], most: int) -> Grid | None:
        """Return the grid without what matches a pattern of a single factor; None for other patterns."""
        # A grid without some items of one factor is a grid again, smaller, and still held by nobody.
        concerned = [factor for factor in self._factors if factor.concerns(pattern)]
        if len(concerned) != 1 or (excluded := concerned[0].places(pattern, most)) is None:
            return None
        factor = concerned[0]
        left = replace(factor, items=leaving_out(factor.items, excluded))
        return Grid([left if each is factor else each for each in self._factors])

    def places(self, pattern: Mapping[str, Any], most: int) -> Iterable[int] | None:
        """Return the numbers of the cells that match, None where they are more than ``most``."""
        # The cells that match are themselves a grid: of the items that match in each factor.
        parts = [factor.places(pattern, most) for factor in self._factors]
        known = [part for part in parts if part is not None]
        matched = prod(map(len, known))
        if len(known) < len(parts) or matched > most:
            return None
        if not matched:
            return []
        offsets = [
            [place * stride for place in part] for part, stride in zip(known, self._strides, strict=True)
        ]
        return map(sum, product(*offsets))


def side_by_side(factors: Sequence[Rows]) -> Lazy[dict[str, Any]]:
    """Return the factors' items side by side; shorter ones begin again where they have ended."""
    sizes = [len(factor.items) for factor in factors]

    def row(index: int) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for factor, size in zip(factors, sizes, strict=True):
            parts.update(factor.row(factor.items[index % size]))
        return parts

    return Lazy(max(sizes) if all(sizes) else 0, row)


def leaving_out(items: Sequence[T], excluded: Iterable[int]) -> Lazy[T]:
    """Return the items of a sequence without those at some places."""
    kept_before = array("q", [place - at for at, place in enumerate(sorted({*excluded}))])
    # As many excluded items stand before an item as have at most that many kept ones before them.
    return Lazy(
        len(items) - len(kept_before), lambda index: items[index + bisect_right(kept_before, index)]
    )


def picked(items: Sequence[T], numbers: Sequence[int]) -> Lazy[T]:
    """Return items of a sequence by their numbers in it."""
    return Lazy(len(numbers), lambda index: items[numbers[index]])


HELD = 1 << 16
"""Numbers up to which a permutation is simply held."""
ROUNDS = 4


def permutation(n: int, seed: int) -> Sequence[int]:
    """Return ``range(n)`` in an order that depends on the seed alone, in bounded memory."""
    if n > HELD:
        return feistel(n, seed)
    order = array("L", range(n))
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible is the point
    return order


def feistel(n: int, seed: int) -> Lazy[int]:
    """Return a permutation of ``range(n)`` without memory: a Feistel network that walks its cycles.

    Black and Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9. It is far from every order
    that it could be, which shows for small ``n`` only.
    """
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    chance = random.Random(seed)  # noqa: S311 - reproducible is the point
    keys = [chance.getrandbits(64) for _ in range(ROUNDS)]

    def at(index: int) -> int:
        # The network permutes the next power of four; what lies beyond n is sent through it again.
        while True:
            left, right = index >> half, index & mask
            for key in keys:
                left, right = right, left ^ (_mixed(right ^ key) & mask)
            index = left << half | right
            if index < n:
                return index

    return Lazy(n, at)


def _mixed(bits: int) -> int:
    """Mix 64 bits well: the end of SplitMix64 (https://doi.org/10.1145/2660193.2660195)."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % (1 << 64)
    return bits ^ bits >> 31
