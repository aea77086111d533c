"""ipyparallel's engines as a transport: the place that submits AsyncMapResults and iterates them.

Each request goes to one engine alone, as a parallel function of a single part: so the client
knows where every chunk is, and hears of a death at once. A map would send bytecode of its own
along, on which an engine with another version of Python dies. ``arcli.session.transport.bundle`` brings the
code that answers.
"""

from __future__ import annotations

import gc
import itertools
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from arcli.cluster.without_launchers import ipyparallel

# isort: split

from ipyparallel.error import EngineError, RemoteError
from ipyparallel.serialize.canning import can_map

from arcli.cluster.base import Cluster, ClusterEvent, EngineUp
from arcli.cluster.client import RawClient
from arcli.cluster.processes import keep_freed_memory
from arcli.session.interfaces import Broken, Coming, Events, Reply, Wake
from arcli.session.transport.bundle import Bundle

# What crosses is bytes, so that ipyparallel need not import NumPy to see whether it is arrays.
# https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/serialize/canning.py ("API")
can_map.pop("numpy.ndarray", None)

FAREWELL = 2.0
"""Seconds that engines have to forget a run; a busy one does so when it has the time."""
LEFT = (IndexError, ipyparallel.error.NoEnginesRegistered, OSError)
"""What is raised where an engine has gone, or the client is closed."""


class IpyparallelTransport:
    """See Transport: the engines of a started cluster."""

    in_process = False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._bundle = Bundle(uuid.uuid4().hex, shared=not cluster.owned)
        self._handle = ipyparallel.Reference(self._bundle.handle)
        self._bootstrap = None if cluster.forked else self._bundle.bootstrap
        self._met: set[int] = set()
        self._running: dict[str, int] = {}
        self._events: Events | None = None
        self._early: list[ClusterEvent | Broken] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    @property
    def owned(self) -> bool:
        """See Transport."""
        return self._cluster.owned

    def on_event(self, event: ClusterEvent | Broken) -> None:
        """What the cluster, or who watches it, reports from whichever thread; kept until this is open."""
        with self._lock:
            if self._events is None:
                self._early.append(event)
                return
        self._events.put(event)

    def open(self, events: Events) -> None:
        """See Transport."""
        keep_freed_memory()
        gc.freeze()  # all that was imported will stay: no collection needs to look at it again
        with self._lock:
            self._events = events
            # In this order: slots that wait, engines that are there, then what has been reported meanwhile.
            for slot in self._cluster.coming():
                events.put(Coming(slot))
            for info in self._cluster.engines():
                events.put(EngineUp(info))
            for event in self._early:
                events.put(event)

    def prepare(self, engine_id: int) -> str:
        """See Transport."""
        self._cluster.client.on_published = self._wake  # it may be another one after a revival
        if self._bootstrap is not None:
            return self._submit(engine_id, exec, [self._bootstrap, {}], None, False)
        # A fork has all of it, and is registered when it can be reached: there is nothing to wait for.
        return self._unsent()

    def _wake(self) -> None:
        assert self._events is not None
        self._events.put(Wake())

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        """See Transport."""
        return self._submit(engine_id, self._handle, [[request]], label, True)

    def _submit(
        self, engine_id: int, function: Any, arguments: list[Any], label: str | None, answers: bool
    ) -> str:
        # An engine may unregister between the decision and the sending.
        client: RawClient = self._cluster.client
        try:
            result = client.submit(engine_id, function, arguments, label)
        except LEFT as error:
            # It has left since the session last heard of it; its EngineDown is on the way.
            return self._unsent(str(error))
        msg_id: str = result.msg_ids[0]
        self._met.add(engine_id)
        self._running[msg_id] = engine_id
        result.add_done_callback(lambda done: self._answered(msg_id, client, done, answers))
        return msg_id

    def _unsent(self, error: str | None = None) -> str:
        """Answer a request that is not sent: it is not needed, or there is nobody; returns its id."""
        msg_id = f"unsent-{next(self._numbers)}"
        assert self._events is not None
        self._events.put(Reply(msg_id=msg_id, error=error, died=error is not None))
        return msg_id

    def _answered(self, msg_id: str, client: RawClient, result: Any, answers: bool) -> None:
        """On the client's thread: turn a finished result into an event."""
        self._running.pop(msg_id, None)
        # Never unpickled: ``take`` has the raw bytes (see cluster.client).
        try:
            (answer,) = result
            if isinstance(answer, RemoteError):
                died = answer.ename == EngineError.__name__
                reply = Reply(msg_id=msg_id, error=str(answer), died=died)
            elif isinstance(answer, Exception):
                reply = Reply(msg_id=msg_id, error=f"{type(answer).__name__}: {answer}")
            else:
                envelope = client.take(msg_id)
                reply = Reply(msg_id=msg_id, envelope=envelope if answers else None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session must hear of it
            reply = Reply(msg_id=msg_id, error=f"{type(error).__name__}: {error}")
        assert self._events is not None
        self._events.put(reply)
        client.history.clear()  # nobody asks ipyparallel for what it remembers of past messages

    def early(self) -> list[tuple[str, bytes]]:
        """See Transport."""
        client: RawClient | None = self._cluster.client
        return [] if client is None else client.take_published(self._bundle.channel)

    def forget(self, msg_id: str) -> None:
        """See Transport."""
        self._running.pop(msg_id, None)

    def kill(self, engine_id: int) -> None:
        """See Transport."""
        self._cluster.kill(engine_id)

    def release(self, engine_id: int) -> None:
        """See Transport. Engines that are not ours are not ended: they abort what they have of us."""
        # A copy: the client's thread takes away what is answered meanwhile.
        ours = [msg_id for msg_id, owner in list(self._running.items()) if owner == engine_id]
        if ours and not self._cluster.owned:  # without ids it would abort everybody's
            with suppress(*LEFT):
                self._cluster.client.abort(ours, targets=engine_id, block=False)
        self._cluster.release(engine_id)

    def replace(self, slot: int) -> None:
        """See Transport."""
        self._cluster.replace(slot)

    def revive(self) -> bool:
        """See Transport."""
        self._running.clear()
        return self._cluster.revive()

    def interrupt(self, *, now: bool) -> None:
        """See Transport."""

    def limit(self, seconds: float) -> None:
        """See Transport."""

    def diagnose(self) -> str:
        """See Transport."""
        return self._cluster.diagnose()

    def leave(self) -> None:
        """Take back what the run has brought to engines that stay, or that a launcher ends at once."""
        if self._cluster.patient:
            return
        goodbyes = []
        for engine_id in self._met:
            with suppress(*LEFT):
                goodbyes.append(self._cluster.client.submit(engine_id, exec, [self._bundle.farewell, {}]))
        # All at once and with one limit, so that a busy engine does not hold up the end of the run.
        end = time.monotonic() + FAREWELL
        for goodbye in goodbyes:
            goodbye.wait(max(0.0, end - time.monotonic()))

    def run_pending(self) -> None:
        """See Transport. Engines run what they are sent by themselves."""
