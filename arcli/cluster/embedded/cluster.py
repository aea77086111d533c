"""An embedded cluster: a controller and engines on this machine, for one run.

A supervisor process (``arcli.cluster.embedded.supervisor``) forks them and ends them; this is its client.
After the start one thread owns the cluster's life: it watches, and when all of it is lost and the session
wants another one, it ends what is left and starts anew. Nobody else does.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from arcli.cluster import protocol
from arcli.cluster.base import (
    ClusterDown,
    ClusterEvent,
    ClusterOptions,
    EngineDown,
    EngineInfo,
    EngineUp,
    OnEvent,
    log_tails,
)
from arcli.cluster.connection import unregister
from arcli.cluster.embedded.process_limits import check_limits
from arcli.cluster.embedded.supervisor_process import WAVE, Settings, SupervisorProcess
from arcli.cluster.processes import is_stopped
from arcli.cluster.protocol import (
    ControllerEnded,
    ControllerStarted,
    EngineEnded,
    EngineStarted,
    KillEngine,
    StartEngine,
    Stop,
)
from arcli.errors import ClusterError

if TYPE_CHECKING:
    from arcli.cluster.client import Identity

POLL = 0.01
"""Seconds between two looks at the client's engines while one is expected."""
LOOK = 2.5
"""Seconds between two looks at whether the supervisor has been stopped."""
MISSED = 0.5
"""Seconds after which a client that does not know an engine may have missed the news of it."""
SUBSCRIBED = 0.01
"""The same at first, while it has just subscribed: twice as long each time, up to ``MISSED``."""
STOPPED = "it was stopped"


