"""What running items print, told line by line while somebody listens.

A thread looks at the files that items print to. It keeps them small, and tells of new whole lines: at
most so many a second, because the client has more engines than this one.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from .own_code import is_ours
from .protocol import Printed, RunChunk, encode_reply
from .threads import EngineThread

PATROL, RAREST = 0.1, 1.0
"""Seconds between two looks at the files: at least and at most."""
LOOKS = 320
"""Looks in a second that all engines take together. Each wakes a process: 128 engines that only waited for
their items took a quarter of a CPU for ten looks a second each."""
UNHEARD = 80
"""The same while nobody listens: they only find who begins to, and what is printed beyond the cap."""
PUBLISH_EVERY, PUBLISH_RAREST = 0.25, 5.0
"""Seconds after which a chunk that still runs hands out finished records: at least and at most."""
PUBLICATIONS = 100
"""How often in a second all engines together do that. Each is a message more, and the records in it are
sent once more with their chunk's reply."""
TELL = 0.2
"""Seconds between two messages, at least, but for what is about to be cut."""
MOST_LINES = 200
MOST_BYTES = 64 << 10
"""What one engine tells in a second, and"""
MOST_OF_A_LINE = 4 << 10
"""characters of one line."""
LONGEST = 4 * (MOST_OF_A_LINE + 1)
"""Bytes of one line that hold more than is told of it, whatever its characters."""
TAIL, STACKS = "tail", "stacks"
"""Names of the files beside position files by which somebody asks."""
_BLOCK = 1 << 20


class Allowance:
    """How much may be told in a second."""

    def __init__(self) -> None:
        self._second = 0.0
        self._lines = self._bytes = 0

    def take(self, lines: Sequence[str]) -> list[str]:
        """The first of these lines, as many as there is room for, none of them too long."""
        # Cut by lines and by bytes, here on the engine: a client with a hundred engines cannot read what
        # each could tell.
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._lines, self._bytes = now, MOST_LINES, MOST_BYTES
        taken: list[str] = []
        for line in lines[: self._lines]:
            short = line if len(line) <= MOST_OF_A_LINE else line[:MOST_OF_A_LINE] + " …"
            self._bytes -= len(short)
            if self._bytes < 0:
                break
            taken.append(short)
        self._lines -= len(taken)
        return taken


class Live:
    """Tells of lines through ``publish``, of the streams that are listened to.

    ``folder`` is where somebody who listens, or wants to know where an item is, leaves word.
    """

    def __init__(self, publish: Callable[[bytes], None] | None) -> None:
        self._publish = publish
        self._allowance = Allowance()
        self._asked: Asked | None = None
        self._job, self._attempt = "", 1
        self._indices: Sequence[int] = (0,)
        self._marks: Sequence[int] = (0, 0, 0)
        self._streams: tuple[str, ...] = ()

    def attend(self, position_file: str) -> None:
        """Look for word beside this file from now on."""
        self._asked = Asked(position_file)

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
        listeners = self._asked is not None and self._asked.tail
        return self._publish is not None and (listeners or stream in self._streams)

    @property
    def heard(self) -> bool:
        """Whether anybody listens to any stream."""
        return self.wants("out") or self.wants("err")

    def look(self) -> None:
        """Look for word; called on the patrol's thread."""
        if self._asked is not None:
            self._asked.look()

    def tell(
        self, index: int, attempt: int, stream: str, first: int, lines: list[bytes], total: int
    ) -> None:
        """Tell of an item's ``total`` lines from number ``first`` (from 0) on, as far as there is room.

        ``lines`` are those that come first: MOST_LINES are enough.
        """
        some = lines[:MOST_LINES]
        kept = self._allowance.take([line.decode("utf-8", "backslashreplace") for line in some])
        assert self._publish is not None
        self._publish(encode_reply(Printed(self._job, index, attempt, stream, first, total, kept)))


