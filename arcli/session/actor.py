"""The session's own thread: every event of the cluster, every timer, and every decision.

It never waits for a source or for an output, so that neither can stop a timer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from arcli.engine import position_file
from arcli.engine.limits import GRACE
from arcli.engine.position_file import Crumb
from arcli.engine.protocol import ChunkReply, Failure, decode_reply, encode_request
from arcli.engine.protocol import Request as EngineRequest
from arcli.engine.tally import Status
from arcli.errors import ArcliError, ClusterError, OutputError, SetupError
from arcli.session.chunk import Chunk
from arcli.session.jobrun import JobRun
from arcli.session.pool import Broadcast, Call, PendingRequest, Pool, PooledEngine, setup_error
from arcli.session.transport.base import Broken, Down, Event, Lost, Reply, Transport, Up, Wake
from arcli.timing.ledger import End, Ledger

TICK = 0.1
"""Seconds between two looks at what nobody reports: early records, items that overstay."""
OVERSTAY = 2 * GRACE + 1.0
"""Seconds beyond its limit after which an engine that does not end itself is ended."""
QUIET = 10.0
"""Seconds without an engine before arcli says in words what it is waiting for."""
DEATH_NOTICE = 5.0
"""Seconds between a request that fails by its engine's death and the notice of that death."""
SILENT = 15.0
"""Seconds in which an engine answers arcli's first words, or never: one that is registered before
its connection to the scheduler stands does not get what is sent to it, and nobody says so."""
STUCK = 60.0
"""Seconds that a chunk may be with an idle engine, which has not even begun to unpack it."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a session may do: how often engines are restarted, how long they may take to come up.

    ``steps`` gives the requests that prepare the engine in a slot; ``position_files`` the folder of
    position_file files; ``notice`` takes sentences for people.
    """

    max_restarts: int
    start_timeout: float
    steps: Callable[[int], list[EngineRequest]]
    position_files: Path | None
    notice: Callable[[str], None]


@dataclass
class State:
    """How things stand, for a progress display."""

    engines: int = 0
    running: int = 0
    starting: int = 0


@dataclass
class Stop:
    """Why a job is to stop, and how: ``grace`` seconds for what runs, None: until it ends.

    ``error`` is given where the whole run is to stop: what everybody who waits then gets.
    """

    reason: str
    ended: End
    grace: float | None
    error: ArcliError | None = None


