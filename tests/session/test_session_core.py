"""Every timer and every decision of the session, turned by hand: no clock, no thread, no engine."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from fake_session import FakeEngine, FakeSession, failure, make_plan

from arcli.cluster.base import EngineUp
from arcli.engine.position_file import BEHIND, Position
from arcli.engine.protocol import (
    Define,
    Done,
    Hello,
    Printed,
    RunChunk,
    Steps,
    decode_request,
    encode_reply,
)
from arcli.errors import ClusterError, DeadlineError, Interrupted, OutputError, SetupError
from arcli.session.core.core import TICK
from arcli.session.core.dispatch import MIN_KILLS
from arcli.session.core.health import DEATH_NOTICE, LOOK, OVERSTAY, QUIET, SILENT, STUCK, UNHURRIED
from arcli.session.core.messages import CancelItems, Failed, Stop
from arcli.session.core.pool import pause
from arcli.session.interfaces import Broken, Coming, NoListener
from arcli.session.interfaces import Reply as TransportReply
from arcli.session.supply import ApplySupply
from arcli.timing.ledger import End


def engines_of(session: FakeSession) -> list[FakeEngine]:
    return list(session.transport.engines.values())


def chunk_of(engine: FakeEngine) -> RunChunk:
    """The chunk that an engine is at."""
    _, request = engine.queue[0]
    assert isinstance(request, RunChunk)
    return request


def finish(session: FakeSession) -> None:
    """Let all engines answer until the job has ended."""
    for _ in range(1000):
        if session.ended:
            return
        for engine in engines_of(session):
            if engine.queue:
                session.answer(engine)
        session.wait(TICK)
    raise AssertionError("it never ends")


# -- timers -----------------------------------------------------------------------------------------


def test_a_request_that_fails_by_a_death_that_nobody_reports_ends_its_engine() -> None:
    session = FakeSession(1)
    session.begin(3)
    (engine,) = engines_of(session)
    msg_id, _ = engine.queue[0]
    session.deliver(TransportReply(msg_id=msg_id, error="EngineError", died=True))
    session.wait(DEATH_NOTICE - 0.1)
    assert session.transport.killed == []
    session.wait(0.3)
    assert session.transport.killed == [engine.engine_id]
    session.dies(engine)
    session.comes(0)
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(3), 1)


def test_an_engine_that_does_not_answer_the_first_words_is_let_go() -> None:
    session = FakeSession(0)
    engine = session.comes(0, prepared=False)
    session.wait(SILENT - 0.1)
    assert session.transport.released == []
    session.wait(0.3)
    assert session.transport.released == [engine.engine_id]
    assert any("does not answer" in notice for notice in session.notices)


def test_an_engine_that_never_begins_its_chunk_is_replaced() -> None:
    session = FakeSession(1)
    session.begin(1)
    (engine,) = engines_of(session)
    session.wait(STUCK - 0.2)
    assert session.transport.killed == []
    session.wait(UNHURRIED + 1.0)
    assert session.transport.killed == [engine.engine_id]
    assert any("has not begun it" in notice for notice in session.notices)


@pytest.mark.parametrize("seconds", [STUCK * 10])
@pytest.mark.parametrize("knows", ["it runs", "no position file"])
def test_an_item_may_take_any_time_where_no_limit_is_given(seconds: float, knows: str) -> None:
    session = FakeSession(0)
    session.has_position_files = knows == "it runs"
    engine = session.comes(0)
    session.begin(1)
    session.running(engine)
    if knows != "it runs":  # whatever stands in a file that the engine does not write
        session.positions.clear()
    session.wait(seconds)
    assert session.transport.killed == session.transport.released == []
    finish(session)
    assert session.recorder.statuses == {0: "ok"}


@pytest.mark.parametrize("jump", [0.0, -7200.0, 7200.0])
def test_an_item_that_heeds_no_limit_loses_its_engine_whatever_the_engines_clock_says(jump: float) -> None:
    session = FakeSession(1)
    session.begin(2, timeout=5, chunksize=2)
    (engine,) = engines_of(session)
    session.running(engine, 0, since=session.now + jump)
    session.wait(5 + OVERSTAY - 0.1)
    assert session.transport.killed == []
    session.wait(2.0)
    assert session.transport.killed == [engine.engine_id]
    session.dies(engine)
    assert session.recorder.statuses == {0: "timeout"}
    session.comes(0)
    finish(session)
    assert session.recorder.statuses == {0: "timeout", 1: "ok"}


def test_each_item_has_the_whole_of_its_limit() -> None:
    session = FakeSession(1)
    session.begin(10, timeout=5, chunksize=10)
    (engine,) = engines_of(session)
    for position in range(10):
        session.running(engine, position, since=float(position))
        session.wait(5 + OVERSTAY - 1.0)
    assert session.transport.killed == []


def test_a_wait_for_engines_is_told_once_with_what_is_known() -> None:
    session = FakeSession(1)
    session.begin(5)
    (engine,) = engines_of(session)
    session.dies(engine)
    session.wait(QUIET - 0.5)
    assert not any("wait" in notice for notice in session.notices)
    session.wait(3 * QUIET)
    told = [notice for notice in session.notices if "wait" in notice]
    assert len(told) == 1
    assert "nobody knows why" in told[0]


@pytest.mark.parametrize("what", ["a call", "a broadcast"])
def test_a_request_that_waits_for_an_engine_is_told_of_and_given_up_at_the_deadline(what: str) -> None:
    session = FakeSession(1)
    (engine,) = engines_of(session)
    session.dies(engine)
    due = session.now + 25
    future: Any = session.ask(due=due) if what == "a call" else session.ask_all(due=due)
    session.wait(QUIET + 1)
    assert any("waits" in notice for notice in session.notices)
    session.wait(25 - QUIET - 2)
    assert not future.done()
    session.wait(1.5)
    with pytest.raises(Failed if what == "a call" else DeadlineError, match="deadline passed"):
        future.result(0)


def test_a_broadcast_that_waits_for_an_engine_that_is_coming_is_told_of() -> None:
    session = FakeSession(2)
    session.dies(engines_of(session)[0])
    future = session.ask_all(keep=False)
    (engine,) = engines_of(session)
    session.answer(engine)
    session.wait(QUIET + 1)
    assert any("1 engines have not come up" in notice for notice in session.notices)
    late = session.comes(0)
    while late.queue:
        session.answer(late)
    assert set(future.result(0)) == {0, 1}


@pytest.mark.parametrize("owned", [True, False])
def test_a_deadline_ends_an_engine_that_is_at_a_request_only_if_it_is_ours(owned: bool) -> None:
    session = FakeSession(1, owned=owned, max_restarts=10 if owned else None)
    (engine,) = engines_of(session)
    future = session.ask(due=session.now + 5)
    session.wait(6)
    assert isinstance(future.exception(0), Failed)
    assert session.transport.killed == ([engine.engine_id] if owned else [])
    assert session.transport.released == ([] if owned else [engine.engine_id])


def test_a_jobs_deadline_cancels_what_runs() -> None:
    session = FakeSession(1)
    session.begin(5, due=session.now + 3, chunksize=2)
    (engine,) = engines_of(session)
    session.wait(3.3)
    assert session.transport.released == [engine.engine_id]
    session.dies(engine)
    assert session.recorder.statuses[0] == "cancelled"
    assert session.ended[0].ledger.ended is End.DEADLINE


@pytest.mark.parametrize("grace", [None, 0.0, 5.0])
def test_a_stop_lets_what_runs_go_on_for_its_grace(grace: float | None) -> None:
    session = FakeSession(1)
    session.begin(5, chunksize=2)
    (engine,) = engines_of(session)
    session.loop.put(Stop(reason="enough", ended=End.HALT, grace=grace))
    session.turn()
    session.wait((grace or 0.2) - 0.1)
    if grace == 0.0:
        assert session.transport.released == [engine.engine_id]
        session.dies(engine)
    else:
        assert session.transport.released == []
        session.answer(engine)
    assert session.ended[0].ledger.ended is End.HALT
    status = "cancelled" if grace == 0.0 else "ok"
    assert session.recorder.statuses[0] == session.recorder.statuses[1] == status


def test_what_has_not_ended_when_the_grace_is_over_is_ended() -> None:
    session = FakeSession(1)
    session.begin(5, chunksize=2)
    (engine,) = engines_of(session)
    session.loop.put(Stop(reason="enough", ended=End.HALT, grace=5.0))
    session.wait(4.8)
    assert session.transport.released == []
    session.wait(0.4)
    assert session.transport.released == [engine.engine_id]


def test_an_engine_that_does_not_come_up_in_time_has_failed() -> None:
    session = FakeSession(1, start_timeout=30.0, max_restarts=2)
    session.begin(5)
    session.dies(engines_of(session)[0])
    session.wait(95)
    assert isinstance(session.ended[0].error, ClusterError)
    assert "max_restarts: 2" in str(session.ended[0].error)
    assert set(session.recorder.statuses.values()) == {"lost"}


def test_no_setting_is_named_that_does_nothing_for_engines_of_somebody_else() -> None:
    session = FakeSession(1, owned=False, max_restarts=None)
    session.begin(5)
    session.dies(engines_of(session)[0])
    assert isinstance(session.ended[0].error, ClusterError)
    assert "a cluster that it has joined" in str(session.ended[0].error)
    assert "max_restarts" not in str(session.ended[0].error)


def test_a_retry_waits_for_its_delay() -> None:
    session = FakeSession(1)
    session.begin(1, retries=1, retry_delay=10)
    (engine,) = engines_of(session)
    session.answer(engine, again=1)
    session.wait(9.9)
    assert not engine.queue
    session.wait(5.2)
    assert engine.queue
    session.answer(engine)
    assert session.recorder.statuses == {0: "ok"}


def test_items_start_one_after_another_where_a_delay_is_given() -> None:
    session = FakeSession(3)
    session.begin(3, delay=2.0)
    starts: list[float] = []
    for _ in range(80):
        running = [engine for engine in engines_of(session) if engine.queue]
        if len(running) > len(starts):
            starts.append(session.now)
            assert all(len(chunk_of(engine).indices) == 1 for engine in running)
        session.wait(0.1)
    assert len(starts) == 3
    assert all(later - earlier >= 1.99 for earlier, later in pairwise(starts))
    finish(session)
    session.begin(1)
    session.wait(5.0)
    due = session.loop._core.due
    assert due is not None
    assert due > session.now, "a delay that is over is no reason to turn"


def test_nothing_to_do_needs_no_timer() -> None:
    session = FakeSession(1)
    assert session.loop._core.due is None
    session.begin(1)
    assert session.loop._core.due == pytest.approx(session.now + TICK)
    finish(session)
    assert session.loop._core.due is None


# -- deaths and their causes ---------------------------------------------------------------------------


def test_items_that_kill_their_engines_do_not_use_up_the_restarts_of_others() -> None:
    session = FakeSession(2, max_restarts=8)
    session.begin(40, chunksize=1)
    for _ in range(400):
        if session.ended:
            break
        for engine in engines_of(session):
            if not engine.queue:
                continue
            index = chunk_of(engine).indices[0]
            if index < 8:
                session.running(engine)
                session.dies(engine)
                session.comes(engine.slot)
            else:
                session.answer(engine)
    assert session.ended[0].error is None
    assert session.ended[0].ledger.restarts == 8 * MIN_KILLS
    assert {i for i, status in session.recorder.statuses.items() if status == "lost"} == set(range(8))


def test_where_every_item_kills_its_engine_it_is_no_items_fault() -> None:
    session = FakeSession(1, max_restarts=4)
    session.begin(30, chunksize=1)
    for _ in range(100):
        if session.ended:
            break
        (engine,) = engines_of(session)
        session.running(engine)
        session.dies(engine)
        if session.transport.coming:
            session.comes(0)
    assert "5 items in a row" in str(session.ended[0].error)
    assert "max_restarts: 4" in str(session.ended[0].error)
    assert set(session.recorder.statuses.values()) == {"lost"}


def test_engines_that_die_without_anybody_to_blame_are_replaced_so_often_and_no_more() -> None:
    session = FakeSession(1, max_restarts=3)
    session.begin(5)
    for _ in range(4):
        session.dies(engines_of(session)[0])
        if session.transport.coming:
            session.comes(0)
    assert isinstance(session.ended[0].error, ClusterError)
    assert "after 3 restarts (cluster: max_restarts: 3)" in str(session.ended[0].error)


def test_deaths_before_the_culprit_was_found_are_explained_by_it() -> None:
    session = FakeSession(0, max_restarts=4)
    session.has_position_files = False
    session.comes(0)
    session.begin(130, chunksize=65)
    for _ in range(200):
        if session.ended:
            break
        (engine,) = engines_of(session)
        indices = chunk_of(engine).indices
        if {20, 100} & set(indices):
            session.dies(engine)
            session.comes(0)
        else:
            session.answer(engine)
    assert session.ended[0].error is None
    assert {i for i, status in session.recorder.statuses.items() if status == "lost"} == {20, 100}


def test_an_item_that_leaves_its_engine_unable_to_answer_is_found() -> None:
    """Its engine is through with the chunk, and dies over the reply."""
    session = FakeSession(1, max_restarts=10)
    session.begin(60, chunksize=20)
    for _ in range(200):
        if session.ended:
            break
        (engine,) = engines_of(session)
        chunk = chunk_of(engine)
        session.positions[0] = Position(chunk.chunk, BEHIND, 0.0)
        if 27 in chunk.indices:
            session.dies(engine)
            session.comes(0)
        else:
            session.answer(engine)
    assert session.ended[0].error is None
    assert {i for i, status in session.recorder.statuses.items() if status == "lost"} == {27}
    assert len(session.recorder.statuses) == 60


def test_an_item_that_only_waited_on_an_engine_that_others_kill_is_not_to_blame() -> None:
    session = FakeSession(0, owned=False)
    session.begin(1)
    for _ in range(4):  # another run's items kill it, before it begins ours
        engine = session.comes(0)
        session.dies(engine)
    session.comes(0)
    finish(session)
    assert session.recorder.statuses == {0: "ok"}


def test_a_call_that_kills_its_engine_twice_is_given_up() -> None:
    session = FakeSession(1)
    future = session.ask()
    session.dies(engines_of(session)[0])
    engine = session.comes(0)
    assert engine.queue
    session.dies(engine)
    with pytest.raises(Failed, match="died each time"):
        future.result(0)


def test_a_new_engine_learns_what_all_have_been_taught() -> None:
    session = FakeSession(2)
    future = session.ask_all()
    first, second = engines_of(session)
    session.answer(first)
    assert not future.done()
    session.dies(first)
    session.answer(second)
    assert set(future.result(0)) == {1}
    third = session.comes(0, prepared=False)
    assert _taught(third) == [Hello, Define]
    while third.queue:
        session.answer(third)
    session.dies(second)
    assert _taught(session.comes(1, prepared=False)) == [Hello, Define]


def _taught(engine: FakeEngine) -> list[type]:
    """What a new engine is told behind arcli's code, in one message."""
    (_, code), (_, steps) = engine.queue
    assert code is None
    assert isinstance(steps, Steps)
    return [type(decode_request(request)) for request in steps.requests]


