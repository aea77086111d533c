"""The records of a chunk, from its items' outcomes to its reply."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from operator import sub

from .item import SAID_NOTHING, Opaque, Outcome, ShortItems
from .keys import Heads
from .live import Live
from .protocol import Again, ChunkReply, PickledValue, RunChunk, encode_reply
from .tally import Status, Tally

_OK = Status.OK  # getting a member costs as much as a call
_NEVER = 1 << 62
_NOTHING = (0, 0, 0, 0, 0)
Writer = Callable[[Heads, Sequence[int], ShortItems], bytes]
BLOCK = 256
"""Items that are written down together, at most."""


class Results:
    """The records of a chunk as they come in, on their way to ``publish`` (None: nobody waits for some).

    ``pause`` are the nanoseconds between two publications, but for outcomes that are ``announced`` (``ok``,
    ``failed``), which are published at once. Items come from the main thread. What has
    ended before a long one goes from the patrol's: nobody else would hand it out. Everything that was
    handed out is in a reply once more, for what is published may be lost.

    ``short`` is where items are put that are in order, where there is a writer for them (``write_with``).
    They are written down many together, before anything else is added or handed out.

    ``live`` knows whether anybody listens to what items print.

    ``begun`` items were begun, where they run side by side: those of them that are not done may go on
    beside the next chunk.
    """

    def __init__(
        self,
        request: RunChunk,
        retries: int,
        publish: Callable[[bytes], None] | None,
        pause: int,
        announced: Sequence[str] = (),
        live: Live | None = None,
    ) -> None:
        self._live = live
        self._chunk = request.chunk
        self._indices = request.indices
        self._attempt = request.attempt
        self._exact = request.exact
        self._final = request.attempt > retries
        self._publish = publish
        self._pause = 0 if "ok" in announced else pause
        self._announces_failures = "failed" in announced
        self.begun = 0
        self.due = _NEVER
        self.go_on()
        self.short = ShortItems([], [], [])
        self._writer: Writer | None = None
        self._heads = Heads((), ())
        # What is for a reply is held in columns and not as objects: of a chunk of a thousand short items
        # that is a good part of the time.
        self._positions: list[int] = []
        self._lines: list[bytes] = []
        self._seconds: list[float] = []
        self._statuses: list[str] = []
        self._again: list[Again] = []
        self._opaque: list[tuple[int, Opaque]] = []
        self._handed = self._replied = _NOTHING
        self._done = 0
        self._order: list[int] | None = None
        self._lock = threading.Lock()

    def go_on(self) -> None:
        """Begin, or go on with another request: what is busy is so from now on."""
        self._began, self._begin = time.time(), time.perf_counter()
        if self._publish is not None:
            self.due = time.perf_counter_ns() + self._pause

    def write_with(self, writer: Writer, heads: Heads) -> None:
        """Have the lines of short items from ``writer``, whose records begin with ``heads``."""
        self._writer, self._heads = writer, heads

    @property
    def has_news(self) -> bool:
        """Whether any item has ended since the last whole reply."""
        return self._done > self._replied[-1]

    @property
    def is_open(self) -> bool:
        """Whether some item that was begun is under way."""
        return self._done < self.begun

    def add(self, position: int, outcome: Outcome) -> None:
        """Take an item's outcome: its record, or the wish to try it again.

        ``position`` is where it was sent; a reply counts items in the order in which they ended.
        """
        line, seconds, end, status, reason, opaque = outcome
        with self._lock:
            if self.short.ends:
                self._write_down()
            place = self._done
            # Items that run side by side end in any order.
            if self._order is not None:
                self._order.append(position)
            elif position != place:
                self._order = [*range(place), position]
            if status != _OK and not self._final:
                completed = self._began + end / 1e9 - self._begin
                # No record will have what it printed last: it goes with this where somebody listens.
                heard = self._live is not None and self._live.heard and SAID_NOTHING not in line
                told = line if heard else ""
                self._again.append(Again(place, reason, status, completed - seconds, completed, told))
            else:
                self._positions.append(place)
                self._lines.append(f"{line}\n".encode())
                self._seconds.append(seconds)
                self._statuses.append(status)
                if opaque is not None:
                    self._opaque.append((place, opaque))
            self._done = place + 1
        if end > self.due or (self._announces_failures and status != _OK and self._final):
            self.hand_out(end)

    def look(self, live: Live) -> None:
        """See Watched: publish what is due while an item runs."""
        now = time.perf_counter_ns()
        if now > self.due:
            self.hand_out(now)

    def hand_out(self, now: int) -> None:
        """Publish what has come in since the last time; ``now`` is a reading of ``perf_counter_ns``."""
        # Under the lock to its end: a part must not be overtaken by the next one, from another thread.
        with self._lock:
            self.due = now + self._pause
            self._write_down()
            since, self._handed = self._handed, self._extent
            if since != self._handed and self._publish is not None:
                self._publish(encode_reply(self._reply(since)))

    @property
    def _extent(self) -> tuple[int, int, int, int, int]:
        """How much there is of everything that is handed out or sent."""
        return (len(self._positions), len(self._lines), len(self._again), len(self._opaque), self._done)

    def _write_down(self) -> None:
        """Make lines of what has ended; under the lock, while the items' thread may add more to it."""
        # So many at a time that they stay in a processor's cache, from their parts to their bytes.
        while self.short.ends and self._writer is not None:
            short, place = self.short.take(BLOCK), self._done
            self._done = done = place + len(short.ends)
            heads = Heads(*(column[place:done] for column in self._heads))
            self._lines.append(self._writer(heads, self._indices[place:done], short))
            self._positions += range(place, done)
            self._seconds += [took / 1e9 for took in map(sub, short.ends, short.begins)]
            self._statuses += [_OK] * (done - place)

    def reply(self) -> ChunkReply:
        """Everything that has come in since the last reply: for the chunk's own answer, or a later one."""
        with self._lock:
            self._write_down()
            since, self._replied = self._replied, self._extent
            self._handed = self._replied
            return self._reply(since)

    def _reply(self, since: tuple[int, int, int, int, int]) -> ChunkReply:
        """Everything from ``since`` on: records, their tally, positions to try again, pickles."""
        first, block, again, handed, done = since
        tally = Tally(None if self._exact else 0)
        tally.add_all(self._statuses[first:], self._seconds[first:], self._attempt)
        pickles = self._opaque[handed:]
        return ChunkReply(
            chunk=self._chunk,
            attempt=self._attempt,
            done=self._done,
            begun=max(self.begun, self._done),
            positions=_runs(self._positions[first:]),
            again=self._again[again:],
            values=[
                PickledValue(position, opaque.saved, len(opaque.raw), opaque.file)
                for position, opaque in pickles
            ],
            tally=tally,
            busy=time.perf_counter() - self._begin,
            order=[] if self._order is None else self._order[done:],
            lines=b"".join(self._lines[block:]),
            pickles=b"".join([opaque.raw for _, opaque in pickles]),
        )


def _runs(positions: list[int]) -> list[tuple[int, int]]:
    """Ascending positions as ``(first, count)`` of consecutive ones."""
    if positions and positions[-1] - positions[0] == len(positions) - 1:
        return [(positions[0], len(positions))]
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][0] + runs[-1][1] == position:
            runs[-1][1] += 1
        else:
            runs.append([position, 1])
    return [(first, count) for first, count in runs]
