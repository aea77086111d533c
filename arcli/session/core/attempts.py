"""Attempts of items that ended without a record, kept until their items have one."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import to_builtins

from arcli.engine.protocol import Again
from arcli.engine.tally import Status
from arcli.record import Attempt, dump
from arcli.session.core.chunk import Chunk, ClientRecord
from arcli.session.core.pool import PooledEngine
from arcli.units import format_seconds, isoformat


class Attempts:
    """What became of items before they got their records, by their numbers.

    Of most items there is nothing to keep, so that they cost nothing.
    """

    def __init__(self) -> None:
        self._of: dict[int, list[Attempt]] = {}
        self._unsure: set[int] = set()

    def failed(self, engine: PooledEngine, chunk: Chunk, again: Again) -> None:
        """Keep an attempt of which the engine says that the item is to be tried again."""
        attempt = _attempt(engine, Status(again.status), again.reason, again.started, again.completed)
        self._of.setdefault(chunk.indices[again.position], []).append(attempt)

    def cut_short(
        self, engine: PooledEngine, index: int, status: Status, reason: str, began: float, wall: float
    ) -> float:
        """Keep an attempt that its engine could not end, nor tell of; returns its seconds.

        ``began`` and ``wall``, when that was over, are seconds since the epoch.
        """
        attempt = _attempt(engine, status, reason, began, wall)
        self._of.setdefault(index, []).append(attempt)
        return attempt.seconds

    def unsure(self, indices: Iterable[int]) -> None:
        """Remember items of which nobody can tell whether they had begun."""
        self._unsure.update(indices)

    def complete(self, chunk: Chunk, runs: list[tuple[int, int]], lines: bytes) -> bytes:
        """Put earlier attempts into the records of a chunk's items at these runs of positions."""
        if not self._of:
            return lines
        each = lines.splitlines(keepends=True)
        positions = [position for first, count in runs for position in range(first, first + count)]
        for place, position in enumerate(positions):
            if (earlier := self._of.pop(chunk.indices[position], None)) is not None:
                told = dump(to_builtins(earlier))
                each[place] = b'%b,"earlier_attempts":%b}\n' % (each[place][:-2], told)
        return b"".join(each)

    def end(self, end: ClientRecord) -> tuple[str, Attempt | None, list[Attempt]]:
        """Tell of an item that no engine writes a record for: why it ended, where and when, the rest.

        It ended with its last attempt where that ended in the same way, else between two of them.
        """
        earlier = self._of.pop(end.index, [])
        last = earlier.pop() if earlier and earlier[-1].status == end.status else None
        if end.status is not Status.CANCELLED:
            return end.reason, last, earlier
        # Who ran for long when all was stopped is told from who never began.
        if last is not None:
            return f"{end.reason}, after {format_seconds(last.seconds)}", last, earlier
        if earlier or end.index in self._unsure:
            return end.reason, last, earlier
        return f"{end.reason}, before it began", last, earlier


def _attempt(engine: PooledEngine, status: Status, reason: str, began: float, ended: float) -> Attempt:
    # Clocks of two hosts may differ by more than the attempt took.
    ended = max(began, ended)
    return Attempt(
        engine_id=engine.info.engine_id,
        slot=engine.info.slot,
        status=status,
        reason=reason,
        started=isoformat(began),
        completed=isoformat(ended),
        seconds=round(ended - began, 6),
    )
