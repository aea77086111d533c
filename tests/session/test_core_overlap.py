"""Side by side, a chunk begins while items of the one before it run: what the session makes of that."""

from __future__ import annotations

from typing import Any

import pytest
from fake_session import FakeEngine, FakeSession, chunk_reply

from arcli.engine.position_file import Position
from arcli.engine.protocol import RunChunk, encode_reply
from arcli.session.core.feeding import LONG, SETTLED
from arcli.session.core.health import LOOK, OVERSTAY
from arcli.session.core.messages import CancelItems, Stop
from arcli.session.interfaces import Reply as TransportReply
from arcli.session.interfaces import Wake
from arcli.timing.ledger import End

FOUR = [*range(4)]


def begun(items: int = 9, engines: int = 1, **job: Any) -> tuple[FakeSession, list[FakeEngine]]:
    """A job of so many items, four side by side, whose first chunk of four is with each engine."""
    session = FakeSession(engines)
    session.begin(items, concurrency=4, **job)
    there = list(session.transport.engines.values())
    assert all(len(chunk_of(engine).indices) == 4 for engine in there)
    return session, there


def chunk_of(engine: FakeEngine) -> RunChunk:
    """The oldest chunk that an engine has not answered."""
    _, request = engine.queue[0]
    assert isinstance(request, RunChunk)
    return request


def finished(session: FakeSession, engine: FakeEngine) -> None:
    """Have one engine answer all that it is asked, until the job is over."""
    for _ in range(100):
        if engine.queue:
            size = len(chunk_of(engine).indices)
            session.answer_beside(engine, [*range(size)], ended=size)
    assert session.ended


def recalled(place: int) -> tuple[FakeSession, FakeEngine, FakeEngine, RunChunk]:
    """Two engines: one that is idle, and one that is at this place of a chunk, which is recalled from it.

    Three items of the chunk before are under way beside it.
    """
    session, (first, second) = begun(items=12, engines=2, chunksize=4)
    session.answer_beside(first, FOUR, ended=1)
    waiting = chunk_of(first)
    session.running(first, place)
    session.answer_beside(second, FOUR, ended=4)
    session.wait(LONG + LOOK + 0.1)
    assert session.recalls == [(first.slot, waiting.chunk, place + 1, waiting.chunk)]
    session.wait(SETTLED + 0.1)
    return session, first, second, waiting


def test_an_engine_that_has_a_free_place_gets_more_while_its_items_run() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, [1, 0, 2, 3], ended=1)
    assert set(session.recorder.count) == {1}
    following = chunk_of(engine)
    assert following.indices
    assert following.overlap
    session.answer_beside(engine, [*range(len(following.indices))], ended=1, more=2)
    assert set(session.recorder.count) == {0, 1, 2, following.indices[0]}
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(9), 1)
    chunks = {index: record["chunk"] for index, record in session.recorder.records.items()}
    assert [chunks[index] for index in FOUR] == [1, 1, 1, 1]


def test_the_last_chunk_is_answered_when_all_have_ended() -> None:
    session, (engine,) = begun(items=4)
    assert not chunk_of(engine).overlap
    session.answer(engine)
    assert session.ended
    assert not engine.queue


def test_what_is_tried_again_has_the_places_beside_the_last_items() -> None:
    session, (engine,) = begun(items=4, retries=1, retry_delay=0.2)
    session.answer_beside(engine, FOUR, ended=2, seconds=2.0, again=2)  # two items go on for long
    assert not chunk_of(engine).indices
    session.wait(1.0)
    session.answer_beside(engine, [], ended=0)  # it has been told that another chunk waits
    assert chunk_of(engine).indices == [0]
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(FOUR, 1)
    assert [session.recorder.records[index]["attempt"] for index in FOUR] == [2, 2, 1, 1]


def test_an_engine_for_which_there_is_nothing_goes_on_with_what_it_has() -> None:
    session, (engine,) = begun()
    session.reader.held = 5
    session.answer_beside(engine, FOUR, ended=1)
    empty = chunk_of(engine)
    assert (len(empty.indices), empty.overlap) == (0, False)
    session.reader.held = 0
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(9), 1)
    assert session.ended[0].ledger.smallest_chunk > 0


def test_what_comes_meanwhile_has_the_free_places() -> None:
    session, (engine,) = begun()
    session.reader.held = 5
    session.answer_beside(engine, FOUR, ended=2, seconds=2.0)  # long ones, of which none waits anywhere
    empty = chunk_of(engine)
    assert not session.recalls
    session.reader.held = 0
    session.loop.put(Wake())
    session.turn()
    assert session.recalls == [(engine.slot, empty.chunk, 0, empty.chunk)]
    session.answer_beside(engine, [], ended=0)  # it heeds that: two items are still under way
    assert chunk_of(engine).indices
    assert len(engine.under_way) == 1
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(9), 1)


