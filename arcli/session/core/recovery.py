"""What becomes of the items of a dead engine, and whether another engine takes its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from arcli.session.core.chunk import Chunk
from arcli.session.core.effects import Effect, Forget
from arcli.session.core.health import Positions, Sighting
from arcli.session.core.job import JobRun
from arcli.session.core.pool import PooledEngine


class Restarts:
    """How often engines may be replaced: so often for deaths that nothing explains.

    A death that an item is to blame for is that item's: it costs its engine a few times at most. But
    where so many items one after another are to blame, and no other one has ended, it is no item's.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unexplained = 0
        self._culprits = 0
        self.count = 0

    def progress(self) -> None:
        """Some item has ended on its engine."""
        self._culprits = 0

    def culprit(self, explained: int) -> None:
        """An item is known to kill its engines; so many deaths of before were because of it."""
        self._culprits += 1
        self._unexplained = max(0, self._unexplained - explained)

    def died(self, *, blamed: bool) -> None:
        """An engine, or the cluster, has died; ``blamed``: of a known item."""
        if not blamed:
            self._unexplained += 1

    @property
    def spent(self) -> bool:
        """Whether there is to be no replacement for what has died."""
        return not self._limit or max(self._unexplained, self._culprits) > self._limit

    @property
    def words(self) -> str:
        """Why there is none, in words that name the setting."""
        if not self._limit:
            return "and none is replaced (cluster: max_restarts: 0)"
        limit = f"(cluster: max_restarts: {self._limit})"
        if self._culprits > self._limit:
            return f"after {self._culprits} items in a row that killed their engines {limit}"
        return f"after {self.count} restarts {limit}"


@dataclass
class Burial:
    """What the death of an engine comes to, for the items that it had.

    ``blamed``: an item is to blame; ``overstayed``: by not heeding its time limit. ``culprit``: it
    will not be tried again; ``explained`` counts the earlier deaths that this explains.
    """

    effects: list[Effect] = field(default_factory=list)
    blamed: bool = False
    overstayed: bool = False
    culprit: bool = False
    explained: int = 0


class Recovery:
    """Judges what dead engines ran; see the module."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    def bury(
        self,
        engine: PooledEngine,
        job: JobRun | None,
        reason: str,
        now: float,
        wall: float,
        *,
        judge: bool,
    ) -> Burial:
        """Split a dead engine's chunks, blame the item that ran, and have the rest sent again.

        Without ``judge`` nothing that it ran is to blame.
        """
        sighting = self._positions.look(engine, now, fresh=True)
        self._positions.forget(engine.up.engine_id)
        burial = Burial()
        if job is not None:
            job.leaves(engine, now)
        for place, pending in enumerate(engine.chunks):
            chunk = pending.chunk
            burial.effects.append(Forget(pending))
            if job is None or chunk is None or job.items.late(chunk):
                continue
            if judge:
                self._judge(burial, job, chunk, sighting, place == 0, reason, now, wall)
            else:
                loss = job.items.lost(chunk, None, False, reason)
                burial.effects += job.conclude(loss.records, wall)
        return burial

    def _judge(
        self,
        burial: Burial,
        job: JobRun,
        chunk: Chunk,
        sighting: Sighting | None,
        first: bool,
        reason: str,
        now: float,
        wall: float,
    ) -> None:
        """Blame an item of a chunk, on evidence.

        That is the engine's own position file, or, where it has none that can be read here, an item
        that was alone with it.
        """
        culprit, begun = None, first
        if sighting is not None:
            position = sighting.position
            begun = position is not None and position.chunk == chunk.number
            if position is not None and begun and position.position >= chunk.done:
                culprit = position.position
        limit = job.plan.job.timeout
        age = now - sighting.since if sighting is not None else 0.0
        if culprit is not None and limit is not None and age >= limit:
            message = f"took longer than {limit:g} s and did not stop when told to"
            burial.effects += job.conclude(job.items.timed_out(chunk, culprit, message, now), wall)
            burial.blamed = burial.overstayed = True
            return
        loss = job.items.lost(chunk, culprit, begun, reason)
        burial.effects += job.conclude(loss.records, wall)
        burial.blamed |= loss.blamed
        burial.culprit |= loss.found
        burial.explained += loss.explained
