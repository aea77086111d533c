"""The session's decisions: what happened and when in, what is to be done out.

``handle`` takes an event, ``tick`` looks at the timers and gives engines what they can take; both
return effects. Nothing here reads a clock, starts a thread or waits.
"""

from __future__ import annotations

from collections.abc import Callable

from arcli.cluster.base import ClusterDown, ClusterEvent, EngineDown, EngineUp
from arcli.engine.position_file import Position
from arcli.engine.protocol import (
    ChunkReplies,
    ChunkReply,
    Failure,
    HelloReply,
    Printed,
    Unmet,
    decode_reply,
)
from arcli.engine.tally import Status
from arcli.errors import ArcliError, ClusterError, SetupError
from arcli.session.core.chunk import ClientRecord
from arcli.session.core.feeding import Feeder, Recalls
from arcli.session.core.health import Health, Positions, Quiet, waiting_items
from arcli.session.core.job import JobRun
from arcli.session.core.messages import (
    Answered,
    Broadcast,
    Call,
    CancelItems,
    Early,
    Effect,
    EndJob,
    Interrupt,
    Limit,
    Moment,
    NotRevived,
    PendingChunk,
    PendingRequest,
    Ready,
    Reject,
    Release,
    Stop,
    setup_error,
)
from arcli.session.core.pool import DEADLINE, NEVER, Pool, PooledEngine, Requests, pause
from arcli.session.core.recovery import Recovery
from arcli.session.core.snapshot import Observer
from arcli.session.interfaces import Broken, Coming, Observations, Reply, Terms, Wake
from arcli.timing.ledger import End
from arcli.timing.snapshot import Snapshot

Command = Call | Broadcast | JobRun | Stop | CancelItems
"""What the main thread asks for: an answer of one engine, or of all; a job to be run."""
Event = ClusterEvent | Coming | Broken | Wake | Answered | Early | NotRevived | Command
"""What the core hears of: the transport's events, and what the main thread asks for."""
TICK = 0.1
"""Seconds between two looks at what nobody reports, such as items that overstay."""


