"""Nothing that an engine, or whoever poses as one, sends to arcli's process is ever unpickled."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import zmq
from ipyparallel.error import EngineError
from jupyter_client.session import Session
from runs import PATIENCE, each_once, finish, statuses, wait_until

from arcli.cluster.client import RawClient, ask_identities

CHANNELS = ["registration", "control", "mux", "task", "broadcast", "notification", "iopub"]
UUID = "f3b1f7a2-engine"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


class FakeController:
    """A controller with one engine that does not exist; ``answer`` is what it would say."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(key=b"key")
        self.context = zmq.Context()
        self.sockets = {
            name: self.context.socket(zmq.PUB if name in {"notification", "iopub"} else zmq.ROUTER)
            for name in CHANNELS
        }
        for number, socket in enumerate(self.sockets.values()):
            socket.linger, socket.rcvtimeo = 0, int(1000 * PATIENCE)
            socket.bind(f"ipc://{folder}/s:{number}")
        self.info = {
            "interface": f"ipc://{folder}/s",
            "location": "here",
            "ssh": "",
            "key": "key",
            "signature_scheme": "hmac-sha256",
            "pack": "json",
            "unpack": "json",
            "task_scheme": "none",
            **{name: number for number, name in enumerate(CHANNELS)},
        }

    def welcome(self) -> None:
        """Answer a client's connection request."""
        identities, message = self.receive("registration")
        content = {"status": "ok", "engines": {"0": UUID}}
        self.session.send(
            self.sockets["registration"], "connection_reply", content, message, ident=identities
        )

    def receive(self, name: str) -> tuple[Any, Any]:
        """The next message on a channel."""
        identities, frames = self.session.feed_identities(self.sockets[name].recv_multipart())
        return identities, self.session.deserialize(frames)

    def close(self) -> None:
        """Hang up."""
        self.context.destroy(linger=0)


@contextmanager
def connected() -> Iterator[tuple[FakeController, RawClient]]:
    """A controller and its client, on paths that are short enough for sockets."""
    from arcli.cluster.embedded import private_folder

    folder = private_folder.create()
    try:
        with closing(FakeController(folder)) as controller:
            thread = threading.Thread(target=controller.welcome)
            thread.start()
            client = RawClient(controller.info, timeout=PATIENCE)
            thread.join()
            try:
                yield controller, client
            finally:
                client.close(linger=0)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def reply_to(controller: FakeController, kind: str, content: dict[str, Any], **more: Any) -> str:
    """Answer the client's next request; returns its id."""
    identities, request = controller.receive("mux")
    controller.session.send(controller.sockets["mux"], kind, content, request, ident=identities, **more)
    return str(request["header"]["msg_id"])


def test_a_reply_is_bytes(tmp_path: Path) -> None:
    hostile = pickle.dumps(Bomb(tmp_path / "exploded"))
    with connected() as (controller, client):
        result = client[0].apply_async(eval, "1")
        msg_id = reply_to(controller, "apply_reply", {"status": "ok"}, buffers=[hostile, b"rest"])
        assert result.get(PATIENCE) == [msg_id]
        assert client.take(msg_id) == hostile + b"rest"
        with pytest.raises(KeyError):
            client.take(msg_id)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"status": "error"},
        {"status": "error", "ename": 1, "evalue": None, "traceback": 5},
        {"status": "error", "ename": "E", "evalue": "v", "traceback": [1], "engine_info": 7},
        {"status": ["ok"]},
        {"status": "resubmitted"},
    ],
)
def test_a_malformed_reply_is_an_error_of_its_request(content: dict[str, Any]) -> None:
    with connected() as (controller, client):
        result = client[0].apply_async(eval, "1")
        reply_to(controller, "apply_reply", content, metadata={"engine": ["odd"]})
        assert isinstance(result.get(PATIENCE, return_exceptions=True), Exception)


def forgotten(client: RawClient, request: Any) -> bool:
    """Whether a client holds nothing of a request."""
    ours = (client._replies, client._published)
    ipyparallels = (client.metadata, client.results, client._futures, client._output_futures)
    (msg_id,) = request.msg_ids
    return not any(msg_id in held for held in (*ours, *ipyparallels, client.outstanding))


@pytest.mark.parametrize(
    "content",
    [{"status": "ok"}, {"status": "error", "ename": "E", "evalue": "v"}, {"status": "aborted"}, {}],
)
def test_nothing_is_kept_of_a_request_that_has_its_reply(content: dict[str, Any]) -> None:
    """A run of many chunks would grow by seven kilobytes with each."""
    with connected() as (controller, client):
        waiting = client[0].apply_async(eval, "1")
        msg_id = reply_to(controller, "apply_reply", content, buffers=[b"value"])
        waiting.get(PATIENCE, return_exceptions=True)
        if content.get("status") == "ok":
            assert client.take(msg_id) == b"value"
        wait_until(lambda: forgotten(client, waiting))


def test_nothing_is_kept_of_a_request_whose_engine_has_died() -> None:
    with connected() as (controller, client):
        waiting = client[0].apply_async(eval, "1")

        def hears_of_it() -> bool:
            # A subscription takes a moment.
            content = {"id": 0, "uuid": UUID}
            controller.session.send(
                controller.sockets["notification"], "unregistration_notification", content
            )
            return bool(waiting.ready())

        wait_until(hears_of_it)
        assert waiting.get(PATIENCE, return_exceptions=True).ename == "EngineError"
        wait_until(lambda: forgotten(client, waiting))