@dataclass
class _Commands:
    """What other threads want done, in their order."""

    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class Actor:
    """Runs on a thread of its own from ``start`` to ``close``; all else is posted to it."""

    def __init__(self, transport: Transport, terms: Terms, wake_main: Callable[[], None]) -> None:
        self._fleet = transport
        self._terms = terms
        self._wake_main = wake_main
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._commands = _Commands()
        self._thread = threading.Thread(target=self._run, name="arcli-session", daemon=True)
        self._closed = False
        self._final: ArcliError | None = None
        self._crew = Pool()
        self._restarts = 0
        self._last_death = "no engine ever came up"
        self._steps: list[bytes] = []
        self._calls: deque[Call] = deque()
        self._rolls: list[Broadcast] = []
        self._job: JobRun | None = None
        self._end: Callable[[Ledger, BaseException | None], None] | None = None
        self._grace: float | None = None
        self._broken: BaseException | None = None
        self._quiet_since: float | None = None
        self._said_quiet = False
        self._orphans: dict[int, float] = {}
        self._abandoned: dict[int, str] = {}
        self.state = State()

    # -- for other threads -------------------------------------------------------------------

    def start(self) -> None:
        """Begin; the transport reports its engines from now on."""
        self._thread.start()
        self._fleet.open(self._events)

    def post(self, command: Callable[[], None]) -> None:
        """Have something done on the session's thread."""
        self._commands.waiting.append(command)
        self._events.put(Wake())

    def wake(self) -> None:
        """Something that the session watches has changed."""
        self._events.put(Wake())

    def close(self) -> None:
        """End the thread. What is under way is forgotten."""
        self._closed = True
        self._events.put(Wake())
        if self._thread.is_alive():
            self._thread.join()

    # -- commands, on the session's thread ---------------------------------------------------

    def call(self, call: Call) -> None:
        """Have one engine answer a request."""
        if self._broken is not None:
            call.future.set_exception(self._broken)
            return
        self._calls.append(call)

    def call_roll(self, roll: Broadcast) -> None:
        """Have every engine answer a request."""
        if self._broken is not None:
            roll.future.set_exception(self._broken)
            return
        self._rolls.append(roll)
        for member in self._crew:
            if member.doomed is None:  # one that is being prepared takes it after that
                self._send(member, roll.request, roll=roll)
        self._check_rolls()

    def _check_rolls(self) -> None:
        for roll in list(self._rolls):
            if self._crew.slots <= set(roll.got):
                self._rolls.remove(roll)
                if roll.keep:
                    self._steps.append(roll.request)
                roll.future.set_result(dict(sorted(roll.got.items())))

    def run_job(
        self,
        job: JobRun,
        end: Callable[[Ledger, BaseException | None], None],
    ) -> None:
        """Run a job that has begun; ``end`` is called once, with its account, when it is over."""
        self._job, self._end = job, end
        self._grace = self._grace if self._final else None
        if self._broken is not None:
            self._break(self._broken)

    def stop_job(self, stop: Stop) -> None:
        """Send nothing more of the current job, and end what runs when its grace is over."""
        self._final = self._final or stop.error
        if stop.grace is not None:
            end = time.monotonic() + stop.grace
            self._grace = end if self._grace is None else min(self._grace, end)
            self._fleet.interrupt(now=False)
        if (job := self._job) is None:
            return
        if job.ended is End.DONE or stop.error is not None:
            job.ended = stop.ended
        job.conclude(job.items.stop(stop.reason))
        job.stop_reason = stop.reason

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            try:
                self._step()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must hear
                self._break(error)
        for member in self._crew:
            for msg_id in member.tickets:
                self._fleet.forget(msg_id)

    def _step(self) -> None:
        try:
            event: Event | None = self._events.get(timeout=self._patience())
        except queue.Empty:
            event = None
        while event is not None:
            self._handle(event)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                event = None
        while self._commands.waiting:
            self._commands.waiting.popleft()()
        now = time.monotonic()
        self._watch(now)
        self._feed(now)
        self._finish(now)
        if self._fleet.in_process:
            self._wake_main()

    def _patience(self) -> float | None:
        """How long to wait for events: until the next timer, or for ever where there is none."""
        if self._job is None and not self._crew.busy and not self._rolls and not self._calls:
            return None
        due = self._job.items.due if self._job is not None else None
        return TICK if due is None else min(TICK, max(0.0, due - time.monotonic()))

    def _handle(self, event: Event) -> None:
        if self._broken is not None:
            return
        match event:
            case Up():
                self._came_up(event)
            case Down():
                self._went_down(event)
            case Reply():
                self._answered(event)
            case Lost():
                self._cluster_is_down(event.reason)
            case Broken():
                raise event.error
            case Wake():
                pass

    def _came_up(self, up: Up) -> None:
        """Send all that prepares an engine at once: it answers in the same order."""
        now = time.monotonic()
        member = self._crew.admit(up, now)
        self._abandoned.pop(up.slot, None)
        msg_id = self._fleet.prepare(up.engine_id)
        ticket = PendingRequest(msg_id=msg_id, sent=now, submitted=time.time(), first=True)
        self._crew.hand(member, ticket)
        steps = [*map(encode_request, self._terms.steps(up.slot)), *self._steps]
        member.steps = 1 + len(steps)
        for step in steps:
            self._send(member, step)
        for roll in self._rolls:
            if roll.keep or up.slot not in roll.got:
                self._send(member, roll.request, roll=roll)
        self._quiet_since = None

    def _send(
        self,
        member: PooledEngine,
        request: bytes,
        *,
        work: Chunk | None = None,
        call: Call | None = None,
        roll: Broadcast | None = None,
    ) -> None:
        now, wall = time.monotonic(), time.time()
        label = self._job.plan.job.label if work is not None and self._job is not None else None
        msg_id = self._fleet.send(member.up.engine_id, request, label)
        self._crew.hand(
            member,
            PendingRequest(msg_id=msg_id, sent=now, submitted=wall, work=work, call=call, roll=roll),
        )

    def _answered(self, reply: Reply) -> None:
        if reply.died:
            member = self._crew.peek(reply.msg_id)
            if member is not None:  # its Down says why, and is on its way
                self._orphans.setdefault(member.up.engine_id, time.monotonic() + DEATH_NOTICE)
            return
        found = self._crew.settle(reply.msg_id)
        if found is None:
            return
        member, ticket = found
        if reply.error is not None:
            self._not_answered(member, ticket, reply.error)
        elif ticket.call is not None:
            assert reply.envelope is not None
            ticket.call.future.set_result(reply.envelope)
        elif ticket.roll is not None:
            assert reply.envelope is not None
            ticket.roll.got[member.up.slot] = reply.envelope
            ticket.roll.where[member.up.slot] = member.words
            self._check_rolls()
        elif ticket.work is not None:
            assert reply.envelope is not None
            self._chunk_back(member, ticket, reply.envelope)
        else:
            self._prepared(member, reply.envelope)

    def _not_answered(self, member: PooledEngine, ticket: PendingRequest, error: str) -> None:
        """An engine could not put an answer together, for want of memory, say."""
        if ticket.call is not None:
            ticket.call.fail(error)
        elif ticket.work is None:
            raise ClusterError(f"{member.words} could not answer a request: {error}")
        elif self._job is not None and not self._job.items.late(ticket.work):
            fate = "its engine could not answer"
            self._job.conclude(self._job.items.lost(ticket.work, None, True, error, fate=fate))

    def _chunk_back(self, member: PooledEngine, ticket: PendingRequest, envelope: bytes) -> None:
        if self._job is None:
            return
        answer, work = decode_reply(envelope), ticket.work
        assert work is not None
        if isinstance(answer, Failure):  # inputs do not load together: each is sent alone
            if not self._job.items.late(work):
                self._job.items.divide(work)
            return
        assert isinstance(answer, ChunkReply)
        self._job.take_reply(member, ticket, answer, len(envelope), time.monotonic())

    def _prepared(self, member: PooledEngine, envelope: bytes | None) -> None:
        """A step of an engine's preparation is answered: the next one, or it is ready."""
        if envelope is not None:
            answer = decode_reply(envelope)
            if isinstance(answer, Failure):
                raise setup_error(member.words, answer)
        member.steps -= 1
        member.ready = member.steps == 0

    # -- death ------------------------------------------------------------------------------

    def _went_down(self, down: Down) -> None:
        now = time.monotonic()
        reason = down.reason
        member = None
        if down.engine_id is not None:
            self._orphans.pop(down.engine_id, None)
            member = self._crew.peek_member(down.engine_id)
        deliberate = False
        if member is not None:
            overstayed = self._bury(member, member.doomed or reason, now)
            deliberate = overstayed or member.doomed is not None
        self._crew.coming.pop(down.slot, None)
        self._last_death = reason
        self._replace(down.slot, deliberate=deliberate)
        if down.slot not in self._crew.slots:
            self._abandoned[down.slot] = reason
        if self._crew.hopeless and self._final is not None:
            self._fail_waiting(self._final)
        elif self._crew.hopeless:
            self._lose_cluster(
                f"no engine is left after {self._restarts} restarts; the last one: {reason}"
                if self._terms.max_restarts
                else f"no engine is left: {reason}"
            )
        self._check_rolls()

    def _replace(self, slot: int, *, deliberate: bool) -> None:
        if self._closed or self._final is not None or self._broken is not None or self._fleet.in_process:
            return
        if not deliberate:
            if self._restarts >= self._terms.max_restarts:
                return
            self._count_restart()
        self._crew.coming[slot] = time.monotonic() + self._terms.start_timeout
        self._fleet.replace(slot)

    def _count_restart(self) -> None:
        self._restarts += 1
        if self._job is not None:
            self._job.restarts += 1

    def _bury(self, member: PooledEngine, reason: str, now: float, *, judge: bool = True) -> bool:
        """An engine is gone: save what it published, judge what it ran, send the rest again.

        Without ``judge`` nothing that it ran is to blame. Returns whether an item's time limit was
        what ended it.
        """
        self._take_early(member, now)
        self._crew.dismiss(member.up.engine_id)
        if self._job is not None:
            self._job.leaves(member, now)
        for roll in self._rolls:
            if roll.keep:  # its replacement does not know it
                roll.got.pop(member.up.slot, None)
        position_file = self._crumb(member)
        overstayed = False
        for place, ticket in enumerate(member.chunks):
            self._fleet.forget(ticket.msg_id)
            assert ticket.work is not None
            if self._job is None or self._job.items.late(ticket.work):
                continue
            if judge:
                overstayed |= self._judge(ticket, position_file, place == 0, reason, now)
            else:
                self._job.conclude(self._job.items.lost(ticket.work, None, False, reason))
        for ticket in member.tickets.values():
            if ticket.call is not None:
                self._call_again(ticket.call, reason, blame=judge)
        return overstayed

    def _judge(
        self,
        ticket: PendingRequest,
        position_file: Crumb | None,
        first: bool,
        reason: str,
        now: float,
    ) -> bool:
        """What becomes of a dead engine's chunk; whether an item of it had outstayed its time."""
        job, work = self._job, ticket.work
        assert job is not None
        assert work is not None
        here = position_file is not None and position_file.chunk == work.chunk
        culprit = position_file.position if position_file is not None and here else -1
        if position_file is None or culprit < work.done:
            started = here or (first and position_file is None)
            job.conclude(job.items.lost(work, None, started, reason))
            return False
        limit = job.plan.job.timeout
        if limit is None or time.time() - position_file.since < limit:
            job.conclude(job.items.lost(work, culprit, True, reason))
            return False
        said = f"took longer than {limit:g} s and did not stop when told to"
        job.conclude(job.items.timed_out(work, culprit, said, now))
        return True

    def _call_again(self, call: Call, reason: str, *, blame: bool) -> None:
        call.deaths += blame
        if call.deaths > 1:
            call.fail(f"its engine died each time: {reason}")
        else:
            self._calls.appendleft(call)

    def _crumb(self, member: PooledEngine) -> Crumb | None:
        if self._terms.position_files is None:
            return None
        return position_file.read(self._terms.position_files / f"{member.up.slot}")

    def _cluster_is_down(self, reason: str) -> None:
        """The controller is gone, or what supervises it: another cluster takes its place."""
        spent = self._restarts >= self._terms.max_restarts
        if self._closed or self._final or spent or not self._fleet.revive():
            self._lose_cluster(reason)
            return
        now = time.monotonic()
        self._terms.notice(f"{reason}: a new cluster is started")
        self._last_death = reason
        self._count_restart()
        self._orphans.clear()
        for slot in self._crew.slots:
            self._crew.coming[slot] = now + self._terms.start_timeout
        for member in self._crew:
            self._bury(member, reason, now, judge=False)

    def _lose_cluster(self, reason: str) -> None:
        """There is no engine any more and none will come: every item gets its last word."""
        if self._broken is not None:
            return
        error = ClusterError(f"the cluster is lost: {reason}", hint=self._fleet.diagnose())
        now = time.monotonic()
        if self._job is not None:
            job = self._job
            for member in self._crew:
                self._take_early(member, now)
                job.leaves(member, now)
            job.ended = End.CLUSTER_LOST
            job.conclude(job.items.cancel_outstanding(reason, Status.LOST))
            job.conclude(job.items.stop(reason, Status.LOST))
        for member in self._crew:
            self._crew.dismiss(member.up.engine_id)
        self._crew.coming.clear()
        self._fail_waiting(error)
        self._broken = error
        self._terms.notice(str(error))
        self._finish(now)

    def _break(self, error: BaseException) -> None:
        """The session cannot go on; what was read gets its last word, if that can be written."""
        self._broken = error
        self._fail_waiting(error)
        job, end = self._job, self._end
        self._job = self._end = None
        if job is not None and end is not None:
            try:
                if isinstance(error, SetupError | ClusterError):
                    job.ended = End.SETUP_FAILED if isinstance(error, SetupError) else End.CLUSTER_LOST
                    job.conclude(job.items.cancel_outstanding(str(error)))
                    job.conclude(job.items.stop(str(error)))
            except OutputError as refused:
                error = self._broken = refused
            end(job.ledger(time.monotonic()), error)
        self._wake_main()

    def _fail_waiting(self, error: BaseException) -> None:
        tickets = [ticket for member in self._crew for ticket in member.tickets.values()]
        waiting: list[Call | Broadcast] = [*self._calls, *self._rolls]
        waiting += [ticket.call for ticket in tickets if ticket.call is not None]
        for request in waiting:
            if not request.future.done():
                request.future.set_exception(error)
        self._calls.clear()
        self._rolls.clear()

    # -- timers -----------------------------------------------------------------------------

    def _watch(self, now: float) -> None:
        """What nobody reports: deadlines, items that overstay, engines that do not come."""
        for engine_id, due in list(self._orphans.items()):
            if now > due:
                self._fleet.kill(engine_id)
                self._orphans[engine_id] = now + DEATH_NOTICE
        for slot, due in list(self._crew.coming.items()):
            if now > due:
                self._went_down(Down(engine_id=None, slot=slot, reason="an engine did not come up in time"))
        for member in self._crew:
            self._watch_requests(member, now)
        if self._job is not None:
            self._watch_job(self._job, now)
        if self._grace is not None and now >= self._grace:
            self._end_running(now)

    def _watch_requests(self, member: PooledEngine, now: float) -> None:
        """What an engine was asked beside its chunks: tell people of what takes long."""
        if member.doomed is not None:
            return
        for ticket in member.tickets.values():
            asked = ticket.call or ticket.roll
            if asked is not None and asked.due is not None and now > asked.due:
                asked.fail("the job's deadline passed")
                self._rolls = [roll for roll in self._rolls if roll is not asked]
                self._doom(member, "the job's deadline passed")
                return
            if ticket.first and now - ticket.sent > SILENT:
                self._terms.notice(f"{member.words} does not answer: another one is started")
                self._fleet.release(member.up.engine_id)
                ticket.sent = now
                return
            if ticket.work is None and not ticket.told and now - ticket.sent > QUIET:
                ticket.told = True
                self._terms.notice(f"{member.words} is still at {ticket.what}, {QUIET:.0f} s on")
                return

    def _watch_job(self, job: JobRun, now: float) -> None:
        if job.due is not None and now > job.due:
            job.due = None
            self.stop_job(Stop(reason="the job's deadline passed", ended=End.DEADLINE, grace=0.0))
        if job.ended is End.DONE and job.items.should_halt:
            grace = 0.0 if job.plan.job.halt == "now" else None
            said = f"halted after {job.items.failures} failed"
            self.stop_job(Stop(reason=said, ended=End.HALT, grace=grace))
        for member in self._crew.ready():
            if any(now - ticket.sent > 2 * TICK for ticket in member.chunks):
                self._take_early(member, now)
                self._check_overstay(member, now)
        self._say_when_quiet(now)

    def _take_early(self, member: PooledEngine, now: float) -> None:
        if self._job is None:
            return
        for ticket in member.chunks:
            for envelope in self._fleet.early(ticket.msg_id):
                early = decode_reply(envelope)
                assert isinstance(early, ChunkReply)
                self._job.take_early(member, ticket, early, now)

    def _check_overstay(self, member: PooledEngine, now: float) -> None:
        """The last resort for an item whose engine neither stops it nor ends itself."""
        assert self._job is not None
        ticket = member.chunks[0] if member.chunks else None
        if ticket is None or ticket.work is None or self._terms.position_files is None:
            return
        position_file, limit = self._crumb(member), self._job.plan.job.timeout
        if position_file is None or position_file.chunk != ticket.work.chunk:
            alone = len(member.tickets) == len(member.chunks)
            if alone and position_file is None and now - ticket.sent > STUCK:
                said = f"{member.words} has had a chunk for {STUCK:.0f} s and has not begun it"
                self._terms.notice(f"{said}: it is replaced")
                self._fleet.kill(member.up.engine_id)
                ticket.sent = now
        elif position_file.position >= 0 and limit and time.time() - position_file.since > limit + OVERSTAY:
            self._doom(member, "an item did not stop when told to")

    def _doom(self, member: PooledEngine, why: str) -> None:
        """End an engine on purpose."""
        member.doomed = why
        self._fleet.kill(member.up.engine_id)

    def _end_running(self, now: float) -> None:
        """The grace is over: engines that still run something of this job are ended."""
        self._fleet.interrupt(now=True)
        if self._final is not None:
            self._fail_waiting(self._final)
        why = self._job.stop_reason if self._job is not None else str(self._final)
        for member in self._crew:
            if member.tickets and member.doomed is None and not self._fleet.in_process:
                self._take_early(member, now)
                member.doomed = why
                self._fleet.release(member.up.engine_id)
        if self._job is not None:
            self._job.conclude(self._job.items.cancel_outstanding(why))
        else:
            self._grace = None

    def _say_when_quiet(self, now: float) -> None:
        """Items wait and nothing runs: after some seconds, say what is known."""
        assert self._job is not None
        if self._crew.ready() or self._job.items.finished:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since, self._said_quiet = now, False
        elif now - self._quiet_since > QUIET and not self._said_quiet:
            self._said_quiet = True
            waiting = self._job.items.waiting
            self._terms.notice(
                f"{waiting} items wait: no engine has answered for {QUIET:.0f} s, {self._fleet.diagnose()}"
            )

    # -- work -------------------------------------------------------------------------------

    def _feed(self, now: float) -> None:
        """Give every engine what it can take."""
        ready = self._crew.ready()
        for call in list(self._calls):
            if ready:
                self._calls.remove(call)
                idle = min(ready, key=lambda member: len(member.tickets))
                self._send(idle, call.request, call=call)
        self.state = State(
            engines=len(ready),
            running=sum(len(t.work or ()) for m in ready for t in m.chunks),
            starting=len(self._crew.members) - len(ready) + len(self._crew.coming),
        )
        job = self._job
        if job is None or not ready:
            return
        for slot, reason in self._abandoned.items():
            said = f"only the engine in slot {slot} could run this, and it is gone: {reason}"
            job.conclude(job.items.strand(slot, said))
        width = len(self._crew.members) + len(self._crew.coming)
        depth = job.items.depth(width)
        for level in range(depth):
            for member in ready:
                if len(member.chunks) <= level:
                    self._feed_one(job, member, width, now)
        job.flush_replayed()

    def _feed_one(self, job: JobRun, member: PooledEngine, width: int, now: float) -> None:
        if any(ticket.work is not None and ticket.work.alone for ticket in member.chunks):
            return
        idle = not member.tickets
        work = job.items.next(member.up.slot, idle, width, now)
        if work is not None:
            self._send(member, job.chunk_request(work), work=work)

    def _finish(self, now: float) -> None:
        job = self._job
        if job is None:
            return
        job.flush_replayed()
        if not job.items.finished or (self._grace is not None and self._doomed_left()):
            return
        if self._broken is None:
            for member in self._crew:
                job.leaves(member, now)
        end = self._end
        assert end is not None
        self._job = self._grace = self._end = None
        end(job.ledger(now), self._broken or job.supply.error)

    def _doomed_left(self) -> bool:
        return any(member.doomed for member in self._crew)
