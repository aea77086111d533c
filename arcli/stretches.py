"""Read and write whole stretches of open files: the system may do a part of what it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable

PIECE = 1 << 19
"""Bytes that are written at a time, about. Linux keeps those of a larger write in larger stretches of
memory, which it has to find first: where it had none at hand, a byte took up to six times as long."""


def write_all(write: Callable[[memoryview], int], data: bytes) -> None:
    """Have ``write`` take all of ``data``; it returns how many bytes it took. Raises what that raises.

    It is given whole lines: runs that append to one file at a time do not cut each other's
    (``O_APPEND``, https://man7.org/linux/man-pages/man2/write.2.html).
    """
    whole, at = memoryview(data), 0
    while at < len(data):
        end = len(data)
        if end - at > PIECE:
            end = data.rfind(b"\n", at, at + PIECE) + 1 or data.find(b"\n", at + PIECE) + 1 or end
        at += write(whole[at:end])


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Return what a file has at an offset. Raises EOFError where it ends before that, and OSError."""
    parts, end = [], offset + length
    while offset < end:
        if not (part := os.pread(descriptor, end - offset, offset)):
            raise EOFError(f"{end - offset} of {length} bytes are missing")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