def test_what_waits_behind_items_that_take_all_places_goes_to_another_engine() -> None:
    session, first, second, waiting = recalled(0)
    assert [*chunk_of(second).indices] == [*waiting.indices[1:]]
    # It answers for what it has begun, and goes on with it.
    session.answer_beside(first, [0], ended=0)
    assert len(first.under_way) == 2
    session.answer(second)
    finished(session, first)
    assert session.recorder.count == dict.fromkeys(range(12), 1)


def test_what_waits_behind_long_items_goes_to_the_free_places_of_an_engine_that_has_some_itself() -> None:
    session, (first, second) = begun(items=12, engines=2, chunksize=4)
    session.answer_beside(first, FOUR, ended=1)
    waiting = chunk_of(first)
    session.running(first, 0)
    session.answer_beside(second, FOUR, ended=3)
    empty = chunk_of(second)
    assert not empty.indices
    session.running(second, -1)
    session.wait(LONG + LOOK + SETTLED + 0.3)
    assert session.recalls == [
        (first.slot, waiting.chunk, 1, waiting.chunk),
        (second.slot, empty.chunk, 0, empty.chunk),
    ]
    session.answer_beside(second, [], ended=0)  # it has been told that another chunk waits
    assert [*chunk_of(second).indices] == [*waiting.indices[1:]]
    session.answer_beside(first, [0], ended=0)
    session.answer(second)
    for engine in (first, second):
        while engine.queue:
            session.answer_beside(engine, [*range(len(chunk_of(engine).indices))], ended=4)
    assert session.ended
    assert session.recorder.count == dict.fromkeys(range(12), 1)


def test_a_chunk_that_could_begin_no_item_goes_to_another_engine_whole() -> None:
    session, first, second, waiting = recalled(-1)
    assert sorted(chunk_of(second).indices) == [*waiting.indices]
    # Nobody waits for its answer any more, but what has ended meanwhile comes with it.
    session.answer_beside(first, [], ended=0, more=2)
    assert {0, 1, 2} <= set(session.recorder.count)
    assert len(chunk_of(first).indices) == 0
    session.answer(second)
    finished(session, first)
    assert session.recorder.count == dict.fromkeys(range(12), 1)


def test_records_of_a_chunk_that_was_given_up_are_not_taken_twice() -> None:
    session, first, second, _ = recalled(-1)
    # It did begin what was recalled: against the promise, but arcli counts on nothing.
    session.answer_beside(first, FOUR, ended=4, more=3)
    session.answer(second)
    finished(session, first)
    assert session.recorder.count == dict.fromkeys(range(12), 1)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_engine_that_tells_of_items_which_it_has_not_is_not_believed(concurrency: int) -> None:
    session = FakeSession(2)
    session.begin(8, concurrency=concurrency, chunksize=4)
    first, second = session.transport.engines.values()
    session.running(first, 0)
    while second.queue:
        session.answer(second)
    session.wait(LONG + LOOK + SETTLED + 0.2)  # what it has not begun was taken back
    assert second.queue
    session.answer_beside(first, FOUR, ended=4)
    for _ in range(10):
        for engine in (first, second):
            while engine.queue:
                size = len(chunk_of(engine).indices)
                session.answer_beside(engine, [*range(size)], ended=size)
    assert session.ended
    assert session.recorder.count == dict.fromkeys(range(8), 1)


def test_an_engine_that_leaves_out_what_it_has_begun_costs_no_item() -> None:
    session, (engine,) = begun(items=4)
    msg_id, request = engine.queue.popleft()
    assert isinstance(request, RunChunk)
    envelope = encode_reply(chunk_reply(request, done=2, begun=4))
    session.deliver(TransportReply(msg_id=msg_id, envelope=envelope))
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(4), 1)
    assert set(session.recorder.statuses.values()) == {"ok"}


def test_an_engine_that_forgets_what_is_under_way_costs_no_item() -> None:
    session, (engine,) = begun(items=4 + 1)
    session.answer_beside(engine, FOUR, ended=1)
    assert not chunk_of(engine).overlap
    engine.under_way.clear()
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(5), 1)
    assert set(session.recorder.statuses.values()) == {"ok"}


def test_an_answer_that_cannot_be_read_costs_no_item_of_any_chunk() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, FOUR, ended=1)
    msg_id, _ = engine.queue.popleft()
    engine.under_way.clear()
    session.deliver(TransportReply(msg_id=msg_id, envelope=b"nonsense"))
    finished(session, engine)
    assert session.recorder.count == dict.fromkeys(range(9), 1)
    assert set(session.recorder.statuses.values()) == {"ok"}