def test_published_data_is_bytes_and_kept_for_requests_that_wait(tmp_path: Path) -> None:
    hostile = pickle.dumps(Bomb(tmp_path / "exploded"))
    with connected() as (controller, client):
        result = client[0].apply_async(eval, "1")
        identities, request = controller.receive("mux")
        msg_id = request["header"]["msg_id"]
        publisher = controller.sockets["iopub"]

        def publish(kind: str, content: dict[str, Any], parent: Any, buffers: list[Any]) -> None:
            controller.session.send(publisher, kind, content, parent, ident=b"t", buffers=buffers)

        other = {**request["header"], "msg_id": "unheard-of"}
        published: set[tuple[str, bytes]] = set()

        def arrived(text: bytes) -> bool:
            # A subscription takes a moment; what was published before it is nobody's.
            publish("data_message", {"keys": ["mine"]}, request, [text])
            published.update(client.take_published("mine"))
            return (msg_id, text) in published

        wait_until(lambda: arrived(b"early"))
        assert published == {(msg_id, b"early")}
        for kind in ("data_message", "stream", "display_data", "execute_result", "error", "comm_open", "x"):
            for content in ({}, {"keys": ["other"]}, {"keys": "mine"}, {"keys": [1]}, {"name": "stdout"}):
                publish(kind, content, request, [hostile])
                publish(kind, content, {"header": other}, [hostile])
        wait_until(lambda: arrived(b"late"))  # all others came before
        assert client.take_published("other") == []
        assert "unheard-of" not in client._published
        assert "unheard-of" not in client.metadata
        controller.session.send(
            controller.sockets["mux"], "apply_reply", {"status": "ok"}, request, ident=identities
        )
        result.get(PATIENCE)
        client.take(msg_id)
        assert client._published == {}
    assert not (tmp_path / "exploded").exists()


def test_replies_that_nobody_waits_for_are_dropped(tmp_path: Path) -> None:
    hostile = pickle.dumps(Bomb(tmp_path / "exploded"))
    with connected() as (controller, client):
        result = client[0].apply_async(eval, "1")
        identities, request = controller.receive("mux")
        for parent in ({"msg_id": "unheard-of"}, {"msg_id": ["odd"]}, {"msg_id": 7}, {}):
            for kind in ("apply_reply", "execute_reply", "nonsense"):
                controller.session.send(
                    controller.sockets["mux"],
                    kind,
                    {"status": "ok"},
                    {"header": parent},
                    ident=identities,
                    buffers=[hostile],
                )
        for garbage in ([], [b""], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"", b"{", b"[]", b"1", b"{}"]):
            controller.sockets["mux"].send_multipart([*identities, *garbage, b"garbage"])
        controller.session.send(
            controller.sockets["mux"], "apply_reply", {"status": "ok"}, request, ident=identities
        )
        assert result.get(PATIENCE) == [request["header"]["msg_id"]]
        assert set(client._replies) == {request["header"]["msg_id"]}
    assert not (tmp_path / "exploded").exists()


HOSTILE = """
import os
from ipyparallel.datapub import publish_data

class Bomb:
    def __init__(self, name):
        self.name = name
    def __reduce__(self):
        return os.mkdir, (self.name,)

def answer(x):
    "What a compromised engine would send: a pickle for everything."
    publish_data({"0": Bomb(f"published-{x}"), "x": Bomb(f"published-too-{x}")})
    return x
"""


@pytest.mark.cluster
def test_what_items_publish_is_not_taken_for_records(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE)
    spec = "{map: 'hostile:answer', over: {range: 4}, chunksize: 1}"
    code, records = finish(tmp_path, spec)
    assert (code, statuses(records)) == (0, {"ok": 4})
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("published")] == []


@pytest.mark.cluster
def test_an_engine_that_answers_with_pickles_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE)
    spec = """
map: |
  lambda x: (handlers := __import__("_arcli_engine").handlers).update(
      {run: lambda part: __import__("hostile").Bomb("replied") for run in handlers})
over: {range: 4}
chunksize: 1
cluster: {engines: 1, max_restarts: 1}
"""
    code, records = finish(tmp_path, spec)
    assert code in {1, 3}
    assert each_once(records, 4)
    assert statuses(records).get("lost", 0) > 0
    assert not (tmp_path / "replied").exists()


def test_what_engines_there_are_is_noted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them would each sort the engines that it knows, and one of these be forgotten for good."""
    answer: Future[Any] = Future()
    answer.set_result({"content": {"engines": {"7": "news"}}})
    threads: list[threading.Thread] = []
    update = RawClient._update_engines

    def note(client: RawClient, engines: dict[Any, str]) -> None:
        threads.append(threading.current_thread())
        update(client, engines)

    with connected() as (_, client):
        monkeypatch.setattr(RawClient, "_update_engines", note)
        # The answer may be there before anybody can wait for it.
        monkeypatch.setattr(RawClient, "_send", lambda *arguments: answer)
        client.refresh()
        wait_until(lambda: client.ids == [0, 7])
        assert threads != []
        assert threading.current_thread() not in threads


class Leaving:
    """A client of two engines, one of which leaves before it can be asked, the other while it is."""

    ids = (0, 1)

    def __getitem__(self, engine_id: int) -> Any:
        return ("an engine",)[engine_id] and self

    def apply_async(self, *call: Any) -> Any:
        return self

    def wait(self, seconds: float) -> None:
        pass

    def ready(self) -> bool:
        return True

    def get(self, seconds: float) -> Any:
        raise EngineError("engine 0 died")


def test_engines_that_leave_while_they_are_asked_have_not_answered() -> None:
    assert ask_identities(cast("Any", Leaving()), 0.0) == {}
