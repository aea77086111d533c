"""From the order in which chunks end to the order in which records go out."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from arcli.engine.tally import Tally


@dataclass(kw_only=True, slots=True)
class RecordSpan:
    """Records of consecutive items: where they stand in the journal, and perhaps their lines.

    ``lines`` is None where they were let go to save memory. ``pickles`` maps indices to places in
    the file of values that JSON does not hold exactly.
    """

    first: int
    count: int
    offset: int
    length: int
    tally: Tally
    lines: bytes | None
    pickles: dict[int, tuple[int, int]] | None = None


class Reorder:
    """Holds pieces back until all earlier items are out; with ``ordered=False`` it holds nothing.

    Holding costs a few numbers a piece: the records themselves wait in the journal.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._waiting: list[tuple[int, RecordSpan]] = []

    def push(self, piece: RecordSpan) -> list[RecordSpan]:
        """Take a piece; returns those that may go out now, in order."""
        if not self._ordered:
            return [piece]
        heapq.heappush(self._waiting, (piece.first, piece))
        ready: list[RecordSpan] = []
        while self._waiting and self._waiting[0][0] == self._next:
            _, piece = heapq.heappop(self._waiting)
            self._next += piece.count
            ready.append(piece)
        return ready

    @property
    def waiting(self) -> int:
        """Pieces that are held back."""
        return len(self._waiting)
