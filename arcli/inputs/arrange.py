"""What is done to the items of a source: some are left out, picked, put together or in another order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec.structs import replace

from arcli.errors import InputError
from arcli.inputs.base import Fixed, Lazy, Source, Stream
from arcli.inputs.grid import MOST_LOOKED_AT, Grid, leaving_out, permutation, picked, places
from arcli.inputs.patterns import Patterns
from arcli.inputs.where import Where, condition


def batched(source: Source, size: int) -> Source:
    """Return a source whose items are lists of ``size`` items; the last one may be shorter."""
    if isinstance(source, Fixed):
        items = source.items
        batches = Lazy(-(-len(items) // size), lambda at: list(items[at * size : (at + 1) * size]))
        return Fixed(batches, source.distinct)

    def read() -> Iterator[list[Any]]:
        rest = iter(source)
        while batch := list(islice(rest, size)):
            yield batch

    length = None if source.length is None else -(-source.length // size)
    return Stream(read, length, source.distinct)


def excluding(source: Source, patterns: Sequence[Any]) -> Source:
    """Leave out the items that match. Raises InputError for a pattern that none can match.

    What can be had by number stays so, unless there is too much to be looked at beforehand.
    """
    for at, pattern in enumerate(patterns):
        _possible(pattern, at, source.names)
    if not patterns:
        return source
    if isinstance(source, Fixed):
        items, cells = source.items, patterns
        if isinstance(items, Grid):
            # What concerns one factor alone is taken out of it; only other cells need numbers.
            items, cells = items.without(patterns, MOST_LOOKED_AT)
            excluded = items.places(cells, MOST_LOOKED_AT) if cells else ()
        else:
            excluded = places(items, patterns, MOST_LOOKED_AT)
        if excluded is not None:
            return replace(source, items=leaving_out(items, excluded) if cells else items)
    wanted = Patterns(patterns)

    def kept() -> Iterator[Any]:
        return (item for item in source if not wanted.match(item))

    return Stream(kept, None, source.distinct, source.unpack, source.names)


def picking(source: Source, where: Where) -> Source:
    """Leave only the items that ``where`` picks, as they are read; see ``arcli.inputs.where``."""
    if where is None:
        return source
    holds = condition(where)

    def read() -> Iterator[Any]:
        return (item for number, item in enumerate(source) if holds(item, f"item {number}"))

    return Stream(read, None, source.distinct, source.unpack, source.names)


def _possible(pattern: Any, at: int, names: Sequence[str] | None) -> None:
    if names is None:
        return
    # What can match nothing is a mistake, and would be found only by counting the items.
    if not isinstance(pattern, Mapping):
        raise InputError(
            f"exclude: {pattern!r} is no item: they are maps with the keys {', '.join(names)}",
            path=("exclude", at),
        )
    for name in pattern:
        if name not in names:
            raise InputError(
                f"exclude: items have no {name!r}; they have {', '.join(names)}", path=("exclude", at, name)
            )


def sampled(source: Source, count: int, seed: int) -> Source:
    """Pick a number of the items at random, by a seed, in their order; all where there are fewer."""
    chance = random.Random(seed)  # noqa: S311 - reproducible is the point
    if isinstance(source, Fixed) and count > MOST_LOOKED_AT:
        items, length = source.items, source.length

        def selected() -> Iterator[Any]:
            """Algorithm S (Knuth, The Art of Computer Programming, volume 2, 3.4.2): holds no numbers."""
            missing = count
            for place in range(length):
                if chance.random() * (length - place) < missing:
                    missing -= 1
                    yield items[place]

        return Stream(selected, min(count, length), source.distinct, source.unpack, source.names)
    if isinstance(source, Fixed):
        total = len(source.items)
        numbers = sorted(chance.sample(range(total), min(count, total)))
        return replace(source, items=picked(source.items, numbers))

    def reservoir() -> list[Any]:
        """Algorithm R (Vitter, 1985, https://doi.org/10.1145/3147.3165)."""
        numbered = enumerate(source)
        kept = list(islice(numbered, count))
        for number, item in numbered:
            place = chance.randrange(number + 1)
            if place < count:
                kept[place] = (number, item)
        return [item for _, item in sorted(kept, key=lambda pair: pair[0])]

    kept = None if source.length is None else min(count, source.length)
    return replace(source, read=reservoir, length=kept)


def shuffled(source: Source, seed: int | None) -> Source:
    """The items in an order that depends on the seed alone; held only where they must be."""
    if seed is None:
        return source
    # By number nothing is held but the order; a stream has to be read to its end first.
    if isinstance(source, Fixed):
        return replace(source, items=picked(source.items, permutation(len(source.items), seed)))
    read = source.read

    def held() -> list[Any]:
        items = list(read())
        random.Random(seed).shuffle(items)  # noqa: S311 - reproducible is the point
        return items

    return replace(source, read=held)
