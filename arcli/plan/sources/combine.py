"""Sources made of sources: grids, pairs, and what is left out, picked or shuffled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

from arcli.errors import InputError
from arcli.plan.sources.base import Fixed, Source, Stream
from arcli.spec.model import Sample

ROUNDS = 4
_END = object()


class Grid(Sequence[dict[str, Any]]):
    """All combinations of the factors' items, the last factor varying fastest; never held."""

    def __init__(self, factors: Mapping[str, Sequence[Any]]) -> None:
        self._factors = factors
        self._length = 1
        for items in factors.values():
            self._length *= len(items)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        rest = range(self._length)[index]
        cell: dict[str, Any] = {}
        for name, items in reversed(list(self._factors.items())):
            rest, place = divmod(rest, len(items))
            cell[name] = items[place]
        return {name: cell[name] for name in self._factors}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(self._length))


def product(factors: Mapping[str, Source]) -> Source:
    """A grid; where the first factor can only be read once, it is read as the grid goes."""
    names = list(factors)
    first = factors[names[0]]
    held = {name: _held(factors[name]) for name in names[1:]}
    distinct = all(source.distinct for source in factors.values())
    if isinstance(first, Fixed):
        return Fixed(Grid({names[0]: first.items, **held}), distinct, "kwargs")
    rows = Fixed(Grid(held))

    def cells() -> Iterator[dict[str, Any]]:
        for item in first:
            for row in rows:
                yield {names[0]: item, **row}

    length = None if first.length is None else first.length * rows.length
    return Stream(cells, length, distinct, "kwargs")


def _held(source: Source) -> Sequence[Any]:
    return source.items if isinstance(source, Fixed) else list(source)


def zipped(factors: Mapping[str, Source]) -> Source:
    """Items side by side. Raises InputError where the lengths differ: at once, or as they end."""
    known = {name: source.length for name, source in factors.items() if source.length is not None}
    _same(known)

    def rows() -> Iterator[dict[str, Any]]:
        iterators = {name: iter(source) for name, source in factors.items()}
        count = 0
        while True:
            row = {name: next(iterator, _END) for name, iterator in iterators.items()}
            ended = [name for name, item in row.items() if item is _END]
            if len(ended) == len(row):
                return
            if ended:
                longer = next(name for name in row if name not in ended)
                raise InputError(f"zip: {ended[0]!r} ends after {count} items, {longer!r} has more")
            yield row
            count += 1

    length = next(iter(known.values()), None)
    distinct = any(source.distinct for source in factors.values())
    return Stream(rows, length, distinct, "kwargs")


def _same(lengths: Mapping[str, int]) -> None:
    names = list(lengths)
    for name in names[1:]:
        if lengths[name] != lengths[names[0]]:
            raise InputError(
                f"zip: {names[0]!r} has {lengths[names[0]]} items, {name!r} has {lengths[name]}"
            )


def excluding(source: Source, patterns: list[Any]) -> Source:
    """Without the items that match: a mapping matches on the keys that it names."""
    if not patterns:
        return source
    if isinstance(source, Fixed) and len(source.items) <= 100_000:
        kept = [item for item in source.items if not _matches(item, patterns)]
        return Fixed(kept, source.distinct, source.unpack)
    return Stream(
        lambda: (item for item in source if not _matches(item, patterns)),
        None,
        source.distinct,
        source.unpack,
    )


def _matches(item: Any, patterns: list[Any]) -> bool:
    for pattern in patterns:
        if isinstance(pattern, Mapping) and isinstance(item, Mapping):
            if all(name in item and item[name] == value for name, value in pattern.items()):
                return True
        elif item == pattern:
            return True
    return False


def sampled(source: Source, sample: Sample | None) -> Source:
    """``n`` of the items, picked at random, in their order; all where there are fewer."""
    if sample is None:
        return source
    chance = random.Random(sample.seed)  # noqa: S311 - reproducible is the point
    if isinstance(source, Fixed):
        total = len(source.items)
        picked = sorted(chance.sample(range(total), min(sample.n, total)))
        return Fixed(_Picked(source.items, picked), source.distinct, source.unpack)

    def reservoir() -> list[Any]:
        """Algorithm R (Vitter, 1985, https://doi.org/10.1145/3147.3165)."""
        numbered = enumerate(source)
        kept = list(islice(numbered, sample.n))
        for number, item in numbered:
            place = chance.randrange(number + 1)
            if place < sample.n:
                kept[place] = (number, item)
        return [item for _, item in sorted(kept, key=lambda pair: pair[0])]

    length = None if source.length is None else min(sample.n, source.length)
    return Stream(reservoir, length, source.distinct, source.unpack)


def shuffled(source: Source, seed: int | None) -> Source:
    """The items in an order that depends on the seed alone; held only where they must be."""
    if seed is None:
        return source
    if isinstance(source, Fixed):
        order = Shuffle(len(source.items), seed)
        return Fixed(_Picked(source.items, order), source.distinct, source.unpack)

    def held() -> list[Any]:
        items = list(source)
        random.Random(seed).shuffle(items)  # noqa: S311 - reproducible is the point
        return items

    return Stream(held, source.length, source.distinct, source.unpack)


class _Picked(Sequence[Any]):
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


class Shuffle(Sequence[int]):
    """A permutation of ``range(n)`` without memory: a Feistel network that walks its cycles.

    Black and Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._half = max(1, ((max(n - 1, 1)).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        chance = random.Random(seed)  # noqa: S311 - reproducible is the point
        self._keys = [chance.getrandbits(64) | 1 for _ in range(ROUNDS)]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        place = range(self._n)[index]
        while True:
            place = self._once(place)
            if place < self._n:
                return place

    def _once(self, place: int) -> int:
        left, right = place >> self._half, place & self._mask
        for key in self._keys:
            mixed = (right + 1) * key & 0xFFFFFFFFFFFFFFFF
            left, right = right, left ^ ((mixed >> 29 ^ mixed >> 47) & self._mask)
        return left << self._half | right
