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


class Engines(RuleBasedStateMachine):
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
        self.session = FakeSession(2, owned=owned, revives=revives and owned, max_restarts=limit)
        self.session.has_position_files = files
        self.late: list[TransportReply] = []
        due = None if deadline is None else self.session.now + deadline
        self.session.begin(ITEMS, due=due, **job)
        self.told: dict[int, list[int]] = {}
        self.beside = job["concurrency"] > 1

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

    def answer(self, engine: FakeEngine, **how: Any) -> None:
        """An engine answers: what has begun, which comes before what has not, has ended."""
        request = engine.queue[0][1]
        if self.beside and isinstance(request, RunChunk):
            told = self.ended(request, 0)
            done = max(how.get("done", len(request.indices)), *(place + 1 for place in told), 0)
            how |= {"done": done, "order": [*told, *(place for place in range(done) if place not in told)]}
        self.session.answer(engine, **how)

    @rule(
        number=st.integers(0, 3),
        failed=st.integers(0, 2),
        again=st.integers(0, 1),
        left_out=st.integers(0, 2),
    )
    def answers(self, number: int, failed: int, again: int, left_out: int) -> None:
        engine = self.engine(number)
        if engine is not None and engine.queue:
            request = engine.queue[0][1]
            how: dict[str, Any] = {}
            if isinstance(request, RunChunk) and request.attempt == 1:
                retries = self.job_retries
                how = {"failed": 0 if retries else failed, "again": again if retries else 0}
            if isinstance(request, RunChunk):
                how["done"] = max(0, len(request.indices) - left_out)
            self.answer(engine, **how)

    @property
    def job_retries(self) -> int:
        job = self.session.loop._core._job
        return job.plan.job.retries if job is not None else 0

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
    def obeys(self) -> None:
        """What was to be ended or let go, goes."""
        transport = self.session.transport
        for engine_id in {*transport.killed, *transport.released}:
            if (engine := transport.engines.get(engine_id)) is not None:
                self.session.dies(engine)

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
            assert planned == ITEMS
        if not session.transport.owned:
            assert session.transport.killed == []


TestEngines = Engines.TestCase
TestEngines.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
