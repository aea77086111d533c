"""What becomes of the items of a dead engine, and whether another engine takes its place."""

from __future__ import annotations

from msgspec import Struct, field

from arcli.cluster.base import EngineDown
from arcli.engine.tally import Status
from arcli.session.core.chunk import Chunk
from arcli.session.core.dispatch import Loss
from arcli.session.core.health import OVERSTAYED, Health, Positions, Sighting
from arcli.session.core.job import JobRun
from arcli.session.core.messages import Effect, Forget, Moment, Notice, PendingChunk, Replace, Revive
from arcli.session.core.pool import NEVER, Pool, PooledEngine, Requests
from arcli.session.interfaces import Terms


class Restarts:
    """How often engines may be replaced: so often for deaths that nothing explains.

    A death that an item is to blame for is that item's: it costs its engine a few times at most. But
    where so many items one after another are to blame, and no other one has ended, it is no item's.
    """

    def __init__(self, limit: int | None) -> None:
        self._ours = limit is not None
        self._limit = limit or 0
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
        if not self._ours:
            return "and arcli starts none in a cluster that it has joined"
        if not self._limit:
            return "and none is replaced (cluster: max_restarts: 0)"
        limit = f"(cluster: max_restarts: {self._limit})"
        if self._culprits > self._limit:
            return f"after {self._culprits} items in a row that killed their engines {limit}"
        return f"after {self.count} restarts {limit}"


class Burial(Struct):
    """What the death of an engine comes to, for the items that it had.

    ``blamed``: an item is to blame; ``overstayed``: by not heeding its time limit.
    """

    effects: list[Effect] = field(default_factory=list)
    blamed: bool = False
    overstayed: bool = False


class Recovery:
    """Has others do what a dead engine had, and another engine take its place."""

    def __init__(
        self, pool: Pool, requests: Requests, health: Health, positions: Positions, terms: Terms
    ) -> None:
        self._pool = pool
        self._requests = requests
        self._health = health
        self._positions = positions
        self._start_timeout = terms.start_timeout
        self.restarts = Restarts(terms.max_restarts)

    def engine_down(
        self, down: EngineDown, job: JobRun | None, moment: Moment, *, replace: bool
    ) -> list[Effect]:
        """Let go of a dead engine, or of one that could not be started.

        With ``replace`` another one is started, unless there have been too many.
        """
        engine, burial, deliberate = None, Burial(), False
        if down.engine_id is not None:
            self._health.dead(down.engine_id)
            engine = self._pool.engines.get(down.engine_id)
        # An engine that never came up has nothing to be judged.
        if engine is not None:
            # Where arcli has ended it, nothing that ran there is to blame, unless that overstayed.
            judge = engine.doomed in {None, OVERSTAYED}
            burial = self._bury(engine, job, engine.doomed or down.reason, moment, judge=judge)
            deliberate = burial.overstayed or engine.doomed is not None
        effects = burial.effects
        self._pool.coming.pop(down.slot, None)
        # Engines that arcli ended by itself do not use up the restarts.
        if replace and not deliberate:
            self.restarts.died(blamed=burial.blamed)
        if replace and (deliberate or not self.restarts.spent):
            if not deliberate:
                self._count_restart(job)
            self._pool.coming[down.slot] = moment.now + self._start_timeout
            effects.append(Replace(down.slot))
        # Whatever only this slot could have run has nobody left to run it.
        if down.slot not in self._pool.slots:
            self._pool.abandoned[down.slot] = down.reason
        return effects

    def cluster_down(self, reason: str, job: JobRun | None, moment: Moment) -> list[Effect] | None:
        """Have another cluster take the place of one that is lost; None if there were too many.

        Nothing that ran there is to blame.
        """
        # Engines of a lost cluster have no death of their own: one restart for all of them.
        self.restarts.died(blamed=False)
        if self.restarts.spent:
            return None
        self._count_restart(job)
        effects: list[Effect] = [Notice(f"{reason}: a new cluster is started")]
        for slot in self._pool.slots:
            self._pool.coming[slot] = NEVER
        for engine in self._pool:
            self._health.dead(engine.info.engine_id)
            effects += self._bury(engine, job, reason, moment, judge=False).effects
        return [*effects, Revive(reason)]

    def not_answered(
        self, job: JobRun, engine: PooledEngine, pending: PendingChunk, error: str, moment: Moment
    ) -> list[Effect]:
        """Have others do what an engine that lives could not answer for; any item of it may be why."""
        chunks = [each.chunk for each in (*engine.under_way, pending) if not job.items.late(each.chunk)]
        engine.under_way = []
        effects: list[Effect] = []
        for chunk in chunks:
            job.attempts.unsure(chunk.indices[place] for place in chunk.rest)
            fate = "its engine could not answer"
            loss = job.items.lost(chunk, None, True, error, fate=fate, sole=len(chunks) == 1)
            effects += job.conclude(loss.records, moment.wall)
        return effects

    def cut_short(
        self, engine: PooledEngine, job: JobRun, status: Status, reason: str, moment: Moment
    ) -> None:
        """Put down which item an engine is at that it will not end, and since when.

        Its position file tells, or that the item is alone there; else nobody knows what has begun.
        """
        for each in engine.under_way:
            job.attempts.unsure(each.chunk.indices[place] for place in each.chunk.rest)
        pending = engine.running
        if pending is None or job.items.late(pending.chunk):
            return
        chunk = pending.chunk
        sighting = self._positions.look(engine, moment.now, fresh=True)
        # Of what the engine has of this chunk: all may have begun, or all up to where the file says.
        begun = chunk.rest
        began = moment.wall - (moment.now - max(pending.sent, engine.answered))
        if sighting is not None:
            begun = sighting.begun_of(chunk)
            began = sighting.position.since if sighting.position is not None else began
        seconds = 0.0
        running = sighting is None or not sighting.idle
        one = len(begun) == 1 and not engine.under_way
        if running and begun and (one or (sighting is not None and job.plan.concurrency == 1)):
            status = Status.CANCELLED if begun[-1] in job.items.cancelled_in(chunk) else status
            index = chunk.indices[begun[-1]]
            seconds = job.attempts.cut_short(engine, index, status, reason, began, moment.wall)
            begun = begun[:-1]  # these have ended, and their records were not sent yet
        job.attempts.unsure(chunk.indices[each] for each in begun)
        job.cut_short(engine, pending, seconds, moment.now)

    def cut_all_short(self, job: JobRun, status: Status, reason: str, moment: Moment) -> None:
        """Put that down of every engine."""
        for engine in self._pool:
            self.cut_short(engine, job, status, reason, moment)

    def _count_restart(self, job: JobRun | None) -> None:
        self.restarts.count += 1
        if job is not None:
            job.restarts += 1

    def _bury(
        self, engine: PooledEngine, job: JobRun | None, reason: str, moment: Moment, *, judge: bool
    ) -> Burial:
        """Split a dead engine's chunks, blame the item that ran, and have the rest sent again.

        Without ``judge`` nothing that it ran is to blame.
        """
        sighting = self._positions.look(engine, moment.now, fresh=True)
        burial = Burial()
        if job is not None:
            age = moment.now - sighting.since if sighting is not None else 0.0
            limit = engine.running.chunk.limit if engine.running is not None else None
            overstayed = judge and limit is not None and age >= limit
            status = Status.TIMEOUT if overstayed else Status.LOST
            self.cut_short(engine, job, status, reason, moment)
            job.leaves(engine, moment.now)
        self._positions.forget(engine.info.engine_id)
        self._pool.dismiss(engine.info.engine_id)
        burial.effects += [Forget(pending) for pending in engine.chunks]
        # A chunk of which nothing is left, as one without items, has nobody to blame.
        begun = {each.chunk.number for each in _begun(engine, sighting) if each.chunk.rest}
        for pending in (*engine.under_way, *engine.chunks):
            chunk = pending.chunk
            if job is None or job.items.late(chunk):
                continue
            if judge and not job.items.cancelled_in(chunk):
                sole = begun == {chunk.number}
                loss = _judge(
                    job, chunk, sighting, reason, moment.now, begun=chunk.number in begun, sole=sole
                )
            else:
                loss = job.items.lost(chunk, None, False, reason)
            burial.effects += job.conclude(loss.records, moment.wall)
            burial.blamed |= loss.blamed
            burial.overstayed |= loss.overstayed
            if loss.found:
                self.restarts.culprit(loss.explained)
        # Requests to every engine wait for its replacement; one answer is asked for elsewhere.
        burial.effects += self._requests.bury(engine, reason, blame=judge)
        return burial


