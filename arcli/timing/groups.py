"""Items by what they have in common, added up, and those that took longest: as data, text and tables."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from arcli.engine.tally import Status, Tally
from arcli.escape import one_line, shortened
from arcli.record import dump, is_tagged, user_key
from arcli.timing.failures import input_label, word
from arcli.timing.tables import NARROW, figures_table, fitted
from arcli.timing.words import TIME_COLUMNS
from arcli.units import format_seconds

OWN = ("engine", "host", "slot", "status", "job")
"""What items can be grouped by beside the keys of their inputs."""
MOST = 1000
"""Groups that are told apart in a job; items of any others are one group."""
EXACT_ITEMS = 1000
"""Items of a group up to which its quantiles are exact: there may be many groups."""
OTHERS = "(others)"
NONE = "-"
_LONGEST_LABEL = 200


class Group(Struct, frozen=True, kw_only=True):
    """Items of one job that have ``label`` in common; ``value`` is that as JSON has it."""

    label: str
    value: Any
    tally: Tally

    @property
    def ok(self) -> int:
        """Items that are ok."""
        return self.tally.counts[Status.OK]

    @property
    def failed(self) -> int:
        """Items that have no value; cancelled ones are neither."""
        return self.tally.total - self.ok - self.tally.counts[Status.CANCELLED]


class Groups:
    """Items grouped by ``keys`` together: ``OWN``, ``input`` (all of it), or keys of the input.

    ``input.NAME`` is the input's key where its name is one of ``OWN``, too. ``hosts`` has the host
    of each engine.
    """

    def __init__(self, *keys: str, hosts: Mapping[int, str] | None = None) -> None:
        self.keys = keys
        self.key = ", ".join(keys)
        """What the groups are called."""
        self.seen_keys: dict[str, None] = {}
        """Keys of inputs that there were: what could be asked for instead."""
        self._hosts = hosts or {}
        self._jobs: dict[str, dict[bytes, Group]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record where it belongs; one whose input lacks the key belongs nowhere."""
        pairs = [self._value(key, record) for key in self.keys]
        if not all(has_key for has_key, _ in pairs):
            return
        parts = [value for _, value in pairs]
        value = parts[0] if len(parts) == 1 else parts
        groups = self._jobs.setdefault(record["job"], {})
        # By JSON text, since values may be lists and maps, which are no keys, and 1 and true are not one.
        exact = dump(value)
        group = groups.get(exact)
        if group is None:
            label = ", ".join(
                given_label(part) if key == "input" else as_label(part)
                for key, part in zip(self.keys, parts, strict=True)
            )
            # A key with as many values as there are items must not cost as much memory.
            if len(groups) >= MOST:
                exact, label, value = b"", OTHERS, None
            tally = Tally(exact=EXACT_ITEMS)
            group = groups.setdefault(exact, Group(label=label, value=value, tally=tally))
        seconds = None if record.get("replayed") else record.get("seconds")
        group.tally.add(record["status"], seconds, record.get("attempt") or 1)

    def _value(self, key: str, record: Mapping[str, Any]) -> tuple[bool, Any]:
        if key in OWN:
            engine = record.get("engine_id")
            host = None if engine is None else self._hosts.get(engine)
            return True, {"engine": engine, "host": host}.get(key, record.get(key))
        input_ = record.get("input")
        if key == "input":
            return True, input_
        if not isinstance(input_, dict) or is_tagged(input_):
            return False, None
        if len(self.seen_keys) < MOST:
            self.seen_keys.update(dict.fromkeys(map(user_key, input_)))
        name = key.removeprefix("input.")
        name = f"${name}" if name.startswith("$") else name  # as encoded values escape it
        return name in input_, input_.get(name)

    def of(self, job: str) -> list[Group]:
        """Return the groups of a job: numbers in their order, anything else as it turned up."""
        groups = list(self._jobs.get(job, {}).values())
        if {type(g.value) for g in groups} <= {int, float, type(None)}:
            groups.sort(key=lambda g: (g.value is None, g.label == OTHERS, g.value or 0))
        return groups

    @property
    def jobs(self) -> list[str]:
        """The jobs that have groups."""
        return list(self._jobs)


class Slow(Struct, frozen=True, kw_only=True):
    """An item that took long; ``given`` is its input as JSON, cut where it is very long."""

    job: str
    index: int
    seconds: float
    status: str
    engine_id: int | None
    given: str


