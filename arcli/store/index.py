"""The records of a run by their numbers, and by conditions such as ``lr > 0.1 and status == "error"``.

The journal has them in the order of completion. The index, which is kept beside it, has for each item
the offset of its record, its seconds and its status, in 17 bytes: conditions on these, and sorting by
them, need no record, and the record of one of a million items is found at once.
"""

from __future__ import annotations

import ast
import builtins
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Self

import orjson
from msgspec import Struct, field

from arcli.engine.encode import from_tree
from arcli.engine.tally import STATUSES, Status
from arcli.errors import OutputError, UsageError
from arcli.record import FIELDS, OPTIONAL, decode, parts
from arcli.store.files import write_whole
from arcli.store.folder import RunFolder
from arcli.store.journal import Damage, LineReader, is_record_of, outlines
from arcli.syntax import dotted_names, free_names, parsed

FILE = "journal.index"
"""Beside the journal."""
_NONE = 2**64 - 1
"""The offset of an item that has no record."""
_VERSION = 3
SHORTEST = 64
"""Bytes that every record has."""
UNENDED = 1 << 22
"""Items that may have no record before the last one of a journal: they still run, or never ended."""
INDEXED = {"job", "index", "status", "seconds"}
"""What is known of an item without its record."""
SEARCHED = 1 << 20
"""Bytes of a journal that are searched at a time."""
_CODES = {status: code for code, status in enumerate(STATUSES)}


