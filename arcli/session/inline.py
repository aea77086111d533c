"""A fleet of one engine that is this process: for debuggers, and for places without a cluster."""

from __future__ import annotations

import itertools
import os
import socket
from collections import deque
from typing import Any

from arcli.engine.worker import Worker
from arcli.session.fleet import Events, Reply, Up


class InlineFleet:
    """See Fleet. Requests wait until the main thread runs them."""

    in_process = True

    def __init__(self) -> None:
        namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._worker = Worker(namespace, watchdog=False)
        self._numbers = itertools.count(1)
        self._pending: deque[tuple[str, bytes | None]] = deque()
        self._events: Events | None = None

    def open(self, events: Events) -> None:
        """See Fleet."""
        self._events = events
        me = Up(engine_id=0, slot=0, host=socket.gethostname(), pid=os.getpid(), uuid="inline")
        events.put(me)

    def prepare(self, engine_id: int) -> str:
        """See Fleet. The code is here already."""
        return self._later(None)

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        """See Fleet."""
        return self._later(request)

    def _later(self, request: bytes | None) -> str:
        msg_id = f"inline-{next(self._numbers)}"
        self._pending.append((msg_id, request))
        return msg_id

    def run_pending(self) -> None:
        """See Fleet."""
        assert self._events is not None
        while self._pending:
            msg_id, request = self._pending.popleft()
            envelope = None if request is None else self._worker.handle(request)
            self._events.put(Reply(msg_id=msg_id, envelope=envelope))

    def early(self, msg_id: str) -> list[bytes]:
        """See Fleet. Nothing is early where everything is at once."""
        return []

    def forget(self, msg_id: str) -> None:
        """See Fleet."""
        self._pending = deque(entry for entry in self._pending if entry[0] != msg_id)

    def kill(self, engine_id: int) -> None:
        """See Fleet. This process cannot end its own engine and live."""

    def release(self, engine_id: int) -> None:
        """See Fleet. The item ends when it ends."""

    def replace(self, slot: int) -> None:
        """See Fleet."""

    def revive(self) -> bool:
        """See Fleet."""
        return False

    def diagnose(self) -> str:
        """See Fleet."""
        return "the items run in this process"
