"""Which item an engine is at, in a file that survives the engine.

An engine that dies takes its messages with it; the page cache keeps what it wrote to a mapped file.
So the client knows which item killed an engine, where the two share a file system.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_POSITION = struct.Struct("=qqq")
_RECALL = struct.Struct("=qqq")
_LIMIT = struct.Struct("=q")
_IDLE = (-1, -1, 0)
NOWHERE = [*_IDLE, 1 << 62, 0, 0, 0]
"""The marks of an engine that does nothing, of which nothing is recalled, and that was told no limit."""
BEHIND = 1 << 62
"""The position of an engine that is through with its last chunk: it answers that, or waits for the next."""


class PositionFile:
    """The engine's side. ``marks`` is for the loop over a chunk's items, which has no time to call.

    It holds the chunk, the item's position in it (-1 before the first), and since when (nanoseconds
    since the epoch); where nothing runs, -1 twice and the chunk that it is through with. Then what the
    client recalls: from this position of this chunk on, up to the end of that chunk; and the nanoseconds
    that an item may take which was sent before anybody knew them.
    """

    def __init__(self, path: str) -> None:
        # Mapped, so that writing a position is a store to memory: cheap enough for each item, and the page
        # outlives the process.
        with open(path, "r+b") as file:  # noqa: PTH123 - nothing heavier on an engine
            self.marks = memoryview(mmap.mmap(file.fileno(), 8 * len(NOWHERE))).cast("q")
        self.marks[0], self.marks[1], self.marks[2] = _IDLE

    def close(self) -> None:
        """Let go of the file, where nothing is written any more."""
        self.marks.release()

    def begin(self, chunk: int, now: int) -> None:
        """A chunk is here; its first item is not there yet."""
        self.marks[0], self.marks[1], self.marks[2] = chunk, -1, now

    def end(self, chunk: int) -> None:
        """Nothing of this chunk runs any more."""
        self.marks[2] = chunk
        self.marks[0], self.marks[1] = _IDLE[:2]


class Position(NamedTuple):
    """Where an engine is: ``position`` is -1 before a chunk's first item, BEHIND after all that it began.

    ``since`` is in seconds, 0 where nothing runs.
    """

    chunk: int
    position: int
    since: float


def create(path: Path) -> None:
    """Make the file, saying that nothing runs and nothing is recalled."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(struct.pack(f"={len(NOWHERE)}q", *NOWHERE))


def read(path: Path) -> Position | None:
    """Tell the client where an engine is; None where nothing has run or is known."""
    # By the system's own calls, at a fifth of the cost: it is read twice a second for each engine.
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            chunk, position, since = _POSITION.unpack(os.read(file, _POSITION.size))
        finally:
            os.close(file)
    except (OSError, struct.error):
        return None
    if chunk < 0:  # then the last one has the place of the time
        return Position(since, BEHIND, 0.0) if since > 0 else None
    return Position(chunk, position, since / 1e9)


def recall(path: Path, chunk: int, position: int, last: int) -> None:
    """Have an engine begin nothing from this position of ``chunk`` on, up to the chunk ``last``.

    Numbers of chunks only grow in a job, and engines forget it with the job: it never means a chunk that
    is sent later.
    """
    with suppress(OSError), path.open("r+b") as file:
        file.seek(_POSITION.size)
        file.write(_RECALL.pack(chunk, position, last))


def limit(path: Path, seconds: float) -> None:
    """Have an engine end each item of its job after ``seconds`` that was sent without a limit."""
    with suppress(OSError), path.open("r+b") as file:
        file.seek(_POSITION.size + _RECALL.size)
        file.write(_LIMIT.pack(int(seconds * 1e9)))


class PositionFiles:
    """Reads where engines are, and writes what they are to know. Without a folder it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, slot: int) -> Position | None:
        """Tell where the engine in a slot is."""
        return None if self._folder is None else read(self._folder / f"{slot}")

    def recall(self, slot: int, chunk: int, position: int, last: int) -> None:
        """Have it begin nothing from a position of ``chunk`` on, up to the end of ``last``."""
        if self._folder is not None:
            recall(self._folder / f"{slot}", chunk, position, last)

    def limit(self, slot: int, seconds: float) -> None:
        """Have it end items after ``seconds`` that were sent before the limit was known."""
        if self._folder is not None:
            limit(self._folder / f"{slot}", seconds)
