"""Times of items as text: readings of the monotonic clock as what a clock on the wall shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import perf_counter_ns

SECOND = 1_000_000_000
"""Nanoseconds."""
THREE = tuple(f"{number:03d}" for number in range(1000))


class _Millis(dict[int, str]):
    """Milliseconds since a second of Unix time as ISO 8601, each formatted once: an item costs less."""

    def __init__(self, second: int) -> None:
        super().__init__()
        self._second = second

    def __missing__(self, milli: int) -> str:
        if len(self) > len(THREE):
            self.clear()
        seconds, thousandths = divmod(milli, 1000)
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second + seconds))
        text = self[milli] = f"{second}.{THREE[thousandths]}"
        return text


class Clock:
    """Wall-clock stamps from the monotonic clock, so that they never run backwards in a chunk.

    ``offset`` turns a reading of ``time.perf_counter_ns`` into nanoseconds since the epoch. ``millis`` has
    milliseconds since ``base``, another such reading, as text.
    """

    def __init__(self) -> None:
        now = time.time_ns()
        self.offset = now - perf_counter_ns()
        # Counted from a second that has just begun, which numbers of one machine word are enough for.
        second = now // SECOND
        self.base = second * SECOND - self.offset
        self.millis = _Millis(second)

    def stamps(self, readings: Sequence[int]) -> list[str]:
        """Return readings of ``time.perf_counter_ns`` as ISO 8601 UTC with microseconds."""
        base, millis = self.base, self.millis
        return [
            f"{millis[(micro := (reading - base) // 1000) // 1000]}{THREE[micro % 1000]}Z"
            for reading in readings
        ]


def decimal(nanoseconds: int) -> str:
    """Return seconds, exactly: ``0.000002950``."""
    if nanoseconds < SECOND:
        return "0.%09d" % nanoseconds  # noqa: UP031 - a third faster than a format
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{seconds}.{rest:09d}"
