"""Which engine is given a chunk next, and what is had back from one that cannot begin it.

What waits behind a long item is recalled when another engine has nothing to do. The client writes a
recall into the position file of the engine; the engine begins no item that it names. Where the
engine is still at the same item some time later, it has not begun any of them, nor will it: so they
can go to another engine, and none runs twice.

Where chunks overlap, an engine that was recalled from answers although items are under way, for
another chunk that waits there could have the places beside them. A recall that names no item, behind
the last one, asks for that alone.
"""

from __future__ import annotations

import heapq

from msgspec import Struct

from arcli.session.core.chunk import Chunk
from arcli.session.core.health import Positions
from arcli.session.core.job import JobRun
from arcli.session.core.messages import Effect, Moment, Recall
from arcli.session.core.pool import Pool, PooledEngine
from arcli.session.interfaces import Terms

LONG = 0.2
"""Seconds that an item has run before what waits behind it is had back."""
SETTLED = 0.05
"""Seconds after which it is looked whether an engine is still where it was when it was recalled from."""


class _Pending(Struct):
    """A recall that was written ``at`` this time, while the engine was at this item.

    The chunk itself, and not its number: the next job numbers its chunks from 1 again.
    """

    chunk: Chunk
    position: int
    at: float
    taken: bool = False


class Recalls:
    """Watches a pool for engines with a free place, and for others with work that they cannot begin."""

    def __init__(self, pool: Pool, positions: Positions) -> None:
        self._pool = pool
        self._positions = positions
        self._pending: dict[int, _Pending] = {}
        self._looked = float("-inf")

    def look(self, job: JobRun, now: float) -> list[Effect]:
        """Recall what waits where another engine is idle; returns the recalls to be written.

        What has been recalled successfully goes back to the job's items.
        """
        if job.items.again or job.items.stopped or now - self._looked < SETTLED / 2:
            return []
        self._looked = now
        ready = self._pool.ready()
        idle = sum(engine.has_place for engine in ready)
        if not idle:
            return []
        effects: list[Effect] = []
        # Only where both clocks and the file are this host's is it known that an item was not begun.
        for engine in ready:
            pending = engine.running
            if pending is None or not engine.local or job.items.late(pending.chunk):
                continue
            recall = self._pending.get(engine.info.engine_id)
            if recall is not None and recall.chunk is pending.chunk:
                self._settle(engine, recall, job, idle, now)
            elif len(effects) < idle:
                effects += self._recall(engine, pending.chunk, now, overlap=job.items.chunks.overlap)
        return effects

    def _recall(self, engine: PooledEngine, running: Chunk, now: float, *, overlap: bool) -> list[Effect]:
        """Recall what is behind an item that has run for long."""
        # Short items are not worth it: the engine is through with them before anybody could take over.
        sighting = self._positions.look(engine, now)
        place = sighting.item_of(running) if sighting is not None else None
        # All places may be those of earlier chunks' items, so that none of this one's could begin.
        if sighting is not None and engine.under_way and sighting.place_in(running) == -1:
            place = -1
        if sighting is None or place is None or now - sighting.since < LONG:
            return []
        waiting = [pending.chunk for pending in engine.chunks[1:]]
        behind = len(running) - place - 1 + sum(map(len, waiting))
        bound = any(chunk.pinned is not None or chunk.alone for chunk in (running, *waiting))
        # Pinned items have nowhere else to go, suspects are alone anyway.
        if not behind or bound:
            return []
        self._pending[engine.info.engine_id] = _Pending(running, place, now)
        last = waiting[-1].number if waiting else running.number
        for chunk in (running, *waiting):
            chunk.overlap = overlap
        return [Recall(engine.info.slot, running.number, place + 1, last)]

    def stop(self, *, overlap: bool) -> list[Effect]:
        """Recall all that engines have and have not begun; returns the recalls to be written."""
        effects: list[Effect] = []
        for engine in self._pool:
            chunks = [pending.chunk for pending in engine.chunks]
            if chunks and engine.position_file:
                for chunk in chunks:
                    chunk.overlap = overlap
                effects.append(Recall(engine.info.slot, chunks[0].number, 0, chunks[-1].number))
        return effects

    def make_room(self, engine: PooledEngine) -> list[Effect]:
        """Have an engine that waits for the last items of its chunk begin the next one beside them."""
        running = engine.chunks[0].chunk
        recall = self._pending.get(engine.info.engine_id)
        # One that begins nothing more of it has been told already.
        if running.overlap or running.alone or (recall is not None and recall.chunk is running):
            return []
        running.overlap = True
        return [Recall(engine.info.slot, running.number, len(running), running.number)]

    def _settle(self, engine: PooledEngine, recall: _Pending, job: JobRun, idle: int, now: float) -> None:
        """Have back what was recalled, if the engine is still where it was."""
        if recall.taken or now - recall.at < SETTLED:
            return
        sighting = self._positions.look(engine, now, fresh=True)
        if sighting is None or sighting.place_in(recall.chunk) != recall.position:
            del self._pending[engine.info.engine_id]  # it went on: it says itself what it left out
            return
        # The engine is at the same item, so it has begun nothing that was recalled, and will see the recall
        # before it does.
        recall.taken = True
        job.items.take_back(recall.chunk, recall.position + 1, idle)
        for pending in engine.chunks[1:]:
            if not job.items.late(pending.chunk):
                job.items.take_back(pending.chunk, 0, idle)


BURST = 8
"""Chunks that are sent before what has come in meanwhile is looked at."""


