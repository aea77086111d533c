"""An embedded cluster: a controller and engines on this machine, for one run.

A supervisor process (``arcli.cluster.supervisor``) forks them and ends them; this is its client.
"""

from __future__ import annotations

import json
import queue
import select
import socket
import sys
import threading
import time
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
from arcli.cluster.helper import Helper
from arcli.errors import ClusterError

POLL = 0.01
"""Seconds between two looks at the client's engines while one is expected."""
LOG_LINES = 15


class EmbeddedCluster:
    """See Cluster. ``prepare`` costs little and can be abandoned; ``start`` makes engines.

    ``helper`` is one that is already on its way; it is used if it has the right environment.
    """

    client: Any = None

    def __init__(self, options: ClusterOptions, helper: Helper | None = None) -> None:
        self._options = options
        self._helper = helper
        self._watcher: threading.Thread | None = None
        self._told: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._info: dict[str, Any] = {}
        self._expected: dict[int, EngineInfo] = {}
        self._engines: dict[int, EngineInfo] = {}
        self._changed = threading.Condition()
        self._on_event: OnEvent | None = None
        self._stopped = False
        self._gone: str | None = None

    def prepare(self) -> None:
        """Start the supervisor, which imports what engines need while others do other things."""
        wanted = (self._options.threads, dict(self._options.env))
        if self._helper is not None and self._helper.settled != wanted:
            self._helper.close()
            self._helper = None
        if self._helper is None:
            self._helper = Helper(threads=self._options.threads, env=self._options.env)

    def start(self, on_event: OnEvent) -> None:
        """Bring up controller and engines. Raises ClusterError where that fails.

        Events go to ``on_event`` from now on, those of the first engines included.
        """
        self.prepare()
        self._on_event = on_event
        self._send(do="start", engines=self._options.engines, python=self._python())
        import ipyparallel  # meanwhile the supervisor forks

        end = time.monotonic() + self._options.start_timeout
        info = self._await_controller(end)
        self.client = ipyparallel.Client(info, timeout=max(1.0, end - time.monotonic()))
        self._info = info
        self._watcher = threading.Thread(target=self._watch, name="arcli-cluster", daemon=True)
        self._watcher.start()
        self._await_engines(end)

    def _python(self) -> str | None:
        if self._options.python is not None:
            return self._options.python
        # Forking is only safe on Linux, where nothing of the system's runs in the background.
        return sys.executable if self._options.spawn or sys.platform != "linux" else None

    def _send(self, **command: Any) -> None:
        assert self._helper is not None
        self._helper.send(json.dumps(command).encode() + b"\n")

    def _await_controller(self, end: float) -> dict[str, Any]:
        """Read events until the controller can be reached."""
        assert self._helper is not None
        connection = self._helper.connection
        buffer = b""
        while True:
            ready, _, _ = select.select([connection], [], [], max(0, end - time.monotonic()))
            data = self._helper.receive() if ready else b""
            if not data:
                raise self._failure("the controller did not start")
            *lines, buffer = (buffer + data).split(b"\n")
            for position, line in enumerate(lines):
                event = json.loads(line)
                if event["event"] == "controller":
                    self._rest = b"\n".join([*lines[position + 1 :], buffer])
                    info: dict[str, Any] = event["info"]
                    return info
                if event["event"] == "controller_gone":
                    raise self._failure(f"the controller {event['reason']}")
                self._note(event)

    def _await_engines(self, end: float) -> None:
        """Wait for all engines, or for what there is when the time is up."""
        wanted = self._options.engines
        with self._changed:
            while len(self._engines) < wanted and self._expected and self._gone is None:
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    break
        if len(self._engines) < self._options.min_engines:
            there = len(self._engines)
            raise self._failure(
                f"{there} of {wanted} engines came up within "
                f"{self._options.start_timeout:g} s, {self._options.min_engines} are needed"
            )

    def _failure(self, words: str) -> ClusterError:
        said = "\n".join([self.diagnose(), *self._log_tails()])
        return ClusterError(f"no cluster: {words}", hint=said)

    # -- events, on the watcher's thread ----------------------------------------------------

    def _watch(self) -> None:
        assert self._helper is not None
        connection = self._helper.connection
        buffer = self._rest
        while not self._stopped:
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                self._note(json.loads(line))
            self._register()
            timeout = POLL if self._expected else None
            try:
                ready, _, _ = select.select([connection], [], [], timeout)
            except (OSError, ValueError):  # closed by stop()
                return
            data = self._helper.receive() if ready else None
            if data == b"":
                self._lose("the process that supervises the cluster is gone")
                return
            buffer += data or b""

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "engine":
            self._expected[event["engine_id"]] = EngineInfo(
                engine_id=event["engine_id"],
                slot=event["slot"],
                pid=event["pid"],
                host=socket.gethostname(),
                uuid=event["uuid"],
            )
        elif event["event"] == "engine_gone":
            self._engine_gone(event)
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

    def replace(self, slot: int) -> None:
        """See Cluster."""
        self._send(do="engine", slot=slot)
        # The watcher sleeps without a timeout; the supervisor's answer will wake it.

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
        if self._stopped:
            return
        self._stopped = True
        if self.client is not None:
            self.client.close(linger=0)
        if self._helper is not None:
            self._send(do="stop")
            self._helper.close()
