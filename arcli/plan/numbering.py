"""How many equal items came before one, in a fixed amount of memory."""

from __future__ import annotations

import zlib
from array import array

ROWS = 4
WIDTH = 1 << 18
_MASK = WIDTH - 1


class Occurrences:
    """Counts equal items with a count-min sketch and conservative updates.

    The number that an item gets may be too large where others collide with it, but it is the same
    for the same sequence of items, and no two equal items get the same one: that is all that a key
    needs. (Cormode and Muthukrishnan, 2005, https://doi.org/10.1016/j.jalgor.2003.12.001)
    """

    def __init__(self) -> None:
        self._rows = [array("I", bytes(4 * WIDTH)) for _ in range(ROWS)]

    def number(self, fingerprint: bytes) -> int:
        """Return how many items with this fingerprint came before, at least."""
        first, second = zlib.crc32(fingerprint), zlib.adler32(fingerprint, len(fingerprint)) | 1
        a, b, c, d = self._rows
        # Four places from two hashes (Kirsch and Mitzenmacher, 2006).
        i = first & _MASK
        j = (first + second) & _MASK
        k = (first + 2 * second) & _MASK
        m = (first + 3 * second) & _MASK
        seen = min(a[i], b[j], c[k], d[m])
        after = seen + 1
        if a[i] < after:
            a[i] = after
        if b[j] < after:
            b[j] = after
        if c[k] < after:
            c[k] = after
        if d[m] < after:
            d[m] = after
        return seen
