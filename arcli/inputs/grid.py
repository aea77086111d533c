"""Sequences that are never held: any cell of a grid, and any place of a permutation, by arithmetic."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from math import prod
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from arcli.inputs.base import Lazy
from arcli.inputs.patterns import Patterns

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

    def places(self, patterns: Sequence[Mapping[str, Any]], most: int) -> Sequence[int] | None:
        """Return which items match what a pattern says of this factor, as ``places`` does."""
        names = self.names or (self.name,)
        shares = [{name: value for name, value in each.items() if name in names} for each in patterns]
        # A pattern that says nothing of this factor matches all of its items.
        if not all(shares):
            return range(len(self.items))
        return places(
            self.items, [share[self.name] for share in shares] if self.names is None else shares, most
        )


def places(items: Sequence[Any], patterns: Sequence[Any], most: int) -> Sequence[int] | None:
    """Return the numbers of the items that match a pattern; None where that takes over ``most`` looks."""
    if isinstance(items, range):
        # A range finds integers by arithmetic, and anything else by a walk.
        whole = [int(each) for each in patterns if isinstance(each, int | float) and each == each // 1]
        return [items.index(number) for number in whole if number in items]
    wanted = Patterns(patterns)
    if len(items) * wanted.looks > most:
        return None
    return [place for place, item in enumerate(items) if wanted.match(item)]


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

    def without(
        self, patterns: Sequence[Mapping[str, Any]], most: int
    ) -> tuple[Grid, Sequence[Mapping[str, Any]]]:
        """Return the grid without what matches patterns of a single factor, and the other patterns."""
        left: list[Mapping[str, Any]] = []
        single: dict[str, list[Mapping[str, Any]]] = {}
        for pattern in patterns:
            concerned = [factor.name for factor in self._factors if factor.concerns(pattern)]
            (single.setdefault(concerned[0], []) if len(concerned) == 1 else left).append(pattern)
        # A grid without some items of one factor is a grid again, smaller, and still held by nobody.
        factors: list[Rows] = []
        for factor in self._factors:
            of_factor = single.get(factor.name, [])
            excluded = factor.places(of_factor, most) if of_factor else ()
            if excluded is None:
                left += of_factor
            elif excluded:
                factor = replace(factor, items=leaving_out(factor.items, excluded))
            factors.append(factor)
        return Grid(factors), left

    def places(self, patterns: Sequence[Mapping[str, Any]], most: int) -> Iterable[int] | None:
        """Return the numbers of the cells that match a pattern; None where they are more than ``most``, or
        so many looks do not tell.
        """
        # Of many patterns a look at each cell tells sooner than one at each factor for each pattern.
        looks = len(patterns) * sum(len(factor.items) for factor in self._factors)
        walked = places(self, patterns, min(looks, most))
        if walked is not None:
            return walked
        known = [self._matched(pattern, most // len(patterns)) for pattern in patterns]
        matched = [numbers for numbers in known if numbers is not None]
        return chain.from_iterable(matched) if len(matched) == len(known) else None

    def _matched(self, pattern: Mapping[str, Any], most: int) -> Iterable[int] | None:
        # The cells that match are themselves a grid: of the items that match in each factor.
        parts: list[Sequence[int]] = []
        for factor in self._factors:
            part = factor.places([pattern], most)
            if part is None:
                return None
            parts.append(part)
        if (matched := prod(map(len, parts))) > most:
            return None
        if not matched:
            return []
        offsets = [
            [place * stride for place in part] for part, stride in zip(parts, self._strides, strict=True)
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
