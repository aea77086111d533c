"""The distribution of item seconds as bars, from the buckets of a tally."""

from __future__ import annotations

from dataclasses import dataclass

from arcli.engine.tally import GROWTH, Tally

FEWEST = 12
"""Bars that there are at least, empty ones included: one alone says nothing about a width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """``count`` items took more than ``low`` and up to ``high`` seconds."""

    low: float
    high: float
    count: int


def bars(tally: Tally, most: int) -> list[Bar]:
    """At most ``most`` bars (FEWEST or more), all as wide as each other on a logarithmic axis."""
    if not tally.buckets:
        return []
    first, last = min(tally.buckets), max(tally.buckets)
    first -= max(0, FEWEST - (last - first + 1)) // 2
    wide = max(1, -(-(last - first + 1) // most))
    count = max(FEWEST, -(-(last - first + 1) // wide))
    counts = [0] * count
    for bucket, items in tally.buckets.items():
        counts[(bucket - first) // wide] += items
    edges = [GROWTH ** (first - 1 + place * wide) for place in range(count + 1)]
    return [Bar(low=edges[i], high=edges[i + 1], count=counts[i]) for i in range(count)]


def ticks(end: float, most: int) -> list[float]:
    """At most ``most`` round numbers from 0 to ``end``, in steps of 1, 2 or 5 times a power of 10.

    ``end`` is above 0; 0 is one of them.
    """
    power = 10.0**-12
    while True:
        for step in (power, 2 * power, 5 * power):
            if end / step < most:
                return [step * number for number in range(int(end / step) + 1)]
        power *= 10
