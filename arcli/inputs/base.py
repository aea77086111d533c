"""What every source of items looks like, and every kind of input that a spec can name."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, TypeAlias, TypeVar, overload

from msgspec import Struct, field

from arcli.errors import InputError
from arcli.fields import Model

if TYPE_CHECKING:
    from arcli.inputs.over import Over

T = TypeVar("T")
Unpack = Literal["none", "kwargs"]


class SourceContext(Struct, frozen=True, kw_only=True):
    """What a source may need beside its own settings.

    Relative paths are relative to ``folder``; ``stdin`` is binary, None where it is closed.
    ``jobs`` has earlier jobs' values, called with ``where``. ``resolve`` fills in late values,
    ``load_callable`` finds a generator of the user's; it is called only when items are read.
    ``python`` is the interpreter of the engines, where that is another one. ``texts``: items become
    words of a command, so that what is text stays as it is written; ``compared``: with its value, as a
    ``WrittenRow``, since something is still to compare them. ``elements`` divides one of an earlier job's
    values into what it is made of.
    """

    folder: Path
    stdin: BinaryIO | None = None
    jobs: Mapping[str, Callable[[Any], Iterable[Any]]] = field(default_factory=dict)
    resolve: Callable[[Any], Any] = lambda tree: tree
    load_callable: Callable[[str], Any] = lambda text: None
    python: str | None = None
    texts: bool = False
    compared: bool = False
    elements: Callable[[Any], Iterable[Any]] = iter


class Lazy(Sequence[T]):
    """A sequence of ``length`` items, of which each is made by its number when it is asked for: ``at``."""

    def __init__(self, length: int, at: Callable[[int], T]) -> None:
        self._length = length
        self._at = at

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[T]:
        # A sequence's own way asks for one item after another until there is none, at twice the cost.
        return map(self._at, range(len(self)))


class Fixed(Struct, frozen=True):
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


class Stream(Struct, frozen=True):
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


class Input(Model):
    """A kind of input: the settings that stand under its key in ``over``, and all that it does.

    A subclass is one input. Its fields are the settings, its docstring describes it in the schema.
    It becomes usable in specs by standing in ``arcli.inputs.registry``, or by an entry point of the
    group ``arcli.inputs`` in any installed package.
    """

    key: ClassVar[str]
    """The word in ``over`` that asks for it."""
    short: ClassVar[str] = ""
    """The field that a value which is no map stands for; empty where there is no short form."""
    merges: ClassVar[bool] = False
    """Whether its items are maps whose keys stand beside the others' in a combination."""
    named: ClassVar[bool] = True
    """Whether its items may be maps, whose keys a command can name."""
    picks_rows: ClassVar[bool] = False
    """Whether it has a ``where`` of its own, which means what ``where`` beside an input means."""
    reads_stdin: ClassVar[bool] = False
    """Whether it reads standard input, which only one reader can."""
    only_in_runs: ClassVar[bool] = False
    """Whether reading it runs the user's code or needs results, so that a dry run cannot."""

    @property
    def paths(self) -> bool:
        """Whether an item may be a path of a file, whose parts a command can name."""
        return True

    def check(self, folder: Path) -> Iterator[InputError]:
        """Yield what is wrong with the settings, and with the files that they name in ``folder``."""
        yield from ()

    def check_excluded(self, patterns: Sequence[Any]) -> Iterator[InputError]:
        """Yield what is wrong with items that ``exclude`` beside this input leaves out."""
        yield from ()

    def open(self, context: SourceContext) -> Source:
        """Open the source. Reads at most what a file says of itself, and nothing of a pipe.

        Raises InputError for what can be seen to be wrong.
        """
        raise NotImplementedError

    def reads(self, folder: Path) -> Iterator[Path]:
        """Yield the files that are read, which no output may overwrite."""
        yield from ()

    def state(self, folder: Path) -> list[Any] | None:
        """Return how the files stand that items are places in; None where items say all themselves."""
        return None

    def nothing(self) -> str:
        """Say that there are no items."""
        return "there are no items"

    def keys(self, source: Source) -> Iterable[str] | None:
        """Return the keys that items of the opened source may have, None where nobody knows."""
        return source.names if self.named else ()

    def written(self) -> Any:
        """Return the settings as they are written in a spec, in the short form if that says it all."""
        # What was not said is left out: a spec that is written again reads as its author wrote it.
        settings = {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }
        if set(settings) == {self.short}:
            return settings[self.short]
        return {**settings, **self.parts()}

    def parts(self) -> Mapping[str, Over]:
        """Return the inputs that this one combines, by their names."""
        return {}

    def jobs(self) -> Iterator[str]:
        """Yield the names of the earlier jobs whose values it reads."""
        yield from ()


def unread(where: Any) -> Iterator[Any]:
    """Stand for an earlier job's values where sources are opened before the run: nothing reads them."""
    yield from ()
    raise AssertionError("no source is read before the run")


@contextmanager
def within(*path: str | int) -> Iterator[None]:
    """Put ``path``, a part of ``over``, before the path of errors that are raised inside."""
    try:
        yield
    except InputError as error:
        error.path = (*path, *error.path)
        raise


def integral(value: Any) -> Any:
    """Return whole numbers that are written as ``1e3`` or ``2.0`` as integers, all else as it is."""
    if isinstance(value, list):
        return [integral(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that are there more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
