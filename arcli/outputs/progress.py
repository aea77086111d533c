"""How far a run is, on stderr: a bar for people, or a line now and then for logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TextIO

from arcli.outputs.base import Output
from arcli.outputs.stream import Stream, Streams
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary
from arcli.units import format_seconds

Mode = Literal["auto", "bar", "plain", "never"]
INTERVAL = 10.0
"""Seconds between two lines of plain progress, at most; a tenth of a job also gets one."""


class State(Protocol):
    """What a progress display wants to know from a session."""

    @property
    def engines(self) -> int:
        """Engines that are up."""

    @property
    def running(self) -> int:
        """Items under way."""


class Progress(Output, Protocol):
    """A output that shows how many records there are, not what is in them."""

    def expect(self, job: str, total: int | None) -> None:
        """A job begins that has ``total`` items, None where nobody knows."""

    def watch(self, read: Callable[[], State]) -> None:
        """There is a session, and this is how it is asked for its state, from any thread."""

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
        self.failed += batch.count - batch.tally.counts.get("ok", 0)

    def rate(self, now: float) -> float:
        """Items a second so far, 0 where that cannot be said."""
        return self.done / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Seconds that the rest takes at this rate, None where that cannot be said."""
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
        left = self.left(now)
        if left:
            parts.append(f"about {format_seconds(left)} left")
        return ", ".join(parts)


class PlainProgress:
    """A line for each tenth of a job, and one where there was none for ``INTERVAL`` seconds."""

    def __init__(self, page: Stream, clock: Callable[[], float] = time.monotonic) -> None:
        self._page = page
        self._clock = clock
        self._count: Count | None = None
        self._told_at = 0.0
        self._told = 0
        self._read: Callable[[], State] | None = None

    def expect(self, job: str, total: int | None) -> None:
        """See Progress."""
        self._begin(job, total)

    def watch(self, read: Callable[[], State]) -> None:
        """See Progress."""
        self._read = read

    def above(self, target: Target) -> Target:
        """See Progress."""
        return target

    def start(self) -> None:
        """See Output."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        count = self._count
        if count is None or count.job != batch.job:
            count = self._begin(batch.job, None)
        count.add(batch)
        now = self._clock()
        tenth = count.total is not None and (count.done - self._told) * 10 >= count.total
        if tenth or now - self._told_at >= INTERVAL:
            self._tell(count, now)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""

    def abort(self) -> None:
        """See Output."""

    def _begin(self, job: str, total: int | None) -> Count:
        self._told_at, self._told = self._clock(), 0
        self._count = Count(job=job, total=total, began=self._told_at)
        return self._count

    def _tell(self, count: Count, now: float) -> None:
        self._told_at, self._told = now, count.done
        engines = f", {self._read().engines} engines" if self._read is not None else ""
        self._page.write(f"arcli: {count.words(now)}{engines}\n")


def choose(mode: Mode, pages: Streams, stream: TextIO | None, environ: Mapping[str, str]) -> Mode:
    """What ``auto`` comes to: a bar on a terminal, lines on a dumb one or in CI, else nothing.

    Nothing either where results go through a pipe: they may come out beside the bar.
    """
    if mode != "auto":
        return mode
    if stream is None or not stream.isatty() or pages.piped:
        return "never"
    return "plain" if environ.get("CI") or environ.get("TERM") == "dumb" else "bar"


def make_progress(
    mode: Mode, pages: Streams, stream: TextIO | None, environ: Mapping[str, str]
) -> Progress | None:
    """What ``--progress MODE`` asks for on stderr (``stream``), None for nothing."""
    chosen = choose(mode, pages, stream, environ)
    if chosen == "plain":
        return PlainProgress(pages.stderr)
    if chosen == "bar" and stream is not None:
        from arcli.outputs.bar import BarProgress

        return BarProgress(stream, color=pages.stderr.color)
    return None
