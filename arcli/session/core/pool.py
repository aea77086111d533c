"""The engines that a session works with, and what they are asked beside chunks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from msgspec import Struct, field

from arcli.cluster.base import EngineInfo
from arcli.engine.protocol import ChunkReply, Failure, Steps, decode_reply, encode_request
from arcli.session.core.chunk import Chunk
from arcli.session.core.messages import (
    Broadcast,
    Call,
    Effect,
    Kill,
    Moment,
    PendingChunk,
    PendingRequest,
    Prepare,
    Reject,
    Resolve,
    Send,
    setup_error,
)
from arcli.session.interfaces import Terms


class PooledEngine(Struct, kw_only=True, eq=False):
    """One engine. ``steps`` counts what it has yet to answer before it is ready; it is ``since`` then.

    ``position_file`` says that it writes down which item it is at, where the client can read it,
    ``local`` that it reads there, too, being on this host; ``doomed`` why arcli itself is ending it.
    ``answered`` is when it last answered anything. ``under_way`` are chunks that it has answered, and of
    which some items still run: replies to what it is sent after them have those.
    """

    info: EngineInfo
    steps: int = 0
    ready: bool = False
    since: float = math.inf
    position_file: bool = False
    local: bool = False
    doomed: str | None = None
    answered: float = 0.0
    pending: list[PendingRequest] = field(default_factory=list)
    under_way: list[PendingChunk] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The engine, in words."""
        return self.info.words

    @property
    def chunks(self) -> list[PendingChunk]:
        """The chunks that the engine has, the running one first."""
        return [pending for pending in self.pending if isinstance(pending, PendingChunk)]

    @property
    def level(self) -> int:
        """How many chunks it has; one without items is none, but what it goes on with until the next."""
        return sum(len(pending.chunk) > 0 for pending in self.chunks)

    @property
    def running(self) -> PendingChunk | None:
        """The chunk that the engine is at, or comes to next."""
        return next((pending for pending in self.pending if isinstance(pending, PendingChunk)), None)

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self.pending and not self.under_way

    @property
    def has_place(self) -> bool:
        """Whether it could begin an item at once: all that it has was begun, and left a place free."""
        if not self.pending or not self.under_way:
            return not self.pending
        return not self.level and len(self.chunks) == len(self.pending)

    def source_of(self, reply: ChunkReply, pending: PendingChunk) -> PendingChunk | None:
        """Return the chunk whose items a reply to this one tells of: itself, or one that is under way.

        None where it tells of another one, or of more items than its chunk has: nothing of it counts.
        """
        for each in (pending, *self.under_way):
            if each.chunk.number == reply.chunk:
                return each if reply.done <= len(each.chunk) else None
        return None

    @property
    def usable(self) -> bool:
        """Whether it can take work."""
        return self.ready and self.doomed is None


NEVER = math.inf
LOOKS = 1000
"""How many engines are looked at in a second, at most, by whoever looks at all of them now and then."""


def pause(shortest: float, engines: int) -> float:
    """Return the seconds between two looks at all engines: longer, the more of them there are."""
    return max(shortest, engines / LOOKS)