def test_work_begins_with_the_first_engine() -> None:
    session = FakeSession(1)
    session.loop.put(Coming(slot=1))
    future = session.ask_all()
    (engine,) = engines_of(session)
    session.answer(engine)
    assert future.done()
    session.begin(10, chunksize=1)
    assert chunk_of(engine).indices[0] == 0
    late = session.comes(1)
    while not isinstance(late.queue[0][1], RunChunk):
        session.answer(late)
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(10), 1)


def test_an_engine_that_is_told_of_twice_is_prepared_once() -> None:
    """It came up while the session was opened, which lists those that are there."""
    session = FakeSession(1)
    session.begin(10, chunksize=1)
    (engine,) = engines_of(session)
    requests = len(engine.queue)
    session.loop.put(EngineUp(engine.info))
    session.turn()
    assert len(engine.queue) == requests
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(10), 1)


def test_it_is_for_the_cluster_to_say_which_first_engine_is_late() -> None:
    """It starts them one after another, and that takes as long as it takes."""
    session = FakeSession(1, start_timeout=30.0)
    session.loop.put(Coming(slot=1))
    session.begin(10, chunksize=1)
    session.wait(95)
    assert session.transport.coming == []
    session.does_not_come(1)
    assert session.transport.coming == [1]
    session.wait(35)
    assert session.transport.coming == [1, 1]