class _JobIndex(Struct):
    """What is known of a job's items, by their numbers."""

    places: array[int] = field(default_factory=lambda: array("Q"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    statuses: bytearray = field(default_factory=bytearray)

    def clear(self) -> None:
        """Forget all records. Whoever goes through the items goes on, and sees those noted from now on."""
        self.places[:] = array("Q", [_NONE]) * len(self.places)

    def note(self, number: int, place: int, seconds: float | None, status: Status) -> None:
        """Take the record of an item, which begins at ``place``."""
        more = number + 1 - len(self.places)
        if more > 0:
            self.places.extend([_NONE] * more)
            self.seconds.extend([math.nan] * more)
            self.statuses.extend(bytes(more))
        self.places[number] = place
        self.seconds[number] = math.nan if seconds is None else seconds
        self.statuses[number] = _CODES[status]


class JournalIndex:
    """The records of ``run`` by job and number; one that goes on is read as far as it is.

    ``damaged`` is how many parts of the journal are no records.
    As a context it holds the journal open. Raises OutputError where that cannot be read.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.damaged = 0
        self._jobs: dict[str, _JobIndex] = {}
        # Of a million records a question may need only ten, and no more than one is held at a time. The
        # size is the one at this moment, also where the run goes on.
        self._file: BinaryIO | None = None
        self._size = self._changed = 0
        self._built = False
        try:
            self._file = run.journal.open("rb")
            about = os.fstat(self._file.fileno())
            self._size, self._changed = about.st_size, about.st_mtime_ns
            self._lines = LineReader(self._file.fileno())
            if self._size and not self._read():
                self._build()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._refused(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"the journal {self.run.journal} cannot be read: {error.strerror}")

    @property
    def jobs(self) -> list[str]:
        """The jobs that have records, in the order of their first ones."""
        return list(self._jobs)

    def numbers(self, job: str) -> Iterator[int]:
        """Return the numbers of a job's items that have a record, in their order."""
        places = self._jobs[job].places if job in self._jobs else ()
        return (number for number, place in enumerate(places) if place != _NONE)

    def line(self, job: str, number: int) -> bytes | None:
        """Return the record of an item, with its newline; None where there is none."""
        while True:
            places = self._jobs[job].places if job in self._jobs else ()
            if not 0 <= number < len(places) or places[number] == _NONE:
                return None
            try:
                line = self._lines.line(places[number])
                if is_record_of(line, job, number):
                    return line
                # The journal is not what the index was made of any more: it was damaged, or another one.
                if self._built:
                    return None
                self._build()
                self._lines.forget()
            except OSError as error:
                raise self._refused(error) from None

    def record(self, job: str, number: int) -> dict[str, Any]:
        """Return the record of an item as data, empty where there is none."""
        return decode(self.line(job, number) or b"{}")

    def may_name(self, key: str) -> bool:
        """Tell whether any record may have a mapping with a key that ends so; none is read for it."""
        # As JSON has it: what would be escaped there may be written in several ways.
        if self._file is None or not key.isascii() or not key.isprintable() or set(key) & set('"\\'):
            return True
        return self._has(f'{key}"'.encode())

    def _has(self, text: bytes) -> bool:
        """Tell whether a text is anywhere in the journal. Raises OutputError."""
        assert self._file is not None
        start, before = 0, b""
        try:
            while block := os.pread(self._file.fileno(), SEARCHED, start):
                if text in before + block:
                    return True
                start, before = start + len(block), block[-len(text) :]
        except OSError as error:
            raise self._refused(error) from None
        return False

    def items(
        self, job: str | None = None, condition: Condition | None = None
    ) -> Iterator[tuple[str, int]]:
        """Yield jobs and numbers of the items for which a condition holds, in their order.

        Their records are read only where the index does not tell.
        """
        for name in self.jobs if job is None else [job]:
            for number in self.numbers(name):
                if condition is None:
                    yield name, number
                    continue
                if not condition.may_hold(self.cells(name, number)):
                    continue
                line = self.line(name, number) if condition.needs_records else None
                if line is None or condition(decode(line)):
                    yield name, number

    def cells(self, job: str, number: int) -> dict[str, Any]:
        """Return what the index has of an item, by the names in ``INDEXED``."""
        seconds = self._jobs[job].seconds[number]
        return {
            "job": job,
            "index": number,
            "status": STATUSES[self._jobs[job].statuses[number]],
            "seconds": None if seconds != seconds else seconds,
        }

    def count(self, job: str | None = None) -> int:
        """Return how many records there are, of one job or of all."""
        names = self.jobs if job is None else [job]
        return sum(
            len(index.places) - index.places.count(_NONE) for index in map(self._jobs.get, names) if index
        )

    def statuses(self, job: str) -> Counter[Status]:
        """Return how many items of a job ended with which status."""
        index = self._jobs.get(job, _JobIndex())
        codes = Counter(
            code for place, code in zip(index.places, index.statuses, strict=True) if place != _NONE
        )
        return Counter({STATUSES[code]: count for code, count in codes.items()})

    def _build(self) -> None:
        """Note where each record begins; of an item with several (a copied journal) the last counts."""
        self._built = True
        self.damaged = 0
        for index in self._jobs.values():
            index.clear()
        most = self._size // SHORTEST + UNENDED
        for offset, line, outline in outlines(self.run.journal, self._count):
            # What has come since the size was taken is not looked at.
            if offset + len(line) > self._size:
                break
            # A number that no item of so few records can have is as good as damaged.
            if outline.index < most:
                index = self._jobs.setdefault(outline.job, _JobIndex())
                index.note(outline.index, offset, outline.seconds, outline.status)
            else:
                self.damaged += 1
        # What has ended is indexed once for all; a journal that grows would only make it old.
        if self.run.manifest.exit_code is not None:
            with suppress(OSError):  # a folder that cannot be written to is read all the same
                self._write()

    def _count(self, damage: Damage) -> None:
        self.damaged += 1

    def _read(self) -> bool:
        """Read the index that is beside the journal; tells whether it is there and of this journal."""
        # It is believed only where it is of this version and of a journal of this very size and time, and
        # where no offset leads out of the journal: anybody may have edited it.
        with suppress(OSError, ValueError, KeyError, TypeError):
            with (self.run.path / FILE).open("rb") as file:
                head = orjson.loads(file.readline())
                of = (head["version"], head["size"], head["changed"])
                if of != (_VERSION, self._size, self._changed):
                    return False
                self.damaged = int(head["damaged"])
                for job, count in head["jobs"]:
                    index = self._jobs[job] = _JobIndex()
                    for column in (index.places, index.seconds):
                        column.frombytes(file.read(count * column.itemsize))
                    index.statuses.extend(file.read(count))
                    lengths = {len(index.places), len(index.seconds), len(index.statuses)}
                    outside = max((p for p in index.places if p != _NONE), default=-1) >= self._size
                    if lengths != {count} or outside or max(index.statuses, default=0) >= len(STATUSES):
                        raise ValueError
            return True
        self._jobs.clear()
        return False

    def _write(self) -> None:
        jobs = [[job, len(index.places)] for job, index in self._jobs.items()]
        about = {"version": _VERSION, "size": self._size, "changed": self._changed}
        head = orjson.dumps({**about, "damaged": self.damaged, "jobs": jobs})
        parts = [head + b"\n"]
        for index in self._jobs.values():
            parts += [index.places.tobytes(), index.seconds.tobytes(), bytes(index.statuses)]
        write_whole(self.run.path / FILE, b"".join(parts), durable=False)


NESTED = frozenset(["error", *OPTIONAL]) - {"replayed"}
"""Fields that only some records have, and in whose parts one may look."""
_PLAIN = frozenset(FIELDS) - NESTED - {"input", "value"}


class Dotted(dict[str, Any]):
    """A mapping whose keys can be written as attributes, as in ``value.loss``; None where it has none."""

    def __getattribute__(self, name: str) -> Any:
        # Keys go before the methods of a mapping, such as `items`, which stand where no key does. What
        # Python asks of any object is none of the user's.
        if name in self and not name.startswith("__"):
            return _dotted(self[name])
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        return None


class Condition:
    """An expression of a record's fields, and of the keys of its input, that is true or not.

    ``input``, ``value`` and ``error`` are the record's; a key of the input stands for itself unless a
    field is called so. Where a name is not there, or cannot be compared, a record does not match.
    Raises UsageError for what is no expression; ``flag`` is who gave it.
    """

    def __init__(self, text: str, *, flag: str = "--where") -> None:
        # Evaluating the text is the user's own wish: it came from his command line.
        self._text = text
        try:
            tree = parsed(text)
        except ValueError as error:
            raise UsageError(
                f"{flag} {error}", hint="""such as 'lr > 0.1 and status == "error"'"""
            ) from None
        self._code = compile(tree, "where", "eval")
        self._names = {name.id for name in free_names(tree)}
        self._own = frozenset(name for name in self._names if not hasattr(builtins, name))
        # A key may be called as one of Python's functions, so that nobody knows which one was meant.
        told = self._own.union(FIELDS)
        self.names = tuple(name for name in dotted_names(tree) if name.partition(".")[0] in told)
        """What it asks records for: names, or names with dots between."""
        # What is joined by `and` holds only where each part does: those that ask for no more than the
        # index has are asked first, which spares most records from being read.
        body = tree.body
        terms = body.values if isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And) else [body]
        early = [part for part in terms if {name.id for name in free_names(part)} <= INDEXED]
        self.needs_records = len(early) < len(terms)
        self._early = [compile(ast.Expression(part), "where", "eval") for part in early]

    def __call__(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record matches."""
        names = {name: record.get(name) for name in self._names & _PLAIN}
        if len(names) < len(self._names):
            present = names_of(record)
            # A key may be called as one of Python's functions, which stand where no key does.
            names = {
                name: present.get(name) for name in self._names if name in present or name in self._own
            }
        try:
            return bool(eval(self._code, names))  # noqa: S307 - the caller's own
        except Exception:  # noqa: BLE001 - None that is compared, a text that is no number
            return False

    def may_hold(self, cells: Mapping[str, Any]) -> bool:
        """Tell whether it can hold for an item, by what the index has of it (``JournalIndex.cells``)."""
        try:
            return all(eval(part, dict(cells)) for part in self._early)  # noqa: S307 - likewise
        except Exception:  # noqa: BLE001 - likewise
            return False


def names_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has under which names, for conditions, sorting and columns."""
    names = {name: record.get(name) for name in _PLAIN}
    item = from_tree(record.get("input"))
    names["input"], names["value"] = _dotted(item), _dotted(from_tree(record.get("value")))
    names.update({name: _dotted(record.get(name)) for name in NESTED})
    # Fields go first: `status` is the record's, whatever an input calls its own.
    own = parts(record.get("input"))
    return {**{key: _dotted(from_tree(value)) for key, value in own.items()}, **names}


def cell_of(record: Mapping[str, Any], column: str, default: Any = None) -> Any:
    """Return what a record has in a column, as it stands there: a name, or names with dots between;
    ``default`` where there is nothing.
    """
    if column in _PLAIN:
        return record.get(column)
    # Keys may have dots themselves.
    names, rest = fields_of(record), column
    while rest not in names:
        first, dot, rest = rest.partition(".")
        if not dot:
            return default
        names = parts(names.get(first))
    return names[rest]


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has under which names, as it stands there: fields go first, as in names_of."""
    return {**parts(record.get("input")), **{name: record.get(name) for name in FIELDS}}


def sort_key(value: Any) -> tuple[int, Any]:
    """Order values of several kinds: numbers, then texts, then the rest, nothing last."""
    if isinstance(value, bool | int | float):
        return (0, value) if value == value else (3, 0)
    if isinstance(value, str):
        return (1, value)
    return (3, 0) if value is None else (2, repr(value))


def _dotted(value: Any) -> Any:
    return Dotted(value) if isinstance(value, dict) else value
