"""Progress for logs: a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from arcli.outputs.progress import Count, State
from arcli.outputs.stream import Stream
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary

INTERVAL = 30.0
"""Seconds between two lines, at most; each tenth of a job also gets one."""
PAUSE = 1.0
"""Seconds between two ``patient`` lines, at least; and how often the thread looks."""
SHORT = 5.0
"""Seconds from the first job on in which no ``patient`` lines are written: most runs are short."""


class PlainProgress:
    """Lines from a thread of its own, so that they come also while no record does.

    ``patient`` says nothing of short runs.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        jobs: int = 1,
        patient: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._jobs = jobs
        self._clock = clock
        self._silence = SHORT if patient else 0.0
        self._silent_until = 0.0
        self._pause = PAUSE if patient else 0.0
        self._count: Count | None = None
        self._place = 0
        self._told_at = clock()
        self._told = 0
        self._read: Callable[[], State] | None = None
        self._ended = threading.Event()
        self._telling = threading.Lock()

    def expect(self, job: str, total: int | None) -> None:
        """See Progress."""
        with self._telling:
            self._begin(job, total)

    def watch(self, read: Callable[[], State]) -> None:
        """See Progress."""
        self._read = read

    def writing(self) -> None:
        """See Progress."""
        self._ended.set()

    def above(self, target: Target) -> Target:
        """See Progress."""
        return target

    def start(self) -> None:
        """See Output."""
        threading.Thread(target=self._keep_telling, name="arcli-progress", daemon=True).start()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        with self._telling:
            count = self._count
            if count is None or count.job != batch.job:
                count = self._begin(batch.job, None)
            count.add(batch)
            self._tell_if_due()

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._ended.set()

    def abort(self) -> None:
        """See Output."""
        self._ended.set()

    def _begin(self, job: str, total: int | None) -> Count:
        self._told_at, self._told, self._place = self._clock(), 0, self._place + 1
        if self._place == 1:
            self._silent_until = self._told_at + self._silence
        self._count = Count(job, total, self._told_at, place=self._place, jobs=self._jobs)
        return self._count

    def _keep_telling(self) -> None:
        while not self._ended.wait(PAUSE):
            with self._telling:
                self._tell_if_due()

    def _tell_if_due(self) -> None:
        count, now = self._count, self._clock()
        if count is None or now < max(self._silent_until, self._told_at + self._pause):
            return
        if self._read is not None:
            count.update(self._read())
        tenth = count.total is not None and (count.done - self._told) * 10 >= max(count.total, 1)
        if tenth or now - self._told_at >= INTERVAL:
            self._told_at, self._told = now, count.done
            engines = f", {count.engines} engines" if count.engines is not None else ""
            self._stream.write(f"arcli: {count.words(now)}{engines}\n")