class Feeder:
    """Gives the engines of a pool the chunks of a job. ``more``: there was no time for all.

    Who has room is known from what engines answer, so that no turn looks at all of them.
    """

    def __init__(self, pool: Pool, recalls: Recalls, terms: Terms) -> None:
        self._pool = pool
        self._recalls = recalls
        self._listener = terms.listener
        self._room: list[tuple[int, float, int]] = []
        self._starved: set[int] = set()
        self._full: set[int] = set()
        self._depth = 0
        self._starved_by: tuple[JobRun | None, int] = (None, 0)
        self.more = False
        self.due: float | None = None
        """When the next item may start, where items are to start one after another."""

    def answered(self, engine: PooledEngine) -> None:
        """An engine has answered, and may have room."""
        if engine.usable:
            self._starved.discard(engine.info.engine_id)
            self._full.discard(engine.info.engine_id)
            # By how little they have, then by how long they wait: the order in which engines run dry.
            heapq.heappush(self._room, (engine.level, engine.answered, engine.info.engine_id))
        # Entries that hold no longer are left where they are, until they are met or there are many.
        if len(self._room) > 64 + 4 * len(self._pool.engines):
            self._room = [entry for entry in {*self._room} if self._has_room(entry) is not None]
            heapq.heapify(self._room)

    def go_on(self, job: JobRun, engine: PooledEngine, moment: Moment) -> list[Effect]:
        """Have an engine go on with the items that are under way there, if nothing else is sent to it."""
        if not engine.under_way or engine.chunks or not engine.usable:
            return []
        return self._next(job, engine, moment) or self._sent(job, engine, job.items.empty(), moment)

    def stop(self, job: JobRun) -> list[Effect]:
        """Have engines begin nothing more of what they were sent; returns the recalls to be written."""
        return self._recalls.stop(overlap=job.items.chunks.overlap)

    def wake(self) -> None:
        """A source has items: engines that it had none for may have some."""
        self._look_again(self._starved)

    def _look_again(self, engines: set[int]) -> None:
        """Take these engines for such that may have room."""
        for engine_id in engines:
            if (engine := self._pool.engines.get(engine_id)) is not None:
                heapq.heappush(self._room, (engine.level, engine.answered, engine_id))
        engines.clear()

    def feed(self, job: JobRun, moment: Moment) -> list[Effect]:
        """Give engines what they can take, and have back what waits elsewhere behind a long item."""
        effects: list[Effect] = []
        # First what nobody can run any more: it would keep the job from ending.
        for slot, reason in self._pool.abandoned.items():
            message = f"only the engine in slot {slot} could run this, and it is gone: {reason}"
            effects += job.conclude(job.items.strand(slot, message), moment.wall)
        if job.items.choosy:
            effects += job.conclude(job.items.unfit(self._pool.slots), moment.wall)
        effects += self._send(job, moment)
        effects += self._recalls.look(job, moment.now)
        # What was had back waits now, and an idle engine can begin it in this very turn.
        effects += self._send(job, moment) if job.items.waiting else []
        effects += job.conclude(job.items.concluded(), moment.wall)
        replayed = job.replayed()
        # A glance at what an earlier run has kept is a short one: it goes on from there.
        self.more |= bool(replayed)
        return effects + replayed

    def _send(self, job: JobRun, moment: Moment) -> list[Effect]:
        """Send a few chunks: to those that have the least, of them to the one that waits longest.

        Not all are sent at once, for what comes back says how large the next ones should be.
        """
        delay = job.plan.job.delay
        if not delay:
            self.due = None
        elif self.due is not None and moment.now < self.due:
            return []
        job.items.again.ripen(moment.now)
        # Those that got nothing are asked again where something has come to what waits, or a suspect waits.
        if self._starved_by != (job, job.items.again.version) or job.items.again.suspects:
            self._starved_by = job, job.items.again.version
            self.wake()
        # Those that have as many as they may have room again where that has become more.
        depth = job.items.depth(self._pool.width)
        if depth > self._depth:
            self._look_again(self._full)
        self._depth = depth
        effects: list[Effect] = []
        while self._room and self._room[0][0] < depth and len(effects) < (1 if delay else BURST):
            entry = heapq.heappop(self._room)
            engine = self._has_room(entry)
            if engine is None:
                continue
            if send := self._next(job, engine, moment):
                effects += send
                if entry[0] + 1 < depth:
                    heapq.heappush(self._room, (entry[0] + 1, *entry[1:]))
                else:
                    self._full.add(entry[2])
            elif job.items.barren:
                heapq.heappush(self._room, entry)
                break
            else:
                self._starved.add(entry[2])
        # Starts are apart by at least the delay over all engines, whoever gets the next one.
        if delay and effects:
            self.due = moment.now + delay
        self.more = len(effects) >= BURST and not delay
        return effects

    def _has_room(self, entry: tuple[int, float, int]) -> PooledEngine | None:
        """Return the engine of an entry that still holds."""
        level, answered, engine_id = entry
        engine = self._pool.engines.get(engine_id)
        if engine is None or not engine.usable or (engine.level, engine.answered) != (level, answered):
            return None
        # A suspect runs with nobody behind it, or its engine's death would cost others once more.
        return None if any(pending.chunk.alone for pending in engine.chunks) else engine

    def _next(self, job: JobRun, engine: PooledEngine, moment: Moment) -> list[Effect]:
        """Send the next chunk to an engine, if there is one for it now."""
        chunk = job.items.next(engine.info.slot, engine.idle, self._pool.width, moment.now)
        return [] if chunk is None else self._sent(job, engine, chunk, moment)

    def _sent(self, job: JobRun, engine: PooledEngine, chunk: Chunk, moment: Moment) -> list[Effect]:
        request = job.encode(chunk, self._listener.streams(job.plan.name))
        label = job.plan.job.label
        send = self._pool.send(engine, chunk, request, label, moment)
        behind = job.items.chunks.overlap and len(engine.chunks) > 1
        return [send, *(self._recalls.make_room(engine) if behind else [])]
