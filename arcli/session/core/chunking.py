"""How many items travel in one chunk, and how many chunks wait at an engine.

A pure function of what has been measured. A chunk costs some milliseconds wherever it goes, so
chunks grow until that is a few percent; towards the end they shrink again, so that no engine waits
for another one's straggler. Guided self-scheduling (Polychronopoulos and Kuck, 1987,
https://doi.org/10.1109/TC.1987.5009495) and factoring (Hummel, Schonberg and Flynn, 1992,
https://doi.org/10.1145/135226.135232) are where the shrinking comes from.
"""

from __future__ import annotations

import math

TARGET_SECONDS = 0.2
"""A chunk's work in the middle of a run: a message of 5 ms is then 2.5 % of it."""
WORTH_SECONDS = 0.01
"""Below this a chunk is not worth its message, even at the end."""
GROWTH = 8
"""A chunk is at most this many times as large as the largest that has come back."""
SHARE = 2
"""Near the end a chunk is at most this fraction (1/SHARE) of an engine's fair part."""
MAX_BYTES = 2_000_000
"""Bytes of inputs and records in one message."""
MAX_ITEMS = 50_000
MEMORY = 0.5
"""How much of what was known stays with each chunk that comes back: work may change as it goes."""
MAX_DEPTH = 8
COVER_SECONDS = 0.03
"""The work that should wait at an engine, to cover a message's round trip."""


class ChunkPolicy:
    """Sizes for the chunks of one job. ``fixed`` is the size that the spec gives, None for auto."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._seconds: float | None = None
        self._bytes = 0.0
        self._largest = 0

    def learn(self, items: int, seconds: float, size: int) -> None:
        """A chunk of ``items`` came back: it took ``seconds`` on its engine, ``size`` bytes."""
        if items < 1:
            return
        # A large chunk says more about an item than a small one.
        keep = 0.0 if self._seconds is None else MEMORY ** min(4.0, items / max(1, self._largest))
        self._seconds = keep * (self._seconds or 0.0) + (1 - keep) * seconds / items
        self._bytes = max(size / items, keep * self._bytes + (1 - keep) * size / items)
        self._largest = max(self._largest, items)

    def size(self, left: int | None, engines: int) -> int:
        """Return items for the next chunk, at least 1, with ``left`` items to go (None: unknown)."""
        if self._fixed is not None:
            return self._fixed
        # Nothing is known yet: one item tells how long they are, and is the first
        # result.
        if self._seconds is None:
            return 1
        each = max(self._seconds, 1e-9)
        # As much work as makes a message cheap, growing step by step, and never an
        # unbounded message.
        size = min(TARGET_SECONDS / each, self._largest * GROWTH, MAX_ITEMS)
        if self._bytes:
            size = min(size, MAX_BYTES // self._bytes)
        # Near the end every engine should have something: chunks shrink with what
        # is left.
        if left is not None:
            fair = left / max(1, engines)
            worth = min(WORTH_SECONDS / each, fair)
            size = min(size, max(fair / SHARE, worth))
        return max(1, math.ceil(size - 1e-9))

    def depth(self, left: int | None, engines: int) -> int:
        """Chunks that one engine may have outstanding, the running one included."""
        if self._seconds is None:
            return 1
        chunk = self._seconds * self.size(left, engines)
        if chunk >= TARGET_SECONDS:
            # What waits behind a long chunk cannot be had back; the gap costs a few milliseconds.
            return 1 if self._fixed is not None or self._seconds > TARGET_SECONDS / 2 else 2
        return min(MAX_DEPTH, max(2, math.ceil(COVER_SECONDS / max(chunk, 1e-9))))
