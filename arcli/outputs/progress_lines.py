"""Progress for logs: a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from arcli.outputs.progress import Count, State
from arcli.outputs.stream import Stream
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary

INTERVAL = 10.0
"""Seconds between two lines of plain progress, at most; a tenth of a job also gets one."""


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

    def writing(self) -> None:
        """See Progress."""

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