class Slowest:
    """The ``count`` items that took longest; of equals the first ones."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[float, int, Slow]] = []
        self._number = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Look at a record; replayed items took no time in this run."""
        seconds = record.get("seconds")
        self._number += 1
        if seconds is None or record.get("replayed") or not self._count:
            return
        # Almost every item is none of the slowest, and most of its record need not be looked at.
        if len(self._heap) == self._count and seconds <= self._heap[0][0]:
            return
        slow = Slow(
            job=record["job"],
            index=record["index"],
            seconds=seconds,
            status=record["status"],
            engine_id=record.get("engine_id"),
            given=given_label(record.get("input")),
        )
        # Of items that took equally long the first is kept: its number stands negative beside the time.
        push = heapq.heappush if len(self._heap) < self._count else heapq.heappushpop
        push(self._heap, (seconds, -self._number, slow))

    @property
    def items(self) -> list[Slow]:
        """The slowest first."""
        return [slow for _, _, slow in sorted(self._heap, reverse=True)]


def given_label(value: Any) -> str:
    """Return an input as people name it: ``alpha=0.9 seed=3``; not longer than a line."""
    return NONE if value is None else input_label(value, 0, longest=_LONGEST_LABEL)


def as_label(value: Any) -> str:
    """Return a value as people read it: text as it is, anything else as JSON; not longer than a line."""
    if value is None:
        return NONE
    return shortened(word(value), _LONGEST_LABEL)


GROUP_COLUMNS = ("items", "ok", "failed", *TIME_COLUMNS)
SLOW_COLUMNS = ("seconds", "engine", "status")


def group_cells(group: Group) -> dict[str, str]:
    """Return a group's figures by column: counts and item times."""
    counts = (group.tally.total, group.ok, group.failed)
    return dict(zip(GROUP_COLUMNS, (*(f"{n:,}" for n in counts), *time_cells(group.tally)), strict=True))


def time_cells(tally: Tally) -> tuple[str, str, str, str]:
    """Mean ± standard deviation, median, p95 and range; dashes where nothing ran."""
    if not tally.ran:
        return ("-", "-", "-", "-")
    mean = format_seconds(tally.mean)
    if tally.ran > 1:
        mean += f" ± {format_seconds(tally.deviation)}"
    median, p95 = (format_seconds(tally.quantile(q)) for q in (0.5, 0.95))
    span = f"{format_seconds(tally.shortest)} … {format_seconds(tally.longest)}"
    return (mean, median, p95, span)


def slow_cells(slow: Slow) -> tuple[str, str, str]:
    """Return a slow item's cells in the columns of ``SLOW_COLUMNS``."""
    engine = "-" if slow.engine_id is None else str(slow.engine_id)
    return format_seconds(slow.seconds), engine, slow.status


def slow_name(slow: Slow, *, several: bool) -> str:
    """Tell which item: its number, with its job where there are several."""
    return f"{slow.job} {slow.index}" if several else str(slow.index)


def groups_table(key: str, groups: Sequence[Group], *, width: int) -> Table:
    """Return a row a group; what is least telling is left out where it is narrow (``width`` columns)."""
    hidden = {"ok", "min … max"} if width < NARROW else {"ok"} if width < 90 else set()
    rows = [group_cells(group) for group in groups]
    shown = [column for column in GROUP_COLUMNS if column not in hidden]
    table = figures_table(one_line(key), *shown)
    for group, row in zip(groups, rows, strict=True):
        style = "red" if group.failed else ""
        cells = [Text(row[name], style=style if name == "failed" else "") for name in shown]
        table.add_row(Text(one_line(group.label) or '""'), *cells)
    return fitted(table, width)


def slowest_table(slowest: Sequence[Slow], *, several: bool, width: int) -> Table:
    """Return a row an item; the input has what is left of the line."""
    table = figures_table("slowest", "seconds", "engine")
    table.add_column("status", no_wrap=True, overflow="fold")
    table.add_column("input", no_wrap=True, overflow="ellipsis")
    # Users' text goes in as Text, since brackets would be rich's markup.
    for slow in slowest:
        seconds, engine, status = slow_cells(slow)
        state = Text(status, style="" if slow.status == Status.OK else "red")
        name = Text(slow_name(slow, several=several))
        table.add_row(name, seconds, engine, state, Text(one_line(slow.given)))
    return fitted(table, width)