class SessionCore:
    """Engines, requests and one job at a time, on this ``host``; see the module."""

    def __init__(
        self,
        terms: Terms,
        observations: Observations,
        host: str,
        read_position: Callable[[int], Position | None],
    ) -> None:
        self._terms = terms
        self._observations = observations
        self._host = host
        self._pool = Pool()
        self._requests = Requests(self._pool, terms)
        positions = Positions(read_position)
        self._health = Health(self._pool, positions)
        self._recovery = Recovery(self._pool, self._requests, self._health, positions, terms)
        self._observer = Observer(self._pool, positions)
        self._feeder = Feeder(self._pool, Recalls(self._pool, positions), terms)
        self._job: JobRun | None = None
        self._stopped: Stop | None = None
        self._broken: BaseException | None = None
        self._grace: float | None = None
        self._watched = float("-inf")
        self._quiet = Quiet()
        self._effects: list[Effect] = []
        self._moment = Moment(0.0, 0.0)

    # -- in and out -------------------------------------------------------------------------------

    def handle(self, event: Event, moment: Moment) -> list[Effect]:
        """Take an event; returns what is to be done about it."""
        self._moment = moment
        try:
            self._take(event)
        except ArcliError as error:
            self._break(error)
        return self._taken()

    def tick(self, moment: Moment) -> list[Effect]:
        """Look at all timers, give engines what they can take, and end what is over."""
        self._moment = moment
        try:
            self._watch()
            # Requests first: whoever waits for one holds up a whole job.
            self._effects += self._requests.feed(self._moment)
            if self._job is not None:
                self._effects += self._feeder.feed(self._job, self._moment)
            self._finish()
        except ArcliError as error:
            self._break(error)
        return self._taken()

    def break_off(self, error: BaseException, moment: Moment) -> list[Effect]:
        """Go on no more: what was read gets its last word, and who waits gets the error."""
        self._moment = moment
        self._break(error)
        return self._taken()

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._effects += self._requests.fail_all(error)
        job, self._job = self._job, None
        if job is not None:
            # Where the user's code or the cluster is the cause, each item that was read gets a record that
            # says so; a bug of arcli's, or a full disk, writes none.
            if isinstance(error, SetupError | ClusterError):
                self._recovery.cut_all_short(job, Status.CANCELLED, str(error), self._moment)
                job.ended = End.SETUP_FAILED if isinstance(error, SetupError) else End.CLUSTER_LOST
                self._conclude(job, job.items.cancel_outstanding(str(error)))
                self._conclude(job, job.items.stop(str(error)))
            self._effects.append(EndJob(job.ledger(self._now), error))

    @property
    def _final(self) -> ArcliError | None:
        """What ends the run, once it is being stopped."""
        return None if self._stopped is None else self._stopped.error

    @property
    def _now(self) -> float:
        return self._moment.now

    def _taken(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    @property
    def due(self) -> float | None:
        """When ``tick`` must be called next, without an event (monotonic); None: not at all."""
        if self._job is None and not self._pool.busy and not self._requests:
            return None
        if self._feeder.more:
            return self._now
        # What is due already waits for an engine, whose answer is an event.
        timers = [self._feeder.due, self._job.items.again.due if self._job is not None else None]
        return min([self._now + TICK, *(due for due in timers if due is not None and due > self._now)])

    def snapshot(self, *, items: bool) -> Snapshot:
        """See how things stand; ``items``: and what each engine is at."""
        return self._observer.look(self._job, self._now, items=items)

    def _take(self, event: Event) -> None:
        match event:
            case Call(future=future) | Broadcast(future=future) if self._broken is not None:
                self._effects.append(Reject(future, self._broken))
            case Call():
                self._requests.ask(event)
            case Broadcast():
                self._effects += self._requests.ask_all(event, self._moment)
            case JobRun():
                self._job = event
                self._grace = self._grace if self._final else None
                if self._broken is not None:
                    self._break(self._broken)
                elif self._stopped is not None:  # it came while the engines were told of the job
                    self._stop_job(event, self._stopped)
            case Stop():
                self._stop(event)
            case CancelItems(indices, reason):
                if (job := self._job) is not None:
                    job.items.cancel(indices, reason)
                    self._conclude(job, job.items.concluded())
            case _ if self._broken is None:
                self._take_news(event)

    def _take_news(self, event: Event) -> None:
        """Take what the transport reports."""
        match event:
            case EngineUp(info):
                # One that comes up while the transport is opened is told of twice: listed, and reported.
                if info.engine_id not in self._pool.engines:
                    engine = self._pool.admit(info)
                    self._effects += self._requests.welcome(engine, self._moment)
            case Coming(slot):
                self._pool.coming[slot] = NEVER
            case EngineDown():
                self._went_down(event)
            case Answered(pending, reply):
                self._answered(pending, reply)
            case Early():
                self._take_early(event)
            case ClusterDown(reason):
                self._cluster_is_down(reason)
            case NotRevived():
                self._lose_cluster(event.reason)
            case Wake():
                self._feeder.wake()
            case Broken():
                raise event.error

    # -- what the main thread asks for ------------------------------------------------------------

    def _stop(self, stop: Stop) -> None:
        """Send nothing more of the current job, and end what runs when its grace is over."""
        # The first stop of the whole run is the one that its exit code tells; a shorter grace always holds.
        if stop.error is not None:
            self._stopped = self._stopped or stop
        if stop.grace is not None:
            end = self._now + stop.grace
            self._grace = end if self._grace is None else min(self._grace, end)
        if self._job is not None:
            self._stop_job(self._job, stop)

    def _stop_job(self, job: JobRun, stop: Stop) -> None:
        # An interrupt outranks a deadline or a halt that came before it.
        if job.ended is End.DONE or stop.error is not None:
            job.ended = stop.ended
        self._conclude(job, job.items.stop(stop.reason))
        job.stop_reason = stop.reason
        # What has begun comes to its end, as long as there is grace; nothing else begins.
        self._effects += [Interrupt(now=False), *self._feeder.stop(job)]

    # -- engines that come, and what they answer --------------------------------------------------

    def _answered(self, pending: PendingRequest, reply: Reply) -> None:
        # ipyparallel answers for the dead before the cluster tells why they died: wait for that notice.
        if reply.died:
            self._health.dying(pending.engine_id, self._now)
            return
        # None where the engine has been given up since: its items are elsewhere already.
        engine = self._pool.settle(pending)
        if engine is None:
            return
        if reply.error is not None:
            self._not_answered(engine, pending, reply.error)
        elif pending.asked is not None:
            assert reply.envelope is not None
            self._effects += self._requests.answered(engine, pending.asked, reply.envelope)
        elif isinstance(pending, PendingChunk):
            assert reply.envelope is not None
            self._chunk_back(engine, pending, reply.envelope)
        else:
            self._prepared(engine, reply.envelope)
        engine.answered = self._now
        if self._job is not None:
            self._effects += self._feeder.go_on(self._job, engine, self._moment)
        self._feeder.answered(engine)

    def _not_answered(self, engine: PooledEngine, pending: PendingRequest, error: str) -> None:
        """An engine could not put an answer together, for want of memory, say."""
        if isinstance(pending.asked, Call):
            self._effects.append(Reject(pending.asked.future, pending.asked.failure(error)))
        elif not isinstance(pending, PendingChunk):
            raise ClusterError(f"{engine.words} could not answer a request: {error}")
        elif self._job is not None:
            self._effects += self._recovery.not_answered(self._job, engine, pending, error, self._moment)

    def _chunk_back(self, engine: PooledEngine, pending: PendingChunk, envelope: bytes) -> None:
        job, chunk = self._job, pending.chunk
        late = job is None or job.items.late(chunk)
        if job is None or (late and not engine.under_way):
            return
        # What comes from an engine may be anything: it is decoded here, within what a garbled chunk may
        # cost.
        try:
            reply = decode_reply(envelope)
        except ValueError as garbled:
            self._not_answered(engine, pending, str(garbled))
            return
        if isinstance(reply, ChunkReply | ChunkReplies):
            # Items that end show that not every one kills its engine.
            self._recovery.restarts.progress()
            replies = [reply] if isinstance(reply, ChunkReply) else reply.replies
            self._effects += job.take_replies(engine, pending, replies, len(envelope), self._moment)
            if engine.under_way and not chunk.overlap:
                self._not_answered(engine, pending, "it has left out items that it had begun")
        elif isinstance(reply, Failure | Unmet):
            self._effects += [] if late else job.refused(engine, chunk, reply, self._moment)
        else:
            self._not_answered(engine, pending, f"it sent a {type(reply).__name__}")

    def _take_early(self, early: Early) -> None:
        engine = self._pool.engines.get(early.pending.engine_id)
        if self._job is None or engine is None or early.pending not in engine.pending:
            return
        try:
            reply = decode_reply(early.envelope)
        except ValueError:
            return  # the chunk's own reply has all of it
        if isinstance(reply, Printed):
            self._effects.append(reply)
        elif isinstance(reply, ChunkReply):
            self._recovery.restarts.progress()
            self._effects += self._job.take_early(engine, early.pending, reply, self._moment)

    def _prepared(self, engine: PooledEngine, envelope: bytes | None) -> None:
        """A step of an engine's preparation is answered: the next one, or it is ready."""
        if envelope is not None:
            reply = decode_reply(envelope)
            if isinstance(reply, Failure):
                raise setup_error(engine.words, reply)
            # Positions can be read where the engine could open the very file; clocks compare only on one
            # host.
            if isinstance(reply, HelloReply):
                engine.position_file = reply.position_file and self._terms.position_files is not None
                engine.local = engine.position_file and reply.host == self._host
        engine.steps -= 1
        if engine.steps == 0:
            engine.ready, engine.since = True, self._now
            self._effects.append(Ready(engine.info))

    # -- death ------------------------------------------------------------------------------------

    def _went_down(self, down: EngineDown) -> None:
        # Nobody needs another engine while the run is being stopped.
        replace = self._final is None and not self._observations.in_process
        unready = any(each.info.engine_id == down.engine_id and not each.ready for each in self._pool)
        self._effects += self._recovery.engine_down(down, self._job, self._moment, replace=replace)
        if self._pool.hopeless and self._final is not None:
            self._effects += self._requests.fail_all(self._final)
        elif self._pool.hopeless:
            limit = self._recovery.restarts.words
            ended = "the last one ended in setup" if unready else "the last one"
            self._lose_cluster(f"no engine is left {limit}; {ended}: {down.reason}")
        self._effects += self._requests.complete()

    def _cluster_is_down(self, reason: str) -> None:
        effects = None
        if self._final is None:
            effects = self._recovery.cluster_down(reason, self._job, self._moment)
        if effects is None:
            self._lose_cluster(reason)
        else:
            self._effects += effects

    def _lose_cluster(self, reason: str) -> None:
        """There is no engine any more and none will come: every item gets its last word."""
        if self._broken is not None:
            return
        error = ClusterError(f"the cluster is lost: {reason}", hint=self._observations.diagnose())
        job = self._job
        if job is not None:
            # Account for the engines before they are dismissed, then end what they had and what was never
            # sent.
            self._recovery.cut_all_short(job, Status.LOST, reason, self._moment)
            for engine in self._pool:
                job.leaves(engine, self._now)
            job.ended = End.CLUSTER_LOST
            self._conclude(job, job.items.cancel_outstanding(reason, Status.LOST))
            self._conclude(job, job.items.stop(reason, Status.LOST))
        for engine in self._pool:
            self._pool.dismiss(engine.info.engine_id)
        self._pool.coming.clear()
        self._effects += self._requests.fail_all(error)
        self._broken = error
        self._finish()

    def _conclude(self, job: JobRun, ended: list[ClientRecord]) -> None:
        self._effects += job.conclude(ended, self._moment.wall)

    # -- timers -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at what nobody reports: all engines only now and then, whose number a turn must not feel."""
        if self._now - self._watched >= pause(TICK / 2, self._pool.width):
            self._watched = self._now
            self._watch_engines()
        if self._job is not None:
            self._watch_job(self._job)
        if self._grace is not None and self._now >= self._grace:
            self._end_running()

    def _watch_engines(self) -> None:
        """Look for items that overstay, engines that do not come, and requests that take long."""
        # A start that hangs is a death like any other, with its restart.
        for slot, due in list(self._pool.coming.items()):
            if self._now > due:
                late = "an engine did not come up in time"
                self._went_down(EngineDown(engine_id=None, slot=slot, reason=late))
        effects, at_it = self._requests.overdue(self._now)
        dooms = [doom for engine in at_it for doom in self._pool.doom(engine, DEADLINE)]
        self._effects += effects + dooms
        # Items that were sent before enough of them had been measured are told how long they have.
        if self._job is not None and (limit := self._job.news(self._now)) is not None:
            self._effects += [Limit(engine.info.slot, limit) for engine in self._pool]
        self._effects += self._health.watch(self._now)
        if self._job is not None and not self._observations.in_process:
            self._effects += self._health.watch_cancelled(self._job.items, self._now)
        self._effects += self._quiet.look(
            self._requests.words() or waiting_items(self._job, self._pool),
            self._now,
            self._observations.diagnose,
        )

    def _watch_job(self, job: JobRun) -> None:
        if job.due is not None and self._now > job.due:
            # Once: what runs at the deadline has no grace.
            job.due = None
            self._stop(Stop(reason=DEADLINE, ended=End.DEADLINE, grace=0.0))
        halt = job.plan.job.halts if job.ended is End.DONE else None
        if halt is not None and (halted := job.items.halted) is not None:
            ended, reason = halted
            self._stop(Stop(reason=reason, ended=ended, grace=0.0 if halt.how == "now" else None))

    def _end_running(self) -> None:
        """The grace is over: engines that still run something of this job are ended."""
        self._effects.append(Interrupt(now=True))
        if self._final is not None:
            self._effects += self._requests.fail_all(self._final)
        # Only engines that run something are ended; idle ones serve the next job, if there is one.
        reason = self._job.stop_reason if self._job is not None else str(self._final)
        for engine in self._pool:
            if engine.pending and engine.doomed is None and not self._observations.in_process:
                engine.doomed = reason
                self._effects.append(Release(engine.info.engine_id))
        if self._job is not None:
            self._recovery.cut_all_short(self._job, Status.CANCELLED, reason, self._moment)
            self._conclude(self._job, self._job.items.cancel_outstanding(reason))
        elif self._final is None:
            self._grace = None

    def _finish(self) -> None:
        job = self._job
        if job is None:
            return
        # A job that only replays never hears of an engine, so its records go out here.
        self._effects += job.replayed()
        doomed = self._grace is not None and any(engine.doomed for engine in self._pool)
        if doomed or not job.items.finished:
            return
        # Engines that are being ended have to be gone first: the next job must not count on them.
        if self._broken is None:
            for engine in self._pool:
                job.leaves(engine, self._now)
        # What is asked after a stop of the whole run, such as a reduce, has what is left of its grace.
        self._job, self._grace = None, self._grace if self._final else None
        self._effects.append(EndJob(job.ledger(self._now), self._broken or job.supply.error))
