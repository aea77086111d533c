"""A cluster that ipyparallel's launchers start for one run, and the process beside arcli that has them.

That process (``arcli.cluster.launched.launcher``) starts and ends it; this is its client.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import to_builtins

from arcli import launchers
from arcli.cluster import protocol
from arcli.cluster.base import ClusterOptions, EngineDown, EngineInfo, OnEvent, log_tails
from arcli.cluster.connection import Connection
from arcli.cluster.embedded.supervisor_process import start_beside, thread_limits
from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig
from arcli.cluster.launched.stopping import remove_profiles
from arcli.cluster.processes import kill_tree
from arcli.cluster.protocol import (
    ControllerEnded,
    ControllerStarted,
    GroupEnded,
    Left,
    StartCluster,
    StartEngines,
    StartFailed,
)
from arcli.cluster.watched_cluster import WatchedCluster
from arcli.errors import ClusterError, UsageError
from arcli.launchers import Launcher

LAST_WORDS = 60.0
"""Seconds in which batch jobs are cancelled and processes elsewhere ended."""


class Ended(NamedTuple):
    """The process is gone: there will be no more events."""


class LauncherProcess:
    """``arcli.cluster.launched.launcher``, with its log in ``folder``; all that it starts has ``env``."""

    def __init__(self, folder: Path, threads: int | None, env: Mapping[str, str]) -> None:
        self.log = folder / "launching.log"
        self._reader = protocol.Reader()
        self._events: deque[protocol.Message | Ended] = deque()
        self._asked = False
        log_fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(log_fd, "wb") as log:
            self._process, self._connection = start_beside(
                "arcli.cluster.launched.launcher", folder, log=log, env={**thread_limits(threads), **env}
            )

    def send(self, command: protocol.Command) -> None:
        """Give a command. Its death is noticed where events are read."""
        self._asked = True
        with suppress(OSError):
            self._connection.sendall(protocol.encode(command))

    def event(self, seconds: float = 0.0) -> protocol.Message | Ended | None:
        """Return what it has to say next, if it says it within that time; Ended where it is gone."""
        if not self._events:
            ready, _, _ = select.select([self._connection], [], [], max(0.0, seconds))
            if ready:
                try:
                    data = self._connection.recv(65536)
                except OSError:  # killed with something unread: the connection is reset, not closed
                    data = b""
                self._events.extend(self._reader.feed(data))
                if not data:
                    self._events.append(Ended())
        return self._events.popleft() if self._events else None

    def close(self) -> list[str]:
        """End it and all that it started. Returns in words what may go on."""
        if not self._asked:
            self._process.kill()  # it may still be importing, and has started nothing
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        left: list[str] = []
        end = time.monotonic() + LAST_WORDS
        while (patience := end - time.monotonic()) > 0:
            match self.event(patience):
                case Left(what):
                    left.append(what)
                case Ended():
                    break
        self._connection.close()
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
            left.append(
                f"jobs may still be in the queue: what cancels them did not end, {self.log} has more"
            )
        remove_profiles(self.log.parent)  # where it was killed
        return left


class LaunchedCluster(WatchedCluster):
    """See Cluster. ``folder`` must be seen by the compute nodes, too; only its logs stay."""

    owned = True

    def __init__(
        self, launcher: Launcher, options: ClusterOptions, settings: dict[str, Any], folder: Path
    ) -> None:
        super().__init__(options)
        self._launcher = launcher
        self._settings = settings
        self._folder = folder
        self._beside: LauncherProcess | None = None
        self._groups: dict[int, set[int]] = {}
        self._refused: str | None = None
        self._missing: str | None = None

    def prepare(self) -> None:
        """Start the process that will start the cluster; it imports meanwhile."""
        if self._beside is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = self._folder.resolve()
            self._beside = LauncherProcess(folder, self._options.threads, self._options.env)

    def start(self, on_event: OnEvent) -> None:
        """Start the cluster and wait for all engines; when the time is up, for ``min_engines``.

        Those that a batch queue holds back longer are used when they come. Raises ClusterError, and
        UsageError where an option means nothing.
        """
        # The process that ends what was started comes first: nothing may be started
        # that it does not know.
        self.prepare()
        end = time.monotonic() + self._options.start_timeout
        self._groups[0] = set(range(self.slots))
        assert self._beside is not None
        self._beside.send(StartCluster(to_builtins(self._recipe())))
        info = self._await_controller(self._beside, end)
        self._attach(Connection(info, f"the controller of this {self._launcher.name} cluster"), end)
        self._watch_from_now(on_event)
        # All, or at least as many as may be gone on with; the rest joins when it
        # comes.
        self._await(lambda: len(self._engines) >= self.slots or not any(self._groups.values()), end)
        if len(self._engines) < self._options.min_engines:
            present, needed = len(self._engines), self._options.min_engines
            raise self._failure(
                self._gone
                or self._refused
                or f"{present} of {self.slots} engines came up by launcher: {self._launcher.name} within "
                f"{self._options.start_timeout:g} s, {needed} are needed"
            )

    def _recipe(self) -> IpyparallelConfig:
        # A profile below the run's folder: ipyparallel's files are found again there, and go with it.
        options = self._options
        limits = thread_limits(options.threads)
        folder = self._folder.resolve()
        return IpyparallelConfig(
            launcher=self._launcher.name,
            engines=self.slots,
            profile=str(folder / "profile"),
            scratch=str(folder),
            python=options.python or sys.executable,
            env={**limits, **options.env},
            options=self._settings,
            insecure=options.insecure,
        )

    def _failure(self, message: str) -> ClusterError:
        return ClusterError(f"no cluster: {message}", hint="\n".join([self._advice(), *self._log_tails()]))

    def _advice(self) -> str:
        """Say what can be done about a cluster that did not come up."""
        if self._missing is not None:
            return launchers.advice_without(self._missing)
        if self._connection is None or self._refused is not None or not self._launcher.batch:
            return f"{self._folder / 'launching.log'} has what was said"
        return (
            f"{self.diagnose()}: a queue may take longer than start_timeout, "
            "and min_engines says how many are needed"
        )

    def _log_tails(self) -> list[str]:
        """Return the ends of the logs that tell why: not of a controller that came up."""
        if self._missing is not None:
            return []
        logs = [*self._folder.glob("*.log"), *self._folder.glob("profile/log/*.log")]
        came_up = self._connection is not None and self._gone is None
        return log_tails(log for log in logs if not (came_up and log.name.startswith("ipcontroller")))

    # -- the process that starts it ---------------------------------------------------------

    def _await_controller(self, beside: LauncherProcess, end: float) -> dict[str, Any]:
        while (patience := end - time.monotonic()) > 0:
            event = beside.event(patience)
            match event:
                case ControllerStarted(info):
                    return info
                # What the user got wrong is told apart from what the system refused.
                case StartFailed(message, hint, True):
                    raise UsageError(message, hint=hint)
                case StartFailed(message):
                    raise self._failure(message)
                case Ended():
                    raise self._failure("what starts the cluster has ended")
                case GroupEnded() | ControllerEnded():
                    self._note(event)
        raise self._failure(f"the controller did not start within {self._options.start_timeout:g} s")

    def _note(self, event: protocol.Message | Ended) -> None:
        match event:
            case GroupEnded(group, reason, missing):
                self._missing = missing
                self._group_ended(group, f"launcher: {self._launcher.name}: {reason}")
            case ControllerEnded(reason):
                self._lose(f"the controller {reason}")
            case Ended():
                self._lose("the process that started the cluster is gone")

    def _group_ended(self, group: int, reason: str) -> None:
        """Report the slots of engines that have never registered, and so have no id."""
        # Engines that did register are seen to go by the hub.
        with self._changed:
            self._refused = reason
            missing = self._groups.pop(group, set())
            self._changed.notify_all()
        for slot in sorted(missing):
            self._report(EngineDown(engine_id=None, slot=slot, reason=reason))

    def _look(self, now: float) -> None:
        assert self._beside is not None
        while self._gone is None and (event := self._beside.event()) is not None:
            self._note(event)
        super()._look(now)

    def _settle(self, info: EngineInfo) -> None:
        for missing in self._groups.values():
            missing.discard(info.slot)

    # -- see Cluster ------------------------------------------------------------------------

    def release(self, engine_id: int) -> None:
        """See Cluster."""
        self.kill(engine_id)

    def replace(self, slot: int) -> None:
        """See Cluster."""

        # A spare engine takes the slot, if there is one; else a group of one is started for it.
        def replace_now() -> None:
            self._deal()
            if all(info.slot != slot for info in self._engines.values()):
                group = 1 + max(self._groups, default=0)
                self._groups[group] = {slot}
                assert self._beside is not None
                self._beside.send(StartEngines(group, 1))

        self._later(replace_now)

    def diagnose(self) -> str:
        """See Cluster."""
        lines = super().diagnose()
        missing = len(set().union(*self._groups.values())) if self._groups else 0
        return f"{lines}, {missing} were started and have not come up" if missing else lines

    def stop(self) -> list[str]:
        """See Cluster. Batch jobs are cancelled."""
        self._detach()
        beside, self._beside = self._beside, None
        return [] if beside is None else beside.close()
