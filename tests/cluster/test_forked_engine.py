"""What an engine of an embedded cluster talks with: one that can be reached, and what it publishes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from runs import PATIENCE

from arcli.cluster.embedded.forked_engine import Handshake, Publisher

Context = zmq.Context[zmq.Socket[bytes]]
WAIT_MS = int(PATIENCE * 1000)


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


def test_an_engine_that_nobody_answers_is_not_there(context: Context, tmp_path: Path) -> None:
    with context.socket(zmq.ROUTER) as engine:
        handshake = Handshake(engine)
        engine.connect(f"ipc://{tmp_path}/scheduler")
        with pytest.raises(TimeoutError, match="has not shaken hands"):
            handshake.wait(0.05)


def test_what_is_sent_to_whoever_has_shaken_hands_arrives(context: Context, tmp_path: Path) -> None:
    """The scheduler knows an engine by its name when it has what is sent to it from then on."""
    schedulers: Context = zmq.Context()
    with schedulers.socket(zmq.DEALER) as clients, schedulers.socket(zmq.ROUTER) as engines:
        clients.bind(f"ipc://{tmp_path}/clients")
        engines.setsockopt(zmq.ROUTER_MANDATORY, 1)
        engines.bind(f"ipc://{tmp_path}/engines")
        with context.socket(zmq.DEALER) as client, context.socket(zmq.ROUTER) as engine:
            client.connect(f"ipc://{tmp_path}/clients")
            client.send(b"hello")
            assert clients.recv() == b"hello"
            engine.setsockopt(zmq.IDENTITY, b"engine")
            handshake = Handshake(engine)
            engine.connect(f"ipc://{tmp_path}/engines")
            handshake.wait(PATIENCE)
            client.send(b"first words")
            assert clients.poll(WAIT_MS)
            assert engines.poll(0) == 0  # a scheduler looks at both, one after the other
            engines.send_multipart([b"engine", clients.recv()])  # raises where it is not known
            assert engine.poll(WAIT_MS)
            assert engine.recv_multipart()[-1] == b"first words"
    schedulers.term()


def test_all_that_is_published_arrives_whole_from_any_thread(context: Context, tmp_path: Path) -> None:
    """The first message, too: a socket that nobody has subscribed to yet drops what it is to send."""
    address = f"ipc://{tmp_path}/listener"
    publisher = Publisher()
    publisher.connect(context, address)
    with context.socket(zmq.SUB) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        listener.bind(address)

        def publish(name: bytes) -> None:
            for number in range(100):
                publisher.send_multipart([name, memoryview(b"%d" % number)], copy=False)

        threads = [threading.Thread(target=publish, args=(name,)) for name in (b"one", b"other")]
        for thread in threads:
            thread.start()
        messages: list[list[bytes]] = []
        while len(messages) < 200 and listener.poll(WAIT_MS):
            messages.append(listener.recv_multipart())
        for thread in threads:
            thread.join()
        publisher.close()
    for name in (b"one", b"other"):
        assert [text for who, text in messages if who == name] == [b"%d" % number for number in range(100)]


def test_who_publishes_nothing_has_no_thread_for_it(context: Context, tmp_path: Path) -> None:
    before = threading.active_count()
    publisher = Publisher()
    publisher.connect(context, f"ipc://{tmp_path}/listener")
    assert threading.active_count() == before
    publisher.close()


def test_an_engine_that_can_publish_nothing_can_still_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer with the error is published, too, and would end the engine if it raised again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    publisher = Publisher()
    with pytest.raises(RuntimeError, match="ulimit -v"):
        publisher.send_multipart([b"first"])
    publisher.send_multipart([b"second"])
    publisher.close()
