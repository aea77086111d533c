"""A transport of one engine that is this process: for debuggers, and for places without a cluster."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType

from arcli.cluster.base import EngineInfo, EngineUp
from arcli.engine.worker import Worker
from arcli.errors import DeadlineError, Interrupted
from arcli.session.interfaces import SHAKE, Events, Reply, Wake


class Left(BaseException):
    """An item was interrupted; no exception that an item's code may catch."""


class InlineTransport:
    """See Transport. Requests wait until the main thread runs them.

    ``passing`` are exceptions of items that are not recorded, but go on to who runs the session.
    """

    in_process = True
    owned = True

    def __init__(self, passing: tuple[type[Exception], ...] = ()) -> None:
        self._main = ModuleType("__main__")
        # The same worker as on engines, with the same requests, in this process.
        self._worker = Worker(
            vars(self._main),
            self._publish,
            watchdog=False,
            passing=(Left, Interrupted, DeadlineError, *passing),
            stopping=lambda: self._running <= self._stopped,
        )
        self._passing = passing
        self._issued = 0
        self._running = 0
        self._stopped = 0  # requests up to this one begin no further item
        self._left = 0  # nor do those go on that are up to this one
        self._forgotten: set[str] = set()
        self._published: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._pending: queue.SimpleQueue[tuple[int, bytes | None]] = queue.SimpleQueue()
        self._events: Events | None = None

    def open(self, events: Events) -> None:
        """See Transport."""
        self._events = events
        me = EngineInfo(engine_id=0, slot=0, host=socket.gethostname(), pid=os.getpid(), uuid="inline")
        events.put(EngineUp(me))

    def prepare(self, engine_id: int) -> str:
        """See Transport. The code is here already."""
        return self._later(None)

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        """See Transport."""
        return self._later(request)

    def _later(self, request: bytes | None) -> str:
        self._issued += 1
        self._pending.put((self._issued, request))
        return _name(self._issued)

    def run_pending(self) -> None:
        """See Transport. One request a call, so that its records go out before the next."""
        assert self._events is not None
        if self._pending.empty():
            return
        number, request = self._pending.get()
        if _name(number) in self._forgotten:
            return
        envelope = None
        # A request at a time, so that what comes from outside is seen between them.
        try:
            with self._interruptible(number), self._script():
                if request is not None:
                    envelope = self._worker.handle(request)
        except (Interrupted, DeadlineError):
            self._events.put(Wake())  # the session knows, and has the last word on its items
        except Left:
            self._events.put(Reply(msg_id=_name(number), error="it was interrupted"))
        except self._passing:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as of an engine, which answers with it
            self._events.put(Reply(msg_id=_name(number), error=f"{type(error).__name__}: {error}"))
        else:
            self._events.put(Reply(msg_id=_name(number), envelope=envelope))

    @contextmanager
    def _script(self) -> Iterator[None]:
        """Have the namespace as ``__main__``, where pickle looks for the classes of ``setup: run``."""
        before, sys.modules["__main__"] = sys.modules["__main__"], self._main
        try:
            yield
        finally:
            sys.modules["__main__"] = before

    @contextmanager
    def _interruptible(self, number: int) -> Iterator[None]:
        """Have the request of this number left where ``interrupt`` says so, whatever it is in."""

        def shaken(signum: int, frame: FrameType | None) -> None:
            if self._running and self._running <= self._left:
                self._running = 0  # once: what it cleans up is not interrupted again
                raise Left
            if callable(before):
                before(signum, frame)

        before = signal.signal(SHAKE, shaken)
        self._running = number
        try:
            yield
        finally:
            self._running = 0
            signal.signal(SHAKE, before)

    def _publish(self, envelope: bytes) -> None:
        self._published.put((_name(self._running), envelope))
        if self._events is not None:
            self._events.put(Wake())

    def early(self) -> list[tuple[str, bytes]]:
        """See Transport."""
        published = []
        while not self._published.empty():
            published.append(self._published.get_nowait())
        return published

    def interrupt(self, *, now: bool) -> None:
        """See Transport."""
        self._stopped = self._issued
        main = threading.main_thread().ident
        if now and self._running and main is not None:
            self._left = self._issued
            signal.pthread_kill(main, SHAKE)

    def limit(self, seconds: float) -> None:
        """See Transport."""
        self._worker.limit(seconds)

    def forget(self, msg_id: str) -> None:
        """See Transport."""
        self._forgotten.add(msg_id)

    def kill(self, engine_id: int) -> None:
        """See Transport. This process cannot end its own engine and live."""

    def release(self, engine_id: int) -> None:
        """See Transport. The item ends when it ends."""

    def replace(self, slot: int) -> None:
        """See Transport."""

    def revive(self) -> bool:
        """See Transport."""
        return False

    def diagnose(self) -> str:
        """See Transport."""
        return "the items run in this process"


def _name(number: int) -> str:
    return f"inline-{number}"
