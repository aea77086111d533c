"""Which engine is given a chunk next."""

from __future__ import annotations

import heapq

from arcli.session.core.effects import Effect
from arcli.session.core.job import JobRun
from arcli.session.core.pending import Moment
from arcli.session.core.pool import Pool, PooledEngine
from arcli.session.core.recall import Recalls
from arcli.session.core.terms import Terms

BURST = 8
"""Chunks that are sent before what has come in meanwhile is looked at."""


class Feeder:
    """Gives the engines of a pool the chunks of a job. ``more``: there was no time for all."""

    def __init__(self, pool: Pool, recalls: Recalls, terms: Terms) -> None:
        self._pool = pool
        self._recalls = recalls
        self._listener = terms.listener
        self.more = False
        self.due: float | None = None
        """When the next item may start, where items are to start one after another."""

    def feed(self, job: JobRun, ready: list[PooledEngine], moment: Moment) -> list[Effect]:
        """Give engines what they can take, and have back what waits elsewhere behind a long item."""
        effects: list[Effect] = []
        for slot, reason in self._pool.abandoned.items():
            message = f"only the engine in slot {slot} could run this, and it is gone: {reason}"
            effects += job.conclude(job.items.strand(slot, message), moment.wall)
        effects += job.conclude(job.items.unfit(self._pool.slots), moment.wall)
        effects += self._send(job, ready, moment)
        effects += self._recalls.look(job, moment.now)
        effects += self._send(job, ready, moment) if job.items.waiting else []
        effects += job.conclude(job.items.concluded(), moment.wall)
        return effects + job.replayed()

    def _send(self, job: JobRun, ready: list[PooledEngine], moment: Moment) -> list[Effect]:
        """Send a few chunks: to those that have the least, of them to the one that waits longest.

        Not all are sent at once, for what comes back says how large the next ones should be.
        """
        delay = job.plan.job.delay
        if not delay:
            self.due = None
        elif self.due is not None and moment.now < self.due:
            return []
        depth = job.items.depth(self._pool.width)
        room = [(len(e.chunks), e.answered, e.up.engine_id, e) for e in ready if len(e.chunks) < depth]
        heapq.heapify(room)
        effects: list[Effect] = []
        while room and len(effects) < (1 if delay else BURST):
            level, answered, engine_id, engine = heapq.heappop(room)
            send = self._next(job, engine, moment)
            if send is not None:
                effects.append(send)
                if level + 1 < depth:
                    heapq.heappush(room, (level + 1, answered, engine_id, engine))
        if delay and effects:
            self.due = moment.now + delay
        self.more = bool(room) and not delay
        return effects

    def _next(self, job: JobRun, engine: PooledEngine, moment: Moment) -> Effect | None:
        """The next chunk for an engine, None where there is none for it now."""
        if any(pending.chunk is not None and pending.chunk.alone for pending in engine.pending):
            return None
        idle = not engine.pending
        chunk = job.items.next(engine.up.slot, idle, self._pool.width, moment.now)
        if chunk is None:
            return None
        request = job.encode(chunk, self._listener.streams(job.plan.name))
        label = job.plan.job.label
        return self._pool.send(engine, request, moment, chunk=chunk, label=label)
