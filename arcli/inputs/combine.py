"""Sources made of sources: grids, pairs, and what is left out, picked or shuffled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, count, islice
from math import prod
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from arcli.errors import InputError
from arcli.inputs.base import Fixed, Source, SourceContext, Stream, within
from arcli.inputs.grid import (
    MOST_LOOKED_AT,
    Grid,
    Lazy,
    Picked,
    Rows,
    Side,
    Without,
    matches,
    permutation,
    places,
)
from arcli.inputs.where import Where
from arcli.inputs.where import condition as named_condition

if TYPE_CHECKING:
    from arcli.inputs.over import Over

_END = object()


class Batches(Lazy[list[Any]]):
    """Neighbouring items as lists of ``size``, the last one as long as there are items left."""

    def __init__(self, items: Sequence[Any], size: int) -> None:
        self._items = items
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._items) // self._size)

    def _at(self, index: int) -> list[Any]:
        return list(self._items[index * self._size : (index + 1) * self._size])


def batched(source: Source, size: int) -> Source:
    """Return a source whose items are lists of ``size`` items; the last one may be shorter."""
    if isinstance(source, Fixed):
        return Fixed(Batches(source.items, size), source.distinct)

    def read() -> Iterator[list[Any]]:
        items = iter(source)
        while batch := list(islice(items, size)):
            yield batch

    length = None if source.length is None else -(-source.length // size)
    return Stream(read, length, source.distinct)


class Factor(Struct, frozen=True):
    """A source in a combination; ``merged``: the keys of its items stand beside the others'."""

    name: str
    source: Source
    merged: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that it gives to an item."""
        return (self.source.names or ()) if self.merged else (self.name,)

    def rows(self) -> Rows:
        """Its items, by their numbers; a stream is read to its end and held."""
        items = self.source.items if isinstance(self.source, Fixed) else list(self.source)
        return Rows(self.name, items, self.names if self.merged else None)

    def row(self, item: Any) -> Mapping[str, Any]:
        """An item as a part of a cell."""
        return item if self.merged else {self.name: item}


def factors(parts: Mapping[str, Over], context: SourceContext) -> list[Factor]:
    """Open the inputs that a combination is made of. Raises InputError with its path."""
    opened = []
    for name, part in parts.items():
        with within(name):
            opened.append(Factor(name, part.open(context), merged=part.input.merges))
    return opened


def product(factors: Sequence[Factor]) -> Source:
    """A grid. Where a factor is a stream, the first is read as it goes, the others are held.

    Nothing is read before the grid is. Raises InputError where two factors give the same key.
    """
    names = _names(factors)
    distinct = all(factor.source.distinct for factor in factors)
    if all(isinstance(factor.source, Fixed) for factor in factors):
        return Fixed(Grid([factor.rows() for factor in factors]), distinct, "kwargs", names)
    first, *others = factors

    def cells() -> Iterator[dict[str, Any]]:
        rest = Grid([factor.rows() for factor in others]) if others else [{}]
        if rest:
            for item in first.source:
                before = first.row(item)
                for row in rest:
                    yield {**before, **row}

    lengths = [factor.source.length for factor in factors]
    known = [length for length in lengths if length is not None]
    total = prod(known) if len(known) == len(lengths) else None
    return Stream(cells, total, distinct, "kwargs", names)


def zipped(factors: Sequence[Factor], *, recycle: bool) -> Source:
    """Return items side by side; ``recycle`` lets shorter inputs begin again.

    Raises InputError where the lengths differ otherwise: at once, or as they end.
    """
    names = _names(factors)
    distinct = any(factor.source.distinct for factor in factors)
    known = [(f.name, f.source.length) for f in factors if f.source.length is not None]
    for name, length in known[1:]:
        first, count = known[0]
        if length != count and not recycle:
            hint = "recycle: true lets the shorter one begin again"
            raise InputError(f"zip: {first!r} has {count} items, {name!r} has {length}", hint=hint)
    if all(isinstance(factor.source, Fixed) for factor in factors):
        return Fixed(Side([factor.rows() for factor in factors]), distinct, "kwargs", names)
    if recycle:
        whole = len(known) == len(factors)
        sizes = [length for _, length in known]
        longest = (max(sizes) if all(sizes) else 0) if whole else None
        return Stream(lambda: _recycled(factors), longest, distinct, "kwargs", names)
    total = known[0][1] if known else None
    return Stream(lambda: _pairs(factors), total, distinct, "kwargs", names)


def _recycled(factors: Sequence[Factor]) -> Iterator[dict[str, Any]]:
    """Yield items side by side until each input has ended once; what may come again is held."""
    iterators = [iter(factor.source) for factor in factors]
    held: list[list[Any]] = [[] for _ in factors]
    ended = [False] * len(factors)
    for number in count():
        row: dict[str, Any] = {}
        for place, factor in enumerate(factors):
            item = _END if ended[place] else next(iterators[place], _END)
            if item is not _END:
                held[place].append(item)
            else:
                ended[place] = True
                if all(ended) or not held[place]:
                    return
                item = held[place][number % len(held[place])]
            row.update(factor.row(item))
        yield row


def _pairs(factors: Sequence[Factor]) -> Iterator[dict[str, Any]]:
    iterators = [iter(factor.source) for factor in factors]
    count = 0
    while True:
        items = [next(iterator, _END) for iterator in iterators]
        ended = [f.name for f, item in zip(factors, items, strict=True) if item is _END]
        if len(ended) == len(items):
            return
        if ended:
            longer = next(factor.name for factor in factors if factor.name not in ended)
            raise InputError(f"zip: {ended[0]!r} ends after {count} items, {longer!r} has more")
        row: dict[str, Any] = {}
        for factor, item in zip(factors, items, strict=True):
            row.update(factor.row(item))
        yield row
        count += 1


def _names(factors: Sequence[Factor]) -> tuple[str, ...]:
    """The keys of a combination's items. Raises InputError where one would hide another."""
    owners: dict[str, str] = {}
    for factor in factors:
        for name in factor.names:
            if name in owners:
                raise InputError(
                    f"{name!r} comes from {owners[name]!r}, and from {factor.name!r} again",
                    hint="the keys of a nested product, zip or cases stand beside the others",
                    path=(factor.name,),
                )
            owners[name] = factor.name
    return tuple(owners)


