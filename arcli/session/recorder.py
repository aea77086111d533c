"""Records on their way out: to the journal first, then, in order where that is asked, onwards."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from arcli.engine.encode import ArrayFile
from arcli.engine.tally import Tally
from arcli.errors import OutputError
from arcli.record import RecordBatch
from arcli.session.core.lines import tally_of
from arcli.session.core.messages import Records
from arcli.timing.ledger import Ledger


class Reorder:
    """Holds batches back until all earlier items are out; with ``ordered=False`` it holds nothing.

    Holding costs a few numbers a batch: the records themselves wait in the journal.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._waiting: list[tuple[int, RecordBatch]] = []

    def push(self, batch: RecordBatch) -> list[RecordBatch]:
        """Take a batch; returns those that may go out now, in order."""
        if not self._ordered:
            return [batch]
        heapq.heappush(self._waiting, (batch.first, batch))
        ready: list[RecordBatch] = []
        while self._waiting and self._waiting[0][0] == self._next:
            _, batch = heapq.heappop(self._waiting)
            self._next += batch.count
            ready.append(batch)
        return ready

    @property
    def waiting(self) -> int:
        """Batches that are held back."""
        return len(self._waiting)


class Storage(Protocol):
    """Where records are made safe before anything depends on them."""

    def append(self, lines: bytes) -> int:
        """Write whole lines; returns their offset."""

    def read(self, offset: int, length: int) -> bytes:
        """Give what stands there."""

    def save_value(self, job: str, index: int, content: bytes, suffix: str) -> None:
        """Keep a value that JSON cannot hold."""

    @property
    def journal(self) -> int | None:
        """The descriptor of the file that lines are in; None where that is none."""

    @property
    def path(self) -> str:
        """The folder that the run keeps its files in."""

    def spool(self, raw: bytes) -> int:
        """Keep bytes for the time of the run; returns their offset."""

    def unspool(self, offset: int, length: int) -> bytes:
        """Give bytes that were kept."""


class Recorder:
    """Writes the records of one job. ``emit`` takes batches that may go out.

    ``keep_values``: pickles of values that JSON does not hold are kept for the time of the run.
    """

    def __init__(
        self,
        storage: Storage,
        job: str,
        emit: Callable[[RecordBatch], None],
        *,
        ordered: bool,
        keep_values: bool,
    ) -> None:
        self._storage = storage
        self.job = job
        self._emit = emit
        self._keep_values = keep_values
        self._reorder = Reorder(ordered=ordered)
        self._unwritten: list[Tally] = []

    def leave_out(self, records: Records) -> None:
        """Note that these are not written, since earlier ones could not be."""
        self._unwritten.append(records.tally)

    def settle(self, ledger: Ledger) -> None:
        """Have a job's account say what the journal has: it counts what could not be written, too."""
        for tally in self._unwritten:
            ledger.tally.remove(tally)
        self._unwritten.clear()

    def write(self, records: Records) -> None:
        """Write records down, and hand on what may go out. Raises OutputError."""
        try:
            # Values are on disk before the record that names them.
            pickles = self._keep(records)
            offset = self._storage.append(records.lines)
        except OutputError:
            self.leave_out(records)
            raise
        for (first, count), lines, tally in _by_span(records):
            batch = RecordBatch(
                job=self.job,
                first=first,
                count=count,
                offset=offset,
                length=len(lines),
                journal=self._storage.journal,
                tally=tally,
                lines=lines,
                pickles=pickles,
                shared=records.shared,
            )
            offset += len(lines)
            # A straggler holds back what comes after it: that is on disk and need not stay in memory.
            ready = self._reorder.push(batch)
            if not ready:
                batch.lines = b""
            for each in ready:
                self._emit(each)

    def _keep(self, records: Records) -> dict[int, tuple[int, int]] | None:
        """Put values that JSON does not hold into files of their own where a record names them."""
        kept: dict[int, tuple[int, int]] = {}
        spooled = self._storage.spool(records.pickles) if self._keep_values and records.values else 0
        for value in records.values:
            if value.saved:
                pickled = records.pickles[value.offset : value.offset + value.length]
                self._save(value.index, pickled, value.file)
            if self._keep_values:
                kept[value.index] = (spooled + value.offset, value.length)
        return kept or None

    def _save(self, index: int, pickled: bytes, file: ArrayFile | None) -> None:
        """Keep a value in a file of its own: a pickle, or an array as NumPy writes it."""
        if file is None:
            self._storage.save_value(self.job, index, pickled, "pkl")
            return
        # The array's bytes are cut out of the pickle, which is never opened here.
        array = memoryview(pickled)[file.start : file.start + file.length]
        self._storage.save_value(self.job, index, file.header.encode("latin-1") + array, "npy")


def _by_span(records: Records) -> Iterator[tuple[tuple[int, int], bytes, Tally]]:
    """Yield each run of numbers with its lines, and what they add up to."""
    # By far the most common case: a chunk's records are neighbours, and nothing is split.
    if len(records.spans) == 1:
        yield records.spans[0], records.lines, records.tally
        return
    each = iter(records.lines.splitlines(keepends=True))
    for span in records.spans:
        lines = b"".join(islice(each, span[1]))
        yield span, lines, tally_of(lines)
