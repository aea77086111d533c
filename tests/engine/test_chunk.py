"""Records of a chunk, handed out while it runs."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from arcli.engine.chunk import _Course
from arcli.engine.live import PUBLISH_EVERY
from arcli.engine.position_file import NOWHERE
from arcli.engine.protocol import (
    ChunkReply,
    Define,
    Done,
    Hello,
    JobDefinition,
    RunChunk,
    Setup,
    decode_reply,
    encode_request,
)
from arcli.engine.worker import Worker
from arcli.placeholders import compiled
from arcli.plan.job import with_templates


@pytest.mark.parametrize(
    ("engines", "seconds"), [(1, 0.25), (25, 0.25), (64, 0.64), (256, 2.56), (10_000, 5.0)]
)
def test_the_more_engines_there_are_the_rarer_each_hands_out_records(engines: int, seconds: float) -> None:
    """Each message costs the client and the controller, who are the same for all of them."""
    worker = Worker({}, None, watchdog=False)
    worker.handle(encode_request(Hello(0, None, engines)))
    worker.leave()
    assert worker._engine.publish_pause == pytest.approx(seconds * 1e9)


def test_what_is_handed_out_does_not_overtake_what_was_handed_out_before() -> None:
    """Items and the patrol hand out, each on a thread of its own, and publishing may take long."""
    parts: list[ChunkReply] = []
    another = threading.Event()
    began = threading.Lock()

    def publish(envelope: bytes) -> None:
        if began.acquire(blocking=False):
            another.wait(4 * PUBLISH_EVERY)  # long enough for the next part to be due, and to come first
        part = decode_reply(envelope)
        assert isinstance(part, ChunkReply)
        parts.append(part)
        another.set()

    worker = Worker({}, publish, watchdog=False)
    worker.handle(encode_request(Hello(0, None)))
    slowly = f"lambda item: __import__('time').sleep({PUBLISH_EVERY} * item)"
    worker.handle(encode_request(Define(JobDefinition("job", "map", function=slowly, capture="none"))))
    # The second item is long: meanwhile the patrol hands out the first. Those behind it are due later.
    items = [0.01, 3, 0.01, 2, 0.01]
    chunk = RunChunk("job", 1, 1, range(5), pickle.dumps(items), None, {})
    reply = decode_reply(worker.handle(encode_request(chunk)))
    worker.leave()
    assert isinstance(reply, ChunkReply)
    assert reply.positions == [(0, 5)]
    assert len(parts) > 1
    spans = [span for part in parts for span in part.positions]
    positions = [p for first, count in spans for p in range(first, first + count)]
    assert positions == [*range(len(positions))]


ODD = """
def call(item):
    if item % 5 == 1: raise ValueError(item)
    if item % 5 == 2: print("item", item)
    return [item, str(item), None, {"a": {item}}, "é", "x" * 5000, 10**30, float("nan"), True][item % 9]
"""


def chunk_of(timeout: float | None, attempt: int, pause: int | None) -> tuple[list[ChunkReply], ChunkReply]:
    """What is handed out of a chunk of items of every kind, and its reply."""
    parts: list[ChunkReply] = []

    def publish(envelope: bytes) -> None:
        part = decode_reply(envelope)
        assert isinstance(part, ChunkReply)
        parts.append(part)

    worker = Worker({}, publish, watchdog=False)
    worker.handle(encode_request(Hello(0, None)))
    worker.handle(encode_request(Setup([], [], {}, ODD, {})))
    job = JobDefinition("job", "map", function="call", timeout=timeout, retries=1, keep_opaque=True)
    worker.handle(encode_request(Define(job)))
    if pause is not None:
        worker._engine.publish_pause = pause
    chunk = RunChunk("job", 1, attempt, range(7, 607), pickle.dumps([*range(600)]), None, {})
    reply = decode_reply(worker.handle(encode_request(chunk)))
    worker.leave()
    assert isinstance(reply, ChunkReply)
    return parts, reply


def without_times(reply: ChunkReply) -> Any:
    """What does not depend on when it ran."""
    lines = [json.loads(b"{%b}" % line) for line in reply.lines.splitlines()]
    for line in lines:
        assert line.pop("started") <= line.pop("completed")
        del line["seconds"]
    again = [(entry.position, entry.reason, entry.status) for entry in reply.again]
    return lines, reply.positions, again, reply.values, reply.pickles, reply.done, reply.tally.counts


@pytest.mark.parametrize("attempt", [1, 2])
def test_short_items_are_recorded_as_those_with_a_limit(attempt: int) -> None:
    """Those that have none are written down many together, in between those that need more."""
    _, short = chunk_of(None, attempt, None)
    _, limited = chunk_of(600, attempt, None)
    assert without_times(short) == without_times(limited)
    assert [line["index"] for line in without_times(short)[0]] == sorted(
        set(range(7, 607)) - {7 + entry.position for entry in short.again}
    )


def test_what_is_handed_out_of_short_items_adds_up_to_the_reply() -> None:
    parts, reply = chunk_of(None, 2, 0)
    assert len(parts) > 1
    assert reply.lines.startswith(b"".join(part.lines for part in parts))
    assert [part.done for part in parts] == sorted({part.done for part in parts})


YIELDING = """
async def stream(n):
    for number in range(n):
        yield number
