"""Records of a chunk, handed out while it runs."""

from __future__ import annotations

import pickle
import threading

from arcli.engine.chunk import PUBLISH_EVERY
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