def excluding(source: Source, patterns: Sequence[Any]) -> Source:
    """Leave out the items that match. Raises InputError for a pattern that none can match.

    What can be had by number stays so, unless there is too much to be looked at beforehand.
    """
    for at, pattern in enumerate(patterns):
        _possible(pattern, at, source.names)
    if not patterns:
        return source
    if isinstance(source, Fixed):
        most = MOST_LOOKED_AT // len(patterns)
        items, cells = source.items, []
        for each in patterns:
            # What concerns one factor alone is taken out of it; only other cells need numbers.
            smaller = items.without(each, most) if isinstance(items, Grid) else None
            if smaller is not None:
                items = smaller
            else:
                cells.append(each)
        excluded = [
            items.places(each, most) if isinstance(items, Grid) else places(items, each, most)
            for each in cells
        ]
        known = [numbers for numbers in excluded if numbers is not None]
        if len(known) == len(excluded):
            left = Without(items, chain.from_iterable(known)) if known else items
            return replace(source, items=left)

    def kept() -> Iterator[Any]:
        return (item for item in source if not any(matches(item, each) for each in patterns))

    return Stream(kept, None, source.distinct, source.unpack, source.names)


def picking(source: Source, where: Where) -> Source:
    """Leave only the items that ``where`` picks, as they are read; see ``arcli.inputs.where``."""
    if where is None:
        return source
    condition = named_condition(where)

    def picked() -> Iterator[Any]:
        return (item for number, item in enumerate(source) if condition(item, f"item {number}"))

    return Stream(picked, None, source.distinct, source.unpack, source.names)


def _possible(pattern: Any, at: int, names: Sequence[str] | None) -> None:
    if names is None:
        return
    if not isinstance(pattern, Mapping):
        raise InputError(
            f"exclude: {pattern!r} is no item: they are maps with the keys {', '.join(names)}",
            path=("exclude", at),
        )
    for name in pattern:
        if name not in names:
            raise InputError(
                f"exclude: items have no {name!r}; they have {', '.join(names)}",
                path=("exclude", at, name),
            )


def sampled(source: Source, count: int, seed: int) -> Source:
    """Pick a number of the items at random, by a seed, in their order; all where there are fewer."""
    chance = random.Random(seed)  # noqa: S311 - reproducible is the point
    if isinstance(source, Fixed) and count > MOST_LOOKED_AT:
        read = partial(_selected, source.items, count, chance)
        return Stream(read, min(count, source.length), source.distinct, source.unpack, source.names)
    if isinstance(source, Fixed):
        total = len(source.items)
        picked = sorted(chance.sample(range(total), min(count, total)))
        return replace(source, items=Picked(source.items, picked))

    def reservoir() -> list[Any]:
        """Algorithm R (Vitter, 1985, https://doi.org/10.1145/3147.3165)."""
        numbered = enumerate(source)
        kept = list(islice(numbered, count))
        for number, item in numbered:
            place = chance.randrange(number + 1)
            if place < count:
                kept[place] = (number, item)
        return [item for _, item in sorted(kept, key=lambda pair: pair[0])]

    length = None if source.length is None else min(count, source.length)
    return replace(source, read=reservoir, length=length)


def _selected(items: Sequence[Any], count: int, chance: random.Random) -> Iterator[Any]:
    """Yield ``count`` of the items in their order, without holding their numbers.

    Selection sampling, Algorithm S of Knuth, The Art of Computer Programming, volume 2, 3.4.2.
    """
    for place in range(len(items)):
        if chance.random() * (len(items) - place) < count:
            count -= 1
            yield items[place]


def shuffled(source: Source, seed: int | None) -> Source:
    """The items in an order that depends on the seed alone; held only where they must be."""
    if seed is None:
        return source
    if isinstance(source, Fixed):
        return replace(source, items=Picked(source.items, permutation(len(source.items), seed)))
    read = source.read

    def held() -> list[Any]:
        items = list(read())
        random.Random(seed).shuffle(items)  # noqa: S311 - reproducible is the point
        return items

    return replace(source, read=held)
