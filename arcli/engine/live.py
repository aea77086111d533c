"""What running items print, told line by line while somebody listens.

A thread looks at the files that items print to. It keeps them small, and tells of new whole lines: at
most so many a second, because the client has more engines than this one.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from .protocol import Printed, RunChunk, encode_reply

PATROL = 0.1
"""Seconds between two looks at the files."""
TELL = 0.2
"""Seconds between two messages, at least."""
MOST_LINES = 200
MOST_BYTES = 64 << 10
"""What one engine tells in a second, and"""
MOST_OF_A_LINE = 4 << 10
"""bytes of one line."""
_BLOCK = 1 << 20


class Live:
    """Tells of lines through ``publish``, of the streams that are listened to."""

    def __init__(self, publish: Callable[[bytes], None] | None) -> None:
        self._publish = publish
        self._job, self._attempt = "", 1
        self._indices: Sequence[int] = (0,)
        self._marks: Sequence[int] = (0, 0, 0)
        self._streams: tuple[str, ...] = ()
        self._second = 0.0
        self._lines = self._bytes = 0

    def begin(self, chunk: RunChunk, marks: Sequence[int]) -> None:
        """From now on items of this chunk run; ``marks`` are those of its position file."""
        self._job, self._attempt = chunk.job, chunk.attempt
        self._indices, self._marks = chunk.indices, marks
        self._streams = ("out", "err") if chunk.tail == "both" else (chunk.tail,)

    def running(self) -> tuple[int, int]:
        """The item that runs on the main thread now: its number, and its attempt's."""
        return self._indices[max(0, self._marks[1])], self._attempt

    def wants(self, stream: str) -> bool:
        """Whether anybody listens to this stream."""
        return self._publish is not None and stream in self._streams

    def tell(self, index: int, attempt: int, stream: str, first: int, lines: list[bytes]) -> None:
        """Tell of an item's lines from number ``first`` (from 0) on, as far as there is room."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._lines, self._bytes = now, MOST_LINES, MOST_BYTES
        kept: list[str] = []
        for line in lines[: self._lines]:
            if len(line) > MOST_OF_A_LINE:
                line = line[:MOST_OF_A_LINE] + " …".encode()
            self._bytes -= len(line)
            if self._bytes < 0:
                break
            kept.append(line.decode("utf-8", "backslashreplace"))
        self._lines -= len(kept)
        assert self._publish is not None
        self._publish(encode_reply(Printed(self._job, index, attempt, stream, first, len(lines), kept)))


class GrowingFile:
    """A file that an item prints to, from ``start`` on, and of which ``cap`` bytes are kept.

    ``lock`` is held while the file is read or cut; whoever empties it holds it, too.
    """

    def __init__(self, fileno: Callable[[], int], stream: str, *, start: int, cap: int) -> None:
        self.lock = threading.Lock()
        self.cut = False
        self._fileno = fileno
        self._stream = stream
        self._start = start
        self._cap = cap
        self.renew()

    def renew(self) -> None:
        """The file is empty, and what comes is another item's."""
        self._told = self._start
        self._line = 0
        self._next = 0.0

    def look(self, live: Live, index: int, attempt: int) -> None:
        """Tell of new lines if anybody listens, and forget what is beyond the cap.

        The file is open for appending, so writers go on.
        """
        with self.lock:
            file = self._fileno()
            size = os.fstat(file).st_size
            if size > self._told and live.wants(self._stream) and time.monotonic() >= self._next:
                self._tell(file, live, index, attempt)
            if size > self._start + self._cap:
                os.ftruncate(file, self._start + self._cap)
                self._told = min(self._told, self._start + self._cap)
                self.cut = True

    def _tell(self, file: int, live: Live, index: int, attempt: int) -> None:
        raw = os.pread(file, _BLOCK, self._told)
        *lines, rest = raw.split(b"\n")
        if not lines and len(raw) == _BLOCK:  # nobody shows a line of this length
            lines, rest = [raw], b""
        if lines:
            live.tell(index, attempt, self._stream, self._line, lines)
            self._told += len(raw) - len(rest)
            self._line += len(lines)
            self._next = time.monotonic() + TELL


class PrintedText:
    """What an item prints where there is no file: text, piece by piece, from any thread."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._line = 0
        self._rest = ""
        self._lines: deque[bytes] = deque()
        self._next = 0.0

    def write(self, text: str) -> None:
        """Take a piece."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines.extend(line.encode("utf-8", "backslashreplace") for line in lines)

    def flush(self) -> None:
        """A stream can be flushed; here nothing waits for it."""

    def look(self, live: Live, index: int, attempt: int) -> None:
        """Tell of new lines if anybody listens."""
        if not self._lines or not live.wants(self._stream) or time.monotonic() < self._next:
            return
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        live.tell(index, attempt, self._stream, self._line, lines)
        self._line += len(lines)
        self._next = time.monotonic() + TELL


class Watched(Protocol):
    """What an item prints to."""

    def look(self, live: Live) -> None:
        """Look at all files once; called on a thread of its own."""


class Patrol:
    """The thread that looks at what items print to, while they run."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._watched: list[Watched] = []
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, watched: Watched) -> Iterator[None]:
        """Look at this while it is open, and never afterwards."""
        with self._lock:
            self._watched.append(watched)
        self._busy.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._go, daemon=True, name="arcli-patrol")
            self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.remove(watched)
                if not self._watched:
                    self._busy.clear()

    def _go(self) -> None:
        while self._busy.wait():
            with self._lock:
                for watched in self._watched:
                    with suppress(OSError, ValueError):  # closed, by an alarm at the wrong moment
                        watched.look(self._live)
            time.sleep(PATROL)
