"""Chunks that overlap on an engine: items that go on beside those of the next one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from arcli.engine.beside import TaskPool
from arcli.engine.protocol import (
    ChunkReplies,
    ChunkReply,
    Define,
    JobDefinition,
    RunChunk,
    decode_reply,
    encode_request,
)
from arcli.engine.worker import Worker
from arcli.record import decode
from arcli.session.core.chunk import pickled

FIRST = 0
"""The item that waits for the last one, prints at its begin and at its end, and tells of its end."""
LAST = 99


class Engine:
    """An engine whose items run three side by side."""

    def __init__(self, **how: Any) -> None:
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.worker = Worker({"work": self.work}, None, watchdog=False, **how)
        job = JobDefinition("j", "map", function="work", concurrency=3)
        self.worker.handle(encode_request(Define(job)))

    async def work(self, item: int) -> int:
        print("begin", item)
        try:
            while item == FIRST and LAST not in self.ended:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        print("end", item)
        self.ended.append(item)
        return item

    def run(self, chunk: int, items: list[int], *, overlap: bool) -> list[ChunkReply]:
        """What answers a chunk; its items are numbered as they are called."""
        request = RunChunk("j", chunk, 1, items, pickled(items), None, {}, overlap=overlap)
        reply = decode_reply(self.worker.handle(encode_request(request)))
        if isinstance(reply, ChunkReplies):
            return reply.replies
        assert isinstance(reply, ChunkReply)
        return [reply]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.worker.leave()


def records(reply: ChunkReply) -> dict[int, dict[str, Any]]:
    each = [decode(b"{" + line + b"}") for line in reply.lines.splitlines()]
    return {record["index"]: record for record in each}


def test_a_chunk_is_answered_when_a_place_is_free_and_nothing_is_left_to_begin(engine: Engine) -> None:
    (reply,) = engine.run(1, [FIRST, 1, 2, 3], overlap=True)
    assert reply.begun == 4
    assert reply.done == len(reply.order or range(reply.done))
    assert FIRST not in records(reply)
    assert engine.ended


def test_what_goes_on_is_answered_for_with_the_chunk_in_which_it_ends(engine: Engine) -> None:
    (first,) = engine.run(1, [FIRST, 1, 2, 3], overlap=True)
    earlier, own = engine.run(2, [4, LAST], overlap=False)
    assert (earlier.chunk, own.chunk) == (1, 2)
    assert (earlier.done, earlier.begun) == (4, 4)
    # What has been told is not told once more: large values may be among it.
    assert records(earlier).keys() == {FIRST, 1, 2, 3} - records(first).keys()
    assert earlier.first == first.done
    assert earlier.tally.total == 4 - first.done
    assert (own.done, own.begun) == (2, 2)


def test_no_chunk_is_said_to_be_busy_for_longer_than_the_one_that_is_answered(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run(1, [FIRST, 1], overlap=True)
    # However long the engine is held up between the two of them: each reading is far behind the last.
    readings = (float(1 << bit) for bit in itertools.count())
    monkeypatch.setattr("arcli.engine.chunk_results.time.perf_counter", readings.__next__)
    earlier, own = engine.run(2, [4, LAST], overlap=False)
    assert earlier.busy <= own.busy


def test_an_item_that_goes_on_keeps_its_output(engine: Engine) -> None:
    engine.run(1, [FIRST, 1], overlap=True)
    earlier, _ = engine.run(2, [4, LAST], overlap=False)
    assert records(earlier)[FIRST]["stdout"] == f"begin {FIRST}\nend {FIRST}\n"


def test_a_chunk_of_nothing_goes_on_to_the_end_of_all(engine: Engine) -> None:
    engine.run(1, [FIRST, 1], overlap=True)
    engine.ended.append(LAST)
    earlier, own = engine.run(2, [], overlap=False)
    assert (earlier.done, earlier.begun) == (2, 2)
    assert (own.done, own.begun, own.lines) == (0, 0, b"")


def test_without_an_end_there_is_no_news(engine: Engine) -> None:
    engine.run(1, [FIRST, 1], overlap=True)
    (own,) = engine.run(2, [4], overlap=True)
    assert own.chunk == 2


@pytest.mark.parametrize("named", [(2, 0, 2), (2, 1, 2), (1, 3, 2)])
def test_a_recall_has_a_chunk_answered_beside_what_goes_on(
    named: tuple[int, int, int], engine: Engine
) -> None:
    engine.run(1, [FIRST, 1], overlap=True)
    engine.worker._engine.marks[3:6] = named
    (own,) = engine.run(2, [4], overlap=False)
    recalled = named[0] < 2 or named[1] == 0
    assert own.done <= own.begun == (0 if recalled else 1)


def test_on_a_shared_engine_everything_ends_with_its_chunk() -> None:
    engine = Engine(unwanted=lambda: lambda: False)
    engine.ended.append(LAST)
    engine.worker._engine.marks[3:6] = [1, 9, 1]
    (reply,) = engine.run(1, [FIRST, 1, 2], overlap=False)
    engine.worker.leave()
    assert (reply.done, reply.begun) == (3, 3)


def test_who_leaves_ends_what_goes_on() -> None:
    engine = Engine()
    engine.run(1, [FIRST, 1], overlap=True)
    engine.worker.leave()
    assert engine.cancelled == [FIRST]


SET: ContextVar[int] = ContextVar("set", default=-1)


def test_what_an_item_sets_for_its_task_no_other_one_finds() -> None:
    async def see(item: int) -> int:
        found = SET.get()
        SET.set(item)
        await asyncio.sleep(0)
        return found

    worker = Worker({"see": see}, None, watchdog=False)
    worker.handle(encode_request(Define(JobDefinition("j", "map", function="see", concurrency=3))))
    items = list(range(20))
    reply = decode_reply(
        worker.handle(encode_request(RunChunk("j", 1, 1, items, pickled(items), None, {})))
    )
    assert isinstance(reply, ChunkReply)
    assert {record["value"] for record in records(reply).values()} == {-1}
    worker.leave()


def test_the_next_item_begins_before_the_loop_comes_round_again() -> None:
    """A place that is free while the loop does all that is due, once and again, is a place that is lost."""
    rounds = 0
    ended: list[int] = []
    waited: list[int] = []

    def count() -> None:
        nonlocal rounds
        rounds += 1
        if len(ended) < 3:
            asyncio.get_running_loop().call_soon(count)

    async def item(number: int) -> None:
        if number == 0:
            count()
        waited.extend(rounds - end for end in ended[-1:])
        await asyncio.sleep(0)
        ended.append(rounds)

    pool = TaskPool(1)
    pool.run(map(item, range(3)), lambda: False)
    pool.close()
    assert waited == [1, 1]


async def leave() -> None:
    sys.exit(3)


async def exit_in_a_task() -> None:
    await asyncio.create_task(leave())


async def exit_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave())


async def exit_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(0.01)


async def stop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("leave", "raised"),
    [(exit_in_a_task, 1), (exit_in_a_group, 1), (exit_in_a_callback, 0), (stop, 0)],
)
def test_what_leaves_or_stops_the_loop_costs_no_neighbour(leave: Any, raised: int) -> None:
    ends: list[BaseException | None] = []

    async def item(work: Any) -> None:
        try:
            await work()
        except BaseException as error:  # noqa: BLE001 - as Runner.run_beside does
            ends.append(error)
        else:
            ends.append(None)

    pool = TaskPool(3)
    works = [leave, leave, lambda: asyncio.sleep(0.02), lambda: asyncio.sleep(0)]
    pool.run(map(item, works), lambda: False)
    pool.close()
    assert len(ends) == len(works)
    assert [type(end) for end in ends if end is not None] == [SystemExit] * (2 * raised)


def test_an_item_that_cancels_all_tasks_ends_no_chunk() -> None:
    ends: list[int] = []

    async def item(number: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            if number == 1:
                for task in asyncio.all_tasks():
                    task.cancel()
            await asyncio.sleep(0)
        ends.append(number)

    pool = TaskPool(2)
    pool.run(map(item, range(5)), lambda: False)
    pool.close()
    assert sorted(ends) == [*range(5)]


def test_an_item_that_cancels_all_tasks_costs_none_that_has_not_begun() -> None:
    """One is made in the place of the first item, which ends just before the second cancels all tasks."""
    began: list[int] = []

    async def item(number: int) -> None:
        began.append(number)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
            if number == 1:
                for task in asyncio.all_tasks():
                    task.cancel()
                await asyncio.sleep(0)

    pool = TaskPool(2)
    pool.run(map(item, range(6)), lambda: False)
    pool.close()
    assert sorted(began) == [*range(6)]


def test_an_item_that_ends_as_the_next_chunk_comes_gives_its_place_to_the_next_item() -> None:
    """It wakes before the pool has begun the new chunk's first items."""
    most = here = 0
    released = False

    async def first() -> None:
        while not released:
            await asyncio.sleep(0)

    async def second() -> None:
        nonlocal here, most
        here += 1
        most = max(here, most)
        for _ in range(10):
            await asyncio.sleep(0)
        here -= 1

    pool = TaskPool(3)
    try:
        pool.run((first() for _ in range(2)), overlap=lambda: True)
        released = True
        pool.run((second() for _ in range(6)), overlap=lambda: False)
    finally:
        pool.close()
    assert (most, here) == (3, 0)


def test_a_pool_that_is_closed_has_all_its_places_again_whatever_its_items_do() -> None:
    async def item() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            asyncio.get_running_loop().call_soon(sys.exit, 3)
            await asyncio.sleep(0)

    async def interrupt() -> None:
        raise ValueError

    pool, ended = TaskPool(3), []

    async def end() -> None:
        ended.append(1)

    with pytest.raises((ValueError, SystemExit)):
        pool.run(iter([item(), item(), interrupt()]), lambda: False)
    pool.run(iter([end(), end(), end(), end()]), lambda: False)
    pool.close()
    assert len(ended) == 4