def test_what_a_late_engine_cannot_learn_ends_the_run() -> None:
    session = FakeSession(1)
    late = session.comes(1, prepared=False)
    future = session.ask_all()
    session.answer(engines_of(session)[0])
    assert future.done(), "the late one is still being prepared"
    session.begin(10)
    session.answer(late)
    session.answer(late)
    session.answer(late, failure())
    assert isinstance(session.ended[0].error, SetupError)


@pytest.mark.parametrize("revives", [True, False])
def test_a_cluster_that_is_lost_is_started_anew_where_that_can_be(revives: bool) -> None:
    session = FakeSession(2, revives=revives)
    session.begin(10)
    session.cluster_dies()
    if not revives:
        assert isinstance(session.ended[0].error, ClusterError)
        assert set(session.recorder.statuses.values()) <= {"lost"}
        return
    session.comes(0)
    session.comes(1)
    finish(session)
    assert set(session.recorder.statuses.values()) == {"ok"}
    assert len(session.recorder.count) == 10


def test_what_is_published_may_be_lost_or_overtaken_and_costs_no_record() -> None:
    session = FakeSession(1)
    session.begin(6, chunksize=6)
    (engine,) = engines_of(session)
    session.publish(engine, 4, first=2)
    assert not session.recorder.count, "the first two have not come, and would be taken for recorded"
    session.publish(engine, 2)
    assert sorted(session.recorder.count) == [0, 1]
    session.publish(engine, 5, first=4)
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(6), 1)


