"""A session without a thread, a clock or a cluster: engines do what a test says, when it says so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from arcli.cluster.base import ClusterDown, EngineDown, EngineInfo, EngineUp
from arcli.engine.position_file import Position, PositionFiles
from arcli.engine.protocol import (
    Again,
    ChunkReplies,
    ChunkReply,
    Define,
    Done,
    Failure,
    Hello,
    HelloReply,
    JobDefinition,
    Look,
    Reply,
    Request,
    RunChunk,
    Steps,
    decode_request,
    encode_reply,
    encode_request,
)
from arcli.engine.tally import Tally
from arcli.plan.job import JobPlan
from arcli.record import decode
from arcli.session.core.job import JobRun
from arcli.session.core.messages import Broadcast, Call, EndJob, Moment, Records
from arcli.session.interfaces import Event as TransportEvent
from arcli.session.interfaces import Events, Supply, Terms
from arcli.session.interfaces import Reply as TransportReply
from arcli.session.loop import SessionLoop
from arcli.session.recorder import Recorder
from arcli.session.supply import SourceSupply
from arcli.specfile.model import Job
from arcli.timing.ledger import Ledger


class FakeReader:
    """A source whose items are all there; ``held`` keeps some of them back."""

    error = None

    def __init__(self, count: int) -> None:
        self.items: deque[Any] = deque(range(count))
        self.held = 0

    def take(self, n: int) -> list[Any]:
        n = min(n, len(self.items) - self.held)
        return [self.items.popleft() for _ in range(n)]

    @property
    def left(self) -> int | None:
        return None if self.held else len(self.items)


@dataclass
class UnderWay:
    """A chunk that was answered before its last items have ended: the first ``done`` in their ``order``.

    Of ``replied`` of them a whole reply has told.
    """

    request: RunChunk
    order: list[int]
    done: int
    how: dict[str, Any]
    replied: int = 0

    def reply(self, first: int = 0) -> ChunkReply:
        order = self.order
        return chunk_reply(
            self.request, done=self.done, begun=len(order), first=first, order=order, **self.how
        )


@dataclass
class FakeEngine:
    """What an engine was asked and has not answered, the oldest first; what is ``under_way`` beside."""

    engine_id: int
    slot: int
    queue: deque[tuple[str, Request | None]] = field(default_factory=deque)
    under_way: list[UnderWay] = field(default_factory=list)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            engine_id=self.engine_id, slot=self.slot, host="here", pid=None, uuid=f"{self.slot}"
        )


class FakeTransport:
    """See Transport: engines by id, that a test has come, answer and die. ``owned`` as it wants them.

    That it behaves as others do is for ``session/test_contract.py`` to show.
    """

    in_process = False

    def __init__(self, *, owned: bool = True, revives: bool = True) -> None:
        self.owned = owned
        self.revives = revives
        self.engines: dict[int, FakeEngine] = {}
        self.killed: list[int] = []
        self.released: list[int] = []
        self.coming: list[int] = []
        self.published: list[tuple[str, bytes]] = []
        self.forgotten: set[str] = set()
        self.answers: list[TransportReply] = []
        self._events: Events | None = None
        self._ids = 0
        self._messages = 0

    def open(self, events: Events) -> None:
        self._events = events
        for engine in self.engines.values():
            self.report(EngineUp(engine.info))

    def report(self, event: TransportEvent) -> None:
        if self._events is not None:
            self._events.put(event)

    def prepare(self, engine_id: int) -> str:
        return self._queue(engine_id, None)

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        return self._queue(engine_id, decode_request(request))

    def _queue(self, engine_id: int, request: Request | None) -> str:
        self._messages += 1
        msg_id = f"message-{self._messages}"
        if engine_id in self.engines:
            self.engines[engine_id].queue.append((msg_id, request))
        else:  # it is gone, and nobody has said so yet
            self.report(TransportReply(msg_id=msg_id, error="no such engine", died=True))
        return msg_id

    def early(self) -> list[tuple[str, bytes]]:
        published, self.published = self.published, []
        return published

    def forget(self, msg_id: str) -> None:
        self.forgotten.add(msg_id)

    def kill(self, engine_id: int) -> None:
        assert self.owned, "an engine that is not ours"
        self.killed.append(engine_id)

    def release(self, engine_id: int) -> None:
        self.released.append(engine_id)

    def replace(self, slot: int) -> None:
        self.coming.append(slot)

    def revive(self) -> bool:
        return self.revives

    def interrupt(self, *, now: bool) -> None: ...

    def limit(self, seconds: float) -> None: ...

    def diagnose(self) -> str:
        return "nobody knows why"

    def run_pending(self) -> None: ...

    def comes(self, slot: int) -> FakeEngine:
        """An engine comes up."""
        if slot in self.coming:
            self.coming.remove(slot)
        engine = self.engines[self._ids] = FakeEngine(self._ids, slot)
        self._ids += 1
        self.report(EngineUp(engine.info))
        return engine

    def dies(self, engine: FakeEngine, reason: str) -> None:
        """An engine dies: what it has been asked fails, and the cluster says why."""
        if self.engines.pop(engine.engine_id, None) is not None:
            for msg_id, _ in engine.queue:
                self.report(TransportReply(msg_id=msg_id, error="its engine died", died=True))
        self.report(EngineDown(engine_id=engine.engine_id, slot=engine.slot, reason=reason))

    def deliver(self, answer: TransportReply) -> None:
        """An answer comes, for the first time or again."""
        self.answers.append(answer)
        self.report(answer)


class FakeRecorder:
    """Counts the records of each item; ``fails`` is raised by the next one."""

    job = "j"

    def __init__(self) -> None:
        self.count: Counter[int] = Counter()
        self.statuses: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.records: dict[int, dict[str, Any]] = {}
        self.fails: Exception | None = None

    def write(self, records: Records) -> None:
        if self.fails is not None:
            raise self.fails
        indices = [index for first, count in records.spans for index in range(first, first + count)]
        lines = records.lines.splitlines()
        assert len(lines) == len(indices) == records.tally.total
        for index, line in zip(indices, lines, strict=True):
            record = decode(line)
            assert record["index"] == index
            self.count[index] += 1
            self.statuses[index] = record["status"]
            self.reasons[index] = record["reason"]
            self.records[index] = record

    def leave_out(self, records: Records) -> None:
        """Forget them: nobody asks here what was not written."""

    def settle(self, ledger: Ledger) -> None:
        """Leave the account as it is."""


class FakeSession(PositionFiles):
    """A loop that a test turns by hand, at ``now`` seconds."""

    def __init__(
        self,
        engines: int = 2,
        *,
        owned: bool = True,
        revives: bool = True,
        host: str = "here",
        **terms: Any,
    ) -> None:
        super().__init__(None)
        self.now = 1000.0
        self.recalls: list[tuple[int, int, int, int]] = []
        self.limits: list[tuple[int, float]] = []
        self.transport = FakeTransport(owned=owned, revives=revives)
        self.notices: list[str] = []
        self.positions: dict[int, Position | None] = {}
        self.has_position_files = True
        described = {"max_restarts": 10, "start_timeout": 60.0, "position_files": Path(), **terms}
        self.loop = SessionLoop(
            self.transport,
            Terms(
                steps=lambda slot: [Hello(slot, f"{slot}")],
                notice=self.notices.append,
                **described,
            ),
            wake_main=lambda: None,
            clock=lambda: Moment(self.now, self.now + 1e9),
            files=self,
            host=host,
        )
        self.ended: list[EndJob] = []
        self.recorder = FakeRecorder()
        self.transport.open(self.loop)
        for slot in range(engines):
            self.comes(slot)

    # -- position files ---------------------------------------------------------------------------

    def read(self, slot: int) -> Position | None:
        return self.positions.get(slot)

    def recall(self, slot: int, chunk: int, position: int, last: int) -> None:
        self.recalls.append((slot, chunk, position, last))

    def limit(self, slot: int, seconds: float) -> None:
        self.limits.append((slot, seconds))

    # -- what engines do --------------------------------------------------------------------------

    def comes(self, slot: int, *, prepared: bool = True) -> FakeEngine:
        """An engine comes up, and answers what prepares it."""
        engine = self.transport.comes(slot)
        self.turn()
        while prepared and engine.queue and not isinstance(engine.queue[0][1], RunChunk | Look):
            self.answer(engine)
        return engine

    def dies(self, engine: FakeEngine, reason: str = "killed") -> None:
        """An engine dies, and the cluster says so."""
        self.transport.dies(engine, reason)
        self.turn()

    def does_not_come(self, slot: int) -> None:
        """No engine can be started for a slot."""
        if slot in self.transport.coming:
            self.transport.coming.remove(slot)
        self.loop.put(EngineDown(engine_id=None, slot=slot, reason="it could not be started"))
        self.turn()

    def cluster_dies(self) -> None:
        """The controller goes, and all engines with it."""
        self.transport.engines.clear()
        self.loop.put(ClusterDown("the controller ended"))
        self.turn()

    def answer(self, engine: FakeEngine, reply: Reply | None = None, **how: Any) -> TransportReply:
        """An engine answers the oldest of its requests, as it should, or by this reply."""
        msg_id, request = engine.queue.popleft()
        envelope = None
        if request is not None:
            envelope = encode_reply(self.reply_to(request, **how) if reply is None else reply)
        answer = TransportReply(msg_id=msg_id, envelope=envelope)
        self.deliver(answer)
        return answer

    def deliver(self, answer: TransportReply) -> None:
        """An answer comes, for the first time or again."""
        self.transport.deliver(answer)
        self.turn()

    def answer_beside(
        self, engine: FakeEngine, order: list[int], *, ended: int, more: int = 0, **how: Any
    ) -> None:
        """An engine answers a chunk of which it has begun the items in ``order``, and so many have ended.

        Of each chunk that is under way there ``more`` items have ended since; of all of them all, where the
        chunk is not one that others overlap.
        """
        msg_id, request = engine.queue.popleft()
        assert isinstance(request, RunChunk)
        overlap = request.overlap or any(
            slot == engine.slot and first <= request.chunk <= last for slot, first, _, last in self.recalls
        )
        done = ended if overlap else len(order)
        own = UnderWay(request, order, done, how, replied=done)
        replies = []
        for each in engine.under_way:
            each.done = min(len(each.order), each.done + more) if overlap else len(each.order)
            replies += [each.reply(first=each.replied)] if each.done > each.replied else []
            each.replied = each.done
        engine.under_way = [each for each in (*engine.under_way, own) if each.done < len(each.order)]
        envelope = encode_reply(ChunkReplies([*replies, own.reply()]) if replies else own.reply())
        self.deliver(TransportReply(msg_id=msg_id, envelope=envelope))

    def publish_earlier(self, engine: FakeEngine, which: int) -> None:
        """An engine hands out the record of one more item of a chunk that is under way there."""
        each = engine.under_way[which % len(engine.under_way)]
        if each.done < len(each.order):
            each.done += 1
            envelope = encode_reply(each.reply(first=each.done - 1))
            self.transport.published.append((engine.queue[0][0], envelope))
            self.turn()

    def publish(
        self, engine: FakeEngine, done: int, *, first: int = 0, order: Sequence[int] = (), **how: Any
    ) -> None:
        """An engine hands out records from position ``first`` on of its running chunk, which goes on."""
        msg_id, request = engine.queue[0]
        assert isinstance(request, RunChunk)
        envelope = encode_reply(chunk_reply(request, done=done, first=first, order=order, **how))
        self.transport.published.append((msg_id, envelope))
        self.turn()

    def reply_to(self, request: Request, **how: Any) -> Reply:
        match request:
            case Hello():
                here = self.has_position_files
                return HelloReply("here", position_file=here)
            case Steps(requests):
                return self.reply_to(decode_request(requests[0]))
            case RunChunk():
                return chunk_reply(request, **how)
            case _:
                return Done()

    def running(self, engine: FakeEngine, position: int = 0, since: float = 0.0) -> None:
        """An engine's position file says that it is at this item of its running chunk."""
        _, request = engine.queue[0]
        assert isinstance(request, RunChunk)
        self.positions[engine.slot] = Position(request.chunk, position, since)

    # -- what the main thread does ----------------------------------------------------------------

    def begin(
        self, count: int, *, due: float | None = None, supply: Supply | None = None, **job: Any
    ) -> JobRun:
        """Begin a job of so many items."""
        plan = make_plan(**job)
        self.reader = FakeReader(count)
        supply = supply or SourceSupply(
            self.reader,
            length=count,
            distinct=True,
            hasher=plan.hasher(),
            kept=None,
            replay=lambda index, line: None,
        )
        overlap = self.transport.owned
        run = JobRun(plan, "run", supply, [], began=self.now, due=due, overlap=overlap)
        self.recorder = FakeRecorder()
        self.loop.begin(run, cast("Recorder", self.recorder), self.ended.append)
        self.turn()
        return run

    def ask(self, *, due: float | None = None) -> Future[bytes]:
        """Ask any engine."""
        future: Future[bytes] = Future()
        request = encode_request(Look("x"))
        self.loop.put(Call(request=request, future=future, what="look", due=due))
        self.turn()
        return future

    def ask_all(self, *, due: float | None = None, keep: bool = True) -> Future[dict[int, bytes]]:
        """Ask all engines."""
        future: Future[dict[int, bytes]] = Future()
        broadcast = Broadcast(
            request=encode_request(Define(JobDefinition("j", "map"))),
            future=future,
            keep=keep,
            what="the function of job 'j'",
            due=due,
        )
        self.loop.put(broadcast)
        self.turn()
        return future

    # -- time -------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Handle what has come, and look at all timers."""
        self.loop.turn(None)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False, *, step: float = 0.1) -> None:
        """Let time pass, with a look at the timers every ``step`` seconds."""
        end = self.now + seconds
        while self.now < end and not until():
            self.now = min(end, self.now + step)
            self.turn()


