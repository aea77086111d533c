"""The columns that people ask for by name, checked against what the records have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from arcli.engine.tally import Status
from arcli.errors import UsageError
from arcli.record import FIELDS, decode, parts
from arcli.store.index import NESTED, JournalIndex, cell_of, names_of
from arcli.suggest import near_or_all

_OPEN = ("input", "value")
"""Fields whose parts are the user's."""
_NOTHING = object()
FEW = 1000
"""Records whose names are suggested in place of one that there is not."""


def check_columns(index: JournalIndex, job: str | None, names: Iterable[str], flag: str) -> None:
    """Raise UsageError for the first name that no record, of a job or of all, has anything under.

    What a run without records has, nobody knows. Only the records up to the first that has the name
    are read: for a field of every record, none; for a name that is nowhere in the journal, a few.
    """
    for name in names:
        first, _, rest = name.partition(".")
        if name in FIELDS or first in NESTED:
            continue
        field = first if rest and first in _OPEN else ""
        key = rest if field else name
        present: dict[str, None] = {}
        undivided = False
        # Of a million records a slip of the pen would else be told after all have been read.
        few = None if index.may_name(name.rpartition(".")[2]) else FEW
        for record in islice(_records(index, job, succeeded=first == "value"), few):
            if cell_of(record, name, _NOTHING) is not _NOTHING:
                break
            # The parts of a field, or the input's keys and all fields.
            inputs = (key for key in names_of(record) if key not in FIELDS)
            present.update(dict.fromkeys(parts(record.get(field)) if field else (*inputs, *FIELDS)))
            undivided |= record.get(field) is not None
        else:
            if present or undivided:
                hint = near_or_all(key, present) if present else f"{field} has no parts"
                what = f"{key!r} in its {field}" if field else repr(name)
                raise UsageError(f"{flag}: no item has {what}", hint=hint)


def _records(index: JournalIndex, job: str | None, *, succeeded: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the records, or only those that can have a value."""
    for name, number in index.items(job):
        line = None
        if not succeeded or index.cells(name, number)["status"] == Status.OK:
            line = index.line(name, number)
        if line is not None:
            yield decode(line)