# -- what items are and do is never the run's end --------------------------------------------------------


def test_an_item_that_does_not_load_costs_no_other_one() -> None:
    session = FakeSession(1)
    session.begin(40, chunksize=20)
    for _ in range(100):
        if session.ended:
            break
        (engine,) = engines_of(session)
        indices = chunk_of(engine).indices
        session.answer(engine, failure() if 3 in indices else None)
    assert session.ended[0].error is None
    assert [i for i, status in session.recorder.statuses.items() if status == "error"] == [3]
    assert session.recorder.reasons[3] == "KeyError: 'x'"
    assert len(session.recorder.count) == 40


@pytest.mark.parametrize("answer", [b"", b"noise\n", b'["Done",[],[5]]\n'])
def test_an_answer_that_is_none_costs_its_item_alone(answer: bytes) -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3)
    for _ in range(20):
        if session.ended:
            break
        (engine,) = engines_of(session)
        if 1 in chunk_of(engine).indices:
            msg_id, _ = engine.queue.popleft()
            session.deliver(TransportReply(msg_id=msg_id, envelope=answer))
        else:
            session.answer(engine)
    assert session.recorder.statuses == {0: "ok", 1: "lost", 2: "ok"}


def test_an_answer_of_another_kind_costs_its_item_alone() -> None:
    session = FakeSession(1)
    session.begin(1)
    (engine,) = engines_of(session)
    session.answer(engine, Done())
    session.answer(engine, Done())
    assert session.recorder.statuses == {0: "lost"}


# -- limits that depend on what has ended ---------------------------------------------------------------


def test_a_running_item_is_told_its_limit_as_soon_as_enough_have_ended() -> None:
    session = FakeSession(2)
    session.begin(8, timeout="300%", chunksize=1)
    first, second = engines_of(session)
    session.running(first, 0)
    for _ in range(3):
        assert session.limits == []
        session.answer(second, seconds=2.0)
    session.wait(0.2)
    assert session.limits == [(0, 6.0), (1, 6.0)]
    assert chunk_of(first).timeout is None
    _, latest = second.queue[-1]
    assert isinstance(latest, RunChunk)
    assert latest.timeout == 6.0


def test_what_has_ended_behind_a_running_item_counts_for_its_limit() -> None:
    session = FakeSession(1)
    session.begin(4, timeout="200%", chunksize=4)
    (engine,) = engines_of(session)
    session.publish(engine, 2, order=[1, 3], seconds=2.0)
    session.wait(0.2)
    assert session.limits == []
    session.publish(engine, 3, first=2, order=[1, 3, 2], seconds=2.0)
    session.wait(0.2)
    assert session.limits == [(0, 4.0)]
    assert session.recorder.statuses == dict.fromkeys([1, 2, 3], "ok")


