"""Takes snapshots: how a pool stands, and the job that runs on it."""

from __future__ import annotations

from collections import deque

from arcli.session.core.health import Positions
from arcli.session.core.job import JobRun
from arcli.session.core.messages import PendingChunk
from arcli.session.core.pool import Pool, PooledEngine
from arcli.timing.snapshot import RunningItem, Snapshot

WINDOW = 30.0
"""Seconds over which a job's rate is measured."""


class Observer:
    """Takes snapshots of a pool and of the job that runs on it."""

    def __init__(self, pool: Pool, positions: Positions) -> None:
        self._pool = pool
        self._positions = positions
        self._job: JobRun | None = None
        self._samples: deque[tuple[float, int]] = deque()

    def look(self, job: JobRun | None, now: float, *, items: bool) -> Snapshot:
        """See how things stand; ``items``: and what each engine is at, which costs a file each."""
        # Read by other threads at any time: what they get is immutable, and made a few times a second.
        ready = self._pool.ready()
        busy = [(engine, running) for engine in ready if (running := engine.running) is not None]
        starting = self._pool.width - len(ready)
        if job is None:
            return Snapshot(engines=len(ready), starting=starting)
        # Copies, since whoever reads them does so in another thread.
        counts = dict(job.tally.counts)
        done = job.tally.total
        total = None if job.supply.left is None else job.supply.count + job.supply.left
        rate = self._rate(job, done, now)
        shown = [self._item(engine, running, job, now) for engine, running in busy] if items else []
        shown.sort(key=lambda item: -item.seconds)
        return Snapshot(
            engines=len(ready),
            starting=starting,
            running=sum(_side_by_side(engine, job) for engine, _ in busy),
            job=job.plan.name,
            total=total,
            done=done,
            counts=counts,
            rate=rate,
            seconds_left=(total - done) / rate if rate and total is not None else None,
            items=tuple(shown),
        )

    def _rate(self, job: JobRun, done: int, now: float) -> float | None:
        """Return items a second over the last while, or since the job began."""
        # A new job starts its own window, with its begin as the first sample.
        if job is not self._job:
            self._job = job
            self._samples = deque([(job.began, 0)])
        if now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, done))
        # One sample beyond the window stays, to measure from.
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if done > before and now > since else None

    def _item(self, engine: PooledEngine, pending: PendingChunk, job: JobRun, now: float) -> RunningItem:
        chunk = pending.chunk
        index, since = None, max(pending.sent, engine.answered)
        # The position file tells the item; without it, a chunk of one item does. It may be one that was
        # taken back, to which the engine has just come.
        sighting = self._positions.look(engine, now)
        place = sighting.place_in(chunk) if sighting is not None else None
        if sighting is not None and place is not None and max(0, place) < len(chunk):
            index, since = chunk.indices[max(0, place)], sighting.since
        elif len(chunk) == 1:
            index = chunk.indices[0]
        else:  # it may go on with what it has
            for earlier in engine.under_way:
                if earlier.chunk.rest:
                    index, since = earlier.chunk.indices[earlier.chunk.done], earlier.sent
                    break
        return RunningItem(
            engine_id=engine.info.engine_id,
            slot=engine.info.slot,
            host=engine.info.host,
            index=index,
            seconds=now - since,
            chunk=len(chunk),
            running=_side_by_side(engine, job),
        )


def _side_by_side(engine: PooledEngine, job: JobRun) -> int:
    """Return how many items a busy engine is at: as many as it may, while its chunks have them."""
    running = engine.running
    left = sum(len(each.chunk.rest) for each in (*engine.under_way, *([running] if running else [])))
    return max(1, min(job.plan.concurrency, left))