class Pool:
    """All engines, by id, and the slots whose next engine is on its way.

    ``coming`` has the monotonic times at which those engines must be there, NEVER where it is for the
    cluster to say which first engine is late; ``abandoned`` the slots that will have none, and why.
    """

    def __init__(self) -> None:
        self.engines: dict[int, PooledEngine] = {}
        self.coming: dict[int, float] = {}
        self.abandoned: dict[int, str] = {}

    def __iter__(self) -> Iterator[PooledEngine]:
        return iter(list(self.engines.values()))

    def ready(self) -> list[PooledEngine]:
        """Return the engines that can take work."""
        return [engine for engine in self.engines.values() if engine.usable]

    @property
    def slots(self) -> set[int]:
        """The slots that have an engine, or will."""
        return {engine.info.slot for engine in self.engines.values()} | set(self.coming)

    @property
    def width(self) -> int:
        """How many engines there are, those that come included."""
        return len(self.engines) + len(self.coming)

    @property
    def busy(self) -> bool:
        """Whether anything is under way, engines that come included."""
        return bool(self.coming) or any(engine.pending for engine in self.engines.values())

    @property
    def hopeless(self) -> bool:
        """Whether there is no engine, and none will come."""
        return not self.engines and not self.coming

    def admit(self, info: EngineInfo) -> PooledEngine:
        """Take in an engine that has come up."""
        # An engine may come after it was given up for late: it is welcome, and its slot is not abandoned.
        self.coming.pop(info.slot, None)
        self.abandoned.pop(info.slot, None)
        engine = PooledEngine(info=info)
        self.engines[info.engine_id] = engine
        return engine

    def dismiss(self, engine_id: int) -> None:
        """Let go of an engine that is gone, and of what it was asked."""
        self.engines.pop(engine_id, None)

    def prepare(self, engine: PooledEngine, moment: Moment) -> Prepare:
        """Bring arcli's code to an engine: the first of what it is sent."""
        pending = PendingRequest(engine.info.engine_id, *moment, first=True)
        engine.pending.append(pending)
        return Prepare(pending)

    def ask(
        self, engine: PooledEngine, request: bytes, moment: Moment, asked: Call | Broadcast | None = None
    ) -> Send:
        """Ask an engine what somebody wants to know, or have it take a step of its preparation."""
        # Noted before it is sent, so that a death on the way finds it.
        pending = PendingRequest(engine.info.engine_id, *moment, asked)
        engine.pending.append(pending)
        return Send(pending, request)

    def send(
        self, engine: PooledEngine, chunk: Chunk, request: bytes, label: str | None, moment: Moment
    ) -> Send:
        """Send a chunk to an engine."""
        pending = PendingChunk(engine.info.engine_id, *moment, chunk=chunk)
        engine.pending.append(pending)
        return Send(pending, request, label)

    def doom(self, engine: PooledEngine, why: str) -> list[Effect]:
        """End an engine on purpose."""
        if engine.doomed is not None:
            return []
        engine.doomed = why
        return [Kill(engine.info.engine_id)]

    def settle(self, pending: PendingRequest) -> PooledEngine | None:
        """Take an answered request off its engine; None where nobody waits for it (any more)."""
        # An engine that was dismissed, or a request that was given up: the answer is nobody's.
        engine = self.engines.get(pending.engine_id)
        if engine is None or pending not in engine.pending:
            return None
        engine.pending.remove(pending)
        return engine


DEADLINE = "the job's deadline passed"


