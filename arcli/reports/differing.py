"""Find the items that came to something else in another run: matched by job and input, not by number."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import zip_longest
from typing import Any, NamedTuple

from arcli.engine.tally import Status
from arcli.escape import plain
from arcli.record import dump
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.timing.failures import describe, input_label
from arcli.timing.groups import as_label

MOST_ITEMS = 100_000
"""Items of each job that are compared, the first by their numbers."""
MOST_DIFFERENT = 20_000
"""Items that differ and are listed."""


class Outcome(NamedTuple):
    """What an item came to: ``result`` as people read it, ``digest`` of all of it."""

    item: int
    input: str
    status: str
    seconds: float | None
    result: str
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
    found: list[DifferentItem] = []
    compared = 0
    for job, digest in sorted(before.keys() | now.keys()):
        sides = (sorted(run.get((job, digest), ()), key=lambda each: each.item) for run in (before, now))
        for was, is_now in zip_longest(*sides):
            compared += 1
            if was is not None and is_now is not None and was.digest == is_now.digest:
                continue
            some = is_now or was
            found.append(
                DifferentItem(
                    job=job,
                    item=some.item,
                    input=some.input,
                    status_a=was and was.status,
                    status_b=is_now and is_now.status,
                    seconds_a=was and was.seconds,
                    seconds_b=is_now and is_now.seconds,
                    result_a=was and was.result,
                    result_b=is_now and is_now.result,
                )
            )
    found.sort(key=lambda each: (each.job, each.item))
    return Differing(compared, len(found), found[:MOST_DIFFERENT])


def _outcomes(run: RunFolder) -> dict[tuple[str, bytes], list[Outcome]]:
    """Return what each item came to, by its job and a digest of its input."""
    outcomes: dict[tuple[str, bytes], list[Outcome]] = defaultdict(list)
    for record in past.records(run, lambda damage: None):
        if record["index"] < MOST_ITEMS:
            outcome = _outcome(record)
            # An item without an input, as an apply's are, is what its number says.
            key = record.get("input") if record.get("input") is not None else ["item", record["index"]]
            outcomes[record["job"], _digest(key)].append(outcome)
    return outcomes


def _outcome(record: dict[str, Any]) -> Outcome:
    status, value = str(record["status"]), record.get("value")
    ok = status == Status.OK
    result = ("" if value is None else as_label(value)) if ok else describe(record)
    return Outcome(
        item=record["index"],
        input=input_label(record.get("input"), record["index"], longest=120),
        status=status,
        seconds=record.get("seconds"),
        result=plain(result[:200]),
        digest=_digest([status, value if ok else describe(record)]),
    )


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(dump(value), digest_size=16).digest()
