"""Journals without a run."""

from __future__ import annotations

from collections.abc import Iterable


def many_records(order: Iterable[int]) -> bytes:
    """Records of items in the order of their completion."""
    return b"".join(
        b'{"run":"r","job":"job","index":%d,"key":"k","input":%d,"status":"ok","value":%d}\n' % (at, at, at)
        for at in order
    )
