"""What every source of items looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from arcli.errors import InputError

Unpack = Literal["none", "kwargs"]


@dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What a source may need beside its own words.

    Relative paths are relative to ``folder``; ``stdin`` is binary. ``jobs`` has earlier jobs'
    values, called with ``where``. ``resolve`` fills in late values, ``load_callable`` finds a
    generator of the user's; it is called only when items are read.
    """

    folder: Path
    stdin: BinaryIO | None = None
    jobs: Mapping[str, Callable[[Any], Iterable[Any]]] = field(default_factory=dict)
    resolve: Callable[[Any], Any] = lambda tree: tree
    load_callable: Callable[[str], Any] = lambda text: None


class Source(Protocol):
    """Items, read lazily and once. Iterating raises InputError, which names the bad place.

    ``length`` is None where it turns out by reading only. ``distinct`` says that no two items are
    equal, for certain. ``unpack`` is how an item becomes a call, unless the job says otherwise.
    """

    @property
    def length(self) -> int | None:
        """How many items there are."""

    @property
    def distinct(self) -> bool:
        """Whether all items differ."""

    @property
    def unpack(self) -> Unpack:
        """The natural way to call a function with an item."""

    def __iter__(self) -> Iterator[Any]:
        """The items, in their order."""


@dataclass(frozen=True)
class Fixed:
    """Items that can be had by their number, such as a list, a range or a grid.

    Raises InputError for more of them than a sequence can have.
    """

    items: Sequence[Any]
    distinct: bool = False
    unpack: Unpack = "none"

    def __post_init__(self) -> None:
        try:
            len(self.items)
        except OverflowError:
            raise InputError(f"more items than can be numbered, {sys.maxsize:,} at most") from None

    @property
    def length(self) -> int:
        """See Source."""
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@dataclass(frozen=True)
class Stream:
    """Items that can only be had one after another; ``read`` begins to read them."""

    read: Callable[[], Iterable[Any]]
    length: int | None = None
    distinct: bool = False
    unpack: Unpack = "none"

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())