class EmbeddedCluster:
    """See Cluster. ``prepare`` starts its processes and costs little; ``start`` joins them.

    ``supervisor`` is one that is already on its way; it is used if it has the right settings.
    """

    client: Any = None
    owned = True
    patient = True
    exposed: str | None = None

    def __init__(self, options: ClusterOptions, supervisor: SupervisorProcess | None = None) -> None:
        self._options = options
        self.slots = options.engines
        self._supervisor = supervisor
        self._reader = protocol.Reader()
        self._info: dict[str, Any] = {}
        self._next_id = 0
        self._await_all()
        self._expected: dict[int, EngineInfo] = {}
        self._engines: dict[int, EngineInfo] = {}
        self._changed = threading.Condition()
        self._processes = threading.Lock()
        self._thread: threading.Thread | None = None
        self._revive = threading.Event()
        self._on_event: OnEvent | None = None
        self._stopped = threading.Event()
        self._lost: str | None = None

    def _await_all(self) -> None:
        """Every slot waits for its first engine; the supervisor starts the first ones by itself."""
        self._awaited = set(range(self.slots))
        self._unstarted = deque(range(min(WAVE, self.slots), self.slots))

    @property
    def forked(self) -> bool:
        """See Cluster."""
        return self._settings().python is None

    def prepare(self) -> None:
        """Start the supervisor, which brings up the cluster while others do other things."""
        check_limits(self.slots, forked=self.forked)
        settings = self._settings()
        if self._supervisor is not None and self._supervisor.settings != settings:
            self._supervisor.close()
            self._supervisor = None
        if self._supervisor is None:
            self._supervisor = SupervisorProcess(settings)

    def _settings(self) -> Settings:
        options = self._options
        python = options.python
        # Forking is only safe on Linux, where nothing of the system's runs in the background.
        if python is None and (options.spawn or sys.platform != "linux"):
            python = sys.executable
        return Settings(
            engines=options.engines,
            threads=options.threads,
            env=dict(options.env),
            python=python,
            first_id=self._next_id,
        )

    def start(self, on_event: OnEvent) -> None:
        """See Cluster. Raises ClusterError where no engine comes up in time."""
        self.prepare()
        self._on_event = on_event
        deadline = time.monotonic() + self._options.start_timeout
        self._connect(deadline)
        self._thread = threading.Thread(
            target=self._live, args=(deadline,), name="arcli-cluster", daemon=True
        )
        self._thread.start()
        # One engine is enough to begin with; what becomes of the others is told by events.
        with self._changed:
            while not self._engines and self._awaited and self._lost is None:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            if self._engines:
                return
        raise self._failure(self._lost or self._too_few(late=time.monotonic() >= deadline))

    # -- its life, on its own thread once it is started --------------------------------------------

    def _live(self, deadline: float) -> None:
        """Watch until all is lost, report that once, and begin again if that is wanted."""
        # It is for the session to say whether another cluster is worth it; until then nothing is done.
        self._watch(deadline)
        while not self._stopped.is_set():
            self._report(ClusterDown(self._lost or "it is gone"))
            self._revive.wait()
            self._revive.clear()
            if self._stopped.is_set():
                return
            deadline = time.monotonic() + self._options.start_timeout
            try:
                self._start_anew(deadline)
            except ClusterError as error:
                self._lose(error.message)
                continue
            self._watch(deadline)

    def _watch(self, deadline: float) -> None:
        """Note what happens until the cluster is lost or stopped; ``deadline`` is the first engine's."""
        supervisor, stopped, missed = self._supervisor, False, SUBSCRIBED
        asked = looked = time.monotonic()
        while supervisor is not None and self._lost is None and not self._stopped.is_set():
            # Many engines take their time, and a busy machine takes more: late is what does not come
            # within the time to start after the one before it.
            if self._register():
                deadline = time.monotonic() + self._options.start_timeout
            # Engines are started as earlier ones come up: all at once would hold up the first ones.
            while self._unstarted and len(self._awaited) - len(self._unstarted) < WAVE:
                self._send(StartEngine(self._unstarted.popleft()))
            self._judge_start(deadline)
            # A client hears nothing of an engine that registers while it subscribes, as the first ones may.
            now = time.monotonic()
            if self._expected and now - asked > missed and (client := self.client) is not None:
                asked, missed = now, min(MISSED, 2 * missed)
                client.refresh()
            # A supervisor that has been stopped supervises nothing, and only SIGCONT would change that: at
            # two looks in a row is long enough.
            if now - looked >= LOOK:
                looked, was_stopped, stopped = now, stopped, is_stopped(supervisor.process.pid)
                if was_stopped and stopped:
                    supervisor.process.kill()
            self._read_events(supervisor, POLL if self._expected else LOOK)

    def _judge_start(self, deadline: float) -> None:
        """End engines that are late, once: a slot waits for its engine, not for ever."""
        if not self._awaited or time.monotonic() < deadline:
            return
        # An engine that has been asked for, and of which the supervisor has not told yet, is judged then.
        never_started = [*self._unstarted]
        late = [info for info in self._expected.values() if info.slot in self._awaited]
        with self._changed:
            self._awaited -= {*never_started, *(info.slot for info in late)}
            self._unstarted.clear()
        for info in late:
            self._send(KillEngine(info.pid or 0))
        if len(self._engines) < self._options.min_engines:
            self._lose(self._too_few(late=True))
            return
        # Those that are killed are reported when they have ended; of these nobody else would hear.
        for slot in never_started:
            self._report(EngineDown(engine_id=None, slot=slot, reason="an engine was not started in time"))

    def _start_anew(self, deadline: float) -> None:
        """End what is left of the old cluster, so that nothing of it still runs; then a new one."""
        # Stopping may come at any moment, from another thread: under the lock there is either a
        # cluster that it ends, or none is started any more.
        with self._processes:
            self._end()
            if self._stopped.is_set():
                return
            with self._changed:
                self._engines.clear()
                self._expected.clear()
            self._await_all()
            self._supervisor = SupervisorProcess(self._settings())
        self._connect(deadline)

    def _connect(self, deadline: float) -> None:
        """Be the client of the controller, as soon as there is one. Raises ClusterError."""
        supervisor = self._supervisor
        assert supervisor is not None
        supervisor.used = True
        from arcli.cluster.client import RawClient  # while the supervisor forks

        # The controller is there when its connection comes; that of an earlier one is forgotten.
        self._info, self._reader, self._lost = {}, protocol.Reader(), None
        while not self._info:
            self._read_events(supervisor, max(0.0, deadline - time.monotonic()))
            if self._lost is not None or time.monotonic() > deadline:
                raise self._failure(self._lost or "the controller did not start in time")
        # Where the controller is matters to addresses of a network: a client would look for all of this
        # machine's, by a library that takes longer to import than the client takes to connect.
        info = {**self._info, "location": None}
        try:
            client = RawClient(info, timeout=max(1.0, deadline - time.monotonic()))
        except (TimeoutError, OSError) as error:
            raise self._failure(f"the controller does not answer: {error}") from None
        with self._processes:
            self.client = client
            if self._stopped.is_set():
                client.close(linger=0)

    def _read_events(self, supervisor: SupervisorProcess, timeout: float) -> None:
        """Note what the supervisor has sent, or will within ``timeout`` seconds."""
        try:
            ready, _, _ = select.select([supervisor.connection], [], [], timeout)
        except (OSError, ValueError):  # closed by stop()
            self._lose(STOPPED)
            return
        if not ready:
            return
        data = supervisor.receive()
        if not data:
            self._lose("the process that supervises the cluster is gone")
        for event in self._reader.feed(data):
            self._note(event)

    def _note(self, event: protocol.Message) -> None:
        match event:
            case EngineStarted():
                self._next_id = event.engine_id + 1
                self._expected[event.engine_id] = EngineInfo(
                    engine_id=event.engine_id,
                    slot=event.slot,
                    pid=event.pid,
                    host=socket.gethostname(),
                    uuid=event.uuid,
                )
            case EngineEnded():
                self._engine_ended(event)
            case ControllerStarted():
                self._info = event.info
            case ControllerEnded():
                self._lose(f"the controller {event.reason}")

    def _register(self) -> bool:
        """Take in the engines that the client knows by now. Returns whether a slot has its first one."""
        client = self.client
        if not self._expected or client is None:
            return False
        # An engine is of use when the client can send to it: the supervisor has told of it before.
        registered = set(client.ids)
        awaited = len(self._awaited)
        for engine_id in [*self._expected]:
            if engine_id in registered:
                info = self._expected.pop(engine_id)
                with self._changed:
                    self._engines[engine_id] = info
                    self._awaited.discard(info.slot)
                    self._changed.notify_all()
                self._report(EngineUp(info))
        return len(self._awaited) < awaited

    def _engine_ended(self, event: EngineEnded) -> None:
        with self._changed:
            info = self._engines.pop(event.engine_id, None)
            self._expected.pop(event.engine_id, None)
            self._awaited.discard(event.slot)
            self._changed.notify_all()
        # Engines here have no nanny, who would tell the hub that what they had is lost.
        if self._info:
            unregister(self._info, event.engine_id)
        reason = f"engine {event.engine_id} (process {event.pid}) {event.reason}"
        # One that never came up has run nothing: its log alone can tell why.
        if info is None and self._supervisor is not None:
            said = log_tails([self._supervisor.folder / f"engine-{event.engine_id}.log"])
            reason = "; ".join([reason, *said[-1:]])
        engine_id = info.engine_id if info else None
        self._report(EngineDown(engine_id=engine_id, slot=event.slot, reason=reason))

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._lost = self._lost or reason
            self._changed.notify_all()

    def _report(self, event: ClusterEvent) -> None:
        if self._on_event is not None and not self._stopped.is_set():
            self._on_event(event)

    def _send(self, command: protocol.Command) -> None:
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.send(protocol.encode(command))

    # -- see Cluster -------------------------------------------------------------------------------

    def coming(self) -> set[int]:
        """See Cluster."""
        with self._changed:
            return set(self._awaited)

    def engines(self) -> list[EngineInfo]:
        """See Cluster."""
        with self._changed:
            return list(self._engines.values())

    def identities(self, seconds: float) -> list[Identity]:
        """Ask all engines who they are; those that answer within so many seconds."""
        from arcli.cluster.client import ask_identities

        return list(ask_identities(self.client, seconds).values())

    def kill(self, engine_id: int) -> None:
        """See Cluster."""
        with self._changed:
            info = self._engines.get(engine_id)
        if info is not None and info.pid is not None:
            self._send(KillEngine(info.pid))

    def release(self, engine_id: int) -> None:
        """See Cluster."""
        self.kill(engine_id)

    def replace(self, slot: int) -> None:
        """See Cluster. The supervisor's answer wakes the thread."""
        self._send(StartEngine(slot))

    def revive(self) -> bool:
        """See Cluster; not where fewer engines than are needed came up."""
        if len(self._engines) < self._options.min_engines and self._lost == self._too_few(late=True):
            return False
        self._revive.set()
        return True

    def diagnose(self) -> str:
        """See Cluster."""
        parts = []
        if self._supervisor is not None and self._supervisor.process.poll() is not None:
            parts.append(f"the supervisor's process {self._supervisor.process.pid} is gone")
        if self._lost is not None:
            parts.append(self._lost)
        with self._changed:
            parts.append(f"{len(self._engines)} engines are registered")
            if self._expected:
                parts.append(f"{len(self._expected)} are starting")
        return ", ".join(parts)

    def _too_few(self, *, late: bool) -> str:
        count, needed = len(self._engines), self._options.min_engines
        within = f" within {self._options.start_timeout:g} s" if late else ""
        within = f", and no other{within}" if late and count else within
        return f"{count} of {self.slots} engines came up{within}, {needed} are needed"

    def _failure(self, message: str) -> ClusterError:
        logs = [] if self._supervisor is None else log_tails(self._supervisor.folder.glob("*.log"))
        return ClusterError(f"no cluster: {message}", hint="\n".join([self.diagnose(), *logs]))

    def stop(self) -> list[str]:
        """See Cluster."""
        self._stopped.set()
        with self._processes:
            self._end()
        self._revive.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        return []

    def _end(self) -> None:
        """End client and processes, if there are any."""
        client, self.client = self.client, None
        if client is not None:
            client.close(linger=0)
        if self._supervisor is not None:
            self._send(Stop())
            self._supervisor.close()
            self._supervisor = None
