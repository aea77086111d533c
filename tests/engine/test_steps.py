"""Several requests in one message."""

from __future__ import annotations

from arcli.engine.protocol import (
    Assign,
    Failure,
    Hello,
    HelloReply,
    Look,
    Setup,
    Steps,
    ValueReply,
    decode_reply,
    encode_request,
)
from arcli.engine.worker import Worker


def test_steps_are_done_in_their_order_and_none_behind_one_that_fails() -> None:
    worker = Worker({}, watchdog=False)

    def run(text: str) -> Setup:
        return Setup([], [], {}, text, {})

    def do(*steps: Hello | Setup | Assign) -> object:
        return decode_reply(worker.handle(encode_request(Steps([*map(encode_request, steps)]))))

    assert isinstance(do(Hello(3, None), run("seen = [1]"), run("seen.append(2)")), HelloReply)
    failed = do(run("seen.append(3)"), run("1 / 0"), run("seen.append(4)"))
    assert isinstance(failed, Failure)
    assert failed.type.endswith("ZeroDivisionError")
    seen = decode_reply(worker.handle(encode_request(Look("seen"))))
    assert isinstance(seen, ValueReply)
    assert seen.text == b"[1,2,3]"
    worker.leave()
