"""Which item an engine is at, in a file that survives the engine.

An engine that dies takes its messages with it; the page cache keeps what it wrote to a mapped file.
So the client knows which item killed an engine, where the two share a file system.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

_LAYOUT = struct.Struct("=qqq")
_IDLE = (-1, -1, 0)


class PositionFile:
    """The engine's side. ``marks`` is for the loop over a chunk's items, which has no time to call.

    It holds the chunk, the item's position in it (-1 before the first), and since when (nanoseconds
    since the epoch).
    """

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:  # noqa: PTH123 - nothing heavier on an engine
            self.marks = memoryview(mmap.mmap(file.fileno(), _LAYOUT.size)).cast("q")
        self.idle()

    def begin(self, chunk: int, now: int) -> None:
        """A chunk is here; its first item is not there yet."""
        self.marks[0], self.marks[1], self.marks[2] = chunk, -1, now

    def idle(self) -> None:
        """Nothing runs."""
        self.marks[0], self.marks[1], self.marks[2] = _IDLE


class Position(NamedTuple):
    """Where an engine is: ``position`` is -1 before a chunk's first item, ``since`` in seconds."""

    chunk: int
    position: int
    since: float


def create(path: Path) -> None:
    """Make the file, saying that nothing runs."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(_LAYOUT.pack(*_IDLE))


def read(path: Path) -> Position | None:
    """The client's side; None where nothing runs or is known."""
    try:
        chunk, position, since = _LAYOUT.unpack(path.read_bytes()[: _LAYOUT.size])
    except (OSError, struct.error):
        return None
    return None if chunk < 0 else Position(chunk, position, since / 1e9)