class Asked:
    """Word that somebody elsewhere leaves beside an engine's position file.

    A file ``tail`` is there while anybody listens. ``stacks`` has a token; the answer is where in the
    code the main thread is, in a file of this engine's own.
    """

    def __init__(self, position_file: str) -> None:
        self._folder = os.path.dirname(position_file)  # noqa: PTH120 - nothing heavier on an engine
        self._answer = f"{position_file}.stack"
        self._token = ""
        self._next = 0.0
        self.tail = False

    def look(self) -> None:
        """See what is there, now and then."""
        if time.monotonic() < self._next:
            return
        # A stat and an open, five times a second at most, while nobody asks.
        self._next = time.monotonic() + TELL
        self.tail = os.path.exists(f"{self._folder}/{TAIL}")  # noqa: PTH110
        try:
            with open(f"{self._folder}/{STACKS}", encoding="utf-8") as file:  # noqa: PTH123
                token = file.read()
        except OSError:
            return
        if token and token != self._token:
            self._token = token
            self._tell_stack(token)

    def _tell_stack(self, token: str) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - made for this
        stack = [] if frame is None else traceback.extract_stack(frame)
        # What the user's code is in begins after the last of arcli's frames, where there is any.
        first = max((at for at, entry in enumerate(stack, 1) if is_ours(entry.filename)), default=0)
        lines = traceback.format_list(stack[first:])
        part = f"{self._answer}.part"
        with suppress(OSError):
            with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123
                file.write(f"{token}\n{''.join(lines)}")
            os.replace(part, self._answer)  # noqa: PTH105


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
        self._read = self._start
        self._begun = b""
        self._line = 0
        self._next = 0.0

    def look(self, live: Live, index: int, attempt: int) -> None:
        """Tell of new lines if anybody listens, and forget what is beyond the cap.

        The file is open for appending, so writers go on.
        """
        with self.lock:
            file = self._fileno()
            # Told first, then cut: what goes beyond the cap is forgotten, not unsaid. It cannot wait for
            # the next message's time either, since there are more looks than messages.
            size = os.fstat(file).st_size
            full = size > self._start + self._cap
            due = full or time.monotonic() >= self._next
            if due and size > self._read and live.wants(self._stream):
                self._tell(file, size, live, index, attempt)
            if full:
                os.ftruncate(file, self._start + self._cap)
                self._read = min(self._read, self._start + self._cap)
                self.cut = True

    def _tell(self, file: int, end: int, live: Live, index: int, attempt: int) -> None:
        """Tell of all whole lines before ``end``, in one message, however many they are."""
        first: list[bytes] = []
        total = 0
        while raw := os.pread(file, min(_BLOCK, end - self._read), self._read):
            self._read += len(raw)
            *lines, rest = (self._begun + raw).split(b"\n")
            # What has come of a line that is not whole yet may be cut before it is.
            self._begun = rest[:LONGEST]
            first += (line[:LONGEST] for line in lines[: MOST_LINES - len(first)])
            total += len(lines)
        if total:
            live.tell(index, attempt, self._stream, self._line, first, total)
            self._line += total
            self._next = time.monotonic() + TELL


class PrintedText:
    """What an item prints where there is no file: text, piece by piece, from any thread."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._line = self._count = 0
        self._begun: list[str] = []
        self._length = 0
        self._lines: list[bytes] = []
        self._next = 0.0

    def write(self, text: str) -> None:
        """Take a piece. No more is kept than can be told: of a line, and of lines."""
        *ends, rest = text.split("\n")
        with self._lock:
            for end in ends:
                self._begin(end)
                if len(self._lines) < MOST_LINES:
                    self._lines.append("".join(self._begun).encode("utf-8", "backslashreplace"))
                self._count += 1
                self._begun, self._length = [], 0
            self._begin(rest)

    def _begin(self, piece: str) -> None:
        """Add to the line that has no end yet."""
        if piece and (room := LONGEST - self._length) > 0:
            self._begun.append(piece[:room])
            self._length += len(self._begun[-1])

    def flush(self) -> None:
        """A stream can be flushed, as papermill does; here nothing waits for it."""

    def look(self, live: Live, index: int, attempt: int) -> None:
        """Tell of new lines if anybody listens."""
        if not self._lines or not live.wants(self._stream) or time.monotonic() < self._next:
            return
        with self._lock:
            lines, count = self._lines, self._count
            self._lines, self._count = [], 0
        live.tell(index, attempt, self._stream, self._line, lines, count)
        self._line += count
        self._next = time.monotonic() + TELL


class Watched(Protocol):
    """What an item prints to."""

    def look(self, live: Live) -> None:
        """Look at all files once; called on a thread of its own."""


def pause(engines: int, looks: int) -> float:
    """Return the seconds between two looks, where so many engines share so many looks a second."""
    return min(RAREST, max(PATROL, engines / looks))


def publish_pause(engines: int) -> int:
    """Return the nanoseconds between two publications of a chunk, on each of so many engines."""
    return int(min(PUBLISH_RAREST, max(PUBLISH_EVERY, engines / PUBLICATIONS)) * 1e9)


class Patrol:
    """The thread that looks at what items print to, while they run.

    ``engines`` are how many share what a machine can do. A process that is ``ours`` ends where it cannot
    have that thread any more.
    """

    def __init__(self, live: Live, *, ours: bool = False) -> None:
        self._live = live
        self._ours = ours
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._watched: list[Watched] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self.engines = 1

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return pause(self.engines, LOOKS if self._live.heard else UNHEARD)

    @contextmanager
    def over(self, watched: Watched) -> Iterator[None]:
        """Look at this while it is open, and never afterwards. Raises RuntimeError without a thread."""
        with self._lock:
            self._watched.append(watched)
            if len(self._watched) == 1:
                self._busy.set()
        try:
            if self._thread is None or not self._thread.is_alive():
                thread = EngineThread(self._go, "arcli-patrol", ours=self._ours)
                thread.start()
                self._thread = thread
                # A thread that is still there when the interpreter ends holds on to all that it knows,
                # up to the user's modules, whose files would then not be written out.
                atexit.register(self.close)
            yield
        finally:
            with self._lock:
                self._watched.remove(watched)
                if not self._watched:
                    self._busy.clear()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._busy.set()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self.close)

    def _go(self) -> None:
        while self._busy.wait() and not self._closing.is_set():
            with self._lock:
                self._live.look()
                for watched in self._watched:
                    with suppress(OSError, ValueError):  # closed, by an alarm at the wrong moment
                        watched.look(self._live)
            self._closing.wait(self.pause)
