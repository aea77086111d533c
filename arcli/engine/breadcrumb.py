"""Which item an engine is at, in a file that survives the engine.

An engine that dies takes its messages with it; the page cache keeps what it wrote to a mapped file.
So the client knows which item killed an engine, where the two share a file system.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_LAYOUT = struct.Struct("<qqd")


class Breadcrumb:
    """The engine's side: ``at`` before each item, ``idle`` after the last."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:  # noqa: PTH123 - nothing heavier on an engine
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def at(self, chunk: int, position: int, since: float) -> None:
        """Item ``position`` of a chunk begins at ``since`` (seconds since the epoch)."""
        _LAYOUT.pack_into(self._map, 0, chunk, position, since)

    def idle(self) -> None:
        """Nothing runs."""
        _LAYOUT.pack_into(self._map, 0, -1, -1, 0.0)


def create(path: Path) -> None:
    """Make the file, saying that nothing runs."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(_LAYOUT.pack(-1, -1, 0.0))


def read(path: Path) -> tuple[int, int, float] | None:
    """The client's side: chunk, position and since when; None where nothing runs or is known."""
    try:
        chunk, position, since = _LAYOUT.unpack(path.read_bytes()[: _LAYOUT.size])
    except (OSError, struct.error):
        return None
    return None if chunk < 0 else (chunk, position, since)
