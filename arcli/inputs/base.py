"""What every source of items looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from arcli.errors import InputError

Unpack = Literal["none", "kwargs"]


@dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What a source may need beside its own words.

    Relative paths are relative to ``folder``; ``stdin`` is binary. ``jobs`` has earlier jobs'
    values, called with ``where``. ``resolve`` fills in late values, ``load_callable`` finds a
    generator of the user's; it is called only when items are read. ``python`` is the interpreter
    of the engines, where that is another one.
    """

    folder: Path
    stdin: BinaryIO | None = None
    jobs: Mapping[str, Callable[[Any], Iterable[Any]]] = field(default_factory=dict)
    resolve: Callable[[Any], Any] = lambda tree: tree
    load_callable: Callable[[str], Any] = lambda text: None
    python: str | None = None


@dataclass(frozen=True)
class Fixed:
    """Items that can be had by their number, such as a list, a range or a grid.

    Raises InputError for more of them than a sequence can have. ``distinct`` says that no two items
    are equal, for certain. ``unpack`` is how an item becomes a call, unless the job says otherwise.
    ``names`` are the keys that items have, None where that cannot be known.
    """

    items: Sequence[Any]
    distinct: bool = False
    unpack: Unpack = "none"
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        try:
            len(self.items)
        except OverflowError:
            raise InputError(f"more items than can be numbered, {sys.maxsize:,} at most") from None

    @property
    def length(self) -> int:
        """How many items there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@dataclass(frozen=True)
class Stream:
    """Items that can only be had one after another, once; ``read`` begins to read them.

    Iterating raises InputError, which names the bad place. ``length`` is None where it turns out by
    reading only; the rest is as in ``Fixed``.
    """

    read: Callable[[], Iterable[Any]]
    length: int | None = None
    distinct: bool = False
    unpack: Unpack = "none"
    names: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())


Source: TypeAlias = Fixed | Stream


@contextmanager
def within(*path: str | int) -> Iterator[None]:
    """Errors from inside know that they are from this part of ``over``."""
    try:
        yield
    except InputError as error:
        error.path = (*path, *error.path)
        raise
