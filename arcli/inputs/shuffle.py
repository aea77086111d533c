"""Permutations that a seed decides."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

from arcli.inputs.grid import Lazy

HELD = 1 << 16
"""Numbers up to which a permutation is simply held."""
ROUNDS = 4


def permutation(n: int, seed: int) -> Sequence[int]:
    """Return ``range(n)`` in an order that depends on the seed alone, in bounded memory."""
    if n > HELD:
        return Feistel(n, seed)
    order = array("L", range(n))
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible is the point
    return order


class Feistel(Lazy[int]):
    """A permutation of ``range(n)`` without memory: a Feistel network that walks its cycles.

    Black and Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9. It is far from every order
    that it could be, which shows for small ``n`` only.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
        chance = random.Random(seed)  # noqa: S311 - reproducible is the point
        self._keys = [chance.getrandbits(64) for _ in range(ROUNDS)]

    def __len__(self) -> int:
        return self._n

    def _at(self, index: int) -> int:
        mask = (1 << self._half) - 1
        while True:
            left, right = index >> self._half, index & mask
            for key in self._keys:
                left, right = right, left ^ (_mixed(right ^ key) & mask)
            index = left << self._half | right
            if index < self._n:
                return index


def _mixed(bits: int) -> int:
    """Mix 64 bits well: the end of SplitMix64 (https://doi.org/10.1145/2660193.2660195)."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % (1 << 64)
    return bits ^ bits >> 31
