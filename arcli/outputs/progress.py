"""What every display of progress shows, and how it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from arcli.engine.tally import Status, Tally
from arcli.outputs.base import Output
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.units import format_seconds

STRAGGLER = 10.0
"""Seconds from which on an item may be one that keeps the others waiting."""
FACTOR = 3.0
"""How many times as long as 95 % of the items it has to run for that."""


class Running(Protocol):
    """An item that an engine is at."""

    @property
    def index(self) -> int | None:
        """Its number, None where it cannot be seen."""

    @property
    def seconds(self) -> float:
        """How long it has run."""


class State(Protocol):
    """What a progress display wants to know from a session; see ``arcli.session.core.snapshot``."""

    @property
    def engines(self) -> int:
        """Engines that are up."""

    @property
    def running(self) -> int:
        """Items that are being run."""

    @property
    def job(self) -> str | None:
        """The job that is run, None between two."""

    @property
    def total(self) -> int | None:
        """Its items, None where nobody knows."""

    @property
    def done(self) -> int:
        """Its items that have ended."""

    @property
    def items(self) -> Sequence[Running]:
        """What engines are at, the longest first."""


class Progress(Output, Protocol):
    """An output that shows how many records there are, not what is in them."""

    def expect(self, job: str, total: int | None) -> None:
        """Show that a job begins which has ``total`` items, None where nobody knows."""

    def watch(self, read: Callable[[], State]) -> None:
        """Take what a session is asked for its state with, from any thread."""

    def writing(self) -> None:
        """Show that the jobs have ended, and that outputs are being written, which may take long."""

    def above(self, target: Target) -> Target:
        """Return ``target``, or where it must be written through as both are one terminal."""


@dataclass(slots=True)
class Count:
    """Where a job is: the ``place``-th of ``jobs``, of whose items ``shown`` have been shown.

    ``began`` is in seconds of the clock whose ``now`` the methods are given.
    """

    job: str
    total: int | None
    began: float
    place: int = 1
    jobs: int = 1
    shown: Tally = field(default_factory=Tally)
    done: int = 0
    straggler: str | None = None
    running: int | None = None
    engines: int | None = None

    def add(self, batch: RecordBatch) -> None:
        """Count a batch's items."""
        self.shown.merge(batch.tally)
        self.done = max(self.done, self.shown.total)

    def update(self, state: State) -> None:
        """Take what the session knows: items that have ended are not yet shown behind a slow one."""
        self.engines = state.engines
        if state.job != self.job:
            return
        self.running, self.done = state.running, max(state.done, self.shown.total)
        self.total = state.total if state.total is not None else self.total
        limit = max(STRAGGLER, FACTOR * self.shown.quantile(0.95))
        slow = [item for item in state.items if item.index is not None and item.seconds > limit]
        self.straggler = None
        if slow:
            self.straggler = f"item {slow[0].index} runs for {format_seconds(slow[0].seconds)}"

    @property
    def name(self) -> str:
        """The job with its place among others: ``fit 2/3``."""
        return f"{self.job} {self.place}/{self.jobs}" if self.jobs > 1 else self.job

    @property
    def failed(self) -> int:
        """Items that were shown and are not ok."""
        return self.shown.total - self.shown.counts.get(Status.OK, 0)

    def rate(self, now: float) -> float:
        """Return items a second so far, 0 where that cannot be said."""
        return self.done / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Return seconds that the rest takes at this rate, None where that cannot be said."""
        rate = self.rate(now)
        return max(0, self.total - self.done) / rate if self.total is not None and rate else None

    def words(self, now: float) -> str:
        """``squares: 120 of 1,000 items (12 %), 3 not ok, 34/s, about 26.0 s left``."""
        parts = [f"{self.name}: {self.done:,} items"]
        if self.total:
            parts = [f"{self.name}: {self.done:,} of {self.total:,} items"]
            parts[0] += f" ({self.done * 100 // self.total} %)"
        if self.failed:
            parts.append(f"{self.failed:,} not ok")
        if self.done:
            parts.append(f"{self.rate(now):,.3g}/s")
        remaining = self.left(now)
        if remaining:
            parts.append(f"about {format_seconds(remaining)} left")
        if self.running:
            parts.append(f"{self.running:,} running")
        if self.straggler:
            parts.append(self.straggler)
        return ", ".join(parts)
