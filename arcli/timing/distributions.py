"""The distribution of item seconds: as bars, and whether another run's differs by more than chance.

The Mann-Whitney test asks how often an item of one run is slower than one of the other, for all
pairs of them, and needs no bell curve, which item times never are. The histograms of the tallies
are enough for it: items of one bucket (2 %) count as ties.

H. B. Mann and D. R. Whitney, 1947, https://doi.org/10.1214/aoms/1177730491
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from arcli.engine.tally import GROWTH, Tally

FEWEST_BARS = 12
"""Bars that there are at least, empty ones included: one alone says nothing about a width."""


class Bar(Struct, frozen=True, kw_only=True):
    """``count`` items took more than ``low`` and up to ``high`` seconds."""

    low: float
    high: float
    count: int


def bars(tally: Tally, most: int) -> list[Bar]:
    """At most ``most`` bars (FEWEST_BARS or more), all as wide as each other on a logarithmic axis."""
    if not tally.buckets:
        return []
    first, last = min(tally.buckets), max(tally.buckets)
    first -= max(0, FEWEST_BARS - (last - first + 1)) // 2
    wide = max(1, -(-(last - first + 1) // most))
    count = max(FEWEST_BARS, -(-(last - first + 1) // wide))
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


Verdict = Literal["slower", "faster", "noise", "too few items"]
LEVEL = 0.01
"""Below this probability it is not called chance."""
SMALL = 0.06
"""Less than 56 % of the pairs is nobody's concern, however certain: A. Vargha and H. D. Delaney,
2000, https://doi.org/10.3102/10769986025002101"""
FEWEST_ITEMS = 8
"""Items of each run below which the normal approximation of the test is not good enough."""


class Difference(Struct, frozen=True, kw_only=True):
    """``slower`` is the share of pairs in which the item of the second run took longer, ties half.

    ``p`` is the probability of one at least as large if both runs' items took equally long.
    """

    slower: float
    p: float
    fewest: int

    @property
    def verdict(self) -> Verdict:
        """What to make of it."""
        if self.fewest < FEWEST_ITEMS:
            return "too few items"
        if self.p >= LEVEL or abs(self.slower - 0.5) < SMALL:
            return "noise"
        return "slower" if self.slower > 0.5 else "faster"

    def words(self) -> str:
        """Return the verdict with its reasons, for people."""
        if self.fewest < FEWEST_ITEMS:
            return f"fewer than {FEWEST_ITEMS} items to compare"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        if self.verdict == "noise":
            return f"noise (slower in {self.slower * 100:.0f} % of pairs, {p})"
        share = self.slower if self.verdict == "slower" else 1 - self.slower
        return f"{self.verdict} in {share * 100:.0f} % of pairs, more than noise ({p})"


def difference(before: Mapping[int, int], now: Mapping[int, int]) -> Difference:
    """Compare two distributions, given as histograms: how many items are in which bucket."""
    n, m = sum(before.values()), sum(now.values())
    if not n or not m:
        return Difference(slower=0.5, p=1.0, fewest=0)
    pairs = below = ties = 0
    for bucket in sorted(before.keys() | now.keys()):
        a, b = before.get(bucket, 0), now.get(bucket, 0)
        pairs += b * (2 * below + a)  # twice the pairs, so that ties are whole numbers
        below += a
        ties += (a + b) ** 3 - (a + b)
    u, total = pairs / 2, n + m
    spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    # With a correction for continuity, since u moves in steps.
    z = max(0.0, abs(u - n * m / 2) - 0.5) / spread if spread > 0 else 0.0
    return Difference(slower=u / (n * m), p=math.erfc(z / math.sqrt(2)), fewest=min(n, m))
