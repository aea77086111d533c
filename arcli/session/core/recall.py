"""What waits behind a long item is had back, when another engine has nothing to do.

The client writes a recall into the position file of the engine; the engine begins no item that it
names. Where the engine is still at the same item some time later, it has not begun any of them, nor
will it: so they can go to another engine, and none runs twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from arcli.session.core.chunk import Chunk
from arcli.session.core.effects import Effect, Recall
from arcli.session.core.health import Positions
from arcli.session.core.job import JobRun
from arcli.session.core.pool import Pool, PooledEngine

LONG = 0.2
"""Seconds that an item has run before what waits behind it is had back."""
SETTLED = 0.05
"""Seconds after which an engine must have seen a recall before it began another item."""


@dataclass(slots=True)
class _Pending:
    """A recall that was written ``at`` this time, while the engine was at this item."""

    chunk: int
    position: int
    at: float
    taken: bool = False


class Recalls:
    """Watches a pool for engines without work, and for others with work that they cannot begin."""

    def __init__(self, pool: Pool, positions: Positions) -> None:
        self._pool = pool
        self._positions = positions
        self._pending: dict[int, _Pending] = {}

    def look(self, job: JobRun, now: float) -> list[Effect]:
        """Recall what waits where another engine is idle; returns the recalls to be written.

        What has been recalled successfully goes back to the job's items.
        """
        ready = self._pool.ready()
        idle = sum(not engine.pending for engine in ready)
        if not idle or job.items.waiting or job.items.stopped:
            return []
        effects: list[Effect] = []
        for engine in ready:
            running = engine.chunks[0].chunk if engine.chunks else None
            if running is None or not engine.local or job.items.late(running):
                continue
            recall = self._pending.get(engine.up.engine_id)
            if recall is not None and recall.chunk == running.number:
                self._settle(engine, running, recall, job, idle, now)
            elif len(effects) < idle:
                effects += self._recall(engine, running, now)
        return effects

    def _recall(self, engine: PooledEngine, running: Chunk, now: float) -> list[Effect]:
        """Recall what is behind an item that has run for long."""
        sighting = self._positions.look(engine, now)
        position = sighting.position if sighting is not None else None
        if sighting is None or position is None or now - sighting.since < LONG:
            return []
        waiting = [p.chunk for p in engine.chunks[1:] if p.chunk is not None]
        behind = max(0, len(running) - position.position - 1) + sum(map(len, waiting))
        bound = any(chunk.pinned is not None or chunk.alone for chunk in (running, *waiting))
        if position.chunk != running.number or position.position < 0 or not behind or bound:
            return []
        self._pending[engine.up.engine_id] = _Pending(running.number, position.position, now)
        last = waiting[-1].number if waiting else running.number
        return [Recall(engine.up.slot, running.number, position.position + 1, last)]

    def _settle(
        self, engine: PooledEngine, running: Chunk, recall: _Pending, job: JobRun, idle: int, now: float
    ) -> None:
        """Have back what was recalled, if the engine is still where it was."""
        if recall.taken or now - recall.at < SETTLED:
            return
        sighting = self._positions.look(engine, now, fresh=True)
        position = sighting.position if sighting is not None else None
        if position is None or (position.chunk, position.position) != (recall.chunk, recall.position):
            del self._pending[engine.up.engine_id]  # it went on: it says itself what it left out
            return
        recall.taken = True
        job.items.take_back(running, recall.position + 1, idle)
        for pending in engine.chunks[1:]:
            if pending.chunk is not None and not job.items.late(pending.chunk):
                job.items.take_back(pending.chunk, 0, idle)
