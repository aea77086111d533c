"""Find the items that came to something else in another run: matched by job and input, not by number."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import zip_longest
from typing import Any, NamedTuple

from arcli.engine.tally import Status
from arcli.record import dump, file_of
from arcli.reports.collect import ItemRow, item_row
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.timing.failures import type_and_message

MOST_ITEMS = 100_000
"""Items of each job that are compared, the first by their numbers."""
MOST_DIFFERENT = 20_000
"""Items that differ and are listed."""


class Outcome(NamedTuple):
    """What an item came to, as people read it, and the ``digest`` of all of it."""

    row: ItemRow
    digest: bytes


class DifferentItem(NamedTuple):
    """An item of both runs that ended otherwise, or of one of them: the other's side is None."""

    job: str
    item: int
    input: str
    status_a: str | None
    status_b: str | None
    seconds_a: float | None
    seconds_b: float | None
    result_a: str | None
    result_b: str | None


_SIDE_BY_SIDE = ("status", "seconds", "result")


class Differing(NamedTuple):
    """``compared`` items of the two runs, how many differ, and those of them that are listed."""

    compared: int
    different: int
    items: list[DifferentItem]


def differing(a: RunFolder, b: RunFolder) -> Differing:
    """Find the items whose status or result is not the same, in the order of B's. Raises OutputError.

    Equal inputs of a job are matched in the order of their numbers.
    """
    before, now = _outcomes(a), _outcomes(b)
    items: list[DifferentItem] = []
    compared = 0
    for job, digest in sorted(before.keys() | now.keys()):
        sides = (
            sorted(run.get((job, digest), ()), key=lambda each: each.row.item) for run in (before, now)
        )
        for was, is_now in zip_longest(*sides):
            compared += 1
            if was is not None and is_now is not None and was.digest == is_now.digest:
                continue
            rows = (was and was.row, is_now and is_now.row)
            some = rows[1] or rows[0]
            both = [row and getattr(row, name) for name in _SIDE_BY_SIDE for row in rows]
            items.append(DifferentItem(job, some.item, some.input, *both))
    items.sort(key=lambda each: (each.job, each.item))
    return Differing(compared, len(items), items[:MOST_DIFFERENT])


def _outcomes(run: RunFolder) -> dict[tuple[str, bytes], list[Outcome]]:
    """Return what each item came to, by its job and a digest of its input."""
    outcomes: dict[tuple[str, bytes], list[Outcome]] = defaultdict(list)
    for record in past.records(run):
        if record["index"] < MOST_ITEMS:
            outcome = _outcome(run, record)
            # An item without an input, as an apply's are, is what its number says.
            key = record.get("input") if record.get("input") is not None else ["item", record["index"]]
            outcomes[record["job"], _digest(key)].append(outcome)
    return outcomes


def _outcome(run: RunFolder, record: dict[str, Any]) -> Outcome:
    status = str(record["status"])
    # All of what went wrong: people read the first line of it, which may be the same.
    result = record.get("value") if status == Status.OK else type_and_message(record)
    # Of a large value a record has what it looks like and where it is, its file all that it is.
    if (path := file_of(result)) is not None:
        result = {"$file": _content(run, path)}
    return Outcome(item_row(record), _digest([status, result]))


def _content(run: RunFolder, path: str) -> str:
    """Return the digest of a value's file; where it cannot be read, what is the same in no other run."""
    # Names of files are the same in all runs, and say nothing of values.
    unknown = f"{path} of run {run.id}"
    file = (run.path / path).resolve()
    if not file.is_relative_to(run.path.resolve()):
        return unknown
    try:
        with file.open("rb") as value:
            return hashlib.file_digest(value, "blake2b").hexdigest()
    except OSError:
        return unknown


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(dump(value), digest_size=16).digest()
