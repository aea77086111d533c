"""A client of ipyparallel that unpickles nothing: what engines send stays bytes.

As it comes, ipyparallel's client unpickles each reply and all published data before anybody can look
at them, so that whoever can send a message to it runs code in its process. This one hands them on
as they are; arcli's own code reads them (``arcli.engine.protocol``). It overrides the
private methods that take messages, all of them here; ``tests/cluster/test_raw_client.py`` notices
where they change.
https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from arcli.cluster.without_launchers import ipyparallel

# isort: split

from ipyparallel.client.asyncresult import AsyncMapResult
from ipyparallel.client.map import Map
from traitlets import Instance

ONE_PART = Map()
"""How the parts of a parallel function are joined."""
_LOG = logging.getLogger("arcli.cluster")
QUEUED = 1000
"""Published messages that may wait to be read."""
PATIENCE = 86_400.0
"""Seconds that a controller has to answer at most: ZeroMQ counts milliseconds in 32 bits."""
_TEXT = """
(lambda raw, text: (setattr(raw, "buffers", [text.encode("utf-8", "surrogatepass")]), raw)[1])(
    __import__("ipyparallel.serialize").serialize.PrePickled(None), {}
)
""".strip()
"""Evaluates to what ipyparallel sends without pickling it: a text."""
_IDENTITY = """
__import__("json").dumps([
    __import__("os").getpid(), __import__("socket").gethostname(), __import__("time").time()
])
""".strip()
"""Evaluates to an engine's process, its host and its clock."""


class RawClient(ipyparallel.Client):  # type: ignore[misc]  # ipyparallel has no types
    """See ipyparallel.Client, for what is applied and no more: the value is ``[msg_id]``, for ``take``.

    Only what belongs to a request that still waits is kept: nobody can make this process grow.
    ``on_published`` is called, on the client's thread, when there is something to take.
    """

    cluster = Instance(object, allow_none=True)
    """None. A client looks for the class by its name, which would import what starts clusters."""

    def __init__(self, info: dict[str, Any], *, timeout: float) -> None:
        self._replies: dict[str, bytes] = {}
        self._published: dict[str, list[tuple[str, bytes]]] = {}
        self.on_published: Callable[[], None] = lambda: None
        super().__init__(info, timeout=min(timeout, PATIENCE))

    def submit(
        self, engine_id: int, function: Any, arguments: list[Any], label: str | None = None
    ) -> AsyncMapResult:
        """Have an engine apply a function, as a parallel function of one part; raises IndexError.

        ``client[engine_id].parallel(…)(function)(part)`` sends the same, by way of a view, a second
        AsyncResult and three decorators, which take longer than the sending
        (https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/remotefunction.py).
        """
        (ident,), _ = self._build_targets(engine_id)
        sent = self.send_apply_request(
            self._mux_stream, function, arguments, {}, ident=ident, metadata={"label": label}
        )
        sizes = {sent.msg_id: 1}
        return AsyncMapResult(self, [sent], ONE_PART, return_exceptions=True, chunk_sizes=sizes)

    def create_message_futures(self, *arguments: Any, **options: Any) -> list[Any]:
        """See ipyparallel.Client: the futures of a request's result and, where it has one, of its output.

        A request is kept until both are done, and here nobody hears of the end of what it prints.
        """
        futures: list[Any] = super().create_message_futures(*arguments, **options)
        for output in futures[1:]:
            output.set_result(None)
        return futures

    def take(self, msg_id: str) -> bytes:
        """Return the reply to a request, once. Raises KeyError where there is none."""
        self._published.pop(msg_id, None)
        return self._replies.pop(msg_id)

    def take_published(self, name: str) -> list[tuple[str, bytes]]:
        """Return what engines have published under a name for requests that still wait, each once.

        Each comes with its request's id.
        """
        taken = [(msg_id, self._published.pop(msg_id, [])) for msg_id in list(self._published)]
        return [(msg_id, data) for msg_id, published in taken for key, data in published if key == name]

    def refresh(self) -> None:
        """Ask which engines there are; those are known soon that registered while this subscribed.

        A client asks when it connects, and subscribes to news afterwards (``Client._connect``).
        """
        asked = self._send(self._query_socket, "connection_request")
        # An answer that is there by now would be taken in on this thread, while news of other engines are
        # on the client's own: each sorts all that it knows, and one of them would be forgotten for good.
        asked.add_done_callback(lambda answer: self._io_loop.add_callback(self._refreshed, answer))

    def _refreshed(self, asked: Any) -> None:
        engines = _field(asked.result(), "content", "engines")
        if isinstance(engines, dict):
            self._update_engines(engines)

    def _start_io_thread(self) -> None:
        # As it comes, any number of messages may wait in memory; whoever can reach the ports of a
        # cluster that is not encrypted could send faster than they are dropped. Records that are
        # published early and lost come with their chunk's reply.
        self._iopub_socket.RCVHWM = QUEUED
        super()._start_io_thread()

    # -- on the client's own thread ----------------------------------------------------------

    def _dispatch_reply(self, frames: list[Any]) -> None:
        """Keep a reply's bytes, and have the future of its request answered.

        Whatever is wrong with a reply becomes an error of that request: it never stays unanswered.
        """
        message = self._read(frames)
        msg_id = _field(message, "parent_header", "msg_id")
        if _field(message, "header", "msg_type") != "apply_reply" or not self._waits_for(msg_id):
            return
        content = {"status": _field(message, "content", "status")}
        if content["status"] == "ok":
            self._replies[msg_id] = b"".join(message["buffers"])
        elif content["status"] != "aborted":
            fields = {key: str(_field(message, "content", key)) for key in ("ename", "evalue")}
            content = {"status": "error", "traceback": [], "engine_info": {}, **fields}
        # ipyparallel's own handler sets what AsyncResults wait for. It gets a message of our making, with
        # our own pickle in it: what an engine sent is never unpickled.
        self._handle_apply_reply(
            {
                "header": {},
                "parent_header": {"msg_id": msg_id},
                "metadata": {"engine": str(_field(message, "metadata", "engine"))},
                "content": content,
                "buffers": [pickle.dumps([msg_id])],
            }
        )

    def _dispatch_iopub(self, frames: list[Any]) -> None:
        """Keep published bytes by the name that they were published under; the rest is dropped.

        What items print is captured on the engines, and is in their records.
        """
        message = self._read(frames)
        msg_id, names = _field(message, "parent_header", "msg_id"), _field(message, "content", "keys")
        if _field(message, "header", "msg_type") != "data_message" or not self._waits_for(msg_id):
            return
        if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
            data = b"".join(message["buffers"])
            self._published.setdefault(msg_id, []).append((names[0], data))
            self.on_published()

    def _dispatch_single_reply(self, frames: list[Any]) -> None:
        """Take an answer to something else than a task."""
        self._guarded(super()._dispatch_single_reply, frames)

    def _dispatch_notification(self, frames: list[Any]) -> None:
        """Hear of engines that come and go."""
        self._guarded(super()._dispatch_notification, frames)

    def _read(self, frames: list[Any]) -> dict[str, Any]:
        """Return a message, its frames and signature checked; an empty one where it is none."""
        message: dict[str, Any] = {}

        def deserialize(frames: list[Any]) -> None:
            _, parts = self.session.feed_identities(frames, copy=False)
            message.update(self.session.deserialize(parts, content=True, copy=False))

        self._guarded(deserialize, frames)
        return message

    def _guarded(self, take: Callable[[list[Any]], None], frames: list[Any]) -> None:
        """Take a message, whatever it is: an error would leave the ones behind it unread."""
        try:
            take(frames)
        except Exception as error:  # noqa: BLE001 - anybody may have sent anything
            _LOG.warning("a message of %d frames is dropped: %r", len(frames), error)

    def _waits_for(self, msg_id: Any) -> bool:
        return isinstance(msg_id, str) and msg_id in self.outstanding