async def made(n):
    return (number for number in range(n))
async def streamed(n):
    return stream(n)
async def awaited(n):
    return made(n)
"""


@pytest.mark.parametrize("function", ["stream", "made", "streamed", "awaited"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_async_code_yields_is_a_list_also_side_by_side(function: str, concurrency: int) -> None:
    worker = Worker({}, None, watchdog=False)
    worker.handle(encode_request(Hello(0, None)))
    worker.handle(encode_request(Setup([], [], {}, YIELDING, {})))
    job = JobDefinition("job", "map", function=function, concurrency=concurrency)
    assert decode_reply(worker.handle(encode_request(Define(job)))) == Done()
    chunk = RunChunk("job", 1, 1, range(3), pickle.dumps([0, 1, 2]), None, {})
    reply = decode_reply(worker.handle(encode_request(chunk)))
    worker.leave()
    assert isinstance(reply, ChunkReply)
    lines = [json.loads(b"{%b}" % line) for line in reply.lines.splitlines()]
    assert {line["index"]: line["value"] for line in lines} == {0: [], 1: [0], 2: [0, 1]}


class Written:
    """Something that counts how often it is written as text."""

    times: ClassVar[list[str]] = []

    def __str__(self) -> str:
        self.times.append("now")
        return "written"


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    ("late", "most"),
    [(("value", "one", [(None, None, pickle.dumps(Written()))]), 1), (("ref", "written"), 2)],
)
def test_what_a_command_has_of_others_is_written_once(concurrency: int, late: Any, most: int) -> None:
    """An earlier job's value for all chunks, a reference, which may become another, for each chunk."""
    Written.times.clear()
    worker = Worker({"written": Written()}, None, watchdog=False)
    worker.handle(encode_request(Hello(0, None)))
    templates = with_templates({"command": ["echo", "{arcli.0}", "{}"]})
    kwargs = {"arcli.0": late}
    job = JobDefinition(
        "job", "command", kwargs=kwargs, concurrency=concurrency, parse="lines", **templates
    )
    worker.handle(encode_request(Define(job)))
    for number in (1, 2):
        chunk = RunChunk("job", number, 1, range(6), pickle.dumps([*range(6)]), None, {})
        reply = decode_reply(worker.handle(encode_request(chunk)))
        assert isinstance(reply, ChunkReply)
        lines = [json.loads(b"{%b}" % line) for line in reply.lines.splitlines()]
        assert sorted(line["value"] for line in lines) == [[f"written {item}"] for item in range(6)]
    worker.leave()
    assert len(Written.times) == most


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_record_has_no_output_of_the_item_before_it(concurrency: int, tmp_path: Path) -> None:
    """Nothing runs for an item whose folder is somebody else's, nor for one that did not arrive."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "theirs").touch()
    worker = Worker({}, None, watchdog=False)
    templates = with_templates({"command": ["echo", "{}"]})
    outdir = compiled(f"{tmp_path}/{{}}")
    job = JobDefinition("job", "command", concurrency=concurrency, outdir=outdir, **templates)
    worker.handle(encode_request(Define(job)))
    items, unsent = [0, 2, 1, 3], {3: ("3", "it could not be read")}
    chunk = RunChunk("job", 1, 1, items, pickle.dumps([0, 2, 1, None]), None, {}, unsent)
    reply = decode_reply(worker.handle(encode_request(chunk)))
    worker.leave()
    assert isinstance(reply, ChunkReply)
    lines = [json.loads(b"{%b}" % line) for line in reply.lines.splitlines()]
    assert {line["index"]: line["stdout"] for line in lines} == {0: "0\n", 2: "2\n", 1: "", 3: ""}
    assert {line["index"] for line in lines if line.get("usage")} == {0, 2}


class Shared(list[int]):
    """Marks that a client, held up as long as it may be, touches between any two steps of the engine.

    Before the step ``recalled`` it recalls what is behind the item at position 1, and before the step
    ``looked`` it looks whether the engine is still at that item.
    """

    def __init__(self, recalled: int, looked: int) -> None:
        super().__init__(NOWHERE)
        self.recalled, self.looked, self.steps = recalled, looked, 0
        self.taken_back = False

    def step(self) -> None:
        if self.steps == self.recalled:
            super().__setitem__(slice(3, 6), [7, 2, 7])
        if self.steps == self.looked:
            self.taken_back = super().__getitem__(1) == 1
        self.steps += 1

    def __getitem__(self, place: Any) -> Any:
        self.step()
        return super().__getitem__(place)

    def __setitem__(self, place: Any, value: Any) -> None:
        self.step()
        super().__setitem__(place, value)


def test_what_was_taken_back_is_never_begun_however_long_anybody_is_held_up() -> None:
    request = RunChunk("job", 7, 1, range(4), b"", None, {})
    ends = set()
    for recalled in range(12):
        for looked in range(recalled, 12):
            marks = Shared(10_000, 10_000)
            course = _Course(request, [None] * 4, {}, None, marks, None, None)
            assert [next(iter(course)), next(iter(course))] == [0, 1]
            marks.steps, marks.recalled, marks.looked = 0, recalled, looked
            begun = list(course)
            assert not (marks.taken_back and begun), (recalled, looked)
            ends.add((marks.taken_back, len(begun)))
    assert ends >= {(True, 0), (False, 2)}
