"""The contract of a session, over every transport: each planned index exactly once, whatever happens.

The fake cluster, on which the session's timers and decisions are tested, is held to it as the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from unittest.mock import patch

import pytest
from fake_session import chunk_reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import PATIENCE
from sessions import OpenSession, opened

from arcli.engine.live import PUBLISH_EVERY
from arcli.engine.protocol import ChunkReply, Define, JobDefinition, RunChunk, decode_reply, encode_request
from arcli.engine.worker import Worker
from arcli.record import decode
from arcli.session.core.chunk import pickled
from arcli.session.core.dispatch import MIN_KILLS
from arcli.session.core.messages import Stop
from arcli.session.transport.inline import InlineTransport
from arcli.timing.ledger import End

CLUSTER = pytest.param("cluster", marks=pytest.mark.cluster)


@pytest.fixture(scope="module", params=["inline", "fake", CLUSTER])
def over(request: pytest.FixtureRequest) -> Iterator[OpenSession]:
    with opened(request.param) as session:
        yield session


fails = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 9]), max_size=60)
chunksizes = st.sampled_from(["auto", 1, 2, 3, 7, 50])
generously = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@generously
@given(
    fails=fails,
    chunksize=chunksizes,
    ordered=st.booleans(),
    retries=st.integers(0, 2),
    retry_delay=st.sampled_from([0.0, 0.001]),
    view=st.sampled_from(["load_balanced", "direct"]),
)
def test_each_planned_index_comes_exactly_once(
    over: OpenSession, fails: list[int], ordered: bool, retries: int, **job: Any
) -> None:
    records, ledger = over.run(fails, ordered=ordered, retries=retries, **job)
    over.check(records, ledger, total=len(fails), ordered=ordered)
    called = over.tries(ledger.job)
    for record in records:
        times = fails[record.index]
        assert record.input == {"id": record.index, "fails": times}
        assert record.attempt == called[record.index] == min(times, retries) + 1
        if times <= retries:
            assert (record.status, record.value) == ("ok", [record.index, times + 1])
        else:
            assert (record.status, record.value) == ("error", None)
            assert record.error is not None
            assert record.error.message == f"try {retries + 1} of item {record.index}"
    assert (ledger.ended, ledger.planned, ledger.unread) == ("done", len(fails), 0)


@generously
@given(
    fails=fails,
    chunksize=chunksizes,
    ordered=st.booleans(),
    retries=st.integers(0, 1),
    max_failures=st.integers(1, 4),
)
def test_a_halt_leaves_no_planned_index_without_its_record(
    over: OpenSession, fails: list[int], ordered: bool, retries: int, **job: Any
) -> None:
    records, ledger = over.run(fails, ordered=ordered, retries=retries, halt="soon", **job)
    failed = over.check(records, ledger, total=len(fails), ordered=ordered)["error"]
    if ledger.ended == "done":
        assert ledger.planned == len(fails)
    else:
        assert ledger.ended == "halt"
        assert failed >= job["max_failures"]
    for record in records:
        if record.status != "cancelled":
            assert (record.status == "ok") == (fails[record.index] <= retries)
        else:
            assert ledger.ended == "halt"


@pytest.mark.parametrize("ordered", [True, False])
def test_records_of_a_chunk_that_goes_on_come_early_and_once(over: OpenSession, ordered: bool) -> None:
    # The last item waits for the first records where the one who takes them runs beside it.
    last = 11 if over.kind == "cluster" else None
    early = over.folder / f"early-{ordered}"
    (over.folder / "slowly.py").write_text(f"""
import os, time
def run(item):
    time.sleep({PUBLISH_EVERY} / 4)
    end = time.monotonic() + {PATIENCE}
    while item == {last} and not os.path.exists("{early}") and time.monotonic() < end:
        time.sleep(0.01)
    return item