def _field(message: dict[str, Any], part: str, name: str) -> Any:
    """Return a field of a part of a message, None where it has no such part or field."""
    fields = message.get(part)
    return fields.get(name) if isinstance(fields, dict) else None


class Identity(NamedTuple):
    """Who an engine is, in its own words."""

    pid: int
    host: str
    clock: float


def ask_text(view: Any, expression: str) -> Any:
    """Have one engine evaluate an expression that gives a text: an AsyncResult, the text for ``take``."""
    return view.apply_async(eval, _TEXT.format(expression))


def ask_identity(view: Any) -> Any:
    """Ask one engine who it is: an AsyncResult."""
    return ask_text(view, _IDENTITY)


def read_identity(client: RawClient, answer: Any) -> Identity:
    """Return what the engine said; raises ValueError where it is no identity, and what ipyparallel
    raises.
    """
    (msg_id,) = answer.get(0)
    pid, host, clock = json.loads(client.take(msg_id))
    if not isinstance(pid, int) or not isinstance(host, str) or not isinstance(clock, float):
        raise ValueError(f"{pid!r} on {host!r} is no engine")
    return Identity(pid, host, clock)


def ask_identities(client: RawClient, seconds: float) -> dict[int, Identity]:
    """Ask all engines who they are, at once; those that answer within so many seconds, by their ids."""
    asked = {}
    for engine_id in client.ids:
        with suppress(IndexError):  # it has just left
            asked[engine_id] = ask_identity(client[engine_id])
    end = time.monotonic() + seconds
    for answer in asked.values():
        answer.wait(max(0.0, end - time.monotonic()))
    identities = {}
    for engine_id, answer in asked.items():
        # The answer for an engine that ends meanwhile is an error.
        with suppress(Exception):
            if answer.ready():
                identities[engine_id] = read_identity(client, answer)
    return identities