def test_an_item_that_began_before_its_limit_was_known_has_time_to_heed_it() -> None:
    session = FakeSession(2)
    session.begin(8, timeout="300%", chunksize=1)
    first, second = engines_of(session)
    session.running(first, 0)
    session.wait(50)
    for _ in range(3):
        session.answer(second, seconds=2.0)
    session.wait(OVERSTAY - 0.5)
    assert session.limits == [(0, 6.0), (1, 6.0)]
    assert session.transport.killed == []
    session.wait(2.0)
    assert session.transport.killed == [first.engine_id]


def test_an_item_has_the_limit_that_it_was_sent_with_though_the_median_falls() -> None:
    session = FakeSession(2)
    session.begin(20, timeout="300%", chunksize=1)
    first, second = engines_of(session)
    for _ in range(3):
        session.answer(first, seconds=10.0)
    session.answer(first, seconds=10.0)
    session.running(first, 0)
    assert chunk_of(first).timeout == 30.0
    for _ in range(12):
        session.answer(second, seconds=1.0)
    session.wait(3 + OVERSTAY + 2)
    assert session.transport.killed == []
    session.dies(first)
    finish(session)
    assert set(session.recorder.statuses.values()) == {"ok"}


# -- short items behind long ones --------------------------------------------------------------------


def long_item_with_others_behind(chunksize: int, **job: Any) -> tuple[FakeSession, FakeEngine, FakeEngine]:
    """Two engines: the first is at its first item, the second has done all that is left."""
    session = FakeSession(2)
    session.begin(3 * chunksize, chunksize=chunksize, **job)
    first, second = engines_of(session)
    session.running(first, 0)
    while second.queue:
        session.answer(second, seconds=0.01)
    return session, first, second


def test_what_waits_for_its_next_try_leaves_nothing_behind_a_long_item() -> None:
    session = FakeSession(2)
    session.begin(12, chunksize=4, retries=1, retry_delay=100)
    first, second = engines_of(session)
    session.running(first, 0)
    session.answer(second, again=1)
    while second.queue:
        session.answer(second)
    session.wait(0.5)
    assert session.recalls == [(0, chunk_of(first).chunk, 1, chunk_of(first).chunk)]


def test_what_waits_behind_a_long_item_is_run_by_an_engine_that_has_nothing_to_do() -> None:
    session, first, second = long_item_with_others_behind(4)
    session.wait(0.5)
    assert session.recalls == [(0, chunk_of(first).chunk, 1, chunk_of(first).chunk)]
    assert list(chunk_of(second).indices) == [1, 2, 3]
    session.answer(second)
    session.answer(first, done=1)
    assert session.recorder.statuses == dict.fromkeys(range(12), "ok")
    assert len(session.ended) == 1


def test_what_an_engine_has_begun_meanwhile_stays_there() -> None:
    session, first, second = long_item_with_others_behind(4)
    session.wait(0.35, until=lambda: bool(session.recalls))
    session.running(first, 1, since=1.0)
    session.wait(0.1)
    assert not second.queue
    session.answer(first, done=2)  # it has seen the recall before it began the next one
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(12), 1)


def test_an_engine_that_has_all_it_may_is_given_more_when_it_may_have_more() -> None:
    """Nobody knows at first how long an item takes; afterwards each engine has one ahead."""
    session = FakeSession(2)
    session.begin(40, chunksize=1)
    first, second = engines_of(session)
    assert [len(engine.queue) for engine in (first, second)] == [1, 1]
    session.answer(first, seconds=0.02)
    assert len(second.queue) > 1
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(40), 1)


def test_a_recall_of_an_earlier_job_takes_nothing_from_the_chunk_of_that_number() -> None:
    """Engines forget it with the job: only what they are told anew do they leave out."""
    session = FakeSession(2)
    numbers = []
    for job in range(2):
        session.recalls.clear()
        session.begin(12, chunksize=4)
        other, slow = engines_of(session)
        session.running(slow, 0, since=float(job))
        numbers.append(chunk_of(slow).chunk)
        while other.queue:
            session.answer(other, seconds=0.01)
        session.wait(0.35, until=lambda: bool(session.recalls or other.queue))  # noqa: B023
        assert session.recalls
        assert not other.queue
        session.answer(slow)  # before it is looked whether it is still there
    assert numbers == [2, 2]
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(12), 1)


def test_nothing_is_recalled_from_another_host_or_without_a_position_file() -> None:
    for host, files in (("elsewhere", True), ("here", False)):
        session = FakeSession(0, host=host)
        session.has_position_files = files
        first, second = session.comes(0), session.comes(1)
        session.begin(8, chunksize=4)
        if files:
            session.running(first, 0)
        session.answer(second)
        session.wait(5.0)
        assert session.recalls == []


def test_an_engine_that_dies_after_a_recall_costs_its_long_item_alone() -> None:
    session, first, _ = long_item_with_others_behind(4)
    session.wait(0.5)
    session.dies(first)
    session.comes(0)
    finish(session)
    assert session.recorder.statuses == dict.fromkeys(range(12), "ok")
    assert session.recorder.count == dict.fromkeys(range(12), 1)


