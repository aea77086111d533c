"""What each engine did when: every item while there are few, and shares of time when many.

However many items there are, the memory and the drawing stay small: time is cut into cells, and
when a run outgrows them, the cells become twice as wide and pairs of them one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from arcli.engine.tally import Status
from arcli.record import attempts
from arcli.timing.account import Presence
from arcli.units import parse_time

CELLS = 512
MOST_SPANS = 2000
"""Items that are kept one by one."""
LEVELS = 4
"""Steps of how busy an engine is drawn."""
FIRST_CELL = 1e-3
"""Seconds that a cell has at first."""


class Span(Struct, frozen=True, kw_only=True):
    """One item on its engine; ``begin`` and ``end`` are seconds since the run began.

    ``reason`` is why it was tried again, None for its last attempt.
    """

    engine_id: int
    job: str
    index: int
    begin: float
    end: float
    status: str
    reason: str | None = None


def attempts_here(record: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float, float]]:
    """Yield the attempts of an item that ran in this run, with their starts and ends (since the epoch)."""
    for attempt in attempts(record):
        started, completed = parse_time(attempt.get("started")), parse_time(attempt.get("completed"))
        if attempt.get("engine_id") is None or attempt.get("replayed"):
            continue
        if started is not None and completed is not None:
            yield attempt, started, completed


class Life(Struct, frozen=True, kw_only=True):
    """What an engine did beside its items, in seconds since the run began.

    It was started from ``launched`` to ``came``, did its setup until ``ready``, and was there until
    ``went``. ``reason`` is why it ended before the run did, None where it did not; ``replaces`` the
    engine that had its place before.
    """

    engine_id: int
    host: str
    launched: float
    came: float
    ready: float
    went: float
    reason: str | None
    replaces: int | None


def lives(presences: Iterable[Presence], began: float) -> list[Life]:
    """Tell of each engine of a run that ``began`` then; of those of which it is known when they came."""
    told: list[Life] = []
    in_place: dict[int | None, Life] = {}
    for each in sorted(presences, key=lambda presence: presence.came):
        if each.came == -math.inf:
            continue
        # It was started when the run was, or when the engine before it in its place had ended.
        before = in_place.get(each.slot) if each.slot is not None else None
        came = max(0.0, each.came - began)
        life = Life(
            engine_id=each.engine_id,
            host=each.host,
            launched=min(came, before.went) if before is not None else 0.0,
            came=came,
            ready=max(came, each.ready - began),
            went=max(came, each.went - began),
            reason=each.reason,
            replaces=before.engine_id if before is not None else None,
        )
        told.append(life)
        in_place[each.slot] = life
    return told


class Stretch(Struct, frozen=True, kw_only=True):
    """A time in which an engine was about as busy; ``share`` (0 … 1) of it. ``failed`` items."""

    begin: float
    end: float
    share: float
    failed: int


class Timeline:
    """``began`` is when the run did, in seconds since the epoch; ``presences`` are its engines."""

    def __init__(self, began: float, presences: Iterable[Presence] = ()) -> None:
        self._began = began
        self.lives = {life.engine_id: life for life in lives(presences, began)}
        self._cell = FIRST_CELL
        self._busy: dict[int, list[float]] = {}
        self._failed: dict[int, list[int]] = {}
        self.spans: list[Span] | None = []
        """Every item, None where there are too many."""
        deaths = (life.went for life in self.lives.values() if life.reason is not None)
        self.end = max([0.0, *(life.ready for life in self.lives.values()), *deaths])
        """When the last thing happened that is drawn, in seconds since the run began."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Note where and when an item ran, all its attempts; one that did not run here is none of it."""
        for attempt, started, completed in attempts_here(record):
            self._add(attempt, started, completed)

    def _add(self, record: Mapping[str, Any], started: float, completed: float) -> None:
        engine = record["engine_id"]
        # The times are of the engine's clock and the start is of the client's: on
        # another host an item may seem to have begun before its run.
        begin = max(0.0, started - self._began)
        end = max(begin, completed - self._began)
        self.end = max(self.end, end)
        # A fixed number of cells: they become wider as the run goes on, since nobody
        # knows at its beginning how long it will take.
        while self.end >= CELLS * self._cell:
            self._widen()
        # An item gives each cell that it touches the seconds that it spent there, so
        # that many short ones in one cell add up to its share. It failed at its end.
        busy, cell = self._busy.setdefault(engine, [0.0] * CELLS), self._cell
        first, last = int(begin / cell), min(CELLS - 1, int(end / cell))
        for number in range(first, last + 1):
            busy[number] += max(0.0, min(end, (number + 1) * cell) - max(begin, number * cell))
        if record["status"] != Status.OK:
            self._failed.setdefault(engine, [0] * CELLS)[last] += 1
        # Single items are drawn while they are few enough to be told apart.
        if self.spans is not None:
            self.spans.append(
                Span(
                    engine_id=engine,
                    job=record["job"],
                    index=record["index"],
                    begin=begin,
                    end=end,
                    status=record["status"],
                    reason=record["reason"] if record.get("tried_again") else None,
                )
            )
            if len(self.spans) > MOST_SPANS:
                self.spans = None

    def _widen(self) -> None:
        """Make the cells twice as wide: pairs of them become one, the second half is empty."""
        self._cell *= 2
        half = [0] * (CELLS // 2)
        for engine, cells in self._busy.items():
            pairs = zip(cells[::2], cells[1::2], strict=True)
            self._busy[engine] = [a + b for a, b in pairs] + [0.0] * len(half)
        for engine, counts in self._failed.items():
            pairs_of_counts = zip(counts[::2], counts[1::2], strict=True)
            self._failed[engine] = [a + b for a, b in pairs_of_counts] + half

    @property
    def engines(self) -> list[int]:
        """Engines that ran items, or are known to have been there."""
        return sorted(self._busy.keys() | self.lives.keys())

    def busy_seconds(self, engine: int) -> float:
        """Tell how long an engine was busy with items."""
        return sum(self._busy.get(engine, ()))

    def stretches(self, engine: int) -> Iterator[Stretch]:
        """Yield when an engine was busy, its shares rounded up to ``LEVELS`` steps."""
        busy = self._busy.get(engine, [0.0] * CELLS)
        failed = self._failed.get(engine, [0] * CELLS)
        start, level, fails = 0, 0, 0
        # Cells that look the same become one stretch; the extra one at the end
        # closes the last.
        for number in range(CELLS + 1):
            share = busy[number] / self._cell if number < CELLS else 0.0
            # Rounded up: one short item in a long cell must still be seen. Sums of
            # floats end a hair above a step, hence the tiny tolerance.
            now = 0 if share <= 0 else min(LEVELS, int(share * LEVELS + 1 - 1e-9))
            # Cells with failures stand alone, so that the mark is where they happened.
            broken = number < CELLS and failed[number] > 0
            if now != level or broken or fails or number == CELLS:
                if level or fails:
                    yield Stretch(
                        begin=start * self._cell,
                        end=number * self._cell,
                        share=level / LEVELS,
                        failed=fails,
                    )
                start, level = number, now
                fails = failed[number] if number < CELLS else 0