def make_plan(**job: Any) -> JobPlan:
    described = Job.model_validate({"name": "j", "map": "f", **job})
    definition = JobDefinition("j", "map", concurrency=described.concurrency)
    return JobPlan(job=described, definition=definition, salt="")


def chunk_reply(
    request: RunChunk,
    *,
    done: int | None = None,
    begun: int | None = None,
    first: int = 0,
    failed: int = 0,
    again: int = 0,
    seconds: float = 0.01,
    order: Sequence[int] = (),
) -> ChunkReply:
    """The reply of an engine that ran the first ``done`` items, or all: what is new from ``first`` on.

    ``begun`` were begun, by default no more. The first ``failed`` of them are errors, the next ``again``
    are to be tried again. They ended in the ``order`` of these positions, or as they were sent.
    """
    done = len(request.indices) if done is None else min(done, len(request.indices))
    sent = order or range(done)
    tally, lines = Tally(), b""
    retried = range(failed, min(done, failed + again))
    positions = [position for position in range(first, done) if position not in retried]
    for position in positions:
        status, reason = ("error", '"it raised"') if position < failed else ("ok", "null")
        tally.add(status, seconds, request.attempt)
        lines += (
            f'"index":{request.indices[sent[position]]},"status":"{status}","reason":{reason},'
            f'"attempt":{request.attempt},"seconds":{seconds}\n'
        ).encode()
    runs = [[*run] for _, run in groupby(enumerate(positions), key=lambda each: each[1] - each[0])]
    return ChunkReply(
        chunk=request.chunk,
        attempt=request.attempt,
        done=done,
        begun=done if begun is None else begun,
        positions=[(run[0][1], len(run)) for run in runs],
        again=[
            Again(position, "it raised", "error", 0.0, 1.0) for position in retried if position >= first
        ],
        values=[],
        tally=tally,
        busy=seconds * done,
        order=list(order[first:done]),
        lines=lines,
        pickles=b"",
    )


def failure(reason: str = "KeyError: 'x'") -> Failure:
    return Failure("a chunk", reason, "KeyError", "'x'", "")
