"""The names of columns and in conditions, checked against what the records have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from arcli.engine.tally import Status
from arcli.errors import UsageError
from arcli.record import FIELDS, ItemError, decode, parts
from arcli.store.index import JournalIndex, fields_of
from arcli.suggest import near_or_all

FEW = 1000
"""Records whose names are suggested in place of one that there is not."""


class Sought:
    """A name, or names with dots between, that is looked for in records; ``flag`` is who asks for it."""

    def __init__(self, name: str, flag: str) -> None:
        self.name = name
        self.met = False
        """Whether a record has it."""
        self._flag = flag
        self._place: tuple[str, ...] | None = None
        self._key = ""
        self._there: dict[str, None] = {}

    def look(self, record: Mapping[str, Any]) -> None:
        """Look for it in a record. Records differ: one that has nothing in this place tells nothing."""
        names, rest = fields_of(record), self.name
        place: tuple[str, ...] = ()
        names["error"] = names["error"] or dict.fromkeys(ItemError.__struct_fields__)
        while rest not in names:
            first, dot, after = rest.partition(".")
            if first not in names or not dot:
                self._miss(place, first, names)
                return
            value = names[first]
            if value is None:
                return
            names, rest, place = parts(value), after, (*place, first)
        self.met = True

    def _miss(self, place: tuple[str, ...], key: str, names: Mapping[str, Any]) -> None:
        """Note what there is instead of a key, as deep as it can be followed."""
        if self._place is None or len(place) > len(self._place):
            self._place, self._key, self._there = place, key, {}
        if place == self._place and len(self._there) < FEW:
            # What is the user's goes first.
            own = (name for name in names if place or name not in FIELDS)
            self._there.update(dict.fromkeys(own))

    def check(self) -> None:
        """Raise UsageError where records have been looked at, and none has it."""
        if self.met or self._place is None:
            return
        within = ".".join(self._place)
        there = self._there if within else [*self._there, *FIELDS]
        hint = near_or_all(self._key, there) if there else f"{within} has no parts"
        what = f"{self._key!r} in its {within}" if within else repr(self._key)
        raise UsageError(f"{self._flag}: no item has {what}", hint=hint)


def check_names(index: JournalIndex, job: str | None, names: Iterable[str], flag: str) -> None:
    """Raise UsageError for the first name that no record, of a job or of all, has anything under.

    What a run without records has, nobody knows. Only the records up to the first that has the name
    are read: for a field of every record, none; for a name that is nowhere in the journal, a few.
    """
    for name in names:
        if name in FIELDS:
            continue
        sought = Sought(name, flag)
        # Of a million records a slip of the pen would else be told after all have been read.
        few = None if index.may_name(name.rpartition(".")[2]) else FEW
        for record in islice(_records(index, job, succeeded=name.startswith("value.")), few):
            sought.look(record)
            if sought.met:
                break
        sought.check()


def _records(index: JournalIndex, job: str | None, *, succeeded: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the records, or only those that can have a value."""
    for name, number in index.items(job):
        line = None
        if not succeeded or index.cells(name, number)["status"] == Status.OK:
            line = index.line(name, number)
        if line is not None:
            yield decode(line)
