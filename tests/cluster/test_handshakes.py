"""Engines are alive for others only when they can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from runs import PATIENCE

from arcli.cluster.embedded.engine_template import Handshakes


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def test_what_is_sent_to_whoever_has_shaken_hands_arrives(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    """One that nobody answers is not there; one that is there is known by its name at the other end."""
    addresses = [f"ipc://{tmp_path}/{name}" for name in "ab"]
    with context.socket(zmq.ROUTER) as engine:
        engine.setsockopt(zmq.IDENTITY, b"engine")
        handshakes = Handshakes()
        for address in addresses:
            handshakes.expect(engine, address)
            engine.connect(address)
        assert not handshakes.wait(0.05)
        schedulers = [context.socket(zmq.ROUTER) for _ in addresses]
        for scheduler, address in zip(schedulers, addresses, strict=True):
            scheduler.setsockopt(zmq.ROUTER_MANDATORY, 1)
            scheduler.bind(address)
    with context.socket(zmq.ROUTER) as engine:
        engine.setsockopt(zmq.IDENTITY, b"another")
        for address in addresses:
            handshakes.expect(engine, address)
            engine.connect(address)
        assert handshakes.wait(PATIENCE)
        for scheduler in schedulers:
            scheduler.send_multipart([b"another", b"first words"])  # raises where it is not known
            assert engine.poll(int(PATIENCE * 1000))
            assert engine.recv_multipart()[-1] == b"first words"
            scheduler.close(linger=0)
