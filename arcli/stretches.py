"""Read and write whole stretches of open files: the system may do a part of what it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable

PIECE = 1 << 19
"""Bytes that are written at a time. Linux keeps those of a larger write in larger stretches of memory,
which it has to find first: where it had none at hand, a byte took up to six times as long."""


def write_all(write: Callable[[memoryview], int], data: bytes) -> None:
    """Have ``write`` take all of ``data``; it returns how many bytes it took. Raises what that raises."""
    rest = memoryview(data)
    while rest:
        rest = rest[write(rest[:PIECE]) :]


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Return what a file has at an offset. Raises EOFError where it ends before that, and OSError."""
    parts, end = [], offset + length
    while offset < end:
        if not (part := os.pread(descriptor, end - offset, offset)):
            raise EOFError(f"{end - offset} of {length} bytes are missing")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
