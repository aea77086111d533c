"""What a set of items adds up to, in a fixed amount of memory, and mergeable.

Durations are kept one by one up to ``EXACT`` items, and as a histogram with logarithmic buckets, so
that beyond it the seconds of the item of any rank are known within 1 %, whatever the number of items
(DDSketch, https://arxiv.org/abs/1908.10693).
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum
from math import ceil, log
from typing import Any


class Status(StrEnum):
    """How an item ended; the values are those of the records."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"


STATUSES = tuple(Status)
_CUT_SHORT = {Status.LOST, Status.CANCELLED}
GROWTH = 1.02
EXACT = 10_000
"""Items up to which quantiles are exact; a tally may be made for fewer."""
_LOG = math.log(GROWTH)
_TINY = 1e-9
_ROUNDING = 1e-9
"""A share times a count, 0.07 * 100 for instance, is a whole number but for this."""


class Tally:
    """Counts by status, and the distribution of seconds an item.

    ``seconds``, ``squares``, ``shortest``, ``longest`` and ``buckets`` are about items that ran;
    ``lost`` and ``cancelled`` items only count. ``durations`` has the seconds one by one, None where
    there are more than ``exact``.
    """

    __slots__ = (
        "_exact", "buckets", "counts", "durations", "longest", "retried", "seconds", "shortest", "squares",
    )  # fmt: skip

    def __init__(self, exact: int | None = None) -> None:
        self._exact = EXACT if exact is None else exact
        self.durations: array[float] | None = array("d")
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self.squares = 0.0
        self.shortest = math.inf
        self.longest = 0.0
        self.retried = 0
        self.buckets: Counter[int] = Counter()

    def add(self, status: str, seconds: float | None, attempt: int = 1) -> None:
        """Count one item; ``seconds`` is None where it never ran."""
        self.counts[status] += 1
        if attempt > 1:
            self.retried += 1
        # How long one ran until it was stopped says nothing of how long items take.
        if seconds is None or status in _CUT_SHORT:
            return
        self.seconds += seconds
        self.squares += seconds * seconds
        if seconds < self.shortest:
            self.shortest = seconds
        if seconds > self.longest:
            self.longest = seconds
        # Buckets grow by a factor: quantiles are right to a share of themselves, in memory that is bounded.
        self.buckets[math.ceil(math.log(max(_TINY, seconds)) / _LOG)] += 1
        self._keep((seconds,))

    def add_all(self, statuses: Sequence[str], seconds: Sequence[float], attempt: int = 1) -> None:
        """Count many items that ran, for less than one after the other."""
        if not statuses:
            return
        # Mostly they are all the same.
        if statuses.count(statuses[0]) == len(statuses):
            self.counts[statuses[0]] += len(statuses)
        else:
            self.counts.update(statuses)
        if attempt > 1:
            self.retried += len(statuses)
        # By the duration and not by the item, since short items have few different ones.
        spread = Counter(seconds)
        self.shortest = min(self.shortest, min(spread))
        self.longest = max(self.longest, max(spread))
        for each, count in spread.items():
            total = each * count
            self.seconds += total
            self.squares += total * each
            self.buckets[ceil(log(each or _TINY) / _LOG)] += count
        self._keep(seconds)

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.counts.update(other.counts)
        self.buckets.update(other.buckets)
        self.seconds += other.seconds
        self.squares += other.squares
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)
        self.retried += other.retried
        self._keep(other.durations)

    def remove(self, other: Tally) -> None:
        """Take back what was merged. Of the durations only how they are distributed stays known."""
        self.counts.subtract(other.counts)
        self.buckets.subtract(other.buckets)
        self.seconds -= other.seconds
        self.squares -= other.squares
        self.retried -= other.retried
        self.durations = None

    def _keep(self, durations: Collection[float] | None) -> None:
        """Keep more durations one by one, or none of them any more."""
        if self.durations is None:
            return
        if durations is None or len(self.durations) + len(durations) > self._exact:
            self.durations = None
        else:
            self.durations.extend(durations)

    @property
    def total(self) -> int:
        """Items of any status."""
        return sum(self.counts.values())

    @property
    def ran(self) -> int:
        """Items whose seconds are known."""
        return sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """Mean seconds of the items that ran, 0 when there is none."""
        return self.seconds / self.ran if self.ran else 0.0

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the seconds, 0 below two items."""
        n = self.ran
        if n < 2:
            return 0.0
        return math.sqrt(max(0.0, (self.squares - self.seconds * self.seconds / n) / (n - 1)))

    def quantile(self, q: float) -> float:
        """Return the seconds that a share ``q`` (0 … 1) of the items stays within, 0 without items.

        By rank, and the mean of two items where ``q`` falls just between them (the second of
        Hyndman and Fan's definitions, https://doi.org/10.1080/00031305.1996.10473566). Each item's
        seconds are known exactly while there are few, else within 1 %, the extremes always exactly.
        """
        # The rounding keeps 0.07 times 100 from being the eighth item.
        n = self.ran
        if n == 0:
            return 0.0
        place = q * n
        lower = max(1, math.ceil(place - _ROUNDING))
        upper = min(n, math.floor(place + _ROUNDING) + 1)
        if self.durations is not None:
            durations = sorted(self.durations)
            return (durations[lower - 1] + durations[upper - 1]) / 2
        return (self._ranked(lower) + self._ranked(upper)) / 2

    def _ranked(self, rank: int) -> float:
        """Return the seconds of the item that comes ``rank``-th, counted from 1."""
        if rank == 1:
            return self.shortest
        below = self.ran - rank
        for bucket in sorted(self.buckets, reverse=True) if below else ():
            below -= self.buckets[bucket]
            if below < 0:
                middle = 2 * GROWTH**bucket / (1 + GROWTH)
                return min(max(middle, self.shortest), self.longest)
        return self.longest

    def to_list(self) -> list[Any]:
        """Return a plain form of it, for the way back from an engine."""
        return [
            self.counts, self.seconds, self.squares, self.shortest, self.longest, self.retried,
            self.buckets, None if self.durations is None else _as_text(self.durations),
        ]  # fmt: skip

    @classmethod
    def from_list(cls, plain: list[Any]) -> Tally:
        """Return the inverse of ``to_list``, also after a journey through JSON, whose keys are text."""
        tally = cls()
        (
            counts, tally.seconds, tally.squares, tally.shortest, tally.longest,
            tally.retried, buckets, durations,
        ) = plain  # fmt: skip
        tally.durations = None if durations is None else _from_text(durations)
        tally.counts.update(counts)
        tally.buckets.update({int(bucket): count for bucket, count in buckets.items()})
        return tally


def _as_text(durations: array[float]) -> str:
    """Return numbers as base64 of doubles, which takes a tenth of the time of their digits."""
    return base64.b64encode(_little_endian(durations)).decode("ascii")


def _from_text(text: str) -> array[float]:
    """Return the inverse of ``_as_text``. Raises ValueError."""
    durations = array("d")
    durations.frombytes(base64.b64decode(text, validate=True))
    return _little_endian(durations)


def _little_endian(numbers: array[float]) -> array[float]:
    """Return numbers as they travel, or as they are here: engines may be machines of another kind."""
    if sys.byteorder == "big":
        numbers = array("d", numbers)
        numbers.byteswap()
    return numbers
