"""A cluster whose processes are ipyparallel's own: engines come and go, and the hub knows them.

What arcli starts by a launcher (``launched``) and what it joins (``joined``) differ in how engines
are ended and replaced; that they are watched from outside, they have in common.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from arcli.cluster.base import (
    ClusterDown,
    ClusterEvent,
    ClusterOptions,
    EngineDown,
    EngineInfo,
    EngineUp,
    OnEvent,
)
from arcli.cluster.connection import Connection, Line
from arcli.errors import ClusterError

POLL = 0.05
"""Seconds between two looks at which engines there are."""
PULSE = 2.0
"""Seconds between two questions to the hub: it logs each of them."""
SILENCE = 10.0
"""Seconds without an answer after which a controller counts as gone."""
PAUSE = 1.0
"""Seconds of this process's own that went missing: it was suspended, and hears answers late."""
LINGERS = 5.0
"""Seconds that an engine has to leave after it was killed."""


class WatchedCluster:
    """See Cluster. ``width`` slots are given to engines as they come; one too many is a spare.

    Everything after the start happens on one thread of its own, which alone uses ``_scout``, a
    second client: ipyparallel's clients are not made for several threads.
    """

    client: Any = None
    owned = False
    forked = False
    patient = False
    silence = SILENCE
    deals_first = False
    """Whether a spare engine takes a dead one's slot at once, and not when it is asked for."""

    def __init__(self, options: ClusterOptions) -> None:
        self._options = options
        self.slots = options.engines
        self._connection: Connection | None = None
        self._scout: Any = None
        self._line: Line | None = None
        self._on_event: OnEvent | None = None
        self._thread: threading.Thread | None = None
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._leaving = threading.Event()
        self._greeted: dict[int, Any] = {}
        self._engines: dict[int, EngineInfo] = {}
        self._spares: dict[int, EngineInfo] = {}
        self._doomed: dict[int, float] = {}
        self._given_up: set[int] = set()
        self._asked_about: set[int] = set()
        self._unseen: set[int] = set()
        self._clients: list[Any] = []
        self._gone: str | None = None
        self._heard = self._asked = 0.0

    # -- the start --------------------------------------------------------------------------

    def _attach(self, connection: Connection, end: float) -> None:
        """Connect to a controller before ``end``, a monotonic time. Raises ClusterError."""
        self._connection = connection
        self._line = Line(connection.info, connection.address)
        self._line.ask()
        if not self._answers(self._line, end):
            raise self._failure(
                f"nobody answered at {connection.address}, which {connection.where} names, "
                f"within {self._options.start_timeout:g} s"
            )
        # One client is the session's, the other belongs to the thread that watches.
        self.client, self._scout = self._connect(end), self._connect(end)
        self._heard = time.monotonic()
        self._asked = 0.0

    def _answers(self, line: Line, end: float) -> bool:
        """Wait for the hub's answer until the time is up. Raises ClusterError where nobody will answer."""
        return line.answer(max(0.0, end - time.monotonic())) is not None

    def _connect(self, end: float) -> Any:
        from arcli.cluster.client import RawClient

        connection = self._connection
        assert connection is not None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they would go to the terminal
                patience = max(1.0, end - time.monotonic())
                self._clients.append(RawClient(dict(connection.info), timeout=patience))
                return self._clients[-1]
        except Exception as error:
            raise self._failure(
                f"the controller at {connection.address} did not let a client in: {error}"
            ) from error

    def _watch_from_now(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._thread = threading.Thread(target=self._watch, name="arcli-cluster", daemon=True)
        self._thread.start()

    def _await(self, enough: Callable[[], bool], end: float) -> None:
        """Wait until there are enough engines, the cluster is gone, or the time is up."""
        with self._changed:
            while not enough() and self._gone is None:
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    return

    def _failure(self, message: str) -> ClusterError:
        return ClusterError(f"no cluster: {message}", hint=self.diagnose())

    # -- the thread -------------------------------------------------------------------------

    def _watch(self) -> None:
        try:
            self._keep_watch()
        except Exception as error:  # noqa: BLE001 - whoever waits for events must hear of it
            self._lose(f"watching the cluster failed: {type(error).__name__}: {error}")

    def _keep_watch(self) -> None:
        # A laptop that slept has not heard the answer to a question of before: it is asked anew, and
        # not taken for a controller's silence.
        looked = time.monotonic()
        while not self._leaving.wait(POLL) and self._gone is None:
            now = time.monotonic()
            if now - looked > PAUSE and self._asked:
                self._asked = now
            looked = now
            # What other threads want done comes first: what is known of engines is changed here alone.
            while not self._todo.empty():
                self._todo.get()()
            self._look(now)
            self._feel_pulse(now)

    def _later(self, action: Callable[[], None]) -> None:
        """Have something done on the thread."""
        self._todo.put(action)

    def _look(self, now: float) -> None:
        """Engines that are new, that have answered, that have gone, that should have gone."""
        # The scout asks engines who they are, the client sends them what they run: one counts once both
        # know it.
        registered = set(self._scout.ids)
        counted = {*self._engines, *self._spares, *self._greeted, *self._given_up}
        for engine_id in sorted((registered & set(self.client.ids)) - counted):
            self._greet(engine_id)
        for engine_id in [*self._greeted]:
            if self._greeted[engine_id].ready():
                self._welcome(engine_id, self._greeted.pop(engine_id))
        for engine_id in counted - registered:
            for group in (self._greeted, self._spares):
                group.pop(engine_id, None)
            self._given_up.discard(engine_id)
            self._let_go(engine_id, "is gone")
        # A signal may have got lost on its way: nobody waits for its end any longer.
        for engine_id in [key for key, due in self._doomed.items() if now > due]:
            self._given_up.add(engine_id)
            self._let_go(engine_id, "did not end when it was told to")

    def _greet(self, engine_id: int) -> None:
        """Ask an engine who it is. A busy one answers when it has the time."""
        from arcli.cluster.client import ask_identity

        with suppress(IndexError):  # it has just left
            self._greeted[engine_id] = ask_identity(self._scout[engine_id])

    def _welcome(self, engine_id: int, greeting: Any) -> None:
        from arcli.cluster.client import read_identity

        try:
            pid, host, _ = read_identity(self._scout, greeting)
        except Exception:  # noqa: BLE001 - an engine that cannot even say who it is is none
            self._given_up.add(engine_id)
            return
        uuid = str(greeting.metadata["engine_uuid"])
        self._spares[engine_id] = EngineInfo(engine_id=engine_id, slot=-1, pid=pid, host=host, uuid=uuid)
        self._deal()

    def _deal(self) -> None:
        """Give free slots to engines that have none: an engine's own id, where that is one."""
        # Slots are inherited: an engine that comes for one that died takes its place, so that what
        # was scattered to that place is computed with again. Who has waited longest is first: one that
        # was let go, and is idle again, comes after those that were idle all the time.
        for engine_id in [*self._spares]:
            free = set(range(self.slots)) - {info.slot for info in self._engines.values()}
            if not free:
                return
            slot = engine_id if engine_id in free else min(free)
            was = self._spares.pop(engine_id)
            info = EngineInfo(engine_id=engine_id, slot=slot, pid=was.pid, host=was.host, uuid=was.uuid)
            with self._changed:
                self._engines[engine_id] = info
                self._settle(info)
                self._changed.notify_all()
            self._report(EngineUp(info))

    def _settle(self, info: EngineInfo) -> None:
        """Note that an engine has a slot from now on."""

    def _let_go(self, engine_id: int, end: str, *, deliberate: bool = False) -> None:
        """Use an engine no more; ``end`` is what became of it, in words."""
        deliberate |= self._doomed.pop(engine_id, None) is not None
        with self._changed:
            info = self._engines.pop(engine_id, None)
            self._changed.notify_all()
        if info is None:
            return
        reason = f"engine {engine_id} (process {info.pid} on host {info.host}) {end}"
        if self.deals_first and not deliberate:
            self._deal()  # so that there is never a moment without an engine
        self._report(EngineDown(engine_id=engine_id, slot=info.slot, reason=reason))

    def _feel_pulse(self, now: float) -> None:
        assert self._line is not None
        # While engines are missing, they are looked for more often: the hub's notice may be lost. An
        # answer that does not come in time means that the controller is gone, or as good as that.
        pulse = PULSE if len(self._engines) >= self.slots else PULSE / 4
        listed = self._line.answer()
        if listed is not None:
            self._heard, self._asked = now, 0.0
            self._compare(listed, now)
        elif not self._asked and now - self._heard >= pulse:
            self._asked, self._asked_about = now, set(self._engines)
            self._line.ask()
        elif self._asked and now - self._asked > self.silence:
            assert self._connection is not None
            self._lose(
                f"the controller at {self._connection.address} has not answered for {self.silence:.0f} s"
            )

    def _compare(self, listed: set[int], now: float) -> None:
        """Go by what the hub lists, where its notices did not reach us."""
        for engine_id in (self._asked_about & set(self._engines)) - listed:
            self._given_up.add(engine_id)
            self._let_go(engine_id, "is gone")
        # A client hears nothing of an engine that registers while it subscribes.
        unseen = listed - (set(self._scout.ids) & set(self.client.ids))
        if unseen & self._unseen:
            self.client.refresh()
            self._scout.refresh()
        self._unseen = unseen

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._gone is not None:
                return
            self._gone = reason
            self._changed.notify_all()
        self._report(ClusterDown(reason))

    def _report(self, event: ClusterEvent) -> None:
        if self._on_event is not None and not self._leaving.is_set():
            self._on_event(event)

    # -- see Cluster ------------------------------------------------------------------------

    def engines(self) -> list[EngineInfo]:
        """See Cluster."""
        with self._changed:
            return list(self._engines.values())

    def coming(self) -> set[int]:
        """See Cluster. The start has waited for all that are used from the beginning."""
        return set()

    def kill(self, engine_id: int) -> None:
        """See Cluster. The engine's nanny does it; without one, the engine is not used any more."""

        def kill_now() -> None:
            if engine_id in self._engines:
                self._doomed.setdefault(engine_id, time.monotonic() + LINGERS)
                with suppress(IndexError):  # it has just left
                    self._scout.send_signal(int(signal.SIGKILL), targets=engine_id, block=False)

        self._later(kill_now)

    @property
    def exposed(self) -> str | None:
        """See Cluster."""
        if self._connection is None or self._connection.encrypted:
            return None
        return (
            f"the cluster at {self._connection.address} does not use CurveZMQ: whoever can reach its ports "
            "can read what this run sends and gets, and may run code on its engines "
            "(IPController.enable_curve is ipyparallel's setting for it)"
        )

    def revive(self) -> bool:
        """See Cluster. Whoever started the controller can start another one; jobs may be lost."""
        return False

    def diagnose(self) -> str:
        """See Cluster."""
        with self._changed:
            lines = []
            if self._engines:
                lines.append(f"engines in use: {len(self._engines)}")
            if self._greeted:
                lines.append(f"registered, without an answer yet: {len(self._greeted)}")
        return ", ".join(lines) or "no engine is registered"

    def _detach(self) -> None:
        """Close every connection; the cluster itself goes on."""
        self._leaving.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        for client in self._clients:
            client.close(linger=0)
        if self._line is not None:
            self._line.close()
