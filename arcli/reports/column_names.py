"""The columns that people ask for by name, checked against what the records have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arcli.engine.tally import Status
from arcli.errors import UsageError
from arcli.record import FIELDS, decode
from arcli.store.index import NESTED, JournalIndex, cell_of, names_of, parts
from arcli.suggest import near_or_all

_OPEN = ("input", "value")
"""Fields whose parts are the user's."""
_NOTHING = object()


def check_columns(index: JournalIndex, job: str | None, names: Iterable[str], flag: str) -> None:
    """Raise UsageError for the first name that no record, of a job or of all, has anything under.

    What a run without records has, nobody knows. Only the records up to the first that has the name
    are read: for a field of every record, none.
    """
    for name in names:
        first, _, rest = name.partition(".")
        if name in FIELDS or first in NESTED:
            continue
        field = first if rest and first in _OPEN else ""
        key = rest if field else name
        known: dict[str, None] = {}
        whole = False
        for record in _records(index, job, succeeded=first == "value"):
            if cell_of(record, name, _NOTHING) is not _NOTHING:
                break
            known.update(_present(record, field))
            whole |= record.get(field) is not None
        else:
            if known or whole:
                hint = near_or_all(key, known) if known else f"{field} has no parts"
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


def _present(record: Mapping[str, Any], field: str) -> dict[str, None]:
    """Return what a record has names for: the parts of a field, or the input's keys and all fields."""
    if field:
        return dict.fromkeys(parts(record.get(field)))
    return dict.fromkeys((*(key for key in names_of(record) if key not in FIELDS), *FIELDS))
