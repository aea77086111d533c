"""A fleet of one engine that is this process: for debuggers, and for places without a cluster."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
from collections import deque
from typing import Any

from arcli.engine.worker import Worker
from arcli.errors import DeadlineError, Interrupted
from arcli.session.fleet import SHAKE, Events, Reply, Up, Wake


class InlineFleet:
    """See Fleet. Requests wait until the main thread runs them."""

    in_process = True

    def __init__(self) -> None:
        namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._worker = Worker(
            namespace,
            self._publish,
            watchdog=False,
            passing=(Interrupted, DeadlineError),
            stopping=self._stopping,
        )
        self._stopped: set[str] = set()
        self._running: str | None = None
        self._published: dict[str, list[bytes]] = {}
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
        """See Fleet. One request a call, so that its records go out before the next."""
        assert self._events is not None
        if self._pending:
            self._running, request = self._pending.popleft()
            envelope = None
            try:
                if request is not None:
                    envelope = self._worker.handle(request)
            except (Interrupted, DeadlineError):
                self._events.put(Wake())  # the session knows, and has the last word on its items
            else:
                self._events.put(Reply(msg_id=self._running, envelope=envelope))
            finally:
                self._running = None

    def _publish(self, envelope: bytes) -> None:
        assert self._running is not None
        self._published.setdefault(self._running, []).append(envelope)

    def early(self, msg_id: str) -> list[bytes]:
        """See Fleet."""
        return self._published.pop(msg_id, [])

    def interrupt(self, *, now: bool) -> None:
        """See Fleet."""
        self._stopped.update([msg_id for msg_id, _ in list(self._pending)])
        main, running = threading.main_thread().ident, self._running
        if running is not None:
            self._stopped.add(running)
            if now and main is not None:
                signal.pthread_kill(main, SHAKE)

    def _stopping(self) -> bool:
        return self._running in self._stopped

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
