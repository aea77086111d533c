"""The wire between client and engine: what is sent is what comes, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.encode import ArrayFile
from arcli.engine.protocol import (
    Again,
    ChunkReply,
    Define,
    Done,
    Failure,
    Fold,
    FoldReply,
    HelloReply,
    JobDefinition,
    PickledValue,
    Reply,
    Request,
    RunChunk,
    ValueReply,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from arcli.engine.tally import Tally

REQUESTS: list[Request] = [
    Define(JobDefinition("fit", "command", argv=[["echo"], [("", "{}", None)]], env={"A": ["1"]})),
    RunChunk("fit", 3, 1, range(4, 6), b"inputs", None, {1: b"opaque"}),
    Fold("operator:add", "/spec", None, [(0, "1", None), (1, None, b"pickle")]),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    arrived = decode_request(encode_request(request_))
    assert arrived == request_
    assert type(arrived) is type(request_)


def make_reply(lines: bytes = b"one\ntwo\n", pickles: bytes = b"\n\x00") -> ChunkReply:
    tally = Tally()
    tally.add_all(["ok", "error"], [0.5, 0.25])
    return ChunkReply(
        chunk=7,
        attempt=2,
        done=3,
        begun=4,
        positions=[(0, 2)],
        again=[Again(2, "ValueError: no\n\ud800", "error", 1.0, 2.5)],
        values=[
            PickledValue(1, True, len(pickles), ArrayFile("\x93NUMPY", 2, 3)),
            PickledValue(2, False, 0),
        ],
        tally=tally,
        busy=0.75,
        order=[1, 0],
        lines=lines,
        pickles=pickles,
    )


@given(lines=st.binary(), pickles=st.binary())
def test_a_chunks_reply_arrives_as_it_was_sent(lines: bytes, pickles: bytes) -> None:
    reply = make_reply(lines, pickles)
    arrived = decode_reply(encode_reply(reply))
    assert isinstance(arrived, ChunkReply)
    assert arrived.tally.to_list() == reply.tally.to_list()
    assert arrived._replace(tally=reply.tally) == reply
    assert isinstance(arrived.again[0], Again)
    assert isinstance(arrived.values[0], PickledValue)


@pytest.mark.parametrize(
    "reply",
    [
        Done(),
        Failure("run", "ValueError: no", "ValueError", "no", "…", item=4),
        HelloReply("host", position_file=False),
        FoldReply(empty=True, accumulated=b""),
        ValueReply(exact=True, many=False, text=b"[1]\n", pickled=b"\x80"),
    ],
    ids=lambda reply: type(reply).__name__,
)
def test_every_other_reply_does_so_too(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@given(cut=st.integers(0, len(encode_reply(make_reply())) - 1))
def test_a_part_of_a_reply_is_none(cut: int) -> None:
    with pytest.raises(ValueError, match="not a reply"):
        decode_reply(encode_reply(make_reply())[:cut])


@given(noise=st.binary())
def test_noise_is_no_reply(noise: bytes) -> None:
    with pytest.raises(ValueError, match="not a reply"):
        decode_reply(noise)
