"""Records of a chunk, handed out while it runs."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from arcli.engine.chunk import _Course
from arcli.engine.live import PUBLISH_EVERY
from arcli.engine.position_file import NOWHERE
from arcli.engine.protocol import (
    ChunkReply,
    Define,
    Hello,
    JobDefinition,
    RunChunk,
    decode_reply,
    encode_request,
)
from arcli.engine.worker import Worker


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
            course = _Course(request, [None] * 4, {}, marks, None, None)
            assert [next(iter(course))[0], next(iter(course))[0]] == [0, 1]
            marks.steps, marks.recalled, marks.looked = 0, recalled, looked
            begun = [position for position, *_ in course]
            assert not (marks.taken_back and begun), (recalled, looked)
            ends.add((marks.taken_back, len(begun)))
    assert ends >= {(True, 0), (False, 2)}
