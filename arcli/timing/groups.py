"""Items by what they have in common, each group added up; and those that took longest."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arcli.engine.tally import Status, Tally
from arcli.record import dump

OWN = ("engine", "host", "slot", "status", "job")
"""What items can be grouped by beside the keys of their inputs."""
MOST = 1000
"""Groups that are told apart in a job; items of any others are one group."""
EXACT_ITEMS = 1000
"""Items of a group up to which its quantiles are exact: there may be many groups."""
OTHERS = "(others)"
NONE = "-"
_LONGEST_LABEL = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Items of one job that have ``label`` in common; ``value`` is that as JSON has it."""

    label: str
    value: Any
    tally: Tally

    @property
    def ok(self) -> int:
        """Items that are ok."""
        return self.tally.counts.get(Status.OK, 0)

    @property
    def failed(self) -> int:
        """Items that have no value; cancelled ones are neither."""
        return self.tally.total - self.ok - self.tally.counts.get(Status.CANCELLED, 0)


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
        exact = dump(value)
        group = groups.get(exact)
        if group is None:
            label = ", ".join(map(as_label, parts))
            if len(groups) >= MOST:
                exact, label, value = b"", OTHERS, None
            tally = Tally(exact=EXACT_ITEMS)
            group = groups.setdefault(exact, Group(label=label, value=value, tally=tally))
        seconds = None if record.get("replayed") else record.get("seconds")
        group.tally.add(record["status"], seconds, record.get("attempt") or 1)

    def _value(self, key: str, record: Mapping[str, Any]) -> tuple[bool, Any]:
        if key in OWN:
            return True, self._own(key, record)
        input_ = record.get("input")
        if key == "input":
            return True, input_
        if not isinstance(input_, dict):
            return False, None
        if len(self.seen_keys) < MOST:
            self.seen_keys.update(dict.fromkeys(map(_bare, input_)))
        name = key.removeprefix("input.")
        name = f"${name}" if name.startswith("$") else name  # as encoded values escape it
        return name in input_, input_.get(name)

    def _own(self, key: str, record: Mapping[str, Any]) -> Any:
        engine = record.get("engine_id")
        if key == "engine":
            return engine
        if key == "host":
            return None if engine is None else self._hosts.get(engine)
        return record.get(key)

    def of(self, job: str) -> list[Group]:
        """Return the groups of a job: numbers in their order, anything else as it turned up."""
        groups = list(self._jobs.get(job, {}).values())
        if all(_is_number(g.value) or g.value is None for g in groups):
            groups.sort(key=lambda g: (g.value is None, g.label == OTHERS, g.value or 0))
        return groups

    @property
    def jobs(self) -> list[str]:
        """The jobs that have groups."""
        return list(self._jobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
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
        if len(self._heap) == self._count and seconds <= self._heap[0][0]:
            return
        slow = Slow(
            job=record["job"],
            index=record["index"],
            seconds=seconds,
            status=record["status"],
            engine_id=record.get("engine_id"),
            given=as_label(record.get("input")),
        )
        push = heapq.heappush if len(self._heap) < self._count else heapq.heappushpop
        push(self._heap, (seconds, -self._number, slow))

    @property
    def items(self) -> list[Slow]:
        """The slowest first."""
        return [slow for _, _, slow in sorted(self._heap, reverse=True)]


def as_label(value: Any) -> str:
    """Return a value as people read it: text as it is, anything else as JSON; not longer than a line."""
    if value is None:
        return NONE
    text = value if isinstance(value, str) else dump(value).decode()
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bare(key: str) -> str:
    return key[1:] if key.startswith("$$") else key
