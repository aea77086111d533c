"""Permutations that a seed decides."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import Any

HELD = 1 << 16
"""Numbers up to which a permutation is simply held."""
ROUNDS = 4
_64 = (1 << 64) - 1


def permutation(n: int, seed: int) -> Sequence[int]:
    """``range(n)`` in an order that depends on the seed alone, in bounded memory."""
    return held(n, seed) if n <= HELD else Feistel(n, seed)


def held(n: int, seed: int) -> Sequence[int]:
    """All of them, each order as likely as any other."""
    order = array("L", range(n))
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible is the point
    return order


class Feistel(Sequence[int]):
    """A permutation of ``range(n)`` without memory: a Feistel network that walks its cycles.

    Black and Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9. It is far from every order
    that it could be, which shows for small ``n`` only.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._half = max(1, ((max(n - 1, 1)).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        chance = random.Random(seed)  # noqa: S311 - reproducible is the point
        self._keys = [chance.getrandbits(64) for _ in range(ROUNDS)]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        place = range(self._n)[index]
        while True:
            place = self._once(place)
            if place < self._n:
                return place

    def _once(self, place: int) -> int:
        left, right = place >> self._half, place & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return left << self._half | right


def _mixed(bits: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, https://doi.org/10.1145/2660193.2660195)."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _64
    return bits ^ bits >> 31
