"""Tell how a run goes on: nothing, lines, or a bar; and what all of them count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TextIO

from msgspec import Struct, field

from arcli.engine.tally import Status, Tally
from arcli.outputs.base import Output
from arcli.outputs.stream import Stream, Streams
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.snapshot import Snapshot
from arcli.timing.summary import RunSummary
from arcli.timing.words import plural, progress_words
from arcli.units import format_seconds

STRAGGLER = 10.0
"""Seconds from which on an item may be one that keeps the others waiting."""
LONG = 1.0
"""Seconds from which on a person can follow what single items do."""
FACTOR = 3.0
"""How many times as long as 95 % of the items it has to run for that."""


class Progress(Output, Protocol):
    """An output that shows how many records there are, not what is in them."""

    def expect(self, job: str, total: int | None) -> None:
        """Show that a job begins which has ``total`` items, None where nobody knows."""

    def watch(self, read: Callable[[], Snapshot]) -> None:
        """Take what a session is asked for its state with, from any thread."""

    def writing(self) -> None:
        """Show that the jobs have ended, and that outputs are being written, which may take long."""

    def hears(self) -> bool:
        """Tell whether it shows what running items print; asked from the session's thread."""
        return False

    def hear(self, index: int, line: str) -> None:
        """Take the last line that a running item has printed; on the session's thread."""
        return

    def above(self, target: Target) -> Target:
        """Return ``target``, or where it must be written through as both are one terminal."""
        return target


class Count(Struct):
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
    are_long: bool | None = None
    running: int | None = None
    engines: int | None = None

    def add(self, batch: RecordBatch) -> None:
        """Count a batch's items."""
        self.shown.merge(batch.tally)
        self.done = max(self.done, self.shown.total)

    def update(self, state: Snapshot) -> None:
        """Take what the session knows: items that have ended are not yet shown behind a slow one."""
        self.engines = state.engines
        if state.job != self.job:
            return
        self.running, self.done = state.running, max(state.done, self.shown.total)
        self.total = state.total if state.total is not None else self.total
        self.are_long = self.shown.quantile(0.5) >= LONG if self.shown.ran else None
        slow = [item for item in state.items if item.index is not None and item.seconds > STRAGGLER]
        self.straggler = None
        # One that takes long where all take long keeps nobody waiting. How long they take is sorted out
        # of all that is known, so it is asked only where it matters.
        if slow and slow[0].seconds > FACTOR * self.shown.quantile(0.95):
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
        # Nobody knows how long a straggler takes.
        left = None if self.straggler else self.left(now)
        rate = self.rate(now) if self.done else 0.0
        parts = progress_words(self.done, self.total, failed=self.failed, rate=rate, left=left)
        if self.running:
            parts.append(f"{self.running:,} running")
        if self.straggler:
            parts.append(self.straggler)
        return f"{self.name}: {', '.join(parts)}"


INTERVAL = 30.0
"""Seconds between two lines, at most; each tenth of a job also gets one."""
PAUSE = 1.0
"""Seconds between two ``patient`` lines, at least; and how often the thread looks."""
SHORT = 5.0
"""Seconds from the first job on in which no ``patient`` lines are written: most runs are short."""


class PlainProgress(Progress):
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
        self._read: Callable[[], Snapshot] | None = None
        self._ended = threading.Event()
        self._telling = threading.Lock()

    def expect(self, job: str, total: int | None) -> None:
        """See Progress."""
        with self._telling:
            self._begin(job, total)

    def watch(self, read: Callable[[], Snapshot]) -> None:
        """See Progress."""
        self._read = read

    def writing(self) -> None:
        """See Progress."""
        self._ended.set()

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
                self._look()
                self._tell_if_due()

    def _look(self) -> None:
        """Take what the session knows; not for each record, of which there are many."""
        if self._count is not None and self._read is not None:
            self._count.update(self._read())

    def _tell_if_due(self) -> None:
        count, now = self._count, self._clock()
        if count is None or now < max(self._silent_until, self._told_at + self._pause):
            return
        # A line each tenth where the number of items is known, and one after a while in any case.
        tenth = count.total is not None and (count.done - self._told) * 10 >= max(count.total, 1)
        if tenth or now - self._told_at >= INTERVAL:
            self._look()
            self._told_at, self._told = now, count.done
            engines = f", {plural(count.engines, 'engine')}" if count.engines is not None else ""
            self._stream.write(f"arcli: {count.words(now)}{engines}\n")


Mode = Literal["auto", "full", "bar", "plain", "never"]


def choose(mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str]) -> Mode:
    """Return what ``auto`` comes to: on a terminal a bar, with a line an engine where items are long; else
    lines.

    Lines also where results go through a pipe: they may come out beside the bar.
    """
    if mode != "auto":
        return mode
    if stream is None:
        return "never"
    plain = environ.get("CI") or environ.get("TERM") == "dumb" or streams.piped
    return "plain" if plain or not stream.isatty() else "auto"


def make_progress(
    mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str], *, jobs: int = 1
) -> Progress | None:
    """Return what ``--progress MODE`` asks for on stderr (``stream``), None for nothing."""
    chosen = choose(mode, streams, stream, environ)
    if chosen == "plain":
        # Nobody asked for lines in a log: of a short run there are none.
        patient = mode == "auto" and not (stream is not None and stream.isatty())
        return PlainProgress(streams.stderr, jobs=jobs, patient=patient or streams.piped)
    if chosen in {"auto", "full", "bar"} and stream is not None:
        from arcli.outputs.bar import BarProgress

        full = None if chosen == "auto" else chosen == "full"
        return BarProgress(stream, color=streams.stderr.color, jobs=jobs, full=full)
    return None