class Requests:
    """What waits for an answer: calls for any engine, broadcasts for all, steps for newcomers."""

    def __init__(self, pool: Pool, terms: Terms) -> None:
        self._pool = pool
        self._terms = terms
        self._steps: list[bytes] = []
        self._calls: deque[Call] = deque()
        self._broadcasts: list[Broadcast] = []

    def __bool__(self) -> bool:
        return bool(self._calls or self._broadcasts)

    @property
    def _waiting(self) -> list[Call | Broadcast]:
        return [*self._calls, *self._broadcasts]

    def ask(self, call: Call) -> None:
        """Have one engine answer, as soon as one can."""
        self._calls.append(call)

    def ask_all(self, broadcast: Broadcast, moment: Moment) -> list[Effect]:
        """Have every engine answer; one that is being prepared takes it after that."""
        # Newcomers find it there and answer too, so nobody has to know who was asked.
        self._broadcasts.append(broadcast)
        effects: list[Effect] = [
            self._pool.ask(engine, broadcast.request, moment, broadcast)
            for engine in self._pool
            if engine.doomed is None
        ]
        return effects + self.complete()

    def welcome(self, engine: PooledEngine, moment: Moment) -> list[Effect]:
        """Send all that prepares an engine at once: it answers in the same order."""
        # The code itself is the first request: an engine that never answers it has lost nothing (see
        # health.SILENT).
        effects: list[Effect] = [self._pool.prepare(engine, moment)]
        slot = engine.info.slot
        # All that earlier engines were told, in the same order: a replacement must
        # not differ from them. In one message, for each costs four processes some of their time.
        steps = [*map(encode_request, self._terms.steps(slot)), *self._steps]
        engine.steps = 2
        effects.append(self._pool.ask(engine, encode_request(Steps(steps)), moment))
        return effects + [
            self._pool.ask(engine, broadcast.request, moment, broadcast)
            for broadcast in self._broadcasts
            if broadcast.keep or slot not in broadcast.answers
        ]

    def feed(self, moment: Moment) -> list[Effect]:
        """Give calls to the engines that have the least to do."""
        effects: list[Effect] = []
        while self._calls and (ready := self._pool.ready()):
            idle = min(ready, key=lambda engine: len(engine.pending))
            call = self._calls.popleft()
            effects.append(self._pool.ask(idle, call.request, moment, call))
        return effects

    def answered(self, engine: PooledEngine, asked: Call | Broadcast, envelope: bytes) -> list[Effect]:
        """Hand an answer to whoever waits for it."""
        if isinstance(asked, Call):
            return [Resolve(asked.future, envelope)]
        if asked not in self._broadcasts:  # it went on without this engine
            reply = decode_reply(envelope)
            if isinstance(reply, Failure):
                raise setup_error(engine.words, reply)
            return []
        asked.answers[engine.info.slot] = envelope
        asked.where[engine.info.slot] = engine.info
        return self.complete()

    def complete(self) -> list[Effect]:
        """Answer the broadcasts that all slots which have an engine, or will, have answered.

        One that later engines will learn as they come up waits for none of those: work begins with
        the first engine.
        """
        effects: list[Effect] = []
        # Those that are being prepared answer it after their preparation, in the same queue.
        ready = {engine.info.slot for engine in self._pool.ready()}
        for broadcast in list(self._broadcasts):
            waits_for = ready if broadcast.keep and broadcast.answers else self._pool.slots
            if waits_for <= set(broadcast.answers):
                self._broadcasts.remove(broadcast)
                if broadcast.keep:
                    self._steps.append(broadcast.request)
                answers = dict(sorted(broadcast.answers.items()))
                effects.append(Resolve(broadcast.future, answers))
        return effects

    def bury(self, engine: PooledEngine, reason: str, *, blame: bool) -> list[Effect]:
        """Have others answer what a dead engine was asked; a call that killed two is given up."""
        effects: list[Effect] = []
        for broadcast in self._broadcasts:
            if broadcast.keep:  # its replacement does not know it
                broadcast.answers.pop(engine.info.slot, None)
        # One answer from any engine can come from another one, but a request that
        # kills twice is to blame.
        for call in _calls(engine):
            call.deaths += blame
            if call.deaths > 1:
                failure = call.failure(f"its engine died each time: {reason}")
                effects.append(Reject(call.future, failure))
            else:
                self._calls.appendleft(call)
        return effects

    def overdue(self, now: float) -> tuple[list[Effect], list[PooledEngine]]:
        """Give up what waits beyond its deadline; returns the engines that are still at it, too."""
        effects: list[Effect] = []
        at_it: list[PooledEngine] = []
        for engine in self._pool:
            for pending in engine.pending:
                if pending.asked is not None and _late(pending.asked, now):
                    effects.append(_given_up(pending.asked))
                    at_it.append(engine)
        # What has not been sent is given up as well: a queue of the batch system may hold engines back for
        # hours.
        effects += [_given_up(asked) for asked in self._waiting if _late(asked, now)]
        self._calls = deque(call for call in self._calls if not _late(call, now))
        self._broadcasts = [broadcast for broadcast in self._broadcasts if not _late(broadcast, now)]
        for engine in at_it:
            # What it was asked is not asked again when it is gone.
            engine.pending = [
                pending
                for pending in engine.pending
                if not isinstance(pending.asked, Call) or not _late(pending.asked, now)
            ]
        return effects, at_it

    def fail_all(self, error: BaseException) -> list[Effect]:
        """Tell everybody who waits that there is no answer."""
        waiting = [*self._waiting, *(call for engine in self._pool for call in _calls(engine))]
        self._calls.clear()
        self._broadcasts.clear()
        return [Reject(asked.future, error) for asked in waiting]

    def words(self) -> str | None:
        """Return what waits for an engine that is still to come, in words; None where nothing does."""
        # The longest-waiting one stands for all in what people are told.
        if not self._pool.ready():
            waiting = self._waiting
            return f"{waiting[0].what} waits: no engine has been ready" if waiting else None
        for broadcast in self._broadcasts:
            asked = {e.info.slot for e in self._pool for p in e.pending if p.asked is broadcast}
            missing = self._pool.slots - set(broadcast.answers) - asked
            if missing:
                return f"{broadcast.what} waits: {len(missing)} engines have not come up"
        return None


def _calls(engine: PooledEngine) -> list[Call]:
    """Return the calls that an engine is asked to answer."""
    return [pending.asked for pending in engine.pending if isinstance(pending.asked, Call)]


def _late(asked: Call | Broadcast, now: float) -> bool:
    return asked.due is not None and now > asked.due


def _given_up(asked: Call | Broadcast) -> Reject:
    return Reject(asked.future, asked.failure(DEADLINE))
