"""The records of a run by their numbers, and by conditions such as ``lr > 0.1 and status == "error"``.

The journal has them in the order of completion. The index, which is kept beside it, has for each job the
offset of the record of each item, as one number of eight bytes; that of a million items is found in about a
second.
"""

from __future__ import annotations

import ast
import builtins
import mmap
import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import orjson

from arcli.engine.encode import from_tree
from arcli.errors import OutputError, UsageError
from arcli.record import decode
from arcli.store.files import write_whole
from arcli.store.folder import RunFolder
from arcli.store.journal import is_record
from arcli.suggest import did_you_mean
from arcli.syntax import free_names

FILE = "journal.index"
"""Beside the journal."""
_NONE = 2**64 - 1
"""The offset of an item that has no record."""
_VERSION = 1


class JournalIndex:
    """The records of ``run`` by job and number; one that goes on is read as far as it is.

    As a context it holds the journal open. Raises OutputError where that cannot be read.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._places: dict[str, array[int]] = {}
        # The journal is mapped, not read: of a million records a question may need only ten. Its
        # size is the one at this moment, also where the run goes on.
        self._map: mmap.mmap | None = None
        try:
            with run.journal.open("rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                if self._size:
                    self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            self._size = 0
        except OSError as error:
            raise OutputError(f"the journal {run.journal} cannot be read: {error.strerror}") from None
        # What has ended is indexed once for all; a journal that grows would only make it old.
        if self._map is not None and not self._read():
            self._build(self._map)
            if run.manifest.exit_code is not None:
                with suppress(OSError):  # a folder that cannot be written to is read all the same
                    self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._map is not None:
            self._map.close()

    @property
    def jobs(self) -> list[str]:
        """The jobs that have records, in the order of their first ones."""
        return list(self._places)

    def numbers(self, job: str) -> Iterator[int]:
        """Return the numbers of a job's items that have a record, in their order."""
        places = self._places.get(job, ())
        return (number for number, place in enumerate(places) if place != _NONE)

    def line(self, job: str, number: int) -> bytes | None:
        """Return the record of an item, with its newline; None where there is none."""
        places = self._places.get(job)
        if places is None or not 0 <= number < len(places) or places[number] == _NONE:
            return None
        assert self._map is not None
        start = places[number]
        return self._map[start : self._map.find(b"\n", start) + 1]

    def lines(self, job: str | None = None) -> Iterator[bytes]:
        """Yield all records, of one job or job by job, in the order of the items."""
        for name in self.jobs if job is None else [job]:
            for number in self.numbers(name):
                line = self.line(name, number)
                assert line is not None
                yield line

    def _build(self, journal: mmap.mmap) -> None:
        """Note where each record begins; of an item with several (a copied journal) the last counts."""
        start = 0
        while (end := journal.find(b"\n", start)) >= 0:
            # What is damaged is as good as not there, as for every reader of a journal.
            with suppress(ValueError):
                record = decode(journal[start:end])
                if is_record(record):
                    number = record["index"]
                    places = self._places.setdefault(record["job"], array("Q"))
                    if number >= len(places):
                        places.extend([_NONE] * (number + 1 - len(places)))
                    places[number] = start
            start = end + 1

    def _read(self) -> bool:
        """Read the index that is beside the journal; tells whether it is there and of this journal."""
        # It is believed only where it is of this version and of a journal of this very size, and
        # where no offset leads out of the journal: anybody may have edited it.
        with suppress(OSError, ValueError, KeyError, TypeError):
            with (self._run.path / FILE).open("rb") as file:
                head = orjson.loads(file.readline())
                if (head["version"], head["size"]) != (_VERSION, self._size):
                    return False
                for job, count in head["jobs"]:
                    places = array("Q")
                    places.frombytes(file.read(count * places.itemsize))
                    if len(places) != count or any(p != _NONE and p >= self._size for p in places):
                        raise ValueError
                    self._places[job] = places
            return True
        self._places.clear()
        return False

    def _write(self) -> None:
        jobs = [[job, len(places)] for job, places in self._places.items()]
        head = orjson.dumps({"version": _VERSION, "size": self._size, "jobs": jobs})
        parts = [head + b"\n", *(places.tobytes() for places in self._places.values())]
        write_whole(self._run.path / FILE, b"".join(parts), durable=False)


FIELDS = (
    "job", "index", "status", "reason", "seconds", "attempt", "engine_id", "slot", "stdout", "stderr",
    "truncated", "exact", "submitted", "started", "completed", "received", "chunk", "msg_id", "key", "run",
    "replayed",
)  # fmt: skip


class Dotted(dict[str, Any]):
    """A mapping whose keys can be written as attributes, as in ``value.loss``; None where it has none."""

    def __getattr__(self, name: str) -> Any:
        return _dotted(self.get(name))


class Condition:
    """An expression of a record's fields, and of the keys of its input, that is true or not.

    ``input``, ``value`` and ``error`` are the record's; a key of the input stands for itself unless a
    field is called so. Where a name is not there, or cannot be compared, a record does not match.
    Raises UsageError for what is no expression.
    """

    def __init__(self, text: str) -> None:
        # Evaluating the text is the user's own wish: it came from his command line.
        self._text = text
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError) as error:
            message = f"--where {text!r} is no expression: {getattr(error, 'msg', None) or error}"
            raise UsageError(message, hint="""such as 'lr > 0.1 and status == "error"'""") from None
        self._code = compile(tree, "where", "eval")
        self._names = {name.id for name in free_names(tree) if not hasattr(builtins, name.id)}
        self._missing = set(self._names)
        self._known: set[str] = set()

    def __call__(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record matches."""
        # Records differ in their inputs' keys: a name is wrong only if none of them has it.
        names = names_of(record)
        self._missing.difference_update(names)
        self._known.update(names)
        try:
            return bool(eval(self._code, {**dict.fromkeys(self._names), **names}))  # noqa: S307 - the caller's own
        except Exception:  # noqa: BLE001 - None that is compared, a text that is no number
            return False

    def check(self) -> None:
        """Raise UsageError for a name that none of the records had that were asked about."""
        if self._known:
            for name in sorted(self._missing):
                hint = did_you_mean(name, self._known) or f"there are: {', '.join(sorted(self._known))}"
                raise UsageError(f"--where: no item has {name!r}", hint=hint)


def names_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has under which names, for conditions, sorting and columns."""
    names = {name: record.get(name) for name in FIELDS}
    item = from_tree(record.get("input"))
    names["input"], names["value"] = _dotted(item), _dotted(from_tree(record.get("value")))
    names["error"] = _dotted(record.get("error"))
    # Fields go first: `status` is the record's, whatever an input calls its own.
    if isinstance(item, dict):
        names = {**{str(key): _dotted(value) for key, value in item.items()}, **names}
    return names


def cell_of(record: Mapping[str, Any], column: str) -> Any:
    """Return what a record has in a column: a name, or names with dots between; None where there is
    nothing.
    """
    names = names_of(record)
    if column in names:
        return names[column]
    value: Any = names
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def sort_key(value: Any) -> tuple[int, Any]:
    """Order values of several kinds: numbers, then texts, then the rest, nothing last."""
    if isinstance(value, bool | int | float):
        return (0, value) if value == value else (3, 0)
    if isinstance(value, str):
        return (1, value)
    return (3, 0) if value is None else (2, repr(value))


def _dotted(value: Any) -> Any:
    return Dotted(value) if isinstance(value, dict) else value