@pytest.mark.parametrize("job", [{}, {"timeout": 0.1}, {"concurrency": 4}], ids=str)
def test_an_engine_may_have_come_to_what_was_taken_back_from_it(job: dict[str, Any]) -> None:
    """It says first which item it comes to, and looks then whether it may begin that."""
    session, first, _ = long_item_with_others_behind(4, **job)
    session.wait(0.5)
    assert session.recalls
    session.running(first, 1)
    session.wait(1.0)
    snapshot = session.loop._core.snapshot(items=True)
    assert {item.index for item in snapshot.items if item.slot == first.slot} <= {0, None}
    session.dies(first)
    session.comes(0)
    finish(session)
    assert session.recorder.statuses == dict.fromkeys(range(12), "ok")
    assert session.recorder.count == dict.fromkeys(range(12), 1)


# -- items that are cancelled by their numbers ------------------------------------------------------------


@pytest.mark.parametrize("files", [True, False])
def test_items_are_cancelled_wherever_they_are_and_no_others(files: bool) -> None:
    session = FakeSession(0)
    session.has_position_files = files
    engine = session.comes(0)
    session.begin(12, chunksize=4)
    session.running(engine, 0)
    session.loop.put(CancelItems(frozenset({1, 6, 11, 99}), "not this one"))
    session.wait(1.0)
    if files:
        assert session.transport.killed == [], "it is at another one"
        session.running(engine, 1)
        session.wait(1.0)
    assert session.transport.killed == [engine.engine_id]
    session.dies(engine)
    session.comes(0)
    finish(session)
    cancelled = {i for i, status in session.recorder.statuses.items() if status == "cancelled"}
    assert cancelled == {1, 6, 11}
    assert session.recorder.reasons[6].startswith("not this one")
    assert session.recorder.count == dict.fromkeys(range(12), 1)
    assert session.ended[0].ledger.ended is End.DONE


def test_an_item_that_ends_before_it_can_be_cancelled_has_ended() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3)
    session.loop.put(CancelItems(frozenset({1}), "not this one"))
    session.answer(engines_of(session)[0])
    assert session.recorder.statuses == dict.fromkeys(range(3), "ok")


def test_an_engine_that_has_gone_on_from_a_cancelled_item_is_left_alone() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3, timeout=60)
    (engine,) = engines_of(session)
    session.running(engine, 0)
    session.wait(LOOK + 0.1)  # it is seen there
    session.running(engine, 1)
    session.loop.put(CancelItems(frozenset({0}), "not this one"))
    session.wait(1.0)
    assert session.transport.killed == []


def test_the_item_behind_one_that_is_cancelled_is_not_to_blame_for_the_end_of_its_engine() -> None:
    session = FakeSession(1)
    session.begin(6, chunksize=2)
    (engine,) = engines_of(session)
    session.answer(engine)  # a short one: from now on another chunk waits behind each
    session.running(engine)
    session.loop.put(CancelItems(frozenset({2}), "not this one"))
    session.wait(0.2)
    assert session.transport.killed == [engine.engine_id]
    session.answer(engine)  # it has ended before its engine does
    session.running(engine)
    session.dies(engine)
    job = session.loop._core._job
    assert job is not None
    assert job.items._kills == {}


def test_an_item_that_waits_for_its_next_try_can_be_cancelled() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3, retries=1, retry_delay=100)
    session.answer(engines_of(session)[0], again=2)
    session.loop.put(CancelItems(frozenset({0}), "not this one"))
    session.turn()
    assert session.recorder.statuses == {0: "cancelled", 2: "ok"}
    session.wait(151)
    finish(session)
    assert session.recorder.statuses == {0: "cancelled", 1: "ok", 2: "ok"}


# -- attempts that ended without a record ---------------------------------------------------------


def attempts_of(session: FakeSession, index: int) -> list[tuple[Any, ...]]:
    """Status, reason and seconds of the earlier attempts that an item's record tells of."""
    earlier = session.recorder.records[index].get("earlier_attempts") or ()
    return [(each["status"], each["reason"], each["seconds"]) for each in earlier]


def test_an_item_that_is_tried_again_tells_of_each_attempt_before() -> None:
    session = FakeSession(1)
    session.begin(2, chunksize=2, retries=2, retry_delay=1)
    (engine,) = engines_of(session)
    session.answer(engine, again=1)
    session.wait(2.5)
    session.answer(engine, again=1)
    session.wait(5)
    finish(session)
    assert attempts_of(session, 0) == [("error", "it raised", 1.0)] * 2
    assert "earlier_attempts" not in session.recorder.records[1]
    assert session.ended[0].ledger.engines[engine.engine_id].attempts == 2.0


def test_an_item_whose_engine_dies_tells_where_and_when_it_ran() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3)
    for seconds in (2.0, 3.0):
        (engine,) = engines_of(session)
        while 1 not in chunk_of(engine).indices:  # a neighbour, which went first
            session.answer(engine)
        session.running(engine, chunk_of(engine).indices.index(1), since=session.now + 1e9)
        session.wait(seconds)
        session.dies(engine, "killed by SIGKILL")
        session.comes(0)
    finish(session)
    assert attempts_of(session, 1) == [("lost", "killed by SIGKILL", 2.0)]
    lost = session.recorder.records[1]
    assert (lost["status"], lost["engine_id"], lost["seconds"]) == ("lost", engine.engine_id, 3.0)
    assert attempts_of(session, 0) == attempts_of(session, 2) == []
    uses = session.ended[0].ledger.engines
    assert sum(use.attempts for use in uses.values()) == 5.0


