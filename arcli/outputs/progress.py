"""What every display of progress shows, and how it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from arcli.engine.tally import Status
from arcli.outputs.base import Output
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.units import format_seconds


class State(Protocol):
    """What a progress display wants to know from a session."""

    @property
    def engines(self) -> int:
        """Engines that are up."""

    @property
    def running(self) -> int:
        """Items under way."""


class Progress(Output, Protocol):
    """An output that shows how many records there are, not what is in them."""

    def expect(self, job: str, total: int | None) -> None:
        """A job begins that has ``total`` items, None where nobody knows."""

    def watch(self, read: Callable[[], State]) -> None:
        """There is a session, and this is how it is asked for its state, from any thread."""

    def writing(self) -> None:
        """The jobs have ended, and outputs are being written, which may take long."""

    def above(self, target: Target) -> Target:
        """``target``, or where it must be written through as both are one terminal."""


@dataclass(slots=True)
class Count:
    """Where a job is."""

    job: str
    total: int | None
    began: float
    done: int = 0
    failed: int = 0

    def add(self, batch: RecordBatch) -> None:
        """Count a batch's items."""
        self.done += batch.count
        self.failed += batch.count - batch.tally.counts.get(Status.OK, 0)

    def rate(self, now: float) -> float:
        """Return items a second so far, 0 where that cannot be said."""
        return self.done / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Return seconds that the rest takes at this rate, None where that cannot be said."""
        rate = self.rate(now)
        return max(0, self.total - self.done) / rate if self.total is not None and rate else None

    def words(self, now: float) -> str:
        """``squares: 120 of 1,000 items (12 %), 3 failed, 34/s, about 26.0 s left``."""
        parts = [f"{self.job}: {self.done:,} items"]
        if self.total:
            parts = [f"{self.job}: {self.done:,} of {self.total:,} items"]
            parts[0] += f" ({self.done * 100 // self.total} %)"
        if self.failed:
            parts.append(f"{self.failed:,} not ok")
        if self.done:
            parts.append(f"{self.rate(now):,.3g}/s")
        remaining = self.left(now)
        if remaining:
            parts.append(f"about {format_seconds(remaining)} left")
        return ", ".join(parts)
