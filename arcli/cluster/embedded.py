"""An embedded cluster: a controller and engines on this machine, for one run.

A supervisor process (``arcli.cluster.supervisor``) forks them and ends them; this is its client.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from arcli.cluster import hub
from arcli.cluster.base import (
    ClusterDown,
    ClusterEvent,
    ClusterOptions,
    EngineDown,
    EngineInfo,
    EngineUp,
    OnEvent,
)
from arcli.cluster.processes import is_stopped
from arcli.cluster.supervisor_process import Settings, SupervisorProcess
from arcli.errors import ClusterError

POLL = 0.01
"""Seconds between two looks at the client's engines while one is expected."""
LOOK = 2.5
"""Seconds between two looks at whether the supervisor has been stopped."""
SETTLED = 0.5
"""Seconds after which a client that does not know all engines may have missed one."""
LOG_LINES = 15


class EmbeddedCluster:
    """See Cluster. ``prepare`` starts its processes and costs little; ``start`` joins them.

    ``helper`` is one that is already on its way; it is used if it has the right settings.
    """

    client: Any = None
    owned = True
    exposed: str | None = None

    def __init__(self, options: ClusterOptions, helper: SupervisorProcess | None = None) -> None:
        self._options = options
        self.slots = options.engines
        self._helper = helper
        self._lifecycle = threading.Lock()
        self._rest = b""
        self._info: dict[str, Any] = {}
        self._next_id = 0
        self._expected: dict[int, EngineInfo] = {}
        self._engines: dict[int, EngineInfo] = {}
        self._changed = threading.Condition()
        self._on_event: OnEvent | None = None
        self._stopped = False
        self._gone: str | None = None

    def prepare(self) -> None:
        """Start the supervisor, which brings up the cluster while others do other things."""
        wanted = self._settings()
        if self._helper is not None and self._helper.settings != wanted:
            self._helper.close()
            self._helper = None
        if self._helper is None:
            self._helper = SupervisorProcess(wanted)

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
        """Join controller and engines as they come up. Raises ClusterError where that fails.

        Events go to ``on_event`` from now on, those of the first engines included.
        """
        self.prepare()
        self._on_event = on_event
        end = time.monotonic() + self._options.start_timeout
        self._connect(end)
        self._begin_watching(self._watch)
        self._await_engines(end)

    def _connect(self, end: float) -> None:
        """Be the client of the controller, as soon as there is one. Raises ClusterError."""
        helper = self._helper
        assert helper is not None
        helper.used = True
        from arcli.cluster.client import RawClient  # while the supervisor forks

        self._info, self._rest, self._gone = {}, b"", None
        while not self._info:
            self._read_events(helper, max(0.0, end - time.monotonic()))
            if self._gone is not None or time.monotonic() > end:
                raise self._failure(self._gone or "the controller did not start in time")
        patience = SETTLED
        while True:
            left = max(1.0, end - time.monotonic())
            try:
                client = RawClient(self._info, timeout=left)
            except (TimeoutError, OSError) as error:
                raise self._failure(f"the controller does not answer: {error}") from None
            settled = self._settled(client, helper, min(end, time.monotonic() + patience))
            if settled or time.monotonic() > end:
                break
            client.close(linger=0)
            patience *= 2
        with self._lifecycle:
            self.client = client
            if self._stopped:
                client.close(linger=0)

    def _settled(self, client: Any, helper: SupervisorProcess, until: float) -> bool:
        """Whether the client knows all engines, or will not for another reason than this one.

        An engine that registers between a client's first look and its subscription to news is one
        that it never hears of (``Client._connect``,
        https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py). Another
        client sees it at once.
        """
        while set(self._expected) - set(client.ids) and self._gone is None:
            if time.monotonic() >= until:
                return self._stopped
            self._read_events(helper, POLL)
        return True

    def _send(self, **command: Any) -> None:
        helper = self._helper
        if helper is not None:
            helper.send(json.dumps(command).encode() + b"\n")

    def _read_events(self, helper: SupervisorProcess, timeout: float | None) -> None:
        """Note what the supervisor has sent, or will within ``timeout`` seconds."""
        try:
            ready, _, _ = select.select([helper.connection], [], [], timeout)
        except (OSError, ValueError):  # closed by stop()
            self._gone = self._gone or "it was stopped"
            return
        if not ready:
            return
        data = helper.receive()
        if not data:
            self._lose("the process that supervises the cluster is gone")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._note(json.loads(line))

    def _await_engines(self, end: float) -> None:
        """Wait for all engines, or for what there is when the time is up."""
        wanted = self._options.engines
        with self._changed:
            while len(self._engines) < wanted and self._expected and self._gone is None:
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    break
        for info in list(self._expected.values()):  # a slot waits for its engine, not for ever
            self._send(do="kill", pid=info.pid)
        if len(self._engines) < self._options.min_engines:
            there, needed = len(self._engines), self._options.min_engines
            late = f" within {self._options.start_timeout:g} s" if time.monotonic() >= end else ""
            raise self._failure(f"{there} of {wanted} engines came up{late}, {needed} are needed")

    def _failure(self, words: str) -> ClusterError:
        said = "\n".join([self.diagnose(), *self._log_tails()])
        return ClusterError(f"no cluster: {words}", hint=said)

    # -- events, on the watcher's thread ----------------------------------------------------

    def _begin_watching(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name="arcli-cluster", daemon=True).start()

    def _watch(self) -> None:
        """Read events until the cluster has ended, in whichever way."""
        helper = self._helper
        stopped = False
        while helper is not None and self._gone is None and not self._stopped:
            self._register()
            before = time.monotonic()
            self._read_events(helper, POLL if self._expected else LOOK)
            if time.monotonic() - before >= LOOK:
                was, stopped = stopped, is_stopped(helper.process.pid)
                if was and stopped:  # it supervises nothing, and only SIGCONT would change that
                    helper.process.kill()

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "engine":
            self._next_id = event["engine_id"] + 1
            self._expected[event["engine_id"]] = EngineInfo(
                engine_id=event["engine_id"],
                slot=event["slot"],
                pid=event["pid"],
                host=socket.gethostname(),
                uuid=event["uuid"],
            )
        elif event["event"] == "engine_gone":
            self._engine_gone(event)
        elif event["event"] == "controller":
            self._info = event["info"]
        elif event["event"] == "controller_gone":
            self._lose(f"the controller {event['reason']}")

    def _register(self) -> None:
        """Engines that the client knows by now."""
        if not self._expected or self.client is None:
            return
        known = set(self.client.ids)
        for engine_id in [*self._expected]:
            if engine_id in known:
                info = self._expected.pop(engine_id)
                with self._changed:
                    self._engines[engine_id] = info
                    self._changed.notify_all()
                self._report(EngineUp(info))

    def _engine_gone(self, event: dict[str, Any]) -> None:
        engine_id: int = event["engine_id"]
        with self._changed:
            was = self._engines.pop(engine_id, None)
            self._expected.pop(engine_id, None)
            self._changed.notify_all()
        if self._info:
            hub.unregister(self._info, engine_id)
        self._report(
            EngineDown(
                engine_id=engine_id if was else None,
                slot=event["slot"],
                reason=f"engine {engine_id} (process {event['pid']}) {event['reason']}",
            )
        )

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._gone = reason
            self._changed.notify_all()
        if not self._stopped:
            self._report(ClusterDown(reason))

    def _report(self, event: ClusterEvent) -> None:
        if self._on_event is not None and not self._stopped:
            self._on_event(event)

    # -- see Cluster ------------------------------------------------------------------------

    def engines(self) -> list[EngineInfo]:
        """See Cluster."""
        with self._changed:
            return list(self._engines.values())

    def kill(self, engine_id: int) -> None:
        """See Cluster."""
        with self._changed:
            info = self._engines.get(engine_id)
        if info is not None:
            self._send(do="kill", pid=info.pid)

    def release(self, engine_id: int) -> None:
        """See Cluster."""
        self.kill(engine_id)

    def replace(self, slot: int) -> None:
        """See Cluster."""
        self._send(do="engine", slot=slot)
        # The watcher sleeps without a timeout; the supervisor's answer will wake it.

    def revive(self) -> bool:
        """See Cluster."""
        self._begin_watching(self._start_anew)
        return True

    def _start_anew(self) -> None:
        """End what is left of the old cluster, so that nothing of it still runs; then a new one."""
        end = time.monotonic() + self._options.start_timeout
        with self._lifecycle:
            self._end()
            if self._stopped:
                return
            with self._changed:
                self._engines.clear()
                self._expected.clear()
            self._helper = SupervisorProcess(self._settings())
        try:
            self._connect(end)
        except ClusterError as error:
            self._lose(error.message)
            return
        self._watch()

    def diagnose(self) -> str:
        """See Cluster."""
        said = []
        if self._helper is not None and self._helper.process.poll() is not None:
            said.append(f"the supervisor's process {self._helper.process.pid} is gone")
        if self._gone is not None:
            said.append(self._gone)
        with self._changed:
            said.append(f"{len(self._engines)} engines are registered")
            if self._expected:
                said.append(f"{len(self._expected)} are starting")
        return ", ".join(said)

    def _log_tails(self) -> list[str]:
        """The ends of what controller and engines logged."""
        if self._helper is None:
            return []
        tails = []
        for path in sorted(self._helper.folder.glob("*.log")):
            with suppress(OSError):
                lines = path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
                tails += [f"{path.stem}: {line}" for line in lines]
        return tails

    def stop(self) -> None:
        """See Cluster."""
        self._stopped = True
        with self._lifecycle:
            self._end()

    def _end(self) -> None:
        """End client and processes, if there are any."""
        client, self.client = self.client, None
        if client is not None:
            client.close(linger=0)
        if self._helper is not None:
            self._send(do="stop")
            self._helper.close()
            self._helper = None
