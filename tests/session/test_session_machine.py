"""The session under every order of events that engines can come up with."""

from __future__ import annotations

from typing import Any

from fake_session import FakeEngine, FakeSession, chunk_reply, failure
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arcli.engine.protocol import Done, RunChunk, encode_reply
from arcli.errors import Interrupted
from arcli.session.core.messages import CancelItems, Stop
from arcli.session.interfaces import Reply as TransportReply
from arcli.timing.ledger import End

ITEMS = 12


class Machine(RuleBasedStateMachine):
    """A session with a job of so many items, whose engines some rules drive; in the end they behave."""

    items = ITEMS

    def start(self, *, files: bool, deadline: float | None = None, **how: Any) -> None:
        """Begin the job; ``how`` are the terms that the session has, and the job's own settings."""
        terms = {key: how.pop(key) for key in ("owned", "revives", "max_restarts")}
        self.session = FakeSession(2, **terms)
        self.session.has_position_files = files
        self.late: list[TransportReply] = []
        due = None if deadline is None else self.session.now + deadline
        self.session.begin(self.items, due=due, **how)
        self.told: dict[int, list[int]] = {}
        self.beside = how["concurrency"] > 1

    def engine(self, number: int) -> FakeEngine | None:
        engines = list(self.session.transport.engines.values())
        return engines[number % len(engines)] if engines else None

    def ended(self, request: RunChunk, done: int) -> list[int]:
        """The order in which so many items of a chunk have ended: not the one of their beginning."""
        told = self.told.setdefault(request.chunk, [])
        size = len(request.indices)
        turns = [position ^ 1 if position ^ 1 < size else position for position in range(size)]
        told += [position for position in turns if position not in told][: max(0, done - len(told))]
        return told

    def answer(self, engine: FakeEngine, *, under_way: int = 0, more: int = 0, **how: Any) -> None:
        """An engine answers: what has begun comes before what has not, and all but the last ones ended."""
        request = engine.queue[0][1]
        if not self.beside or not isinstance(request, RunChunk):
            self.session.answer(engine, **how)
            return
        told = self.ended(request, 0)
        begun = max(how.pop("done", len(request.indices)), *(place + 1 for place in told), 0)
        order = [*told, *(place for place in range(begun) if place not in told)]
        ended = max(len(told), begun - under_way)
        self.session.answer_beside(engine, order, ended=ended, more=more, **how)

    @property
    def job_retries(self) -> int:
        job = self.session.loop._core._job
        return job.plan.job.retries if job is not None else 0

    @rule()
    def obeys(self) -> None:
        """What was to be ended or let go, goes."""
        transport = self.session.transport
        for engine_id in {*transport.killed, *transport.released}:
            if (engine := transport.engines.get(engine_id)) is not None:
                self.session.dies(engine)

    @invariant()
    def each_record_comes_once(self) -> None:
        if hasattr(self, "session"):
            assert max(self.session.recorder.count.values(), default=0) <= 1
            assert len(self.session.ended) <= 1
            if self.session.ended:
                assert not self.session.transport.owned or not self.session.loop._core._job

    def teardown(self) -> None:
        """Nothing goes wrong any more: then there is an end, and every item has its record."""
        if not hasattr(self, "session"):
            return
        session = self.session
        for _ in range(500):
            if session.ended:
                break
            self.obeys()
            while session.transport.coming:
                session.comes(session.transport.coming[0])
            for engine in list(session.transport.engines.values()):
                while engine.queue:
                    self.answer(engine)
            session.wait(1.0, until=lambda: bool(session.ended), step=1.0)
        assert session.ended, "it never ends"
        planned = session.ended[0].ledger.planned
        assert session.recorder.count == dict.fromkeys(range(planned), 1)
        if session.ended[0].ledger.ended is End.DONE:
            assert planned == self.items
        if not session.transport.owned:
            assert session.transport.killed == []


