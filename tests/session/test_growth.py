"""What a message costs the session does not grow with the number of engines, nor with what waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from fake_session import FakeSession, make_plan

from arcli.engine.protocol import RunChunk
from arcli.session.supply import ApplySupply

MESSAGES = 100


def steps(work: Callable[[], None]) -> int:
    """Count the steps (bytecodes) of the session's own code while something is done.

    They are the same each time, however busy the machine is.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "arcli/session/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    measurement = sys.gettrace()
    # Python 3.12 looks at whether anybody wants opcodes when tracing begins.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(measurement)
    return count


def answers(session: FakeSession) -> None:
    """Let some engines answer a chunk each, and get another one."""
    engines = [engine for engine in session.transport.engines.values() if engine.queue]
    for engine in engines[:MESSAGES]:
        _, request = engine.queue[0]
        assert isinstance(request, RunChunk)
        session.answer(engine)


def cost_of_chunks(count: int, **job: Any) -> int:
    session = FakeSession(count)
    session.begin(8 * count, chunksize=1, **job)
    # What an item takes is known now, and each engine has as many as it may have.
    for _ in range(2):
        while session.loop._core._feeder.more:
            session.turn()
        session.answer(next(iter(session.transport.engines.values())))
    return steps(lambda: answers(session))


def test_a_chunk_costs_as_much_with_a_thousand_engines_as_with_a_hundred() -> None:
    few, many = cost_of_chunks(100), cost_of_chunks(1000)
    assert many < 1.3 * few


def test_a_chunk_costs_as_much_where_a_thousand_wait_to_be_tried_again() -> None:
    """Each item fails, and waits for its delay."""

    def cost(failed: int) -> int:
        session = FakeSession(failed)
        session.begin(100 * failed, chunksize=1, retries=2, retry_delay=1000.0)
        while session.loop._core._feeder.more:
            session.turn()
        for engine in [*session.transport.engines.values()]:
            session.answer(engine, again=1)
        assert not session.recorder.count
        return steps(lambda: answers(session))

    assert cost(1000) < 1.3 * cost(100)


def test_a_call_for_each_engine_costs_as_much_with_many_of_them() -> None:
    """Each is for one slot; engines come in another order than slots have."""

    def cost(count: int) -> int:
        session = FakeSession(0)
        hasher = make_plan().hasher()
        supply = ApplySupply([*range(count)], hasher=hasher, kept=None, replay=lambda index, line: None)
        session.begin(count, supply=supply)
        for slot in reversed(range(MESSAGES, count)):
            session.comes(slot)

        def others_come() -> None:
            for slot in reversed(range(MESSAGES)):
                session.comes(slot)

        return steps(others_come)

    assert cost(1000) < 1.5 * cost(2 * MESSAGES)


def test_an_engine_that_runs_a_suspect_holds_up_no_other_one() -> None:
    session = FakeSession(2)
    first, second = session.transport.engines.values()
    session.begin(60, chunksize=1)
    session.running(first)
    session.dies(first)  # what it ran may have killed it, and runs alone from now on
    session.answer(second)
    assert len(second.queue) == 1
    session.now += 0.01
    third = session.comes(first.slot)
    assert len(second.queue) == 1
    assert len(third.queue) > 1, "items are short, so that several chunks wait at an engine"