@pytest.mark.parametrize("files", [True, False])
def test_no_item_is_to_blame_for_a_death_beside_others(files: bool) -> None:
    session = FakeSession(1)
    session.has_position_files = files
    session.comes(1)  # the first one had answered before
    session.begin(20, concurrency=4, chunksize=4)
    for _ in range(2):
        engine = next(engine for engine in session.transport.engines.values() if engine.queue)
        session.answer_beside(engine, FOUR, ended=3)  # one item of each of two chunks is under way
        following = chunk_of(engine)
        assert following.indices
        session.positions[engine.slot] = Position(following.chunk, 0, 1.0)
        session.dies(engine)
        session.comes(engine.slot)
        job = session.loop._core._job
        assert job is not None
        assert job.items._kills == {}
    assert "lost" not in session.recorder.statuses.values()
    for _ in range(50):
        for engine in list(session.transport.engines.values()):
            while engine.queue:
                request = chunk_of(engine)
                session.answer_beside(engine, [*range(len(request.indices))], ended=len(request.indices))
    assert session.ended
    assert set(session.recorder.statuses.values()) == {"ok"}
    assert session.recorder.count == dict.fromkeys(range(20), 1)


def test_an_item_that_is_alone_with_its_engine_is_to_blame_also_when_its_chunk_is_answered() -> None:
    session, (engine,) = begun()
    session.reader.held = 5
    session.answer_beside(engine, FOUR, ended=3)
    assert not chunk_of(engine).indices
    session.running(engine, -1)
    session.dies(engine)
    job = session.loop._core._job
    assert job is not None
    assert job.items._kills == {3: 1}


def test_a_cancelled_item_ends_with_its_engine_also_when_its_chunk_is_answered() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, FOUR, ended=1)
    session.loop.put(CancelItems(frozenset({3}), "not this one"))
    session.wait(0.2)
    assert session.transport.killed == [engine.engine_id]


def test_no_neighbour_is_to_blame_for_the_end_of_a_cancelled_item() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, FOUR, ended=1)
    session.running(engine, 3)
    session.loop.put(CancelItems(frozenset({3}), "not this one"))
    session.wait(0.2)
    assert session.transport.killed == [engine.engine_id]
    session.dies(engine)
    job = session.loop._core._job
    assert job is not None
    assert not job.items.again.suspects
    while not session.ended:
        engine = session.comes(engine.slot) if not session.transport.engines else engine
        finished(session, engine)
    assert [index for index, status in session.recorder.statuses.items() if status != "ok"] == [3]
    assert session.recorder.count == dict.fromkeys(range(9), 1)


def test_an_item_under_way_that_does_not_stop_costs_its_engine() -> None:
    session, (engine,) = begun(timeout=5)
    session.answer_beside(engine, FOUR, ended=1)
    session.running(engine, -1)
    session.wait(5 + OVERSTAY + 2 * LOOK)
    assert session.transport.killed == [engine.engine_id]


def test_an_engine_that_is_at_short_items_is_left_alone_beside_one_without_a_limit() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, FOUR, ended=1)
    session.running(engine, -1)
    session.wait(60 + OVERSTAY)
    assert session.transport.killed == []


def test_what_is_under_way_has_its_grace_when_the_job_is_stopped() -> None:
    session, (engine,) = begun()
    session.answer_beside(engine, FOUR, ended=1)
    session.loop.put(Stop(reason="enough", ended=End.INTERRUPTED, grace=None))
    session.turn()
    while engine.queue:
        request = chunk_of(engine)
        session.answer_beside(engine, [*range(len(request.indices))], ended=len(request.indices))
    assert session.ended
    assert {session.recorder.statuses[index] for index in FOUR} == {"ok"}
    assert session.recorder.count == dict.fromkeys(range(session.ended[0].ledger.planned), 1)


def test_what_may_have_killed_an_engine_has_its_grace_when_the_job_is_stopped() -> None:
    session, (engine,) = begun(items=4)
    session.running(engine, 3)
    session.dies(engine)
    engine = session.comes(engine.slot)
    suspects = [*chunk_of(engine).indices]
    assert len(suspects) == 1
    session.loop.put(Stop(reason="enough", ended=End.INTERRUPTED, grace=None))
    session.turn()
    session.answer_beside(engine, [0], ended=0)  # it has been told to begin nothing more, and so answers
    finished(session, engine)
    assert [session.recorder.statuses[index] for index in suspects] == ["ok"]
    assert session.recorder.count == dict.fromkeys(FOUR, 1)