@pytest.mark.parametrize("knows", ["its position", "that it is alone", "nothing"])
def test_what_ran_when_all_was_stopped_is_told_from_what_never_began(knows: str) -> None:
    session = FakeSession(0)
    session.has_position_files = knows == "its position"
    engine = session.comes(0)
    size = 1 if knows == "that it is alone" else 3
    session.begin(5, chunksize=size, ordered=False)
    if knows == "its position":
        session.running(engine, 1, since=session.now + 1e9)
    session.wait(20.0)
    session.loop.put(Stop(reason="enough", ended=End.HALT, grace=0.0))
    session.wait(1.0)
    session.dies(engine)
    ran = {"its position": 1, "that it is alone": 0, "nothing": None}[knows]
    for index, record in session.recorder.records.items():
        assert record["status"] == "cancelled"
        if index == ran:
            assert record["reason"].startswith("enough, after 20.")
            assert record["seconds"] == pytest.approx(20.0, abs=0.2)
            assert record["engine_id"] == engine.engine_id
        elif index < size and (knows == "nothing" or index < (ran or 0)):
            assert record["reason"] == "enough", "nobody knows"
        else:
            assert record["reason"] == "enough, before it began"
            assert record["started"] is None
    assert session.ended[0].ledger.tally.ran == 0, "how long it ran is not how long it takes"


def test_an_item_that_is_cancelled_while_it_runs_says_after_how_long() -> None:
    session = FakeSession(1)
    session.begin(2, chunksize=2)
    (engine,) = engines_of(session)
    session.running(engine, 0, since=session.now + 1e9)
    session.wait(7.0)
    session.loop.put(CancelItems(frozenset({0, 1}), "not this one"))
    session.wait(0.1)
    session.dies(engine)
    session.comes(0)
    finish(session)
    reasons = session.recorder.reasons
    assert reasons[0].startswith("not this one, after 7")
    assert reasons[1] == "not this one, before it began"


def test_an_engine_is_said_to_be_ready_once_it_has_done_its_setup() -> None:
    ready: list[int] = []
    session = FakeSession(0, ready=lambda info: ready.append(info.engine_id))
    engine = session.comes(0, prepared=False)
    session.wait(3.0)
    assert ready == []
    assert session.loop.ready_at is None
    while engine.queue:
        session.answer(engine)
    assert ready == [engine.engine_id]
    assert session.loop.ready_at == session.now


# -- what people see ------------------------------------------------------------------------------


def test_a_snapshot_tells_what_each_engine_is_at_and_since_when() -> None:
    session = FakeSession(2)
    session.begin(100, chunksize=2)
    first, second = engines_of(session)
    session.loop.snapshot()
    session.running(first, 1)
    session.wait(3.0)
    session.answer(second, seconds=1.0)
    session.running(second, 0, since=5.0)
    session.wait(2.0)
    snapshot = session.loop.snapshot()
    assert (snapshot.job, snapshot.total, snapshot.done, snapshot.counts) == ("j", 100, 2, {"ok": 2})
    assert (snapshot.engines, snapshot.running, snapshot.starting) == (2, 2, 0)
    assert [item.index for item in snapshot.items] == [1, 4]
    longest, other = (item.seconds for item in snapshot.items)
    assert longest == pytest.approx(5.0, abs=0.7)
    assert other == pytest.approx(2.0, abs=0.7)
    assert snapshot.rate == pytest.approx(2 / 5.0, rel=0.1)
    assert snapshot.seconds_left == pytest.approx(98 / (2 / 5.0), rel=0.1)


def test_hundreds_of_engines_are_looked_at_no_more_often_in_all_than_some() -> None:
    assert [pause(0.05, engines) for engines in (4, 100, 5000)] == [0.05, 0.1, 5.0]
    session = FakeSession(400)
    session.begin(4000, chunksize=2)
    seen = []
    for _ in range(20):
        session.wait(0.1)
        seen.append(session.loop.snapshot())
    assert len({id(snapshot) for snapshot in seen}) <= 6


def test_nobody_looks_at_what_engines_are_at_unless_somebody_asks() -> None:
    session = FakeSession(1)
    session.begin(3)
    session.wait(10.0)
    assert session.loop._snapshot.items == ()
    session.loop.snapshot()
    session.wait(0.3)
    assert session.loop.snapshot().items[0].index == 0


class FakeListener(NoListener):
    """Listens to these streams of every job."""

    def __init__(self, streams: str) -> None:
        self._streams = streams
        self.lines: list[Printed] = []
        self.records: list[str] = []

    def streams(self, job: str) -> str:
        return self._streams

    def printed(self, message: Printed) -> None:
        self.lines.append(message)

    def recorded(self, job: str, lines: bytes) -> None:
        self.records.append(job)


def test_lines_that_items_print_are_handed_on() -> None:
    listener = FakeListener("out")
    session = FakeSession(1, listener=listener)
    printed = Printed("j", 0, 1, "out", 0, 1, ["hello"])
    session.begin(1)
    (engine,) = engines_of(session)
    assert chunk_of(engine).tail == "out"
    msg_id = engine.queue[0][0]
    session.transport.published += [(msg_id, encode_reply(printed)), (msg_id, b"nonsense")]
    session.turn()
    assert listener.lines == [printed]
    session.answer(engine)
    assert listener.records == ["j"]