def _begun(engine: PooledEngine, sighting: Sighting | None) -> list[PendingChunk]:
    """Return the chunks of a dead engine of which it had begun items, as far as is known."""
    if sighting is None:
        return [*engine.under_way, *engine.chunks[:1]]
    # Behind its items an engine may still die of one: over the reply, which it cannot put together. Where
    # chunks overlap, what is before the one that it was at, and was not answered, had been begun, too.
    position = sighting.position
    return [
        *engine.under_way,
        *(
            pending
            for pending in engine.chunks
            if sighting.place_in(pending.chunk) is not None
            or (pending.chunk.overlap and position is not None and pending.chunk.number < position.chunk)
        ),
    ]


def _judge(
    job: JobRun,
    chunk: Chunk,
    sighting: Sighting | None,
    reason: str,
    now: float,
    *,
    begun: bool,
    sole: bool,
) -> Loss:
    """Blame an item of a chunk, on evidence.

    That is the engine's own position file, or, where it has none that can be read here, an item
    that was alone with it. ``begun``: some of it was begun; ``sole``: of no other chunk.
    """
    culprit = None
    if sighting is not None:
        # Where several items run side by side, any of them may be to blame: the last one to begin
        # is not more suspect than the others.
        sure = job.plan.concurrency == 1 or (sole and len(chunk.rest) == 1)
        item = sighting.item_of(chunk)
        if item is not None and sure and chunk.done <= item:
            culprit = item
    # An item that outlived its limit is a timeout, however its engine came to end.
    limit = chunk.limit
    age = now - sighting.since if sighting is not None else 0.0
    if culprit is not None and limit is not None and age >= limit:
        message = f"took longer than {limit:g} s and did not stop when told to"
        return Loss(job.items.timed_out(chunk, culprit, message, now), blamed=True, overstayed=True)
    # Else the rest runs again, cut so that the culprit is found if it kills once more.
    return job.items.lost(chunk, culprit, begun, reason, sole=sole)