""")
    over.listener.then = early.touch
    items = {"over": [*range(12)], "kwargs": {}, "chunksize": 12}
    got, _ = over.consume([], map="slowly.py:run", ordered=ordered, **items)
    assert [(record.index, record.value) for record in got.records] == [(i, i) for i in range(12)]
    if over.slots > 1:  # in this process everything is at once
        assert got.batches > 1


def test_equal_items_are_told_apart_and_an_item_that_differs_in_type_is_another(
    over: OpenSession,
) -> None:
    records, _ = over.run([], map="repr", over=[1, 1, 1.0, True, "1", 1], kwargs={})
    assert [record.value for record in records] == ["1", "1", "1.0", "True", "'1'", "1"]
    first, second, *others, third = (record.key for record in records)
    assert (second, third) == (f"{first}-1", f"{first}-2")
    assert len({first, *others}) == 4


def test_records_say_who_ran_them(over: OpenSession) -> None:
    records, ledger = over.run([0] * 40, chunksize=1)
    assert {record.slot for record in records} <= set(range(over.slots))
    assert set(ledger.engines) >= {record.engine_id for record in records}
    assert sum(use.items for use in ledger.engines.values()) == 40
    assert len({record.msg_id for record in records}) == 40


def test_items_that_are_cancelled_end_so_and_no_others(over: OpenSession) -> None:
    over.listener.then = lambda: over.session.cancel_items(range(30, 35), "not these")
    records, ledger = over.run([0] * 60, chunksize=1)
    assert over.check(records, ledger, total=60) == {"ok": 55, "cancelled": 5}
    assert {record.index for record in records if record.status == "cancelled"} == {*range(30, 35)}
    assert {*over.tries(ledger.job)} == {*range(60)} - {*range(30, 35)}
    assert ledger.ended == "done"


@pytest.mark.parametrize("grace", [None, 0.0, 5.0])
def test_after_a_stop_nothing_begins_and_the_next_job_is_run_as_ever(
    over: OpenSession, grace: float | None
) -> None:
    stop = Stop(reason="enough", ended=End.HALT, grace=grace)
    over.listener.then = lambda: over.session.stop(stop)
    records, ledger = over.run([0] * 60, chunksize=1)
    counts = over.check(records, ledger, total=60)
    assert counts["ok"] > 0
    assert (ledger.ended, counts["ok"] + counts["cancelled"]) == ("halt", ledger.planned)
    ended = {record.index for record in records if record.status == "ok"}
    called = {*over.tries(ledger.job)}
    assert called == ended if grace is None else called >= ended
    assert len(called) < 40, "what was under way, and no more"
    records, ledger = over.run([0] * 3)
    assert over.check(records, ledger, total=3) == {"ok": 3}


def test_what_hangs_when_all_is_stopped_is_cancelled(over: OpenSession) -> None:
    stop = Stop(reason="enough", ended=End.HALT, grace=0.5)
    over.witness.sending = lambda: over.session.stop(stop)
    hanging = [{"id": number, "fails": 0, "does": "hang"} for number in range(4)]
    try:
        records, ledger = over.run([], over=hanging, chunksize=1, ordered=False)
    finally:
        over.witness.sending = lambda: None
    counts = over.check(records, ledger, total=4, ordered=False)
    assert (ledger.ended, [*counts]) == ("halt", ["cancelled"])
    records, ledger = over.run([0] * 3)
    assert over.check(records, ledger, total=3) == {"ok": 3}


@pytest.mark.parametrize("over", ["fake", CLUSTER], indirect=True)
@pytest.mark.parametrize("chunksize", [1, 4, 12])
def test_an_item_that_kills_its_engines_is_lost_and_costs_no_other(
    over: OpenSession, chunksize: int
) -> None:
    items = [{"id": number, "fails": 0, "does": "die" if number == 5 else ""} for number in range(12)]
    records, ledger = over.run([], over=items, chunksize=chunksize)
    assert over.check(records, ledger, total=12) == {"ok": 11, "lost": 1}
    called = over.tries(ledger.job)
    assert (records[5].status, called[5], ledger.restarts) == ("lost", MIN_KILLS, MIN_KILLS)
    assert all(
        record.value == [record.index, called[record.index]] for record in records if record.index != 5
    )


def test_a_request_that_raises_in_arclis_own_process_is_answered_as_by_an_engine() -> None:
    events: SimpleQueue[Any] = SimpleQueue()
    transport = InlineTransport()
    transport.open(events)
    events.get_nowait()
    for error in (SystemExit(0), ValueError("no request")):
        with patch.object(Worker, "handle", side_effect=error):
            msg_id = transport.send(0, b"")
            transport.run_pending()
        reply = events.get_nowait()
        assert (reply.msg_id, reply.error) == (msg_id, f"{type(error).__name__}: {error}")
    transport.send(0, b"")
    with patch.object(Worker, "handle", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        transport.run_pending()


@pytest.fixture(scope="module")
def published() -> list[bytes]:
    return []


@pytest.fixture(scope="module")
def worker(published: list[bytes]) -> Iterator[Worker]:
    worker = Worker({}, published.append, watchdog=False, passing=(KeyboardInterrupt,))
    yield worker
    worker.leave()


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 8), failed=st.integers(0, 8), attempt=st.integers(1, 2))
def test_a_fake_engine_answers_as_a_real_one(
    worker: Worker, published: list[bytes], size: int, failed: int, attempt: int
) -> None:
    published.clear()
    function = f"lambda item: 1 / 0 if item < {failed} else item"
    worker.handle(encode_request(Define(JobDefinition("j", "map", function=function, retries=1))))
    inputs = pickled([*range(size)])
    request = RunChunk("j", 7, attempt, range(3, 3 + size), inputs, occurrences=None, opaque={})
    with patch.object(worker._engine, "publish_pause", 0):
        whole = decode_reply(worker.handle(encode_request(request)))
    how: dict[str, Any] = {"again": failed} if attempt == 1 else {"failed": failed}
    assert compared(whole) == compared(chunk_reply(request, **how))
    for reply in parts(published):
        assert compared(reply) == compared(chunk_reply(request, done=reply.done, first=reply.first, **how))


def test_a_fake_engine_answers_as_a_real_one_whose_items_run_side_by_side() -> None:
    ended: list[int] = []

    async def last_first(item: int) -> int:
        while len(ended) < 3 - item:
            await asyncio.sleep(0)
        ended.append(item)
        return item

    published: list[bytes] = []
    worker = Worker({"last_first": last_first}, published.append, watchdog=False)
    job = JobDefinition("j", "map", function="last_first", concurrency=4)
    worker.handle(encode_request(Define(job)))
    inputs = pickled([*range(4)])
    request = RunChunk("j", 7, 1, range(3, 7), inputs, occurrences=None, opaque={})
    with patch.object(worker._engine, "publish_pause", 0):
        whole = decode_reply(worker.handle(encode_request(request)))
    worker.leave()
    order = [3, 2, 1, 0]
    assert compared(whole) == compared(chunk_reply(request, order=order))
    assert parts(published)
    for reply in parts(published):
        at = {"done": reply.done, "first": reply.first, "begun": 4}
        assert compared(reply) == compared(chunk_reply(request, **at, order=order))


def parts(published: list[bytes]) -> list[ChunkReply]:
    """What was handed out while a chunk went on; which items a part has depends on when somebody looked."""
    return [reply for reply in map(decode_reply, published) if isinstance(reply, ChunkReply)]


def compared(reply: Any) -> dict[str, Any]:
    """What must be the same in two replies: all but seconds and what is in a record beside its end."""
    assert isinstance(reply, ChunkReply)
    fields = reply._asdict()
    records = [decode(b"{" + line + b"}") for line in fields.pop("lines").splitlines()]
    again = [(each.position, each.status) for each in fields.pop("again")]
    counts = fields.pop("tally").counts
    del fields["busy"]
    ends = [
        (record["index"], record["status"], record["reason"] is None, record["attempt"])
        for record in records
    ]
    return {**fields, "ends": ends, "again": again, "counts": counts}