# -- errors that end a run ---------------------------------------------------------------------------------


def test_a_setup_that_fails_ends_the_run() -> None:
    session = FakeSession(1)
    session.begin(3)
    engine = session.comes(1, prepared=False)
    session.answer(engine)
    session.answer(engine, failure())
    assert isinstance(session.ended[0].error, SetupError)
    assert set(session.recorder.statuses.values()) == {"cancelled"}
    future = session.ask()
    assert isinstance(future.exception(0), SetupError), "and all that is asked later"
    session.begin(1)
    assert isinstance(session.ended[1].error, SetupError)


def test_records_that_cannot_be_written_end_the_job_with_that() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=1)
    session.recorder.fails = OutputError("the disk is full")
    (engine,) = engines_of(session)
    with pytest.raises(OutputError):
        session.answer(engine)
    session.loop._break_off(OutputError("the disk is full"))
    assert isinstance(session.ended[0].error, OutputError)
    assert len(session.ended) == 1


def test_records_that_cannot_be_written_at_the_very_end_end_the_job_with_that() -> None:
    session = FakeSession(1)
    session.begin(1)
    session.recorder.fails = OutputError("the disk is full")
    session.loop.put(Stop(reason="enough", ended=End.HALT, grace=0.0))
    with pytest.raises(OutputError) as full:
        session.answer(engines_of(session)[0])
    session.loop._break_off(full.value)
    assert session.ended[0].error is full.value
    assert len(session.ended) == 1


def test_what_fails_beside_the_engines_ends_the_run() -> None:
    session = FakeSession(1)
    session.begin(3)
    session.loop.put(Broken(OutputError("no manifest")))
    session.turn()
    assert isinstance(session.ended[0].error, OutputError)


def test_who_waits_when_the_run_is_stopped_hears_of_it() -> None:
    session = FakeSession(1)
    call, broadcast = session.ask(), session.ask_all()
    stopped = Interrupted(2)
    session.loop.put(Stop(reason="stopped", ended=End.INTERRUPTED, grace=0.0, error=stopped))
    session.wait(0.2)
    assert call.exception(0) is broadcast.exception(0) is stopped


@pytest.mark.parametrize("passed", [0.0, 10.0])
def test_what_is_asked_after_a_stop_has_its_grace_though_the_job_ended_meanwhile(passed: float) -> None:
    """A reduce that began when the last items had just ended went on for ever."""
    session = FakeSession(1)
    session.begin(1)
    (engine,) = engines_of(session)
    stopped = Interrupted(15)
    # Both are there in one turn, at whose end the job is over.
    session.loop.put(Stop(reason="stopped", ended=End.INTERRUPTED, grace=5.0, error=stopped))
    session.answer(engine)
    assert len(session.ended) == 1
    session.wait(passed)
    fold = session.ask()
    session.wait(6.0)
    assert fold.exception(0) is stopped


@pytest.mark.parametrize("grace", [None, 0.0, 5.0])
def test_a_run_that_is_stopped_before_a_job_begins_sends_none_of_its_items(grace: float | None) -> None:
    """The engines are told of the job first, and may be at the setup until then."""
    session = FakeSession(1)
    stopped = Interrupted(2)
    session.loop.put(Stop(reason="stopped", ended=End.INTERRUPTED, grace=grace, error=stopped))
    session.turn()
    session.begin(3)
    assert not any(engine.queue for engine in engines_of(session))
    (end,) = session.ended
    assert (end.ledger.ended, end.ledger.reason, end.ledger.planned) == (End.INTERRUPTED, "stopped", 0)


def test_a_job_that_ends_while_its_last_engine_dies_after_a_stop_ends_once() -> None:
    session = FakeSession(1)
    session.begin(3)
    stopped = Interrupted(2)
    session.loop.put(Stop(reason="stopped", ended=End.INTERRUPTED, grace=0.0, error=stopped))
    session.turn()
    (engine,) = engines_of(session)
    session.dies(engine)
    assert len(session.ended) == 1
    assert session.ended[0].ledger.ended is End.INTERRUPTED


def test_an_apply_for_an_engine_that_is_gone_for_good_is_lost() -> None:
    session = FakeSession(2, max_restarts=0)
    first, _ = engines_of(session)
    session.dies(first)
    plan = make_plan()
    supply = ApplySupply([0, 1], hasher=plan.hasher(), kept=None, replay=lambda index, line: None)
    session.begin(0, supply=supply)
    finish(session)
    assert session.recorder.statuses == {0: "lost", 1: "ok"}
    assert "only the engine in slot 0 could run this" in session.recorder.reasons[0]


def test_items_that_wait_for_an_engine_of_their_own_are_told_of() -> None:
    session = FakeSession(2)
    first, _ = engines_of(session)
    session.dies(first)
    plan = make_plan()
    supply = ApplySupply([0], hasher=plan.hasher(), kept=None, replay=lambda index, line: None)
    session.begin(0, supply=supply)
    session.wait(QUIET + 1)
    assert any("1 items wait for engines of their own" in notice for notice in session.notices)
    session.comes(0)
    finish(session)
    assert session.recorder.statuses == {0: "ok"}
