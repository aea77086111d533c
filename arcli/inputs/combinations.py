"""Inputs made of inputs: every combination, side by side, or written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from math import prod
from pathlib import Path
from typing import Any, ClassVar

from msgspec import Struct
from pydantic import ConfigDict

from arcli.errors import InputError
from arcli.inputs.base import Fixed, Input, Source, SourceContext, Stream, within
from arcli.inputs.grid import Grid, Rows, side_by_side
from arcli.inputs.over import Items, Over
from arcli.inputs.values import may_be_path

_END = object()


class _Combination(Input):
    """An input whose items are maps of other inputs' items, by their names."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Items]
    merges: ClassVar[bool] = True

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        if not self.parts():
            yield InputError(f"{self.key} needs at least one factor")

    def parts(self) -> Mapping[str, Over]:
        """See Input."""
        return self.__pydantic_extra__


class Product(_Combination):
    """All combinations of several inputs, the last one varying fastest."""

    key: ClassVar[str] = "product"

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return product(factors(self.parts(), context))


class Zip(_Combination):
    """Items of several inputs side by side."""

    key: ClassVar[str] = "zip"
    recycle: bool = False
    """Let shorter inputs begin again, until the longest has ended."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return zipped(factors(self.parts(), context), recycle=self.recycle)


class Cases(Input):
    """Combinations that are written out: a list of maps."""

    key: ClassVar[str] = "cases"
    short: ClassVar[str] = "items"
    merges: ClassVar[bool] = True
    items: list[dict[str, Any]]
    """Maps, each of them an item."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        cases = context.resolve(self.items)
        names = tuple(dict.fromkeys(name for case in cases for name in case))
        return Fixed(cases, unpack="kwargs", names=names)

    @property
    def paths(self) -> bool:
        """See Input."""
        return any(map(may_be_path, self.items))


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
    # By number no cell needs to be held; a stream has no numbers, so that the others are held for it.
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

    # One factor of unknown length leaves the whole unknown.
    lengths = [factor.source.length for factor in factors]
    known = [length for length in lengths if length is not None]
    total = prod(known) if len(known) == len(lengths) else None
    return Stream(cells, total, distinct, "kwargs", names)


def zipped(factors: Sequence[Factor], *, recycle: bool) -> Source:
    """Return items side by side; ``recycle`` lets shorter inputs begin again.

    Raises InputError where the lengths differ otherwise: at once, or as they end.
    """
    names = _names(factors)
    # What differs already is told before the run; streams tell it as they end.
    known = [(f.name, f.source.length) for f in factors if f.source.length is not None]
    lengths = [length for _, length in known]
    # One that is empty can be repeated by nothing: then there are no items at all.
    longest = (max(lengths) if all(lengths) else 0) if len(known) == len(factors) else None
    # What may begin again tells no rows apart.
    telling = [f for f in factors if not recycle or (longest is not None and f.source.length == longest)]
    distinct = any(factor.source.distinct for factor in telling)
    for name, length in known[1:]:
        first, count = known[0]
        if length != count and not recycle:
            hint = "recycle: true lets the shorter one begin again"
            raise InputError(f"zip: {first!r} has {count} items, {name!r} has {length}", hint=hint)
    if all(isinstance(factor.source, Fixed) for factor in factors):
        return Fixed(side_by_side([factor.rows() for factor in factors]), distinct, "kwargs", names)
    if recycle:
        return Stream(lambda: _recycled(factors), longest, distinct, "kwargs", names)
    total = known[0][1] if known else None
    return Stream(lambda: _pairs(factors), total, distinct, "kwargs", names)


def _recycled(factors: Sequence[Factor]) -> Iterator[dict[str, Any]]:
    """Yield items side by side until each input has ended once; what may come again is held."""
    iterators = [iter(factor.source) for factor in factors]
    held: list[list[Any]] = [[] for _ in factors]
    ended = [False] * len(factors)
    # The longest is known only when each has ended, and the row in which the last one ends is none.
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
        # Which one is too long is known by name: that is where the extra item stands.
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
    # Later ones would win in silence, and the item lack what the user wrote.
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