class Engines(Machine):
    """Engines come, die, fall silent, and answer late, twice, in parts, or with nonsense."""

    @initialize(
        owned=st.booleans(),
        files=st.booleans(),
        revives=st.booleans(),
        restarts=st.integers(0, 6),
        chunksize=st.sampled_from(["auto", 1, 3, 12]),
        retries=st.integers(0, 1),
        timeout=st.sampled_from([None, 5]),
        deadline=st.sampled_from([None, None, 100]),
        halt=st.sampled_from(["never", "soon", "now"]),
        concurrency=st.sampled_from([1, 1, 4]),
    )
    def begin(
        self,
        owned: bool,
        files: bool,
        revives: bool,
        restarts: int,
        deadline: float | None,
        **job: Any,
    ) -> None:
        limit = restarts if owned else 0
        revives = revives and owned
        self.start(files=files, deadline=deadline, owned=owned, revives=revives, max_restarts=limit, **job)

    @rule(
        number=st.integers(0, 3),
        failed=st.integers(0, 2),
        again=st.integers(0, 1),
        left_out=st.integers(0, 2),
        under_way=st.integers(0, 3),
        more=st.integers(0, 2),
    )
    def answers(
        self, number: int, failed: int, again: int, left_out: int, under_way: int, more: int
    ) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue:
            request = engine.queue[0][1]
            how: dict[str, Any] = {}
            if isinstance(request, RunChunk) and request.attempt == 1:
                retries = self.job_retries
                how = {"failed": 0 if retries else failed, "again": again if retries else 0}
            if isinstance(request, RunChunk):
                how["done"] = max(0, len(request.indices) - left_out)
            self.answer(engine, under_way=under_way, more=more, **how)

    @rule(number=st.integers(0, 3), what=st.sampled_from(["refusal", "nonsense", "another kind", "error"]))
    def answers_badly(self, number: int, what: str) -> None:
        engine = self.engine(number)
        if engine is None or not engine.queue or not isinstance(engine.queue[0][1], RunChunk):
            return
        msg_id, _ = engine.queue.popleft()
        envelope = {
            "refusal": encode_reply(failure()),
            "nonsense": b"nonsense",
            "another kind": encode_reply(Done()),
            "error": None,
        }[what]
        error = "no room" if envelope is None else None
        self.session.deliver(TransportReply(msg_id=msg_id, envelope=envelope, error=error))

    @rule(number=st.integers(0, 3), done=st.integers(0, ITEMS), first=st.integers(0, ITEMS))
    def publishes(self, number: int, done: int, first: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            request = engine.queue[0][1]
            order = self.ended(request, min(done, len(request.indices))) if self.beside else []
            at = self.session.positions.get(engine.slot)
            if order and at is not None:
                before = at.position if at.chunk == request.chunk else -1
                self.session.running(engine, max(before, *order), since=0.0)
            self.session.publish(engine, done, first=first, order=order)

    @rule(number=st.integers(0, 3), which=st.integers(0, 3))
    def publishes_of_an_earlier_chunk(self, number: int, which: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.under_way and engine.queue:
            self.session.publish_earlier(engine, which)

    @rule(number=st.integers(0, 3), position=st.integers(-1, ITEMS))
    def is_at(self, number: int, position: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            request = engine.queue[0][1]
            position = min(position, len(request.indices) - 1)
            position = max(position, *self.told.get(request.chunk, []), -1)
            self.session.running(engine, position, since=float(position))

    @rule(number=st.integers(0, 3), keeps=st.booleans())
    def dies(self, number: int, keeps: bool) -> None:
        engine = self.engine(number)
        if engine is None:
            return
        if keeps and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            request = engine.queue[0][1]
            told = self.told.get(request.chunk, [])
            rest = [place for place in range(len(request.indices)) if place not in told]
            envelope = encode_reply(chunk_reply(request, order=[*told, *rest] if told else []))
            self.late.append(TransportReply(msg_id=engine.queue[0][0], envelope=envelope))
        self.session.dies(engine)

    @rule(number=st.integers(0, 3))
    def a_request_fails_by_its_death(self, number: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue:
            self.session.deliver(TransportReply(msg_id=engine.queue[0][0], error="gone", died=True))

    @rule()
    def comes(self) -> None:
        if self.session.transport.coming:
            self.session.comes(self.session.transport.coming[0])

    @rule()
    def does_not_come(self) -> None:
        if self.session.transport.coming:
            self.session.does_not_come(self.session.transport.coming[0])

    @rule()
    @precondition(lambda self: len(self.session.transport.engines) == 2)
    def the_cluster_dies(self) -> None:
        if not self.session.ended:
            self.session.cluster_dies()
            if self.session.transport.revives and not self.session.ended:
                self.session.transport.coming = [0, 1]

    @rule(which=st.integers(0, 50))
    def an_answer_comes_again(self, which: int) -> None:
        answers = [*self.session.transport.answers, *self.late]
        if answers:
            self.session.deliver(answers[which % len(answers)])

    @rule(seconds=st.sampled_from([0.05, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.session.wait(seconds, until=lambda: bool(self.session.ended), step=2.0)

    @rule(grace=st.sampled_from([None, 0.0, 5.0]), final=st.booleans())
    def is_stopped(self, grace: float | None, final: bool) -> None:
        error = Interrupted(2) if final else None
        self.session.loop.put(Stop(reason="enough", ended=End.INTERRUPTED, grace=grace, error=error))
        self.session.turn()

    @rule(indices=st.sets(st.integers(0, ITEMS), max_size=3))
    def items_are_cancelled(self, indices: set[int]) -> None:
        self.session.loop.put(CancelItems(frozenset(indices), "not these"))
        self.session.turn()


class SideBySide(Machine):
    """Engines whose chunks overlap: they answer, in any order, come and die, and little else happens."""

    items = 40

    @initialize(
        files=st.booleans(),
        chunksize=st.sampled_from(["auto", 4, 7]),
        retries=st.integers(0, 1),
        timeout=st.sampled_from([None, 5]),
    )
    def begin(self, **job: Any) -> None:
        self.start(owned=True, revives=True, max_restarts=20, concurrency=4, **job)

    @rule(number=st.integers(0, 1), under_way=st.integers(0, 3), more=st.integers(0, 2))
    def answers(self, number: int, under_way: int, more: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue:
            self.answer(engine, under_way=under_way, more=more)

    @rule(number=st.integers(0, 1), under_way=st.integers(1, 3), more=st.integers(0, 2))
    def answers_again(self, number: int, under_way: int, more: int) -> None:
        self.answers(number, under_way, more)

    @rule(number=st.integers(0, 1), under_way=st.integers(0, 3), fails=st.integers(1, 3))
    def answers_that_some_are_to_be_tried_again(self, number: int, under_way: int, fails: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            retried = self.job_retries and engine.queue[0][1].attempt == 1
            how = {"again": fails} if retried else {"failed": fails}
            self.answer(engine, under_way=under_way, **how)

    @rule(number=st.integers(0, 1), under_way=st.integers(0, 3), left_out=st.integers(1, 5))
    def leaves_some_out(self, number: int, under_way: int, left_out: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            done = max(0, len(engine.queue[0][1].indices) - left_out)
            self.answer(engine, under_way=under_way, done=done)

    @rule(number=st.integers(0, 1))
    def answers_with_nonsense(self, number: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            msg_id, _ = engine.queue.popleft()
            self.session.deliver(TransportReply(msg_id=msg_id, envelope=b"nonsense"))

    @rule(number=st.integers(0, 1), which=st.integers(0, 3))
    def publishes(self, number: int, which: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.under_way and engine.queue:
            self.session.publish_earlier(engine, which)

    @rule(number=st.integers(0, 1), position=st.integers(-1, 8))
    def is_at(self, number: int, position: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue and isinstance(engine.queue[0][1], RunChunk):
            position = min(position, len(engine.queue[0][1].indices) - 1)
            self.session.running(engine, position, since=float(position))

    @rule(number=st.integers(0, 1))
    def dies(self, number: int) -> None:
        if (engine := self.engine(number)) is not None:
            self.session.dies(engine)

    @rule()
    def comes(self) -> None:
        if self.session.transport.coming:
            self.session.comes(self.session.transport.coming[0])

    @rule(seconds=st.sampled_from([0.3, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.session.wait(seconds, until=lambda: bool(self.session.ended))

    @rule(grace=st.sampled_from([None, 5.0]))
    def is_stopped(self, grace: float | None) -> None:
        self.session.loop.put(Stop(reason="enough", ended=End.INTERRUPTED, grace=grace))
        self.session.turn()

    @rule(indices=st.sets(st.integers(0, 40), max_size=3))
    def items_are_cancelled(self, indices: set[int]) -> None:
        self.session.loop.put(CancelItems(frozenset(indices), "not these"))
        self.session.turn()


TestEngines = Engines.TestCase
TestSideBySide = SideBySide.TestCase
TestSideBySide.settings = TestEngines.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
